//! What receivers say to the sender: JOIN and FEEDBACK; and who is let go.

use std::net::SocketAddr;

use super::members::Member;
use super::send_window::RepairRequest;
use super::{REPLIES_MAX, Sender, State, alarm};
use crate::crypt::agree::PublicKey;
use crate::proto::event::{Fate, SenderEvent};
use crate::proto::limits::{
    AUTO_PARITY_RECEIVERS_MIN, BYE_COPIES, CONFIRM_MAX, EVICTION_CHECK_EVERY,
};
use crate::proto::protect::{Handshake, member_nonce, open, reply_nonce, seal};
use crate::proto::rate::loss;
use crate::units::Instant;
use crate::wire::{
    self, Accept, Bye, ByeReason, DatagramKind, DropReason, Feedback, HandshakeHeader, Join,
    MemberHeader, Outcome, POLLUTED, RejectReason,
};

impl Sender {
    /// Takes a datagram that came to the sender's own address. Its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let taken = match wire::peek(datagram) {
            Err(wire::Error::Unknown { .. }) => {
                self.stats.unknown_kind += 1;
                Some(())
            }
            _ if self.is_one_way() => None,
            Ok((DatagramKind::Join, tag)) if tag == self.session.tag() => {
                self.handle_join(now, from, datagram)
            }
            Ok((DatagramKind::Feedback, tag)) if tag == self.session.tag() => {
                self.handle_feedback(now, datagram)
            }
            _ => None,
        };
        if taken.is_none() {
            self.stats.refused += 1;
        }
        self.settle(now);
    }

    /// `None` when the datagram was refused.
    fn handle_join(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Option<()> {
        let header = HandshakeHeader::parse(datagram)
            .ok()
            .filter(|_| from.port() != 0)?;
        if let Some(number) = self.members.by_key(&header.receiver_key) {
            return self.accept_again(now, from, number, datagram);
        }
        if !self.gate.admits(now, from.ip()) {
            return None;
        }
        let theirs = PublicKey(header.receiver_key);
        let both = [&self.public, &theirs];
        let shared = self.config.keys.shared.as_ref();
        let shape = self.shape();
        let greeting = Handshake::agree(self.session, &self.key, &theirs, both, shape, shared)?;
        let nonce = reply_nonce(DatagramKind::Join, 0);
        let join = Join::parse(open(
            &greeting.join,
            &nonce,
            datagram,
            HandshakeHeader::LEN,
        )?)
        .ok()?;
        if join.session != self.session {
            return None;
        }
        let listed = match self.admit(&join, from) {
            Ok(listed) => listed,
            Err(RejectReason::NextPass) => {
                self.reject(from, &theirs, &greeting, RejectReason::NextPass);
                self.waits(now, from, join);
                return Some(());
            }
            Err(reason) => {
                self.reject(from, &theirs, &greeting, reason);
                self.events.push_back(SenderEvent::TurnedAway {
                    name: join.name,
                    from,
                    reason,
                });
                return Some(());
            }
        };
        let identity = join.identity.map(PublicKey);
        let proof = match &identity {
            Some(identity) => Some((identity, self.key.agree(identity).ok()?)),
            None => None,
        };
        let pair = greeting.ciphers(proof.as_ref().map(|(key, secret)| (*key, secret)));
        let mut member = Member::new(&join, from, header.receiver_key, pair, self.tx, now);
        member.listed = listed;
        let number = self.members.add(member);
        self.accept(number);
        self.timers
            .set_earlier(alarm::EVICTION, now + EVICTION_CHECK_EVERY);
        Some(())
    }

    /// Whether a receiver may take part: its place in the list, if there is one.
    fn admit(&mut self, join: &Join, from: SocketAddr) -> Result<Option<usize>, RejectReason> {
        let listed = match (&self.config.keys.listed, join.identity) {
            (None, _) => None,
            (Some(_), None) => return Err(RejectReason::KeyNeeded),
            (Some(list), Some(key)) => {
                let place = list.iter().position(|l| l.key.0 == key);
                Some(place.ok_or(RejectReason::NotListed)?)
            }
        };
        if !self.policy().joinable || self.will_come_again(from) {
            Err(self.too_late())
        } else if !self.members.has_room() {
            Err(RejectReason::Full)
        } else {
            Ok(listed)
        }
    }

    fn reject(
        &mut self,
        to: SocketAddr,
        theirs: &PublicKey,
        greeting: &Handshake,
        reason: RejectReason,
    ) {
        let mut out = vec![];
        let nonce = reply_nonce(DatagramKind::Reject, reason as u16);
        self.emit_reply(DatagramKind::Reject, 0, theirs.0, &mut out);
        out.push(reason as u8);
        seal(&greeting.reject, &nonce, &mut out, 0, HandshakeHeader::LEN);
        self.reply(to, out);
    }

    /// A receiver asks again: our ACCEPT was lost. Until its first FEEDBACK its JOINs are all that
    /// shows that it lives.
    fn accept_again(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u32,
        datagram: &mut [u8],
    ) -> Option<()> {
        let member = self.members.get(number)?;
        let forgotten = member.forgotten;
        if member.is_confirmed() || !(member.is_active() || forgotten) {
            // It was on its way when the ACCEPT came.
            return Some(());
        }
        // Made room for others: it is let in again by the rules for those who are new.
        let again = forgotten && self.policy().joinable && self.gate.admits(now, from.ip());
        if forgotten && !(again && self.members.has_room()) {
            return None;
        }
        let member = self.members.get(number)?;
        let nonce = reply_nonce(DatagramKind::Join, 0);
        open(&member.pair.join, &nonce, datagram, HandshakeHeader::LEN)?;
        if !member.may_answer(now) {
            return Some(());
        }
        if forgotten {
            member.joined_at = now;
            member.heard_at = now;
            self.members.await_again(number);
        } else if now.since(member.joined_at) < CONFIRM_MAX {
            member.heard_at = now;
        }
        self.accept(number);
        Some(())
    }

    /// A receiver's first FEEDBACK: it has the keys, and may be counted on.
    fn confirm(&mut self, now: Instant, receiver: u32) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let (name, from, listed) = (member.name.clone(), member.addr, member.listed);
        self.came(now, receiver);
        self.events.push_back(SenderEvent::Joined {
            receiver,
            name,
            from,
            listed,
        });
        self.timers.set_earlier(alarm::POLL, now);
    }

    fn emit_reply(
        &self,
        kind: DatagramKind,
        number: u16,
        receiver_key: [u8; 32],
        out: &mut Vec<u8>,
    ) {
        HandshakeHeader {
            kind,
            number,
            tag: self.session.tag(),
            receiver_key,
        }
        .emit(out);
    }

    fn accept(&mut self, number: u32) {
        let session_secret = *self.secret.expose();
        let Some(member) = self.members.get(number) else {
            return;
        };
        let (addr, key, cipher) = (member.addr, member.key, member.pair.reply.clone());
        let mut out = vec![];
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        self.emit_reply(DatagramKind::Accept, number, key, &mut out);
        Accept { session_secret }.emit(&mut out);
        seal(
            &cipher,
            &reply_nonce(DatagramKind::Accept, number),
            &mut out,
            0,
            HandshakeHeader::LEN,
        );
        self.reply(addr, out);
    }

    fn reply(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.replies.len() < REPLIES_MAX {
            self.replies.push_back((to, datagram));
        }
    }

    /// `None` when the datagram was refused.
    fn handle_feedback(&mut self, now: Instant, datagram: &mut [u8]) -> Option<()> {
        let header = MemberHeader::parse(datagram).ok()?;
        let tx = self.tx;
        let member = self.members.get(header.receiver)?;
        let nonce = member_nonce(DatagramKind::Feedback, header.receiver, header.number);
        let body = open(&member.pair.feedback, &nonce, datagram, MemberHeader::LEN)?;
        let feedback = Feedback::parse(body).ok()?;
        if header.number < member.feedback_next {
            return None;
        }
        let first = !member.is_confirmed();
        self.stats.feedbacks += 1;
        if member.forgotten && first && self.window.first() == 0 {
            self.members.recall(header.receiver);
        } else if !member.is_active() {
            self.reconsider(header.receiver, feedback.outcome);
            let member = self.members.get(header.receiver)?;
            // It has not heard our BYE yet.
            let reason = bye_reason(member.fate);
            let number = header.number.saturating_add(1);
            let may = self.members.change(header.receiver, |member| {
                member.feedback_next = number;
                member.may_answer(now)
            })?;
            if may {
                self.bye(header.receiver, reason, 1);
            }
            return Some(());
        }
        let (step, loss, heard) = self.members.change(header.receiver, |member| {
            let step = member.update(&feedback, header.number, tx, now);
            member.sent += step.sent;
            member.arrived += step.received;
            member.nacks += u64::from(!feedback.needs.is_empty());
            (step, member.meter.loss(), member.tx_end)
        })?;
        self.stats.nacks += u64::from(!feedback.needs.is_empty());
        if first {
            self.confirm(now, header.receiver);
        }
        self.adapt(now, header.receiver, step);
        self.repair(now, &feedback, heard, loss);
        self.conclude(now, header.receiver, feedback.outcome);
        self.release();
        Some(())
    }

    /// One that was left for later has everything after all.
    fn reconsider(&mut self, receiver: u32, outcome: Outcome) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let digest = self.window.finished().map(|end| end.digest);
        let done = matches!(outcome, Outcome::Done(d) if Some(d) == digest);
        if !done || member.fate != Fate::Dropped(DropReason::NextPass) {
            return;
        }
        let (name, addr, fate) = (member.name.clone(), member.addr, Fate::Done);
        self.later.forget(addr);
        self.members.change(receiver, |member| member.fate = fate);
        self.events.push_back(SenderEvent::Finished {
            receiver,
            name,
            fate,
        });
    }

    /// Lets the rate follow what a receiver lost.
    fn adapt(&mut self, now: Instant, receiver: u32, step: loss::Step) {
        let sum = self.members.sum();
        let (receivers, rtt) = (sum.confirmed, sum.rtt);
        let bytes = (self.data_len() + self.config.ip_udp_len) as u64;
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let sent = loss::Sent {
            tx: self.tx,
            bytes,
            receivers,
            queue: member.trips.queue(),
            leaps: self.pace.leaps(),
        };
        match member.meter.report(now, step, sent) {
            loss::Verdict::Unknown => {}
            loss::Verdict::Usual => self.pace.rise(now, &member.trips),
            loss::Verdict::Forgiven => self.pace.acquit(),
            loss::Verdict::Queued(delivered) => {
                member.limiting_at = Some(now);
                self.pace.queued(now, delivered, &member.trips);
            }
            loss::Verdict::Behind(since, delivered) => {
                let under_way = member.trips.least();
                self.pace.behind(now, since, delivered, under_way);
            }
            loss::Verdict::Excess(delivered) => {
                member.limiting_at = Some(now);
                self.pace.cut(now, delivered, rtt);
            }
        }
    }

    /// Owes what a receiver asks for that has heard everything below transmission `heard`.
    fn repair(&mut self, now: Instant, feedback: &Feedback, heard: u64, loss: f64) {
        // What is not kept needs no look, nor any block a second one: a FEEDBACK costs no more than
        // the window is long.
        let mut from = self.window.first();
        let asker = RepairRequest {
            tx_end: heard,
            loss,
            once: !self.may_ask_again(),
        };
        for need in &feedback.needs {
            if need.symbols == POLLUTED {
                let manifests = self.window.doubt(need.block, now);
                self.manifests.extend(manifests);
                continue;
            }
            let end = need.block.saturating_add(u32::from(need.run));
            let end = end.min(self.window.edge());
            for block in need.block.max(from)..end {
                self.window.request(block, need.symbols, asker);
            }
            from = from.max(end);
        }
    }

    /// Whether it costs no time that a block needs another round: there is new data to send
    /// meanwhile, and far from the end of what the receivers can hold. Of many somebody would ask
    /// again for each block.
    fn may_ask_again(&self) -> bool {
        let sum = self.members.sum();
        let room = sum.window_end.saturating_sub(self.window.edge());
        sum.confirmed < AUTO_PARITY_RECEIVERS_MIN
            && self.window.has_source(sum.window_end)
            && room > sum.window / 2
    }

    /// Lets blocks go that every receiver has. Who may still show that it has the keys is waited
    /// for a little. The beginning is kept until there is no room for more, for those who come
    /// late.
    pub(super) fn release(&mut self) {
        if self.is_one_way() {
            self.window.release(self.window.group_start());
            return;
        }
        let sum = self.members.sum();
        let has_room = self.window.first() == 0 && !self.window.is_full();
        if sum.active == sum.confirmed && !has_room {
            self.window.release(sum.next);
        }
    }

    /// Takes note of a receiver that is done or leaves.
    fn conclude(&mut self, now: Instant, receiver: u32, outcome: Outcome) {
        let fate = match outcome {
            Outcome::Receiving => return,
            Outcome::Finishing => {
                let blocks = self.end_told().map(|end| end.blocks);
                if let Some(member) = self.members.get(receiver)
                    && blocks.is_some_and(|blocks| member.next >= blocks)
                {
                    member.finishing_since.get_or_insert(now);
                }
                return;
            }
            Outcome::Done(digest) => match self.end_told() {
                Some(end) if end.digest == digest => Fate::Done,
                _ => Fate::Dropped(DropReason::Differs),
            },
            Outcome::Leave(reason) => Fate::Left(reason),
        };
        self.finish_member(receiver, fate);
    }

    pub(super) fn finish_member(&mut self, receiver: u32, fate: Fate) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        if !member.is_confirmed() {
            // It never was there as far as anybody knows.
            self.members.forget(receiver);
            return;
        }
        let name = member.name.clone();
        if member.limiting_at.is_some() {
            self.pace.forget();
        }
        self.members.change(receiver, |member| member.fate = fate);
        if self.state == State::Gathering {
            self.members.forget(receiver);
            self.went(receiver);
        }
        self.events.push_back(SenderEvent::Finished {
            receiver,
            name,
            fate,
        });
        self.bye(receiver, bye_reason(fate), BYE_COPIES);
    }

    fn bye(&mut self, receiver: u32, reason: ByeReason, copies: u32) {
        for _ in 0..copies {
            let tag = self.session.tag();
            let Some(member) = self.members.get(receiver) else {
                return;
            };
            let number = member.byes;
            let Some(byes) = number.checked_add(1) else {
                return;
            };
            member.byes = byes;
            let (addr, cipher) = (member.addr, member.pair.bye.clone());
            let mut out = vec![];
            MemberHeader {
                kind: DatagramKind::Bye,
                tag,
                receiver,
                number,
            }
            .emit(&mut out);
            Bye { reason }.emit(&mut out);
            let nonce = member_nonce(DatagramKind::Bye, receiver, number);
            seal(&cipher, &nonce, &mut out, 0, MemberHeader::LEN);
            self.reply(addr, out);
        }
    }
}

