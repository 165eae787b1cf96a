//! Trials of one-way sessions: a sender, and receivers on a cable that loses what each trial says.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::crypt::secret::Secret;
use crate::crypt::sign::SigningKey;
use crate::proto::Sender;
use crate::proto::limits::{ONE_WAY_COPIES, ONE_WAY_INTERLEAVE_TIME, PEER_SILENT_MAX};
use crate::proto::protect::{multicast_nonce, seal};
use crate::proto::{
    OneWay, PassedOver, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, ReceiverKeys,
    SenderConfig, SenderEnd, SenderEvent, SenderKeys, Target,
};
use crate::units::{Duration, Instant, Rate};
use crate::wire::{AbortReason, DatagramKind, HEADER_LEN, MulticastHeader, RejectReason};

const STEP: Duration = Duration::from_ms(2);
/// So a group is of 13 blocks, and takes a second.
const RATE: Rate = Rate::from_bits_per_s(40_000_000);
const BYTES: usize = 7_000_000;

/// Which datagrams a receiver loses; `None` for what is not under the session's key.
type Loses = Box<dyn FnMut(Instant, Option<&MulticastHeader>) -> bool>;

type Lie = fn(&Sender, &MulticastHeader) -> Vec<Vec<u8>>;

struct Seat {
    receiver: Receiver,
    loses: Loses,
    out: Vec<u8>,
    /// Its consumer takes so many blocks at most every step, and none before a moment.
    appetite: usize,
    hungry_at: Instant,
    end: Option<(Instant, ReceiverEnd)>,
    passed_over: Vec<PassedOver>,
}

struct Room {
    now: Instant,
    sender: Sender,
    seats: Vec<Seat>,
    data: Vec<u8>,
    pushed: usize,
    end: Option<(Instant, SenderEnd)>,
    /// What somebody else sends before each datagram.
    lie: Option<Lie>,
    gone: bool,
}

const SENDER: ([u8; 4], u16) = ([10, 0, 0, 100], 8_000);

fn nothing() -> Loses {
    Box::new(|_, _| false)
}

fn chance(seed: u64, share: f64) -> Loses {
    let mut dice = StdRng::seed_from_u64(seed);
    Box::new(move |_, _| dice.random_bool(share))
}

fn of_kind(kind: DatagramKind, mut loses: impl FnMut(&MulticastHeader) -> bool + 'static) -> Loses {
    Box::new(move |_, header| header.is_some_and(|h| h.kind == kind && loses(h)))
}

fn config(keys: SenderKeys) -> SenderConfig {
    SenderConfig {
        min_wait: Duration::from_secs(1),
        rate_max: Some(RATE),
        one_way: Some(OneWay::default()),
        keys,
        ..SenderConfig::default()
    }
}

fn seat(keys: ReceiverKeys, loses: Loses) -> Seat {
    let config = ReceiverConfig {
        one_way: true,
        keys,
        start_timeout: Some(Duration::from_secs(8)),
        ..ReceiverConfig::default()
    };
    Seat {
        receiver: Receiver::new(config, [9; 32], Instant::ZERO),
        loses,
        out: Vec::new(),
        appetite: usize::MAX,
        hungry_at: Instant::ZERO,
        end: None,
        passed_over: Vec::new(),
    }
}

impl Room {
    fn new(config: SenderConfig, seats: Vec<Seat>) -> Self {
        Self {
            now: Instant::ZERO,
            sender: Sender::new(config, [1; 32], Instant::ZERO),
            seats,
            data: (0..BYTES)
                .map(|n| (n / 7) as u8 ^ (n / 997) as u8)
                .collect(),
            pushed: 0,
            end: None,
            lie: None,
            gone: false,
        }
    }

    /// One receiver for each way to lose, with no keys.
    fn losing(ways: Vec<Loses>) -> Self {
        let seat = |loses| seat(ReceiverKeys::default(), loses);
        Self::new(
            config(SenderKeys::default()),
            ways.into_iter().map(seat).collect(),
        )
    }

