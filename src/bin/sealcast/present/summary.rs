//! How a cast went: for each receiver and as a whole, for people, for programs and for the status.

use sealcast::filters::CastReport;
use sealcast::proto::{Fate, MemberReport, RateReason, SendLimit, SenderEnd};
use sealcast::units::Rate;
use sealcast::wire::{DropReason, LeaveReason, RejectReason};

use serde_json::{Value, json};

use crate::cli::CastArgs;
use crate::cli::value::Require;
use crate::exit::{ExitStatus, Failure};
use crate::present::console::{Console, bytes, plain, receivers};

/// Receivers that a table has room for; of more, only those that failed are shown.
const ROWS_MAX: usize = 32;

/// Names that an error tells.
const NAMES_MAX: usize = 4;

/// What may explain that receivers did not come.
pub(super) struct Absent {
    /// The UDP ports of the receivers and of their answers.
    pub(super) ports: (u16, u16),
    /// How many were turned away, who was last, and why.
    pub(super) turned_away: Option<(String, RejectReason)>,
}

/// What became of a receiver, in words.
pub(super) fn describe(fate: Fate) -> String {
    let words = match fate {
        Fate::Active => "the cast ended before it was done",
        Fate::Done => "has everything",
        Fate::Dropped(DropReason::Silent) => "nothing was heard of it within --silence-timeout",
        Fate::Dropped(DropReason::Stalled) => "its consumer stood still for too long",
        Fate::Dropped(DropReason::Unfinished) => "its consumer did not end within --finish-timeout",
        Fate::Dropped(DropReason::Slow) => "it was too slow for the rest",
        Fate::Dropped(DropReason::NextPass) => {
            "it was too slow for the rest, and left for another pass"
        }
        Fate::Dropped(DropReason::BlackHole) => {
            "only short datagrams reach it, so its MTU may be smaller: see --mtu"
        }
        Fate::Dropped(DropReason::Lossy) => "it lacked data for too long: repair did not reach it",
        Fate::Dropped(DropReason::Differs) => "what it received is something else",
        Fate::Left(LeaveReason::Consumer) => "its consumer went away",
        Fate::Left(LeaveReason::Interrupted) => "it was stopped",
        Fate::Left(LeaveReason::Local) => "its system failed, perhaps a full disk",
        Fate::Left(LeaveReason::Corrupt) => "what it received contradicted itself",
        Fate::Left(LeaveReason::Status(status)) => {
            return format!("its consumer ended with status {status}");
        }
        Fate::Left(LeaveReason::Signal(signal)) => {
            return format!("its consumer was ended by signal {signal}");
        }
    };
    words.into()
}

/// Why the rate is what it is, in the word of the report.
pub(super) fn reason_word(reason: RateReason) -> &'static str {
    match reason {
        RateReason::SlowStart => "slow_start",
        RateReason::Probing => "probing",
        RateReason::Maximum => "maximum",
        RateReason::Loss { .. } => "loss",
        RateReason::Queue { .. } => "queue",
        RateReason::Delivery { .. } => "delivery",
        RateReason::Window { .. } => "window",
        RateReason::Reports { .. } => "reports",
        RateReason::Input => "input",
    }
}

/// Why the rate is what it is, for people; with the name of the receiver that set it, if one did.
pub(super) fn rate_reason(reason: RateReason, name: Option<&str>, rate: Rate) -> String {
    let name = plain(name.unwrap_or("a receiver"));
    let why = match reason {
        RateReason::SlowStart => "it doubles until something limits it".into(),
        RateReason::Probing => "it rises, as nothing limits it now".into(),
        RateReason::Maximum => "it is the greatest allowed".into(),
        RateReason::Loss { .. } => format!("{name} lost more than usual"),
        RateReason::Queue { .. } => format!("a queue stands on the way to {name}"),
        RateReason::Delivery { .. } => format!("less arrived at {name} than was sent"),
        RateReason::Window { .. } => return format!("waiting for {name}, which has no room"),
        RateReason::Reports { .. } => return format!("waiting for reports of {name}"),
        RateReason::Input => return "waiting for the input".into(),
    };
    let rate = rate.as_bits_per_s() / 1_000_000;
    format!("at most {rate} Mbit/s: {why}")
}

