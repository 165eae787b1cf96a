//! What must be true of every run.
//!
//! Safety: what a receiver hands out is what was sent, complete means all of it, and the sender
//! counts no receiver as done that lacks bytes. Liveness: all is over soon after the last fault
//! has healed, every receiver that nothing keeps from it is complete, and any other ends for a
//! reason that its own faults, or the sender's, explain.

use sealcast::proto::limits::RATE_MIN;
use sealcast::proto::{Fate, MemberReport, ReceiverEnd, SenderEnd};
use sealcast::units::{Duration, Instant};
use sealcast::wire::{AbortReason, DropReason, LeaveReason, RejectReason};

use crate::plan::{Fault, Plan, ReceiverPlan, SenderFault, Span, Way};
use crate::world::{DEADLINE, Listener, World, node};

/// Each peer is lost that is silent for 5 s: what takes less than this is survived, though the
/// last sign of life before may be a while ago.
const SURVIVED: Duration = Duration::from_ms(3_000);

/// Judges a run that is over.
pub fn judge(world: &World) -> Result<(), String> {
    for (i, listener) in world.listeners.iter().enumerate() {
        is_safe(world, listener).map_err(|e| format!("receiver {}: {e}", i + 1))?;
    }
    sender_is_right(world)?;
    if !world.is_over() || world.now() > bound(world) {
        return Err(format!(
            "over at {:?}, and should be by {:?}",
            world.now(),
            bound(world)
        ));
    }
    for i in 0..world.listeners.len() {
        receiver_is_right(world, i).map_err(|e| format!("receiver {}: {e}", i + 1))?;
    }
    Ok(())
}

/// What was handed out is a prefix of what was sent, and complete means all of it.
fn is_safe(world: &World, listener: &Listener) -> Result<(), String> {
    if listener.wrong {
        return Err("it was handed out something else".into());
    }
    let all = listener.taken == world.payload.len();
    if listener.end == Some(ReceiverEnd::Complete) && !all {
        return Err(format!("it takes {} bytes for all", listener.taken));
    }
    Ok(())
}

/// A sender knows of its receivers what is true.
fn sender_is_right(world: &World) -> Result<(), String> {
    for (n, session) in world.past.iter().enumerate() {
        let counted = || session.members.iter().filter(|m| !m.withdrawn);
        let done = counted().filter(|m| m.fate == Fate::Done).count();
        for member in &session.members {
            let ended = session.end;
            member_is_right(world, member, ended).map_err(|e| {
                format!(
                    "session {n} says of {}: {:?}, {e}",
                    member.addr, member.fate
                )
            })?;
        }
        let failed = counted().count() - done;
        let right = match session.end {
            Some(SenderEnd::Complete) => done > 0 && failed == 0,
            Some(SenderEnd::Partial { done: d, failed: f }) => {
                (d as usize, f as usize) == (done, failed) && done > 0 && failed > 0
            }
            Some(SenderEnd::AllLost) => done == 0,
            // Those that are there are told, and do not count.
            Some(SenderEnd::NoReceivers) => done == 0,
            Some(SenderEnd::Sent) => world.plan.sender.one_way.is_some(),
            Some(SenderEnd::Aborted(why)) => why == AbortReason::Interrupted && aborts(&world.plan),
            None => crashes(&world.plan),
        };
        if !right {
            let end = session.end;
            return Err(format!(
                "session {n} ended {end:?} with {done} done, {failed} not"
            ));
        }
    }
    Ok(())
}

fn member_is_right(
    world: &World,
    member: &MemberReport,
    ended: Option<SenderEnd>,
) -> Result<(), String> {
    // Its JOIN came from another address first, which is an attacker's.
    let Some((node, _)) = node(member.addr) else {
        return Ok(());
    };
    let (listener, plan) = (&world.listeners[node - 1], &world.plan.receivers[node - 1]);
    let right = match member.fate {
        Fate::Done => {
            let all = listener.taken == world.payload.len();
            listener.had_all || all && listener.confirmed
        }
        // Who crashed may be in the session a second time.
        Fate::Dropped(reason) => Excuses { world, plan }.dropped(reason),
        Fate::Left(reason) => reason == LeaveReason::Interrupted && plan.leaves(),
        Fate::Active => {
            let broken_off = matches!(ended, None | Some(SenderEnd::Aborted(_)));
            broken_off || ended == Some(SenderEnd::NoReceivers) || member.withdrawn
        }
    };
    match right {
        true => Ok(()),
        false => Err(format!("and it ended {:?}", listener.end)),
    }
}

fn crashes(plan: &Plan) -> bool {
    plan.has(|fault| matches!(fault, SenderFault::Crash { .. }))
}

