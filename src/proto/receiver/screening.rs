//! Which ANNOUNCEs lead to a session that a receiver would take part in, and how many it looks at.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::proto::config::ReceiverConfig;
use crate::proto::event::{PassedOver, ReceiverEvent};
use crate::proto::limits::{CANDIDATES_MAX, SIGNATURES_PER_S_MAX};
use crate::proto::protect::OpenedAnnounce;
use crate::units::{Duration, Instant};
use crate::wire::Announce;

/// With all places taken, one of so many ANNOUNCEs takes one over, for long enough to be answered.
const FLOODED_SHARE: u32 = 8;

/// Opens an ANNOUNCE with the shared secret, if there is one.
///
/// # Errors
/// Why it cannot be opened, if that is worth a word; else it is malformed or damaged.
pub(in crate::proto) fn open_announce<'a>(
    config: &ReceiverConfig,
    datagram: &'a [u8],
) -> Result<OpenedAnnounce<'a>, Option<PassedOver>> {
    let (_, shared) = Announce::peek(datagram);
    let key = config.keys.shared.as_ref().filter(|_| shared);
    if shared && key.is_none() {
        return Err(Some(PassedOver::SharedKeyNeeded));
    }
    let opened = OpenedAnnounce::open(datagram, key);
    opened.ok_or(shared.then_some(PassedOver::OtherSharedKey))
}

/// Whether a receiver would take part in a session.
///
/// # Errors
/// Why it would not.
pub(in crate::proto) fn screen(
    config: &ReceiverConfig,
    announce: &Announce,
) -> Result<(), PassedOver> {
    let from = &config.keys.from;
    match (announce.protection.one_way, config.one_way) {
        (true, false) => return Err(PassedOver::OneWay),
        (false, true) => return Err(PassedOver::TwoWay),
        (true, true) | (false, false) => {}
    }
    match announce.protection.signer {
        _ if from.is_empty() => {}
        None => return Err(PassedOver::Unsigned),
        Some(signer) if !from.iter().any(|key| *key.as_bytes() == signer) => {
            return Err(PassedOver::OtherSigner);
        }
        Some(_) => {}
    }
    match config.holds(announce) {
        true => Ok(()),
        false => Err(PassedOver::MoreMemory),
    }
}

/// Where another candidate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Place {
    /// There is room.
    Free,
    /// In the place of this one.
    Of(usize),
    /// Nowhere.
    None,
}

impl Place {
    /// With so many candidates, of which this one would make room.
    pub(in crate::proto) fn draw(
        count: usize,
        makes_room: Option<usize>,
        rng: &mut StdRng,
    ) -> Self {
        debug_assert!(count <= CANDIDATES_MAX);
        match makes_room {
            _ if count < CANDIDATES_MAX => Self::Free,
            Some(at) => Self::Of(at),
            // An attacker that repeats ANNOUNCEs from ever new addresses must not fill all places.
            None if rng.random_ratio(1, FLOODED_SHARE) => {
                Self::Of(rng.random_range(0..CANDIDATES_MAX))
            }
            None => Self::None,
        }
    }

    /// Puts a candidate there.
    pub(in crate::proto) fn put<T>(self, list: &mut Vec<T>, new: T) {
        if let Self::Of(at) = self {
            list.remove(at);
        }
        list.push(new);
    }
}

/// Checking a signature costs time: so many a second are checked.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proto) struct SignatureLimit {
    checked: u32,
    since: Instant,
}

impl SignatureLimit {
    /// Whether another may be checked.
    pub(in crate::proto) fn allow(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.checked = 0;
        }
        self.checked = self.checked.saturating_add(1);
        self.checked <= SIGNATURES_PER_S_MAX
    }
}

/// So many other names of sessions are told of: an attacker can announce any number.
const NAMES_MAX: usize = 8;

/// What was told of sessions that we pass over.
#[derive(Clone, Debug, Default)]
pub(in crate::proto) struct Told {
    reasons: BTreeSet<PassedOver>,
    names: BTreeSet<String>,
}

impl Told {
    /// What to say of a session that we cannot take part in: once for each reason.
    pub(in crate::proto) fn pass_over(
        &mut self,
        from: SocketAddr,
        why: PassedOver,
    ) -> Option<ReceiverEvent> {
        let event = ReceiverEvent::PassedOver { from, why };
        self.reasons.insert(why).then_some(event)
    }

    /// What to say of a session of another name than the one we want: once for each name.
    pub(in crate::proto) fn other_name(
        &mut self,
        from: SocketAddr,
        announce: &Announce,
    ) -> Option<ReceiverEvent> {
        let name = announce.name.clone();
        let new = self.names.len() < NAMES_MAX && self.names.insert(name.clone());
        new.then_some(ReceiverEvent::OtherName { from, name })
    }
}
