//! What repair costs, by receivers and loss, beside what the model of the design says it would.

use std::thread;

use crate::oracle;
use crate::plan::Plan;
use crate::world::World;

/// One row: receivers, loss, mean length of a burst, blocks to send, and what the model says:
/// overhead of parity on request, overhead of retransmission, and rounds a block.
struct Row {
    receivers: u32,
    loss: f64,
    burst: f64,
    blocks: usize,
    model: (f64, f64, f64),
    /// The most that is good enough.
    most: f64,
}

/// What came out.
struct Figures {
    overhead: f64,
    rounds: f64,
    nacks: f64,
    /// NACKs a block in the second half.
    late_nacks: f64,
    /// FEEDBACKs a second while data flows,
    feedback_per_s: f64,
    /// and those of them that ask for nothing.
    reports_per_s: f64,
}

const fn row(receivers: u32, loss: f64, burst: f64, model: (f64, f64, f64), most: f64) -> Row {
    let blocks = match receivers {
        0..=64 => 104,
        65..=256 => 52,
        _ => 39,
    };
    Row {
        receivers,
        loss,
        burst,
        blocks,
        model,
        most,
    }
}

/// The nearest number of receivers in the model is 10, 40 and 288 for 16, 64 and 256.
const ROWS: [Row; 24] = [
    row(1, 0.001, 0.0, (1.0010, 1.001, 0.22), 1.005),
    row(4, 0.001, 0.0, (1.0048, 1.010, 0.22), 1.010),
    row(16, 0.001, 0.0, (1.0048, 1.010, 1.00), 1.010),
    row(64, 0.001, 0.0, (1.0071, 1.038, 1.00), 1.015),
    row(256, 0.001, 0.0, (1.0099, 1.248, 1.01), 1.020),
    row(1_000, 0.001, 0.0, (1.0119, 1.632, 1.01), 1.025),
    row(1, 0.01, 0.0, (1.0101, 1.010, 0.93), 1.011),
    row(4, 0.01, 0.0, (1.0209, 1.097, 0.93), 1.019),
    row(16, 0.01, 0.0, (1.0209, 1.097, 1.09), 1.030),
    row(64, 0.01, 0.0, (1.0259, 1.333, 1.09), 1.040),
    row(256, 0.01, 0.0, (1.0324, 1.975, 1.15), 1.045),
    row(1_000, 0.01, 0.0, (1.0361, 2.097, 1.17), 1.045),
    row(1, 0.05, 0.0, (1.0532, 1.052, 1.53), 1.055),
    row(4, 0.05, 0.0, (1.0774, 1.430, 1.53), 1.085),
    row(16, 0.05, 0.0, (1.0774, 1.430, 1.86), 1.090),
    row(64, 0.05, 0.0, (1.0870, 1.971, 1.86), 1.110),
    row(256, 0.05, 0.0, (1.0994, 2.547, 1.98), 1.120),
    row(1_000, 0.05, 0.0, (1.1069, 3.043, 2.02), 1.130),
    row(1, 0.001, 10.0, (1.0009, 1.002, 0.22), 1.010),
    row(4, 0.001, 10.0, (1.0098, 1.011, 0.22), 1.020),
    row(16, 0.001, 10.0, (1.0098, 1.011, 1.00), 1.040),
    row(64, 0.001, 10.0, (1.0317, 1.037, 1.00), 1.040),
    row(256, 0.001, 10.0, (1.0955, 1.250, 1.01), 1.040),
    row(1_000, 0.001, 10.0, (1.1420, 1.647, 1.01), 1.045),
];

fn measure(row: &Row) -> Figures {
    let plan = Plan::table(row.receivers, row.blocks, row.loss, row.burst);
    let mut world = World::new(plan, false);
    // The beginning, where nothing is known yet, is not what a long stream costs.
    let half = row.blocks as u64 * 128;
    world.run_until(|world| world.sender_stats().source > 0);
    let start = (world.now(), world.sender_stats());
    world.run_until(|world| world.sender_stats().source >= half);
    let early = world.sender_stats().nacks;
    world.run_until(|world| world.sender_stats().source >= half * 2);
    let (took, all) = (world.now().since(start.0), world.sender_stats());
    let feedbacks = all.feedbacks - start.1.feedbacks;
    world.run();
    oracle::judge(&world).unwrap();
    let stats = world.sender_stats();
    let blocks = stats.source as f64 / 256.0;
    Figures {
        overhead: (stats.source + stats.repair) as f64 / stats.source as f64,
        rounds: stats.repair_rounds as f64 / blocks,
        nacks: stats.nacks as f64 / blocks,
        late_nacks: (stats.nacks - early) as f64 / blocks * 2.0,
        feedback_per_s: feedbacks as f64 / took.as_secs_f64(),
        reports_per_s: (feedbacks - (all.nacks - start.1.nacks)) as f64 / took.as_secs_f64(),
    }
}

fn show(row: &Row, figures: &Figures) -> String {
    let (parity, again, rounds) = row.model;
    format!(
        "{:6} {:5.1} % {:5.0} | {:8.3} {:6.3} {:6.3} | {:6.2} {:6.2} | {:7.2} {:6.2} {:8.0}",
        row.receivers,
        row.loss * 100.0,
        row.burst,
        figures.overhead,
        parity,
        again,
        figures.rounds,
        rounds,
        figures.nacks,
        figures.late_nacks,
        figures.feedback_per_s,
    )
}

const HEAD: &str = "                      |      overhead: wire / source |  rounds a block |
     N   loss burst | sealcast  model repeat | sealcast model | nacks/b   late feedback/s";

fn measure_all(rows: &[Row]) {
    println!("{HEAD}");
    let halves: [Vec<&Row>; 2] = [0, 1].map(|n| rows.iter().skip(n).step_by(2).collect());
    thread::scope(|scope| {
        for half in halves {
            scope.spawn(move || {
                for row in half {
                    let figures = measure(row);
                    let line = show(row, &figures);
                    println!("{line}");
                    assert!(figures.overhead <= row.most, "{line}: over {}", row.most);
                    // 8000, and those that are overdue when data begins to flow: these runs
                    // last an eighth of a second.
                    assert!(figures.reports_per_s <= 12_000.0, "{line}: reports");
                }
            });
        }
    });
}

#[test]
fn overhead_stays_flat() {
    measure_all(&ROWS);
}

/// `SEALCAST_MANY=10000 cargo test --release --test sim ten_thousand -- --nocapture`: minutes.
#[test]
fn ten_thousand() {
    let Ok(many) = std::env::var("SEALCAST_MANY") else {
        return;
    };
    let many = many.parse().expect("SEALCAST_MANY is a number");
    let mut row = row(many, 0.01, 0.0, (1.0423, 2.642, 1.22), 1.055);
    row.blocks = 78;
    let figures = measure(&row);
    println!("{HEAD}\n{}", show(&row, &figures));
    assert!(
        figures.overhead <= row.most && figures.late_nacks <= 1.0 && figures.feedback_per_s <= 1e4
    );
}
