//! What receivers say to the sender: JOIN and FEEDBACK; and who is let go.

use std::net::SocketAddr;

use super::roster::Member;
use super::{REPLIES_MAX, Sender, State, alarm};
use crate::crypt::agree::PublicKey;
use crate::proto::config::{BYE_COPIES, CONFIRM_MAX, IP_UDP_LEN, ROLL_CALL_EVERY};
use crate::proto::event::{Fate, SenderEvent};
use crate::proto::pace;
use crate::proto::protect::{Pair, counter_nonce, open, reply_nonce, seal};
use crate::units::Instant;
use crate::wire::{
    self, Accept, Bye, ByeHeader, Feedback, FeedbackHeader, Join, Kind, Outcome, RejectReason,
    ReplyHeader, Verdict,
};

impl Sender {
    /// Takes a datagram that came to the sender's own address. Its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let taken = match wire::peek(datagram) {
            Ok((Kind::Join, tag)) if tag == self.session.tag() => {
                self.handle_join(now, from, datagram)
            }
            Ok((Kind::Feedback, tag)) if tag == self.session.tag() => {
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
        let header = ReplyHeader::parse(datagram)
            .ok()
            .filter(|_| from.port() != 0)?;
        if let Some(number) = self.roster.by_key(&header.receiver_key) {
            return self.accept_again(now, number, datagram);
        }
        if !self.gate.admits(now, from.ip()) {
            return None;
        }
        let theirs = PublicKey(header.receiver_key);
        let pair = Pair::agree(self.session, &self.key, &theirs, &self.public, &theirs)?;
        let nonce = reply_nonce(Kind::Join, 0);
        let join = Join::parse(open(&pair.join, &nonce, datagram, ReplyHeader::LEN)?).ok()?;
        if join.session != self.session {
            return None;
        }
        let refusal = if !self.policy().joinable {
            Some(RejectReason::TooLate)
        } else if !self.roster.has_room() {
            Some(RejectReason::Full)
        } else {
            None
        };
        if let Some(reason) = refusal {
            let mut body = vec![];
            let nonce = reply_nonce(Kind::Reject, reason as u8);
            self.emit_reply(Kind::Reject, header.receiver_key, &mut body);
            body.push(reason as u8);
            seal(&pair.reply, &nonce, &mut body, 0, ReplyHeader::LEN);
            self.reply(from, body);
            self.events.push_back(SenderEvent::TurnedAway {
                name: join.name,
                reason,
            });
            return Some(());
        }
        let member = Member::new(&join, from, header.receiver_key, pair, self.tx, now);
        let number = self.roster.add(member);
        self.accept(number);
        self.timers
            .set_earlier(alarm::ROLL_CALL, now + ROLL_CALL_EVERY);
        Some(())
    }

    /// A receiver asks again: our ACCEPT was lost. Until its first FEEDBACK its JOINs are all that
    /// shows that it lives.
    fn accept_again(&mut self, now: Instant, number: u32, datagram: &mut [u8]) -> Option<()> {
        let member = self.roster.get(number)?;
        if member.is_confirmed() || !member.is_active() {
            return None;
        }
        let nonce = reply_nonce(Kind::Join, 0);
        open(&member.pair.join, &nonce, datagram, ReplyHeader::LEN)?;
        if now.since(member.joined_at) < CONFIRM_MAX {
            member.heard_at = now;
        }
        self.accept(number);
        Some(())
    }

    /// A receiver's first FEEDBACK: it has the keys, and may be counted on.
    fn confirm(&mut self, now: Instant, receiver: u32) {
        let Some(member) = self.roster.get(receiver) else {
            return;
        };
        let (name, from) = (member.name.clone(), member.addr);
        self.events.push_back(SenderEvent::Joined {
            receiver,
            name,
            from,
        });
        self.timers.set_earlier(alarm::POLL, now);
        let first = *self.first_join.get_or_insert(now);
        if self.state != State::Gathering {
            return;
        }
        let wanted = self.config.receivers;
        if wanted > 0 && self.joined() >= wanted {
            self.timers.set(alarm::START, now);
        } else {
            if wanted == 0 {
                self.timers.set(alarm::START, now + self.config.settle);
            }
            if let Some(max_wait) = self.config.max_wait {
                self.timers.set_earlier(alarm::START, first + max_wait);
            }
        }
    }

    fn emit_reply(&self, kind: Kind, receiver_key: [u8; 32], out: &mut Vec<u8>) {
        ReplyHeader {
            kind,
            tag: self.session.tag(),
            receiver_key,
        }
        .emit(out);
    }

