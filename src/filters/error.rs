//! What ends a cast or a catch early.

use std::io;

use crate::{net, sys};

/// What ends a session early on this side.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Error {
    /// A socket could not be made or used.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The input could not be read.
    #[error("cannot read the input: {0}")]
    Input(#[source] io::Error),
    /// The input is not what it was before.
    #[error("the input changed: this pass over it does not end as the one before")]
    Changed,
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// The command that produces the stream failed.
    #[error("the command that produces the stream failed: {0}")]
    Producer(String),
    /// The command that consumes the stream failed.
    #[error("the command that consumes the stream failed: {0}")]
    Consumer(String),
    /// The command that consumes the stream does not want all of it.
    #[error("the command that consumes the stream ended before the stream did")]
    ConsumerEnded,
    /// The same, and it still runs.
    #[error("the command that consumes the stream closed its input before the end of the stream")]
    ConsumerClosed,
    /// The system refused something else.
    #[error(transparent)]
    System(#[from] sys::Error),
    /// A signal stopped the session.
    #[error("interrupted")]
    Interrupted(i32),
}

impl Error {
    /// The error of a system call that fails while this is attempted.
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System(sys::Error::System { what, source })
    }
}
