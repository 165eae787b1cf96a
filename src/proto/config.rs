//! What a caller tells a sender or a receiver.

use super::keys::{ReceiverKeys, SenderKeys};
use super::limits::{
    BLOCK_BYTES_DEFAULT, FINISH_MAX_DEFAULT, HOLD_MAX_DEFAULT, IP_UDP_LEN, K_DEFAULT, K_MAX,
    MEMORY_DEFAULT, MTU_DEFAULT, ONE_WAY_REPAIR_SHORT, PEER_SILENT_MAX, REDUNDANCY_DEFAULT,
    REDUNDANCY_MAX, SLOW_GRACE_DEFAULT, STALL_MAX_DEFAULT, SYMBOL_LEN_MIN, WINDOW_BLOCKS_MAX,
    WINDOW_BLOCKS_MIN,
};
use crate::units::{Duration, Rate};
use crate::wire::{Announce, DATA_OVERHEAD, End, NAME_LEN_MAX, SessionId};

/// What a sender does that hears nothing of its receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneWay {
    /// Repair symbols for each 1000 source symbols of a block, at most [`REDUNDANCY_MAX`].
    pub redundancy: u32,
}

impl Default for OneWay {
    fn default() -> Self {
        Self {
            redundancy: REDUNDANCY_DEFAULT,
        }
    }
}

impl OneWay {
    /// Repair symbols that follow a block of `k` source symbols, where a whole one has `whole`.
    pub(super) fn repair(self, k: u16, whole: u16) -> u16 {
        let share = |k: u16| {
            let share = (u32::from(k) * self.redundancy.min(REDUNDANCY_MAX)).div_ceil(1_000);
            u16::try_from(share).unwrap_or(u16::MAX)
        };
        share(k).max(share(whole).min(ONE_WAY_REPAIR_SHORT))
    }
}

/// What a sender is told.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct SenderConfig {
    /// The session's name, at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// Source symbols of a block.
    pub k: u16,
    /// Bytes of a symbol, even.
    pub symbol_len: u16,
    /// Bytes of blocks to keep.
    pub memory: usize,
    /// Bytes of the IP and UDP headers before each datagram: [`IP_UDP_LEN`], or over IPv6
    /// [`IP6_UDP_LEN`](super::limits::IP6_UDP_LEN).
    pub ip_udp_len: usize,
    /// Start as soon as this many receivers have joined; 0 for no such number.
    pub receivers: u32,
    /// Start as soon as receivers of all these names have joined, and as many as `receivers` says.
    pub expect: Vec<String>,
    /// Without such a number or names: start this long after the last receiver joined.
    pub settle: Duration,
    /// Do not start before this time has passed since the first receiver joined, but when told to.
    /// One-way: start when it has passed since the beginning.
    pub min_wait: Duration,
    /// Start this long after the first receiver joined, however many there are.
    pub max_wait: Option<Duration>,
    /// The conditions of the start must be met within this time.
    pub start_timeout: Option<Duration>,
    /// What happens when they are not.
    pub at_start_timeout: StartTimeout,
    /// Drop a receiver when nothing was heard of it for this time.
    pub silent_max: Duration,
    /// Drop a receiver whose consumer takes nothing for this time; without it, wait for it.
    pub stall_max: Option<Duration>,
    /// Drop a receiver that has everything, but whose consumer has not ended after this time.
    pub finish_max: Option<Duration>,
    /// Drop a receiver that keeps the stream slower than this; without it, wait for all receivers.
    pub floor: Option<Rate>,
    /// How long a receiver may keep the stream below the floor.
    pub slow_grace: Duration,
    /// Drop a receiver that has kept the stream below [`HOLD_FLOOR`](super::limits::HOLD_FLOOR) for
    /// this time, and for longer than it earned by keeping up; without it, wait for `stall_max`.
    pub hold_max: Option<Duration>,
    /// Send no faster than this, in bytes of datagrams with IP headers.
    pub rate_max: Option<Rate>,
    /// Receivers do not answer, and none is listed in the keys: send at `rate_max`, with this.
    pub one_way: Option<OneWay>,
    /// Its keys.
    pub keys: SenderKeys,
    /// Its place in a series.
    pub series: Series,
}