/// What people call the holder of a listed key.
pub(super) fn key_name(listed: Option<usize>, names: &[String]) -> Option<&str> {
    names.get(listed?).map(String::as_str)
}

/// Receivers that were awaited, and how many of them, and of all, have everything.
struct Count {
    awaited: usize,
    awaited_done: usize,
    done: usize,
}

impl Count {
    fn of(report: &CastReport) -> Self {
        let done = |m: &&MemberReport| m.fate == Fate::Done;
        let awaited = || report.members.iter().filter(|m| m.required);
        Self {
            awaited: awaited().count() + report.missing.len(),
            awaited_done: awaited().filter(done).count(),
            done: report.members.iter().filter(done).count(),
        }
    }

    fn suffices(&self, require: Require) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "at most 16,384 of either")]
        let (done, awaited) = (self.awaited_done as f64, self.awaited as f64);
        match require {
            _ if self.done == 0 => false,
            Require::All => self.awaited_done == self.awaited,
            Require::Count(n) => u32::try_from(self.done).is_ok_and(|done| done >= n),
            Require::Percent(share) => done * 100.0 >= awaited * share,
        }
    }

    /// What is there, when that does not suffice.
    fn lacks(&self, require: Require) -> String {
        let (done, awaited) = (self.awaited_done, self.awaited);
        let of_them = format!("only {done} of {awaited} awaited receivers have everything");
        match require {
            Require::All if self.done > done => format!("{of_them}, {} in all", self.done),
            Require::All => of_them,
            Require::Count(n) => format!("{} of the {n} required have everything", self.done),
            Require::Percent(share) => format!("{of_them}; {share}% are required"),
        }
    }
}

/// The first of many names, and how many more there are.
fn some_names(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(|name| plain(name));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX {
        text += &format!(" and {} more", names.len() - NAMES_MAX);
    }
    text
}

/// Whether the cast counts as a success.
fn succeeded(report: &CastReport, require: Require) -> bool {
    match report.end {
        SenderEnd::Sent => true,
        SenderEnd::Complete | SenderEnd::Partial { .. } => Count::of(report).suffices(require),
        SenderEnd::AllLost | SenderEnd::NoReceivers | SenderEnd::Aborted(_) => false,
    }
}

/// The share of a receiver's datagrams that did not arrive, in per cent.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn loss(member: &MemberReport) -> f64 {
    let lost = member.sent.saturating_sub(member.arrived);
    lost as f64 * 100.0 / (member.sent as f64).max(1.0)
}

/// Whether all have everything, if anything is known of them.
fn complete(report: &CastReport) -> Option<bool> {
    let all = report.end == SenderEnd::Complete && report.missing.is_empty();
    (report.end != SenderEnd::Sent).then_some(all)
}

/// The last event of the report; `man/sealcast-cast.1` says what it holds.
pub(super) fn json(report: &CastReport, names: &[String], require: Require) -> Value {
    let stats = &report.stats;
    let limited = |limit| stats.limit_times.get(limit).as_us();
    let receivers: Vec<Value> = report
        .members
        .iter()
        .map(|m| {
            json!({
                "receiver": m.receiver,
                "name": m.name,
                "key": key_name(m.listed, names),
                "address": m.addr.ip().to_string(),
                "awaited": m.required,
                "done": m.fate == Fate::Done,
                "fate": describe(m.fate),
                "sent": m.sent,
                "arrived": m.arrived,
                "nacks": m.nacks,
                "pass": m.pass,
            })
        })
        .collect();
    json!({
        "success": succeeded(report, require),
        "complete": complete(report),
        "elapsed_us": report.elapsed.as_us(),
        "bytes": stats.bytes,
        "wire_bytes": stats.wire_bytes,
        "datagrams": stats.datagrams,
        "source": stats.source,
        "repair": stats.repair,
        "feedbacks": stats.feedbacks,
        "nacks": stats.nacks,
        "refused": stats.refused,
        "passes": report.passes,
        "rate_bits_s": stats.rate.as_bits_per_s(),
        "rate_reason": reason_word(stats.rate_reason),
        "limited_us": {
            "rate": limited(SendLimit::Rate),
            "input": limited(SendLimit::Input),
            "window": limited(SendLimit::Window),
            "reports": limited(SendLimit::Reports),
        },
        "receivers": receivers,
        "missing": report.missing,
    })
}

