//! The receivers of a session, as the sender knows them.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::proto::event::{Fate, MemberReport};
use crate::proto::limits::{
    ANSWER_EVERY, BLACK_HOLE_MAX, BLACK_HOLE_SENT_MIN, PENDING_MAX, RECEIVERS_MAX, RTT_MAX, RTT_MIN,
};
use crate::proto::protect::{MemberCiphers, PeerCiphers};
use crate::proto::rate::{PathState, ReportStep};
use crate::units::{Duration, Instant};
use crate::wire::{ByeReason, DropReason, Feedback, Join, LeaveReason};

/// How a receiver goes that does not have everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It left.
    Left(LeaveReason),
    /// The sender gave it up.
    Dropped(DropReason),
}

/// Where a receiver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberState {
    /// It has not shown that it has the keys.
    Pending,
    /// It takes part.
    Active,
    /// It confirmed the whole stream.
    Done,
    /// It went after the start.
    Gone(Departure),
    /// It went before it counted, and its place may be given away: nothing was heard of it that
    /// showed its keys, or it departed before the start.
    Withdrawn(Option<Departure>),
}

impl MemberState {
    /// Whether it is in the session, be it that it has not shown its keys.
    pub(super) fn is_present(self) -> bool {
        matches!(self, Self::Pending | Self::Active)
    }

    /// Whether it has shown that it has the keys.
    pub(super) fn is_confirmed(self) -> bool {
        !matches!(self, Self::Pending | Self::Withdrawn(None))
    }

    pub(super) fn is_withdrawn(self) -> bool {
        matches!(self, Self::Withdrawn(_))
    }

    /// How it fared, as far as people are told.
    pub(super) fn fate(self) -> Fate {
        match self {
            Self::Pending | Self::Active => Fate::Active,
            Self::Done => Fate::Done,
            Self::Gone(Departure::Left(reason))
            | Self::Withdrawn(Some(Departure::Left(reason))) => Fate::Left(reason),
            Self::Gone(Departure::Dropped(reason))
            | Self::Withdrawn(Some(Departure::Dropped(reason))) => Fate::Dropped(reason),
            Self::Withdrawn(None) => Fate::Dropped(DropReason::Silent),
        }
    }

    /// What it is told.
    pub(super) fn bye_reason(self) -> ByeReason {
        match self.fate() {
            Fate::Dropped(reason) => ByeReason::Dropped(reason),
            Fate::Left(_) => ByeReason::Left,
            Fate::Done | Fate::Active => ByeReason::Done,
        }
    }
}

/// Whether a receiver holds the others up, as the eviction knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// When it was heard last.
    pub(super) heard_at: Instant,
    /// Since when it stands still while the sender waits for it.
    pub(super) still_since: Instant,
    /// Since when its consumer works on what is complete.
    pub(super) committing_since: Option<Instant>,
    /// Since when it keeps the stream below the floor.
    pub(super) slow_since: Option<Instant>,
    /// It held the others up at the last check.
    pub(super) was_holding_up: bool,
    /// For how long it may still hold the stream up, once it may not for ever.
    pub(super) hold_left: Option<Duration>,
    /// Since when it lacks each symbol of the block that is next, though it hears POLLs.
    pub(super) unreached: Option<Unreached>,
    /// It lacked symbols when it reported last.
    pub(super) lacks: bool,
}

/// A receiver was found to get none of the long datagrams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unreached {
    /// When it said so first and last, and how many symbols of its next block were sent until then.
    first: (Instant, u32),
    last: (Instant, u32),
}

/// Who a receiver is, whatever process of it takes part: its identity, or else its name and
/// address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Machine {
    Identity([u8; 32]),
    Place(IpAddr, String),
}

impl Machine {
    fn of(addr: SocketAddr, join: &Join) -> Self {
        match join.identity {
            Some(identity) => Self::Identity(identity),
            None => Self::Place(addr.ip(), join.name.clone()),
        }
    }
}

