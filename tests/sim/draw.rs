//! A run drawn from one number: every mode, and every fault.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealcast::crypt::agree::SecretKey;
use sealcast::crypt::secret::Secret;
use sealcast::crypt::sign::SigningKey;
use sealcast::proto::config::{NextPass, StartTimeout};
use sealcast::proto::{Listed, OneWay, ReceiverConfig, SenderConfig};
use sealcast::units::{Duration, Instant, Rate};

use crate::link::Impairment;
use crate::plan::{Fault, Plan, ReceiverPlan, SenderFault, Span, Way};

fn ms(n: u64) -> Instant {
    Instant::from_us(n * 1_000)
}

/// What the `n`th receiver calls itself.
fn name(n: u32) -> String {
    format!("r{n}")
}

/// Of a moment in which most runs have something to do.
fn moment(rng: &mut StdRng) -> Instant {
    ms(rng.random_range(0..6_000))
}

/// Short, which the protocol survives, or long.
fn span(rng: &mut StdRng) -> Span {
    let from = moment(rng);
    let length = match rng.random_bool(0.6) {
        true => rng.random_range(10..2_500),
        false => rng.random_range(2_500..30_000),
    };
    let to = from + Duration::from_ms(length);
    Span { from, to }
}

/// How the runs differ: what is not in one leaves room for the rest.
struct Weather {
    harsh: bool,
    troubles: bool,
    late: bool,
    slow: bool,
    swallows: bool,
    one_way: bool,
}

impl Weather {
    fn draw(rng: &mut StdRng) -> Self {
        let [harsh, troubles, late, slow] = [0.4, 0.5, 0.3, 0.4].map(|p| rng.random_bool(p));
        let [swallows, one_way] = [0.1, 0.2].map(|p| rng.random_bool(p));
        Self {
            harsh,
            troubles,
            late,
            slow,
            swallows,
            one_way,
        }
    }
}

