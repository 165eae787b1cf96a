//! What a session is made of, and every limit and delay of the protocol by name.

use super::keys::{ReceiverKeys, SenderKeys};
use crate::units::{Duration, Rate};
use crate::wire::{Announce, DATA_OVERHEAD, End, NAME_LEN_MAX, SessionId};

/// Source symbols of a block, unless the sender is told otherwise.
pub const K_DEFAULT: u16 = 256;
/// Bytes of a block of whole symbols at most, unless the sender is told otherwise: large symbols
/// come fewer to a block, so that memory holds as many blocks and a repair stays short.
pub const BLOCK_BYTES_DEFAULT: usize = 576 << 10;
/// Bytes of the IPv4 and UDP headers of a datagram.
pub const IP_UDP_LEN: usize = 28;
/// Bytes of the IPv6 and UDP headers of a datagram.
pub const IP6_UDP_LEN: usize = 48;
/// Bytes of a path's MTU where nothing says what it is.
pub const MTU_DEFAULT: usize = 1500;
/// The least and greatest MTU that makes sense.
pub const MTU_RANGE: std::ops::RangeInclusive<usize> = 576..=9000;
/// Bytes of blocks that either side keeps, unless it is told otherwise.
pub const MEMORY_DEFAULT: usize = 64 << 20;
/// Source symbols of a block at most: giving a block back takes memory with their square.
pub const K_MAX: u16 = 4_096;
/// Bytes of a symbol that a receiver takes, at least: each one kept for repair costs some more.
pub const SYMBOL_LEN_MIN: u16 = 32;
/// Bytes of a block that a receiver takes however little memory it may use.
pub const BLOCK_BYTES_SMALL: usize = 4 << 20;
/// Blocks that either side keeps at least,
pub const WINDOW_BLOCKS_MIN: usize = 4;
/// and at most.
pub const WINDOW_BLOCKS_MAX: usize = 16_384;
/// Receivers of one session at most.
pub const RECEIVERS_MAX: usize = 16_384;