/// One receiver.
#[derive(Debug)]
pub(super) struct Member {
    machine: Machine,
    /// A later process of the same machine takes part, and nothing was heard of this one since.
    pub(super) successor: Option<u32>,
    pub(super) addr: SocketAddr,
    pub(super) key: [u8; 32],
    pub(super) name: String,
    /// Its place in the list of those that may take part.
    pub(super) listed: Option<usize>,
    pub(super) pair: PeerCiphers,
    pub(super) ciphers: MemberCiphers,
    pub(super) state: MemberState,
    /// BYEs sent to it.
    pub(super) byes: u32,
    /// FEEDBACKs below this number are old.
    pub(super) feedback_next: u32,
    /// The first block that it does not have.
    pub(super) next: u32,
    /// Blocks that it can hold.
    pub(super) window: u32,
    /// The first block for which it has no room.
    pub(super) window_end: u32,
    /// It has reported on every transmission below this one.
    pub(super) reported_end: u64,
    received: u32,
    pub(super) socket_bytes: u32,
    /// Bytes of the longest packet that its interface takes; 0 when it does not know.
    pub(super) mtu: u16,
    pub(super) path: PathState,
    pub(super) progress: Progress,
    pub(super) joined_at: Instant,
    /// When it was answered last.
    answered_at: Option<Instant>,
    pub(super) nacks: u64,
    /// Datagrams that were sent to it since it joined, as far as its reports tell.
    pub(super) sent: u64,
    /// Datagrams of those that arrived.
    pub(super) arrived: u64,
    /// Repair symbols that were sent because it asked for them.
    pub(super) asked: u64,
    /// It counts at the end: it was there at the start, or expected.
    pub(super) required: bool,
}

/// Who a new receiver is.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) addr: SocketAddr,
    pub(super) key: [u8; 32],
    pub(super) pair: PeerCiphers,
    pub(super) ciphers: MemberCiphers,
    pub(super) listed: Option<usize>,
}

