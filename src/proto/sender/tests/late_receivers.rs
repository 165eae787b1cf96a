//! Trials of a series: receivers that come too late or are too slow, and the sessions after.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::crypt::sign::SigningKey;
use crate::proto::Sender;
use crate::proto::config::Series;
use crate::proto::limits::{
    NEXT_PASS_ASK_EVERY, NEXT_PASS_HEARD_MAX, NEXT_PASS_SILENT_MAX, NEXT_PASS_UNANSWERED_MAX,
};
use crate::proto::{
    Fate, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, SenderConfig, SenderEnd,
    SenderEvent, SenderKeys, Target,
};
use crate::units::{Duration, Instant, Rate};
use crate::wire::{AbortReason, DatagramKind, DropReason, RejectReason};

const STEP: Duration = Duration::from_ms(5);
const BYTES: usize = 4_000_000;

struct Seat {
    addr: SocketAddr,
    receiver: Receiver,
    /// Bytes that its consumer takes in a step.
    appetite: i64,
    hunger: i64,
    out: Vec<u8>,
    waited: Vec<Option<u64>>,
    end: Option<ReceiverEnd>,
}

/// One session after the other on a perfect cable.
struct Hall {
    now: Instant,
    sender: Sender,
    config: SenderConfig,
    data: Vec<u8>,
    pushed: usize,
    seats: Vec<Seat>,
    end: Option<SenderEnd>,
    fates: Vec<Fate>,
    turned_away: Vec<RejectReason>,
    waits: usize,
    /// What the sender said to all, and to one.
    heard: Vec<Vec<u8>>,
    told: Vec<Vec<u8>>,
}

fn data() -> Vec<u8> {
    let byte = |n: usize| (n / 7) as u8 ^ (n / 1_000) as u8;
    (0..BYTES).map(byte).collect()
}

impl Hall {
    fn new(series: Series) -> Self {
        let now = Instant::from_us(1);
        let config = SenderConfig {
            receivers: 1,
            memory: 1_500_000,
            rate_max: Some(Rate::from_bits_per_s(20_000_000)),
            keys: SenderKeys {
                signing: Some(SigningKey::from_seed([1; 32])),
                ..SenderKeys::default()
            },
            series,
            ..SenderConfig::default()
        };
        Self {
            now,
            sender: Sender::new(config.clone(), [1; 32], now),
            config,
            data: data(),
            pushed: 0,
            seats: Vec::new(),
            end: None,
            fates: Vec::new(),
            turned_away: Vec::new(),
            waits: 0,
            heard: Vec::new(),
            told: Vec::new(),
        }
    }

    /// A receiver comes, whose consumer takes so many bytes in a step.
    fn come(&mut self, appetite: i64) {
        let n = u8::try_from(self.seats.len() + 1).unwrap();
        self.seats.push(Seat::new(n, appetite, self.now));
    }

