//! Tests of the send window.

use super::*;
use crate::wire::SessionId;

const SESSION: SessionId = SessionId([1; 16]);

fn window_of(k: u16, blocks_max: usize, signing: Option<SigningKey>) -> SendWindow {
    let config = WindowConfig {
        k,
        symbol_len: 100,
        blocks_max,
        signing,
    };
    SendWindow::new(Chain::new(SESSION), config)
}

fn window() -> SendWindow {
    window_of(4, 4, None)
}

fn limits(depth: u32, receivers: u32) -> SendLimits {
    SendLimits {
        now: Instant::ZERO,
        block_end: u32::MAX,
        depth,
        proactive: Proactive::Auto { receivers },
    }
}

fn send_all(w: &mut SendWindow) -> Vec<OutgoingSymbol> {
    std::iter::from_fn(|| w.next_source(&limits(1, 1))).collect()
}

#[test]
fn symbols_come_in_order_and_say_how_many_follow() {
    let mut w = window();
    assert_eq!(w.push(&[7; 352 + 10]), 362);
    let lefts: Vec<_> = send_all(&mut w).iter().map(|s| s.following).collect();
    assert_eq!(lefts, [3, 2, 1, 0]);
    w.finish();
    assert!(w.complete().is_none());
    let last = w.next_source(&limits(1, 1)).unwrap();
    assert_eq!((last.block, last.number, last.following), (1, 0, 0));
    let end = w.complete().unwrap();
    assert_eq!((end.length, end.blocks, end.last_k), (362, 2, 1));
    assert_eq!((w.watermark, w.poll_watermark()), (2, 1));
}

#[test]
fn neighbours_take_turns_and_do_not_wait_for_more() {
    let mut w = window();
    w.push(&[7; 2 * 352]);
    let mut next = || {
        let symbol = w.next_source(&limits(3, 1)).unwrap();
        w.push(&[7; 352 + 10]);
        w.finish();
        (symbol.block, symbol.number, w.watermark)
    };
    // Two blocks are there when the first interleave begins; the last has one symbol.
    let order: Vec<_> = (0..13).map(|_| next()).collect();
    let expected = [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (1, 1, 0),
        (0, 2, 0),
        (1, 2, 0),
        (0, 3, 1),
        (1, 3, 2),
        (2, 0, 2),
        (3, 0, 2),
        (2, 1, 2),
        (2, 2, 2),
        (2, 3, 4),
    ];
    assert_eq!(order, expected);
    assert!(w.next_source(&limits(3, 1)).is_none() && w.complete().is_some());
}

#[test]
fn a_full_ring_takes_no_more() {
    let mut w = window();
    assert_eq!(w.push(&[0; 10_000]), 4 * 352);
    send_all(&mut w);
    w.release(2);
    assert_eq!((w.first(), w.push(&[0; 10_000])), (2, 2 * 352));
}

/// A receiver that has reported on everything below this transmission, and loses nothing.
fn heard(reported_end: u64) -> RepairRequest {
    RepairRequest {
        reported_end,
        loss: 0.0,
        no_second_chance: true,
    }
}

#[test]
fn what_is_under_way_is_not_sent_twice() {
    let mut w = window();
    w.push(&[0; 352]);
    w.request(0, 2, heard(0));
    assert!(!w.has_repair(), "its first transmission is not over");
    send_all(&mut w);
    w.request(0, 2, heard(4));
    w.request(0, 1, heard(4));
    let rows: Vec<_> = (10..)
        .map_while(|sequence| w.next_repair(sequence, 0))
        .map(|s| s.number)
        .collect();
    assert_eq!(rows, [65_535, 65_534]);
    w.request(0, 2, heard(10));
    assert!(!w.has_repair(), "both are still under way");
    w.request(0, 1, heard(12));
    assert_eq!(w.next_repair(12, 11).map(|s| s.number), Some(65_533));
    assert_eq!(
        w.ring.get(0).unwrap().repairs_sent,
        [11, 12],
        "10 has arrived or was lost"
    );
}

#[test]
fn blocks_to_repair_take_turns_and_go_with_their_repair() {
    let mut w = window();
    w.push(&[0; 3 * 352]);
    send_all(&mut w);
    for block in 0..3 {
        w.request(block, 2, heard(12));
    }
    w.release(1);
    let order: Vec<_> = (12..)
        .map_while(|sequence| w.next_repair(sequence, 0))
        .map(|s| (s.block, s.following))
        .collect();
    assert_eq!(order, [(1, 1), (2, 1), (1, 0), (2, 0)]);
    assert!(!w.has_repair());
}

#[test]
fn many_that_lack_something_get_it_proactively_the_next_time() {
    let mut w = window_of(40, 99, None);
    let many = limits(1, 1_000);
    for block in 0..40 {
        w.push(&[0; 3_952]);
        while w.next_source(&many).is_some() {}
        w.request(block, 3, heard(u64::MAX));
        w.observe(Instant::ZERO, Duration::ZERO);
        while w.next_repair(0, 1).is_some() {}
    }
    w.push(&[0; 3_952]);
    while w.next_source(&many).is_some() {}
    assert_eq!(w.ring.repair_pending(), 2, "a part of the block at most");
}

#[test]
fn a_polluted_block_is_sent_once_more_with_its_hashes() {
    let mut w = window_of(4, 4, Some(SigningKey::from_seed([1; 32])));
    assert_eq!(w.push(&[7; 300]), 300);
    let at = Instant::from_us;
    assert_eq!(
        w.on_polluted(0, at(1)),
        [],
        "its first transmission is not over"
    );
    send_all(&mut w);
    let parts = w.on_polluted(0, at(2));
    let firsts: Vec<_> = parts.iter().map(|m| (m.first, m.hashes.len())).collect();
    assert_eq!(firsts, [(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(w.on_polluted(0, at(3)), [], "it is on its way");
    let numbers: Vec<_> = (10..)
        .map_while(|sequence| w.next_repair(sequence, 0))
        .collect();
    let numbers: Vec<_> = numbers.iter().map(|s| (s.number, s.repair)).collect();
    assert_eq!(numbers, [0, 1, 2, 3].map(|n| (n, false)));
    assert_eq!(w.on_polluted(0, at(4)), [], "so soon");
    let again = at(2) + HASHES_EVERY;
    assert_eq!(w.on_polluted(0, again).len(), 4);
    while w.next_repair(20, 0).is_some() {}
    let soon = again + HASHES_EVERY;
    assert_eq!(w.on_polluted(0, soon), [], "each time later");
    assert_eq!(w.on_polluted(0, soon + HASHES_EVERY).len(), 4);
    // A member that asks for hashes without end does not keep repair from the others.
    w.request(0, 2, heard(30));
    let repair: Vec<_> = (30..36)
        .filter_map(|sequence| w.next_repair(sequence, 0))
        .collect();
    assert_eq!(repair.iter().filter(|s| s.repair).count(), 2);
    assert_eq!(window().on_polluted(0, at(5)), []);
}

#[test]
fn empty_streams_end() {
    let mut w = window();
    w.finish();
    let end = w.complete().unwrap();
    assert_eq!((end.length, end.blocks, end.last_k), (0, 0, 0));
}