impl Member {
    /// A receiver that joins when the transmission of this `sequence` number is next.
    pub(super) fn new(newcomer: Newcomer, join: &Join, sequence: u64, now: Instant) -> Self {
        Self {
            machine: Machine::of(newcomer.addr, join),
            successor: None,
            addr: newcomer.addr,
            key: newcomer.key,
            name: join.name.clone(),
            listed: newcomer.listed,
            pair: newcomer.pair,
            ciphers: newcomer.ciphers,
            state: MemberState::Pending,
            byes: 0,
            feedback_next: 0,
            next: 0,
            window: join.window_blocks,
            window_end: join.window_blocks,
            reported_end: sequence,
            received: 0,
            socket_bytes: join.socket_bytes,
            mtu: join.mtu,
            path: PathState::new(now),
            progress: Progress {
                heard_at: now,
                still_since: now,
                committing_since: None,
                slow_since: None,
                was_holding_up: false,
                hold_left: None,
                unreached: None,
                lacks: false,
            },
            joined_at: now,
            answered_at: None,
            nacks: 0,
            sent: 0,
            arrived: 0,
            asked: 0,
            required: false,
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

    /// Takes the FEEDBACK of this number in, which comes before the transmission of this `sequence`
    /// number: numbers only grow, whatever a receiver claims. What was sent before its first was
    /// not meant for it, and is not lost.
    pub(super) fn update(
        &mut self,
        feedback: &Feedback,
        number: u32,
        sequence: u64,
        now: Instant,
    ) -> ReportStep {
        self.progress.heard_at = now;
        self.feedback_next = number.saturating_add(1);
        if feedback.next > self.next {
            self.next = feedback.next;
            self.progress.unreached = None;
            self.progress.still_since = now;
        }
        self.window_end = self.window_end.max(feedback.window_end);
        let reported_end = feedback.sequence_end.min(sequence).max(self.reported_end);
        let step = ReportStep {
            sent: reported_end - self.reported_end,
            received: u64::from(feedback.received.wrapping_sub(self.received)),
        };
        self.reported_end = reported_end;
        self.received = feedback.received;
        self.nacks += u64::from(!feedback.needs.is_empty());
        if feedback.echo_us > 0 {
            let echo = Instant::from_us(feedback.echo_us);
            let held = Duration::from_us(u64::from(feedback.hold_us));
            self.path.rtt.on_sample(now, now.since(echo + held));
        }
        if self.state == MemberState::Pending {
            self.state = MemberState::Active;
            return ReportStep::default();
        }
        self.sent += step.sent;
        self.arrived += step.received;
        step
    }

    /// Takes note whether long datagrams reach it. `sent` has the source symbols of the block that
    /// it needs next, and how many symbols of it were sent before what it heard last.
    pub(super) fn note_reach(
        &mut self,
        feedback: &Feedback,
        sent: Option<(u16, u32)>,
        now: Instant,
    ) {
        self.progress.lacks = !feedback.needs.is_empty();
        let first = feedback.needs.first().filter(|n| n.block == feedback.next);
        let hears = feedback.echo_us > 0 && u64::from(feedback.hold_us) < RTT_MAX.as_us();
        match (first, sent) {
            (Some(need), Some((len, _))) if need.symbols != len => self.progress.unreached = None,
            (Some(_), Some((_, sent))) if hears => {
                let last = (now, sent);
                let first = self.progress.unreached.map_or(last, |before| before.first);
                self.progress.unreached = Some(Unreached { first, last });
            }
            // It does not say this time, or hears nothing at all.
            _ => {}
        }
    }

    /// Whether short datagrams reach it and long ones do not.
    pub(super) fn is_black_hole(&self) -> bool {
        self.progress.unreached.is_some_and(|unreached| {
            let ((since, before), (until, sent)) = (unreached.first, unreached.last);
            until.since(since) >= BLACK_HOLE_MAX
                && sent.saturating_sub(before) >= BLACK_HOLE_SENT_MIN
        })
    }

    /// What people are told of it, as receiver `receiver` of this `pass`.
    fn report(&self, receiver: u32, pass: u32) -> MemberReport {
        MemberReport {
            receiver,
            name: self.name.clone(),
            addr: self.addr,
            fate: self.state.fate(),
            next: self.next,
            nacks: self.nacks,
            listed: self.listed,
            sent: self.sent,
            arrived: self.arrived,
            required: self.required,
            withdrawn: self.state.is_withdrawn(),
            pass,
        }
    }
}

/// All receivers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupState {
    /// Receivers in the session, be it that they have not shown their keys.
    pub(super) present: u32,
    /// Receivers in the session that have shown their keys: the figures below are theirs alone.
    pub(super) active: u32,
    /// Receivers that have everything.
    pub(super) done: u32,
    /// Receivers that were ever there, but for those that withdrew.
    pub(super) joined: u32,
    /// Receivers in the session that have a successor.
    pub(super) succeeded: u32,
    /// The first block that one of them does not have.
    pub(super) next: u32,
    /// The first block for which one of them has no room.
    pub(super) window_end: u32,
    /// Blocks that the one with the least room can hold.
    pub(super) window: u32,
    /// All have reported on every transmission below this one.
    pub(super) reported_end: u64,
    /// Bytes of the least socket buffer.
    pub(super) socket_bytes: u32,
    /// The longest round trip time.
    pub(super) rtt: Duration,
}

impl GroupState {
    const EMPTY: Self = Self {
        present: 0,
        active: 0,
        done: 0,
        joined: 0,
        succeeded: 0,
        next: u32::MAX,
        window_end: u32::MAX,
        window: u32::MAX,
        reported_end: u64::MAX,
        socket_bytes: u32::MAX,
        rtt: RTT_MIN,
    };