    fn addr() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 100], 8_000))
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        let now = self.now;
        self.pushed += self.sender.push(&self.data[self.pushed..]);
        if self.pushed == self.data.len() {
            self.sender.finish();
        }
        self.sender.handle_timeout(now);
        let mut buf = Vec::new();
        while let Some(transmit) = self.sender.poll_transmit(now, &mut buf) {
            for datagram in buf.chunks_mut(transmit.segment) {
                let kept = match transmit.to {
                    Target::Group => &mut self.heard,
                    Target::Peer(_) => &mut self.told,
                };
                kept.push(datagram.to_vec());
                let meant =
                    |s: &&mut Seat| [Target::Group, Target::Peer(s.addr)].contains(&transmit.to);
                for seat in self.seats.iter_mut().filter(meant) {
                    let mut copy = datagram.to_vec();
                    seat.receiver.handle_datagram(now, Self::addr(), &mut copy);
                }
            }
            self.sender.left(now);
        }
        self.listen();
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Ended(end) => self.end = Some(end),
                SenderEvent::Finished { fate, .. } => self.fates.push(fate),
                SenderEvent::TurnedAway { reason, .. } => self.turned_away.push(reason),
                SenderEvent::Waits { .. } => self.waits += 1,
                _ => {}
            }
        }
    }

    /// The receivers do their work, and the sender hears them.
    fn listen(&mut self) {
        for seat in &mut self.seats {
            for mut said in seat.step(self.now) {
                self.sender.handle_datagram(self.now, seat.addr, &mut said);
            }
        }
    }

    fn steps_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    fn run(&mut self) -> Option<SenderEnd> {
        for _ in 0..8_000 {
            if self.end.is_some() && self.sender.is_done() {
                break;
            }
            self.step();
        }
        self.end
    }

    /// The next session of the series, as its driver would make it.
    fn next(&mut self) {
        self.config.receivers = self.sender.waiting_for_next(self.now);
        self.config.series = Series {
            id: Some(self.sender.series()),
            number: self.config.series.number + 1,
            end: self.config.series.end.or(self.sender.stream_end()),
            with_some: true,
            ..self.config.series
        };
        self.config.start_timeout = Some(Duration::from_secs(5));
        let number = u8::try_from(self.config.series.number).unwrap();
        self.sender = Sender::new(self.config.clone(), [100 + number; 32], self.now);
        (self.pushed, self.end) = (0, None);
        self.heard.clear();
    }

    /// Only the receivers go on, and what an outsider sends to them each second.
    fn without_sender(&mut self, time: Duration, lies: &[Vec<u8>]) {
        let until = self.now + time;
        while self.now < until {
            self.now = self.now + STEP;
            for seat in &mut self.seats {
                if self.now.as_us() % 1_000_000 < STEP.as_us() {
                    for lie in lies {
                        let mut copy = lie.clone();
                        seat.receiver
                            .handle_datagram(self.now, Self::addr(), &mut copy);
                    }
                }
                seat.step(self.now);
            }
        }
    }

    fn ends(&self) -> Vec<Option<ReceiverEnd>> {
        self.seats.iter().map(|s| s.end.clone()).collect()
    }
}

impl Seat {
    fn new(n: u8, appetite: i64, now: Instant) -> Self {
        let config = ReceiverConfig {
            memory: 1_500_000,
            start_timeout: Some(Duration::from_secs(8)),
            ..ReceiverConfig::default()
        };
        Self {
            addr: SocketAddr::from(([10, 0, 0, n], 1_000)),
            receiver: Receiver::new(config, [n + 1; 32], now),
            appetite,
            hunger: 0,
            out: Vec::new(),
            waited: Vec::new(),
            end: None,
        }
    }

    /// Does what is to be done now; says what is to be said.
    fn step(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.receiver.handle_timeout(now);
        self.hunger += self.appetite;
        while self.hunger > 0
            && let Some(delivery) = self.receiver.pull(now)
        {
            self.hunger -= delivery.len as i64;
            self.out.extend_from_slice(&delivery.buf[..delivery.len]);
            self.receiver.recycle(delivery.buf);
        }
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Complete { .. } => self.receiver.consumed(now),
                ReceiverEvent::Waits { from } => self.waited.push(from),
                ReceiverEvent::Ended(end) => self.end = Some(end),
                _ => {}
            }
        }
        let (mut all, mut buf) = (Vec::new(), Vec::new());
        while self.receiver.poll_transmit(now, &mut buf).is_some() {
            all.push(buf.clone());
        }
        all
    }
}

const GREEDY: i64 = 1 << 40;
const COMPLETE: Option<ReceiverEnd> = Some(ReceiverEnd::Complete);

fn goes_on() -> Series {
    Series {
        goes_on: true,
        ..Series::default()
    }
}

/// A receiver is being served, and another one has come too late and waits.
fn with_one_too_late(series: Series) -> Hall {
    let mut hall = Hall::new(series);
    hall.come(GREEDY);
    while hall.pushed < BYTES / 4 * 3 {
        hall.step();
    }
    hall.come(GREEDY);
    hall
}

