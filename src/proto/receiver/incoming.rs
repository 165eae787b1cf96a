//! The multicast datagrams of a session, as a receiver hears them: opened, checked, counted; and
//! the stream that they carry.

use super::reassembly::{Pulled, Reassembler};
use crate::crypt::aead::Cipher;
use crate::crypt::sign::VerifyingKey;
use crate::proto::event::{Delivery, ReceiverStats};
use crate::proto::limits::{PEER_SILENT_MAX, SIGNED_SILENT_MAX};
use crate::proto::protect::{
    OpenedAnnounce, ReplayWindow, SignatureContext, multicast_nonce, open, verify,
};
use crate::units::{Duration, Instant};
use crate::wire::{
    Abort, Announce, DatagramKind, End, HEADER_LEN, MulticastHeader, Poll, SessionId, SymbolHashes,
};

/// Of the ANNOUNCEs that come in this time one is checked, while we wait for the start.
const ANNOUNCE_CHECK_EVERY: Duration = Duration::from_ms(20);

/// What an authentic datagram holds.
#[derive(Debug)]
pub(in crate::proto) enum Payload<'a> {
    /// The bytes of a symbol.
    Symbol(&'a [u8]),
    Poll(Poll),
    End(End),
    Hashes(SymbolHashes),
    Abort(Abort),
}

/// What a datagram leads to.
#[derive(Debug)]
pub(in crate::proto) enum Effect {
    None,
    /// A block may be complete, or the end is known.
    Progress,
    Abort(Abort),
    /// It is authentic and yet makes no sense, and nobody but the sender could have made it.
    Nonsense,
}

/// What [`Incoming::pull`] found.
#[derive(Debug)]
pub(in crate::proto) enum Next {
    Data(Delivery),
    Nothing,
    Corrupt,
}

/// Where the consumer stands, when the stream's end may be near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum StreamState {
    /// More is to be handed out.
    Underway,
    /// So many bytes were handed out, which is all: told once.
    Complete(u64),
    /// It is not what the sender says it is.
    Corrupt,
}

/// What the signature of a datagram of this kind is for; nothing for DATA, which has none.
fn signature_context(kind: DatagramKind) -> Option<SignatureContext> {
    match kind {
        DatagramKind::Poll => Some(SignatureContext::Poll),
        DatagramKind::End => Some(SignatureContext::End),
        DatagramKind::Hashes => Some(SignatureContext::Hashes),
        DatagramKind::Abort => Some(SignatureContext::Abort),
        _ => None,
    }
}

/// What is heard of a session in which a receiver takes part.
#[derive(Debug)]
pub(in crate::proto) struct Incoming {
    id: SessionId,
    cipher: Cipher,
    /// The key that signs the sender's blocks and last words.
    signer: Option<VerifyingKey>,
    pub(in crate::proto) reassembler: Reassembler,
    /// A symbol came.
    pub(in crate::proto) started: bool,
    /// Everything was handed out, which was told.
    pub(in crate::proto) completed: bool,
    heard_at: Instant,
    /// The sender is lost when nothing was heard of it for this time.
    pub(in crate::proto) silent_max: Duration,
    /// When something was heard that the sender has signed, if it signs.
    signed_at: Instant,
    /// An ANNOUNCE is looked at again then.
    check_at: Instant,
    replay_window: ReplayWindow,
    /// The first transmission heard: those before it were not meant for us.
    heard_from: Option<u64>,
    datagrams: u64,
    repaired: u64,
    /// The newest POLL.
    poll: Option<u64>,
    /// The sender's clock in the newest POLL, and when that came.
    clock: Option<(u64, Instant)>,
}

impl Incoming {
    pub(in crate::proto) fn new(
        announce: &Announce,
        cipher: Cipher,
        signer: Option<VerifyingKey>,
        reassembler: Reassembler,
        now: Instant,
    ) -> Self {
        let replay_window = match signer {
            Some(_) => ReplayWindow::signed(announce.sequence),
            None => ReplayWindow::new(),
        };
        Self {
            id: announce.session,
            cipher,
            signer,
            reassembler,
            started: false,
            completed: false,
            heard_at: now,
            silent_max: PEER_SILENT_MAX,
            signed_at: now,
            check_at: now,
            replay_window,
            heard_from: None,
            datagrams: 0,
            repaired: 0,
            poll: None,
            clock: None,
        }
    }

    pub(in crate::proto) fn tag(&self) -> u32 {
        self.id.tag()
    }

    /// The key that signs what the sender says, if it signs.
    pub(in crate::proto) fn signer(&self) -> Option<VerifyingKey> {
        self.signer
    }

