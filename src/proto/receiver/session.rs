//! A session that took us in: what was heard, and what is to be said.

use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;

use super::incoming::{Effect, Incoming, Next, Payload};
use super::reassembly::{Intake, Reassembler};
use super::resume::{ResumeState, StreamPosition};
use super::search::Candidate;
use crate::crypt::aead::Cipher;
use crate::proto::block::Chain;
use crate::proto::event::{Delivery, ReceiverStats};
use crate::proto::limits::{
    BACKOFF_FREE_RECEIVERS, BACKOFF_RTTS, DONE_EVERY, NACK_RETRY_MAX, NACK_RETRY_MIN, REPORT_MAX,
    REPORT_WAITING, RTT_MAX, RTT_MIN, SENDER_MOVED_AFTER, backoff_max,
};
use crate::proto::protect::{member_nonce, multicast_cipher, open, seal};
use crate::units::{Duration, Instant};
use crate::wire::{
    Accept, Bye, ByeReason, DatagramKind, ENTRIES_MAX, Feedback, MemberHeader, MulticastHeader,
    Outcome, Poll, SessionId,
};

/// The way back to the sender.
#[derive(Debug)]
struct FeedbackChannel {
    sender: SocketAddr,
    /// When it was known to be there.
    sender_at: Instant,
    tag: u32,
    /// Our number.
    receiver: u32,
    feedback_cipher: Cipher,
    bye_cipher: Cipher,
    /// FEEDBACKs so far, which is the number of the next.
    feedbacks: u32,
}

impl FeedbackChannel {
    /// The newest POLL came from this address: the sender's, unless somebody repeats what it says,
    /// as long as it is not heard at the old one.
    fn follow(&mut self, now: Instant, from: SocketAddr) {
        if from != self.sender && now.since(self.sender_at) < SENDER_MOVED_AFTER {
            return;
        }
        (self.sender, self.sender_at) = (from, now);
    }

    /// Writes a FEEDBACK; nothing when there are no numbers left.
    fn emit(&mut self, feedback: &Feedback, buf: &mut Vec<u8>) -> Option<SocketAddr> {
        let (kind, number) = (DatagramKind::Feedback, self.feedbacks);
        self.feedbacks = number.checked_add(1)?;
        MemberHeader {
            kind,
            tag: self.tag,
            receiver: self.receiver,
            number,
        }
        .emit(buf);
        feedback.emit(buf);
        let nonce = member_nonce(kind, self.receiver, number);
        seal(&self.feedback_cipher, &nonce, buf, 0, MemberHeader::LEN);
        Some(self.sender)
    }

    /// Reads a BYE to us.
    fn open_bye(&self, datagram: &mut [u8]) -> Option<ByeReason> {
        let header = MemberHeader::parse(datagram).ok()?;
        if header.receiver != self.receiver {
            return None;
        }
        let nonce = member_nonce(DatagramKind::Bye, header.receiver, header.number);
        let body = open(&self.bye_cipher, &nonce, datagram, MemberHeader::LEN)?;
        Some(Bye::parse(body).ok()?.reason)
    }
}

/// When to report, as the sender's newest POLL has it.
#[derive(Debug)]
struct ReportSchedule {
    /// After so many datagrams.
    every: u32,
    /// After this time.
    after: Duration,
    reported_at: Instant,
    /// Datagrams since then.
    heard: u32,
    /// Something is to be said now.
    due: bool,
}

/// What the sender says of the group, by which requests are spread.
#[derive(Clone, Copy, Debug)]
struct GroupInfo {
    rtt: Duration,
    receivers: u32,
}

impl GroupInfo {
    /// The time after which to ask again, having asked so many times.
    fn retry(self, times: u32) -> Duration {
        let first = self.rtt.times(BACKOFF_RTTS).max(NACK_RETRY_MIN);
        first.times(1 << times.min(10)).min(NACK_RETRY_MAX)
    }
}

/// A session in which we are.
#[derive(Debug)]
pub(super) struct Session {
    series: SessionId,
    pub(super) incoming: Incoming,
    feedback: FeedbackChannel,
    report: ReportSchedule,
    group: GroupInfo,
    outcome: Outcome,
    /// The sender was told, perhaps in vain, that only the consumer has something to do.
    finishing_told: bool,
    nacks: u64,
}

