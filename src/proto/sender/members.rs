//! The receivers of a session, as the sender knows them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::proto::event::Fate;
use crate::proto::limits::{ANSWER_EVERY, PEER_SILENT_MAX, PENDING_MAX, RECEIVERS_MAX, RTT_MIN};
use crate::proto::protect::PeerCiphers;
use crate::proto::rate::loss::{LossMeter, Step};
use crate::proto::rate::rtt::RttEstimator;
use crate::units::{Duration, Instant};
use crate::wire::{DropReason, Feedback, Join};

/// One receiver.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) addr: SocketAddr,
    pub(super) key: [u8; 32],
    pub(super) name: String,
    pub(super) pair: PeerCiphers,
    pub(super) fate: Fate,
    /// It went before it counted.
    pub(super) forgotten: bool,
    pub(super) byes: u32,
    /// FEEDBACKs below this number are old.
    pub(super) feedback_next: u32,
    pub(super) next: u32,
    /// Blocks that it can hold.
    pub(super) window: u32,
    pub(super) window_end: u32,
    pub(super) tx_end: u64,
    received: u32,
    pub(super) socket_bytes: u32,
    pub(super) meter: LossMeter,
    pub(super) trips: RttEstimator,
    pub(super) heard_at: Instant,
    pub(super) joined_at: Instant,
    /// When it was answered last.
    answered_at: Option<Instant>,
    /// Since when it stands still while the sender waits for it.
    pub(super) still_since: Instant,
    /// Since when its consumer works on what is complete.
    pub(super) finishing_since: Option<Instant>,
    /// When it last kept the rate down, by what it lost or by a queue.
    pub(super) limiting_at: Option<Instant>,
    /// Since when it keeps the stream below the floor.
    pub(super) slow_since: Option<Instant>,
    /// It held the others up when it was looked at last.
    pub(super) noted_last: bool,
    pub(super) nacks: u64,
    /// Its place in the list of those that may take part.
    pub(super) listed: Option<usize>,
    pub(super) sent: u64,
    pub(super) arrived: u64,
    /// It counts at the end: it was there at the start, or expected.
    pub(super) awaited: bool,
}

impl Member {
    pub(super) fn new(
        join: &Join,
        addr: SocketAddr,
        key: [u8; 32],
        pair: PeerCiphers,
        tx: u64,
        now: Instant,
    ) -> Self {
        Self {
            addr,
            key,
            name: join.name.clone(),
            pair,
            fate: Fate::Active,
            forgotten: false,
            byes: 0,
            feedback_next: 0,
            next: 0,
            window: join.window_blocks,
            window_end: join.window_blocks,
            tx_end: tx,
            received: 0,
            socket_bytes: join.socket_bytes,
            meter: LossMeter::new(now),
            trips: RttEstimator::default(),
            heard_at: now,
            joined_at: now,
            answered_at: None,
            still_since: now,
            finishing_since: None,
            limiting_at: None,
            slow_since: None,
            noted_last: false,
            nacks: 0,
            listed: None,
            sent: 0,
            arrived: 0,
            awaited: false,
        }
    }