    fn multicast(&mut self, datagram: &[u8]) {
        let header = MulticastHeader::parse(datagram).ok();
        for seat in &mut self.seats {
            if !(seat.loses)(self.now, header.as_ref()) {
                let mut copy = datagram.to_vec();
                seat.receiver
                    .handle_datagram(self.now, SENDER.into(), &mut copy);
            }
        }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        let now = self.now;
        if !self.gone {
            self.sender.handle_timeout(now);
            self.pushed += self.sender.push(&self.data[self.pushed..]);
            if self.pushed == self.data.len() {
                self.sender.finish();
            }
            self.send();
        }
        while let Some(event) = self.sender.poll_event() {
            if let SenderEvent::Ended(end) = event {
                self.end = Some((now, end));
            }
        }
        self.seats.iter_mut().for_each(|seat| seat.step(now));
    }

    fn send(&mut self) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.sender.poll_transmit(self.now, &mut buf) {
            assert_eq!(transmit.to, Target::Group);
            for datagram in buf.chunks(transmit.segment) {
                if let (Some(lie), Ok(header)) = (self.lie, MulticastHeader::parse(datagram)) {
                    let lies = lie(&self.sender, &header);
                    lies.iter().for_each(|lie| self.multicast(lie));
                }
                self.multicast(datagram);
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until all is over, and returns how the receivers ended.
    fn run(&mut self) -> Vec<ReceiverEnd> {
        let over = |room: &Self| room.end.is_some() || room.gone;
        while !(over(self) && self.seats.iter().all(|s| s.end.is_some())) {
            self.step();
            assert!(self.now < Instant::from_us(60_000_000), "it hangs");
        }
        for seat in &self.seats {
            assert!(
                self.data.starts_with(&seat.out),
                "what was not sent came out"
            );
            let all = seat.out.len() == self.data.len();
            assert!(
                all || seat.ended() != ReceiverEnd::Complete,
                "a part is taken for all"
            );
        }
        self.seats.iter().map(Seat::ended).collect()
    }
}

impl Seat {
    fn step(&mut self, now: Instant) {
        self.receiver.handle_timeout(now);
        for _ in 0..self.appetite {
            let Some(delivery) = (now >= self.hungry_at)
                .then(|| self.receiver.pull(now))
                .flatten()
            else {
                break;
            };
            self.out.extend_from_slice(&delivery.buf[..delivery.len]);
            self.receiver.recycle(delivery.buf);
        }
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Complete { .. } => self.receiver.consumed(now),
                ReceiverEvent::Ended(end) => self.end = Some((now, end)),
                ReceiverEvent::PassedOver { why, .. } => self.passed_over.push(why),
                _ => {}
            }
        }
        let said = self.receiver.poll_transmit(now, &mut Vec::new());
        assert_eq!(said, None, "a receiver of a one-way session speaks");
    }

    fn ended(&self) -> ReceiverEnd {
        let (_, end) = self.end.clone().expect("it has ended");
        end
    }
}

fn is_lost(end: &ReceiverEnd) -> bool {
    matches!(end, ReceiverEnd::Lost { .. })
}

const COMPLETE: ReceiverEnd = ReceiverEnd::Complete;

#[test]
fn losses_below_the_redundancy_are_made_good() {
    // The datagrams of a tenth of a second less than a tenth of a group, wherever they fall.
    let outage = |ms: u64| -> Loses {
        let from = Instant::from_us(ms * 1_000);
        Box::new(move |now, _| now >= from && now < from + Duration::from_ms(80))
    };
    let ways = vec![
        nothing(),
        chance(1, 0.01),
        chance(2, 0.03),
        outage(1_100),
        outage(1_970),
        outage(2_300),
    ];
    let mut room = Room::losing(ways);
    assert_eq!(room.run(), [COMPLETE; 6]);
    let (_, end) = room.end.unwrap();
    assert_eq!(end, SenderEnd::Sent);
    let stats = room.sender.stats();
    let overhead = (stats.source + stats.repair) as f64 / stats.source as f64;
    // The last group is shorter than the others, and its share of that goes out once more.
    assert!((1.10..1.35).contains(&overhead), "{overhead}");
}

