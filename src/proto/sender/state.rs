//! The states of a session at its sender.

use super::outgoing::AbortCopies;
use crate::wire::Abort;

/// Where a session stands. The states follow in this order, but that a session may end from each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) enum State {
    /// It is announced, and has not started.
    Announcing {
        /// What to tell the receivers instead of data, when it starts.
        failed: Option<Abort>,
    },
    /// Data is sent.
    Sending,
    /// All was sent once, and END tells so.
    Draining,
    /// The stream is broken off, and ABORT tells so.
    Aborting(AbortCopies),
    /// All is over.
    Ended,
}

impl State {
    pub(in crate::proto) fn is_announcing(&self) -> bool {
        matches!(self, Self::Announcing { .. })
    }

    /// Whether data flows, or is being repaired.
    pub(in crate::proto) fn is_serving(&self) -> bool {
        matches!(self, Self::Sending | Self::Draining)
    }
}
