//! One session that took us in: what was heard, and what is to be said.

use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;

use super::gather::{Gather, Taken};
use super::joining::Candidate;
use super::overheard::Overheard;
use super::ticket::{SoFar, Ticket};
use crate::crypt::aead::Cipher;
use crate::crypt::sign::VerifyingKey;
use crate::proto::block::Chain;
use crate::proto::event::ReceiverStats;
use crate::proto::limits::{
    BACKOFF_FREE_RECEIVERS, BACKOFF_RTTS, DONE_EVERY, NACK_RETRY_MAX, NACK_RETRY_MIN,
    PEER_SILENT_MAX, REPORT_MAX, REPORT_WAITING, RTT_MAX, RTT_MIN, SIGNED_SILENT_MAX, backoff_max,
};
use crate::proto::protect::{
    OpenedAnnounce, ReplayWindow, SignatureContext, member_nonce, multicast_cipher,
    multicast_nonce, open, seal, verify,
};
use crate::units::{Duration, Instant};
use crate::wire::{
    Abort, Accept, Announce, Bye, ByeReason, DatagramKind, ENTRIES_MAX, End, Feedback, HEADER_LEN,
    MemberHeader, MulticastHeader, Outcome, Poll, SessionId, SymbolHashes,
};

/// Of the ANNOUNCEs that come in this time one is checked, while we wait for the start.
const ANNOUNCE_CHECK_EVERY: Duration = Duration::from_ms(20);

/// What a datagram brought.
#[derive(Debug)]
pub(super) enum News {
    None,
    /// A block may be complete, or the end is known.
    Progress,
    Abort(Abort),
    /// It is authentic and yet makes no sense, and nobody but the sender could have made it.
    Wrong,
}

/// What we talk to the sender with, unless the session is one-way.
#[derive(Debug)]
struct Back {
    number: u32,
    feedback_cipher: Cipher,
    bye_cipher: Cipher,
}

/// A session in which we are.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    series: SessionId,
    sender: SocketAddr,
    cipher: Cipher,
    back: Option<Back>,
    /// The key that signs the sender's blocks and last words.
    signer: Option<VerifyingKey>,
    pub(super) gather: Gather,
    pub(super) started: bool,
    pub(super) completed: bool,
    pub(super) heard_at: Instant,
    /// When something was heard that the sender has signed, if it signs.
    signed_at: Instant,
    /// An ANNOUNCE is looked at again then.
    check_at: Instant,
    pub(super) repaired: u64,
    heard: ReplayWindow,
    /// The first transmission heard: those before it were not meant for us.
    heard_from: Option<u64>,
    received: u32,
    datagrams: u64,
    poll_tx: Option<u64>,
    echo: Option<(u64, Instant)>,
    rtt: Duration,
    receivers: u32,
    report_every: u32,
    report: Duration,
    reported_at: Instant,
    since_report: u32,
    /// Something is to be said now.
    due: bool,
    outcome: Outcome,
    /// The sender was told, perhaps in vain, that only the consumer has something to do.
    finishing_told: bool,
    feedbacks: u32,
    nacks: u64,
}

impl Session {
    /// One that took us in, which takes up the stream from the beginning, or from what was handed
    /// out of it in another session of the series.
    pub(super) fn joined(
        chosen: &Candidate,
        number: u32,
        accept: &Accept,
        blocks: usize,
        so_far: Option<Chain>,
        now: Instant,
    ) -> Self {
        let (a, pair) = (&chosen.announce, &chosen.pair);
        let back = Back {
            number,
            feedback_cipher: pair.feedback.clone(),
            bye_cipher: pair.bye.clone(),
        };
        let cipher = multicast_cipher(a.session, &accept.session_secret);
        let mut gather = Gather::new(a, blocks, chosen.signer);
        if let Some(so_far) = so_far {
            gather.go_on(so_far.in_session(a.session));
        }
        Self::new(gather, a, chosen.from, cipher, now)
            .signed_by(chosen.signer)
            .talking(back)
    }

