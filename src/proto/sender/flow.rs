//! How far the sender may go: what the receivers can hold, and how often they report.

use super::members::GroupState;
use crate::proto::limits::{
    FEEDBACK_PER_S_MAX, FLIGHT_MIN, NACK_RETRY_MIN, REPORT_MAX, REPORT_MIN, SOCKET_COST,
    backoff_max,
};
use crate::units::{Duration, Rate};

/// Limits that the slowest receivers set. Those that have not shown their keys set none.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowLimits {
    /// A receiver has no room for this block.
    pub(super) block_end: u32,
    /// No transmission from this number on may leave yet.
    pub(super) sequence_end: u64,
    /// Transmissions that may be under way to a receiver.
    pub(super) flight: u64,
    /// A receiver reports after this many datagrams.
    pub(super) report_every: u32,
    /// A receiver reports after this time.
    pub(super) report: Duration,
}

impl FlowLimits {
    /// The limits at a rate, with datagrams of so many bytes.
    pub(super) fn new(group: &GroupState, rate: Rate, datagram: u64) -> Self {
        let cost = SOCKET_COST * datagram.div_ceil(1500);
        let receivers = u64::from(group.active);
        // Reports are spread so that the whole group stays below its share of the feedback.
        let per_s = u64::from(FEEDBACK_PER_S_MAX);
        let datagrams_per_s = rate.as_bytes_per_s() / datagram;
        let flight = (u64::from(group.socket_bytes) / cost * 3 / 4).max(FLIGHT_MIN);
        let report_every = (flight / 4).max(datagrams_per_s * receivers / per_s);
        let flight = flight.max(report_every * 4);
        let report = Duration::from_us(receivers * 1_000_000 / per_s);
        let (block_end, sequence_end) = match group.active {
            0 => (0, 0),
            _ => (group.window_end, group.reported_end + flight),
        };
        Self {
            block_end,
            sequence_end,
            flight,
            report_every: u32::try_from(report_every).unwrap_or(u32::MAX),
            report: report.clamp(REPORT_MIN, REPORT_MAX),
        }
    }
}

/// How long after the last source symbol of a block every receiver has asked for what it lacks.
pub(super) fn request_patience(group: &GroupState) -> Duration {
    NACK_RETRY_MIN + backoff_max(group.active, group.rtt).times(2)
}

/// Blocks to interleave: as many as take the bytes of a time, no more than a share of what a side
/// can hold, and no more than `max`.
pub(in crate::proto) fn interleave_depth(bytes: u64, block: u64, held: u64, max: u16) -> u16 {
    let wanted = (bytes / block).min(held);
    u16::try_from(wanted).unwrap_or(max).clamp(1, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sender::members::tests::{member, pair};
    use crate::proto::sender::members::{MemberState, Members};

    #[test]
    fn reports_of_many_stay_below_their_share() {
        let (mut members, pair) = (Members::default(), pair());
        let rate = Rate::from_bits_per_s(1_000_000_000);
        let none = FlowLimits::new(&members.group(), rate, 1_500);
        assert_eq!((none.block_end, none.sequence_end), (0, 0));
        for n in 0..1_000 {
            let number = members.add(member(n, &pair));
            members.change(number, |m| m.state = MemberState::Active);
        }
        let limits = FlowLimits::new(&members.group(), rate, 1_500);
        assert_eq!((limits.block_end, limits.sequence_end), (10, limits.flight));
        // 83,333 datagrams a second, of 1,000 receivers that report 8,000 times in all.
        assert_eq!(limits.report_every, 83_333 * 1_000 / FEEDBACK_PER_S_MAX);
        assert_eq!(limits.report, Duration::from_ms(125));
        assert!(limits.flight >= u64::from(limits.report_every) * 4);
    }

    #[test]
    fn a_depth_is_what_time_memory_and_maximum_allow() {
        assert_eq!(interleave_depth(1_000, 10, 99, 16), 16);
        assert_eq!(interleave_depth(1_000, 100, 99, 16), 10);
        assert_eq!(interleave_depth(1_000, 100, 7, 16), 7);
        assert_eq!(interleave_depth(0, 100, 7, 16), 1);
    }
}
