//! The datagrams that are due to the group, as far as window, receivers and rate allow.

use super::flow::{FlowLimits, request_patience};
use super::members::Member;
use super::outgoing::{Control, Due};
use super::send_window::{Proactive, SendLimits, SendWindow};
use super::state::State;
use crate::proto::event::{SenderEvent, Target, Transmit};
use crate::proto::rate::{RateReason, SendLimit};
use crate::units::{Duration, Instant};
use crate::wire::Poll;

use super::{POLL_AFTER_DATA, SenderTimer, TwoWaySender, depth_at};

impl TwoWaySender {
    /// Writes what is due to the group.
    pub(super) fn emit_to_group(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        let segment = if self.emit_control(now, buf) {
            buf.len()
        } else if self.emit_data(now, buf) {
            self.outgoing.data_len()
        } else {
            return None;
        };
        let to = Target::Group;
        Some(Transmit { to, segment })
    }

    // The course of a session.

    /// Writes the control datagram that is due, if one is.
    pub(super) fn emit_control(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        match self.state {
            State::Aborting(_) => return self.emit_abort(now, buf),
            State::Ended => return false,
            State::Announcing { .. } | State::Sending | State::Draining => {}
        }
        if self.outgoing.take_due(Due::Announce) {
            let status = self.status();
            self.outgoing.emit_announce(status, buf);
        } else if self.outgoing.is_due(Due::End)
            && let Some(end) = self.window.complete()
        {
            self.outgoing.take_due(Due::End);
            self.outgoing.emit_control(Control::End(&end), buf);
        } else if let Some(hashes) = self.outgoing.pop_hashes() {
            self.outgoing.emit_control(Control::Hashes(&hashes), buf);
            self.pacing.spend(self.pacing.datagram());
        } else if self.outgoing.take_due(Due::Poll) && self.members.group().present > 0 {
            let poll = self.poll(now);
            self.outgoing.emit_control(Control::Poll(&poll), buf);
        }
        !buf.is_empty()
    }

    pub(super) fn emit_abort(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        let State::Aborting(aborting) = &mut self.state else {
            return false;
        };
        if !self.timers.fires(SenderTimer::Abort, now) {
            return false;
        }
        self.outgoing
            .emit_control(Control::Abort(&aborting.abort), buf);
        if aborting.is_last() {
            let end = aborting.end();
            self.end(end);
        } else {
            self.timers.set(SenderTimer::Abort, now + aborting.every);
        }
        true
    }

    pub(super) fn poll(&self, now: Instant) -> Poll {
        let (limits, group) = (self.limits(), self.members.group());
        let us = |d: Duration| u32::try_from(d.as_us()).unwrap_or(u32::MAX);
        Poll {
            watermark: self.window.poll_watermark(),
            clock_us: now.as_us(),
            rtt_us: us(group.rtt),
            receivers: group.active,
            report_every: limits.report_every,
            report_us: us(limits.report),
        }
    }

    /// The limits that the receivers set.
    pub(super) fn limits(&self) -> FlowLimits {
        let (rate, datagram) = (self.pacing.rate(), self.pacing.datagram());
        FlowLimits::new(&self.members.group(), rate, datagram)
    }

    /// Bytes of source symbols sent once.
    pub(super) fn source_bytes(&self) -> u64 {
        self.stats.source * u64::from(self.config.symbol_len)
    }

    /// Writes a batch of DATA datagrams as far as receivers and rate allow.
    pub(super) fn emit_data(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if !self.state.is_serving() {
            return false;
        }
        let (limits, group) = (self.limits(), self.members.group());
        self.window.observe(now, request_patience(&group));
        let has_source = self.window.has_source(limits.block_end);
        let sequence = self.outgoing.sequence();
        if (!has_source && !self.window.has_repair()) || sequence >= limits.sequence_end {
            self.pacing.on_idle();
            self.note_idle(now, has_source);
            return false;
        }
        let allowed = match self.pacing.batch(now) {
            Ok(allowed) => allowed,
            Err(ready_at) => {
                self.timers.set(SenderTimer::Pacing, ready_at);
                return false;
            }
        };
        let count = allowed.min(limits.sequence_end - sequence);
        let repairing = self.window.next_is_repair(has_source);
        let send = SendLimits {
            now,
            block_end: limits.block_end,
            depth: self.depth(),
            proactive: Proactive::Auto {
                receivers: group.active,
            },
        };
        let window = &mut self.window;
        let sent = if repairing {
            let reported = group.reported_end;
            let next = |w: &mut SendWindow, sequence| w.next_repair(sequence, reported);
            self.outgoing.emit_symbols(window, count, buf, next)
        } else {
            let next = |w: &mut SendWindow, _| w.next_source(&send);
            self.outgoing.emit_symbols(window, count, buf, next)
        };
        debug_assert!(sent <= count && self.outgoing.sequence() <= limits.sequence_end);
        self.stats.count_symbols(repairing, sent);
        self.pacing.spend(sent * self.pacing.datagram());
        if sent > 0 && self.state == State::Sending {
            self.timers
                .set_earlier(SenderTimer::Poll, now + limits.report);
            if !self.window.has_source(limits.block_end) {
                self.timers
                    .set_earlier(SenderTimer::Poll, now + POLL_AFTER_DATA);
            }
        }
        sent > 0
    }

    /// Blocks to interleave at present: no more than a part of what a receiver can hold, since all
    /// of them stay until the first is complete.
    pub(super) fn depth(&self) -> u32 {
        let held = (self.members.group().window / 4).max(1);
        let block = u64::from(self.config.k) * self.pacing.datagram();
        let depth = depth_at(self.pacing.rate(), block, self.window.blocks_max());
        u32::from(depth).min(held)
    }

    // Why the rate is what it is.

    /// Nothing may be sent now: takes note of why.
    pub(super) fn note_idle(&mut self, now: Instant, has_source: bool) {
        let blocked = self.window.has_source(u32::MAX) || self.window.is_stuck();
        let limit = match blocked {
            _ if has_source || self.window.has_repair() => SendLimit::Reports,
            true => SendLimit::Window,
            false => SendLimit::Input,
        };
        self.pacing.note_limit(now, limit);
    }

    /// Once a second: takes note of why the rate is what it is, and tells when that has changed.
    pub(super) fn update_rate_reason(&mut self, now: Instant) {
        let Some(limit) = self.pacing.poll_limit(now) else {
            return;
        };
        let stuck = self.window.is_stuck();
        let slowest = |key: fn(&Member, bool) -> u64| {
            let least = self.members.active().min_by_key(|(_, m)| key(m, stuck));
            least.map(|(receiver, _)| receiver)
        };
        let reason = match limit {
            SendLimit::Rate => None,
            SendLimit::Input => Some(RateReason::Input),
            SendLimit::Window => {
                let key = |m: &Member, stuck| u64::from(if stuck { m.next } else { m.window_end });
                slowest(key).map(|receiver| RateReason::Window { receiver })
            }
            SendLimit::Reports => {
                let receiver = slowest(|m, _| m.reported_end);
                receiver.map(|receiver| RateReason::Reports { receiver })
            }
        };
        let reason = reason.unwrap_or(self.pacing.reason());
        if reason != self.stats.rate_reason {
            self.stats.rate_reason = reason;
            let member = reason.receiver().and_then(|n| self.members.get(n));
            self.events.push_back(SenderEvent::RateLimited {
                reason,
                name: member.map(|m| m.name.clone()),
                rate: self.pacing.rate(),
            });
        }
    }
}
