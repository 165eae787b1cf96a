//! What happens in a run.

use sealcast::proto::limits::IP_UDP_LEN;
use sealcast::proto::{ReceiverConfig, SenderConfig, trailer_len};
use sealcast::units::{Duration, Instant, Rate};
use sealcast::wire::DATA_OVERHEAD;

use crate::link::Impairment;

/// Bytes of a symbol in runs for the table.
const TABLE_SYMBOL: usize = 32;

/// From one moment to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub from: Instant,
    pub to: Instant,
}

impl Span {
    pub fn contains(self, at: Instant) -> bool {
        self.from <= at && at < self.to
    }

    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }
}

/// Which way datagrams go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    ToReceiver,
    FromReceiver,
}

/// What happens to a receiver, beside what its paths do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// No datagram passes: one way, or neither.
    Cut { span: Span, way: Option<Way> },
    /// Its process is gone. Another with the same keys and name may come, at the same address or
    /// at another port.
    Crash {
        at: Instant,
        restart: Option<Instant>,
        same_port: bool,
    },
    /// Its process does not run, while the clock goes on and its socket fills.
    Sleep(Span),
    /// It speaks, and is reached, at another port from then on.
    Moves(Instant),
    /// It is told to leave.
    Leaves(Instant),
    /// Its consumer takes nothing for this time.
    Pause(Span),
    /// Its consumer works on for this time when it has taken everything.
    Works(Duration),
}

/// What happens to the sender.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SenderFault {
    /// Its process is gone; another with the same keys and name may come.
    Crash {
        at: Instant,
        restart: Option<Instant>,
    },
    Abort(Instant),
    Sleep(Span),
}

/// One receiver's fate.
#[derive(Clone, Debug)]
pub struct ReceiverPlan {
    pub config: ReceiverConfig,
    pub starts: Instant,
    pub to: Impairment,
    pub from: Impairment,
    pub faults: Vec<Fault>,
    /// Bytes a second that its consumer takes.
    pub consumer: Option<Rate>,
    /// The rate and the queue of its port, if they are less than the sender's.
    pub port: Option<(Rate, u64)>,
    /// Its clock is ahead by this.
    pub skew: Duration,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub payload: usize,
    pub sender: SenderConfig,
    /// Sessions that follow in any case, for whoever comes.
    pub repeats: u32,
    pub receivers: Vec<ReceiverPlan>,
    pub sender_faults: Vec<SenderFault>,
    /// All receivers start at once and are alike, at this distance from the sender: one event
    /// brings a datagram to all of them.
    pub alike: Option<Duration>,
    /// The sender's link.
    pub link_rate: Rate,
    pub link_queue: u64,
    /// This share of the datagrams is recorded, and comes again some time later.
    pub replays: f64,
    /// The first so many datagrams of this kind are lost on every path.
    pub drop_first: Option<(u8, u32)>,
    /// How long the input pauses after half of the payload.
    pub input_pause: Duration,
}

impl Plan {
    /// A plain run: receivers that are alike, with the loss of `to` and nothing else.
    pub fn plain(receivers: u32, payload: usize, to: Impairment) -> Self {
        let delay = Duration::from_us(to.delay_us);
        let one = ReceiverPlan {
            config: ReceiverConfig {
                socket_bytes: 8 << 20,
                ..ReceiverConfig::default()
            },
            starts: Instant::ZERO,
            from: Impairment {
                delay_us: to.delay_us,
                ..Impairment::default()
            },
            to,
            faults: Vec::new(),
            consumer: None,
            port: None,
            skew: Duration::ZERO,
        };
        Self {
            seed: u64::from(receivers),
            payload,
            sender: SenderConfig {
                receivers,
                ..SenderConfig::default()
            },
            repeats: 0,
            receivers: vec![one; receivers as usize],
            sender_faults: Vec::new(),
            alike: Some(delay),
            // Wide enough that nothing is lost but by chance.
            link_rate: Rate::from_bits_per_s(100_000_000_000),
            link_queue: 50_000_000,
            replays: 0.0,
            drop_first: None,
            input_pause: Duration::ZERO,
        }
    }

