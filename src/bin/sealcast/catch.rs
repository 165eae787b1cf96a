//! `sealcast catch`: arguments to configuration, one library call, report.

use sealcast::edge::stdio::{Cancel, Output};
use sealcast::edge::{entropy, interrupt};
use sealcast::net::Control;
use sealcast::net::catch::{Faults, News, Report};
use sealcast::proto::{Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent};
use sealcast::wire::{AbortReason, LeaveReason, RejectReason, Verdict};

use serde_json::{Value, json};

use crate::cast::{limit, net_config};
use crate::cli::CatchArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::{self, Voice, bytes, plain};

pub(crate) fn run(args: &CatchArgs, voice: &Voice) -> Result<(), Failure> {
    let net = net_config(&args.net);
    let config = ReceiverConfig {
        session_name: args.name.clone(),
        name: args.own_name.clone().unwrap_or_else(host_name),
        memory: usize::try_from(args.memory).unwrap_or(usize::MAX),
        start_timeout: limit(args.start_timeout),
        ..ReceiverConfig::default()
    };
    let output = Output::open_watched(args.output.as_deref())?;
    let wake = Cancel::new()?;
    let watch = interrupt::watch(wake.clone())?;
    voice.note(&format!("waiting for a sender on {}", net.target()));
    let mut tell = |news: News<'_>| match news {
        News::Event(event) => tell_event(event, voice),
        News::Tick(receiver) => voice.progress(|| progress(receiver)),
    };
    let faults = Faults {
        loss: args.test_loss / 100.0,
    };
    let control = Control {
        seed: entropy::seed()?,
        wake: &wake,
        watch: &watch,
    };
    let report = sealcast::net::catch::catch(config, &net, output, faults, control, &mut tell)?;
    report::append(args.report.as_deref(), &json(&report))?;
    finish(&report, voice)
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn tell_event(event: &ReceiverEvent, voice: &Voice) {
    match event {
        ReceiverEvent::Found {
            name,
            from,
            session,
        } => {
            let name = if name.is_empty() {
                String::new()
            } else {
                format!(" {name:?}")
            };
            voice.note(&format!("found session{name} of {}", from.ip()));
            voice.detail(1, || format!("session {session}"));
        }
        ReceiverEvent::Joined { receiver } => {
            voice.detail(1, || format!("joined as receiver {receiver}"));
        }
        ReceiverEvent::Waiting(policy) if policy.wanted > 0 => voice.note(&format!(
            "{} of {} receivers are there",
            policy.joined, policy.wanted
        )),
        ReceiverEvent::Waiting(_) => {}
        ReceiverEvent::Forgotten => voice.warning("the sender fell silent; searching again"),
        ReceiverEvent::Started => voice.note("receiving"),
        ReceiverEvent::Complete { length } => {
            voice.detail(1, || format!("all {} are here", bytes(*length)));
        }
        ReceiverEvent::Ended(_) => {}
    }
}

fn progress(receiver: &Receiver) -> String {
    let stats = receiver.stats();
    format!(
        "{} received, {} datagrams lost, {} blocks repaired",
        bytes(stats.bytes),
        stats.lost,
        stats.repaired
    )
}

/// The report for programs; `man/sealcast-catch.1` says what it holds.
fn json(report: &Report) -> Value {
    let stats = &report.stats;
    json!({
        "v": 1,
        "event": "end",
        "complete": report.end == ReceiverEnd::Complete,
        "elapsed_us": report.elapsed.as_us(),
        "bytes": stats.bytes,
        "datagrams": stats.datagrams,
        "lost": stats.lost,
        "repaired": stats.repaired,
        "feedbacks": stats.feedbacks,
        "nacks": stats.nacks,
        "refused": stats.refused,
    })
}

fn finish(report: &Report, voice: &Voice) -> Result<(), Failure> {
    let stats = &report.stats;
    voice.detail(1, || {
        format!(
            "{} datagrams received, {} lost, {} refused; {} blocks repaired; {} feedbacks sent, {} \
             of them asked for repair",
            stats.datagrams,
            stats.lost,
            stats.refused,
            stats.repaired,
            stats.feedbacks,
            stats.nacks
        )
    });
    if stats.other_version > 0 {
        voice.warning("heard datagrams of another version of the protocol");
    }
    let transfer = |message: &str| Failure::new(ExitStatus::Transfer, message);
    let failure = match &report.end {
        ReceiverEnd::Complete => {
            voice.note(&format!(
                "{} in {:.2} s, complete",
                bytes(stats.bytes),
                report.elapsed.as_secs_f64()
            ));
            return Ok(());
        }
        ReceiverEnd::NoSender => transfer("no sender took us in")
            .hint("is `sealcast cast` running, with the same --group and --port?")
            .hint("if it is, choose the right --interface on both sides, and look for a firewall"),
        ReceiverEnd::Rejected(RejectReason::TooLate) => {
            transfer("came too late: the beginning of the stream is gone")
                .hint("wait for the next cast; --receivers on the sender makes it wait for all")
        }
        ReceiverEnd::Rejected(RejectReason::Full) => transfer("the session is full"),
        ReceiverEnd::SenderLost(silence) => transfer(&format!(
            "lost the sender: nothing was heard of it for {} s",
            silence.as_secs_f64()
        )),
        ReceiverEnd::Aborted(reason, text) => {
            transfer(&format!("{}: {}", abort_words(*reason), plain(text)))
        }
        ReceiverEnd::Dropped(Verdict::Stalled) => {
            transfer("the sender let us go: our consumer took nothing for too long")
        }
        ReceiverEnd::Dropped(Verdict::Slow) => Failure::new(
            ExitStatus::Evicted,
            "the sender let us go: we kept the stream slower than it puts up with",
        )
        .hint("look for a slow disk, port or cable here; --min-rate on the sender is the limit"),
        ReceiverEnd::Dropped(_) => transfer("the sender let us go: it had not heard of us"),
        ReceiverEnd::Corrupt | ReceiverEnd::Left(LeaveReason::Corrupt) => {
            Failure::new(ExitStatus::Data, "what the sender sent contradicts itself")
        }
        ReceiverEnd::Left(_) => transfer("left the session"),
    };
    Err(failure.hint("what was written so far is not the whole stream"))
}

fn abort_words(reason: AbortReason) -> &'static str {
    match reason {
        AbortReason::Input => "the sender could not read its input",
        AbortReason::Producer => "the command on the sender's side failed",
        AbortReason::Interrupted => "the sender was stopped",
        AbortReason::Local => "the sender's system failed",
    }
}