    /// Whether it is time to answer it again; it is answered if so.
    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        let may = self
            .answered_at
            .is_none_or(|at| now.since(at) >= ANSWER_EVERY);
        if may {
            self.answered_at = Some(now);
        }
        may
    }

    pub(super) fn is_active(&self) -> bool {
        self.fate == Fate::Active
    }

    /// Whether it is in the session and counts.
    pub(super) fn is_here(&self) -> bool {
        self.is_active() && self.is_confirmed() && !self.forgotten
    }

    /// Whether a FEEDBACK of it was heard: it has the keys.
    pub(super) fn is_confirmed(&self) -> bool {
        self.feedback_next > 0
    }

    /// Takes the FEEDBACK of this number in: numbers only grow, whatever a receiver claims. What
    /// was sent before its first was not meant for it, and is not lost.
    pub(super) fn update(
        &mut self,
        feedback: &Feedback,
        number: u32,
        tx: u64,
        now: Instant,
    ) -> Step {
        let first = !self.is_confirmed();
        self.heard_at = now;
        self.feedback_next = number.saturating_add(1);
        if feedback.next > self.next {
            self.next = feedback.next;
            self.still_since = now;
        }
        self.window_end = self.window_end.max(feedback.window_end);
        let tx_end = feedback.sequence_end.min(tx).max(self.tx_end);
        let step = Step {
            sent: tx_end - self.tx_end,
            received: u64::from(feedback.received.wrapping_sub(self.received)),
        };
        self.tx_end = tx_end;
        self.received = feedback.received;
        if feedback.echo_us > 0 {
            let echo = Instant::from_us(feedback.echo_us);
            let held = Duration::from_us(u64::from(feedback.hold_us));
            self.trips.hear(now, now.since(echo + held));
        }
        if first {
            Step {
                sent: 0,
                received: 0,
            }
        } else {
            step
        }
    }

    /// Why this receiver must be let go now, if it must.
    pub(super) fn overdue(
        &self,
        now: Instant,
        stall_max: Option<Duration>,
        finish_max: Option<Duration>,
    ) -> Option<DropReason> {
        let (since, most, reason) = match self.finishing_since {
            Some(since) => (since, finish_max, DropReason::Unfinished),
            None => (self.still_since, stall_max, DropReason::Stalled),
        };
        if now.since(self.heard_at) >= PEER_SILENT_MAX {
            Some(DropReason::Silent)
        } else if most.is_some_and(|most| now.since(since) >= most) {
            Some(reason)
        } else {
            None
        }
    }
}

/// What there is to know of all receivers at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    /// Receivers in the session, be it that they have not shown their keys.
    pub(super) active: u32,
    /// Active receivers that have shown that they have the keys: those below are theirs alone.
    pub(super) confirmed: u32,
    /// Receivers that have everything.
    pub(super) done: u32,
    /// Receivers that were ever there, but for those that went before the start.
    pub(super) joined: u32,
    /// The first block that one of them does not have.
    pub(super) next: u32,
    /// The first block for which one of them has no room.
    pub(super) window_end: u32,
    /// Blocks that the one with the least room can hold.
    pub(super) window: u32,
    /// One more than the last transmission of which all have reported.
    pub(super) tx_end: u64,
    /// Bytes of the least socket buffer.
    pub(super) socket_bytes: u32,
    /// The longest round trip.
    pub(super) rtt: Duration,
}

impl Sum {
    const NOBODY: Self = Self {
        active: 0,
        confirmed: 0,
        done: 0,
        joined: 0,
        next: u32::MAX,
        window_end: u32::MAX,
        window: u32::MAX,
        tx_end: u64::MAX,
        socket_bytes: u32::MAX,
        rtt: RTT_MIN,
    };

    fn of(member: &Member) -> Self {
        let counted = member.is_confirmed() && !member.forgotten;
        let base = Self {
            active: u32::from(member.is_active()),
            done: u32::from(member.fate == Fate::Done),
            joined: u32::from(counted),
            ..Self::NOBODY
        };
        if !member.is_active() || !member.is_confirmed() {
            return base;
        }
        Self {
            confirmed: 1,
            next: member.next,
            window_end: member.window_end,
            window: member.window,
            tx_end: member.tx_end,
            socket_bytes: member.socket_bytes,
            rtt: member.trips.smoothed(),
            ..base
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            active: self.active + other.active,
            confirmed: self.confirmed + other.confirmed,
            done: self.done + other.done,
            joined: self.joined + other.joined,
            next: self.next.min(other.next),
            window_end: self.window_end.min(other.window_end),
            window: self.window.min(other.window),
            tx_end: self.tx_end.min(other.tx_end),
            socket_bytes: self.socket_bytes.min(other.socket_bytes),
            rtt: self.rtt.max(other.rtt),
        }
    }
}

