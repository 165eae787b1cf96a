//! Made-up receivers in great number: they may cost a real one time, nothing more.

use std::collections::HashMap;
use std::net::SocketAddr;

use sealcast::proto::{
    Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, Sender, SenderConfig, SenderEnd,
    SenderEvent, Target,
};
use sealcast::units::{Duration, Instant};

/// Made-up receivers, each at an address at which it hears what is sent to it.
const FAKES: u32 = 3_000;
const COMES: Instant = Instant::from_us(3_000_000);
const STEP: Duration = Duration::from_ms(1);
/// The address of the real one.
const RECEIVER: ([u8; 4], u16) = ([10, 0, 0, 2], 1);

fn sender_addr() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1))
}

/// Where the `n`th made-up receiver is: anywhere.
fn fake_addr(n: u32) -> SocketAddr {
    SocketAddr::from((n.wrapping_mul(0x9e37_79b9).to_be_bytes(), 1))
}

/// What a made-up receiver says to an ANNOUNCE: its HELLO.
fn fake(n: u32, announce: &[u8], now: Instant) -> (Receiver, Vec<u8>) {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let mut receiver = Receiver::new(ReceiverConfig::default(), seed, now);
    receiver.handle_datagram(now, sender_addr(), &mut announce.to_vec());
    let mut hello = Vec::new();
    receiver.poll_transmit(now, &mut hello).unwrap();
    (receiver, hello)
}

/// A real receiver beside 10,000 JOINs and 10,000 HELLOs a second of made-up ones, the latter from
/// addresses at which nobody is.
struct Flood {
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    /// When it joined.
    joined: Option<Instant>,
    ends: (Option<SenderEnd>, Option<ReceiverEnd>),
    announce: Option<Vec<u8>>,
    /// Made-up receivers that got no answer yet.
    asking: HashMap<SocketAddr, Receiver>,
    joins: Vec<(SocketAddr, Vec<u8>)>,
    count: u32,
}

impl Flood {
    /// One more JOIN, and one more HELLO.
    fn pretend(&mut self) {
        self.count += 1;
        let Some(announce) = &self.announce else {
            return;
        };
        let (receiver, mut hello) = fake(self.count, announce, self.now);
        let addr = fake_addr(self.count);
        self.sender.handle_datagram(self.now, addr, &mut hello);
        if self.count <= FAKES {
            self.asking.insert(addr, receiver);
        }
        if let Some((addr, join)) = self
            .joins
            .get(self.count as usize % self.joins.len().max(1))
        {
            self.sender
                .handle_datagram(self.now, *addr, &mut join.clone());
        }
    }

    /// A made-up receiver is answered.
    fn answered(&mut self, addr: SocketAddr, datagram: &mut [u8]) {
        if let Some(mut receiver) = self.asking.remove(&addr) {
            receiver.handle_datagram(self.now, sender_addr(), datagram);
            let mut join = Vec::new();
            receiver.poll_transmit(self.now, &mut join).unwrap();
            self.joins.push((addr, join));
        }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        let now = self.now;
        self.sender.handle_timeout(now);
        self.receiver.handle_timeout(now);
        let mut buf = Vec::new();
        while let Some(transmit) = self.sender.poll_transmit(now, &mut buf) {
            match transmit.to {
                Target::Group if self.announce.is_none() => self.announce = Some(buf.clone()),
                Target::Peer(addr) if addr != RECEIVER.into() => {
                    self.answered(addr, &mut buf);
                    continue;
                }
                Target::Group | Target::Peer(_) => {}
            }
            // The flood is under way when the receiver comes.
            for datagram in buf.chunks_mut(transmit.segment).filter(|_| now >= COMES) {
                self.receiver.handle_datagram(now, sender_addr(), datagram);
            }
        }
        while let Some(delivery) = self.receiver.pull(now) {
            self.receiver.recycle(delivery.buf);
        }
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Joined { .. } => self.joined = Some(now),
                ReceiverEvent::Complete { .. } => self.receiver.consumed(now),
                ReceiverEvent::Ended(end) => self.ends.1 = Some(end),
                _ => {}
            }
        }
        // Its datagrams come anywhere among theirs.
        let turn = self.count.wrapping_mul(0x9e37_79b9) / 65_536 % 10;
        for n in 0..10 {
            self.pretend();
            while n == turn && self.receiver.poll_transmit(now, &mut buf).is_some() {
                self.sender.handle_datagram(now, RECEIVER.into(), &mut buf);
            }
        }
        while let Some(event) = self.sender.poll_event() {
            if let SenderEvent::Ended(end) = event {
                self.ends.0 = Some(end);
            }
        }
    }
}

#[test]
fn made_up_receivers_neither_keep_a_real_one_out_nor_hold_it_up() {
    let now = Instant::from_us(1);
    let config = SenderConfig {
        receivers: 1,
        memory: 4 << 20,
        ..SenderConfig::default()
    };
    let mut flood = Flood {
        now,
        sender: Sender::new(config, [1; 32], now),
        receiver: Receiver::new(ReceiverConfig::default(), [2; 32], now),
        joined: None,
        ends: (None, None),
        announce: None,
        asking: HashMap::new(),
        joins: Vec::new(),
        count: 0,
    };
    let (data, mut left) = (vec![5; 100_000], 200);
    while flood.ends.0.is_none() || flood.ends.1.is_none() {
        flood.step();
        let pushed = left > 0 && flood.sender.push(&data) == data.len();
        left -= i32::from(pushed);
        if left == 0 {
            flood.sender.finish();
        }
        assert!(
            flood.now < Instant::from_us(40_000_000),
            "{:?}",
            flood.joined
        );
    }
    assert_eq!(flood.ends.0, Some(SenderEnd::Complete));
    assert_eq!(flood.ends.1, Some(ReceiverEnd::Complete));
    assert_eq!(flood.sender.members().len(), 1);
    assert!(flood.joins.len() as u32 == FAKES, "{}", flood.joins.len());
    println!("joined at {:?}, over at {:?}", flood.joined, flood.now);
}