/// The same where another pass failed: of those before, if there were any.
pub(super) fn json_of_failure(
    before: Option<&CastReport>,
    names: &[String],
    require: Require,
) -> Value {
    let mut fields = before.map_or(json!({}), |report| json(report, names, require));
    fields["success"] = false.into();
    fields["complete"] = false.into();
    fields
}

/// Says how it went, and whether that is enough. `told` if that was said of each pass: of a single
/// one that is all.
pub(super) fn conclude(
    report: &CastReport,
    (names, absent): (&[String], &Absent),
    args: &CastArgs,
    told: bool,
    console: &Console,
) -> Result<(), Failure> {
    if report.end == SenderEnd::NoReceivers {
        return Err(too_few(report, args, absent));
    }
    if !told || report.passes > 1 {
        tell_pass(report, names, console);
    }
    if succeeded(report, args.require) {
        Ok(())
    } else {
        Err(failure(report, args.require))
    }
}

/// Says how a pass went, or all of them together.
pub(super) fn tell_pass(report: &CastReport, names: &[String], console: &Console) {
    summarise(report, console);
    if report.end == SenderEnd::Sent {
        console.note("all of it was sent; whether a receiver has it is not known");
        return;
    }
    let failed = report.members.iter().any(|m| m.fate != Fate::Done);
    if failed || !report.missing.is_empty() || console.tells(1) {
        for line in table(report, names, console.tells(1)) {
            console.note(&line);
        }
    }
}

fn summarise(report: &CastReport, console: &Console) {
    let stats = &report.stats;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, overhead) = (
        stats.bytes as f64 * 8.0 / 1e6 / report.elapsed.as_secs_f64().max(1e-6),
        stats.wire_bytes as f64 / (stats.bytes as f64).max(1.0),
    );
    let passes = match report.passes {
        1 => String::new(),
        n => format!("{n} passes, "),
    };
    console.note(&format!(
        "{} in {passes}{:.2} s, {rate:.0} Mbit/s; {} on the wire, {overhead:.4} times; \
         {} repair symbols to {}",
        bytes(stats.bytes),
        report.elapsed.as_secs_f64(),
        bytes(stats.wire_bytes),
        stats.repair,
        stats.source,
    ));
    console.detail(1, || {
        format!(
            "{} datagrams sent, {} feedbacks taken, {} of them asked for repair, \
             {} datagrams refused",
            stats.datagrams, stats.feedbacks, stats.nacks, stats.refused
        )
    });
}

/// A line for each receiver, those that failed first. With a list of keys it has their names, for
/// what a receiver calls itself proves nothing.
fn table(report: &CastReport, names: &[String], whole: bool) -> Vec<String> {
    let mut members: Vec<&MemberReport> = report.members.iter().collect();
    members.sort_by_key(|m| m.fate == Fate::Done);
    let failed = members.iter().filter(|m| m.fate != Fate::Done).count();
    let shown = if whole || members.len() <= ROWS_MAX {
        members.len()
    } else {
        failed
    };
    let key = |listed| key_name(listed, names).unwrap_or("-").to_owned();
    let row = |m: &&MemberReport| {
        [
            plain(&m.name),
            plain(&key(m.listed)),
            m.addr.ip().to_string(),
            format!("{:.2} %", loss(m)),
            m.nacks.to_string(),
            describe(m.fate),
        ]
    };
    let never = |name: &String| [name, "-", "-", "-", "-", "did not come"].map(plain);
    let head = ["receiver", "key", "address", "lost", "asked", "outcome"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head)
        .chain(report.missing.iter().map(never))
        .chain(members[..shown].iter().map(row))
        .collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max();
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|i| width(i).unwrap_or(0));
    let line = |[name, key, address, lost, asked, fate]: &[String; 6]| {
        let key = match names {
            [] => String::new(),
            _ => format!("{key:b$}  "),
        };
        format!("{name:a$}  {key}{address:c$}  {lost:>d$}  {asked:>e$}  {fate}")
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if shown < members.len() {
        lines.push(format!("{} more have everything", members.len() - shown));
    }
    lines
}