#[test]
fn an_outage_at_the_end_hits_few_blocks_and_is_made_good_too() {
    for blocks in [1, 2] {
        let way = of_kind(DatagramKind::Data, |h| !h.repair && h.symbol >= 100);
        let mut room = Room::losing(vec![way, chance(3, 0.2)]);
        room.data.truncate(blocks * 300_000);
        assert_eq!(room.run(), [COMPLETE; 2], "{blocks} blocks");
    }
}

#[test]
fn losses_above_the_redundancy_are_an_error() {
    // Thirteen of a hundred more than once in a while, and one block that lacks one too many.
    let one_too_many = of_kind(DatagramKind::Data, |h| {
        h.block == 5 && !h.repair && h.symbol < 27
    });
    let enough = of_kind(DatagramKind::Data, |h| {
        h.block == 5 && !h.repair && h.symbol < 26
    });
    let mut room = Room::losing(vec![chance(1, 0.20), one_too_many, enough]);
    let ends = room.run();
    assert!(is_lost(&ends[0]), "{:?}", ends[0]);
    assert_eq!(
        ends[1..],
        [ReceiverEnd::Lost { block: 5, lacks: 1 }, COMPLETE]
    );
    // It is not told at the end of the stream, but when the block is over.
    let (at, _) = room.seats[1].end.clone().unwrap();
    assert!(at < Instant::from_us(2_800_000), "{at:?}");
    assert!(
        room.seats[1].out.len() < 6 * 256 * 1_436,
        "handed out beyond it"
    );

    let mut doubled = config(SenderKeys::default());
    doubled.one_way = Some(OneWay { redundancy: 500 });
    let mut room = Room::new(
        doubled,
        vec![seat(ReceiverKeys::default(), chance(1, 0.20))],
    );
    assert_eq!(room.run(), [COMPLETE]);
}

#[test]
fn small_streams_arrive_at_high_loss() {
    for bytes in [0, 1, 5_000, 100_000] {
        let mut room = Room::losing((0..20).map(|seed| chance(seed, 0.20)).collect());
        // Twenty per cent need more than ten, but of few symbols there are more than that.
        room.data.truncate(bytes);
        assert_eq!(room.run(), vec![COMPLETE; 20], "{bytes} bytes");
    }
}

#[test]
fn who_has_other_keys_hears_nothing() {
    let signer = |n| SigningKey::from_seed([n; 32]);
    let keys = SenderKeys {
        signing: Some(signer(1)),
        shared: Some(Secret::new([3; 32])),
        ..SenderKeys::default()
    };
    let receiver = |from: &[u8], shared: Option<u8>| ReceiverKeys {
        from: from.iter().map(|&n| signer(n).public()).collect(),
        shared: shared.map(|n| Secret::new([n; 32])),
        ..ReceiverKeys::default()
    };
    let keyrings = [
        receiver(&[1], Some(3)),
        receiver(&[], Some(3)),
        receiver(&[2], Some(3)),
        receiver(&[1], Some(4)),
        receiver(&[1], None),
    ];
    let seats = keyrings.map(|keys| seat(keys, chance(7, 0.02)));
    let mut room = Room::new(config(keys), seats.into());
    let none = ReceiverEnd::NoSender;
    let expected = [&COMPLETE, &COMPLETE, &none, &none, &none].map(Clone::clone);
    assert_eq!(room.run(), expected);
    let why: Vec<_> = room.seats[2..]
        .iter()
        .map(|s| s.passed_over.clone())
        .collect();
    assert_eq!(
        why.concat(),
        [
            PassedOver::OtherSigner,
            PassedOver::OtherSharedKey,
            PassedOver::SharedKeyNeeded
        ]
    );
    assert!(room.seats[2..].iter().all(|s| s.out.is_empty()));
}

#[test]
fn who_comes_late_is_told_so() {
    for after_ms in [200, 1_500] {
        let mut room = Room::losing(vec![nothing()]);
        room.run_for(Duration::from_ms(1_000 + after_ms));
        room.seats.push(seat(ReceiverKeys::default(), nothing()));
        let came = room.now;
        let late = ReceiverEnd::Rejected(RejectReason::TooLate);
        assert_eq!(room.run(), [COMPLETE, late]);
        let (at, _) = room.seats[1].end.clone().unwrap();
        assert!(at.since(came) < Duration::from_secs(3), "{at:?}");
    }
}