/// What a receiver that fared so is told.
fn bye_reason(fate: Fate) -> ByeReason {
    match fate {
        Fate::Dropped(reason) => ByeReason::Dropped(reason),
        Fate::Left(_) => ByeReason::Left,
        Fate::Done | Fate::Active => ByeReason::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::limits::FINISH_MAX_DEFAULT;
    use crate::proto::{
        Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, SenderConfig, SenderEnd, Target,
    };
    use crate::units::Duration;
    use crate::wire::{AbortReason, LeaveReason};

    const STEP: Duration = Duration::from_ms(10);

    /// A sender and a receiver on a perfect cable.
    struct Two {
        now: Instant,
        sender: Sender,
        receiver: Receiver,
        /// What the receiver says does not get through for now.
        held: bool,
        kept: Vec<Vec<u8>>,
        /// The consumer has not done its work.
        busy: bool,
        /// The consumer takes nothing.
        blocked: bool,
        end: Option<SenderEnd>,
        received: Option<ReceiverEnd>,
    }

    impl Two {
        fn new() -> Self {
            Self::with(SenderConfig {
                receivers: 1,
                ..SenderConfig::default()
            })
        }

        fn with(config: SenderConfig) -> Self {
            let now = Instant::from_us(1);
            let ours = ReceiverConfig {
                name: "ours".into(),
                ..ReceiverConfig::default()
            };
            Self {
                now,
                sender: Sender::new(config, [1; 32], now),
                receiver: Receiver::new(ours, [2; 32], now),
                held: false,
                kept: Vec::new(),
                busy: false,
                blocked: false,
                end: None,
                received: None,
            }
        }

        fn step(&mut self) {
            self.now = self.now + STEP;
            let (now, peer) = (self.now, SocketAddr::from(([10, 0, 0, 1], 1)));
            self.sender.handle_timeout(now);
            self.receiver.handle_timeout(now);
            let mut buf = Vec::new();
            while let Some(transmit) = self.sender.poll_transmit(now, &mut buf) {
                for datagram in buf.chunks_mut(transmit.segment) {
                    self.receiver.handle_datagram(now, peer, datagram);
                }
            }
            while !self.blocked
                && let Some(delivery) = self.receiver.pull(now)
            {
                self.receiver.recycle(delivery.buf);
            }
            while let Some(event) = self.receiver.poll_event() {
                match event {
                    ReceiverEvent::Complete { .. } if !self.busy => self.receiver.consumed(now),
                    ReceiverEvent::Ended(end) => self.received = Some(end),
                    _ => {}
                }
            }
            while let Some(transmit) = self.receiver.poll_transmit(now, &mut buf) {
                assert_eq!(transmit.to, Target::Peer(peer));
                self.kept.push(buf.clone());
            }
            if !self.held {
                for mut datagram in self.kept.drain(..) {
                    self.sender.handle_datagram(now, peer, &mut datagram);
                }
            }
            while let Some(event) = self.sender.poll_event() {
                if let SenderEvent::Ended(end) = event {
                    self.end = Some(end);
                }
            }
        }

        fn run(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.step();
            }
        }
    }

    #[test]
    fn a_pause_of_the_input_is_not_a_receivers_fault() {
        let mut two = Two::new();
        two.sender.push(&[7; 1_000_000]);
        two.run(Duration::from_secs(300));
        two.sender.push(&[8; 1_000_000]);
        two.sender.finish();
        two.held = true;
        two.run(Duration::from_secs(2));
        assert_eq!(two.end, None, "it has had two seconds");
        two.held = false;
        two.run(Duration::from_secs(2));
        assert_eq!(two.end, Some(SenderEnd::Complete));
    }
    fn finishing() -> Two {
        let mut two = Two::new();
        two.busy = true;
        two.sender.push(&[7; 1_000_000]);
        two.sender.finish();
        two.run(Duration::from_secs(300));
        assert_eq!(two.end, None, "its consumer may take its time");
        two
    }

    #[test]
    fn a_consumer_may_take_longer_than_the_stall_time() {
        let mut two = finishing();
        let (feedbacks, datagrams) = (two.sender.stats().feedbacks, two.sender.stats().datagrams);
        two.run(Duration::from_secs(100));
        let stats = two.sender.stats();
        assert!(
            stats.feedbacks - feedbacks <= 110,
            "a word a second is enough"
        );
        assert!(
            stats.datagrams - datagrams <= 550,
            "END, POLL and ANNOUNCE go slowly"
        );
        two.receiver.consumed(two.now);
        two.run(Duration::from_secs(1));
        assert_eq!(two.end, Some(SenderEnd::Complete));
        assert_eq!(two.received, Some(ReceiverEnd::Complete));
    }

    #[test]
    fn a_consumer_that_never_ends_is_not_waited_for_for_ever() {
        let mut two = finishing();
        two.run(FINISH_MAX_DEFAULT);
        assert_eq!(two.end, Some(SenderEnd::AllLost));
        assert_eq!(
            two.received,
            Some(ReceiverEnd::Dropped(DropReason::Unfinished))
        );
    }

    #[test]
    fn a_complete_stream_outlives_its_sender() {
        let mut two = finishing();
        two.sender.abort(two.now, AbortReason::Interrupted, "");
        two.run(Duration::from_secs(20));
        assert_eq!(two.end, Some(SenderEnd::Aborted(AbortReason::Interrupted)));
        assert_eq!(two.received, None, "the consumer is still at it");
        two.receiver.consumed(two.now);
        two.run(Duration::from_secs(6));
        assert_eq!(two.received, Some(ReceiverEnd::Complete));
    }

    #[test]
    fn those_who_came_learn_that_there_is_no_start() {
        let mut two = Two::with(SenderConfig {
            receivers: 2,
            start_timeout: Some(Duration::from_secs(3)),
            ..SenderConfig::default()
        });
        two.run(Duration::from_ms(2_900));
        assert_eq!((&two.end, &two.received), (&None, &None));
        two.run(Duration::from_ms(300));
        assert_eq!(two.end, Some(SenderEnd::NobodyCame));
        let why = "only 1 of 2 receivers came".to_owned();
        let aborted = ReceiverEnd::Aborted(AbortReason::NotStarted, why);
        assert_eq!(two.received, Some(aborted));
    }

    #[test]
    fn without_a_stall_time_a_receiver_may_stand_still() {
        for (stall_max, waits) in [(None, true), (Some(Duration::from_secs(9)), false)] {
            let mut two = Two::with(SenderConfig {
                receivers: 1,
                stall_max,
                ..SenderConfig::default()
            });
            two.run(Duration::from_secs(1));
            two.blocked = true;
            two.sender.push(&[7; 1_000_000]);
            two.sender.finish();
            two.run(Duration::from_secs(300));
            assert_eq!(two.end.is_none(), waits);
        }
    }

    #[test]
    fn a_consumers_status_is_told() {
        let mut two = finishing();
        let reason = LeaveReason::Status(3);
        two.receiver.leave(two.now, reason);
        two.run(Duration::from_secs(1));
        assert_eq!(two.received, Some(ReceiverEnd::Left(reason)));
        assert_eq!(two.sender.members()[0].fate, Fate::Left(reason));
    }

    #[test]
    fn names_and_times_decide_the_start() {
        let config = SenderConfig {
            expect: vec!["ours".into(), "other".into()],
            min_wait: Duration::from_secs(10),
            max_wait: Some(Duration::from_secs(30)),
            ..SenderConfig::default()
        };
        let only = SenderConfig {
            expect: vec!["ours".into()],
            ..config.clone()
        };
        // Who started, and when: with everybody there, with somebody missing, and when told to.
        for (config, told, seconds) in [
            (only, false, 10),
            (config.clone(), false, 30),
            (config, true, 2),
        ] {
            let mut two = Two::with(config);
            assert!(!two.sender.start_now(two.now), "nobody is there");
            two.run(Duration::from_secs(1));
            let waiting = two.sender.waiting().unwrap();
            assert_eq!(waiting.joined, 1);
            assert_eq!(waiting.missing.len() as u32, waiting.wanted - 1);
            assert!(!told || two.sender.start_now(two.now));
            if !told {
                two.run(Duration::from_secs(seconds - 2));
                assert!(two.sender.is_waiting());
            }
            two.run(Duration::from_secs(2));
            assert!(!two.sender.is_waiting());
            assert!(two.sender.members()[0].awaited);
        }
    }
}