impl Session {
    /// One that took us in, which takes up the stream from the beginning, or from what was handed
    /// out of it in another session of the series.
    pub(super) fn joined(
        chosen: &Candidate,
        receiver: u32,
        accept: &Accept,
        blocks: usize,
        so_far: Option<Chain>,
        now: Instant,
    ) -> Self {
        let (announce, ciphers) = (&chosen.announce, chosen.ciphers.member(accept));
        let mut reassembler = Reassembler::new(announce, blocks, chosen.signer, true);
        if let Some(so_far) = so_far {
            reassembler.resume(so_far.in_session(announce.session));
        }
        let cipher = multicast_cipher(announce.session, &accept.session_secret);
        let id = announce.session;
        Self {
            series: announce.series,
            incoming: Incoming::new(announce, cipher, chosen.signer, reassembler, now),
            feedback: FeedbackChannel {
                sender: chosen.from,
                sender_at: now,
                tag: id.tag(),
                receiver,
                feedback_cipher: ciphers.feedback,
                bye_cipher: ciphers.bye,
                feedbacks: 0,
            },
            report: ReportSchedule {
                every: u32::MAX,
                after: REPORT_WAITING,
                reported_at: now,
                heard: 0,
                // The first FEEDBACK says that we have the keys.
                due: true,
            },
            group: GroupInfo {
                rtt: RTT_MIN,
                receivers: 1,
            },
            outcome: Outcome::Receiving,
            finishing_told: false,
            nacks: 0,
        }
    }

    /// What it takes to go on in another session of the series.
    pub(super) fn resume_state(&self, now: Instant) -> ResumeState {
        let position = StreamPosition {
            chain: self.incoming.reassembler.chain(),
            shape: self.incoming.reassembler.shape(),
        };
        ResumeState::new(self.series, self.incoming.signer(), Some(position), now)
    }

    /// Where the sender is.
    pub(super) fn sender(&self) -> SocketAddr {
        self.feedback.sender
    }