/// All receivers; a receiver's number is its index.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: Vec<Member>,
    by_key: HashMap<[u8; 32], u32>,
    /// Those that have not shown that they have the keys, the oldest first; some have since.
    pending: VecDeque<u32>,
    /// Places of those that went before they counted, to be given away when there are no others.
    vacant: VecDeque<u32>,
    /// A binary tree of sums: the root at 1, the children of `n` at `2 n` and `2 n + 1`, members
    /// at its leaves. With thousands of receivers nobody looks at all of them for each FEEDBACK.
    sums: Vec<Sum>,
}

impl Members {
    /// Whether there is a place for one more. Of too many that have not shown that they have the
    /// keys the oldest are forgotten to make it.
    pub(super) fn has_room(&mut self) -> bool {
        loop {
            let members = &self.members;
            let taken = |&n: &u32| !members[n as usize].forgotten;
            while self.vacant.front().is_some_and(taken) {
                self.vacant.pop_front();
            }
            let full = self.members.len() >= RECEIVERS_MAX && self.vacant.is_empty();
            if !full && self.pending.len() < PENDING_MAX {
                return true;
            }
            let Some(oldest) = self.pending.pop_front() else {
                return false;
            };
            if self.get(oldest).is_some_and(|m| !m.is_confirmed()) {
                self.forget(oldest);
            }
        }
    }

    /// Takes a receiver in for which there is room and gives it a number: one that nobody has had,
    /// as long as there are any.
    ///
    /// # Panics
    /// If there is no room.
    pub(super) fn add(&mut self, member: Member) -> u32 {
        let new = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let key = member.key;
        let number = if self.members.len() < RECEIVERS_MAX {
            self.members.push(member);
            new
        } else {
            let vacant = self.vacant.pop_front();
            #[expect(clippy::expect_used, reason = "callers ask whether there is room")]
            let number = vacant.expect("a place is vacant");
            let before = std::mem::replace(&mut self.members[number as usize], member);
            self.by_key.remove(&before.key);
            number
        };
        self.by_key.insert(key, number);
        self.pending.push_back(number);
        self.note(number);
        number
    }

    /// A receiver goes that does not count: its place may be given away.
    pub(super) fn forget(&mut self, number: u32) {
        let Some(member) = self.get(number) else {
            return;
        };
        if std::mem::replace(&mut member.forgotten, true) {
            return;
        }
        if member.fate == Fate::Active {
            member.fate = Fate::Dropped(DropReason::Silent);
        }
        // Its key stays known as long as its place is its own, so that one key has one number.
        self.vacant.push_back(number);
        self.note(number);
    }

    /// One who was forgotten shows that it has the keys after all, and its place is still there.
    pub(super) fn recall(&mut self, number: u32) {
        let Some(member) = self.get(number) else {
            return;
        };
        member.forgotten = false;
        member.fate = Fate::Active;
        self.note(number);
    }

    /// One who was forgotten before it showed that it has the keys asks again.
    pub(super) fn await_again(&mut self, number: u32) {
        self.recall(number);
        self.pending.push_back(number);
    }

    pub(super) fn by_key(&self, key: &[u8; 32]) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// A receiver; what enters into the sum must be changed by [`Members::change`].
    pub(super) fn get(&mut self, number: u32) -> Option<&mut Member> {
        self.members.get_mut(usize::try_from(number).ok()?)
    }

    /// A receiver as it is.
    pub(super) fn member(&self, number: u32) -> Option<&Member> {
        self.members.get(usize::try_from(number).ok()?)
    }

    /// Changes a receiver.
    pub(super) fn change<T>(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let result = change(self.get(number)?);
        self.note(number);
        Some(result)
    }

    /// Brings the sums over this receiver up to date.
    fn note(&mut self, number: u32) {
        let leaves = self.members.len().next_power_of_two();
        if self.sums.len() != leaves * 2 {
            self.sums.clear();
            self.sums.resize(leaves * 2, Sum::NOBODY);
            for (at, member) in self.members.iter().enumerate() {
                self.sums[leaves + at] = Sum::of(member);
            }
            for at in (1..leaves).rev() {
                self.sums[at] = self.sums[at * 2].and(self.sums[at * 2 + 1]);
            }
            return;
        }
        let member = number as usize;
        let mut at = leaves + member;
        self.sums[at] = Sum::of(&self.members[member]);
        while at > 1 {
            at /= 2;
            self.sums[at] = self.sums[at * 2].and(self.sums[at * 2 + 1]);
        }
    }