#[test]
fn one_of_many_ends_is_enough() {
    let but = |kept: u16| of_kind(DatagramKind::End, move |h| h.following != kept);
    let mut room = Room::losing(vec![but(0), but(5), but(ONE_WAY_COPIES - 1), but(99)]);
    let ends = room.run();
    assert_eq!(ends[..3], [COMPLETE; 3]);
    assert_eq!(ends[3], ReceiverEnd::SenderLost(PEER_SILENT_MAX));
    assert_eq!(room.seats[3].out.len(), BYTES, "yet it is not complete");
}

#[test]
fn one_of_many_aborts_is_enough() {
    let mut heard = 0;
    let but_the_last = of_kind(DatagramKind::Abort, move |_| {
        heard += 1;
        heard < ONE_WAY_COPIES
    });
    // One learns of it that never had anything else of the session.
    let nothing_else =
        Box::new(|_, h: Option<&MulticastHeader>| h.is_some_and(|h| h.kind != DatagramKind::Abort));
    let mut room = Room::losing(vec![but_the_last, nothing_else, nothing()]);
    room.run_for(Duration::from_ms(1_500));
    let now = room.now;
    room.sender.abort(now, AbortReason::Producer, "7");
    let aborted = ReceiverEnd::Aborted(AbortReason::Producer, "7".into());
    assert_eq!(room.run(), [aborted.clone(), aborted.clone(), aborted]);
    let (_, end) = room.end.unwrap();
    assert_eq!(end, SenderEnd::Aborted(AbortReason::Producer));
}

#[test]
fn a_sender_that_is_gone_is_noticed() {
    let mut room = Room::losing(vec![nothing()]);
    room.run_for(Duration::from_ms(1_500));
    room.gone = true;
    let gone = room.now;
    assert_eq!(room.run(), [ReceiverEnd::SenderLost(PEER_SILENT_MAX)]);
    let (at, _) = room.seats[0].end.clone().unwrap();
    assert!(at.since(gone) <= PEER_SILENT_MAX + STEP.times(2));
}

#[test]
fn a_slow_consumer_overflows_and_is_told_so() {
    let mut slow = seat(ReceiverKeys::default(), nothing());
    // Of a stream of 19 blocks it can hold no more than a group of 6 and the next.
    slow.receiver = Receiver::new(
        ReceiverConfig {
            one_way: true,
            memory: 12 * 256 * 1_436,
            ..ReceiverConfig::default()
        },
        [9; 32],
        Instant::ZERO,
    );
    slow.hungry_at = Instant::from_us(9_000_000);
    let mut patient = seat(ReceiverKeys::default(), nothing());
    patient.hungry_at = Instant::from_us(20_000_000);
    let mut config = config(SenderKeys::default());
    config.memory = 24 * 256 * 1_436;
    let mut room = Room::new(config, vec![slow, patient]);
    let ends = room.run();
    // What is here can wait for the consumer, though the sender is gone.
    assert_eq!(ends, [ReceiverEnd::Overrun { block: 12 }, COMPLETE]);
    assert!(room.seats[1].end.clone().unwrap().0 >= Instant::from_us(20_000_000));
}

#[test]
fn a_receiver_that_cannot_hold_two_groups_does_not_begin() {
    let mut small = seat(ReceiverKeys::default(), nothing());
    small.receiver = Receiver::new(
        ReceiverConfig {
            one_way: true,
            memory: 12 * 256 * 1_436,
            start_timeout: Some(Duration::from_secs(3)),
            ..ReceiverConfig::default()
        },
        [9; 32],
        Instant::ZERO,
    );
    let mut room = Room::new(config(SenderKeys::default()), vec![small]);
    assert_eq!(room.run(), [ReceiverEnd::NoSender]);
    assert_eq!(room.seats[0].passed_over, [PassedOver::MoreMemory]);
}

