//! `sealcast cast`: arguments to configuration, one library call, report.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use sealcast::edge::stdio::{Cancel, Input};
use sealcast::edge::{entropy, interrupt};
use sealcast::net::cast::{News, Report, Source};
use sealcast::net::{Control, NetConfig};
use sealcast::proto::config::{FLOOR_DEFAULT, symbol_len};
use sealcast::proto::{Fate, MemberReport, Sender, SenderConfig, SenderEnd, SenderEvent};
use sealcast::units::{Duration, Rate};
use sealcast::wire::{LeaveReason, RejectReason, Verdict};

use serde_json::{Value, json};

use crate::cli::{CastArgs, NetArgs, Slow};
use crate::exit::{ExitStatus, Failure};
use crate::report::{self, Voice, bytes, plain, receivers};

pub(crate) fn run(args: &CastArgs, voice: &Voice) -> Result<(), Failure> {
    let config = config(args)?;
    let net = NetConfig {
        ttl: args.ttl,
        ..net_config(&args.net)
    };
    let source = if args.command.is_empty() {
        Source {
            input: Input::stdin()?,
            producer: None,
        }
    } else {
        producer(&args.command)?
    };
    let wake = Cancel::new()?;
    let watch = interrupt::watch(wake.clone())?;
    voice.note(&waiting_for(args));
    let mut tell = |news: News<'_>| match news {
        News::Event(event) => tell_event(event, voice),
        News::Failed(error) => voice.warning(&format!("{error}; telling the receivers")),
        News::Tick(sender) => voice.progress(|| progress(sender)),
    };
    let control = Control {
        seed: entropy::seed()?,
        wake: &wake,
        watch: &watch,
    };
    let report = sealcast::net::cast::cast(config, &net, source, control, &mut tell)?;
    summarise(&report, args, voice)
}

/// The network as both sides are told it.
pub(crate) fn net_config(args: &NetArgs) -> NetConfig {
    NetConfig {
        group: args.group,
        port: args.port,
        interface: args.interface.clone(),
        ..NetConfig::default()
    }
}

/// A time limit of the command line, where 0 means none.
pub(crate) fn limit(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_ms(ms))
}

fn config(args: &CastArgs) -> Result<SenderConfig, Failure> {
    Ok(SenderConfig {
        name: args.name.clone(),
        symbol_len: symbol_len(usize::from(args.mtu)),
        memory: usize::try_from(args.memory).unwrap_or(usize::MAX),
        receivers: args.receivers.unwrap_or(0),
        settle: Duration::from_ms(args.settle),
        max_wait: args.max_wait.map(Duration::from_ms),
        start_timeout: limit(args.start_timeout),
        stall_max: Duration::from_ms(args.stall_timeout),
        rate_max: args.rate.map(Rate::from_bits_per_s),
        floor: floor(args)?,
        slow_grace: Duration::from_ms(args.slow_grace),
        ..SenderConfig::default()
    })
}

/// The floor below which receivers are let go.
fn floor(args: &CastArgs) -> Result<Option<Rate>, Failure> {
    let usage = |message: &str| Err(Failure::new(ExitStatus::Usage, message));
    let floor = match (args.slow, args.min_rate) {
        (Some(Slow::Wait), Some(_)) => return usage("--slow wait has no use for a --min-rate"),
        (Some(Slow::Wait) | None, None) => return Ok(None),
        (Some(Slow::Evict), None) => FLOOR_DEFAULT,
        (Some(Slow::Evict) | None, Some(bits)) => Rate::from_bits_per_s(bits),
    };
    if args
        .rate
        .is_some_and(|most| Rate::from_bits_per_s(most) <= floor)
    {
        return usage("--rate must be above the rate below which receivers are evicted");
    }
    Ok(Some(floor))
}

fn producer(command: &[OsString]) -> Result<Source, Failure> {
    let name = command[0].to_string_lossy();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::io(&format!("cannot run {name}"), &e))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::new(
            ExitStatus::Local,
            format!("cannot read what {name} writes"),
        ));
    };
    let input = Input::from_file(File::from(OwnedFd::from(stdout)))?;
    Ok(Source {
        input,
        producer: Some(child),
    })
}

fn waiting_for(args: &CastArgs) -> String {
    match args.receivers {
        Some(n) => format!("waiting for {}", receivers(n)),
        None => format!(
            "waiting for receivers; starts when none came for {} s",
            Duration::from_ms(args.settle).as_secs_f64()
        ),
    }
}

fn tell_event(event: &SenderEvent, voice: &Voice) {
    match event {
        SenderEvent::Joined { name, from, .. } => {
            voice.note(&format!("{} ({}) joined", plain(name), from.ip()));
        }
        SenderEvent::TurnedAway { name, reason } => {
            let why = match reason {
                RejectReason::TooLate => "it came too late",
                RejectReason::Full => "the session is full",
            };
            voice.detail(1, || format!("turned {} away: {why}", plain(name)));
        }
        SenderEvent::Started { receivers } => {
            voice.note(&format!("sending to {}", report::receivers(*receivers)));
        }
        SenderEvent::Finished {
            name,
            fate: Fate::Done,
            ..
        } => {
            voice.detail(1, || format!("{} has everything", plain(name)));
        }
        SenderEvent::Finished { name, fate, .. } => {
            voice.warning(&format!("{} is out: {}", plain(name), describe(*fate)));
        }
        SenderEvent::Ended(_) => {}
    }
}