/// ANNOUNCE comes this often before the start,
pub const ANNOUNCE_WAITING: Duration = Duration::from_ms(200);
/// and this often after it.
pub const ANNOUNCE_RUNNING: Duration = Duration::from_secs(1);
/// JOIN is repeated after this time, doubled each time,
pub const JOIN_RETRY_MIN: Duration = Duration::from_ms(100);
/// up to this time.
pub const JOIN_RETRY_MAX: Duration = Duration::from_secs(1);
/// A receiver that has not shown that it has the keys is waited for no longer than this.
pub const CONFIRM_MAX: Duration = Duration::from_secs(15);
/// Receivers that have not shown that they have the keys, at most: of more the oldest is forgotten.
pub const PENDING_MAX: usize = 1_024;
/// JOINs of unknown receivers that a sender looks at within a second: each costs it a key
/// agreement.
pub const JOINS_PER_S_MAX: u32 = 2_000;
/// Of these, so many come from one address, or from others that share its bucket,
pub const JOINS_PER_ADDRESS_S_MAX: u32 = 200;
/// and so many at once.
pub const JOINS_AT_ONCE_MAX: u32 = 512;
/// A peer of which nothing authentic was heard for this time is lost.
pub const PEER_SILENT_MAX: Duration = Duration::from_secs(5);
/// In a signed session, nothing that the sender signed: members can go on in its name.
pub const SIGNED_SILENT_MAX: Duration = Duration::from_secs(15);
/// A receiver whose consumer takes nothing for this time, while the sender waits for it, is let go.
pub const STALL_MAX_DEFAULT: Duration = Duration::from_secs(120);
/// A receiver that has everything, but whose consumer works on, is waited for no longer than this.
pub const FINISH_MAX_DEFAULT: Duration = Duration::from_secs(3_600);
/// A receiver that keeps the stream below the floor for this time is let go, if there is a floor.
pub const SLOW_GRACE_DEFAULT: Duration = Duration::from_secs(3);
/// The floor, when there is to be one and its height is not told.
pub const FLOOR_DEFAULT: Rate = Rate::from_bits_per_s(10_000_000);
/// Receivers are looked after this often.
pub const ROLL_CALL_EVERY: Duration = Duration::from_ms(250);
/// POLL comes at least this often, so that a slow input is not taken for a lost sender.
pub const POLL_MAX: Duration = Duration::from_ms(500);
/// Reports of the whole group are at most this many datagrams a second, to which come those that
/// ask for repair,
pub const FEEDBACK_PER_S_MAX: u32 = 8_000;
/// and a receiver reports at least this often
pub const REPORT_MAX: Duration = Duration::from_ms(1_250);
/// every so often while it waits for the start, if the group is small,
pub const REPORT_WAITING: Duration = Duration::from_ms(200);
/// and no more often than this, unless it lacks something.
pub const REPORT_MIN: Duration = Duration::from_ms(20);
/// A receiver asks again for what it lacks after this time at least,
pub const NACK_RETRY_MIN: Duration = Duration::from_ms(10);
/// and at most this time.
pub const NACK_RETRY_MAX: Duration = Duration::from_ms(500);
/// Up to this many receivers ask without delay; more draw a random one, RFC 5401 section 3.2.2.
pub const BACKOFF_FREE_RECEIVERS: u32 = 4;
/// The delay is drawn from this many round trips
pub const BACKOFF_RTTS: u64 = 4;
/// and this time for each receiver, so that the answer to the first that asks comes before most.
pub const BACKOFF_EACH: Duration = Duration::from_us(1);
/// A round trip is taken for at least this long: below it timers mean little.
pub const RTT_MIN: Duration = Duration::from_us(300);
/// A round trip is taken for at most this long.
pub const RTT_MAX: Duration = Duration::from_secs(1);
/// Neighbouring blocks whose source symbols are mixed on the wire, at most,
pub const DEPTH_MAX: u16 = 16;
/// and as many as take this time at the present rate, so that a burst of losses hits many a little.
pub const INTERLEAVE_TIME: Duration = Duration::from_ms(40);
/// In a one-way session the blocks that are mixed are as many as take this time, so that an outage
/// of a tenth of it does no harm with a redundancy of a bit more than a tenth,
pub const ONE_WAY_GROUP_TIME: Duration = Duration::from_secs(1);
/// and at most these. What comes slower than the rate is waited for as long as a group takes.
pub const ONE_WAY_DEPTH_MAX: u16 = 1_024;
/// Repair symbols of a one-way session for each 1000 source symbols, unless told otherwise,
pub const REDUNDANCY_DEFAULT: u32 = 100;
/// at most,
pub const REDUNDANCY_MAX: u32 = 10_000;
/// and for a short last block, if it has more for a whole one, at least so many: of few symbols
/// chance takes a greater share.
pub const ONE_WAY_REPAIR_SHORT: u16 = 16;
/// END and ABORT of a one-way session are sent so many times,
pub const ONE_WAY_COPIES: u16 = 10;
/// with this time between.
pub const ONE_WAY_EVERY: Duration = Duration::from_ms(200);
/// What belongs to a block of a one-way session may come so much later than what follows it.
pub const ONE_WAY_REORDER: Duration = Duration::from_ms(500);
/// Repair symbols that follow a block unasked are at most this part of the block: 10,000 receivers
/// at 1 % loss need 12 of 256;
pub const UNASKED_SHARE: u16 = 20;
/// and none for fewer receivers.
pub const UNASKED_RECEIVERS_MIN: u32 = 32;
/// END comes this often until every receiver has answered.
pub const END_EVERY: Duration = Duration::from_ms(50);
/// DONE and LEAVE are repeated after this time until a BYE comes,
pub const DONE_EVERY: Duration = Duration::from_ms(50);
/// DONE at most this long, as long as the sender would wait for it,
pub const LINGER_MAX: Duration = PEER_SILENT_MAX;
/// and LEAVE at most this long, since nobody who leaves wants to wait.
pub const LEAVE_LINGER_MAX: Duration = Duration::from_ms(250);
/// Sessions that a receiver asks at once to take it in: whoever repeats an old ANNOUNCE must not
/// keep it from the true one.
pub const CANDIDATES_MAX: usize = 8;
/// Who was told to wait for another session of the series asks again this often.
pub const LATER_EVERY: Duration = Duration::from_secs(2);
/// It gives up when nothing is heard of the series for this time: between two sessions the sender
/// may have a slow command to stop, and in one it says little,
pub const LATER_SILENT_MAX: Duration = Duration::from_secs(15);
/// or when nobody answers it for this time: anybody can repeat what was announced.
pub const LATER_UNANSWERED_MAX: Duration = Duration::from_secs(30);
/// Such a receiver is still there if it was heard within this time.
pub const LATER_HEARD_MAX: Duration = Duration::from_secs(10);
/// A session that has not answered for this time makes room for another.
pub const CANDIDATE_PATIENCE: Duration = Duration::from_secs(2);
/// A receiver that was refused looks for another session for this time.
pub const REFUSED_WAIT: Duration = Duration::from_ms(1_200);
/// Signatures of ANNOUNCEs that a receiver checks within a second.
pub const SIGNATURES_PER_S_MAX: u32 = 1_000;
/// The hashes of a block are not sent again within this time.
pub const HASHES_EVERY: Duration = Duration::from_ms(100);
/// That time doubles each time that the hashes of the block are sent, so many times.
pub const HASHES_DOUBLINGS: u32 = 6;
/// A receiver that asks again is answered again no sooner than this.
pub const ANSWER_EVERY: Duration = Duration::from_ms(20);
/// Copies of a BYE, since the sender may be gone before another DONE comes.
pub const BYE_COPIES: u32 = 2;
/// ABORT is sent this many times,
pub const ABORT_COPIES: u32 = 5;
/// with this time between.
pub const ABORT_EVERY: Duration = Duration::from_ms(20);
/// Datagrams that are handed to the system at once: what it takes in one call,
pub const BATCH_MAX: u64 = 64;
/// of no more bytes than these: with headers of the link and what is earned meanwhile, 64 KiB.
pub const BURST_BYTES: usize = 56 << 10;
/// A burst takes no more than this time at the present rate.
pub const BURST_TIME: Duration = Duration::from_ms(10);
/// What a sender was kept from sending, at most for this time, it makes good by and by.
pub const ARREARS_TIME: Duration = Duration::from_ms(20);
/// It is no more than these bytes, for which a switch has a queue.
pub const ARREARS_BYTES: u64 = 512 << 10;
/// Bytes of kernel memory that a datagram of 1500 bytes takes in a socket buffer.
pub const SOCKET_COST: u64 = 2_304;
/// Datagrams that may be under way whatever the socket buffers are.
pub const FLIGHT_MIN: u64 = 64;
/// The rate at which a sender begins.
pub const RATE_START: Rate = Rate::from_bits_per_s(40_000_000);
/// The rate below which loss does not push a sender.
pub const RATE_MIN: Rate = Rate::from_bits_per_s(256_000);
/// The rate that a sender does not pass.
pub const RATE_MAX: Rate = Rate::from_bits_per_s(100_000_000_000);

