//! What a catch tells while it runs, and at its end.

use crate::net::{self, JoinedGroup};
use crate::proto::{Awaits, Receiver, ReceiverEnd, ReceiverEvent, ReceiverStats};
use crate::units::Duration;

/// What a catch reports while it runs.
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum CatchEvent<'a> {
    /// Data does not flow yet; told once a second.
    Waiting(Awaits),
    /// These groups are listened to, of late.
    Listening(&'a [JoinedGroup]),
    /// None can be listened to, for this reason; told once a second.
    NoNetwork(&'a net::Error),
    /// The system grants so few bytes of receive buffer that the sender must go slowly.
    SmallBuffer(u32),
    /// The sender's datagrams do not fit our network.
    Mtu {
        /// Bytes of the longest of them, with headers.
        datagram: usize,
        /// Bytes that fit.
        mtu: usize,
    },
    /// Something happened.
    Event(&'a ReceiverEvent),
    /// Time has passed.
    Tick(&'a Receiver),
}

/// How a catch ended.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct CatchReport {
    /// The session.
    pub end: ReceiverEnd,
    /// What was counted.
    pub stats: ReceiverStats,
    /// From the first data to the end.
    pub elapsed: Duration,
    /// The stream was taken up in another session than the one in which it began.
    pub resumed: bool,
}