/// A session's place in a series: sessions of one stream, each a pass, the later ones for receivers
/// that came too late for the one before or were too slow for it. The default is a session by
/// itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series {
    /// The id of its first session, if that was another.
    pub id: Option<SessionId>,
    /// How many sessions of it came before.
    pub number: u32,
    /// Which receivers another pass may follow for.
    pub next_pass: NextPass,
    /// Another session follows in any case, be it of another stream.
    pub repeat: bool,
    /// How the stream ended before, and must end again.
    pub end: Option<End>,
}

/// Which receivers another pass may follow for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum NextPass {
    /// None: a receiver that comes too late is rejected, and one that is too slow is dropped.
    #[default]
    Never,
    /// Those that come too late are told to wait for it.
    ForLate,
    /// Those that come too late, and those that keep the stream below the floor.
    ForLateAndSlow,
}

impl NextPass {
    /// Whether a receiver that comes too late is told to wait for it.
    pub fn takes_late(self) -> bool {
        self != Self::Never
    }

    /// Whether a receiver that is too slow is told to wait for it.
    pub fn takes_slow(self) -> bool {
        self == Self::ForLateAndSlow
    }
}

/// What a sender does when the start timeout is over and the conditions of the start are not met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum StartTimeout {
    /// It gives up, and tells the receivers that are there.
    #[default]
    GiveUp,
    /// It starts with the receivers that are there, if there are any.
    StartAnyway,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            k: K_DEFAULT,
            symbol_len: symbol_len(MTU_DEFAULT, IP_UDP_LEN),
            ip_udp_len: IP_UDP_LEN,
            memory: MEMORY_DEFAULT,
            receivers: 0,
            expect: Vec::new(),
            settle: Duration::from_secs(2),
            min_wait: Duration::ZERO,
            max_wait: None,
            start_timeout: Some(Duration::from_secs(600)),
            at_start_timeout: StartTimeout::default(),
            silent_max: PEER_SILENT_MAX,
            stall_max: Some(STALL_MAX_DEFAULT),
            finish_max: Some(FINISH_MAX_DEFAULT),
            floor: None,
            slow_grace: SLOW_GRACE_DEFAULT,
            hold_max: Some(HOLD_MAX_DEFAULT),
            rate_max: None,
            one_way: None,
            keys: SenderKeys::default(),
            series: Series::default(),
        }
    }
}

/// What a receiver is told.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct ReceiverConfig {
    /// Take part in the session of this name only.
    pub session_name: Option<String>,
    /// The receiver's own name for people, at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// Bytes of blocks to keep.
    pub memory: usize,
    /// Bytes of the socket buffer, as the system granted them.
    pub socket_bytes: u32,
    /// Bytes of the longest IP packet that its interface takes; 0 when that is not known.
    pub mtu: u16,
    /// Give up when no session took us in after this time.
    pub start_timeout: Option<Duration>,
    /// The sender is lost when nothing was heard of it for this time.
    pub silent_max: Duration,
    /// Its keys.
    pub keys: ReceiverKeys,
    /// Send nothing, and take part in one-way sessions alone; else in no such session, as a
    /// recording of one can be played again.
    pub one_way: bool,
}

impl ReceiverConfig {
    /// Whether we would take part in this session: it has the right name, and anybody who announces
    /// blocks that are larger than our memory does not get us to hold them.
    pub(super) fn accepts(&self, announce: &Announce) -> bool {
        let block = usize::from(announce.k) * usize::from(announce.symbol_len);
        announce.k <= K_MAX
            && announce.symbol_len >= SYMBOL_LEN_MIN
            && block <= (self.memory / WINDOW_BLOCKS_MIN).max(BLOCK_BYTES_DEFAULT)
            && self.names(announce)
    }

    /// Whether a session has the name that is wanted, if one is.
    pub(super) fn names(&self, announce: &Announce) -> bool {
        let wanted = self.session_name.as_ref();
        wanted.is_none_or(|wanted| *wanted == announce.name)
    }

