//! Eviction: which receivers are not waited for any longer.

use super::members::{Member, MemberState, Members, Progress};
use crate::proto::config::SenderConfig;
use crate::proto::limits::{CONFIRM_MAX, REPORT_MAX};
use crate::units::{Duration, Instant, Rate};
use crate::wire::DropReason;

/// A decrease of the rate is held against a receiver for this time.
const LIMITING_MEMORY: Duration = Duration::from_ms(2_500);

/// Where the sender stands at a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    pub(super) now: Instant,
    /// Source symbols may still be sent, and not only repaired.
    pub(super) sending: bool,
    /// Data flows, or is being repaired.
    pub(super) serving: bool,
    /// All was sent once.
    pub(super) complete: bool,
    /// The ring is full and all of it was sent.
    pub(super) stuck: bool,
    /// There is input that was not sent.
    pub(super) has_source: bool,
    /// The first block that is kept.
    pub(super) first: u32,
    pub(super) watermark: u32,
    /// The next sequence number.
    pub(super) sequence: u64,
    /// Transmissions that may be under way to a receiver.
    pub(super) flight: u64,
    /// Bytes of source symbols sent so far.
    pub(super) source_bytes: u64,
    pub(super) rate: Rate,
}

impl Snapshot {
    /// Whether this receiver keeps the sender from sending: by the ring, its window or its silence.
    fn is_held_by(&self, m: &Member) -> bool {
        let held = self.stuck && m.next <= self.first;
        let silent = m.reported_end.saturating_add(self.flight) <= self.sequence;
        held || m.window_end <= self.watermark || silent
    }
}

/// How slow the stream may be.
#[derive(Clone, Copy, Debug)]
struct Floor {
    rate: Rate,
    /// The stream has been below it since the last check, though there is input.
    missed: bool,
}

/// When receivers are dropped, and what was found at the last check.
#[derive(Debug)]
pub(super) struct Eviction {
    silent_max: Duration,
    stall_max: Option<Duration>,
    finish_max: Option<Duration>,
    floor: Option<Rate>,
    slow_grace: Duration,
    /// What becomes of a receiver that keeps the stream below the floor.
    slow: DropReason,
    checked_at: Instant,
    checked_source: u64,
    /// No receiver may join any more: those that might have held up those that are there.
    join_closed: bool,
}

impl Eviction {
    pub(super) fn new(config: &SenderConfig, now: Instant) -> Self {
        Self {
            silent_max: config.silent_max,
            stall_max: config.stall_max,
            finish_max: config.finish_max,
            floor: config.floor,
            slow_grace: config.slow_grace,
            slow: match config.series.next_pass.takes_slow() {
                true => DropReason::NextPass,
                false => DropReason::Slow,
            },
            checked_at: now,
            checked_source: 0,
            join_closed: false,
        }
    }

    /// Whether no receiver may join any more.
    pub(super) fn join_closed(&self) -> bool {
        self.join_closed
    }

    /// The receivers that must be dropped now, and why.
    pub(super) fn check(
        &mut self,
        members: &mut Members,
        snapshot: &Snapshot,
    ) -> Vec<(u32, DropReason)> {
        let now = snapshot.now;
        // A receiver that has not shown its keys yet is not waited for when nothing else is left to
        // do.
        let idle = snapshot.serving && (snapshot.stuck || snapshot.complete);
        let pending_max = if idle { REPORT_MAX } else { CONFIRM_MAX };
        self.join_closed |= idle;
        let mut overdue = Vec::new();
        for (n, m) in members.present_mut() {
            if !(snapshot.serving && (snapshot.complete || snapshot.is_held_by(m))) {
                // It is not waited for, however long the input pauses.
                m.progress.still_since = now;
            }
            let unconfirmed = m.state == MemberState::Pending;
            if unconfirmed && now.since(m.joined_at) >= pending_max {
                overdue.push((n, DropReason::Silent));
            } else {
                let reason = self.overdue(&m.progress, now);
                overdue.extend(reason.map(|reason| (n, reason)));
            }
        }
        overdue.extend(self.too_slow(members, snapshot));
        overdue
    }

    /// Why a receiver must be dropped now for what it does not do, if it must.
    fn overdue(&self, progress: &Progress, now: Instant) -> Option<DropReason> {
        let (since, max, reason) = match progress.committing_since {
            Some(since) => (since, self.finish_max, DropReason::Unfinished),
            None => (progress.still_since, self.stall_max, DropReason::Stalled),
        };
        if now.since(progress.heard_at) >= self.silent_max {
            Some(DropReason::Silent)
        } else if max.is_some_and(|max| now.since(since) >= max) {
            Some(reason)
        } else {
            None
        }
    }

    /// The floor, if there is one, and whether the stream was below it since the last check.
    fn floor(&mut self, snapshot: &Snapshot) -> Option<Floor> {
        let source = snapshot.source_bytes - self.checked_source;
        let span = snapshot.now.since(self.checked_at);
        (self.checked_at, self.checked_source) = (snapshot.now, snapshot.source_bytes);
        let rate = self.floor.filter(|_| snapshot.sending)?;
        let wanted = snapshot.stuck || snapshot.has_source;
        Some(Floor {
            rate,
            missed: wanted && source < rate.bytes_in(span),
        })
    }

