//! The nodes, the datagrams between them, and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sealcast::proto::limits::IP_UDP_LEN;
use sealcast::proto::{
    Receiver, ReceiverEnd, ReceiverEvent, Sender, SenderEnd, SenderEvent, SenderStats, Target,
};
use sealcast::units::{Duration, Instant};
use sealcast::wire::{AbortReason, show};

use crate::link::{Bottleneck, Path};
use crate::plan::Plan;

/// Everything must be over by then.
pub const DEADLINE: Instant = Instant::from_us(600_000_000);

/// The sender is node 0, receivers follow.
type Node = usize;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake(Node),
    Arrive {
        to: Node,
        from: Node,
        bytes: Vec<u8>,
    },
    /// Reaches every receiver at this moment, but for losses.
    Spread(Vec<u8>),
}

/// A receiver and its consumer.
pub struct Listener {
    pub receiver: Receiver,
    /// Bytes that it handed out, all of them those that were sent,
    pub taken: usize,
    /// or not.
    pub wrong: bool,
    busy_until: Instant,
    complete: bool,
    pub end: Option<ReceiverEnd>,
    /// When it had everything.
    pub done_at: Instant,
    pub crashed: bool,
}

pub struct World {
    pub plan: Plan,
    pub payload: Vec<u8>,
    pushed: usize,
    pub sender: Sender,
    pub sender_end: Option<SenderEnd>,
    pub sender_crashed: bool,
    finished: bool,
    pub listeners: Vec<Listener>,
    to: Vec<Path>,
    from: Vec<Path>,
    bottleneck: Bottleneck,
    ports: Vec<Option<Bottleneck>>,
    /// Datagrams that found a queue full.
    pub overflowed: u64,
    /// When and how many bytes the sender handed over, with their headers.
    pub sent: Vec<(Instant, u64)>,
    rng: StdRng,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, What)>>,
    wakes: Vec<Option<Instant>>,
    count: u64,
    hash: DefaultHasher,
    trace: bool,
}

fn addr(node: Node) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 9_000))
}

fn node(addr: SocketAddr) -> Node {
    match addr {
        SocketAddr::V4(v4) => (u32::from(*v4.ip()) & 0xffff) as Node,
        SocketAddr::V6(_) => unreachable!("all nodes have IPv4 addresses"),
    }
}

impl World {
    pub fn new(plan: Plan, trace: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed ^ 0x77);
        let mut seed = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let sender = Sender::new(plan.sender.clone(), seed(), Instant::ZERO);
        let listeners: Vec<Listener> = plan
            .receivers
            .iter()
            .map(|r| Listener {
                receiver: Receiver::new(r.config.clone(), seed(), r.starts + r.skew),
                taken: 0,
                wrong: false,
                busy_until: Instant::ZERO,
                complete: false,
                end: None,
                done_at: Instant::ZERO,
                crashed: false,
            })
            .collect();
        let mut payload = vec![0; plan.payload];
        rng.fill_bytes(&mut payload);
        let mut world = Self {
            to: plan
                .receivers
                .iter()
                .map(|r| Path::new(r.to.clone()))
                .collect(),
            from: plan
                .receivers
                .iter()
                .map(|r| Path::new(r.from.clone()))
                .collect(),
            bottleneck: Bottleneck::new(plan.link_rate, plan.link_queue),
            ports: plan
                .receivers
                .iter()
                .map(|r| r.port.map(|(rate, queue)| Bottleneck::new(rate, queue)))
                .collect(),
            overflowed: 0,
            sent: Vec::new(),
            wakes: vec![None; listeners.len() + 1],
            payload,
            pushed: 0,
            sender,
            sender_end: None,
            sender_crashed: false,
            finished: false,
            listeners,
            rng,
            now: Instant::ZERO,
            queue: BinaryHeap::new(),
            count: 0,
            hash: DefaultHasher::new(),
            trace,
            plan,
        };
        world.schedule(Instant::ZERO, What::Wake(0));
        for (i, r) in world.plan.receivers.clone().iter().enumerate() {
            world.schedule(r.starts, What::Wake(i + 1));
            if let Some(at) = r.crashes {
                world.schedule(at, What::Wake(i + 1));
            }
        }
        let moments = [world.plan.sender_crashes, world.plan.sender_aborts];
        for at in moments.into_iter().flatten() {
            world.schedule(at, What::Wake(0));
        }
        world
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub fn sender_stats(&self) -> SenderStats {
        self.sender.stats()
    }

    fn sender_is_over(&self) -> bool {
        self.sender_crashed || self.sender_end.is_some()
    }

