//! What receivers send, and what becomes of each.

use std::net::SocketAddr;

use super::admission::Access;
use super::eviction::Snapshot;
use super::members::{Departure, Member, MemberState, Newcomer};
use super::repair::RepairRequest;
use super::state::State;
use crate::proto::event::{Fate, SenderEvent};
use crate::proto::limits::{
    AUTO_PARITY_RECEIVERS_MIN, BYE_COPIES, CONFIRM_MAX, EVICTION_CHECK_EVERY,
};
use crate::proto::protect::{member_nonce, open, reply_nonce, seal};
use crate::proto::rate::{PathReport, ReportStep};
use crate::units::Instant;
use crate::wire::{
    Bye, DatagramKind, DropReason, Feedback, HandshakeHeader, Join, MemberHeader, Outcome,
    POLLUTED, RejectReason,
};

use super::{SenderTimer, TwoWaySender};

impl TwoWaySender {
    /// `None` when the datagram was refused; so for all below.
    pub(super) fn handle_hello(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<()> {
        let can_answer = from.port() != 0;
        let answer = can_answer.then(|| self.admission.answer_hello(now, from, datagram));
        self.outgoing.reply(from, answer??);
        Some(())
    }

    pub(super) fn handle_join(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Option<()> {
        let len = match self.admission.check_access(now, from, datagram)? {
            Access::Granted(len) => len,
            Access::Unproven(_) if from.port() == 0 => return None,
            Access::Unproven(cookie) => {
                let cookie = self.admission.emit_cookie(now, cookie)?;
                self.outgoing.reply(from, cookie);
                return Some(());
            }
        };
        let datagram = &mut datagram[..len];
        let header = HandshakeHeader::parse(datagram).ok()?;
        if let Some(number) = self.members.by_key(&header.receiver_key) {
            return self.accept_again(now, from, number, datagram);
        }
        if !self.admission.allow(now, from) {
            return None;
        }
        let opened = self.admission.open_join(&header, datagram)?;
        let listed = match self.admit(&opened.join, from) {
            Ok(listed) => listed,
            Err(reason) => {
                let reject = self.admission.reject(&opened, reason);
                self.outgoing.reply(from, reject);
                self.on_rejected(now, from, opened.join.name, reason);
                return Some(());
            }
        };
        let pair = self.admission.ciphers(&opened)?;
        let newcomer = Newcomer {
            addr: from,
            key: header.receiver_key,
            ciphers: pair.member(&self.admission.acceptance(&header.receiver_key)),
            pair,
            listed,
        };
        let member = Member::new(newcomer, &opened.join, self.outgoing.sequence(), now);
        let number = self.members.add(member);
        self.accept(number);
        self.timers
            .set_earlier(SenderTimer::Eviction, now + EVICTION_CHECK_EVERY);
        Some(())
    }

    /// Whether a receiver may take part: its place in the list, if there is one.
    pub(super) fn admit(
        &mut self,
        join: &Join,
        from: SocketAddr,
    ) -> Result<Option<usize>, RejectReason> {
        let place = self.admission.place(join)?;
        if !self.status().joinable || self.waiting.contains(from) {
            Err(self.too_late())
        } else if !self.members.has_room() {
            Err(RejectReason::Full)
        } else {
            Ok(place)
        }
    }

    /// What to tell a receiver for which the beginning is gone.
    pub(super) fn too_late(&self) -> RejectReason {
        match self.state {
            State::Aborting(_) => RejectReason::BrokenOff,
            _ if self.config.series.next_pass.takes_late() => RejectReason::NextPass,
            _ => RejectReason::TooLate,
        }
    }

    pub(super) fn on_rejected(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: String,
        reason: RejectReason,
    ) {
        if reason != RejectReason::NextPass {
            self.events
                .push_back(SenderEvent::Rejected { name, from, reason });
        } else if self.waiting.on_heard(now, from) {
            self.events.push_back(SenderEvent::Waits { name, from });
        }
    }

    /// A receiver asks again: the ACCEPT was lost. Until its first FEEDBACK its JOINs are all that
    /// shows that it lives.
    pub(super) fn accept_again(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u32,
        datagram: &mut [u8],
    ) -> Option<()> {
        let withdrawn = match self.members.get(number)?.state {
            MemberState::Pending => false,
            MemberState::Withdrawn(None) => true,
            // It was on its way when the ACCEPT came.
            _ => return Some(()),
        };
        // Made room for others: it is let in again by the rules for those that are new.
        let again = withdrawn && self.status().joinable && self.admission.allow(now, from);
        if withdrawn && !(again && self.members.has_room()) {
            return None;
        }
        let member = self.members.get_mut(number)?;
        let nonce = reply_nonce(DatagramKind::Join, 0);
        open(&member.pair.join, &nonce, datagram, HandshakeHeader::LEN)?;
        if !member.may_answer(now) {
            return Some(());
        }
        if withdrawn {
            member.joined_at = now;
            member.progress.heard_at = now;
            self.members.restore_pending(number);
        } else if now.since(member.joined_at) < CONFIRM_MAX {
            member.progress.heard_at = now;
        }
        self.accept(number);
        Some(())
    }

    pub(super) fn accept(&mut self, number: u32) {
        if let Some(member) = self.members.get(number) {
            let accept = self.admission.accept(number, member);
            self.outgoing.reply(member.addr, accept);
        }
    }

    /// A receiver's first FEEDBACK came: it has the keys, and may be counted on.
    pub(super) fn on_confirmed(&mut self, now: Instant, receiver: u32) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let known_as = self.admission.known_as(member);
        self.start.on_joined(now, known_as);
        let expected = self.start.expects(known_as);
        self.events.push_back(SenderEvent::Joined {
            receiver,
            name: member.name.clone(),
            from: member.addr,
            listed: member.listed,
        });
        if !self.is_waiting()
            && expected
            && let Some(member) = self.members.get_mut(receiver)
        {
            member.required = true;
        }
        if let Some(before) = self.members.note_machine(receiver) {
            self.on_returned(before, receiver);
        }
        if self.is_waiting() {
            self.plan_start();
        }
        self.warn_of_mtu(receiver);
        self.timers.set_earlier(SenderTimer::Poll, now);
    }

    /// Says so when the stream's datagrams are longer than a receiver's interface takes.
    fn warn_of_mtu(&mut self, receiver: u32) {
        let packet = self.outgoing.data_len() + self.config.ip_udp_len;
        if let Some(member) = self.members.get(receiver)
            && member.mtu != 0
            && usize::from(member.mtu) < packet
        {
            self.events.push_back(SenderEvent::ShortMtu {
                receiver,
                name: member.name.clone(),
                mtu: member.mtu,
                packet,
            });
        }
    }

    /// A receiver has taken the place of an earlier process of its machine, which counts no more.
    pub(super) fn on_returned(&mut self, before: u32, receiver: u32) {
        let Some(old) = self.members.get(before) else {
            return;
        };
        let (required, name) = (old.required, old.name.clone());
        // One that was dropped or left stays out, whatever it still says.
        let departure = match old.state {
            MemberState::Gone(departure) => Some(departure),
            _ => None,
        };
        self.members.withdraw(before, departure);
        if let Some(member) = self.members.get_mut(before) {
            member.required = false;
        }
        if let Some(member) = self.members.get_mut(receiver) {
            member.required |= required;
        }
        self.events.push_back(SenderEvent::Returned {
            before,
            receiver,
            name,
        });
    }

    // Receivers that report.

    pub(super) fn handle_feedback(&mut self, now: Instant, datagram: &mut [u8]) -> Option<()> {
        let header = MemberHeader::parse(datagram).ok()?;
        let (receiver, sequence) = (header.receiver, self.outgoing.sequence());
        let member = self.members.get(receiver)?;
        let nonce = member_nonce(DatagramKind::Feedback, receiver, header.number);
        let body = open(
            &member.ciphers.feedback,
            &nonce,
            datagram,
            MemberHeader::LEN,
        )?;
        let feedback = Feedback::parse(body).ok()?;
        if header.number < member.feedback_next {
            return None;
        }
        let state = member.state;
        self.stats.feedbacks += 1;
        if state == MemberState::Withdrawn(None) && self.window.first() == 0 {
            self.members.restore(receiver);
        } else if !state.is_present() {
            return self.on_late_feedback(now, &header, feedback.outcome);
        }
        self.stats.nacks += u64::from(!feedback.needs.is_empty());
        let (step, loss, reported_end, succeeded) = self.members.change(receiver, |member| {
            let step = member.update(&feedback, header.number, sequence, now);
            let succeeded = member.successor.take().is_some();
            (
                step,
                member.path.loss.loss(),
                member.reported_end,
                succeeded,
            )
        })?;
        let sent = self.window.sent_of(feedback.next, reported_end);
        if let Some(member) = self.members.get_mut(receiver) {
            member.note_reach(&feedback, sent, now);
        }
        if succeeded && self.is_waiting() {
            // It is there beside the later process: both count.
            self.plan_start();
        }
        if state != MemberState::Active {
            self.on_confirmed(now, receiver);
        }
        self.adapt_rate(now, receiver, step);
        let request = RepairRequest {
            reported_end,
            loss,
            no_second_chance: !self.may_ask_again(),
        };
        let asked = self.queue_repair(now, &feedback, request);
        if let Some(member) = self.members.get_mut(receiver) {
            member.asked += asked;
        }
        self.on_outcome(now, receiver, feedback.outcome);
        self.release();
        Some(())
    }

    /// A receiver that is done or gone reports: it has not heard the BYE yet.
    pub(super) fn on_late_feedback(
        &mut self,
        now: Instant,
        header: &MemberHeader,
        outcome: Outcome,
    ) -> Option<()> {
        let receiver = header.receiver;
        let member = self.members.get_mut(receiver)?;
        let digest = self.window.finished().map(|end| end.digest);
        let has_all = matches!(outcome, Outcome::Done(d) if Some(d) == digest);
        member.feedback_next = header.number.saturating_add(1);
        let may_answer = member.may_answer(now);
        let (name, addr, state) = (member.name.clone(), member.addr, member.state);
        if state == MemberState::Withdrawn(None) {
            let silent = Some(Departure::Dropped(DropReason::Silent));
            member.state = MemberState::Withdrawn(silent);
        } else if has_all && state == MemberState::Gone(Departure::Dropped(DropReason::NextPass)) {
            // It was told to come to the next pass, and has everything after all.
            self.waiting.remove(addr);
            self.members
                .change(receiver, |member| member.state = MemberState::Done);
            self.events.push_back(SenderEvent::Finished {
                receiver,
                name,
                fate: Fate::Done,
            });
        }
        if may_answer {
            self.bye(receiver, 1);
        }
        Some(())
    }

    /// Lets the rate follow what a receiver reports.
    pub(super) fn adapt_rate(&mut self, now: Instant, receiver: u32, step: ReportStep) {
        let group = self.members.group();
        let report = PathReport {
            receiver,
            step,
            sequence: self.outgoing.sequence(),
            receivers: group.active,
            group_rtt: group.rtt,
            datagram: self.pacing.datagram(),
        };
        if let Some(member) = self.members.get_mut(receiver) {
            self.pacing.on_report(now, &mut member.path, report);
        }
    }

    /// Queues what a receiver asks for; returns how many symbols it is to get for that.
    pub(super) fn queue_repair(
        &mut self,
        now: Instant,
        feedback: &Feedback,
        request: RepairRequest,
    ) -> u64 {
        let mut asked = 0;
        // What is not kept needs no look, nor any block a second one: a FEEDBACK costs no more than
        // the window is long.
        let mut from = self.window.first();
        for need in &feedback.needs {
            if need.symbols == POLLUTED {
                let hashes = self.window.on_polluted(need.block, now);
                self.outgoing.push_hashes(hashes);
                continue;
            }
            let end = need.block.saturating_add(u32::from(need.run));
            let end = end.min(self.window.watermark());
            for block in need.block.max(from)..end {
                asked += u64::from(self.window.request(block, need.symbols, request));
            }
            from = from.max(end);
        }
        asked
    }

    /// Whether it costs no time that a block needs another round: there is new data to send
    /// meanwhile, and far from the end of what the receivers can hold. Of many receivers some would
    /// ask again for each block.
    pub(super) fn may_ask_again(&self) -> bool {
        let group = self.members.group();
        let room = group.window_end.saturating_sub(self.window.watermark());
        group.active < AUTO_PARITY_RECEIVERS_MIN
            && self.window.has_source(group.window_end)
            && room > group.window / 2
    }

    /// Releases blocks that every receiver has. A receiver that may still show that it has the keys
    /// is waited for a little. The beginning is kept until there is no room for more, for those
    /// that come late.
    pub(super) fn release(&mut self) {
        let group = self.members.group();
        let has_room = self.window.first() == 0 && !self.window.is_full();
        if group.present == group.active && !has_room {
            self.window.release(group.next);
        }
        // What an active receiver still needs is kept.
        debug_assert!(self.window.first() <= group.next, "{group:?}");
    }

    /// Takes note of a receiver that is done or leaves.
    pub(super) fn on_outcome(&mut self, now: Instant, receiver: u32, outcome: Outcome) {
        let end = self.window.complete().filter(|_| self.end_told);
        match outcome {
            Outcome::Receiving => {}
            Outcome::Finishing => {
                if let Some(member) = self.members.get_mut(receiver)
                    && end.is_some_and(|end| member.next >= end.blocks)
                {
                    member.progress.committing_since.get_or_insert(now);
                }
            }
            Outcome::Done(digest) if end.is_some_and(|end| end.digest == digest) => {
                self.conclude(receiver, None);
            }
            Outcome::Done(_) => {
                self.conclude(receiver, Some(Departure::Dropped(DropReason::Differs)));
            }
            Outcome::Leave(reason) => self.conclude(receiver, Some(Departure::Left(reason))),
        }
    }

    // Receivers that go.

    pub(super) fn evict_overdue(&mut self, now: Instant) {
        self.timers
            .set(SenderTimer::Eviction, now + EVICTION_CHECK_EVERY);
        let window = &self.window;
        let snapshot = Snapshot {
            now,
            sending: self.state == State::Sending,
            serving: self.state.is_serving(),
            complete: window.complete().is_some(),
            stuck: window.is_stuck(),
            has_source: window.has_source(u32::MAX),
            first: window.first(),
            watermark: window.watermark(),
            sequence: self.outgoing.sequence(),
            flight: self.limits().flight,
            source_bytes: self.source_bytes(),
            source_symbols: self.stats.source,
            rate: self.pacing.rate(),
        };
        for (receiver, reason) in self.eviction.check(&mut self.members, &snapshot) {
            self.drop_receiver(now, receiver, reason);
        }
        self.release();
    }

    pub(super) fn drop_receiver(&mut self, now: Instant, receiver: u32, reason: DropReason) {
        if reason == DropReason::NextPass
            && let Some(member) = self.members.get(receiver)
        {
            self.waiting.on_heard(now, member.addr);
        }
        self.conclude(receiver, Some(Departure::Dropped(reason)));
    }

    /// A receiver goes: it has everything, or departs.
    pub(super) fn conclude(&mut self, receiver: u32, departure: Option<Departure>) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        match member.state {
            MemberState::Active => {}
            // It never was there as far as anything shows.
            MemberState::Pending => return self.members.withdraw(receiver, None),
            _ => return,
        }
        let name = member.name.clone();
        self.pacing.on_leave(&member.path);
        if let (Some(successor), Some(Departure::Dropped(_))) = (member.successor, departure) {
            self.on_returned(receiver, successor);
            if self.is_waiting() {
                self.on_left(receiver);
            }
            return;
        }
        if self.is_waiting() {
            // It has missed nothing, and its place is free again.
            self.members.withdraw(receiver, departure);
            self.on_left(receiver);
        } else {
            let state = departure.map_or(MemberState::Done, MemberState::Gone);
            self.members.change(receiver, |member| member.state = state);
        }
        let fate = self.members.get(receiver).map(|m| m.state.fate());
        self.events.push_back(SenderEvent::Finished {
            receiver,
            name,
            fate: fate.unwrap_or(Fate::Active),
        });
        self.bye(receiver, BYE_COPIES);
    }

    /// A receiver has left before the start.
    pub(super) fn on_left(&mut self, receiver: u32) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let (members, admission) = (&self.members, &self.admission);
        let here = members.active().map(|(_, m)| admission.known_as(m));
        self.start.on_left(admission.known_as(member), here);
        self.plan_start();
    }

    pub(super) fn bye(&mut self, receiver: u32, copies: u32) {
        let tag = self.session().tag();
        for _ in 0..copies {
            let Some(member) = self.members.get_mut(receiver) else {
                return;
            };
            let number = member.byes;
            let Some(byes) = number.checked_add(1) else {
                return;
            };
            member.byes = byes;
            let mut out = vec![];
            MemberHeader {
                kind: DatagramKind::Bye,
                tag,
                receiver,
                number,
            }
            .emit(&mut out);
            let reason = member.state.bye_reason();
            Bye { reason }.emit(&mut out);
            let nonce = member_nonce(DatagramKind::Bye, receiver, number);
            seal(&member.ciphers.bye, &nonce, &mut out, 0, MemberHeader::LEN);
            self.outgoing.reply(member.addr, out);
        }
    }

    // What is sent.
}
