//! The receivers of a session, as the sender knows them.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::proto::config::{PEER_SILENT_MAX, RTT_MAX, RTT_MIN};
use crate::proto::event::Fate;
use crate::proto::pace::LossMeter;
use crate::proto::protect::Pair;
use crate::units::{Duration, Instant};
use crate::wire::{Feedback, Join, Verdict};

/// One receiver.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) addr: SocketAddr,
    pub(super) key: [u8; 32],
    pub(super) name: String,
    pub(super) pair: Pair,
    pub(super) fate: Fate,
    pub(super) byes: u32,
    /// FEEDBACKs below this number are old.
    pub(super) feedback_next: u32,
    pub(super) next: u32,
    pub(super) window_end: u32,
    pub(super) tx_end: u64,
    received: u32,
    pub(super) socket_bytes: u32,
    pub(super) meter: LossMeter,
    pub(super) rtt: Option<Duration>,
    pub(super) heard_at: Instant,
    pub(super) joined_at: Instant,
    /// Since when it stands still while the sender waits for it.
    pub(super) still_since: Instant,
    /// Since when its consumer works on what is complete.
    pub(super) finishing_since: Option<Instant>,
    pub(super) nacks: u64,
    /// Its place in the list of those that may take part.
    pub(super) listed: Option<usize>,
    pub(super) sent: u64,
    pub(super) arrived: u64,
    /// It counts at the end: it was there at the start, or expected.
    pub(super) awaited: bool,
}

/// What a receiver's FEEDBACK says about the time since its last.
pub(super) struct Step {
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Member {
    pub(super) fn new(
        join: &Join,
        addr: SocketAddr,
        key: [u8; 32],
        pair: Pair,
        tx: u64,
        now: Instant,
    ) -> Self {
        Self {
            addr,
            key,
            name: join.name.clone(),
            pair,
            fate: Fate::Active,
            byes: 0,
            feedback_next: 0,
            next: 0,
            window_end: join.window_blocks,
            tx_end: tx,
            received: 0,
            socket_bytes: join.socket_bytes,
            meter: LossMeter::new(now),
            rtt: None,
            heard_at: now,
            joined_at: now,
            still_since: now,
            finishing_since: None,
            nacks: 0,
            listed: None,
            sent: 0,
            arrived: 0,
            awaited: false,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.fate == Fate::Active
    }

    /// Whether a FEEDBACK of it was heard: it has the keys.
    pub(super) fn is_confirmed(&self) -> bool {
        self.feedback_next > 0
    }

    /// Takes a FEEDBACK in: numbers only grow, whatever a receiver claims. What was sent before its
    /// first was not meant for it, and is not lost.
    pub(super) fn update(
        &mut self,
        feedback: &Feedback,
        tx: u64,
        now: Instant,
        first: bool,
    ) -> Step {
        self.heard_at = now;
        if feedback.next > self.next {
            self.next = feedback.next;
            self.still_since = now;
        }
        self.window_end = self.window_end.max(feedback.window_end);
        let tx_end = feedback.tx_end.min(tx).max(self.tx_end);
        let step = Step {
            sent: tx_end - self.tx_end,
            received: u64::from(feedback.received.wrapping_sub(self.received)),
        };
        self.tx_end = tx_end;
        self.received = feedback.received;
        if feedback.echo_us > 0 {
            let echo = Instant::from_us(feedback.echo_us);
            let held = Duration::from_us(u64::from(feedback.hold_us));
            let rtt = now.since(echo + held).clamp(RTT_MIN, RTT_MAX);
            self.rtt = Some(self.rtt.map_or(rtt, |old| smooth(old, rtt)));
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
        stall_max: Duration,
        finish_max: Option<Duration>,
    ) -> Option<Verdict> {
        let (since, most) = match self.finishing_since {
            Some(since) => (since, finish_max),
            None => (self.still_since, Some(stall_max)),
        };
        if now.since(self.heard_at) >= PEER_SILENT_MAX {
            Some(Verdict::Silent)
        } else if most.is_some_and(|most| now.since(since) >= most) {
            Some(Verdict::Stalled)
        } else {
            None
        }
    }
}

/// Round trips grow at once and shrink slowly: RFC 5401 section 3.2.1 in the small.
fn smooth(old: Duration, new: Duration) -> Duration {
    if new > old {
        new
    } else {
        Duration::from_us((old.as_us() * 7 + new.as_us()) / 8)
    }
}

/// All receivers; a receiver's number is its index.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: Vec<Member>,
    by_key: HashMap<[u8; 32], u32>,
}

impl Roster {
    pub(super) fn add(&mut self, member: Member) -> u32 {
        let number = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.by_key.insert(member.key, number);
        self.members.push(member);
        number
    }

    pub(super) fn by_key(&self, key: &[u8; 32]) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Member> {
        self.members.get_mut(usize::try_from(number).ok()?)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(super) fn active_mut(&mut self) -> impl Iterator<Item = (u32, &mut Member)> {
        let members = (0..).zip(self.members.iter_mut());
        members.filter(|(_, m)| m.is_active())
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.is_active())
    }

    pub(super) fn count(&self, is: impl Fn(Fate) -> bool) -> u32 {
        u32::try_from(self.members.iter().filter(|m| is(m.fate)).count()).unwrap_or(u32::MAX)
    }

    /// The longest round trip of an active receiver.
    pub(super) fn rtt(&self) -> Duration {
        self.active().filter_map(|m| m.rtt).max().unwrap_or(RTT_MIN)
    }
}