#[test]
fn who_comes_too_late_is_complete_after_another_pass() {
    let mut hall = with_one_too_late(goes_on());
    hall.steps_for(Duration::from_ms(300));
    assert_eq!(hall.sender.waiting_for_next(hall.now), 1);
    assert_eq!(hall.run(), Some(SenderEnd::Complete));
    let first = hall.sender.stream_end().unwrap();
    hall.next();
    assert_eq!(hall.run(), Some(SenderEnd::Complete));
    assert_eq!(hall.sender.stream_end(), Some(first));
    assert_eq!(hall.ends(), [COMPLETE, COMPLETE]);
    assert!(hall.seats.iter().all(|seat| seat.out == hall.data));
    // Told once on both sides, though it asked again and again.
    assert_eq!((hall.waits, hall.turned_away.len()), (1, 0));

    // Without a further pass it is turned away.
    let mut hall = with_one_too_late(Series::default());
    assert_eq!(hall.run(), Some(SenderEnd::Complete));
    hall.steps_for(Duration::from_secs(2));
    let late = ReceiverEnd::Rejected(RejectReason::TooLate);
    assert_eq!(hall.ends(), [COMPLETE, Some(late)]);
    assert_eq!(hall.waits, 0);
}

#[test]
fn a_waiting_receiver_says_so_now_and_then_and_is_forgotten_when_it_does_not() {
    let mut hall = Hall::new(goes_on());
    hall.config.rate_max = Some(Rate::from_bits_per_s(2_000_000));
    hall.sender = Sender::new(hall.config.clone(), [1; 32], hall.now);
    hall.come(GREEDY);
    while hall.sender.window.first() == 0 {
        hall.step();
    }
    hall.come(GREEDY);
    hall.told.clear();
    hall.steps_for(Duration::from_secs(7));
    assert_eq!(hall.seats[1].waited, [None]);
    assert_eq!(hall.sender.waiting_for_next(hall.now), 1);
    let rejects = hall
        .told
        .iter()
        .filter(|d| d[0] & 15 == DatagramKind::Reject as u8);
    let count = rejects.count();
    assert!((3..=6).contains(&count), "{count} answers in 7 s");
    // It outlasts the time in which a first session must come.
    hall.steps_for(Duration::from_secs(3));
    assert_eq!(hall.seats[1].end, None);
    hall.seats.pop();
    hall.steps_for(NEXT_PASS_HEARD_MAX);
    assert_eq!(hall.sender.waiting_for_next(hall.now), 0);
}

#[test]
fn it_waits_for_its_series_alone_and_not_for_ever() {
    let mut hall = with_one_too_late(goes_on());
    hall.run();
    hall.steps_for(Duration::from_secs(2));
    assert_eq!(hall.seats[1].waited, [None]);
    // Another session of the same signer, which would take it in.
    let mut other = Sender::new(hall.config.clone(), [9; 32], hall.now);
    other.handle_timeout(hall.now);
    let mut announce = Vec::new();
    other.poll_transmit(hall.now, &mut announce).unwrap();
    hall.without_sender(NEXT_PASS_SILENT_MAX, &[announce]);
    let lost = Some(ReceiverEnd::SenderLost(NEXT_PASS_SILENT_MAX));
    assert_eq!(hall.ends()[1], lost);
}

#[test]
fn whoever_repeats_what_the_sender_said_keeps_nobody_waiting() {
    let mut hall = with_one_too_late(goes_on());
    hall.run();
    hall.steps_for(Duration::from_secs(2));
    assert_eq!(hall.seats[1].waited, [None]);
    let kind = |kind: DatagramKind| move |d: &&Vec<u8>| d[0] & 15 == kind as u8;
    let announces = hall.heard.iter().filter(kind(DatagramKind::Announce));
    let rejects = hall.told.iter().filter(kind(DatagramKind::Reject));
    let lies: Vec<_> = announces.chain(rejects).cloned().collect();
    // The newest answer counts until the next question.
    hall.without_sender(NEXT_PASS_UNANSWERED_MAX + NEXT_PASS_ASK_EVERY, &lies);
    let lost = Some(ReceiverEnd::SenderLost(NEXT_PASS_UNANSWERED_MAX));
    assert_eq!(hall.ends()[1], lost);
}

