//! The nodes, the datagrams between them, and the clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sealcast::proto::config::{Series, StartTimeout};
use sealcast::proto::limits::{IP_UDP_LEN, SOCKET_COST};
use sealcast::proto::{
    MemberReport, PassedOver, Receiver, ReceiverEnd, ReceiverEvent, Sender, SenderConfig,
    SenderEnd, SenderEvent, SenderStats, Target,
};
use sealcast::units::{Duration, Instant};
use sealcast::wire::{AbortReason, LeaveReason, show};

use crate::link::{Bottleneck, Path};
use crate::plan::{Fault, Plan, SenderFault, Way};

/// Everything must be over by then.
pub const DEADLINE: Instant = Instant::from_us(600_000_000);

/// A further pass starts after this time at the latest.
const PASS_WAIT: Duration = Duration::from_secs(5);

/// Bytes of the sender's socket buffer.
const SENDER_SOCKET: u64 = 1 << 20;

/// The sender is node 0, receivers follow.
type Node = usize;

/// Where an attacker is who records datagrams.
const ATTACKER: ([u8; 4], u16) = ([10, 1, 0, 1], 666);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake(Node),
    /// This one of the node's faults happens.
    Happens(Node, usize),
    /// Another process comes after this one of the node's faults.
    Restarts(Node, usize),
    Arrive {
        to: Node,
        /// The port that it is for, unless it is for the group.
        port: Option<u16>,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Reaches every receiver at this moment, but for losses.
    Spread(Vec<u8>),
}

/// What a socket holds for a process that does not run.
#[derive(Default)]
struct Inbox {
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    bytes: u64,
}

impl Inbox {
    /// Keeps a datagram, if there is room.
    fn push(&mut self, from: SocketAddr, bytes: Vec<u8>, room: u64) {
        let cost = SOCKET_COST * (bytes.len() as u64).div_ceil(1_500);
        if self.bytes + cost <= room {
            self.bytes += cost;
            self.datagrams.push_back((from, bytes));
        }
    }

    fn take(&mut self) -> VecDeque<(SocketAddr, Vec<u8>)> {
        self.bytes = 0;
        std::mem::take(&mut self.datagrams)
    }
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
    /// Its consumer has ended well, which is told to the sender.
    pub confirmed: bool,
    pub end: Option<ReceiverEnd>,
    /// When it had everything.
    pub done_at: Instant,
    pub ended_at: Instant,
    pub joined_at: Option<Instant>,
    /// It was told to wait for another session.
    pub waited: bool,
    /// A one-way session sends more at once than it can hold.
    pub lacks_memory: bool,
    /// Its process runs, or sleeps.
    pub is_there: bool,
    /// An earlier process at this place had everything.
    pub had_all: bool,
    port: u16,
    inbox: Inbox,
}

impl Listener {
    fn new(receiver: Receiver, port: u16) -> Self {
        Self {
            receiver,
            taken: 0,
            wrong: false,
            busy_until: Instant::ZERO,
            complete: false,
            confirmed: false,
            end: None,
            done_at: Instant::ZERO,
            ended_at: Instant::ZERO,
            joined_at: None,
            waited: false,
            lacks_memory: false,
            is_there: false,
            had_all: false,
            port,
            inbox: Inbox::default(),
        }
    }
}

/// A session that is over, or whose sender crashed.
pub struct Past {
    pub end: Option<SenderEnd>,
    pub members: Vec<MemberReport>,
    pub started_at: Option<Instant>,
    pub ended_at: Instant,
}

pub struct World {
    pub plan: Plan,
    pub payload: Vec<u8>,
    pushed: usize,
    pub sender: Sender,
    pub sender_end: Option<SenderEnd>,
    started_at: Option<Instant>,
    /// The process of the sender runs, or sleeps.
    sender_is_there: bool,
    finished: bool,
    /// How the next session is configured.
    series: SenderConfig,
    repeats: u32,
    pub past: Vec<Past>,
    /// No process starts after this.
    last_start: Instant,
    inbox: Inbox,
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

fn seed(rng: &mut StdRng) -> [u8; 32] {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}

fn addr(node: Node, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], port))
}

const PORT: u16 = 9_000;

/// The node at an address, and its port.
pub fn node(addr: SocketAddr) -> Option<(Node, u16)> {
    match addr {
        SocketAddr::V4(v4) => {
            let [_, net, high, low] = v4.ip().octets();
            let node = usize::from(high) << 8 | usize::from(low);
            (net == 0).then_some((node, v4.port()))
        }
        SocketAddr::V6(_) => unreachable!("all nodes have IPv4 addresses"),
    }
}

