//! What must be true of every run.

use sealcast::proto::{Fate, ReceiverEnd, SenderEnd};

use crate::world::{DEADLINE, Listener, World};

/// Judges a run that is over.
pub fn judge(world: &World) -> Result<(), String> {
    // Safety: whatever was handed out is a prefix of what was sent, and complete means all of it.
    for (i, listener) in world.listeners.iter().enumerate() {
        let name = format!("receiver {}", i + 1);
        if listener.wrong {
            return Err(format!("{name} was handed out something else"));
        }
        let all = listener.taken == world.payload.len();
        if listener.end == Some(ReceiverEnd::Complete) && !all {
            return Err(format!("{name} takes {} bytes for all", listener.taken));
        }
        if listener.end == Some(ReceiverEnd::Corrupt) {
            return Err(format!("{name} found what was authenticated to be corrupt"));
        }
    }
    let members = world.sender.members();
    let done = members.iter().filter(|m| m.fate == Fate::Done).count();
    let all = |l: &&Listener| l.taken == world.payload.len();
    if done > world.listeners.iter().filter(all).count() {
        return Err("the sender counts more receivers than have everything".into());
    }
    if world.sender_end == Some(SenderEnd::Complete) && world.sender.stats().done == 0 {
        return Err("complete without a receiver".into());
    }
    // Liveness: all is over in time, and who had no trouble succeeded.
    if world.now() > DEADLINE || !world.is_over() {
        return Err(format!("not over at {:?}", world.now()));
    }
    let crashed = world.sender_crashed;
    let aborted = matches!(world.sender_end, Some(SenderEnd::Aborted(_)));
    if crashed || aborted {
        return Ok(());
    }
    let joined = world.sender.members().len();
    for (i, (listener, plan)) in world
        .listeners
        .iter()
        .zip(&world.plan.receivers)
        .enumerate()
    {
        let turned_away = matches!(
            listener.end,
            Some(ReceiverEnd::Rejected(_) | ReceiverEnd::NoSender)
        );
        // A receiver that comes in only after the start may be too late.
        if plan.is_sound()
            && joined > 0
            && !turned_away
            && listener.end != Some(ReceiverEnd::Complete)
        {
            return Err(format!(
                "receiver {} is sound, and ended {:?}",
                i + 1,
                listener.end
            ));
        }
    }
    let all_sound = world.plan.receivers.iter().all(|r| r.is_sound());
    let all_in = joined == world.listeners.len();
    if all_sound && all_in && world.sender_end != Some(SenderEnd::Complete) {
        return Err(format!(
            "all receivers are sound, and the sender ended {:?}",
            world.sender_end
        ));
    }
    Ok(())
}