#[test]
fn an_input_that_changed_is_noticed() {
    let mut hall = with_one_too_late(goes_on());
    hall.run();
    hall.next();
    hall.data[BYTES / 2] ^= 1;
    let changed = AbortReason::Changed;
    assert_eq!(hall.run(), Some(SenderEnd::Aborted(changed)));
    let aborted = ReceiverEnd::Aborted(changed, String::new());
    assert_eq!(hall.ends(), [COMPLETE, Some(aborted)]);

    // One that became shorter, and was read before anybody came.
    let mut hall = with_one_too_late(goes_on());
    hall.run();
    hall.next();
    hall.data.truncate(1_000);
    assert_eq!(hall.run(), Some(SenderEnd::Aborted(changed)));
    assert!(matches!(hall.ends()[1], Some(ReceiverEnd::Aborted(..))));
}

/// Two receivers, one of them too slow, after the first session.
fn with_one_too_slow() -> Hall {
    let mut hall = Hall::new(Series {
        slow_later: true,
        ..goes_on()
    });
    hall.config.receivers = 2;
    hall.config.floor = Some(Rate::from_bits_per_s(8_000_000));
    hall.config.slow_grace = Duration::from_ms(500);
    hall.sender = Sender::new(hall.config.clone(), [1; 32], hall.now);
    hall.come(GREEDY);
    hall.come(1_000);
    let begun = hall.now;
    assert!(matches!(
        hall.run(),
        Some(SenderEnd::Partial { done: 1, failed: 1 })
    ));
    assert!(hall.fates.contains(&Fate::Dropped(DropReason::NextPass)));
    // Alone, the fast one would have taken 1.6 s; the slow one takes 20.
    let took = hall.now.since(begun);
    assert!(took < Duration::from_secs(5), "{took:?}");
    hall
}

#[test]
fn who_is_too_slow_goes_on_in_another_pass() {
    let mut hall = with_one_too_slow();
    let so_far = hall.seats[1].out.len();
    assert!(so_far > 0 && so_far < BYTES);
    assert_eq!(hall.seats[1].waited, [Some(so_far as u64)]);
    assert_eq!(hall.sender.waiting_for_next(hall.now), 1);
    hall.next();
    assert_eq!(hall.run(), Some(SenderEnd::Complete));
    assert_eq!(hall.ends(), [COMPLETE, COMPLETE]);
    // One stream without a seam.
    assert!(hall.seats.iter().all(|seat| seat.out == hall.data));
    let received = hall.seats[1].receiver.stats();
    assert_eq!(received.bytes, BYTES as u64);
}

#[test]
fn what_changed_in_between_is_not_handed_out() {
    let mut hall = with_one_too_slow();
    let so_far = hall.seats[1].out.len();
    hall.next();
    // In what it has already: the rest alone would fit.
    hall.data[10] ^= 1;
    hall.run();
    assert!(hall.ends()[1].is_some() && hall.ends()[1] != COMPLETE);
    assert_eq!(hall.seats[1].out.len(), so_far);
}

