//! The constants in `sealcast-protocol`(7) are those of the program.

use std::collections::BTreeMap;

use sealcast::proto::config::symbol_len;
use sealcast::proto::limits::*;
use sealcast::proto::{SHARED_WORK_LOG2, trailer_len};
use sealcast::units::{Duration, Rate};
use sealcast::wire::{
    ACCEPT_NONCE_LEN, ANNOUNCE_LEN_MAX, ANNOUNCE_PADDED_LEN, AUTO_PARITY_MAX, COOKIE_LEN,
    DATA_OVERHEAD, DATAGRAM_LEN_MAX, ENTRIES_MAX, EXTENSION, HEADER_LEN, HELLO_NONCE_LEN,
    NAME_LEN_MAX, POLLUTED, SIGNATURE_LEN, SYMBOL_HASH_LEN, TAG_LEN, VERSION,
};

const TRAILER_LEN: usize = trailer_len(false);

const PAGE: &str = include_str!("../../src/bin/sealcast/man/protocol.txt");
const SOURCES: [&str; 6] = [
    include_str!("../../src/proto/limits.rs"),
    include_str!("../../src/wire/mod.rs"),
    include_str!("../../src/wire/multicast.rs"),
    include_str!("../../src/wire/announce.rs"),
    include_str!("../../src/wire/feedback.rs"),
    include_str!("../../src/wire/hashes.rs"),
];

/// A value as the page shows it.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! plain {
    ($($t:ty),*) => { $(impl Shown for $t {
        fn shown(&self) -> String { self.to_string() }
    })* };
}
plain!(u8, u16, u32, u64, usize);

impl Shown for Duration {
    fn shown(&self) -> String {
        match self.as_us() {
            us if us.is_multiple_of(1_000_000) => format!("{} s", us / 1_000_000),
            us if us.is_multiple_of(1_000) => format!("{} ms", us / 1_000),
            us => format!("{us} us"),
        }
    }
}

impl Shown for Rate {
    fn shown(&self) -> String {
        format!("{} bit/s", self.as_bits_per_s())
    }
}

impl Shown for std::ops::RangeInclusive<usize> {
    fn shown(&self) -> String {
        format!("{}..={}", self.start(), self.end())
    }
}

macro_rules! table {
    ($($name:ident)*) => { BTreeMap::from([$((stringify!($name), Shown::shown(&$name))),*]) };
}