#[test]
fn a_repeated_announce_does_not_hold_up() {
    let mut old = Sender::new(config(SenderKeys::default()), [7; 32], Instant::ZERO);
    old.handle_timeout(Instant::ZERO);
    let mut announce = Vec::new();
    old.poll_transmit(Instant::ZERO, &mut announce);
    let mut room = Room::losing(vec![nothing()]);
    for _ in 0..400 {
        room.multicast(&announce);
        room.step();
    }
    assert_eq!(room.run(), [COMPLETE]);
}

/// DATA in the sender's name, as anybody can make it that has heard the ANNOUNCE: other symbols,
/// sometimes of a block of another size.
fn forge(sender: &Sender, header: &MulticastHeader) -> Vec<Vec<u8>> {
    if header.kind != DatagramKind::Data || !header.symbol.is_multiple_of(50) {
        return Vec::new();
    }
    let header = MulticastHeader {
        sequence: sender.tx + 20_000 + header.sequence,
        following: header.following / (1 + header.symbol % 3),
        ..*header
    };
    let mut out = Vec::new();
    header.emit(&mut out);
    out.resize(HEADER_LEN + usize::from(sender.config.symbol_len), 5);
    let nonce = multicast_nonce(header.sequence);
    seal(&sender.cipher, &nonce, &mut out, 0, HEADER_LEN);
    vec![out]
}

#[test]
fn who_pollutes_a_session_can_stop_it_and_no_more() {
    let key = SigningKey::from_seed([1; 32]);
    let keys = SenderKeys {
        signing: Some(key.clone()),
        ..SenderKeys::default()
    };
    let believing = ReceiverKeys {
        from: vec![key.public()],
        ..ReceiverKeys::default()
    };
    for keys in [keys, SenderKeys::default()] {
        let receiver = if keys.signing.is_some() {
            believing.clone()
        } else {
            ReceiverKeys::default()
        };
        let mut room = Room::new(config(keys), vec![seat(receiver, nothing())]);
        room.lie = Some(forge);
        let ends = room.run();
        assert!(
            ends[0] == ReceiverEnd::Corrupt || is_lost(&ends[0]),
            "{ends:?}"
        );
    }
}

#[test]
fn a_slow_input_is_gathered_into_groups() {
    let mut room = Room::losing(vec![nothing(), chance(1, 0.03)]);
    let whole = std::mem::take(&mut room.data);
    let (mut fed, mut first) = (0, None);
    // A block each 200 ms: groups of five, once a second.
    while fed < whole.len() {
        let now = room.now;
        room.sender.handle_timeout(now);
        let due = (now.as_us() as usize * 9 / 5).min(whole.len());
        fed += room.sender.push(&whole[fed..due]);
        if due == whole.len() {
            room.sender.finish();
        }
        room.send();
        room.seats.iter_mut().for_each(|seat| seat.step(now));
        if first.is_none() && !room.seats[0].out.is_empty() {
            first = Some(now);
            // The group that begins with the first blocks is four or more.
            assert!(room.sender.window.group_start() == 0 && room.sender.window.edge() >= 4);
        }
        room.now = now + STEP;
    }
    assert!(first.unwrap().since(Instant::ZERO) <= ONE_WAY_INTERLEAVE_TIME.times(3));
    (room.pushed, room.data) = (whole.len(), whole);
    assert_eq!(room.run(), [COMPLETE; 2]);
}

#[test]
fn nobody_is_heard() {
    let mut room = Room::losing(vec![]);
    let from = SocketAddr::from(([10, 0, 0, 1], 1_000));
    for kind in DatagramKind::ALL {
        let mut datagram = vec![0; 200];
        datagram[0] = 0x20 | kind as u8;
        datagram[4..8].copy_from_slice(&room.sender.session.tag().to_be_bytes());
        room.sender.handle_datagram(room.now, from, &mut datagram);
    }
    assert_eq!(room.sender.stats().refused, DatagramKind::ALL.len() as u64);
    assert_eq!(room.sender.joined(), 0);
    assert!(room.sender.start_now(room.now), "nobody is waited for");
}