const _: () = assert!(POLL_MAX.as_us() * 4 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(REPORT_MAX.as_us() * 4 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(NACK_RETRY_MIN.as_us() <= NACK_RETRY_MAX.as_us());
const _: () = assert!(JOINS_AT_ONCE_MAX as usize * 2 <= PENDING_MAX);
const _: () = assert!(LATER_EVERY.as_us() * 4 <= LATER_HEARD_MAX.as_us());
const _: () = assert!(LATER_EVERY.as_us() * 2 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(LATER_EVERY.as_us() * 10 <= LATER_UNANSWERED_MAX.as_us());
const _: () = assert!(BURST_BYTES >= *MTU_RANGE.end());
const _: () = assert!(ONE_WAY_EVERY.as_us() * 4 <= PEER_SILENT_MAX.as_us());
// The smallest window holds two groups of the least depth.
const _: () = assert!(WINDOW_BLOCKS_MIN >= 4);

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
pub struct SenderConfig {
    /// The session's name, at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// Source symbols of a block.
    pub k: u16,
    /// Bytes of a symbol, even.
    pub symbol_len: u16,
    /// Bytes of blocks to keep.
    pub memory: usize,
    /// Bytes of the IP and UDP headers before each datagram: [`IP_UDP_LEN`] or [`IP6_UDP_LEN`].
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
    /// Give up when there is nobody to start with after this time.
    pub start_timeout: Option<Duration>,
    /// Let a receiver go whose consumer stands still for this time; wait for it without.
    pub stall_max: Option<Duration>,
    /// Let a receiver go that has everything, but whose consumer has not ended after this time.
    pub finish_max: Option<Duration>,
    /// Let a receiver go that keeps the stream slower than this; wait for everybody without it.
    pub floor: Option<Rate>,
    /// How long it may do so.
    pub slow_grace: Duration,
    /// Send no faster than this, in bytes of datagrams with IP headers.
    pub rate_max: Option<Rate>,
    /// Receivers do not answer, and none is listed in the keys: send at `rate_max`, with this.
    pub one_way: Option<OneWay>,
    /// Its keys.
    pub keys: SenderKeys,
    /// Its place in a series.
    pub series: Series,
}

/// A session's place in a series: sessions of one stream, the later ones for those who came too
/// late for the one before or were too slow for it. The default is a session by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series {
    /// The id of its first session, if that was another.
    pub id: Option<SessionId>,
    /// How many sessions of it came before.
    pub number: u32,
    /// Another session may follow: who comes too late is told to wait for it.
    pub goes_on: bool,
    /// Who keeps the stream below the floor is told so, too, and not let go for good.
    pub slow_later: bool,
    /// Another session follows in any case, be it of another stream.
    pub repeats: bool,
    /// At the start timeout, start with those who are there.
    pub with_some: bool,
    /// How the stream ended before, and must end again.
    pub end: Option<End>,
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
            stall_max: Some(STALL_MAX_DEFAULT),
            finish_max: Some(FINISH_MAX_DEFAULT),
            floor: None,
            slow_grace: SLOW_GRACE_DEFAULT,
            rate_max: None,
            one_way: None,
            keys: SenderKeys::default(),
            series: Series::default(),
        }
    }
}