    /// Authentic datagrams so far.
    pub(in crate::proto) fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// The same, as FEEDBACK counts them: modulo 2^32.
    pub(in crate::proto) fn received(&self) -> u32 {
        u32::try_from(self.datagrams & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// One more than the highest sequence number heard.
    pub(in crate::proto) fn sequence_end(&self) -> u64 {
        self.replay_window.end()
    }

    /// The sender's clock in the newest POLL, and when that came.
    pub(in crate::proto) fn clock(&self) -> Option<(u64, Instant)> {
        self.clock
    }

    /// Opens a datagram of this session. `None` when it is malformed, forged or replayed.
    pub(in crate::proto) fn open<'a>(
        &mut self,
        now: Instant,
        datagram: &'a mut [u8],
    ) -> Option<(MulticastHeader, Payload<'a>)> {
        let header = MulticastHeader::parse(datagram).ok()?;
        let context = signature_context(header.kind).filter(|_| self.signer.is_some());
        let signed = context.is_some();
        if !self.replay_window.is_new(header.sequence, signed) {
            return None;
        }
        let nonce = multicast_nonce(header.sequence);
        let head: [u8; HEADER_LEN] = *datagram.first_chunk()?;
        let mut body = &*open(&self.cipher, &nonce, datagram, HEADER_LEN)?;
        if let (Some(signer), Some(context)) = (&self.signer, context) {
            let (text, signature) = body.split_last_chunk()?;
            let all = [&head, text].concat();
            verify(signer, context, self.id, &all, signature).ok()?;
            body = text;
        }
        let is_first = self.replay_window.mark(header.sequence, signed);
        self.heard_from.get_or_insert(header.sequence);
        self.heard_at = now;
        self.datagrams += u64::from(is_first);
        let content = match header.kind {
            DatagramKind::Data => {
                self.started = true;
                Payload::Symbol(body)
            }
            DatagramKind::Poll => Payload::Poll(Poll::parse(body).ok()?),
            DatagramKind::End => Payload::End(End::parse(body).ok()?),
            DatagramKind::Hashes => Payload::Hashes(SymbolHashes::parse(body).ok()?),
            _ => Payload::Abort(Abort::parse(body).ok()?),
        };
        Some((header, content))
    }

    /// Takes note of a POLL; `false` if a newer one came before.
    pub(in crate::proto) fn on_poll(&mut self, now: Instant, sequence: u64, poll: &Poll) -> bool {
        if self.poll.is_some_and(|newest| newest > sequence) {
            return false;
        }
        self.poll = Some(sequence);
        // A member can repeat what was signed before, but not turn the clock on.
        if self
            .clock
            .is_none_or(|(clock_us, _)| poll.clock_us > clock_us)
        {
            self.signed_at = now;
        }
        self.clock = Some((poll.clock_us, now));
        self.reassembler.on_watermark(poll.watermark);
        true
    }

    /// Takes the end of the stream in.
    pub(in crate::proto) fn on_end(&mut self, end: End) -> Effect {
        match self.reassembler.finish(end) {
            true => Effect::Progress,
            false => Effect::Nonsense,
        }
    }

    /// Hands the next block out, if it is complete.
    pub(in crate::proto) fn pull(&mut self, now: Instant) -> Next {
        match self.reassembler.pull() {
            Pulled::Data { delivery, repaired } => {
                self.repaired += u64::from(repaired);
                self.signed_at = now;
                Next::Data(delivery)
            }
            Pulled::Nothing => Next::Nothing,
            Pulled::Corrupt => Next::Corrupt,
        }
    }

    /// Looks whether the end is reached.
    pub(in crate::proto) fn stream_state(&mut self) -> StreamState {
        if self.reassembler.contradicts_end() {
            StreamState::Corrupt
        } else if self.reassembler.complete().is_some() && !self.completed {
            self.completed = true;
            StreamState::Complete(self.reassembler.length())
        } else {
            StreamState::Underway
        }
    }

    /// Whether this is an ANNOUNCE of this session, signed by its signer if it has one.
    pub(in crate::proto) fn is_ours(
        &mut self,
        now: Instant,
        announced: &OpenedAnnounce<'_>,
    ) -> bool {
        let announce: &Announce = &announced.announce;
        let named = announce.protection.signer == self.signer.map(|key| *key.as_bytes());
        if announce.session != self.id || !named || now < self.check_at {
            return false;
        }
        // A signature costs time to check, and it is only for people who wait.
        self.check_at = now + ANNOUNCE_CHECK_EVERY;
        announced.verify() == Ok(self.signer)
    }

    /// When the sender is lost, if nothing more is heard of it.
    pub(in crate::proto) fn lost_at(&self) -> Instant {
        let silent = self.heard_at + self.silent_max;
        match self.signer {
            Some(_) => silent.min(self.signed_at + self.signed_silent_max()),
            None => silent,
        }
    }

    /// For how long the sender was silent, when it is lost.
    pub(in crate::proto) fn silence(&self, now: Instant) -> Duration {
        match now.since(self.heard_at) >= self.silent_max {
            true => self.silent_max,
            false => self.signed_silent_max(),
        }
    }

    fn signed_silent_max(&self) -> Duration {
        self.silent_max.max(SIGNED_SILENT_MAX)
    }

    /// What was counted here and, in `base`, before.
    pub(in crate::proto) fn stats(&self, base: ReceiverStats) -> ReceiverStats {
        let end = self.replay_window.end();
        let sent = end.saturating_sub(self.heard_from.unwrap_or(0));
        ReceiverStats {
            bytes: self.reassembler.length(),
            datagrams: base.datagrams + self.datagrams,
            lost: base.lost + sent.saturating_sub(self.datagrams),
            repaired: base.repaired + self.repaired,
            ..base
        }
    }
}