impl World {
    pub fn new(plan: Plan, trace: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed ^ 0x77);
        let sender = Sender::new(plan.sender.clone(), seed(&mut rng), Instant::ZERO);
        let receivers = || plan.receivers.iter();
        let new = |r: &crate::plan::ReceiverPlan| {
            let receiver = Receiver::new(r.config.clone(), seed(&mut rng), r.starts + r.skew);
            Listener::new(receiver, PORT)
        };
        let listeners: Vec<Listener> = receivers().map(new).collect();
        let port = |(rate, queue)| Bottleneck::new(rate, queue);
        let mut payload = vec![0; plan.payload];
        rng.fill_bytes(&mut payload);
        let mut world = Self {
            to: receivers().map(|r| Path::new(&r.to)).collect(),
            from: receivers().map(|r| Path::new(&r.from)).collect(),
            ports: receivers().map(|r| r.port.map(port)).collect(),
            bottleneck: Bottleneck::new(plan.link_rate, plan.link_queue),
            overflowed: 0,
            sent: Vec::new(),
            wakes: vec![None; listeners.len() + 1],
            payload,
            pushed: 0,
            sender,
            sender_end: None,
            started_at: None,
            sender_is_there: true,
            finished: false,
            series: plan.sender.clone(),
            repeats: plan.repeats,
            past: Vec::new(),
            last_start: plan.last_start(),
            inbox: Inbox::default(),
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
        world.schedule_faults();
        world
    }

    fn schedule_faults(&mut self) {
        for (n, fault) in self.plan.sender_faults.clone().into_iter().enumerate() {
            let at = match fault {
                SenderFault::Crash { at, restart } => {
                    if let Some(restart) = restart {
                        self.schedule(restart, What::Restarts(0, n));
                    }
                    at
                }
                SenderFault::Abort(at) => at,
                SenderFault::Sleep(span) => span.to,
            };
            self.schedule(at, What::Happens(0, n));
        }
        for (i, plan) in self.plan.receivers.clone().into_iter().enumerate() {
            self.schedule(plan.starts, What::Wake(i + 1));
            for (n, fault) in plan.faults.into_iter().enumerate() {
                let at = match fault {
                    Fault::Crash { at, restart, .. } => {
                        if let Some(restart) = restart {
                            self.schedule(restart, What::Restarts(i + 1, n));
                        }
                        at
                    }
                    Fault::Moves(at) | Fault::Leaves(at) => at,
                    Fault::Sleep(span) => span.to,
                    Fault::Cut { .. } | Fault::Pause(_) | Fault::Works(_) => continue,
                };
                self.schedule(at, What::Happens(i + 1, n));
            }
        }
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

    pub fn is_over(&self) -> bool {
        !self.sender_is_there && self.listeners.iter().all(|l| !l.is_there)
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
            // What is left over does not move the clock.
            if self.is_over() && at > self.last_start {
                break;
            }
            self.now = at;
            if at > DEADLINE {
                break;
            }
            if stop(self) {
                self.schedule(at, what);
                break;
            }
            self.step(what);
        }
    }

    fn step(&mut self, what: What) {
        let at = self.now.as_us();
        let node = match what {
            What::Spread(bytes) => {
                if self.trace {
                    println!("{at:>10} 0 -> all: {}", show(&bytes));
                }
                return self.spread(&bytes);
            }
            What::Wake(node) => {
                if self.wakes[node].is_some_and(|w| w <= self.now) {
                    self.wakes[node] = None;
                }
                self.wake(node);
                node
            }
            What::Happens(node, n) => {
                if self.trace {
                    println!("{at:>10} {node}: fault {n}");
                }
                self.happens(node, n);
                node
            }
            What::Restarts(node, n) => {
                self.restart(node, n);
                node
            }
            What::Arrive {
                to,
                port,
                from,
                bytes,
            } => {
                if to > 0 && port.is_some_and(|port| port != self.listeners[to - 1].port) {
                    return;
                }
                self.hash.write_u64(at);
                self.hash.write(&bytes);
                if self.trace {
                    println!("{at:>10} {from} -> {to}: {}", show(&bytes));
                }
                self.arrive(to, from, bytes);
                to
            }
        };
        self.pump(node);
    }

