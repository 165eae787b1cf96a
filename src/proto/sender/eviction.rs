//! The roll call: who is not waited for any longer.

use super::members::Member;
use super::{Sender, State, alarm};
use crate::proto::event::Fate;
use crate::proto::limits::{CONFIRM_MAX, EVICTION_CHECK_EVERY, REPORT_MAX};
use crate::units::{Duration, Instant};
use crate::wire::DropReason;

/// A cut of the rate is held against a receiver for this time.
const BLAME_TIME: Duration = Duration::from_ms(2_500);

/// Where the sender stands at a roll call.
struct Snapshot {
    now: Instant,
    /// Data flows, or is being repaired.
    sending: bool,
    /// All was sent once.
    complete: bool,
    /// The ring is full and all of it was sent.
    stuck: bool,
    first: u32,
    edge: u32,
    tx: u64,
    flight: u64,
    /// The stream is below the floor, though there is input,
    below: bool,
    /// and it is the rate that is too low.
    cut: bool,
}

impl Snapshot {
    /// Whether this receiver keeps the sender from sending: the ring, its window or its silence.
    fn is_held_by(&self, m: &Member) -> bool {
        let held = self.stuck && m.next <= self.first;
        held || m.window_end <= self.edge || m.tx_end.saturating_add(self.flight) <= self.tx
    }
}

impl Sender {
    /// Lets receivers go of which nothing was heard, or which hold everybody up.
    pub(super) fn evict_overdue(&mut self, now: Instant) {
        self.timers.set(alarm::EVICTION, now + EVICTION_CHECK_EVERY);
        let stand = self.stand(now);
        // Who has not shown its keys yet is not waited for when nothing else is left to do.
        let idle = stand.sending && (stand.stuck || stand.complete);
        let pending_max = if idle { REPORT_MAX } else { CONFIRM_MAX };
        self.shut |= idle;
        let (stall_max, finish_max) = (self.config.stall_max, self.config.finish_max);
        let mut overdue = Vec::new();
        for (n, m) in self.members.active_mut() {
            if !(stand.sending && (stand.complete || stand.is_held_by(m))) {
                // Nobody waits for it, however long the input pauses.
                m.still_since = now;
            }
            if !m.is_confirmed() && now.since(m.joined_at) >= pending_max {
                overdue.push((n, DropReason::Silent));
            } else {
                let reason = m.overdue(now, stall_max, finish_max);
                overdue.extend(reason.map(|reason| (n, reason)));
            }
        }
        overdue.extend(self.too_slow(&stand));
        for (receiver, reason) in overdue {
            if reason == DropReason::NextPass
                && let Some(member) = self.members.get(receiver)
            {
                let from = member.addr;
                self.will_wait(now, from);
            }
            self.finish_member(receiver, Fate::Dropped(reason));
        }
        self.release();
    }

    fn stand(&mut self, now: Instant) -> Snapshot {
        let sending = matches!(self.state, State::Sending | State::Draining);
        let (stuck, edge) = (self.window.is_stuck(), self.window.edge());
        let source = self.stats.source - self.called_source;
        let floor = self.config.floor.filter(|_| self.state == State::Sending);
        let least = floor.map_or(0, |floor| floor.bytes_in(now.since(self.called_at)));
        let wanted = stuck || self.window.has_source(u32::MAX);
        (self.called_at, self.called_source) = (now, self.stats.source);
        Snapshot {
            now,
            sending,
            complete: self.window.complete().is_some(),
            stuck,
            first: self.window.first(),
            edge,
            tx: self.tx,
            flight: self.limits().flight,
            below: wanted && source * u64::from(self.config.symbol_len) < least,
            cut: floor.is_some_and(|floor| self.pace.rate() < floor),
        }
    }

    /// The receivers that have kept the stream below the floor for the time of grace: by the ring,
    /// their window or their silence at each roll call, or because they keep the rate down. As
    /// long as others are there that do not: what most of them do is not theirs to help.
    fn too_slow(&mut self, stand: &Snapshot) -> Vec<(u32, DropReason)> {
        let (now, grace) = (stand.now, self.config.slow_grace);
        let slow_reason = match self.config.series.slow_later {
            true => DropReason::NextPass,
            false => DropReason::Slow,
        };
        let recent = |m: &Member| m.limiting_at.is_some_and(|at| now.since(at) < BLAME_TIME);
        let confirmed = self.members.sum().confirmed;
        let cutting = self.members.active_mut().filter(|(_, m)| recent(m)).count();
        let cut = stand.cut && cutting * 2 <= confirmed as usize;
        let mut slow = Vec::new();
        for (n, m) in self.members.active_mut().filter(|(_, m)| m.is_confirmed()) {
            let noted = stand.is_held_by(m) || (cut && recent(m));
            // It may have made room just now; the next look tells whether that was enough.
            let pardoned = !std::mem::replace(&mut m.noted_last, noted);
            if !stand.below || (!noted && pardoned) {
                m.slow_since = None;
            }
            if !stand.below || !noted {
                continue;
            }
            let since = *m.slow_since.get_or_insert(now);
            if now.since(since) >= grace {
                let silent = now.since(m.heard_at) > REPORT_MAX;
                slow.push((
                    n,
                    if silent {
                        DropReason::Silent
                    } else {
                        slow_reason
                    },
                ));
            }
        }
        if slow.len() >= confirmed as usize {
            slow.clear();
        }
        slow
    }
}
