//! Every limit and delay of the protocol by name; `man/sealcast-protocol.7` lists them all.

use crate::units::{Duration, Rate};

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
/// Blocks that either side keeps at least.
pub const WINDOW_BLOCKS_MIN: usize = 4;
/// Blocks that either side keeps at most.
pub const WINDOW_BLOCKS_MAX: usize = 16_384;
/// Receivers of one session at most.
pub const RECEIVERS_MAX: usize = 16_384;

/// The sender repeats ANNOUNCE after this time while it waits for receivers.
pub const ANNOUNCE_WAITING: Duration = Duration::from_ms(200);
/// The sender repeats ANNOUNCE after this time once the stream has begun.
pub const ANNOUNCE_RUNNING: Duration = Duration::from_secs(1);
/// A receiver repeats its JOIN after this time, which doubles with each repetition.
pub const JOIN_RETRY_MIN: Duration = Duration::from_ms(100);
/// The time between two JOINs doubles up to this.
pub const JOIN_RETRY_MAX: Duration = Duration::from_secs(1);
/// The sender waits no longer than this for a receiver that has not shown that it has the keys.
pub const CONFIRM_MAX: Duration = Duration::from_secs(15);
/// Receivers that have not shown that they have the keys, at most: to take in one more, the sender
/// withdraws the oldest.
pub const PENDING_MAX: usize = 1_024;
/// A cookie is good for at least this time, and for twice as long at most.
pub const COOKIE_TIME: Duration = Duration::from_secs(120);
/// In a signed session a datagram that is not signed may be this far ahead of those that are: as
/// many as leave in a second at 10 Gbit/s, in which two POLLs are sent.
pub const SIGNED_AHEAD_MAX: u64 = 1 << 20;
/// COOKIEs that a sender sends within a second: each is smaller than two HELLOs.
pub const COOKIES_PER_S_MAX: u32 = 10_000;
/// JOINs of unknown receivers that a sender looks at within a second: each costs it a key
/// agreement.
pub const JOINS_PER_S_MAX: u32 = 2_000;
/// JOINs of unknown receivers that a sender looks at within a second from one address, and from
/// others that share its bucket.
pub const JOINS_PER_ADDRESS_S_MAX: u32 = 200;
/// JOINs of unknown receivers that a sender looks at in one burst.
pub const JOINS_AT_ONCE_MAX: u32 = 512;
/// A peer is lost when nothing authentic was heard of it for this time, unless told otherwise.
pub const PEER_SILENT_MAX: Duration = Duration::from_secs(5);
/// In a signed session the sender is lost when nothing that it signed was heard for this time:
/// members can go on in its name. Or for the time of silence that is allowed, if that is longer.
pub const SIGNED_SILENT_MAX: Duration = Duration::from_secs(15);
/// A receiver answers to another address of the sender when POLLs come from there, and none came
/// from the old one for this time: a live sender cannot be moved by others.
pub const SENDER_MOVED_AFTER: Duration = Duration::from_secs(1);
/// A receiver whose consumer takes nothing for this time, while the sender waits for it, is
/// dropped, unless the sender is told otherwise.
pub const STALL_MAX_DEFAULT: Duration = Duration::from_secs(120);
/// A receiver that has everything, but whose consumer works on, is waited for no longer than this,
/// unless the sender is told otherwise.
pub const FINISH_MAX_DEFAULT: Duration = Duration::from_secs(3_600);
/// A receiver that keeps the stream below the floor for this time is dropped, if there is a floor
/// and the sender is not told otherwise.
pub const SLOW_GRACE_DEFAULT: Duration = Duration::from_secs(3);
/// The floor, when there is to be one and the sender is not told its height.
pub const FLOOR_DEFAULT: Rate = Rate::from_bits_per_s(10_000_000);
/// The sender looks for receivers that must be dropped this often.
pub const EVICTION_CHECK_EVERY: Duration = Duration::from_ms(250);
/// POLL comes at least this often, so that a slow input is not taken for a lost sender.
pub const POLL_MAX: Duration = Duration::from_ms(500);
/// Regular reports of the whole group are at most this many datagrams a second; those that ask for
/// repair come on top.
pub const FEEDBACK_PER_S_MAX: u32 = 8_000;
/// A receiver reports at least this often.
pub const REPORT_MAX: Duration = Duration::from_ms(1_250);
/// A receiver reports this often while it waits for the start, if the group is small.
pub const REPORT_WAITING: Duration = Duration::from_ms(200);
/// A receiver reports no more often than this, unless it lacks something.
pub const REPORT_MIN: Duration = Duration::from_ms(20);
/// A receiver asks again for what it lacks after this time at least.
pub const NACK_RETRY_MIN: Duration = Duration::from_ms(10);
/// A receiver asks again for what it lacks after this time at most.
pub const NACK_RETRY_MAX: Duration = Duration::from_ms(500);
/// Up to this many receivers ask without delay; more draw a random one, RFC 5401 section 3.2.2.
pub const BACKOFF_FREE_RECEIVERS: u32 = 4;
/// The longest delay before a receiver asks is this many round trips, and [`BACKOFF_EACH`] more.
pub const BACKOFF_RTTS: u64 = 4;
/// The longest delay before a receiver asks grows by this with each receiver, so that the answer to
/// the first that asks comes before most others ask.
pub const BACKOFF_EACH: Duration = Duration::from_us(1);
/// A round trip is taken for at least this long: below it timers mean little.
pub const RTT_MIN: Duration = Duration::from_us(300);
/// A round trip is taken for at most this long.
pub const RTT_MAX: Duration = Duration::from_secs(1);
/// Neighbouring blocks whose source symbols are interleaved on the wire, at most.
pub const DEPTH_MAX: u16 = 16;
/// As many blocks are interleaved as take this time at the present rate, so that a burst of losses
/// hits many of them a little.
pub const INTERLEAVE_TIME: Duration = Duration::from_ms(40);
/// In a one-way session as many blocks are interleaved as take this time, so that an outage of a
/// tenth of it does no harm with a redundancy of a bit more than a tenth. Input that comes slower
/// than the rate is waited for as long.
pub const ONE_WAY_INTERLEAVE_TIME: Duration = Duration::from_secs(1);
/// Blocks that are interleaved in a one-way session, at most.
pub const ONE_WAY_DEPTH_MAX: u16 = 1_024;
/// Repair symbols of a one-way session for each 1000 source symbols, unless told otherwise.
pub const REDUNDANCY_DEFAULT: u32 = 100;
/// Repair symbols of a one-way session for each 1000 source symbols, at most.
pub const REDUNDANCY_MAX: u32 = 10_000;
/// A short last block of a one-way session gets at least so many repair symbols, if a whole block
/// gets as many: of few symbols chance takes a greater share.
pub const ONE_WAY_REPAIR_SHORT: u16 = 16;
/// Copies of END and of ABORT in a one-way session.
pub const ONE_WAY_COPIES: u16 = 10;
/// The time between two copies of END or ABORT in a one-way session.
pub const ONE_WAY_EVERY: Duration = Duration::from_ms(200);
/// A datagram of a block of a one-way session may come so much later than what follows the block.
pub const ONE_WAY_REORDER: Duration = Duration::from_ms(500);
/// Proactive repair symbols are at most this part of their block: 10,000 receivers at 1 % loss need
/// 12 of 256.
pub const AUTO_PARITY_SHARE: u16 = 20;
/// Fewer receivers get no proactive repair symbols.
pub const AUTO_PARITY_RECEIVERS_MIN: u32 = 32;
/// END comes this often until every receiver has answered.
pub const END_EVERY: Duration = Duration::from_ms(50);
/// A receiver repeats DONE or LEAVE after this time until a BYE comes.
pub const DONE_EVERY: Duration = Duration::from_ms(50);
/// A receiver repeats LEAVE for at most this time: one that leaves does not want to wait.
pub const LEAVE_LINGER_MAX: Duration = Duration::from_ms(250);
/// Sessions that a receiver asks at once to take it in, so that an old ANNOUNCE that an attacker
/// repeats does not keep it from the true session.
pub const CANDIDATES_MAX: usize = 8;
/// A receiver that was told to wait for the next pass asks again this often.
pub const NEXT_PASS_ASK_EVERY: Duration = Duration::from_secs(2);
/// A receiver that waits for the next pass gives up when nothing is heard of the series for this
/// time: between two sessions the sender may have a slow command to stop, and in one it says
/// little.
pub const NEXT_PASS_SILENT_MAX: Duration = Duration::from_secs(15);
/// A receiver that waits for the next pass gives up when it is not answered for this time: an
/// attacker can repeat what was announced.
pub const NEXT_PASS_UNANSWERED_MAX: Duration = Duration::from_secs(30);
/// A receiver that waits for the next pass is still there if it was heard within this time.
pub const NEXT_PASS_HEARD_MAX: Duration = Duration::from_secs(10);
/// A session that has not answered for this time makes room for another.
pub const CANDIDATE_PATIENCE: Duration = Duration::from_secs(2);
/// A receiver that was refused looks for another session for this time.
pub const REFUSED_WAIT: Duration = Duration::from_ms(1_200);
/// Signatures of ANNOUNCEs that a receiver checks within a second.
pub const SIGNATURES_PER_S_MAX: u32 = 1_000;
/// The hashes of a block are not sent again within this time.
pub const HASHES_EVERY: Duration = Duration::from_ms(100);
/// [`HASHES_EVERY`] doubles each time that the hashes of the block are sent, so many times.
pub const HASHES_DOUBLINGS: u32 = 6;
/// A receiver that asks again is answered again no sooner than this.
pub const ANSWER_EVERY: Duration = Duration::from_ms(20);
/// Copies of a BYE, since the sender may be gone before another DONE comes.
pub const BYE_COPIES: u32 = 2;
/// Copies of ABORT.
pub const ABORT_COPIES: u32 = 5;
/// The time between two copies of ABORT.
pub const ABORT_EVERY: Duration = Duration::from_ms(20);
/// Datagrams that are handed to the system at once: what it takes in one call.
pub const BATCH_MAX: u64 = 64;
/// Bytes of a burst at most: with headers of the link and what is earned meanwhile, 64 KiB.
pub const BURST_BYTES: usize = 56 << 10;
/// A burst takes no more than this time at the present rate.
pub const BURST_TIME: Duration = Duration::from_ms(10);
/// What a sender was kept from sending for up to this time it sends later, little by little.
pub const DEBT_TIME_MAX: Duration = Duration::from_ms(20);
/// What a sender was kept from sending and sends later is no more than these bytes, for which a
/// switch has a queue.
pub const DEBT_BYTES_MAX: u64 = 512 << 10;
/// Bytes of kernel memory that a datagram of 1500 bytes takes in a socket buffer.
pub const SOCKET_COST: u64 = 2_304;
/// Datagrams that may be under way whatever the socket buffers are.
pub const FLIGHT_MIN: u64 = 64;
/// A receiver may keep the stream below [`HOLD_FLOOR`] for this time unless told otherwise.
pub const HOLD_MAX_DEFAULT: Duration = Duration::from_secs(20);
/// The rate that a receiver may not keep the stream below for longer, unless the sender's greatest
/// rate is less than four times this.
pub const HOLD_FLOOR: Rate = Rate::from_bits_per_s(1_000_000);
/// Of the time in which a receiver does not hold the stream up it may use this part later: one in
/// so many.
pub const HOLD_EARNS: u64 = 4;
/// A receiver that gets short datagrams alone is dropped after this time.
pub const BLACK_HOLE_MAX: Duration = Duration::from_secs(3);
/// In that time at least so many symbols of one block were sent, none of which it got.
pub const BLACK_HOLE_SENT_MIN: u32 = 12;
/// A receiver may ask for this many times as many symbols as the stream has so far, and for
/// [`ASKED_BLOCKS_MAX`] more.
pub const ASKED_SHARE_MAX: u64 = 2;
/// Blocks for which a receiver may ask besides.
pub const ASKED_BLOCKS_MAX: u64 = 8;
/// The rate at which a sender begins.
pub const RATE_START: Rate = Rate::from_bits_per_s(40_000_000);
/// The rate below which loss does not push a sender.
pub const RATE_MIN: Rate = Rate::from_bits_per_s(256_000);
/// The rate that a sender does not pass.
pub const RATE_MAX: Rate = Rate::from_bits_per_s(100_000_000_000);