    /// Whether our memory holds what comes at once: of a one-way session one group of blocks that
    /// the consumer takes, and the next.
    pub(super) fn holds(&self, announce: &Announce) -> bool {
        let blocks = window_blocks(self.memory, announce.k, announce.symbol_len);
        !announce.protection.one_way || usize::from(announce.depth) * 2 <= blocks
    }
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            session_name: None,
            name: String::new(),
            memory: MEMORY_DEFAULT,
            socket_bytes: 212_992,
            mtu: 0,
            start_timeout: Some(Duration::from_secs(600)),
            silent_max: PEER_SILENT_MAX,
            keys: ReceiverKeys::default(),
            one_way: false,
        }
    }
}

/// The symbol that fills a datagram on a path of this MTU with headers of `ip_udp_len` bytes: what
/// is left, made even.
pub fn symbol_len(mtu: usize, ip_udp_len: usize) -> u16 {
    let room = mtu.saturating_sub(ip_udp_len + DATA_OVERHEAD);
    u16::try_from(room & !1).unwrap_or(u16::MAX - 1)
}

/// Source symbols of a block of symbols of this many bytes.
pub fn k_for(symbol_len: u16) -> u16 {
    let fit = BLOCK_BYTES_DEFAULT / usize::from(symbol_len).max(1);
    u16::try_from(fit).map_or(K_DEFAULT, |fit| fit.clamp(1, K_DEFAULT))
}

/// Blocks of `k` symbols that fit into `memory`, within reason.
pub(super) fn window_blocks(memory: usize, k: u16, symbol_len: u16) -> usize {
    (memory / (usize::from(k) * usize::from(symbol_len)))
        .clamp(WINDOW_BLOCKS_MIN, WINDOW_BLOCKS_MAX)
}

/// Cuts a name to what a datagram carries, at a character.
pub fn fit_name(name: &str) -> String {
    let end = (0..=name.len().min(NAME_LEN_MAX))
        .rev()
        .find(|&i| name.is_char_boundary(i));
    name[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::limits::{IP6_UDP_LEN, MTU_RANGE};
    use crate::wire::{Protection, SessionStatus};

    #[test]
    fn symbols_fill_datagrams_and_blocks_stay_small() {
        assert_eq!(symbol_len(1500, IP_UDP_LEN), 1436);
        assert_eq!(symbol_len(1500, IP6_UDP_LEN), 1416);
        assert_eq!(k_for(1436), K_DEFAULT);
        assert_eq!(k_for(symbol_len(9000, IP_UDP_LEN)), 66);
        assert_eq!(k_for(2), K_DEFAULT);
        assert_eq!(k_for(u16::MAX), 9);
    }

    #[test]
    fn redundancy_is_a_share_and_more_for_few_symbols() {
        let repair = |redundancy, k| OneWay { redundancy }.repair(k, 256);
        assert_eq!([20, 100, 1_000].map(|r| repair(r, 256)), [6, 26, 256]);
        assert_eq!([0, 20, 100, 5_000].map(|r| repair(r, 1)), [0, 6, 16, 16]);
        assert_eq!(repair(u32::MAX, u16::MAX), u16::MAX);
    }

    #[test]
    fn sessions_of_huge_blocks_are_passed_over() {
        let mut announce = Announce {
            session: SessionId([1; 16]),
            series: SessionId([1; 16]),
            sender_key: [2; 32],
            k: K_DEFAULT,
            symbol_len: symbol_len(*MTU_RANGE.end(), IP_UDP_LEN),
            depth: 1,
            status: SessionStatus::default(),
            sequence: 0,
            protection: Protection::default(),
            name: "lab".into(),
        };
        let mut config = ReceiverConfig::default();
        assert!(config.accepts(&announce));
        config.session_name = Some("other".into());
        assert!(!config.accepts(&announce));
        config.session_name = Some("lab".into());
        assert!(config.accepts(&announce));
        announce.k = u16::MAX;
        assert!(!config.accepts(&announce));
        (announce.k, announce.depth) = (K_DEFAULT, 15);
        config.memory = 29 * usize::from(announce.k) * usize::from(announce.symbol_len);
        assert!(config.holds(&announce));
        announce.protection.one_way = true;
        assert!(!config.holds(&announce));
        announce.depth = 14;
        assert!(config.holds(&announce));
    }
}
