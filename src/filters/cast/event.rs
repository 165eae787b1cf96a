//! What a cast tells while it runs, and at its end.

use std::net::SocketAddr;

use crate::filters::Error;
use crate::net;
use crate::proto::{MemberReport, Sender, SenderEnd, SenderEvent, SenderStats, Waiting};
use crate::units::Duration;
use crate::wire::SessionId;

/// What a cast reports while it runs.
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum CastEvent<'a> {
    /// There is no way out yet, for this reason; told again while it is waited for.
    NoNetwork(&'a net::Error),
    /// Nothing gets out any more, for this reason; what is lost meanwhile is repaired.
    Unsent(&'a net::Error),
    /// Datagrams get out again.
    SentAgain,
    /// The session is there.
    Announced {
        /// Its id.
        session: SessionId,
        /// Where its datagrams go.
        to: SocketAddr,
        /// Bytes of the longest of them, with their headers.
        mtu: usize,
        /// The UDP port on which answers come in.
        answer_port: u16,
        /// Which of its series it is, from 1.
        pass: u32,
    },
    /// It is over, and another one of the series follows.
    PassOver {
        /// How it went.
        report: &'a CastReport,
        /// So many receivers wait for the next.
        waiting: u32,
    },
    /// No receiver came for the pass that was announced.
    NobodyCameAgain,
    /// All that waited for the stream were served, and further receivers are waited for.
    RoundOver(&'a CastReport),
    /// Likewise, but the input changed, and some were not served; how it went before, if anybody
    /// was.
    RoundChanged(Option<&'a CastReport>),
    /// A pass fails, for a reason that follows; this is how those before it went.
    Before(&'a CastReport),
    /// It has not started; told once a second.
    Waiting {
        /// Which receivers are awaited.
        waiting: &'a Waiting,
        /// How long until it starts, if no receiver comes or goes.
        starts_in: Option<Duration>,
        /// Enter on the terminal starts it.
        enter: bool,
    },
    /// So many receivers have everything, and only their consumers still work.
    Finishing(u32),
    /// A person wants to start, and there is no receiver to start with.
    NobodyToStart,
    /// Something happened.
    Event(&'a SenderEvent),
    /// The stream is broken; the receivers are told as soon as they are there.
    Failed(&'a Error),
    /// Time has passed.
    Tick(&'a Sender),
}

/// How a cast ended.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct CastReport {
    /// The session as a whole.
    pub end: SenderEnd,
    /// Each receiver.
    pub members: Vec<MemberReport>,
    /// Names of receivers that were expected and never came.
    pub missing: Vec<String>,
    /// What was counted.
    pub stats: SenderStats,
    /// From the start of the data to the end.
    pub elapsed: Duration,
    /// How many sessions it took.
    pub passes: u32,
}
