//! What comes out of the state machines besides datagrams.

use std::net::SocketAddr;

use super::rate::{LimitTimes, RateReason};
use crate::units::{Duration, Rate};
use crate::wire::{
    self, AbortReason, DropReason, LeaveReason, RejectReason, SessionId, SessionStatus,
};

/// Where datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Target {
    /// To all receivers: the multicast group.
    Group,
    /// To one peer.
    Peer(SocketAddr),
}

/// Datagrams of one length, but for the last that may be shorter, one after the other in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub to: Target,
    /// Bytes of each.
    pub segment: usize,
}

/// How a receiver fared, as the sender knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Fate {
    /// Still in the session.
    Active,
    /// It confirmed the whole stream.
    Done,
    /// The sender gave it up, for this reason.
    Dropped(DropReason),
    /// It left, for this reason.
    Left(LeaveReason),
}

/// How a session ended for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum SenderEnd {
    /// Every receiver confirmed the whole stream.
    Complete,
    /// The stream was sent, but this many receivers did not confirm it.
    Partial {
        /// Receivers that have everything.
        done: u32,
        /// Receivers that do not.
        failed: u32,
    },
    /// No receiver is left.
    AllLost,
    /// No receiver joined in time.
    NoReceivers,
    /// Everything was sent to receivers that do not answer: nothing is known of them.
    Sent,
    /// The stream was broken off on our side.
    Aborted(AbortReason),
}

/// What a sender reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum SenderEvent {
    /// A receiver came in.
    Joined {
        /// Its number.
        receiver: u32,
        /// Its name.
        name: String,
        /// Its address.
        from: SocketAddr,
        /// Which of the listed keys it has shown to hold.
        listed: Option<usize>,
    },
    /// A receiver was rejected.
    Rejected {
        /// Its name.
        name: String,
        /// Its address.
        from: SocketAddr,
        /// Why.
        reason: RejectReason,
    },
    /// A receiver came too late, and waits for another session of the series.
    Waits {
        /// Its name.
        name: String,
        /// Its address.
        from: SocketAddr,
    },
    /// Data begins to flow to this many receivers.
    Started {
        /// How many.
        receivers: u32,
    },
    /// What limits the rate has changed; told once a second at most.
    RateLimited {
        /// Why the rate is what it is.
        reason: RateReason,
        /// The name of the receiver that set it, if one did.
        name: Option<String>,
        /// The rate that the sender may use.
        rate: Rate,
    },
    /// A receiver is done, or gone.
    Finished {
        /// Its number.
        receiver: u32,
        /// Its name.
        name: String,
        /// How it fared.
        fate: Fate,
    },
    /// A receiver that had gone came in again, under another number: it counts once.
    Returned {
        /// Its number before, which counts no more.
        before: u32,
        /// Its number now.
        receiver: u32,
        /// Its name.
        name: String,
    },
    /// The session is over.
    Ended(SenderEnd),
}

/// How a session ended for a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum ReceiverEnd {
    /// Everything was received, checked and consumed.
    Complete,
    /// No session took us in within the time allowed.
    NoSender,
    /// The session turned us away.
    Rejected(RejectReason),
    /// Nothing was heard of the sender for this time.
    SenderLost(Duration),
    /// The sender broke the stream off.
    Aborted(AbortReason, String),
    /// The sender gave us up, for this reason.
    Dropped(DropReason),
    /// A block or the end of the stream contradicts what was authenticated before.
    Corrupt,
    /// One-way: a block lacks so many symbols, and no more of it will come.
    Lost {
        /// The block.
        block: u32,
        /// Symbols that it lacks.
        lacks: u16,
    },
    /// One-way: there was no room for a block, as the consumer is slower than the sender.
    Overrun {
        /// The block.
        block: u32,
    },
    /// We left.
    Left(LeaveReason),
}

/// Why a receiver does not ask a session to take it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum PassedOver {
    /// It is not signed, and we want a certain signer.
    Unsigned,
    /// It is signed by somebody else.
    OtherSigner,
    /// It has a shared secret, and we have none.
    SharedKeyNeeded,
    /// It has another shared secret than we have, or somebody made it up.
    OtherSharedKey,
    /// It has no shared secret, and we have one.
    NoSharedKey,
    /// It is one-way, and we take part in others.
    OneWay,
    /// It is not one-way, and we send nothing.
    TwoWay,
    /// It is one-way, and sends more at once than our memory holds.
    MoreMemory,
}

