//! Sending to receivers that never answer: at the given rate, group by group, each followed by all
//! the repair symbols that it will get.

use super::{Limits, Sender, State, alarm};
use crate::proto::event::SenderEnd;
use crate::proto::limits::{
    ONE_WAY_COPIES, ONE_WAY_DEPTH_MAX, ONE_WAY_EVERY, ONE_WAY_INTERLEAVE_TIME, POLL_MAX, RATE_START,
};
use crate::units::Instant;

impl Sender {
    /// Whether receivers do not answer.
    pub fn is_one_way(&self) -> bool {
        self.config.one_way.is_some()
    }

    /// Blocks that are mixed at most: they take a certain time at the given rate, but no more than
    /// a quarter of what we can hold.
    pub(super) fn one_way_depth(&self) -> u16 {
        let block = u64::from(self.config.k) * self.data_cost();
        let rate = self.config.rate_max.unwrap_or(RATE_START);
        let held = self.window.blocks_max() as u64 / 4;
        let wanted = (rate.bytes_in(ONE_WAY_INTERLEAVE_TIME) / block).min(held);
        u16::try_from(wanted)
            .unwrap_or(ONE_WAY_DEPTH_MAX)
            .clamp(1, ONE_WAY_DEPTH_MAX)
    }

    /// Nobody sets limits.
    pub(super) fn one_way_limits() -> Limits {
        Limits {
            block_end: u32::MAX,
            tx_end: u64::MAX,
            flight: u64::MAX,
            report_every: u32::MAX,
            report: POLL_MAX,
        }
    }

    /// Whether a group may begin: all of its blocks are there, or have been waited for.
    pub(super) fn group_is_ready(&mut self, now: Instant) -> bool {
        let ready = self.window.ready();
        if ready == 0 || self.window.in_group() {
            self.group_at = None;
            return ready == 0;
        }
        if self.window.is_finished() || ready >= u32::from(self.one_way_depth()) {
            return true;
        }
        let at = *self.group_at.get_or_insert(now + ONE_WAY_INTERLEAVE_TIME);
        if now < at {
            self.timers.set_earlier(alarm::PACE, at);
        }
        now >= at
    }

    /// From state to state: all that there is to send ends it.
    pub(super) fn settle_one_way(&mut self, now: Instant) {
        let sent = self.window.complete().is_some() && !self.window.has_repair();
        if self.state == State::Sending && sent {
            self.state = State::Draining;
            self.ends_left = ONE_WAY_COPIES;
            self.end_due = true;
            self.timers.set(alarm::END, now + ONE_WAY_EVERY);
        }
    }

    /// An END goes out: this many follow. After each but the last, a part of a short last group is
    /// sent once more.
    pub(super) fn count_end(&mut self) {
        self.ends_left = self.ends_left.saturating_sub(1);
        let depth = u32::from(self.one_way_depth());
        match self.config.one_way {
            Some(one_way) if self.ends_left > 0 => self.window.owe_again(one_way, depth),
            Some(_) => self.end(SenderEnd::Sent),
            None => {}
        }
    }
}
