//! What leaves a sender: datagrams with their headers, sequence numbers and seals; and whose turn
//! it is.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::block_ring::OutgoingSymbol;
use super::send_window::SendWindow;
use crate::crypt::aead::Cipher;
use crate::crypt::agree::PublicKey;
use crate::proto::config::SenderConfig;
use crate::proto::event::SenderEnd;
use crate::proto::keys::SenderKeys;
use crate::proto::protect::{SignatureContext, emit_announce, multicast_nonce, seal, sign};
use crate::units::Duration;
use crate::wire::{
    ANNOUNCE_PADDED_LEN, Abort, AbortReason, Announce, DATA_OVERHEAD, DatagramKind, End,
    HEADER_LEN, MulticastHeader, Poll, Protection, SessionId, SessionStatus, SymbolHashes,
};

/// Replies to receivers that wait to be sent, at most; more are dropped, and asked for again.
const REPLIES_MAX: usize = 4_096;

/// Control datagrams to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::proto) enum Due {
    Announce = 1,
    Poll = 2,
    End = 4,
}

/// What every ANNOUNCE of a session says, but for how far the session is.
pub(in crate::proto) fn announcement(
    config: &SenderConfig,
    session: SessionId,
    public: &PublicKey,
    depth: u16,
) -> Announce {
    let keys = &config.keys;
    Announce {
        session,
        series: config.series.id.unwrap_or(session),
        sender_key: public.0,
        k: config.k,
        symbol_len: config.symbol_len,
        depth,
        status: SessionStatus::default(),
        sequence: 0,
        protection: Protection {
            signer: keys.signing.as_ref().map(|key| *key.public().as_bytes()),
            listed: keys.listed.is_some(),
            shared: keys.shared.is_some(),
            one_way: config.one_way.is_some(),
        },
        name: config.name.clone(),
    }
}

/// The ABORTs that are still to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) struct AbortCopies {
    pub(in crate::proto) abort: Abort,
    copies: u32,
    /// The time between two of them.
    pub(in crate::proto) every: Duration,
}

impl AbortCopies {
    pub(in crate::proto) fn new(
        reason: AbortReason,
        text: &str,
        copies: u32,
        every: Duration,
    ) -> Self {
        let text = text.to_owned();
        Self {
            abort: Abort { reason, text },
            copies,
            every,
        }
    }

    /// One was sent: whether it was the last.
    pub(in crate::proto) fn is_last(&mut self) -> bool {
        self.copies = self.copies.saturating_sub(1);
        self.copies == 0
    }

    /// How the session ends after the last.
    pub(in crate::proto) fn end(&self) -> SenderEnd {
        match self.abort.reason {
            AbortReason::NotStarted => SenderEnd::NoReceivers,
            reason => SenderEnd::Aborted(reason),
        }
    }
}