/// What became of a receiver, in words.
fn describe(fate: Fate) -> &'static str {
    match fate {
        Fate::Active => "the cast ended before it was done",
        Fate::Done => "has everything",
        Fate::Dropped(Verdict::Silent) => "nothing was heard of it for 5 s",
        Fate::Dropped(Verdict::Stalled) => "its consumer stood still for too long",
        Fate::Dropped(Verdict::Slow) => "it was too slow for the rest",
        Fate::Dropped(Verdict::Differs) => "what it received is something else",
        Fate::Dropped(Verdict::Thanks | Verdict::Left) => "let go",
        Fate::Left(LeaveReason::Consumer) => "its consumer went away",
        Fate::Left(LeaveReason::Interrupted) => "it was stopped",
        Fate::Left(LeaveReason::Local) => "its system failed, perhaps a full disk",
        Fate::Left(LeaveReason::Corrupt) => "what it received contradicted itself",
    }
}

fn progress(sender: &Sender) -> String {
    let stats = sender.stats();
    format!(
        "{} sent, {} Mbit/s at most, {} active, {} done, {} repair symbols",
        bytes(stats.bytes),
        stats.rate.as_bits_per_s() / 1_000_000,
        stats.active,
        stats.done,
        stats.repair
    )
}

fn summarise(report: &Report, args: &CastArgs, voice: &Voice) -> Result<(), Failure> {
    let stats = &report.stats;
    if report.end == SenderEnd::NobodyCame {
        return Err(failure(report, args));
    }
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, overhead) = (
        stats.bytes as f64 * 8.0 / 1e6 / report.elapsed.as_secs_f64().max(1e-6),
        stats.wire_bytes as f64 / (stats.bytes as f64).max(1.0),
    );
    voice.note(&format!(
        "{} in {:.2} s, {rate:.0} Mbit/s; {} on the wire, {overhead:.4} times; \
         {} repair symbols to {}",
        bytes(stats.bytes),
        report.elapsed.as_secs_f64(),
        bytes(stats.wire_bytes),
        stats.repair,
        stats.source,
    ));
    voice.detail(1, || {
        format!(
            "{} datagrams sent, {} feedbacks taken, {} of them asked for repair, \
             {} datagrams refused",
            stats.datagrams, stats.feedbacks, stats.nacks, stats.refused
        )
    });
    report::append(args.report.as_deref(), &json(report))?;
    if report.end == SenderEnd::Complete {
        return Ok(());
    }
    for member in report.members.iter().filter(|m| m.fate != Fate::Done) {
        let MemberReport {
            name, addr, fate, ..
        } = member;
        voice.warning(&format!(
            "{} ({}) failed: {}",
            plain(name),
            addr.ip(),
            describe(*fate)
        ));
    }
    Err(failure(report, args))
}

/// The report for programs; `man/sealcast-cast.1` says what it holds.
fn json(report: &Report) -> Value {
    let stats = &report.stats;
    let receivers: Vec<Value> = report
        .members
        .iter()
        .map(|m| {
            json!({
                "name": m.name,
                "address": m.addr.ip().to_string(),
                "done": m.fate == Fate::Done,
                "fate": describe(m.fate),
                "nacks": m.nacks,
            })
        })
        .collect();
    json!({
        "v": 1,
        "event": "end",
        "complete": report.end == SenderEnd::Complete,
        "elapsed_us": report.elapsed.as_us(),
        "bytes": stats.bytes,
        "wire_bytes": stats.wire_bytes,
        "datagrams": stats.datagrams,
        "source": stats.source,
        "repair": stats.repair,
        "feedbacks": stats.feedbacks,
        "nacks": stats.nacks,
        "refused": stats.refused,
        "receivers": receivers,
    })
}

fn failure(report: &Report, args: &CastArgs) -> Failure {
    let here = report.members.len();
    match report.end {
        SenderEnd::NobodyCame if here == 0 => {
            Failure::new(ExitStatus::Transfer, "no receiver came in time")
                .hint("start `sealcast catch` on the receivers, on the same group and port")
                .hint("if they wait already, choose the right --interface on both sides")
        }
        SenderEnd::NobodyCame => Failure::new(
            ExitStatus::Transfer,
            format!(
                "only {here} of {} came in time",
                receivers(args.receivers.unwrap_or(0))
            ),
        )
        .hint("--max-wait starts with those that are there"),
        SenderEnd::Partial { done, failed } => Failure::new(
            ExitStatus::Transfer,
            format!(
                "{} with everything, {} without",
                receivers(done),
                receivers(failed)
            ),
        ),
        SenderEnd::AllLost | SenderEnd::Complete | SenderEnd::Aborted(_) => Failure::new(
            ExitStatus::Transfer,
            "no receiver is left that could have everything",
        ),
    }
}
