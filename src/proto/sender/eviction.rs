//! Eviction: which receivers are not waited for any longer.

use super::members::{Member, MemberState, Members};
use crate::proto::config::SenderConfig;
use crate::proto::limits::{
    ASKED_BLOCKS_MAX, ASKED_SHARE_MAX, CONFIRM_MAX, EVICTION_CHECK_EVERY, HOLD_EARNS, HOLD_FLOOR,
    REPORT_MAX,
};
use crate::units::{Duration, Instant, Rate};
use crate::wire::DropReason;

/// A decrease of the rate is held against a receiver for this time.
const LIMITING_MEMORY: Duration = Duration::from_ms(2_500);

/// A time that does not end.
const NO_LIMIT: Duration = Duration::from_us(u64::MAX);

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
    /// Source symbols sent so far.
    pub(super) source_symbols: u64,
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

/// How fast the stream was since the last check.
#[derive(Clone, Copy, Debug)]
struct Pace {
    source: u64,
    span: Duration,
    /// There was something to send.
    wanted: bool,
}

impl Pace {
    fn is_below(self, rate: Rate) -> bool {
        self.wanted && self.source < rate.bytes_in(self.span)
    }
}

/// When receivers are dropped, and what was found at the last check.
#[derive(Debug)]
pub(super) struct Eviction {
    silent_max: Duration,
    stall_max: Option<Duration>,
    finish_max: Option<Duration>,
    floor: Option<Rate>,
    slow_grace: Duration,
    hold_max: Option<Duration>,
    /// What no receiver may keep the stream below for long.
    hold_floor: Rate,
    /// Symbols for which a receiver may ask besides a share of the stream.
    asked_free: u64,
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
            // Silence is bounded by itself.
            hold_max: config
                .hold_max
                .map(|most| most.max(config.silent_max.times(2))),
            hold_floor: config.rate_max.map_or(HOLD_FLOOR, |most| {
                HOLD_FLOOR.min(Rate::from_bits_per_s(most.as_bits_per_s() / HOLD_EARNS))
            }),
            asked_free: u64::from(config.k) * ASKED_BLOCKS_MAX,
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
                let reason = self.overdue(m, snapshot);
                overdue.extend(reason.map(|reason| (n, reason)));
            }
        }
        let pace = self.pace(snapshot);
        if snapshot.sending {
            overdue.extend(self.too_slow(members, snapshot, pace));
            overdue.extend(self.held_too_long(members, snapshot, pace));
        }
        overdue
    }

    /// Why a receiver must be dropped now for what it does not do, if it must.
    fn overdue(&self, m: &Member, snapshot: &Snapshot) -> Option<DropReason> {
        let (now, progress) = (snapshot.now, &m.progress);
        let (since, max, reason) = match progress.committing_since {
            Some(since) => (since, self.finish_max, DropReason::Unfinished),
            None if progress.lacks => (progress.still_since, self.stall_max, DropReason::Lossy),
            None => (progress.still_since, self.stall_max, DropReason::Stalled),
        };
        if now.since(progress.heard_at) >= self.silent_max {
            Some(DropReason::Silent)
        } else if m.is_black_hole() {
            Some(DropReason::BlackHole)
        } else if m.asked > snapshot.source_symbols * ASKED_SHARE_MAX + self.asked_free {
            Some(DropReason::Lossy)
        } else if max.is_some_and(|max| now.since(since) >= max) {
            Some(reason)
        } else {
            None
        }
    }

    /// How fast the stream was since the last check.
    fn pace(&mut self, snapshot: &Snapshot) -> Pace {
        let pace = Pace {
            source: snapshot.source_bytes - self.checked_source,
            span: snapshot.now.since(self.checked_at),
            wanted: snapshot.stuck || snapshot.has_source,
        };
        (self.checked_at, self.checked_source) = (snapshot.now, snapshot.source_bytes);
        pace
    }

    /// The receivers that have held the stream up for longer than they may: each for a time, of
    /// which it earns more while it does not. What most of them do is not theirs to help.
    fn held_too_long(
        &self,
        members: &mut Members,
        snapshot: &Snapshot,
        pace: Pace,
    ) -> Vec<(u32, DropReason)> {
        let Some(hold_max) = self.hold_max else {
            return Vec::new();
        };
        let active = members.group().active as usize;
        let holds = |m: &Member| m.state == MemberState::Active && snapshot.is_held_by(m);
        let holding = members.present().filter(|(_, m)| holds(m)).count();
        let charged = pace.is_below(self.hold_floor) && holding * 2 <= active;
        let most = self.stall_max.map_or(NO_LIMIT, |most| most.max(hold_max));
        let earned = Duration::from_us(pace.span.as_us() / HOLD_EARNS);
        // When the sender itself stood still that was not a receiver's fault.
        let span = pace.span.min(EVICTION_CHECK_EVERY.times(2));
        let mut gone = Vec::new();
        for (n, m) in members.present_mut() {
            let held = charged && holds(m);
            let lacks = m.progress.lacks;
            let left = m.progress.hold_left.get_or_insert(hold_max);
            if !held {
                *left = (*left + earned).min(most);
            } else if *left > span {
                *left = Duration::from_us(left.as_us() - span.as_us());
            } else {
                gone.push((n, if lacks { DropReason::Lossy } else { self.slow }));
            }
        }
        gone
    }

    /// The receivers that have kept the stream below the floor for the time of grace: by the ring,
    /// their window or their silence at each check, or because they keep the rate down. Only as
    /// long as others are there that do not: what most of them do is not theirs to help.
    fn too_slow(
        &self,
        members: &mut Members,
        snapshot: &Snapshot,
        pace: Pace,
    ) -> Vec<(u32, DropReason)> {
        let now = snapshot.now;
        let Some(floor) = self.floor else {
            return Vec::new();
        };
        let missed = pace.is_below(floor);
        let limits = |m: &Member| {
            let at = m.path.limiting_at;
            at.is_some_and(|at| now.since(at) < LIMITING_MEMORY)
        };
        let active = members.group().active as usize;
        let limiting = members.present().filter(|(_, m)| limits(m)).count();
        let by_rate = snapshot.rate < floor && limiting * 2 <= active;
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
            source_symbols: 0,
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

    #[test]
    fn the_time_for_which_a_receiver_may_hold_up_is_bounded_and_earned() {
        let (mut members, mut snapshot) = group(3);
        let mut eviction = Eviction::new(&SenderConfig::default(), Instant::ZERO);
        let (e, m, s) = (&mut eviction, &mut members, &mut snapshot);
        // It takes a block now and then: that moves `next`, and not the end of what it holds up.
        m.change(2, |m| (m.window_end, m.progress.lacks) = (5, false));
        assert_eq!(
            check_until(e, m, s, Instant::from_us(20 * SECOND - SECOND / 4)),
            []
        );
        let dropped = check_until(e, m, s, Instant::from_us(20 * SECOND));
        assert_eq!(dropped, [(2, DropReason::Slow)]);
        m.change(2, |m| m.state = MemberState::Done);
        // The others kept up for 20 s, so each has 25 s; it does not help one to lack symbols.
        m.change(1, |m| (m.window_end, m.progress.lacks) = (5, true));
        assert_eq!(
            check_until(e, m, s, Instant::from_us(45 * SECOND - SECOND / 4)),
            []
        );
        let dropped = check_until(e, m, s, Instant::from_us(45 * SECOND));
        assert_eq!(dropped, [(1, DropReason::Lossy)]);
        // The last one is waited for.
        m.change(1, |m| m.state = MemberState::Done);
        m.change(0, |m| m.window_end = 5);
        assert_eq!(check_until(e, m, s, Instant::from_us(100 * SECOND)), []);
    }

    #[test]
    fn a_receiver_that_asks_without_end_is_dropped() {
        let (mut members, mut snapshot) = group(2);
        let mut eviction = Eviction::new(&SenderConfig::default(), Instant::ZERO);
        snapshot.source_symbols = 1_000;
        let most = 2 * 1_000 + 8 * u64::from(SenderConfig::default().k);
        for (asked, expected) in [(most, &[][..]), (most + 1, &[(1, DropReason::Lossy)])] {
            members.get_mut(1).unwrap().asked = asked;
            assert_eq!(eviction.check(&mut members, &snapshot), expected);
        }
    }
}