    /// A run for the table: the datagrams of a gigabit link, small ones, so that many receivers
    /// fit into a machine.
    pub fn table(receivers: u32, blocks: usize, loss: f64, burst: f64) -> Self {
        let to = Impairment {
            loss,
            burst,
            delay_us: 200,
            ..Impairment::default()
        };
        let mut plan = Self::plain(
            receivers,
            blocks * (256 * TABLE_SYMBOL - trailer_len(false)),
            to,
        );
        plan.sender.symbol_len = TABLE_SYMBOL as u16;
        let datagram = TABLE_SYMBOL + DATA_OVERHEAD + IP_UDP_LEN;
        plan.sender.rate_max = Some(Rate::from_bytes_per_s(81_274 * datagram as u64));
        plan
    }

    /// When the last process starts.
    pub fn last_start(&self) -> Instant {
        let of_sender = self.sender_faults.iter().filter_map(|fault| match fault {
            SenderFault::Crash { restart, .. } => *restart,
            _ => None,
        });
        let of_receivers = self.receivers.iter().flat_map(|r| {
            let restarts = r.faults.iter().filter_map(|fault| match fault {
                Fault::Crash { restart, .. } => *restart,
                _ => None,
            });
            restarts.chain([r.starts])
        });
        of_sender.chain(of_receivers).max().unwrap_or(Instant::ZERO)
    }

    /// When the last fault is over.
    pub fn healed_at(&self) -> Instant {
        let of_sender = self.sender_faults.iter().map(|fault| match fault {
            SenderFault::Crash { at, restart } => restart.unwrap_or(*at),
            SenderFault::Abort(at) => *at,
            SenderFault::Sleep(span) => span.to,
        });
        let of_receivers = self.receivers.iter().flat_map(|r| &r.faults);
        let of_receivers = of_receivers.map(|fault| match fault {
            Fault::Cut { span, .. } | Fault::Sleep(span) | Fault::Pause(span) => span.to,
            Fault::Crash { at, restart, .. } => restart.unwrap_or(*at),
            Fault::Moves(at) | Fault::Leaves(at) => *at,
            Fault::Works(_) => Instant::ZERO,
        });
        let input = Instant::ZERO + self.input_pause;
        let last = of_sender.chain(of_receivers).max();
        last.unwrap_or(input).max(input).max(self.last_start())
    }

    /// The rate of the slowest part, in which all else being well a stream passes.
    pub fn slowest(&self) -> Rate {
        let of = |r: &ReceiverPlan| r.port.map(|(rate, _)| rate).into_iter().chain(r.consumer);
        let of_receivers = self.receivers.iter().flat_map(of);
        let all = of_receivers
            .chain(self.sender.rate_max)
            .chain([self.link_rate]);
        all.min_by_key(|rate| rate.as_bytes_per_s())
            .unwrap_or(self.link_rate)
    }

    /// Whether such a fault of the sender happens.
    pub fn has(&self, is: impl Fn(&SenderFault) -> bool) -> bool {
        self.sender_faults.iter().any(is)
    }

    /// When the sender's process does not run.
    pub fn sender_sleep(&self) -> Option<Span> {
        self.sender_faults.iter().find_map(|fault| match fault {
            SenderFault::Sleep(span) => Some(*span),
            _ => None,
        })
    }
}

impl ReceiverPlan {
    /// Whether such a fault of it happens.
    pub fn has(&self, is: impl Fn(&Fault) -> bool) -> bool {
        self.faults.iter().any(is)
    }

    /// Whether its path is cut.
    pub fn is_cut(&self, at: Instant, to: Way) -> bool {
        self.has(|fault| match fault {
            Fault::Cut { span, way } => span.contains(at) && way.is_none_or(|way| way == to),
            _ => false,
        })
    }

    /// Until when its process does not run.
    pub fn sleeps_until(&self, at: Instant) -> Option<Instant> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Sleep(span) => span.contains(at).then_some(span.to),
            _ => None,
        })
    }

    /// For how long its consumer works on when it has taken everything.
    pub fn works(&self) -> Duration {
        let times = self.faults.iter().filter_map(|fault| match fault {
            Fault::Works(time) => Some(*time),
            _ => None,
        });
        times.max().unwrap_or(Duration::ZERO)
    }

    /// Until when its consumer takes nothing.
    pub fn pauses_until(&self, at: Instant) -> Option<Instant> {
        let ends = self.faults.iter().filter_map(|fault| match fault {
            Fault::Pause(span) if span.contains(at) => Some(span.to),
            _ => None,
        });
        ends.max()
    }
}