/// A control datagram under the session's key. If the sender signs, no member can make one up.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) enum Control<'a> {
    Poll(&'a Poll),
    End(&'a End),
    Abort(&'a Abort),
    Hashes(&'a SymbolHashes),
}

impl Control<'_> {
    fn kind(self) -> (DatagramKind, SignatureContext) {
        match self {
            Self::Poll(_) => (DatagramKind::Poll, SignatureContext::Poll),
            Self::End(_) => (DatagramKind::End, SignatureContext::End),
            Self::Abort(_) => (DatagramKind::Abort, SignatureContext::Abort),
            Self::Hashes(_) => (DatagramKind::Hashes, SignatureContext::Hashes),
        }
    }

    fn emit(self, out: &mut Vec<u8>) {
        match self {
            Self::Poll(poll) => poll.emit(out),
            Self::End(end) => end.emit(out),
            Self::Abort(abort) => abort.emit(out),
            Self::Hashes(hashes) => hashes.emit(out),
        }
    }
}

/// Datagrams of a session on their way out.
#[derive(Debug)]
pub(in crate::proto) struct Outgoing {
    /// What every ANNOUNCE says.
    announce: Announce,
    keys: SenderKeys,
    cipher: Cipher,
    /// The number of the next transmission, and part of its nonce.
    sequence: u64,
    /// The [`Due`] control datagrams, a bit each.
    due: u8,
    hashes: VecDeque<SymbolHashes>,
    /// ENDs that follow the next one.
    ends_following: u16,
    replies: VecDeque<(SocketAddr, Vec<u8>)>,
    replied_last: bool,
}

impl Outgoing {
    pub(in crate::proto) fn new(announce: Announce, keys: SenderKeys, cipher: Cipher) -> Self {
        Self {
            announce,
            keys,
            cipher,
            sequence: 0,
            due: 0,
            hashes: VecDeque::new(),
            ends_following: 0,
            replies: VecDeque::new(),
            replied_last: false,
        }
    }

    pub(in crate::proto) fn session(&self) -> SessionId {
        self.announce.session
    }

    /// What every ANNOUNCE says, and what the last one said of how far the session is.
    pub(in crate::proto) fn announced(&self) -> &Announce {
        &self.announce
    }

    /// The first session of the series.
    pub(in crate::proto) fn series(&self) -> SessionId {
        self.announce.series
    }

    /// The number of the next transmission.
    pub(in crate::proto) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of a DATA datagram.
    pub(in crate::proto) fn data_len(&self) -> usize {
        usize::from(self.announce.symbol_len) + DATA_OVERHEAD
    }

    pub(in crate::proto) fn set_due(&mut self, due: Due) {
        self.due |= due as u8;
    }

    pub(in crate::proto) fn is_due(&self, due: Due) -> bool {
        self.due & due as u8 != 0
    }

    /// Whether this is due; it is not due any more.
    pub(in crate::proto) fn take_due(&mut self, due: Due) -> bool {
        let was = self.is_due(due);
        self.due &= !(due as u8);
        was
    }

    /// Sends these hashes as soon as possible.
    pub(in crate::proto) fn push_hashes(&mut self, hashes: Vec<SymbolHashes>) {
        self.hashes.extend(hashes);
    }

    pub(in crate::proto) fn pop_hashes(&mut self) -> Option<SymbolHashes> {
        self.hashes.pop_front()
    }

    /// How many ENDs follow the one that is sent next.
    pub(in crate::proto) fn set_ends_following(&mut self, ends: u16) {
        self.ends_following = ends;
    }

    pub(in crate::proto) fn ends_following(&self) -> u16 {
        self.ends_following
    }

    /// Sends a datagram to one receiver; dropped when too many wait.
    pub(in crate::proto) fn reply(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.replies.len() < REPLIES_MAX {
            self.replies.push_back((to, datagram));
        }
    }

    /// Whether every reply was sent.
    pub(in crate::proto) fn has_replied(&self) -> bool {
        self.replies.is_empty()
    }

    /// Drops what waits to be sent to single receivers.
    #[cfg(test)]
    pub(in crate::proto) fn drop_replies(&mut self) {
        self.replies.clear();
    }

    /// Whether a datagram to the group has the turn: a receiver that asks again and again must not
    /// keep the stream from the others.
    pub(in crate::proto) fn take_group_turn(&mut self) -> bool {
        std::mem::take(&mut self.replied_last)
    }

    /// Writes the next reply, and says where it goes.
    pub(in crate::proto) fn emit_reply(&mut self, buf: &mut Vec<u8>) -> Option<SocketAddr> {
        let (to, reply) = self.replies.pop_front()?;
        self.replied_last = true;
        buf.extend_from_slice(&reply);
        Some(to)
    }

    /// Writes an ANNOUNCE.
    pub(in crate::proto) fn emit_announce(&mut self, status: SessionStatus, buf: &mut Vec<u8>) {
        (self.announce.status, self.announce.sequence) = (status, self.sequence);
        // Receivers of a one-way session answer nothing.
        let padded_len = match self.announce.protection.one_way {
            true => 0,
            false => ANNOUNCE_PADDED_LEN,
        };
        emit_announce(&self.announce, &self.keys, padded_len, buf);
    }

    /// Writes a control datagram.
    pub(in crate::proto) fn emit_control(&mut self, control: Control<'_>, buf: &mut Vec<u8>) {
        let (kind, purpose) = control.kind();
        let (start, sequence) = (buf.len(), self.next_sequence());
        MulticastHeader {
            kind,
            tag: self.session().tag(),
            repair: false,
            auto_parity: 0,
            symbol: 0,
            sequence,
            following: match control {
                Control::End(_) => self.ends_following,
                Control::Poll(_) | Control::Abort(_) | Control::Hashes(_) => 0,
            },
            block: 0,
        }
        .emit(buf);
        control.emit(buf);
        if let Some(key) = &self.keys.signing {
            // The header, too: nobody else may say which number is reached.
            let signature = sign(key, purpose, self.session(), &buf[start..]);
            buf.extend_from_slice(&signature);
        }
        let nonce = multicast_nonce(sequence);
        seal(&self.cipher, &nonce, buf, start, start + HEADER_LEN);
    }

    /// Writes up to `count` symbols that `next` names for their sequence numbers; returns how many.
    pub(in crate::proto) fn emit_symbols(
        &mut self,
        window: &mut SendWindow,
        count: u64,
        buf: &mut Vec<u8>,
        mut next: impl FnMut(&mut SendWindow, u64) -> Option<OutgoingSymbol>,
    ) -> u64 {
        let mut sent = 0;
        while sent < count
            && let Some(symbol) = next(window, self.sequence)
        {
            self.emit_symbol(symbol, window, buf);
            sent += 1;
        }
        sent
    }

    fn emit_symbol(&mut self, symbol: OutgoingSymbol, window: &SendWindow, buf: &mut Vec<u8>) {
        let (start, sequence) = (buf.len(), self.next_sequence());
        MulticastHeader {
            kind: DatagramKind::Data,
            tag: self.session().tag(),
            repair: symbol.repair,
            auto_parity: symbol.auto_parity,
            symbol: symbol.number,
            sequence,
            following: symbol.following,
            block: symbol.block,
        }
        .emit(buf);
        window.write(symbol, buf);
        debug_assert_eq!(
            buf.len() - start,
            HEADER_LEN + usize::from(self.announce.symbol_len)
        );
        let nonce = multicast_nonce(sequence);
        seal(&self.cipher, &nonce, buf, start, start + HEADER_LEN);
    }

    fn next_sequence(&mut self) -> u64 {
        let sequence = self.sequence;
        assert!(
            sequence < 1 << 48,
            "2^48 datagrams are more than 2^32 blocks can need"
        );
        self.sequence += 1;
        sequence
    }

    /// The sender's public key of this session, for tests that join by hand.
    #[cfg(test)]
    pub(in crate::proto) fn sender_key(&self) -> PublicKey {
        PublicKey(self.announce.sender_key)
    }

    /// The session's cipher, for tests that forge.
    #[cfg(test)]
    pub(in crate::proto) fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    /// The sender's signature of another text, for tests that forge.
    #[cfg(test)]
    pub(in crate::proto) fn sign(&self, purpose: SignatureContext, text: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.signing.as_ref()?;
        Some(sign(key, purpose, self.session(), text).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::protect::{multicast_cipher, open};

    const SESSION: SessionId = SessionId([3; 16]);

    fn outgoing() -> Outgoing {
        let config = SenderConfig::default();
        let announce = announcement(&config, SESSION, &PublicKey([2; 32]), 1);
        let cipher = multicast_cipher(SESSION, &[1; 32]);
        Outgoing::new(announce, config.keys, cipher)
    }

    #[test]
    fn replies_and_the_group_take_turns_and_a_flood_is_dropped() {
        let (mut outgoing, mut buf) = (outgoing(), Vec::new());
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        for _ in 0..REPLIES_MAX + 9 {
            outgoing.reply(addr, vec![1, 2]);
        }
        let mut sent = 0;
        assert!(!outgoing.take_group_turn());
        while outgoing.emit_reply(&mut buf).is_some() {
            assert!(outgoing.take_group_turn() && !outgoing.take_group_turn());
            sent += 1;
        }
        assert_eq!((sent, buf.len()), (REPLIES_MAX, REPLIES_MAX * 2));
    }

    #[test]
    fn what_is_due_is_sent_once() {
        let mut outgoing = outgoing();
        outgoing.set_due(Due::Poll);
        outgoing.set_due(Due::End);
        assert!(!outgoing.take_due(Due::Announce));
        assert!(outgoing.take_due(Due::Poll) && !outgoing.take_due(Due::Poll));
        assert!(outgoing.is_due(Due::End));
    }

    #[test]
    fn each_transmission_has_a_number_of_its_own() {
        let (mut outgoing, mut buf) = (outgoing(), Vec::new());
        outgoing.set_ends_following(4);
        let end = End {
            length: 0,
            blocks: 0,
            last_k: 0,
            digest: [0; 32],
        };
        for sequence in 0..3 {
            buf.clear();
            outgoing.emit_control(Control::End(&end), &mut buf);
            let header = MulticastHeader::parse(&buf).unwrap();
            assert_eq!((header.sequence, header.following), (sequence, 4));
            let nonce = multicast_nonce(sequence);
            let body = open(outgoing.cipher(), &nonce, &mut buf, HEADER_LEN).unwrap();
            assert_eq!(End::parse(body), Ok(end));
        }
    }
}