/// The session did not start: too few receivers came, or none.
fn too_few(report: &CastReport, args: &CastArgs, absent: &Absent) -> Failure {
    let here = report
        .members
        .iter()
        .filter(|m| m.fate == Fate::Active)
        .count();
    let transfer = |message: String| Failure::new(ExitStatus::Transfer, message);
    let (port, answers) = absent.ports;
    let failure = match &absent.turned_away {
        None if here == 0 => {
            return transfer("no receiver came in time".into())
                .hint("start `sealcast catch` on the receivers, on the same group and port")
                .hint("if they wait already, choose the right --interface on both sides")
                .hint(format!(
                    "a firewall there must let in UDP port {port}, and one here UDP port {answers}"
                ));
        }
        Some((turned_away, _)) if here == 0 => {
            transfer(format!("no receiver was admitted: {turned_away}"))
        }
        _ if !report.missing.is_empty() => transfer(format!(
            "{} did not come in time",
            some_names(&report.missing)
        ))
        .hint("--max-wait starts with those that are there"),
        _ => transfer(format!(
            "only {here} of {} came in time",
            receivers(args.receivers.unwrap_or(0))
        ))
        .hint("--max-wait starts with those that are there"),
    };
    match &absent.turned_away {
        Some((turned_away, reason)) => {
            let failure = match here {
                0 => failure,
                _ => failure.hint(turned_away),
            };
            match reason {
                RejectReason::NotListed | RejectReason::KeyNeeded => failure
                    .hint("the key that a receiver shows with `catch -i` must be in a file of -R"),
                RejectReason::TooLate
                | RejectReason::NextPass
                | RejectReason::BrokenOff
                | RejectReason::Full => failure,
            }
        }
        None => failure,
    }
}

/// The session started, and did not end as was asked for.
fn failure(report: &CastReport, require: Require) -> Failure {
    let transfer = |message: String| Failure::new(ExitStatus::Transfer, message);
    match report.end {
        SenderEnd::Partial { .. } | SenderEnd::Complete | SenderEnd::Sent => {
            let corrupt = Fate::Left(LeaveReason::Corrupt);
            let changed = report.passes > 1 && report.members.iter().any(|m| m.fate == corrupt);
            let failure = transfer(Count::of(report).lacks(require));
            match changed {
                true => failure.hint("the input may have changed between two passes"),
                false => failure,
            }
        }
        SenderEnd::AllLost | SenderEnd::Aborted(_) | SenderEnd::NoReceivers => {
            transfer("no receiver is left that could have everything".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_told() {
        let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
        assert_eq!(some_names(&names[..2]), "a, b");
        assert_eq!(some_names(&names), "a, b, c, d and 2 more");
    }

    fn count(awaited: usize, awaited_done: usize, done: usize) -> Count {
        Count {
            awaited,
            awaited_done,
            done,
        }
    }

    #[test]
    fn enough_is_what_was_asked_for() {
        let all = Require::All;
        assert!(count(3, 3, 3).suffices(all) && count(3, 3, 4).suffices(all));
        assert!(!count(3, 2, 4).suffices(all));
        // Somebody has it, but not one of those that were awaited.
        assert!(!count(1, 0, 1).suffices(all) && count(1, 0, 1).suffices(Require::Count(1)));
        assert!(!count(4, 2, 2).suffices(Require::Count(3)));
        let half = Require::Percent(50.0);
        assert!(count(4, 2, 2).suffices(half) && !count(5, 2, 2).suffices(half));
        let three = Require::Count(3);
        assert_eq!(
            count(1, 1, 1).lacks(three),
            "1 of the 3 required have everything"
        );
        let four = "only 2 of 5 awaited receivers have everything; 50% are required";
        assert_eq!(count(5, 2, 3).lacks(half), four);
        assert!(
            !count(0, 0, 0).suffices(Require::Percent(0.1)),
            "nobody is not enough"
        );
    }
}