    /// Takes a multicast datagram of this session. `None` when it is malformed, forged or replayed.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Option<Effect> {
        let before = self.incoming.datagrams();
        let opened = self.incoming.open(now, datagram);
        if self.incoming.datagrams() > before {
            self.report.heard += 1;
            self.report.due |= self.report.heard >= self.report.every;
        }
        let (header, content) = opened?;
        Some(match content {
            Payload::Symbol(symbol) => self.handle_symbol(now, &header, symbol),
            Payload::Poll(poll) => self.handle_poll(now, from, header.sequence, &poll),
            // Those of a one-way session count down.
            Payload::End(_) if header.following != 0 => return None,
            Payload::End(end) => self.incoming.on_end(end),
            Payload::Hashes(hashes) => {
                self.incoming.reassembler.take_hashes(&hashes);
                Effect::Progress
            }
            Payload::Abort(abort) => Effect::Abort(abort),
        })
    }

    fn handle_symbol(&mut self, now: Instant, header: &MulticastHeader, symbol: &[u8]) -> Effect {
        let reassembler = &mut self.incoming.reassembler;
        let intake = reassembler.take(header, symbol);
        if header.repair {
            let wait_until = now + self.group.retry(0);
            reassembler.on_promise(header.block, header.following, wait_until);
        }
        let signed = self.incoming.signer().is_some();
        match intake {
            Intake::Stored => Effect::Progress,
            Intake::Redundant | Intake::NoRoom => Effect::None,
            Intake::Conflict if signed => {
                self.incoming.reassembler.suspect(header.block);
                Effect::Progress
            }
            // Any member may have made it up.
            Intake::Invalid if signed => Effect::None,
            Intake::Invalid | Intake::Conflict => Effect::Nonsense,
        }
    }

    fn handle_poll(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sequence: u64,
        poll: &Poll,
    ) -> Effect {
        if !self.incoming.on_poll(now, sequence, poll) {
            return Effect::None;
        }
        self.feedback.follow(now, from);
        let rtt = Duration::from_us(u64::from(poll.rtt_us));
        self.group = GroupInfo {
            rtt: rtt.clamp(RTT_MIN, RTT_MAX),
            receivers: poll.receivers,
        };
        self.report.every = poll.report_every.max(1);
        self.report.after = Duration::from_us(u64::from(poll.report_us)).min(REPORT_MAX);
        Effect::Progress
    }

    /// Reads a BYE to us.
    pub(super) fn open_bye(&self, datagram: &mut [u8]) -> Option<ByeReason> {
        self.feedback.open_bye(datagram)
    }

    /// Hands the next block out; `Err` when it is not what the sender made.
    pub(super) fn pull(&mut self, now: Instant) -> Result<Option<Delivery>, Corrupt> {
        match self.incoming.pull(now) {
            Next::Data(delivery) => {
                // A sender that waits for room wants to know soon.
                self.report.heard = self.report.heard.max(1);
                Ok(Some(delivery))
            }
            Next::Nothing => Ok(None),
            Next::Corrupt => Err(Corrupt),
        }
    }

    /// From now on every FEEDBACK says how it ended.
    pub(super) fn conclude(&mut self, now: Instant, outcome: Outcome) {
        self.outcome = outcome;
        self.report.due = true;
        self.report.reported_at = now;
    }

    /// When to report even if nothing asks for it.
    pub(super) fn report_at(&self) -> Instant {
        let every = if self.outcome != Outcome::Receiving {
            DONE_EVERY
        } else if self.finishing_told {
            REPORT_MAX
        } else if self.report.heard > 0 {
            self.report.after
        } else if !self.incoming.started {
            self.report.after.max(REPORT_WAITING)
        } else {
            REPORT_MAX
        };
        self.report.reported_at + every
    }

    /// The report's time has come, perhaps.
    pub(super) fn report_due(&mut self, now: Instant) {
        self.report.due |= now >= self.report_at();
    }

    /// Something is lacking for long enough.
    pub(super) fn nack_due(&mut self) {
        self.report.due = true;
    }

    /// When to ask for what is lacking.
    pub(super) fn nack_at(&mut self, now: Instant, rng: &mut StdRng) -> Option<Instant> {
        if self.outcome != Outcome::Receiving {
            return None;
        }
        let group = self.group;
        let reassembler = &mut self.incoming.reassembler;
        reassembler.schedule_nacks(now, group.retry(0), || {
            backoff(group.receivers, group.rtt, rng)
        })
    }

    /// Writes a FEEDBACK if one is due; says where it goes.
    pub(super) fn emit_feedback(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<SocketAddr> {
        if !std::mem::take(&mut self.report.due) {
            return None;
        }
        let retries = [0, 1, 2, 3, 4, 5, 6].map(|n| self.group.retry(n));
        let retry = |times: u32| retries[usize::try_from(times).unwrap_or(6).min(6)];
        let reassembler = &mut self.incoming.reassembler;
        let needs = match self.outcome {
            Outcome::Receiving => reassembler.needs(now, ENTRIES_MAX, retry),
            Outcome::Done(_) | Outcome::Leave(_) | Outcome::Finishing => Vec::new(),
        };
        let (next, window_end) = (reassembler.next(), reassembler.window_end());
        let outcome = match self.outcome {
            Outcome::Receiving if self.incoming.completed => Outcome::Finishing,
            outcome => outcome,
        };
        self.finishing_told = outcome == Outcome::Finishing;
        self.nacks += u64::from(!needs.is_empty());
        let clock = self.incoming.clock();
        let (echo_us, held) = clock.map_or((0, Duration::ZERO), |(c, at)| (c, now.since(at)));
        let feedback = Feedback {
            next,
            window_end,
            sequence_end: self.incoming.sequence_end(),
            received: self.incoming.received(),
            echo_us,
            hold_us: u32::try_from(held.as_us()).unwrap_or(u32::MAX),
            outcome,
            needs,
        };
        let to = self.feedback.emit(&feedback, buf)?;
        self.report.heard = 0;
        self.report.reported_at = now;
        Some(to)
    }

    /// What was counted here and, in `base`, before.
    pub(super) fn stats(&self, base: ReceiverStats) -> ReceiverStats {
        ReceiverStats {
            nacks: base.nacks + self.nacks,
            feedbacks: base.feedbacks + u64::from(self.feedback.feedbacks),
            ..self.incoming.stats(base)
        }
    }
}

/// The next block is not what the sender made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corrupt;

/// A random delay before asking, so that few of many ask: RFC 5401 section 3.2.2.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a random positive time of at most a few seconds"
)]
fn backoff(receivers: u32, rtt: Duration, rng: &mut StdRng) -> Duration {
    if receivers <= BACKOFF_FREE_RECEIVERS {
        return Duration::ZERO;
    }
    let longest = backoff_max(receivers, rtt).as_us() as f64;
    let lambda = f64::from(receivers).ln() + 1.0;
    let growth = lambda.exp() - 1.0;
    let low = lambda / (longest * growth);
    let x = low + rng.random::<f64>() * lambda / longest;
    let delay = longest / lambda * (x * growth * longest / lambda).ln();
    Duration::from_us(delay.clamp(0.0, longest) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn of_many_only_few_ask_at_once() {
        let mut rng = StdRng::from_seed([1; 32]);
        let rtt = Duration::from_ms(10);
        assert_eq!(backoff(4, rtt, &mut rng), Duration::ZERO);
        let delays: Vec<_> = (0..1_000).map(|_| backoff(1_000, rtt, &mut rng)).collect();
        assert!(delays.iter().all(|&d| d <= backoff_max(1_000, rtt)));
        let first = *delays.iter().min().unwrap();
        let together = delays.iter().filter(|&&d| d < first + rtt).count();
        assert!(
            (1..20).contains(&together),
            "{together} within a round trip of the first"
        );
    }
}
