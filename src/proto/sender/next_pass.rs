//! Receivers that wait for another session of the series: they came too late for this one, or were
//! too slow for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Sender, State};
use crate::proto::event::SenderEvent;
use crate::proto::limits::{NEXT_PASS_HEARD_MAX, RECEIVERS_MAX};
use crate::units::Instant;
use crate::wire::{AbortReason, End, Join, RejectReason, SessionId};

/// Addresses that waiting receivers were heard from, and when. Anybody can pass for any number of
/// them: so they are counted, up to as many as a session takes, and nothing more.
#[derive(Debug, Default)]
pub(super) struct WaitingReceivers(BTreeMap<SocketAddr, Instant>);

impl WaitingReceivers {
    /// A receiver was heard; `true` if it is new.
    fn hear(&mut self, now: Instant, from: SocketAddr) -> bool {
        if let Some(heard_at) = self.0.get_mut(&from) {
            *heard_at = now;
            return false;
        }
        if self.0.len() >= RECEIVERS_MAX {
            self.0.retain(|_, at| is_there(now, *at));
        }
        if self.0.len() >= RECEIVERS_MAX {
            return false;
        }
        self.0.insert(from, now);
        true
    }

    /// A receiver does not wait any more.
    pub(super) fn forget(&mut self, from: SocketAddr) {
        self.0.remove(&from);
    }

    fn count(&self, now: Instant) -> u32 {
        let there = self.0.values().filter(|&&at| is_there(now, at));
        u32::try_from(there.count()).unwrap_or(u32::MAX)
    }
}

fn is_there(now: Instant, heard_at: Instant) -> bool {
    now.since(heard_at) < NEXT_PASS_HEARD_MAX
}

impl Sender {
    /// The first session of the series.
    pub fn series(&self) -> SessionId {
        self.config.series.id.unwrap_or(self.session)
    }

    /// How many receivers wait for another session of the series.
    pub fn waiting_for_next(&self, now: Instant) -> u32 {
        self.later.count(now)
    }

    /// How the stream ends, once that is known: the same in each session of a series.
    pub fn stream_end(&self) -> Option<End> {
        self.window.finished()
    }

    /// What to tell a receiver for which the beginning is gone.
    pub(super) fn too_late(&self) -> RejectReason {
        match self.state {
            State::Aborting { .. } => RejectReason::BrokenOff,
            _ if self.config.series.goes_on => RejectReason::NextPass,
            _ => RejectReason::TooLate,
        }
    }

    /// A receiver was told to wait.
    pub(super) fn waits(&mut self, now: Instant, from: SocketAddr, join: Join) {
        if self.later.hear(now, from) {
            let name = join.name;
            self.events.push_back(SenderEvent::Waits { name, from });
        }
    }

    /// A receiver that was let go will come again.
    pub(super) fn will_wait(&mut self, now: Instant, from: SocketAddr) {
        self.later.hear(now, from);
    }

    /// Whether a receiver was told to come to the next session, and not to this one.
    pub(super) fn will_come_again(&self, from: SocketAddr) -> bool {
        self.later.0.contains_key(&from)
    }

    /// Breaks off a stream that does not end as it did before.
    pub(super) fn compare_ends(&mut self, now: Instant) {
        let before = self.config.series.end;
        let differs = |end: End| before.is_some_and(|before| before != end);
        if self.window.finished().is_some_and(differs) {
            self.abort_at_start(now, AbortReason::Changed, "");
        }
    }
}