    /// Time as a receiver's clock shows it.
    fn local(&self, node: Node) -> Instant {
        self.now + self.plan.receivers[node - 1].skew
    }

    /// Whether a process runs that could do something.
    fn runs(&self, node: Node) -> bool {
        if node == 0 {
            let sleep = self.plan.sender_sleep();
            return self.sender_is_there && sleep.is_none_or(|span| !span.contains(self.now));
        }
        let plan = &self.plan.receivers[node - 1];
        self.listeners[node - 1].is_there && plan.sleeps_until(self.now).is_none()
    }

    fn wake(&mut self, node: Node) {
        if node > 0 {
            let plan = &self.plan.receivers[node - 1];
            let listener = &mut self.listeners[node - 1];
            // It begins.
            if plan.starts == self.now && listener.end.is_none() {
                listener.is_there = true;
            }
        }
        if !self.runs(node) {
            return;
        }
        if node == 0 {
            return self.sender.handle_timeout(self.now);
        }
        let now = self.local(node);
        self.listeners[node - 1].receiver.handle_timeout(now);
    }

    /// A fault begins, or, if it is a sleep, ends.
    fn happens(&mut self, node: Node, n: usize) {
        if node == 0 {
            match self.plan.sender_faults[n] {
                SenderFault::Crash { .. } if self.sender_is_there => self.sender_goes(),
                SenderFault::Abort(_) if self.sender_is_there => {
                    self.repeats = 0;
                    let reason = AbortReason::Interrupted;
                    self.sender.abort(self.now, reason, "planned");
                }
                SenderFault::Crash { .. } | SenderFault::Abort(_) => {}
                SenderFault::Sleep(_) => {
                    for (from, bytes) in self.inbox.take() {
                        self.arrive(0, from, bytes);
                    }
                    self.wake(0);
                }
            }
            return;
        }
        let now = self.local(node);
        let fault = self.plan.receivers[node - 1].faults[n];
        let listener = &mut self.listeners[node - 1];
        match fault {
            Fault::Crash { .. } => listener.is_there = false,
            Fault::Moves(_) => listener.port += 1,
            Fault::Leaves(_) if listener.is_there => {
                listener.receiver.leave(now, LeaveReason::Interrupted);
            }
            Fault::Sleep(_) => {
                for (from, bytes) in listener.inbox.take() {
                    self.arrive(node, from, bytes);
                }
                self.wake(node);
            }
            _ => {}
        }
    }

    /// Another process takes the place of one that crashed.
    fn restart(&mut self, node: Node, n: usize) {
        let seed = seed(&mut self.rng);
        if node == 0 {
            // One that had done its work is not started again.
            if self.sender_end.is_none() && !self.sender_is_there {
                self.series = self.plan.sender.clone();
                self.begin_session(seed);
            }
            return;
        }
        let now = self.local(node);
        let plan = &self.plan.receivers[node - 1];
        let old = &mut self.listeners[node - 1];
        let same_port = matches!(
            plan.faults[n],
            Fault::Crash {
                same_port: true,
                ..
            }
        );
        if plan.starts > self.now || old.end.is_some() || old.is_there {
            return;
        }
        let port = old.port + u16::from(!same_port);
        let had_all = old.had_all || (old.confirmed && old.taken == self.payload.len());
        let receiver = Receiver::new(plan.config.clone(), seed, now);
        let wrong = old.wrong;
        *old = Listener::new(receiver, port);
        (old.is_there, old.had_all, old.wrong) = (true, had_all, wrong);
    }

    fn begin_session(&mut self, seed: [u8; 32]) {
        self.sender = Sender::new(self.series.clone(), seed, self.now);
        (self.pushed, self.finished) = (0, false);
        (self.sender_end, self.started_at) = (None, None);
        self.sender_is_there = true;
        self.schedule(self.now, What::Wake(0));
    }

    /// The sender's process is gone, or its session is over.
    fn sender_goes(&mut self) {
        self.sender_is_there = false;
        self.past.push(Past {
            end: self.sender_end,
            members: self.sender.members(),
            started_at: self.started_at,
            ended_at: self.now,
        });
    }