    /// One-way: one that does not know of us.
    pub(super) fn overheard(chosen: Overheard, blocks: usize, now: Instant) -> Self {
        let gather = Gather::new(&chosen.announce, blocks, chosen.signer);
        let from = chosen.from;
        Self::new(gather, &chosen.announce, from, chosen.cipher, now).signed_by(chosen.signer)
    }

    fn signed_by(self, signer: Option<VerifyingKey>) -> Self {
        Self { signer, ..self }
    }

    fn talking(self, back: Back) -> Self {
        let back = Some(back);
        Self { back, ..self }
    }

    fn new(
        gather: Gather,
        announce: &Announce,
        sender: SocketAddr,
        cipher: Cipher,
        now: Instant,
    ) -> Self {
        Self {
            id: announce.session,
            series: announce.series,
            sender,
            cipher,
            back: None,
            signer: None,
            gather,
            started: false,
            completed: false,
            heard_at: now,
            signed_at: now,
            check_at: now,
            repaired: 0,
            heard: ReplayWindow::new(),
            heard_from: None,
            received: 0,
            datagrams: 0,
            poll_tx: None,
            echo: None,
            rtt: RTT_MIN,
            receivers: 1,
            report_every: u32::MAX,
            report: REPORT_WAITING,
            reported_at: now,
            since_report: 0,
            // The first FEEDBACK says that we have the keys.
            due: true,
            outcome: Outcome::Receiving,
            finishing_told: false,
            feedbacks: 0,
            nacks: 0,
        }
    }

    /// What it takes to go on in another session of the series.
    pub(super) fn ticket(&self, now: Instant) -> Ticket {
        let so_far = SoFar {
            chain: self.gather.chain(),
            shape: self.gather.shape(),
        };
        Ticket::new(self.series, self.signer, Some(so_far), now)
    }

    /// Whether we say nothing.
    pub(super) fn is_one_way(&self) -> bool {
        self.back.is_none()
    }

    pub(super) fn tag(&self) -> u32 {
        self.id.tag()
    }

    /// Takes a multicast datagram of this session. `None` when it is malformed, forged or replayed.
    pub(super) fn handle(&mut self, now: Instant, datagram: &mut [u8]) -> Option<News> {
        let header = MulticastHeader::parse(datagram).ok()?;
        if !self.heard.is_new(header.sequence) {
            return None;
        }
        let nonce = multicast_nonce(header.sequence);
        let body = open(&self.cipher, &nonce, datagram, HEADER_LEN)?;
        self.heard.mark(header.sequence);
        self.heard_from.get_or_insert(header.sequence);
        self.heard_at = now;
        self.received = self.received.wrapping_add(1);
        self.datagrams += 1;
        self.since_report += 1;
        if self.since_report >= self.report_every {
            self.due = true;
        }
        let news = match header.kind {
            DatagramKind::Data => self.handle_data(now, &header, body),
            DatagramKind::Poll => {
                let poll = Poll::parse(self.signed(SignatureContext::Poll, body)?).ok()?;
                self.handle_poll(now, header.sequence, &poll)
            }
            DatagramKind::End => {
                let end = End::parse(self.signed(SignatureContext::End, body)?).ok()?;
                match header.following {
                    0 => self.gather.sent_all(),
                    _ if self.is_one_way() => {}
                    _ => return None,
                }
                if self.gather.finish(end) {
                    News::Progress
                } else {
                    News::Wrong
                }
            }
            DatagramKind::Hashes => {
                let manifest =
                    SymbolHashes::parse(self.signed(SignatureContext::Hashes, body)?).ok()?;
                self.gather.take_manifest(&manifest);
                News::Progress
            }
            _ => News::Abort(Abort::parse(self.signed(SignatureContext::Abort, body)?).ok()?),
        };
        Some(news)
    }

