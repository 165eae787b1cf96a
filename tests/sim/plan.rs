//! What happens in a run, drawn from one number.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealcast::crypt::agree::SecretKey;
use sealcast::crypt::secret::Secret;
use sealcast::crypt::sign::SigningKey;
use sealcast::proto::limits::IP_UDP_LEN;
use sealcast::proto::{Listed, ReceiverConfig, SenderConfig, trailer_len};
use sealcast::units::{Duration, Instant, Rate};
use sealcast::wire::DATA_OVERHEAD;

use crate::link::Impairment;

/// Bytes of a symbol in runs for the table.
const TABLE_SYMBOL: usize = 32;

/// One receiver's fate.
#[derive(Clone, Debug)]
pub struct ReceiverPlan {
    pub config: ReceiverConfig,
    pub starts: Instant,
    pub to: Impairment,
    pub from: Impairment,
    /// No datagram passes, in either direction, in this time.
    pub cut: Option<(Instant, Instant)>,
    pub crashes: Option<Instant>,
    /// Bytes a second that its consumer takes.
    pub consumer: Option<Rate>,
    /// Its consumer takes nothing in this time.
    pub pause: Option<(Instant, Instant)>,
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
    pub receivers: Vec<ReceiverPlan>,
    /// All receivers start at once and are alike, at this distance from the sender: one event
    /// brings a datagram to all of them.
    pub alike: Option<Duration>,
    pub sender_crashes: Option<Instant>,
    pub sender_aborts: Option<Instant>,
    /// The sender's link.
    pub link_rate: Rate,
    pub link_queue: u64,
    /// The first so many datagrams of this kind are lost on every path.
    pub drop_first: Option<(u8, u32)>,
    /// How long the input pauses after half of the payload.
    pub input_pause: Duration,
}

fn ms(n: u64) -> Instant {
    Instant::from_us(n * 1_000)
}

impl Plan {
    /// Draws everything.
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let receivers = if rng.random_bool(0.2) {
            32
        } else {
            rng.random_range(1..=8)
        };
        let k = *[1, 4, 16, 64, 256].get(rng.random_range(0..5)).unwrap();
        let symbol_len = rng.random_range(60..400u16) * 2;
        let wanted = rng.random_bool(0.6);
        let pauses = rng.random_bool(0.2);
        let sender = SenderConfig {
            name: "simulated".into(),
            k,
            symbol_len,
            memory: usize::from(k) * usize::from(symbol_len) * rng.random_range(4..64),
            receivers: if wanted { receivers } else { 0 },
            settle: Duration::from_ms(rng.random_range(300..2_000)),
            max_wait: Some(Duration::from_secs(8)),
            start_timeout: Some(Duration::from_secs(20)),
            stall_max: Some(Duration::from_secs(20)),
            floor: None,
            slow_grace: Duration::from_secs(3),
            rate_max: rng
                .random_bool(0.3)
                .then(|| Rate::from_bits_per_s(4_000_000)),
            ..SenderConfig::default()
        };
        let harsh = rng.random_bool(0.5);
        let troubles = rng.random_bool(0.4);
        let receivers = (0..receivers)
            .map(|_| ReceiverPlan::draw(&mut rng, harsh, troubles))
            .collect();
        let crash = rng.random_bool(0.08);
        let abort = rng.random_bool(0.08);
        let mut plan = Self {
            seed,
            payload: if rng.random_bool(0.1) {
                0
            } else {
                rng.random_range(1..1_500_000)
            },
            sender,
            receivers,
            alike: None,
            sender_crashes: crash.then(|| ms(rng.random_range(0..6_000))),
            sender_aborts: abort.then(|| ms(rng.random_range(0..6_000))),
            link_rate: Rate::from_bits_per_s(rng.random_range(5_000_000..300_000_000)),
            link_queue: rng.random_range(20_000..500_000),
            drop_first: None,
            input_pause: Duration::from_ms(if pauses {
                rng.random_range(100..7_000)
            } else {
                0
            }),
        };
        plan.draw_keys();
        plan
    }

    /// Draws the keys, which decide nothing here: all receivers have what the sender asks for.
    fn draw_keys(&mut self) {
        let mut rng = StdRng::seed_from_u64(!self.seed);
        let [sign, list, share] = [0.5, 0.3, 0.3].map(|p| rng.random_bool(p));
        // The trailer would fill the smallest blocks.
        if sign && usize::from(self.sender.k) * usize::from(self.sender.symbol_len) >= 400 {
            let key = SigningKey::from_seed(rng.random());
            for receiver in &mut self.receivers {
                receiver.config.keys.from = vec![key.public()];
            }
            self.sender.keys.signing = Some(key);
        }
        if list {
            let keys = self
                .receivers
                .iter()
                .map(|_| SecretKey::from_seed(rng.random()));
            let keys: Vec<_> = keys.collect();
            let listed = keys.iter().map(|key| Listed {
                key: key.public(),
                name: String::new(),
            });
            self.sender.keys.listed = Some(listed.collect());
            for (receiver, key) in self.receivers.iter_mut().zip(keys) {
                receiver.config.keys.identities = vec![key];
            }
        }
        if share {
            let secret = Secret::new(rng.random());
            for receiver in &mut self.receivers {
                receiver.config.keys.shared = Some(secret.clone());
            }
            self.sender.keys.shared = Some(secret);
        }
    }

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
            cut: None,
            crashes: None,
            consumer: None,
            pause: None,
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
            receivers: vec![one; receivers as usize],
            alike: Some(delay),
            sender_crashes: None,
            sender_aborts: None,
            // Wide enough that nothing is lost but by chance.
            link_rate: Rate::from_bits_per_s(100_000_000_000),
            link_queue: 50_000_000,
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
}

impl ReceiverPlan {
    fn draw(rng: &mut StdRng, harsh: bool, troubles: bool) -> Self {
        let trouble = troubles && rng.random_bool(0.25);
        let kind = rng.random_range(0..3);
        let begin = rng.random_range(0..6_000);
        let slow = rng.random_bool(0.15);
        let config = ReceiverConfig {
            name: format!("r{}", rng.random_range(0..1_000)),
            memory: rng.random_range(10_000..2_000_000),
            start_timeout: Some(Duration::from_secs(20)),
            ..ReceiverConfig::default()
        };
        Self {
            config,
            starts: ms(rng.random_range(0..1_500)),
            to: Impairment::draw(rng, harsh),
            from: Impairment::draw(rng, harsh),
            cut: (trouble && kind < 2).then(|| {
                let long = if kind == 0 { 2_500 } else { 30_000 };
                (ms(begin), ms(begin + long))
            }),
            crashes: (trouble && kind == 2).then(|| ms(begin)),
            consumer: slow.then(|| Rate::from_bytes_per_s(rng.random_range(100_000..1_000_000))),
            pause: rng.random_bool(0.1).then(|| {
                let from = rng.random_range(500..4_000);
                (ms(from), ms(from + rng.random_range(10..5_000)))
            }),
            port: rng.random_bool(0.1).then(|| {
                let rate = Rate::from_bits_per_s(rng.random_range(2_000_000..50_000_000));
                (rate, rng.random_range(20_000..200_000))
            }),
            skew: Duration::from_us(rng.random_range(0..10_000_000_000)),
        }
    }

    /// Whether nothing happens to it that the protocol does not promise to survive.
    pub fn is_sound(&self) -> bool {
        let short = self
            .cut
            .is_none_or(|(from, to)| to.since(from) < Duration::from_secs(4));
        short && self.crashes.is_none()
    }
}