    /// The session is over: another pass follows if receivers wait, or for whoever comes.
    fn session_over(&mut self) {
        self.sender_goes();
        let waiting = self.sender.waiting_for_next(self.now);
        let stopped = matches!(self.sender_end, Some(SenderEnd::Aborted(_)));
        let goes_on = waiting > 0 && self.series.series.next_pass.takes_late();
        if stopped || !goes_on && self.repeats == 0 {
            return;
        }
        let before = self.series.series;
        let series = Series {
            id: Some(self.sender.series()),
            number: before.number + 1,
            end: before.end.or(self.sender.stream_end()),
            ..before
        };
        self.series = SenderConfig {
            series,
            ..self.plan.sender.clone()
        };
        if goes_on {
            self.series.receivers = waiting;
            self.series.min_wait = Duration::ZERO;
            self.series.max_wait = None;
            self.series.start_timeout = Some(PASS_WAIT);
            self.series.at_start_timeout = StartTimeout::StartAnyway;
        } else {
            self.repeats -= 1;
        }
        let seed = seed(&mut self.rng);
        self.begin_session(seed);
    }

    fn arrive(&mut self, to: Node, from: SocketAddr, mut bytes: Vec<u8>) {
        let runs = self.runs(to);
        if to == 0 {
            if runs {
                self.sender.handle_datagram(self.now, from, &mut bytes);
            } else if self.sender_is_there {
                self.inbox.push(from, bytes, SENDER_SOCKET);
            }
            return;
        }
        let now = self.local(to);
        let room = self.plan.receivers[to - 1].config.socket_bytes.into();
        let listener = &mut self.listeners[to - 1];
        if runs {
            listener.receiver.handle_datagram(now, from, &mut bytes);
        } else if listener.is_there {
            listener.inbox.push(from, bytes, room);
        }
    }

    fn spread(&mut self, bytes: &[u8]) {
        let mut buf = Vec::new();
        for to in 1..=self.listeners.len() {
            if !self.to[to - 1].loses(self.now, &mut self.rng) {
                self.arrive(to, addr(0, PORT), bytes.to_vec());
                self.pump_receiver(to, &mut buf);
            }
        }
    }