fn aborts(plan: &Plan) -> bool {
    plan.has(|fault| matches!(fault, SenderFault::Abort(_)))
}

impl ReceiverPlan {
    fn leaves(&self) -> bool {
        self.has(|fault| matches!(fault, Fault::Leaves(_)))
    }

    fn crashes(&self) -> bool {
        self.has(|fault| matches!(fault, Fault::Crash { .. }))
    }

    /// Its consumer has not ended long after it might have everything.
    fn works_long(&self) -> bool {
        let pauses = self.faults.iter().filter_map(|fault| match fault {
            Fault::Pause(span) => Some(span.length()),
            _ => None,
        });
        pauses.fold(self.works(), |a, b| a + b) >= Duration::from_secs(19)
    }

    /// The spans in which no datagram passes this way.
    fn cuts(&self, to: Way) -> impl Iterator<Item = Span> {
        self.faults.iter().filter_map(move |fault| match fault {
            Fault::Cut { span, way } => way.is_none_or(|way| way == to).then_some(*span),
            _ => None,
        })
    }

    fn is_long_cut(&self, to: Way) -> bool {
        // Two that follow each other are one, as far as it matters here.
        let total = self.cuts(to).map(Span::length);
        total.fold(Duration::ZERO, |a, b| a + b) > SURVIVED
    }

    fn sleeps_long(&self) -> bool {
        self.has(|fault| match fault {
            Fault::Sleep(span) => span.length() > SURVIVED,
            _ => false,
        })
    }

    /// Its consumer takes nothing for a long time.
    fn stalls(&self) -> bool {
        self.has(|fault| match fault {
            Fault::Pause(span) => span.length() > Duration::from_secs(10),
            _ => false,
        })
    }
}

/// What explains how a receiver ended.
struct Excuses<'a> {
    world: &'a World,
    plan: &'a ReceiverPlan,
}

impl Excuses<'_> {
    /// The sender fell silent for it.
    fn silence(&self) -> bool {
        let (plan, world) = (self.plan, self.world);
        let sender_sleeps = |span: Span| span.length() > SURVIVED;
        crashes(&world.plan)
            || world.plan.sender_sleep().is_some_and(sender_sleeps)
            || plan.sleeps_long()
            || plan.is_long_cut(Way::ToReceiver)
            || plan.to.swallows_over.is_some()
    }

    /// One-way: it came when a session was about to begin or had begun. What it needs may have
    /// overtaken what it must know first, and a recording may be all that it hears.
    fn is_late(&self) -> bool {
        let one_way = self.world.plan.sender.one_way.is_some();
        let came = self.plan.starts + Duration::from_ms(500);
        let mut started = self.world.past.iter().filter_map(|past| past.started_at);
        one_way && started.any(|at| at < came)
    }

    /// Its process or its consumer does not run for a while.
    fn gaps(&self) -> bool {
        let gap = |fault: &Fault| matches!(fault, Fault::Sleep(_) | Fault::Pause(_));
        self.plan.has(gap)
    }

    /// Datagrams are lost on the way to it, or come too late.
    fn losses(&self) -> bool {
        let (plan, to) = (self.plan, &self.plan.to);
        let loses = to.loss + to.corrupt + to.truncate > 0.0 || to.swallows_over.is_some();
        let cut = plan.cuts(Way::ToReceiver).next().is_some();
        let full = self.world.overflowed > 0;
        loses || cut || full || self.is_late() || plan.crashes() || self.gaps() || self.silence()
    }

    /// Nothing that it says comes through, or it gave the sender up.
    fn unheard(&self) -> bool {
        let plan = self.plan;
        plan.is_long_cut(Way::FromReceiver)
            || plan.from.swallows_over.is_some()
            || plan.sleeps_long()
            || plan.crashes()
            || plan.leaves()
            || self.silence()
    }

    /// The sender dropped it.
    fn dropped(&self, reason: DropReason) -> bool {
        let plan = self.plan;
        let unheard = self.unheard();
        match reason {
            // One that holds the others up and is silent is not waited for as long.
            DropReason::Silent => unheard || self.world.plan.sender.floor.is_some(),
            DropReason::Stalled => plan.stalls() || unheard,
            DropReason::Unfinished => plan.works_long(),
            // Without a floor the time for which it may hold the stream up is bounded.
            DropReason::Slow => {
                self.world.plan.sender.floor.is_some() || plan.stalls() || unheard || self.losses()
            }
            DropReason::BlackHole => plan.to.swallows_over.is_some(),
            DropReason::Lossy => self.losses() || unheard,
            DropReason::NextPass => {
                let next = self.world.plan.sender.series.next_pass;
                self.world.plan.sender.floor.is_some() && next.takes_slow()
            }
            DropReason::Differs => false,
        }
    }
}