    fn accept(&mut self, number: u32) {
        let session_secret = *self.secret.expose();
        let Some(member) = self.roster.get(number) else {
            return;
        };
        let (addr, key, cipher) = (member.addr, member.key, member.pair.reply.clone());
        let mut out = vec![];
        self.emit_reply(Kind::Accept, key, &mut out);
        Accept {
            receiver: number,
            session_secret,
        }
        .emit(&mut out);
        seal(
            &cipher,
            &reply_nonce(Kind::Accept, 0),
            &mut out,
            0,
            ReplyHeader::LEN,
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
        let header = FeedbackHeader::parse(datagram).ok()?;
        let tx = self.tx;
        let member = self.roster.get(header.receiver)?;
        let nonce = counter_nonce(Kind::Feedback as u8, u64::from(header.number));
        let body = open(&member.pair.feedback, &nonce, datagram, FeedbackHeader::LEN)?;
        let feedback = Feedback::parse(body).ok()?;
        if header.number < member.feedback_next {
            return None;
        }
        let first = !member.is_confirmed();
        self.stats.feedbacks += 1;
        if member.forgotten && first && self.window.first() == 0 {
            self.roster.recall(header.receiver);
        } else if !member.is_active() {
            // It has not heard our BYE yet.
            let verdict = match member.fate {
                Fate::Dropped(verdict) => verdict,
                Fate::Left(_) => Verdict::Left,
                Fate::Done | Fate::Active => Verdict::Thanks,
            };
            self.bye(header.receiver, verdict, 1);
            return Some(());
        }
        let (step, loss, heard) = self.roster.change(header.receiver, |member| {
            let step = member.update(&feedback, header.number, tx, now);
            member.nacks += u64::from(!feedback.needs.is_empty());
            (step, member.meter.loss(), member.tx_end)
        })?;
        self.stats.nacks += u64::from(!feedback.needs.is_empty());
        if first {
            self.confirm(now, header.receiver);
        }
        self.adapt(now, header.receiver, step.sent, step.received);
        self.repair(&feedback, heard, loss);
        self.conclude(header.receiver, feedback.outcome);
        self.release();
        Some(())
    }

    /// Lets the rate follow what a receiver lost.
    fn adapt(&mut self, now: Instant, receiver: u32, sent: u64, received: u64) {
        let bytes = (self.data_len() + IP_UDP_LEN) as u64;
        let rtt = self.roster.sum().rtt;
        let Some(member) = self.roster.get(receiver) else {
            return;
        };
        match member.meter.report(now, sent, received, bytes) {
            pace::Verdict::Unknown => {}
            pace::Verdict::Usual(delivered) => self.pace.rise(now, delivered),
            pace::Verdict::Excess(delivered) => {
                member.excess_at = Some(now);
                self.pace.cut(now, delivered, rtt);
            }
        }
    }

    /// Owes what a receiver asks for that has heard everything below transmission `heard`.
    fn repair(&mut self, feedback: &Feedback, heard: u64, loss: f64) {
        // What is not kept needs no look, nor any block a second one: a FEEDBACK costs no more than
        // the window is long.
        let mut from = self.window.first();
        for need in &feedback.needs {
            let end = need.block.saturating_add(u32::from(need.run));
            let end = end.min(self.window.edge());
            for block in need.block.max(from)..end {
                self.window.request(block, need.symbols, heard, loss);
            }
            from = from.max(end);
        }
    }

    /// Lets blocks go that every receiver has. Who may still show that it has the keys is waited
    /// for a little.
    pub(super) fn release(&mut self) {
        let sum = self.roster.sum();
        if sum.active == sum.confirmed {
            self.window.release(sum.next);
        }
    }

    /// Takes note of a receiver that is done or leaves.
    fn conclude(&mut self, receiver: u32, outcome: Outcome) {
        let (fate, verdict) = match outcome {
            Outcome::Receiving => return,
            Outcome::Done(digest) => match self.end_told() {
                Some(end) if end.digest == digest => (Fate::Done, Verdict::Thanks),
                _ => (Fate::Dropped(Verdict::Differs), Verdict::Differs),
            },
            Outcome::Leave(reason) => (Fate::Left(reason), Verdict::Left),
        };
        self.finish_member(receiver, fate, verdict);
    }

    pub(super) fn finish_member(&mut self, receiver: u32, fate: Fate, verdict: Verdict) {
        let Some(member) = self.roster.get(receiver) else {
            return;
        };
        if !member.is_confirmed() {
            // It never was there as far as anybody knows.
            self.roster.forget(receiver);
            return;
        }
        let name = member.name.clone();
        if member.excess_at.is_some() {
            self.pace.forget();
        }
        self.roster.change(receiver, |member| member.fate = fate);
        if self.state == State::Gathering {
            // It has missed nothing: its place is free again.
            self.roster.forget(receiver);
            if self.roster.sum().joined == 0 {
                self.first_join = None;
                self.timers.clear(alarm::START);
            }
        }
        self.events.push_back(SenderEvent::Finished {
            receiver,
            name,
            fate,
        });
        self.bye(receiver, verdict, BYE_COPIES);
    }

    fn bye(&mut self, receiver: u32, verdict: Verdict, copies: u32) {
        for _ in 0..copies {
            let tag = self.session.tag();
            let Some(member) = self.roster.get(receiver) else {
                return;
            };
            let number = member.byes;
            member.byes += 1;
            let (addr, cipher) = (member.addr, member.pair.bye.clone());
            let mut out = vec![];
            ByeHeader {
                tag,
                receiver,
                number,
            }
            .emit(&mut out);
            Bye { verdict }.emit(&mut out);
            let nonce = counter_nonce(Kind::Bye as u8, u64::from(number));
            seal(&cipher, &nonce, &mut out, 0, ByeHeader::LEN);
            self.reply(addr, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Receiver, ReceiverConfig, ReceiverEvent, SenderConfig, SenderEnd, Target};
    use crate::units::Duration;

    const STEP: Duration = Duration::from_ms(10);

    /// A sender and a receiver on a perfect cable.
    struct Two {
        now: Instant,
        sender: Sender,
        receiver: Receiver,
        /// What the receiver says does not get through for now.
        held: bool,
        kept: Vec<Vec<u8>>,
        end: Option<SenderEnd>,
    }

    impl Two {
        fn new() -> Self {
            let now = Instant::from_us(1);
            let config = SenderConfig {
                receivers: 1,
                ..SenderConfig::default()
            };
            Self {
                now,
                sender: Sender::new(config, [1; 32], now),
                receiver: Receiver::new(ReceiverConfig::default(), [2; 32], now),
                held: false,
                kept: Vec::new(),
                end: None,
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
            while let Some(delivery) = self.receiver.pull(now) {
                self.receiver.recycle(delivery.buf);
            }
            while let Some(event) = self.receiver.poll_event() {
                if matches!(event, ReceiverEvent::Complete { .. }) {
                    self.receiver.consumed(now);
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
}