/// What a receiver reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum ReceiverEvent {
    /// A session was found; we ask to take part.
    Found {
        /// The session.
        session: SessionId,
        /// Its name.
        name: String,
        /// The key that signed it, if one did.
        signer: Option<[u8; 32]>,
        /// We send it nothing.
        one_way: bool,
        /// Who sends.
        from: SocketAddr,
        /// Bytes of its longest datagrams, without headers of IP and UDP.
        datagram_len: usize,
    },
    /// There is a session that we would not or cannot join; said once for each reason.
    PassedOver {
        /// Who sends.
        from: SocketAddr,
        /// Why.
        why: PassedOver,
    },
    /// There is a session of another name than the one we want; said once for each of a few names.
    OtherName {
        /// Who sends.
        from: SocketAddr,
        /// Its name.
        name: String,
    },
    /// The sender took us in.
    Joined {
        /// Our number.
        receiver: u32,
        /// Who sends.
        from: SocketAddr,
    },
    /// The sender has another address, to which we answer from now on.
    Moved {
        /// The new one.
        from: SocketAddr,
    },
    /// The sender still waits.
    Waiting(SessionStatus),
    /// The sender that we asked fell silent; we search again.
    Forgotten,
    /// We came too late, or were too slow, and wait for another session of the series.
    Waits {
        /// Bytes handed out so far, if we were in a session already: the stream goes on there.
        from: Option<u64>,
    },
    /// The first data came.
    Started,
    /// All data was handed out and is what the sender sent; now the consumer must confirm.
    Complete {
        /// Bytes of the stream.
        length: u64,
    },
    /// The session is over.
    Ended(ReceiverEnd),
}

/// Data to hand to the consumer.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// A buffer that begins with the data; give it back with [`super::Receiver::recycle`].
    pub buf: Vec<u8>,
    /// Bytes of data at its beginning.
    pub len: usize,
}

/// What a sender counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct SenderStats {
    /// Bytes of the stream that were sent once.
    pub bytes: u64,
    /// Source symbols sent once.
    pub source: u64,
    /// Repair symbols sent.
    pub repair: u64,
    /// Datagrams sent, of all kinds.
    pub datagrams: u64,
    /// Bytes of those datagrams with their IP and UDP headers.
    pub wire_bytes: u64,
    /// Repair rounds: how often a block came to have pending repair symbols on request.
    pub repair_rounds: u64,
    /// FEEDBACKs that asked for something.
    pub nacks: u64,
    /// FEEDBACKs in all.
    pub feedbacks: u64,
    /// Datagrams that were malformed, forged or replayed.
    pub refused: u64,
    /// Datagrams of a kind that came after this program.
    pub unknown_kind: u64,
    /// The present rate.
    pub rate: Rate,
    /// Why it is what it is, of late.
    pub rate_reason: RateReason,
    /// What kept the sender from sending more, for how long.
    pub limit_times: LimitTimes,
    /// Receivers that are in the session.
    pub active: u32,
    /// Receivers that have everything.
    pub done: u32,
}

impl SenderStats {
    /// Counts what was written to a buffer of `len` bytes, each datagram with `ip_udp_len` bytes of
    /// headers.
    pub(super) fn count(&mut self, transmit: Transmit, len: usize, ip_udp_len: usize) {
        debug_assert!(len > 0 && transmit.segment > 0, "{transmit:?}, {len} bytes");
        let datagrams = len.div_ceil(transmit.segment);
        self.datagrams += datagrams as u64;
        self.wire_bytes += (len + datagrams * ip_udp_len) as u64;
    }

    /// Counts symbols that were sent.
    pub(super) fn count_symbols(&mut self, repair: bool, sent: u64) {
        if repair {
            self.repair += sent;
        } else {
            self.source += sent;
        }
    }
}

/// How a receiver fared, for the report at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct MemberReport {
    /// Its number.
    pub receiver: u32,
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: SocketAddr,
    /// How it fared.
    pub fate: Fate,
    /// The first block that it does not have.
    pub next: u32,
    /// FEEDBACKs of it that asked for something.
    pub nacks: u64,
    /// Which of the listed keys it has shown to hold.
    pub listed: Option<usize>,
    /// Datagrams that were sent to it since it joined, as far as its reports tell.
    pub sent: u64,
    /// Datagrams of those that arrived.
    pub arrived: u64,
    /// It counts at the end: it was there at the start, or expected by name.
    pub required: bool,
    /// It withdrew before the start.
    pub withdrawn: bool,
    /// Which session of its series it was in last, from 1.
    pub pass: u32,
}

/// What a receiver counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct ReceiverStats {
    /// Bytes handed out.
    pub bytes: u64,
    /// Authentic datagrams of the session.
    pub datagrams: u64,
    /// Transmissions that never arrived.
    pub lost: u64,
    /// Blocks that needed repair symbols.
    pub repaired: u64,
    /// FEEDBACKs that asked for something.
    pub nacks: u64,
    /// FEEDBACKs in all.
    pub feedbacks: u64,
    /// Datagrams that were malformed, forged or replayed.
    pub refused: u64,
    /// Datagrams of another version of the protocol.
    pub other_version: u64,
    /// Datagrams of a kind that came after this program.
    pub unknown_kind: u64,
}

impl ReceiverStats {
    /// Counts a datagram that cannot be read; `None` when it is malformed.
    pub(super) fn count_error(&mut self, error: &wire::Error) -> Option<()> {
        match error {
            wire::Error::Version(_) => self.other_version += 1,
            wire::Error::Unknown { .. } => self.unknown_kind += 1,
            wire::Error::Malformed => return None,
        }
        Some(())
    }
}

/// What a receiver waits for before data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// A session to take part in.
    Sender,
    /// The answer of this sender.
    Answer(SocketAddr),
    /// Another session of the series.
    Next,
    /// The start, as the sender's newest ANNOUNCE has it.
    Start(Option<SessionStatus>),
}