    fn of(member: &Member) -> Self {
        let state = member.state;
        let base = Self {
            present: u32::from(state.is_present()),
            done: u32::from(state == MemberState::Done),
            joined: u32::from(state.is_confirmed() && !state.is_withdrawn()),
            ..Self::EMPTY
        };
        if state != MemberState::Active {
            return base;
        }
        Self {
            active: 1,
            next: member.next,
            window_end: member.window_end,
            window: member.window,
            reported_end: member.reported_end,
            socket_bytes: member.socket_bytes,
            rtt: member.path.rtt.smoothed(),
            succeeded: u32::from(member.successor.is_some()),
            ..base
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            present: self.present + other.present,
            active: self.active + other.active,
            done: self.done + other.done,
            joined: self.joined + other.joined,
            succeeded: self.succeeded + other.succeeded,
            next: self.next.min(other.next),
            window_end: self.window_end.min(other.window_end),
            window: self.window.min(other.window),
            reported_end: self.reported_end.min(other.reported_end),
            socket_bytes: self.socket_bytes.min(other.socket_bytes),
            rtt: self.rtt.max(other.rtt),
        }
    }
}

/// All receivers; a receiver's number is its index.
#[derive(Debug, Default)]
pub(super) struct Members {
    table: Vec<Member>,
    by_key: HashMap<[u8; 32], u32>,
    /// The newest receiver of each machine that has shown its keys.
    by_machine: HashMap<Machine, u32>,
    /// Those that have not shown that they have the keys, the oldest first; some have since.
    pending: VecDeque<u32>,
    /// Places of those that withdrew, to be given away when there are no others.
    vacant: VecDeque<u32>,
    /// A binary tree of group states: the root at 1, the children of `n` at `2 n` and `2 n + 1`,
    /// members at its leaves. With thousands of receivers a FEEDBACK must not cost a look at all.
    groups: Vec<GroupState>,
}

impl Members {
    /// Whether there is a place for one more. Of too many that have not shown that they have the
    /// keys the oldest withdraw to make it.
    pub(super) fn has_room(&mut self) -> bool {
        loop {
            let table = &self.table;
            let taken = |&n: &u32| !table[n as usize].state.is_withdrawn();
            while self.vacant.front().is_some_and(taken) {
                self.vacant.pop_front();
            }
            let full = self.table.len() >= RECEIVERS_MAX && self.vacant.is_empty();
            if !full && self.pending.len() < PENDING_MAX {
                return true;
            }
            let Some(oldest) = self.pending.pop_front() else {
                return false;
            };
            if self.get(oldest).is_some_and(|m| !m.state.is_confirmed()) {
                self.withdraw(oldest, None);
            }
        }
    }

    /// Takes a receiver in for which there is room and gives it a number: one that no other has
    /// had, as long as there are any.
    ///
    /// # Panics
    /// If there is no room.
    pub(super) fn add(&mut self, member: Member) -> u32 {
        let new = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        let key = member.key;
        let number = if self.table.len() < RECEIVERS_MAX {
            self.table.push(member);
            new
        } else {
            let vacant = self.vacant.pop_front();
            #[expect(clippy::expect_used, reason = "callers ask whether there is room")]
            let number = vacant.expect("a place is vacant");
            let before = std::mem::replace(&mut self.table[number as usize], member);
            self.by_key.remove(&before.key);
            if self.by_machine.get(&before.machine) == Some(&number) {
                self.by_machine.remove(&before.machine);
            }
            number
        };
        self.by_key.insert(key, number);
        self.pending.push_back(number);
        self.refresh(number);
        number
    }

    /// A receiver goes that does not count: its place may be given away.
    pub(super) fn withdraw(&mut self, number: u32, departure: Option<Departure>) {
        let Some(member) = self.get_mut(number) else {
            return;
        };
        if member.state.is_withdrawn() {
            return;
        }
        member.state = MemberState::Withdrawn(departure);
        // Its key stays known as long as its place is its own, so that one key has one number.
        self.vacant.push_back(number);
        self.refresh(number);
    }

    /// A receiver that withdrew shows that it has the keys after all, and its place is still there.
    pub(super) fn restore(&mut self, number: u32) {
        self.change(number, |member| member.state = MemberState::Pending);
    }

    /// A receiver that withdrew before it showed that it has the keys asks again.
    pub(super) fn restore_pending(&mut self, number: u32) {
        self.restore(number);
        self.pending.push_back(number);
    }

    /// A receiver has shown its keys. If a process of the same machine took part before, and that
    /// is there no more, it is returned. If it seems to be there, this one may have taken its
    /// place.
    pub(super) fn note_machine(&mut self, number: u32) -> Option<u32> {
        let machine = self.get(number)?.machine.clone();
        let before = self.by_machine.insert(machine.clone(), number)?;
        let known = self.get(before).filter(|m| m.machine == machine)?;
        let (state, hold_left, asked) = (known.state, known.progress.hold_left, known.asked);
        if before != number
            && let Some(member) = self.get_mut(number)
        {
            // What it may cost the others is bounded for all its processes together.
            member.progress.hold_left = hold_left;
            member.asked = asked;
        }
        match state {
            _ if before == number => None,
            MemberState::Active => {
                self.change(before, |member| member.successor = Some(number));
                None
            }
            MemberState::Gone(_) => Some(before),
            MemberState::Pending | MemberState::Done | MemberState::Withdrawn(_) => None,
        }
    }