    pub fn is_over(&self) -> bool {
        self.sender_is_over() && self.listeners.iter().all(|l| l.crashed || l.end.is_some())
    }

    fn schedule(&mut self, at: Instant, what: What) {
        self.count += 1;
        self.queue
            .push(Reverse((at.max(self.now), self.count, what)));
    }

    /// Runs until all is over, or the deadline.
    pub fn run(&mut self) {
        self.run_until(|_| false);
    }

    /// Runs until all is over, or the deadline, or `stop` says so.
    pub fn run_until(&mut self, stop: impl Fn(&Self) -> bool) {
        while let Some(Reverse((at, _, what))) = self.queue.pop() {
            self.now = at;
            if at > DEADLINE || (self.sender_is_over() && self.is_over()) {
                break;
            }
            if stop(self) {
                self.schedule(at, what);
                break;
            }
            let node = match what {
                What::Spread(bytes) => {
                    if self.trace {
                        println!("{:>10} 0 -> all: {}", at.as_us(), show(&bytes));
                    }
                    self.spread(&bytes);
                    continue;
                }
                What::Wake(node) => {
                    if self.wakes[node].is_some_and(|w| w <= at) {
                        self.wakes[node] = None;
                    }
                    self.wake(node);
                    node
                }
                What::Arrive {
                    to,
                    from,
                    mut bytes,
                } => {
                    self.hash.write_u64(at.as_us());
                    self.hash.write(&bytes);
                    if self.trace {
                        println!("{:>10} {from} -> {to}: {}", at.as_us(), show(&bytes));
                    }
                    self.arrive(to, from, &mut bytes);
                    to
                }
            };
            self.pump(node);
        }
    }

    /// Time as a receiver's clock shows it.
    fn local(&self, node: Node) -> Instant {
        self.now + self.plan.receivers[node - 1].skew
    }

    fn wake(&mut self, node: Node) {
        if node == 0 {
            if self.plan.sender_crashes.is_some_and(|at| at <= self.now) {
                self.sender_crashed = true;
            } else if self.plan.sender_aborts.is_some_and(|at| at <= self.now) {
                self.sender
                    .abort(self.now, AbortReason::Interrupted, "planned");
            }
            self.sender.handle_timeout(self.now);
            return;
        }
        let plan = &self.plan.receivers[node - 1];
        let (started, crash) = (plan.starts <= self.now, plan.crashes);
        let now = self.local(node);
        let listener = &mut self.listeners[node - 1];
        listener.crashed |= crash.is_some_and(|at| at <= self.now);
        if started && !listener.crashed {
            listener.receiver.handle_timeout(now);
        }
    }

    fn arrive(&mut self, to: Node, from: Node, bytes: &mut [u8]) {
        if to == 0 {
            if !self.sender_crashed {
                self.sender.handle_datagram(self.now, addr(from), bytes);
            }
            return;
        }
        let now = self.local(to);
        let started = self.plan.receivers[to - 1].starts <= self.now;
        let listener = &mut self.listeners[to - 1];
        if started && !listener.crashed && listener.end.is_none() {
            listener.receiver.handle_datagram(now, addr(from), bytes);
        }
    }

    fn spread(&mut self, bytes: &[u8]) {
        let mut copy = Vec::new();
        for to in 1..=self.listeners.len() {
            if !self.to[to - 1].loses(self.now, &mut self.rng) {
                copy.clear();
                copy.extend_from_slice(bytes);
                self.arrive(to, 0, &mut copy);
                self.pump_receiver(to, &mut copy);
            }
        }
    }

    fn pump(&mut self, node: Node) {
        let mut buf = Vec::new();
        if node == 0 {
            self.pump_sender(&mut buf);
        } else {
            self.pump_receiver(node, &mut buf);
        }
    }

    /// Bytes of the payload that the input has given so far: half of it at once, the rest later.
    fn available(&self) -> (usize, Option<Instant>) {
        let resume = Instant::ZERO + self.plan.input_pause;
        if self.now >= resume {
            (self.payload.len(), None)
        } else {
            (self.payload.len() / 2, Some(resume))
        }
    }

