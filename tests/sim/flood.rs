//! Made-up receivers in great number: they may cost a real one time, nothing more.

use std::net::SocketAddr;

use sealcast::proto::{
    Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, Sender, SenderConfig, SenderEnd,
    SenderEvent, Target,
};
use sealcast::units::{Duration, Instant};

/// Made-up receivers whose JOINs are sent again and again.
const FAKES: usize = 3_000;
const COMES: Instant = Instant::from_us(3_000_000);
const STEP: Duration = Duration::from_ms(1);

fn fake_joins(announce: &[u8], from: SocketAddr, now: Instant) -> Vec<Vec<u8>> {
    (0..FAKES)
        .map(|n| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&n.to_be_bytes());
            let mut receiver = Receiver::new(ReceiverConfig::default(), seed, now);
            receiver.handle_datagram(now, from, &mut announce.to_vec());
            let mut join = Vec::new();
            receiver.poll_transmit(now, &mut join).unwrap();
            join
        })
        .collect()
}

/// A real receiver beside 10,000 JOINs a second of made-up ones, from as many addresses.
struct Siege {
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    /// When it joined.
    joined: Option<Instant>,
    ends: (Option<SenderEnd>, Option<ReceiverEnd>),
    joins: Vec<Vec<u8>>,
    count: usize,
}

impl Siege {
    /// One more JOIN of somebody who is not there.
    fn pretend(&mut self) {
        self.count += 1;
        let n = self.count as u32;
        let from = SocketAddr::from((n.wrapping_mul(0x9e37_79b9).to_be_bytes(), 1));
        let mut join = self.joins[self.count % FAKES].clone();
        self.sender.handle_datagram(self.now, from, &mut join);
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        let (now, sender_addr) = (self.now, SocketAddr::from(([10, 0, 0, 1], 1)));
        self.sender.handle_timeout(now);
        self.receiver.handle_timeout(now);
        let mut buf = Vec::new();
        while let Some(transmit) = self.sender.poll_transmit(now, &mut buf) {
            if transmit.to == Target::Group && self.joins.is_empty() {
                self.joins = fake_joins(&buf, sender_addr, now);
            }
            // The siege is under way when the receiver comes.
            for datagram in buf.chunks_mut(transmit.segment).filter(|_| now >= COMES) {
                self.receiver.handle_datagram(now, sender_addr, datagram);
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
        let turn = self.count / 10 * 7_919 % 10;
        for n in 0..10 {
            self.pretend();
            while n == turn && self.receiver.poll_transmit(now, &mut buf).is_some() {
                let from = SocketAddr::from(([10, 0, 0, 2], 1));
                self.sender.handle_datagram(now, from, &mut buf);
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
    let mut siege = Siege {
        now,
        sender: Sender::new(config, [1; 32], now),
        receiver: Receiver::new(ReceiverConfig::default(), [2; 32], now),
        joined: None,
        ends: (None, None),
        joins: Vec::new(),
        count: 0,
    };
    let (data, mut left) = (vec![5; 100_000], 200);
    while siege.ends.0.is_none() || siege.ends.1.is_none() {
        siege.step();
        let pushed = left > 0 && siege.sender.push(&data) == data.len();
        left -= i32::from(pushed);
        if left == 0 {
            siege.sender.finish();
        }
        assert!(
            siege.now < Instant::from_us(40_000_000),
            "{:?}",
            siege.joined
        );
    }
    assert_eq!(siege.ends.0, Some(SenderEnd::Complete));
    assert_eq!(siege.ends.1, Some(ReceiverEnd::Complete));
    assert_eq!(siege.sender.members().len(), 1);
    println!("joined at {:?}, over at {:?}", siege.joined, siege.now);
}