#[test]
fn the_page_has_every_constant_as_it_is() {
    let real = table! {
        VERSION EXTENSION TAG_LEN NAME_LEN_MAX DATAGRAM_LEN_MAX HEADER_LEN DATA_OVERHEAD
        ANNOUNCE_LEN_MAX ANNOUNCE_PADDED_LEN COOKIE_LEN HELLO_NONCE_LEN ACCEPT_NONCE_LEN
        HOLD_MAX_DEFAULT HOLD_FLOOR HOLD_EARNS BLACK_HOLE_MAX BLACK_HOLE_SENT_MIN ASKED_SHARE_MAX
        ASKED_BLOCKS_MAX COOKIE_TIME SIGNED_AHEAD_MAX COOKIES_PER_S_MAX
        ENTRIES_MAX TRAILER_LEN K_DEFAULT BLOCK_BYTES_DEFAULT IP_UDP_LEN IP6_UDP_LEN MTU_DEFAULT
        MTU_RANGE MEMORY_DEFAULT K_MAX WINDOW_BLOCKS_MIN WINDOW_BLOCKS_MAX
        RECEIVERS_MAX ANNOUNCE_WAITING ANNOUNCE_RUNNING JOIN_RETRY_MIN JOIN_RETRY_MAX CONFIRM_MAX
        JOINS_PER_S_MAX PENDING_MAX JOINS_PER_ADDRESS_S_MAX JOINS_AT_ONCE_MAX PEER_SILENT_MAX
        SENDER_MOVED_AFTER
        STALL_MAX_DEFAULT FINISH_MAX_DEFAULT SLOW_GRACE_DEFAULT FLOOR_DEFAULT EVICTION_CHECK_EVERY
        ONE_WAY_INTERLEAVE_TIME ONE_WAY_DEPTH_MAX REDUNDANCY_DEFAULT REDUNDANCY_MAX
        ONE_WAY_REPAIR_SHORT ONE_WAY_COPIES ONE_WAY_EVERY ONE_WAY_REORDER
        DEPTH_MAX INTERLEAVE_TIME AUTO_PARITY_SHARE AUTO_PARITY_RECEIVERS_MIN AUTO_PARITY_MAX
        BATCH_MAX
        DEBT_TIME_MAX DEBT_BYTES_MAX BACKOFF_EACH POLL_MAX FEEDBACK_PER_S_MAX REPORT_MAX
        REPORT_WAITING REPORT_MIN
        NACK_RETRY_MIN NACK_RETRY_MAX BACKOFF_FREE_RECEIVERS BACKOFF_RTTS RTT_MIN RTT_MAX
        END_EVERY DONE_EVERY LEAVE_LINGER_MAX BYE_COPIES ABORT_COPIES ABORT_EVERY
        CANDIDATES_MAX CANDIDATE_PATIENCE REFUSED_WAIT NEXT_PASS_ASK_EVERY NEXT_PASS_HEARD_MAX
        NEXT_PASS_SILENT_MAX NEXT_PASS_UNANSWERED_MAX
        SIGNATURES_PER_S_MAX HASHES_EVERY
        HASHES_DOUBLINGS ANSWER_EVERY SYMBOL_LEN_MIN SIGNED_SILENT_MAX
        SIGNATURE_LEN SYMBOL_HASH_LEN POLLUTED SHARED_WORK_LOG2
        BURST_BYTES BURST_TIME SOCKET_COST FLIGHT_MIN RATE_START RATE_MIN RATE_MAX
    };
    let section = PAGE.split("### Constants\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let page: BTreeMap<&str, String> = section
        .lines()
        .filter_map(|line| line.trim().split_once(" = "))
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    assert_eq!(page, real);
    for source in SOURCES {
        for line in source.lines() {
            let Some(rest) = line.strip_prefix("pub const ") else {
                continue;
            };
            // Functions may be constant, too.
            if let Some((name, _)) = rest.split_once(':').filter(|(n, _)| !n.contains(' ')) {
                assert!(page.contains_key(name), "{name} is missing in the page");
            }
        }
    }
}

/// The chance that more than `repair` of a block's symbols are lost.
fn block_is_lost(repair: u32, loss: f64) -> f64 {
    let n = u32::from(K_DEFAULT) + repair;
    let mut term = (1.0 - loss).powf(n.into());
    let mut lost = 0.0;
    for i in 0..=n {
        if i > repair {
            lost += term;
        }
        term *= f64::from(n - i) / f64::from(i + 1) * loss / (1.0 - loss);
    }
    lost
}

#[test]
fn the_odds_of_one_way_sessions_are_as_told() {
    const LOSSES: [f64; 6] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0];
    let symbol = usize::from(symbol_len(MTU_DEFAULT, IP_UDP_LEN));
    let block = usize::from(K_DEFAULT) * symbol - TRAILER_LEN;
    let blocks = 1_000_000_000_f64 / block as f64;
    let mut table = String::from("    --redundancy");
    for loss in LOSSES {
        table += &format!("  {:>7}", format!("{loss} %"));
    }
    for redundancy in [5, 10, 15, 20, 30, 50] {
        table += &format!("\n    {redundancy:>12}");
        let repair = (u32::from(K_DEFAULT) * redundancy).div_ceil(100);
        for loss in LOSSES {
            let whole = (-block_is_lost(repair, loss / 100.0)).ln_1p() * blocks.ceil();
            let shown = match -whole.exp_m1() {
                odds if odds < 1e-15 => "<1e-15".into(),
                odds if odds < 0.01 => format!("{odds:.0e}"),
                odds => format!("{odds:.2}"),
            };
            table += &format!("  {shown:>7}");
        }
    }
    let page = include_str!("../../src/bin/sealcast/man/cast.txt");
    assert!(page.contains(&table), "the page should have:\n{table}");
}