    /// The receivers that have kept the stream below the floor for the time of grace: by the ring,
    /// their window or their silence at each check, or because they keep the rate down. Only as
    /// long as others are there that do not: what most of them do is not theirs to help.
    fn too_slow(&mut self, members: &mut Members, snapshot: &Snapshot) -> Vec<(u32, DropReason)> {
        let now = snapshot.now;
        let floor = self.floor(snapshot);
        let missed = floor.is_some_and(|floor| floor.missed);
        let limits = |m: &Member| {
            let at = m.path.limiting_at;
            at.is_some_and(|at| now.since(at) < LIMITING_MEMORY)
        };
        let active = members.group().active as usize;
        let limiting = members.present().filter(|(_, m)| limits(m)).count();
        let rate_is_low = floor.is_some_and(|floor| snapshot.rate < floor.rate);
        let by_rate = rate_is_low && limiting * 2 <= active;
        let mut slow = Vec::new();
        let of_group = members.present_mut();
        for (n, m) in of_group.filter(|(_, m)| m.state == MemberState::Active) {
            let holds_up = snapshot.is_held_by(m) || (by_rate && limits(m));
            let progress = &mut m.progress;
            // It may have made room just now; the next check tells whether that was enough.
            let did_not = !std::mem::replace(&mut progress.was_holding_up, holds_up);
            if !missed || (!holds_up && did_not) {
                progress.slow_since = None;
            }
            if !missed || !holds_up {
                continue;
            }
            let since = *progress.slow_since.get_or_insert(now);
            if now.since(since) >= self.slow_grace {
                let silent = now.since(progress.heard_at) > REPORT_MAX;
                slow.push((
                    n,
                    if silent {
                        DropReason::Silent
                    } else {
                        self.slow
                    },
                ));
            }
        }
        if slow.len() >= active {
            slow.clear();
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sender::members::tests::{member, pair};

    const SECOND: u64 = 1_000_000;

    /// So many receivers that take part, the sender at block 5, and the stream at full rate.
    fn group(count: u32) -> (Members, Snapshot) {
        let (mut members, pair) = (Members::default(), pair());
        for n in 0..count {
            let number = members.add(member(n, &pair));
            members.change(number, |m| {
                m.state = MemberState::Active;
                m.reported_end = 1_000;
            });
        }
        let snapshot = Snapshot {
            now: Instant::ZERO,
            sending: true,
            serving: true,
            complete: false,
            stuck: false,
            has_source: true,
            first: 0,
            watermark: 5,
            sequence: 1_000,
            flight: 64,
            source_bytes: 0,
            rate: Rate::from_bits_per_s(100_000_000),
        };
        (members, snapshot)
    }

    /// Checks each quarter of a second until a time, with receivers that report all the while.
    fn check_until(
        eviction: &mut Eviction,
        members: &mut Members,
        snapshot: &mut Snapshot,
        until: Instant,
    ) -> Vec<(u32, DropReason)> {
        let mut all = Vec::new();
        while snapshot.now < until {
            snapshot.now = snapshot.now + Duration::from_ms(250);
            for (_, m) in members.present_mut() {
                m.progress.heard_at = snapshot.now;
            }
            all.extend(eviction.check(members, snapshot));
        }
        all
    }

    #[test]
    fn a_silent_receiver_is_dropped_and_one_that_never_confirmed_sooner_or_later() {
        let (mut members, mut snapshot) = group(1);
        let pending = members.add(member(7, &pair()));
        let config = SenderConfig {
            silent_max: Duration::from_secs(9),
            ..SenderConfig::default()
        };
        let mut eviction = Eviction::new(&config, Instant::ZERO);
        snapshot.now = Instant::ZERO + Duration::from_ms(8_999);
        assert_eq!(eviction.check(&mut members, &snapshot), []);
        snapshot.now = Instant::ZERO + config.silent_max;
        members.change(pending, |m| m.progress.heard_at = snapshot.now);
        let dropped = eviction.check(&mut members, &snapshot);
        assert_eq!(dropped, [(0, DropReason::Silent)]);
        assert!(!eviction.join_closed());
        members.change(0, |m| m.state = MemberState::Done);
        // Nothing else is left to do.
        snapshot.complete = true;
        let dropped = eviction.check(&mut members, &snapshot);
        assert_eq!(dropped, [(pending, DropReason::Silent)]);
        assert!(eviction.join_closed());
    }

    #[test]
    fn a_consumer_has_its_time_and_only_while_it_is_waited_for() {
        let (mut members, mut snapshot) = group(2);
        let config = SenderConfig {
            stall_max: Some(Duration::from_secs(10)),
            ..SenderConfig::default()
        };
        let mut eviction = Eviction::new(&config, Instant::ZERO);
        let (e, m, s) = (&mut eviction, &mut members, &mut snapshot);
        assert_eq!(check_until(e, m, s, Instant::from_us(60 * SECOND)), []);
        // Its window ends where the sender is.
        m.change(1, |m| m.window_end = 5);
        assert_eq!(check_until(e, m, s, Instant::from_us(69 * SECOND)), []);
        let dropped = check_until(e, m, s, Instant::from_us(70 * SECOND));
        assert_eq!(dropped, [(1, DropReason::Stalled)]);
    }

    #[test]
    fn a_receiver_that_keeps_the_stream_below_the_floor_is_dropped_but_not_all() {
        for all in [false, true] {
            let (mut members, mut snapshot) = group(3);
            let config = SenderConfig {
                floor: Some(Rate::from_bits_per_s(8_000_000)),
                slow_grace: Duration::from_secs(3),
                ..SenderConfig::default()
            };
            let mut eviction = Eviction::new(&config, Instant::ZERO);
            for n in 0..3 {
                members.change(n, |m| m.window_end = if all || n == 2 { 5 } else { 9 });
            }
            let (e, m, s) = (&mut eviction, &mut members, &mut snapshot);
            assert_eq!(check_until(e, m, s, Instant::from_us(3 * SECOND)), []);
            let dropped = check_until(e, m, s, Instant::from_us(3 * SECOND + 1));
            let expected: &[_] = if all { &[] } else { &[(2, DropReason::Slow)] };
            assert_eq!(dropped, expected);
        }
    }
}