    fn pump(&mut self, node: Node) {
        let mut buf = Vec::new();
        if !self.runs(node) {
            return;
        }
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
                    Target::Group => self.carry_to_group(datagram),
                    Target::Peer(peer) => {
                        if let Some((to, port)) = node(peer) {
                            self.carry(self.now, addr(0, PORT), (to, Some(port)), datagram);
                        }
                    }
                }
            }
        }
        while let Some(event) = self.sender.poll_event() {
            if self.trace {
                println!("{:>10} sender: {event:?}", self.now.as_us());
            }
            match event {
                SenderEvent::Ended(end) => self.sender_end = Some(end),
                SenderEvent::Started { .. } => self.started_at = Some(self.now),
                _ => {}
            }
        }
        if self.sender_end.is_some() && self.sender.is_done() {
            return self.session_over();
        }
        let resume = self.available().1;
        let next = self.sender.poll_timeout().into_iter().chain(resume).min();
        self.wake_at(0, next);
    }

    fn carry_to_group(&mut self, datagram: &[u8]) {
        let bytes = (datagram.len() + IP_UDP_LEN) as u64;
        self.sent.push((self.now, bytes));
        let Some(at) = self.bottleneck.pass(self.now, bytes) else {
            self.overflowed += 1;
            return;
        };
        if let Some(delay) = self.plan.alike {
            return self.schedule(at + delay, What::Spread(datagram.to_vec()));
        }
        for to in 1..=self.listeners.len() {
            self.carry(at, addr(0, PORT), (to, None), datagram);
        }
    }

    fn carry(
        &mut self,
        mut at: Instant,
        from: SocketAddr,
        (to, port): (Node, Option<u16>),
        datagram: &[u8],
    ) {
        if self.plan.replays > 0.0 && self.rng.random_bool(self.plan.replays) {
            self.record(at, from, (to, port), datagram);
        }
        let way = match to {
            0 => Way::FromReceiver,
            _ => Way::ToReceiver,
        };
        let receiver = to.max(node(from).map_or(0, |(node, _)| node)) - 1;
        if self.plan.receivers[receiver].is_cut(at, way) {
            return;
        }
        if let Some(port) = self.ports[receiver].as_mut().filter(|_| to > 0) {
            let Some(passed) = port.pass(at, (datagram.len() + IP_UDP_LEN) as u64) else {
                self.overflowed += 1;
                return;
            };
            at = passed;
        }
        let path = match way {
            Way::ToReceiver => &mut self.to[receiver],
            Way::FromReceiver => &mut self.from[receiver],
        };
        for (delay, bytes) in path.carry(at, datagram, self.plan.drop_first, &mut self.rng) {
            let what = What::Arrive {
                to,
                port,
                from,
                bytes,
            };
            self.schedule(at + delay, what);
        }
    }

    /// An attacker records a datagram, and sends it again, soon or much later: in the name of its
    /// sender, or in its own; to the same node, or to another.
    fn record(
        &mut self,
        at: Instant,
        from: SocketAddr,
        (to, port): (Node, Option<u16>),
        datagram: &[u8],
    ) {
        for _ in 0..self.rng.random_range(1..=3) {
            let delay = 50_000.0 * 1_000_f64.powf(self.rng.random());
            let (to, port) = match (to, self.rng.random_bool(0.2)) {
                (0, _) | (_, false) => (to, port),
                (_, true) => (self.rng.random_range(1..=self.listeners.len()), None),
            };
            // Where the attacker is, the last leg is the same.
            let swallows = match to {
                0 => None,
                _ => self.plan.receivers[to - 1].to.swallows_over,
            };
            if swallows.is_some_and(|most| datagram.len() > most) {
                continue;
            }
            let what = What::Arrive {
                to,
                port,
                from: match self.rng.random_bool(0.5) {
                    true => from,
                    false => ATTACKER.into(),
                },
                bytes: datagram.to_vec(),
            };
            self.schedule(at + Duration::from_us(delay as u64), what);
        }
    }

    /// The consumer takes what it can.
    fn consume(&mut self, node: Node) {
        let now = self.local(node);
        let plan = &self.plan.receivers[node - 1];
        let listener = &mut self.listeners[node - 1];
        if let Some(end) = plan.pauses_until(self.now) {
            listener.busy_until = listener.busy_until.max(end);
        }
        while listener.busy_until <= self.now
            && let Some(delivery) = listener.receiver.pull(now)
        {
            let data = &delivery.buf[..delivery.len];
            listener.wrong |= !self.payload[listener.taken..].starts_with(data);
            listener.taken += delivery.len;
            listener.done_at = self.now;
            if let Some(rate) = plan.consumer {
                listener.busy_until = self.now + rate.time_for(delivery.len as u64);
            }
            listener.receiver.recycle(delivery.buf);
        }
    }

    fn pump_receiver(&mut self, node: Node, buf: &mut Vec<u8>) {
        if !self.runs(node) {
            return;
        }
        self.consume(node);
        let now = self.local(node);
        let plan = &self.plan.receivers[node - 1];
        let (skew, one_way) = (plan.skew, plan.config.one_way);
        let works = plan.works();
        let listener = &mut self.listeners[node - 1];
        let mut outgoing = Vec::new();
        loop {
            while let Some(transmit) = listener.receiver.poll_transmit(now, buf) {
                assert!(!one_way, "a receiver of a one-way session speaks");
                // To an address that an attacker made up nothing leads.
                if transmit.to == Target::Peer(addr(0, PORT)) {
                    outgoing.push(buf.clone());
                }
            }
            while let Some(event) = listener.receiver.poll_event() {
                if self.trace {
                    println!("{:>10} receiver {node}: {event:?}", self.now.as_us());
                }
                match event {
                    ReceiverEvent::Complete { .. } => {
                        listener.complete = true;
                        listener.busy_until = listener.busy_until.max(self.now + works);
                    }
                    ReceiverEvent::Joined { .. } => listener.joined_at = Some(self.now),
                    ReceiverEvent::Waits { .. } => listener.waited = true,
                    ReceiverEvent::PassedOver { why, .. } => {
                        listener.lacks_memory |= why == PassedOver::MoreMemory;
                    }
                    ReceiverEvent::Ended(end) => {
                        (listener.end, listener.ended_at) = (Some(end), self.now);
                        listener.is_there = false;
                    }
                    _ => {}
                }
            }
            // The consumer confirms once it has swallowed its last bite.
            if listener.complete && listener.busy_until <= self.now && !listener.confirmed {
                listener.confirmed = true;
                listener.receiver.consumed(now);
            } else {
                break;
            }
        }
        let busy = Some(listener.busy_until).filter(|&at| at > self.now && listener.end.is_none());
        let timeout = listener.receiver.poll_timeout();
        let timeout = timeout.map(|t| Instant::ZERO + t.since(Instant::ZERO + skew));
        let from = addr(node, listener.port);
        self.wake_at(node, timeout.into_iter().chain(busy).min());
        for datagram in outgoing {
            self.carry(self.now, from, (0, None), &datagram);
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