/// Why a receiver ended as it did must be explained.
fn receiver_is_right(world: &World, i: usize) -> Result<(), String> {
    let (listener, plan) = (&world.listeners[i], &world.plan.receivers[i]);
    let excuses = Excuses { world, plan };
    let Some(end) = &listener.end else {
        return match plan.crashes() {
            true => Ok(()),
            false => Err("it never ended".into()),
        };
    };
    // The last session in which it could have been.
    let over_at = world
        .past
        .last()
        .map_or(Instant::ZERO, |past| past.ended_at);
    let next_pass = world.plan.sender.series.next_pass.takes_late();
    let started = || world.past.iter().filter_map(|past| past.started_at);
    let one_way = world.plan.sender.one_way.is_some();
    let explained = match end {
        ReceiverEnd::Complete => true,
        ReceiverEnd::Left(reason) => *reason == LeaveReason::Interrupted && plan.leaves(),
        ReceiverEnd::Corrupt => false,
        ReceiverEnd::SenderLost(_) => {
            let dropped = |m: &MemberReport| matches!(m.fate, Fate::Dropped(_));
            let of_it = |m: &&MemberReport| node(m.addr).is_some_and(|(n, _)| n == i + 1);
            let members = || world.past.iter().flat_map(|p| &p.members).filter(of_it);
            let recorded = world.plan.replays > 0.0 && excuses.is_late();
            // The BYEs or the ABORTs were lost, or the sender counts on it no more. A JOIN that an
            // attacker repeated may be all that the sender heard of it.
            excuses.silence()
                || plan.from.swallows_over.is_some()
                || members().any(dropped)
                || aborts(&world.plan)
                || recorded
                || (listener.waited && (listener.ended_at >= over_at || excuses.unheard()))
                || plan.works_long()
        }
        ReceiverEnd::Dropped(reason) => excuses.dropped(*reason),
        ReceiverEnd::Aborted(AbortReason::Interrupted, _) => aborts(&world.plan),
        ReceiverEnd::Aborted(AbortReason::NotStarted, _) => {
            let ends = || world.past.iter().map(|past| past.end);
            ends().any(|end| end == Some(SenderEnd::NoReceivers))
        }
        ReceiverEnd::Aborted(..) => false,
        ReceiverEnd::Rejected(RejectReason::BrokenOff) => aborts(&world.plan),
        ReceiverEnd::Rejected(RejectReason::TooLate) => {
            // A session had begun when it had not come in.
            let joined = listener.joined_at.unwrap_or(Instant::from_us(u64::MAX));
            (one_way || !next_pass) && started().any(|at| at < joined)
        }
        ReceiverEnd::Rejected(_) => false,
        ReceiverEnd::NoSender => {
            let waited = plan.config.start_timeout.unwrap_or(Duration::ZERO);
            let came = listener.joined_at.is_none();
            let gone = over_at < listener.ended_at;
            let moves = plan.has(|fault| matches!(fault, Fault::Moves(_)));
            came && (gone
                || listener.lacks_memory
                || excuses.unheard()
                || moves
                || over_at.since(plan.starts) < waited)
        }
        ReceiverEnd::Lost { .. } => one_way && excuses.losses(),
        ReceiverEnd::Overrun { .. } => one_way && (plan.consumer.is_some() || excuses.gaps()),
    };
    match explained {
        true => Ok(()),
        false => Err(format!("nothing explains that it ended {end:?}")),
    }
}

/// When all must be over: some time after the last fault has healed, since a receiver that is not
/// served any more is waited for a while, and each session has its own start.
fn bound(world: &World) -> Instant {
    let plan = &world.plan;
    let bytes = plan.payload as u64;
    let sessions = world.past.len() as u64;
    // Loss may push the rate down to the least, and holds each window up.
    let rate = plan
        .slowest()
        .as_bytes_per_s()
        .min(RATE_MIN.as_bytes_per_s());
    let transfer = Duration::from_us(bytes * 1_000_000 / rate).times(2);
    let window = plan.receivers.iter().map(|r| r.config.memory);
    let window = window.chain([plan.sender.memory]).min().unwrap_or(1) as u64;
    let windows = Duration::from_secs(bytes / window);
    let waits = Duration::from_secs(60) + Duration::from_secs(30).times(sessions);
    let all = plan.healed_at() + waits + (transfer + windows).times(sessions);
    all.min(DEADLINE)
}
