//! One session that took us in: what was heard, and what is to be said.

use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;

use super::gather::{Gather, Taken};
use crate::crypt::aead::Cipher;
use crate::proto::config::{
    BACKOFF_FREE_RECEIVERS, BACKOFF_RTTS, DONE_EVERY, NACK_RETRY_MAX, NACK_RETRY_MIN, REPORT_MAX,
    REPORT_WAITING, RTT_MAX, RTT_MIN, backoff_max,
};
use crate::proto::event::ReceiverStats;
use crate::proto::protect::{
    Heard, Pair, counter_nonce, multicast_cipher, multicast_nonce, open, seal,
};
use crate::units::{Duration, Instant};
use crate::wire::{
    Abort, Accept, Announce, Bye, ByeHeader, ENTRIES_MAX, End, Feedback, FeedbackHeader,
    HEADER_LEN, Header, Kind, Outcome, Poll, SessionId, Verdict,
};

/// What a datagram brought.
#[derive(Debug)]
pub(super) enum News {
    None,
    /// A block may be complete, or the end is known.
    Progress,
    Abort(Abort),
    /// It is authentic and yet makes no sense.
    Wrong,
}

/// A session in which we are.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    sender: SocketAddr,
    number: u32,
    cipher: Cipher,
    feedback_cipher: Cipher,
    bye_cipher: Cipher,
    pub(super) gather: Gather,
    pub(super) started: bool,
    pub(super) completed: bool,
    pub(super) heard_at: Instant,
    pub(super) repaired: u64,
    heard: Heard,
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
    feedbacks: u32,
    nacks: u64,
}

impl Session {
    pub(super) fn new(
        announce: &Announce,
        sender: SocketAddr,
        pair: &Pair,
        accept: &Accept,
        blocks: usize,
        now: Instant,
    ) -> Self {
        let a = announce;
        Self {
            id: a.session,
            sender,
            number: accept.receiver,
            cipher: multicast_cipher(a.session, &accept.session_secret),
            feedback_cipher: pair.feedback.clone(),
            bye_cipher: pair.bye.clone(),
            gather: Gather::new(a.session, a.k, a.symbol_len, a.depth, blocks),
            started: false,
            completed: false,
            heard_at: now,
            repaired: 0,
            heard: Heard::new(),
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
            feedbacks: 0,
            nacks: 0,
        }
    }

    pub(super) fn tag(&self) -> u32 {
        self.id.tag()
    }

    /// Whether `session` is this one and its data has not begun to flow.
    pub(super) fn is_waiting(&self, session: SessionId) -> bool {
        self.id == session && !self.started
    }

    /// Takes a multicast datagram of this session. `None` when it is malformed, forged or replayed.
    pub(super) fn handle(&mut self, now: Instant, datagram: &mut [u8]) -> Option<News> {
        let header = Header::parse(datagram).ok()?;
        if !self.heard.is_new(header.tx) {
            return None;
        }
        let nonce = multicast_nonce(header.tx);
        let body = open(&self.cipher, &nonce, datagram, HEADER_LEN)?;
        self.heard.mark(header.tx);
        self.heard_from.get_or_insert(header.tx);
        self.heard_at = now;
        self.received = self.received.wrapping_add(1);
        self.datagrams += 1;
        self.since_report += 1;
        if self.since_report >= self.report_every {
            self.due = true;
        }
        let news = match header.kind {
            Kind::Data => self.handle_data(now, &header, body),
            Kind::Poll => self.handle_poll(now, header.tx, &Poll::parse(body).ok()?),
            Kind::End if self.gather.finish(End::parse(body).ok()?) => News::Progress,
            Kind::End => News::Wrong,
            _ => News::Abort(Abort::parse(body).ok()?),
        };
        Some(news)
    }

    fn handle_data(&mut self, now: Instant, header: &Header, symbol: &[u8]) -> News {
        self.started = true;
        let taken = self.gather.take(header, symbol);
        if header.repair {
            let wait = self.retry(0);
            self.gather.promised(header.block, header.left, now + wait);
        }
        match taken {
            Taken::Kept => News::Progress,
            Taken::Needless | Taken::NoRoom => News::None,
            Taken::Wrong => News::Wrong,
        }
    }

    fn handle_poll(&mut self, now: Instant, tx: u64, poll: &Poll) -> News {
        if self.poll_tx.is_some_and(|newest| newest > tx) {
            return News::None;
        }
        self.poll_tx = Some(tx);
        self.echo = Some((poll.clock_us, now));
        self.rtt = Duration::from_us(u64::from(poll.rtt_us)).clamp(RTT_MIN, RTT_MAX);
        self.receivers = poll.receivers;
        self.report_every = poll.report_every.max(1);
        self.report = Duration::from_us(u64::from(poll.report_us)).min(REPORT_MAX);
        self.gather.pass_full(poll.edge);
        News::Progress
    }

    /// Reads a BYE to us.
    pub(super) fn open_bye(&self, datagram: &mut [u8]) -> Option<Verdict> {
        let header = ByeHeader::parse(datagram).ok()?;
        if header.receiver != self.number {
            return None;
        }
        let nonce = counter_nonce(Kind::Bye as u8, u64::from(header.number));
        let body = open(&self.bye_cipher, &nonce, datagram, ByeHeader::LEN)?;
        Some(Bye::parse(body).ok()?.verdict)
    }

    /// A block was handed out: a sender that waits for room wants to know soon.
    pub(super) fn delivered(&mut self) {
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
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let retries = [0, 1, 2, 3, 4, 5, 6].map(|n| self.retry(n));
        let retry = |times: u32| retries[usize::try_from(times).unwrap_or(6).min(6)];
        let needs = match self.outcome {
            Outcome::Receiving => self.gather.needs(now, ENTRIES_MAX, retry),
            Outcome::Done(_) | Outcome::Leave(_) => Vec::new(),
        };
        self.nacks += u64::from(!needs.is_empty());
        let (echo_us, held) = self
            .echo
            .map_or((0, Duration::ZERO), |(c, at)| (c, now.since(at)));
        let feedback = Feedback {
            next: self.gather.next(),
            window_end: self.gather.window_end(),
            tx_end: self.heard.end(),
            received: self.received,
            echo_us,
            hold_us: u32::try_from(held.as_us()).unwrap_or(u32::MAX),
            outcome: self.outcome,
            needs,
        };
        let (receiver, number) = (self.number, self.feedbacks);
        self.feedbacks = self.feedbacks.checked_add(1)?;
        FeedbackHeader {
            tag: self.id.tag(),
            receiver,
            number,
        }
        .emit(buf);
        feedback.emit(buf);
        let nonce = counter_nonce(Kind::Feedback as u8, u64::from(number));
        seal(&self.feedback_cipher, &nonce, buf, 0, FeedbackHeader::LEN);
        self.since_report = 0;
        self.reported_at = now;
        Some(self.sender)
    }

    pub(super) fn stats(&self, base: ReceiverStats) -> ReceiverStats {
        let sent = self.heard.end() - self.heard_from.unwrap_or(0);
        ReceiverStats {
            bytes: self.gather.length(),
            datagrams: self.datagrams,
            lost: sent.saturating_sub(self.datagrams),
            repaired: self.repaired,
            nacks: self.nacks,
            feedbacks: u64::from(self.feedbacks),
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