    fn pump_sender(&mut self, buf: &mut Vec<u8>) {
        if self.sender_crashed {
            return;
        }
        loop {
            let (available, _) = self.available();
            self.pushed += self.sender.push(&self.payload[self.pushed..available]);
            if self.pushed == self.payload.len() && !self.finished {
                self.finished = true;
                self.sender.finish();
            }
            let Some(transmit) = self.sender.poll_transmit(self.now, buf) else {
                break;
            };
            for datagram in buf.chunks(transmit.segment) {
                match transmit.to {
                    Target::Group => {
                        let bytes = (datagram.len() + IP_UDP_LEN) as u64;
                        self.sent.push((self.now, bytes));
                        let Some(at) = self.bottleneck.pass(self.now, bytes) else {
                            self.overflowed += 1;
                            continue;
                        };
                        if let Some(delay) = self.plan.alike {
                            self.schedule(at + delay, What::Spread(datagram.to_vec()));
                            continue;
                        }
                        for to in 1..=self.listeners.len() {
                            self.carry(at, 0, to, datagram);
                        }
                    }
                    Target::Peer(peer) => self.carry(self.now, 0, node(peer), datagram),
                }
            }
        }
        while let Some(event) = self.sender.poll_event() {
            if self.trace {
                println!("{:>10} sender: {event:?}", self.now.as_us());
            }
            if let SenderEvent::Ended(end) = event {
                self.sender_end = Some(end);
            }
        }
        let resume = self.available().1;
        let next = self.sender.poll_timeout().into_iter().chain(resume).min();
        self.wake_at(0, next);
    }

    fn carry(&mut self, at: Instant, from: Node, to: Node, datagram: &[u8]) {
        let receiver = from.max(to) - 1;
        if self.plan.receivers[receiver]
            .cut
            .is_some_and(|(b, e)| b <= at && at < e)
        {
            return;
        }
        let mut at = at;
        if let Some(port) = self.ports[receiver].as_mut().filter(|_| from == 0) {
            let Some(passed) = port.pass(at, (datagram.len() + IP_UDP_LEN) as u64) else {
                self.overflowed += 1;
                return;
            };
            at = passed;
        }
        let path = if from == 0 {
            &mut self.to[receiver]
        } else {
            &mut self.from[receiver]
        };
        for (delay, bytes) in path.carry(at, datagram, self.plan.drop_first, &mut self.rng) {
            self.schedule(at + delay, What::Arrive { to, from, bytes });
        }
    }

    fn pump_receiver(&mut self, node: Node, buf: &mut Vec<u8>) {
        let skew = self.plan.receivers[node - 1].skew;
        let now = self.local(node);
        let consumer = self.plan.receivers[node - 1].consumer;
        if self.listeners[node - 1].crashed || self.plan.receivers[node - 1].starts > self.now {
            return;
        }
        let mut outgoing = Vec::new();
        let pause = self.plan.receivers[node - 1].pause;
        let listener = &mut self.listeners[node - 1];
        if let Some((_, end)) = pause.filter(|&(from, to)| from <= self.now && self.now < to) {
            listener.busy_until = listener.busy_until.max(end);
        }
        while listener.busy_until <= self.now
            && let Some(delivery) = listener.receiver.pull(now)
        {
            let data = &delivery.buf[..delivery.len];
            listener.wrong |= !self.payload[listener.taken..].starts_with(data);
            listener.taken += delivery.len;
            listener.done_at = self.now;
            if let Some(rate) = consumer {
                listener.busy_until = self.now + rate.time_for(delivery.len as u64);
            }
            listener.receiver.recycle(delivery.buf);
        }
        let mut to = 0;
        loop {
            while let Some(transmit) = listener.receiver.poll_transmit(now, buf) {
                assert_eq!(transmit.to, Target::Peer(addr(0)));
                outgoing.push(buf.clone());
            }
            while let Some(event) = listener.receiver.poll_event() {
                if self.trace {
                    println!("{:>10} receiver {node}: {event:?}", self.now.as_us());
                }
                match event {
                    ReceiverEvent::Complete { .. } => listener.complete = true,
                    ReceiverEvent::Ended(end) => listener.end = Some(end),
                    _ => {}
                }
            }
            // The consumer confirms once it has swallowed its last bite.
            if listener.complete && listener.busy_until <= self.now && to == 0 {
                to = 1;
                listener.receiver.consumed(now);
            } else {
                break;
            }
        }
        let busy = Some(listener.busy_until).filter(|&at| at > self.now && listener.end.is_none());
        let timeout = listener.receiver.poll_timeout();
        let timeout = timeout.map(|t| Instant::ZERO + t.since(Instant::ZERO + skew));
        self.wake_at(node, timeout.into_iter().chain(busy).min());
        for datagram in outgoing {
            self.carry(self.now, node, 0, &datagram);
        }
    }

    fn wake_at(&mut self, node: Node, at: Option<Instant>) {
        let Some(at) = at else { return };
        // A wake-up in the past would stop time.
        let at = if at <= self.now {
            self.now + Duration::from_us(1)
        } else {
            at
        };
        if self.wakes[node].is_none_or(|set| set > at) {
            self.wakes[node] = Some(at);
            self.schedule(at, What::Wake(node));
        }
    }
}