impl Plan {
    /// Draws everything.
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let weather = Weather::draw(&mut rng);
        let receivers = match rng.random_bool(0.1) {
            true => 16,
            false => rng.random_range(1..=6),
        };
        let mut sender = draw_sender(&mut rng, receivers);
        let rate = rng.random_range(300_000..4_000_000);
        let link_rate = Rate::from_bits_per_s(rng.random_range(1_000_000..100_000_000));
        if weather.one_way {
            // What is faster than its link loses most.
            let rate = Rate::from_bits_per_s(rate.min(link_rate.as_bits_per_s() * 4 / 5));
            let redundancy = *[0, 100, 300].get(rng.random_range(0..3)).unwrap();
            sender.one_way = Some(OneWay { redundancy });
            sender.rate_max = Some(rate);
        } else {
            sender.rate_max = rng.random_bool(0.6).then(|| Rate::from_bits_per_s(rate));
        }
        let passes = [NextPass::Never, NextPass::ForLate, NextPass::ForLateAndSlow];
        let passes = passes[rng.random_range(0..3)];
        let repeats = *[0, 0, 0, 1, 2].get(rng.random_range(0..5)).unwrap();
        sender.series.repeat = repeats > 0;
        if !weather.one_way {
            sender.series.next_pass = match repeats {
                0 => passes,
                _ => NextPass::ForLate,
            };
            // Of these names one may never come.
            if rng.random_bool(0.1) {
                sender.expect = (0..rng.random_range(1..=receivers + 1)).map(name).collect();
            }
            if rng.random_bool(0.3) {
                sender.floor = Some(Rate::from_bits_per_s(rate / rng.random_range(1..10)));
            }
        }
        let most = 4_000_000 / (receivers + 10);
        let receivers = (0..receivers)
            .map(|n| ReceiverPlan::draw(&mut rng, name(n), &weather))
            .collect();
        let input_pause = match rng.random_bool(0.2) {
            true => rng.random_range(100..7_000),
            false => 0,
        };
        let mut plan = Self {
            seed,
            payload: match rng.random_range(0..10) {
                0 => 0,
                1 => rng.random_range(1..most * 2) as usize,
                _ => rng.random_range(1..most / 2) as usize,
            },
            sender,
            repeats,
            receivers,
            sender_faults: Vec::new(),
            alike: None,
            link_rate,
            link_queue: rng.random_range(20_000..500_000),
            replays: match rng.random_bool(0.3) {
                true => rng.random_range(0.0..0.1),
                false => 0.0,
            },
            drop_first: None,
            input_pause: Duration::from_ms(input_pause),
        };
        if rng.random_bool(0.2) {
            plan.sender_faults.push(draw_sender_fault(&mut rng));
        }
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
        if list && self.sender.one_way.is_none() {
            let keys = self
                .receivers
                .iter()
                .map(|_| SecretKey::from_seed(rng.random()));
            let keys: Vec<_> = keys.collect();
            let listed = (0..).zip(&keys).map(|(n, key)| Listed {
                key: key.public(),
                name: name(n),
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
}

fn draw_sender(rng: &mut StdRng, receivers: u32) -> SenderConfig {
    let k = *[1, 4, 16, 64].get(rng.random_range(0..4)).unwrap();
    let symbol_len = rng.random_range(60..400u16) * 2;
    SenderConfig {
        name: "simulated".into(),
        k,
        symbol_len,
        memory: usize::from(k) * usize::from(symbol_len) * rng.random_range(4..64),
        receivers: match rng.random_bool(0.6) {
            true => receivers,
            false => 0,
        },
        settle: Duration::from_ms(rng.random_range(300..2_000)),
        min_wait: Duration::from_ms(rng.random_range(0..3_000)),
        max_wait: rng.random_bool(0.8).then(|| Duration::from_secs(8)),
        start_timeout: Some(Duration::from_secs(20)),
        at_start_timeout: match rng.random_bool(0.5) {
            true => StartTimeout::StartAnyway,
            false => StartTimeout::GiveUp,
        },
        stall_max: Some(Duration::from_secs(20)),
        finish_max: Some(Duration::from_secs(20)),
        ..SenderConfig::default()
    }
}

fn draw_sender_fault(rng: &mut StdRng) -> SenderFault {
    let at = moment(rng);
    match rng.random_range(0..4) {
        0 => SenderFault::Abort(at),
        1 => SenderFault::Sleep(span(rng)),
        _ => SenderFault::Crash {
            at,
            restart: rng
                .random_bool(0.7)
                .then(|| at + Duration::from_ms(rng.random_range(50..5_000))),
        },
    }
}

impl ReceiverPlan {
    fn draw(rng: &mut StdRng, name: String, weather: &Weather) -> Self {
        let rare = |rng: &mut StdRng, on| on && rng.random_bool(0.3);
        let config = ReceiverConfig {
            name,
            memory: rng.random_range(10_000..2_000_000),
            start_timeout: Some(Duration::from_secs(20)),
            one_way: weather.one_way,
            ..ReceiverConfig::default()
        };
        let late = rare(rng, weather.late);
        let mut plan = Self {
            config,
            starts: ms(rng.random_range(0..if late { 12_000 } else { 1_500 })),
            to: Impairment::draw(rng, weather.harsh),
            from: Impairment::draw(rng, weather.harsh),
            faults: Vec::new(),
            consumer: rare(rng, weather.slow)
                .then(|| Rate::from_bytes_per_s(rng.random_range(20_000..500_000))),
            port: rare(rng, weather.slow).then(|| {
                let rate = Rate::from_bits_per_s(rng.random_range(500_000..20_000_000));
                (rate, rng.random_range(20_000..200_000))
            }),
            skew: Duration::from_us(rng.random_range(0..10_000_000_000)),
        };
        while rare(rng, weather.troubles) {
            let fault = draw_fault(rng);
            plan.faults.push(fault);
        }
        if rare(rng, weather.swallows) {
            plan.to.swallows_over = Some(rng.random_range(60..900));
        }
        if rare(rng, weather.swallows) {
            plan.from.swallows_over = Some(rng.random_range(60..600));
        }
        plan
    }
}

fn draw_fault(rng: &mut StdRng) -> Fault {
    let at = moment(rng);
    match rng.random_range(0..8) {
        0 | 1 => Fault::Cut {
            span: span(rng),
            way: *[None, Some(Way::ToReceiver), Some(Way::FromReceiver)]
                .get(rng.random_range(0..3))
                .unwrap(),
        },
        2 => Fault::Crash {
            at,
            restart: rng
                .random_bool(0.7)
                .then(|| at + Duration::from_ms(rng.random_range(50..5_000))),
            same_port: rng.random_bool(0.5),
        },
        3 => Fault::Sleep(span(rng)),
        4 => Fault::Moves(at),
        5 => Fault::Leaves(at),
        6 => Fault::Pause(span(rng)),
        _ => Fault::Works(Duration::from_ms(rng.random_range(1..40_000))),
    }
}