const _: () = assert!(POLL_MAX.as_us() * 4 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(REPORT_MAX.as_us() * 4 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(POLL_MAX.as_us() * 2 <= SENDER_MOVED_AFTER.as_us());
const _: () = assert!(SENDER_MOVED_AFTER.as_us() * 4 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(NACK_RETRY_MIN.as_us() <= NACK_RETRY_MAX.as_us());
const _: () = assert!(JOINS_AT_ONCE_MAX as usize * 2 <= PENDING_MAX);
const _: () = assert!(NEXT_PASS_ASK_EVERY.as_us() * 4 <= NEXT_PASS_HEARD_MAX.as_us());
const _: () = assert!(NEXT_PASS_ASK_EVERY.as_us() * 2 <= PEER_SILENT_MAX.as_us());
const _: () = assert!(NEXT_PASS_ASK_EVERY.as_us() * 10 <= NEXT_PASS_UNANSWERED_MAX.as_us());
const _: () = assert!(BURST_BYTES >= *MTU_RANGE.end());
const _: () = assert!(ONE_WAY_EVERY.as_us() * 4 <= PEER_SILENT_MAX.as_us());
// The smallest window holds two interleaves of the least depth.
const _: () = assert!(WINDOW_BLOCKS_MIN >= 4);

/// The longest delay before one of so many receivers asks for what it lacks.
pub(super) fn backoff_max(receivers: u32, rtt: Duration) -> Duration {
    rtt.times(BACKOFF_RTTS) + BACKOFF_EACH.times(u64::from(receivers))
}