/// What a receiver is told.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Take part in the session of this name only.
    pub session_name: Option<String>,
    /// The receiver's own name for people, at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// Bytes of blocks to keep.
    pub memory: usize,
    /// Bytes of the socket buffer, as the system granted them.
    pub socket_bytes: u32,
    /// Give up when no session took us in after this time.
    pub start_timeout: Option<Duration>,
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
        let wanted = self.session_name.as_ref();
        announce.k <= K_MAX
            && announce.symbol_len >= SYMBOL_LEN_MIN
            && block <= self.memory.max(BLOCK_BYTES_SMALL)
            && wanted.is_none_or(|wanted| *wanted == announce.name)
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
            start_timeout: Some(Duration::from_secs(600)),
            keys: ReceiverKeys::default(),
            one_way: false,
        }
    }
}

/// The symbol that fills a datagram on a path of this MTU with headers of `ip_udp_len` bytes: what
/// is left, made even.
pub fn symbol_len(mtu: usize, ip_udp_len: usize) -> u16 {
    let left = mtu.saturating_sub(ip_udp_len + DATA_OVERHEAD);
    u16::try_from(left & !1).unwrap_or(u16::MAX - 1)
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

/// The longest delay before one of so many receivers asks for what it lacks.
pub(super) fn backoff_max(receivers: u32, rtt: Duration) -> Duration {
    rtt.times(BACKOFF_RTTS) + BACKOFF_EACH.times(u64::from(receivers))
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