    /// What there is to know of all.
    pub(super) fn sum(&self) -> Sum {
        self.sums.get(1).copied().unwrap_or(Sum::NOBODY)
    }

    /// Those that count or may yet.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Member)> {
        (0..).zip(&self.members)
    }

    pub(super) fn active_mut(&mut self) -> impl Iterator<Item = (u32, &mut Member)> {
        let members = (0..).zip(self.members.iter_mut());
        members.filter(|(_, m)| m.is_active())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::agree::SecretKey;
    use crate::proto::protect::{Handshake, StreamInfo};
    use crate::wire::SessionId;

    const SESSION: SessionId = SessionId([3; 16]);

    fn pair() -> PeerCiphers {
        let (ours, theirs) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let (s, r) = (ours.public(), theirs.public());
        let shape = StreamInfo {
            k: 4,
            symbol_len: 64,
            depth: 1,
            series: SESSION,
        };
        Handshake::agree(SESSION, &ours, &r, [&s, &r], shape, None)
            .unwrap()
            .ciphers(None)
    }

    fn member(n: u32, pair: &PeerCiphers) -> Member {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let join = Join {
            session: SESSION,
            window_blocks: 10 + n,
            socket_bytes: 1_000,
            name: String::new(),
            identity: None,
        };
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        Member::new(&join, addr, key, pair.clone(), u64::from(n), Instant::ZERO)
    }

    #[test]
    fn the_sum_is_that_of_all() {
        let (mut members, pair) = (Members::default(), pair());
        assert_eq!(members.sum().active, 0);
        for n in 0..9 {
            assert_eq!(members.add(member(n, &pair)), n);
        }
        let sum = members.sum();
        assert_eq!(
            (sum.active, sum.confirmed, sum.window_end),
            (9, 0, u32::MAX)
        );
        for n in 2..9 {
            members.change(n, |m| m.feedback_next = 1);
        }
        let sum = members.sum();
        assert_eq!((sum.confirmed, sum.window_end, sum.tx_end), (7, 12, 2));
        members.change(2, |m| m.fate = Fate::Done);
        members.change(8, |m| m.trips.hear(Instant::ZERO, Duration::from_ms(7)));
        let sum = members.sum();
        assert_eq!(
            (sum.active, sum.confirmed, sum.done, sum.joined),
            (8, 6, 1, 7)
        );
        assert_eq!((sum.window_end, sum.rtt), (13, Duration::from_ms(7)));
        members.forget(3);
        assert_eq!((members.sum().joined, members.sum().window_end), (6, 14));
    }

    #[test]
    fn made_up_receivers_leave_room_for_real_ones() {
        let (mut members, pair) = (Members::default(), pair());
        let real = members.add(member(0, &pair));
        members.change(real, |m| m.feedback_next = 1);
        for n in 1..40_000 {
            assert!(members.has_room());
            members.add(member(n, &pair));
        }
        let sum = members.sum();
        assert_eq!((sum.confirmed, sum.joined), (1, 1));
        assert!(sum.active as usize <= PENDING_MAX + 1, "{}", sum.active);
        assert_eq!(members.members.len(), RECEIVERS_MAX);
        assert_eq!(members.by_key.len(), RECEIVERS_MAX);
        assert!(members.get(real).unwrap().is_confirmed());
        // One that was forgotten, and whose place was not given away, comes back.
        let late = members.vacant[5];
        members.recall(late);
        members.change(late, |m| m.feedback_next = 1);
        assert_eq!(members.sum().joined, 2);
        let numbers: Vec<u32> = (0..100)
            .map(|n| {
                assert!(members.has_room());
                members.add(member(50_000 + n, &pair))
            })
            .collect();
        assert!(!numbers.contains(&late) && !numbers.contains(&real));
    }
}