    /// A body without its signature, which is the sender's if it signs at all.
    fn signed<'a>(&self, purpose: SignatureContext, body: &'a [u8]) -> Option<&'a [u8]> {
        let Some(signer) = &self.signer else {
            return Some(body);
        };
        let (body, signature) = body.split_last_chunk()?;
        verify(signer, purpose, self.id, body, signature).ok()?;
        Some(body)
    }

    /// Whether this is an ANNOUNCE of this session, signed by its signer if it has one.
    pub(super) fn is_ours(&mut self, now: Instant, announced: &OpenedAnnounce<'_>) -> bool {
        let announce = &announced.announce;
        let named = announce.protection.signer == self.signer.map(|key| *key.as_bytes());
        if announce.session != self.id || !named || now < self.check_at {
            return false;
        }
        // A signature costs time to check, and it is only for people who wait.
        self.check_at = now + ANNOUNCE_CHECK_EVERY;
        announced.verify() == Ok(self.signer)
    }

    /// When the sender is lost, if nothing more is heard of it.
    pub(super) fn lost_at(&self) -> Instant {
        let silent = self.heard_at + PEER_SILENT_MAX;
        match self.signer {
            Some(_) => silent.min(self.signed_at + SIGNED_SILENT_MAX),
            None => silent,
        }
    }

    fn handle_data(&mut self, now: Instant, header: &MulticastHeader, symbol: &[u8]) -> News {
        self.started = true;
        let taken = self.gather.take(header, symbol);
        if self.is_one_way() {
            self.gather.sent_before(header.block);
        } else if header.repair {
            let wait = self.retry(0);
            self.gather
                .promised(header.block, header.following, now + wait);
        }
        match taken {
            Taken::Kept => News::Progress,
            Taken::Needless | Taken::NoRoom => News::None,
            // Nothing tells which of the two is true: the first stays.
            Taken::Clash if self.signer.is_some() && self.is_one_way() => News::None,
            Taken::Clash if self.signer.is_some() => {
                self.gather.doubt(header.block);
                News::Progress
            }
            // Any member may have made it up.
            Taken::Wrong if self.signer.is_some() => News::None,
            Taken::Wrong | Taken::Clash => News::Wrong,
        }
    }

    fn handle_poll(&mut self, now: Instant, tx: u64, poll: &Poll) -> News {
        if self.poll_tx.is_some_and(|newest| newest > tx) {
            return News::None;
        }
        self.poll_tx = Some(tx);
        // A member can repeat what was signed before, but not turn the clock on.
        if self
            .echo
            .is_none_or(|(clock_us, _)| poll.clock_us > clock_us)
        {
            self.signed_at = now;
        }
        self.echo = Some((poll.clock_us, now));
        self.rtt = Duration::from_us(u64::from(poll.rtt_us)).clamp(RTT_MIN, RTT_MAX);
        self.receivers = poll.receivers;
        self.report_every = poll.report_every.max(1);
        self.report = Duration::from_us(u64::from(poll.report_us)).min(REPORT_MAX);
        self.gather.pass_full(poll.watermark);
        self.gather.sent(poll.watermark);
        News::Progress
    }

    /// Reads a BYE to us.
    pub(super) fn open_bye(&self, datagram: &mut [u8]) -> Option<ByeReason> {
        let back = self.back.as_ref()?;
        let header = MemberHeader::parse(datagram).ok()?;
        if header.receiver != back.number {
            return None;
        }
        let nonce = member_nonce(DatagramKind::Bye, header.receiver, header.number);
        let body = open(&back.bye_cipher, &nonce, datagram, MemberHeader::LEN)?;
        Some(Bye::parse(body).ok()?.reason)
    }

    /// A block was handed out: a sender that waits for room wants to know soon.
    pub(super) fn delivered(&mut self, now: Instant) {
        self.signed_at = now;
        self.since_report = self.since_report.max(1);
    }

    /// From now on every FEEDBACK says how it ended.
    pub(super) fn conclude(&mut self, now: Instant, outcome: Outcome) {
        self.outcome = outcome;
        self.due = true;
        self.reported_at = now;
    }

    /// When to report even if nothing asks for it.
    pub(super) fn report_at(&self) -> Instant {
        let every = if self.outcome != Outcome::Receiving {
            DONE_EVERY
        } else if self.finishing_told {
            REPORT_MAX
        } else if self.since_report > 0 {
            self.report
        } else if !self.started {
            self.report.max(REPORT_WAITING)
        } else {
            REPORT_MAX
        };
        self.reported_at + every
    }

    /// The report's time has come, perhaps.
    pub(super) fn report_due(&mut self, now: Instant) {
        self.due |= now >= self.report_at();
    }

    /// Something is lacking for long enough.
    pub(super) fn nack_due(&mut self) {
        self.due = true;
    }

    /// When to ask for what is lacking.
    pub(super) fn nack_at(&mut self, now: Instant, rng: &mut StdRng) -> Option<Instant> {
        if self.outcome != Outcome::Receiving {
            return None;
        }
        let (receivers, rtt) = (self.receivers, self.rtt);
        let patience = self.retry(0);
        self.gather
            .schedule(now, patience, || backoff(receivers, rtt, rng))
    }

    fn retry(&self, times: u32) -> Duration {
        let first = self.rtt.times(BACKOFF_RTTS).max(NACK_RETRY_MIN);
        first.times(1 << times.min(10)).min(NACK_RETRY_MAX)
    }

    /// Writes a FEEDBACK if one is due; says where it goes.
    pub(super) fn emit_feedback(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<SocketAddr> {
        let back = self.back.as_ref()?;
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let receiver = back.number;
        let retries = [0, 1, 2, 3, 4, 5, 6].map(|n| self.retry(n));
        let retry = |times: u32| retries[usize::try_from(times).unwrap_or(6).min(6)];
        let needs = match self.outcome {
            Outcome::Receiving => self.gather.needs(now, ENTRIES_MAX, retry),
            Outcome::Done(_) | Outcome::Leave(_) | Outcome::Finishing => Vec::new(),
        };
        let outcome = match self.outcome {
            Outcome::Receiving if self.completed => Outcome::Finishing,
            outcome => outcome,
        };
        self.finishing_told = outcome == Outcome::Finishing;
        self.nacks += u64::from(!needs.is_empty());
        let (echo_us, held) = self
            .echo
            .map_or((0, Duration::ZERO), |(c, at)| (c, now.since(at)));
        let feedback = Feedback {
            next: self.gather.next(),
            window_end: self.gather.window_end(),
            sequence_end: self.heard.end(),
            received: self.received,
            echo_us,
            hold_us: u32::try_from(held.as_us()).unwrap_or(u32::MAX),
            outcome,
            needs,
        };
        let number = self.feedbacks;
        self.feedbacks = self.feedbacks.checked_add(1)?;
        MemberHeader {
            kind: DatagramKind::Feedback,
            tag: self.id.tag(),
            receiver,
            number,
        }
        .emit(buf);
        feedback.emit(buf);
        let nonce = member_nonce(DatagramKind::Feedback, receiver, number);
        seal(&back.feedback_cipher, &nonce, buf, 0, MemberHeader::LEN);
        self.since_report = 0;
        self.reported_at = now;
        Some(self.sender)
    }

    /// What was counted here and, in `base`, before.
    pub(super) fn stats(&self, base: ReceiverStats) -> ReceiverStats {
        let sent = self.heard.end() - self.heard_from.unwrap_or(0);
        ReceiverStats {
            bytes: self.gather.length(),
            datagrams: base.datagrams + self.datagrams,
            lost: base.lost + sent.saturating_sub(self.datagrams),
            repaired: base.repaired + self.repaired,
            nacks: base.nacks + self.nacks,
            feedbacks: base.feedbacks + u64::from(self.feedbacks),
            ..base
        }
    }
}

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
