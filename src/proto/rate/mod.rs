#![doc = include_str!("DESIGN.md")]

mod adaptive;
mod loss;
mod pacing;
mod rtt;
mod send_limit;

pub(super) use self::adaptive::AdaptiveRate;
use self::loss::LossMeter;
pub(super) use self::loss::ReportStep;
pub(super) use self::pacing::Pacing;
use self::rtt::RttEstimator;
pub use self::send_limit::{LimitTimes, RateReason, SendLimit};
use crate::units::{Duration, Instant, Rate};

/// What the rate controller knows of the path to one receiver.
#[derive(Clone, Debug)]
pub(super) struct PathState {
    pub(super) loss: LossMeter,
    pub(super) rtt: RttEstimator,
    /// When this receiver last decreased the rate, by what it lost or by a queue.
    pub(super) limiting_at: Option<Instant>,
}

impl PathState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            loss: LossMeter::new(now),
            rtt: RttEstimator::default(),
            limiting_at: None,
        }
    }
}

/// A receiver's report, as the rate controller needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathReport {
    /// The receiver's number.
    pub(super) receiver: u32,
    /// What was sent to it and what arrived since its last report.
    pub(super) step: ReportStep,
    /// The sender's next sequence number.
    pub(super) sequence: u64,
    /// Receivers that report.
    pub(super) receivers: u32,
    /// The longest round trip time in the group.
    pub(super) group_rtt: Duration,
    /// Bytes of a DATA datagram on the wire.
    pub(super) datagram: u64,
}

/// Decides how fast a sender sends.
pub(super) trait RateController {
    /// The present rate, in bytes of datagrams with their IP and UDP headers.
    fn rate(&self) -> Rate;

    /// Why it is what it is.
    fn reason(&self) -> RateReason;

    /// So many bytes left at this rate.
    fn on_sent(&mut self, bytes: u64);

    /// A receiver reported.
    fn on_report(&mut self, now: Instant, path: &mut PathState, report: PathReport);

    /// A receiver has left the session.
    fn on_leave(&mut self, path: &PathState);
}

/// The rate of a session that hears nothing of its receivers.
#[derive(Clone, Copy, Debug)]
pub(super) struct FixedRate(pub(super) Rate);

impl RateController for FixedRate {
    fn rate(&self) -> Rate {
        self.0
    }

    fn reason(&self) -> RateReason {
        RateReason::Maximum
    }

    fn on_sent(&mut self, _: u64) {}

    fn on_report(&mut self, _: Instant, _: &mut PathState, _: PathReport) {}

    fn on_leave(&mut self, _: &PathState) {}
}