#[test]
fn waiting_receivers_that_nobody_has_seen_cost_announcements() {
    let mut hall = with_one_too_late(goes_on());
    hall.seats.pop();
    let mut stranger = Seat::new(9, GREEDY, hall.now);
    let announces = |d: &&Vec<u8>| d[0] & 15 == DatagramKind::Announce as u8;
    let mut announce = hall.heard.iter().rfind(announces).unwrap().clone();
    let receiver = &mut stranger.receiver;
    receiver.handle_datagram(hall.now, Hall::addr(), &mut announce);
    let said = stranger.step(hall.now).pop().unwrap();
    for n in 0..2_000u16 {
        let from = SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 1_000));
        hall.now = hall.now + Duration::from_ms(1);
        let mut join = said.clone();
        hall.sender.handle_datagram(hall.now, from, &mut join);
    }
    let waiting = hall.sender.waiting_for_next(hall.now);
    assert!(waiting > 500, "{waiting}");
    hall.run();
    hall.next();
    assert_eq!(hall.run(), Some(SenderEnd::NobodyCame));
    assert!(
        hall.heard
            .iter()
            .all(|d| d[0] & 15 == DatagramKind::Announce as u8)
    );
    assert!(hall.heard.len() <= 27, "{} in 5 s", hall.heard.len());
}

#[test]
fn a_lossy_way_does_not_keep_one_from_waiting() {
    let mut hall = Hall::new(goes_on());
    hall.config.rate_max = Some(Rate::from_bits_per_s(2_000_000));
    hall.config.stall_max = None;
    hall.sender = Sender::new(hall.config.clone(), [1; 32], hall.now);
    hall.come(GREEDY);
    while hall.sender.window.first() == 0 {
        hall.step();
    }
    // The others take their time.
    (hall.seats[0].appetite, hall.seats[0].hunger) = (0, -1);
    hall.come(GREEDY);
    hall.steps_for(Duration::from_secs(3));
    assert_eq!(hall.seats[1].waited, [None]);
    let mut seat = hall.seats.pop().unwrap();
    let mut dice = StdRng::seed_from_u64(3);
    let until = hall.now + Duration::from_secs(600);
    while hall.now < until {
        (hall.told, hall.heard) = (Vec::new(), Vec::new());
        hall.step();
        for mut datagram in hall.told.drain(..).chain(hall.heard.drain(..)) {
            if dice.random_bool(0.75) {
                seat.receiver
                    .handle_datagram(hall.now, Hall::addr(), &mut datagram);
            }
        }
        for mut said in seat.step(hall.now) {
            if dice.random_bool(0.75) {
                hall.sender.handle_datagram(hall.now, seat.addr, &mut said);
            }
        }
    }
    assert_eq!(
        (seat.end, hall.sender.waiting_for_next(hall.now)),
        (None, 1)
    );
}

#[test]
fn who_waits_is_told_that_the_stream_is_broken_off() {
    let mut hall = with_one_too_late(goes_on());
    assert_eq!(hall.sender.too_late(), RejectReason::NextPass);
    hall.sender.abort(hall.now, AbortReason::Interrupted, "");
    assert_eq!(hall.sender.too_late(), RejectReason::BrokenOff);
}

#[test]
fn one_that_has_everything_need_not_come_again() {
    let mut hall = Hall::new(Series {
        slow_later: true,
        ..goes_on()
    });
    hall.config.receivers = 2;
    hall.sender = Sender::new(hall.config.clone(), [1; 32], hall.now);
    hall.come(GREEDY);
    hall.come(GREEDY);
    while hall.pushed < BYTES / 2 {
        hall.step();
    }
    let at = hall.seats[1].addr;
    let member = hall.sender.members().into_iter().find(|m| m.addr == at);
    let receiver = member.unwrap().receiver;
    hall.sender.will_wait(hall.now, at);
    let fate = Fate::Dropped(DropReason::NextPass);
    hall.sender.finish_member(receiver, fate);
    // It does not hear that, nor is it heard, until it has everything.
    hall.sender.replies.clear();
    hall.seats[1].addr = SocketAddr::from(([10, 0, 0, 77], 7));
    while hall.seats[1].out.len() < BYTES {
        hall.step();
    }
    hall.seats[1].addr = at;
    hall.run();
    hall.steps_for(Duration::from_secs(6));
    assert_eq!(hall.ends()[1], Some(ReceiverEnd::Complete));
    assert_eq!(hall.sender.members()[receiver as usize].fate, Fate::Done);
    assert_eq!(hall.sender.waiting_for_next(hall.now), 0);
}