    pub(super) fn by_key(&self, key: &[u8; 32]) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// A receiver.
    pub(super) fn get(&self, number: u32) -> Option<&Member> {
        self.table.get(usize::try_from(number).ok()?)
    }

    /// A receiver; what enters into the state of the group must be changed by [`Members::change`].
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Member> {
        self.table.get_mut(usize::try_from(number).ok()?)
    }

    /// Changes a receiver.
    pub(super) fn change<T>(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let result = change(self.get_mut(number)?);
        self.refresh(number);
        Some(result)
    }

    /// Brings the groups of this receiver up to date.
    fn refresh(&mut self, number: u32) {
        let leaves = self.table.len().next_power_of_two();
        if self.groups.len() != leaves * 2 {
            self.groups.clear();
            self.groups.resize(leaves * 2, GroupState::EMPTY);
            for (at, member) in self.table.iter().enumerate() {
                self.groups[leaves + at] = GroupState::of(member);
            }
            for at in (1..leaves).rev() {
                self.groups[at] = self.groups[at * 2].and(self.groups[at * 2 + 1]);
            }
            return;
        }
        let member = number as usize;
        let mut at = leaves + member;
        self.groups[at] = GroupState::of(&self.table[member]);
        while at > 1 {
            at /= 2;
            self.groups[at] = self.groups[at * 2].and(self.groups[at * 2 + 1]);
        }
        debug_assert!(self.is_consistent(), "{:?}", self.group());
    }

    /// Whether the state of the group is that of its members, as far as a look at them is cheap.
    fn is_consistent(&self) -> bool {
        let group = self.group();
        let all = self.table.iter().map(GroupState::of);
        group.active <= group.present
            && group.active + group.done <= group.joined
            && group.succeeded <= group.active
            && self.by_key.len() == self.table.len()
            && (self.table.len() > 32 || group == all.fold(GroupState::EMPTY, GroupState::and))
    }

    /// All receivers together.
    pub(super) fn group(&self) -> GroupState {
        self.groups.get(1).copied().unwrap_or(GroupState::EMPTY)
    }

    /// All receivers that ever joined.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Member)> {
        (0..).zip(&self.table)
    }

    /// The receivers that are in the session, and may still take part.
    pub(super) fn present(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.all().filter(|(_, m)| m.state.is_present())
    }

    /// The same; what enters into the state of the group must be changed by [`Members::change`].
    pub(super) fn present_mut(&mut self) -> impl Iterator<Item = (u32, &mut Member)> {
        let members = (0..).zip(self.table.iter_mut());
        members.filter(|(_, m)| m.state.is_present())
    }

    /// The receivers that take part.
    pub(super) fn active(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.all().filter(|(_, m)| m.state == MemberState::Active)
    }

    /// How many receivers are still there, if all of them have everything, and only their consumers
    /// still work.
    pub(super) fn committing(&self) -> Option<u32> {
        let mut present = self.present().map(|(_, m)| m);
        let all = present.all(|m| m.progress.committing_since.is_some());
        all.then(|| self.group().present)
    }

    /// How each receiver fared that has shown its keys, in this pass.
    pub(super) fn reports(&self, pass: u32) -> Vec<MemberReport> {
        let confirmed = self.all().filter(|(_, m)| m.state.is_confirmed());
        confirmed.map(|(n, m)| m.report(n, pass)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypt::agree::SecretKey;
    use crate::proto::protect::{AnnounceHash, Handshake};
    use crate::proto::sender::outgoing::announcement;
    use crate::wire::{Accept, SessionId};

    const SESSION: SessionId = SessionId([3; 16]);

    pub(in super::super) fn pair() -> PeerCiphers {
        let (ours, theirs) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let r = theirs.public();
        let config = crate::proto::SenderConfig::default();
        let announced = AnnounceHash::of(&announcement(&config, SESSION, &ours.public(), 1));
        Handshake::agree(SESSION, &ours, &r, &r, announced, None)
            .unwrap()
            .ciphers(None)
    }

    /// The `n`th receiver, with room for `10 + n` blocks.
    pub(in super::super) fn member(n: u32, pair: &PeerCiphers) -> Member {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let join = Join {
            session: SESSION,
            window_blocks: 10 + n,
            socket_bytes: 1_000,
            mtu: 0,
            name: String::new(),
            identity: None,
        };
        let newcomer = Newcomer {
            addr: SocketAddr::from(([10, 0, 0, 1], 1)),
            key,
            pair: pair.clone(),
            ciphers: pair.member(&Accept {
                session_secret: [1; 32],
                nonce: [2; 16],
            }),
            listed: None,
        };
        Member::new(newcomer, &join, u64::from(n), Instant::ZERO)
    }

    fn confirm(members: &mut Members, number: u32) {
        members.change(number, |m| m.state = MemberState::Active);
    }

    #[test]
    fn the_group_is_the_sum_of_all() {
        let (mut members, pair) = (Members::default(), pair());
        assert_eq!(members.group().present, 0);
        for n in 0..9 {
            assert_eq!(members.add(member(n, &pair)), n);
        }
        let group = members.group();
        assert_eq!(
            (group.present, group.active, group.window_end),
            (9, 0, u32::MAX)
        );
        for n in 2..9 {
            confirm(&mut members, n);
        }
        let group = members.group();
        assert_eq!(
            (group.active, group.window_end, group.reported_end),
            (7, 12, 2)
        );
        members.change(2, |m| m.state = MemberState::Done);
        members.change(8, |m| {
            m.path.rtt.on_sample(Instant::ZERO, Duration::from_ms(7));
        });
        let group = members.group();
        assert_eq!(
            (group.present, group.active, group.done, group.joined),
            (8, 6, 1, 7)
        );
        assert_eq!((group.window_end, group.rtt), (13, Duration::from_ms(7)));
        members.withdraw(3, None);
        let group = members.group();
        assert_eq!((group.joined, group.window_end), (6, 14));
    }

    #[test]
    fn made_up_receivers_leave_room_for_real_ones() {
        let (mut members, pair) = (Members::default(), pair());
        let real = members.add(member(0, &pair));
        confirm(&mut members, real);
        for n in 1..40_000 {
            assert!(members.has_room());
            members.add(member(n, &pair));
        }
        let group = members.group();
        assert_eq!((group.active, group.joined), (1, 1));
        assert!(
            group.present as usize <= PENDING_MAX + 1,
            "{}",
            group.present
        );
        assert_eq!(members.table.len(), RECEIVERS_MAX);
        assert_eq!(members.by_key.len(), RECEIVERS_MAX);
        assert!(members.get(real).unwrap().state.is_confirmed());
        // One that withdrew, and whose place was not given away, comes back.
        let late = members.vacant[5];
        members.restore(late);
        confirm(&mut members, late);
        assert_eq!(members.group().joined, 2);
        let numbers: Vec<u32> = (0..100)
            .map(|n| {
                assert!(members.has_room());
                members.add(member(50_000 + n, &pair))
            })
            .collect();
        assert!(!numbers.contains(&late) && !numbers.contains(&real));
    }

    #[test]
    fn what_a_receiver_claims_only_grows() {
        let mut m = member(5, &pair());
        let feedback = |next, sequence_end, received| Feedback {
            next,
            window_end: next + 9,
            sequence_end,
            received,
            echo_us: 0,
            hold_us: 0,
            outcome: crate::wire::Outcome::Receiving,
            needs: vec![],
        };
        let now = Instant::from_us(9);
        let first = m.update(&feedback(1, 20, 7), 0, 30, now);
        assert_eq!((first.sent, first.received), (0, 0), "not meant for it");
        assert_eq!(m.state, MemberState::Active);
        let step = m.update(&feedback(0, 99, 10), 4, 30, now);
        assert_eq!((step.sent, step.received), (10, 3));
        assert_eq!((m.next, m.reported_end, m.feedback_next), (1, 30, 5));
        assert_eq!((m.sent, m.arrived), (10, 3));
    }
}
