//! `sealcast cast`: arguments to configuration, one library call, report.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Access, access};
use sealcast::filters::cast::{Feed, Make, News, Report, Source};
use sealcast::filters::{Control, Error};
use sealcast::net::{Addressing, Destination, NetConfig};
use sealcast::proto::config::{NextPass, Series};
use sealcast::proto::limits::{FLOOR_DEFAULT, RECEIVERS_MAX, SLOW_GRACE_DEFAULT};
use sealcast::proto::{Fate, OneWay, Sender, SenderConfig, SenderEvent, Waiting};
use sealcast::sys::start_signal::StartSignal;
use sealcast::sys::stdio::Input;
use sealcast::sys::wake::Wake;
use sealcast::sys::{clock, entropy, signals};
use sealcast::units::{Duration, Rate};
use sealcast::wire::{DropReason, NAME_LEN_MAX, RejectReason, SessionId};

use serde_json::json;

use crate::cli::{CastArgs, Late, NetArgs, Slow};
use crate::exit::{ExitStatus, Failure};
use crate::journal::Journal;
use crate::keys;
use crate::report::{self, Voice, bytes, plain};

mod outcome;

/// What is announced before it is sent one-way, unless told otherwise.
const ONE_WAY_MIN_WAIT: Duration = Duration::from_secs(2);

/// Receivers that are turned away, or told to wait, with a word.
const TURNED_AWAY_MAX: u32 = 10;

/// What the words about receivers need.
struct Words {
    /// What people call the holders of the listed keys.
    names: Vec<String>,
    turned_away: Cell<u32>,
    waiting: Cell<u32>,
    /// Nobody answers.
    one_way: bool,
}

pub(crate) fn run(args: &CastArgs, voice: &Voice) -> Result<(), Failure> {
    let (keys, names) = keys::of_sender(args, voice)?;
    let open = keys.is_empty();
    let mut config = SenderConfig {
        keys,
        ..config(args)?
    };
    let way = way(args)?;
    let mut presenter = Presenter {
        args,
        voice,
        words: Words {
            names,
            turned_away: Cell::new(0),
            waiting: Cell::new(0),
            one_way: args.one_way,
        },
        journal: Journal::open(args.report.as_deref())?,
        open,
        failed: None,
        before: None,
        nobody_came_again: false,
    };
    let starter = StartSignal::new()?;
    let make = || producer(&args.command).map_err(|f| Error::Producer(f.message));
    let feed = feed(args, &make)?;
    let again = matches!(&feed, Feed::Input(input, _) if input.can_rewind());
    config.series = series(args, again)?;
    let source = Source {
        feed,
        starter,
        repeat: args.repeat,
    };
    let wake = Wake::new()?;
    let watch = signals::watch(wake.clone())?;
    let control = Control {
        seed: entropy::seed()?,
        wake: &wake,
        watch: &watch,
    };
    let net = net_config(&args.net);
    let mut tell = |news: News<'_>| presenter.tell(&news);
    let result = sealcast::filters::cast::cast(config, &net, &way, source, control, &mut tell);
    presenter.conclude(result)
}

/// Where the stream comes from: standard input, or a command, which is started anew for each
/// session that repeats it.
fn feed<'a>(args: &CastArgs, make: &'a Make<'a>) -> Result<Feed<'a>, Failure> {
    Ok(match (args.command.is_empty(), args.repeat) {
        (true, _) => Feed::Input(Input::stdin()?, None),
        (false, true) => {
            look_for(&args.command[0])?;
            Feed::Command(make)
        }
        (false, false) => {
            let (input, child) = producer(&args.command)?;
            Feed::Input(input, Some(child))
        }
    })
}

/// Says what happens, on standard error and in the report.
struct Presenter<'a> {
    args: &'a CastArgs,
    voice: &'a Voice,
    words: Words,
    journal: Journal,
    /// The session has no keys.
    open: bool,
    /// Why the last round that is over failed.
    failed: Option<Failure>,
    /// How the passes before one that fails went.
    before: Option<serde_json::Value>,
    /// Nobody came for the last pass: that of each before it is told.
    nobody_came_again: bool,
}

impl Presenter<'_> {
    fn tell(&mut self, news: &News<'_>) {
        let (args, voice) = (self.args, self.voice);
        match news {
            News::Announced {
                session,
                to,
                mtu,
                pass,
            } => self.tell_announced(*session, *to, *mtu, *pass),
            News::PassOver { report, waiting } => {
                outcome::tell_pass(report, &self.words.names, voice);
                let who = report::receivers(*waiting);
                voice.note(&format!("another pass, for {who}"));
                self.journal.event("pass_over", json!({"waiting": waiting}));
            }
            News::NobodyCameAgain => {
                voice.note("nobody came for it");
                self.nobody_came_again = true;
            }
            News::Before(report) => {
                let names = &self.words.names;
                self.before = Some(outcome::json_of_failure(Some(report), names, args.require));
            }
            News::RoundChanged(report) => self.tell_round_changed(*report),
            News::RoundOver(report) => self.tell_round_over(report),
            News::Waiting {
                waiting,
                starts_in,
                enter,
            } => {
                let (text, countdown) = if args.one_way {
                    ("announcing".into(), countdown(*starts_in, *enter))
                } else {
                    waiting_for(waiting, *starts_in, *enter)
                };
                voice.waiting(&text, &countdown);
            }
            News::Finishing(n) => {
                let whose = report::receivers(*n);
                voice.waiting(&format!("waiting for the consumers of {whose}"), "");
            }
            News::NobodyToStart => voice.warning("nobody is there to start with; waiting on"),
            News::Event(event) => {
                tell_event(event, &self.words, voice);
                record(event, &self.words.names, &mut self.journal);
            }
            News::Failed(error) => voice.warning(&format!("{error}; telling the receivers")),
            News::Tick(sender) if sender.is_waiting() || sender.committing().is_some() => {}
            News::Tick(sender) => voice.progress(|| progress(sender)),
        }
    }

    fn tell_announced(&mut self, session: SessionId, to: SocketAddr, mtu: usize, pass: u32) {
        let (args, voice) = (self.args, self.voice);
        self.journal.pass(pass);
        if self.open && pass == 1 && args.one_way {
            voice.note("anybody can listen, and pass for this sender; --key and -s change that");
        } else if self.open && pass == 1 {
            voice.note("anybody on this network can take part; -s, -R and --key keep them out");
        }
        voice.detail(1, || format!("session {session}, to {to}, MTU {mtu}"));
        self.journal.event(
            "announced",
            json!({
                "session": session.to_string(),
                "name": args.name,
                "to": to.to_string(),
                "mtu": mtu,
                "one_way": args.one_way,
                "unix_s": clock::unix_seconds(),
            }),
        );
    }

    fn tell_round_changed(&mut self, report: Option<&Report>) {
        let failure = Failure::from(Error::Changed);
        self.voice.warning(&failure.message);
        let names = &self.words.names;
        let mut fields = outcome::json_of_failure(report, names, self.args.require);
        fields["error"] = failure.message.as_str().into();
        self.journal.event("round_over", fields);
        self.failed = Some(failure);
    }

    fn tell_round_over(&mut self, report: &Report) {
        let (args, names) = (self.args, &self.words.names);
        let told = std::mem::take(&mut self.nobody_came_again);
        let result = outcome::conclude(report, names, args, told, self.voice);
        let fields = outcome::json(report, names, args.require);
        self.journal.event("round_over", fields);
        if let Err(failure) = result {
            self.voice.warning(&failure.message);
            self.failed = Some(failure);
        }
    }

    /// Tells how the cast ended, and closes the report.
    fn conclude(mut self, result: Result<Option<Report>, Error>) -> Result<(), Failure> {
        let (args, voice, names) = (self.args, self.voice, &self.words.names);
        match result {
            Ok(None) => {
                let success = self.failed.is_none();
                let message = self.failed.as_ref().map(|f| &*f.message);
                let fields = json!({"success": success, "complete": success});
                self.journal.end(fields, message);
                self.journal.close(self.failed.map_or(Ok(()), Err), voice)
            }
            Ok(Some(report)) => {
                let told = self.nobody_came_again;
                let result = outcome::conclude(&report, names, args, told, voice);
                let fields = outcome::json(&report, names, args.require);
                let message = result.as_ref().err().map(|f| &*f.message);
                self.journal.end(fields, message);
                self.journal.close(result, voice)
            }
            Err(error) => {
                let nothing = || outcome::json_of_failure(None, names, args.require);
                let fields = self.before.unwrap_or_else(nothing);
                self.journal.end(fields, Some(&error.to_string()));
                self.journal.close(Err(error), voice)
            }
        }
    }
}

/// The network as both sides are told it.
pub(crate) fn net_config(args: &NetArgs) -> NetConfig {
    NetConfig {
        group: args.group,
        ipv6: args.ipv6,
        port: args.port,
        interface: args.interface.clone(),
    }
}

/// A time limit of the command line, where 0 means none.
pub(crate) fn limit(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_ms(ms))
}

fn config(args: &CastArgs) -> Result<SenderConfig, Failure> {
    let min_wait = args.min_wait.map(Duration::from_ms);
    if args.max_wait < args.min_wait && args.max_wait.is_some() {
        let message = "--max-wait is shorter than --min-wait";
        return Err(Failure::new(ExitStatus::Usage, message));
    }
    let expect = expected(&args.expect)?;
    let alone = u32::from(args.to.is_some() && expect.is_empty() && !args.one_way);
    Ok(SenderConfig {
        name: args.name.clone(),
        memory: usize::try_from(args.memory).unwrap_or(usize::MAX),
        receivers: args.receivers.unwrap_or(alone),
        expect,
        settle: Duration::from_ms(args.settle),
        min_wait: min_wait.unwrap_or(if args.one_way {
            ONE_WAY_MIN_WAIT
        } else {
            Duration::ZERO
        }),
        max_wait: args.max_wait.map(Duration::from_ms),
        start_timeout: limit(args.start_timeout).filter(|_| !args.repeat),
        stall_max: limit(args.stall_timeout),
        finish_max: limit(args.finish_timeout),
        rate_max: args.rate.map(Rate::from_bits_per_s),
        one_way: args.one_way.then_some(OneWay {
            redundancy: args.redundancy,
        }),
        floor: floor(args)?,
        slow_grace: args
            .slow_grace
            .map_or(SLOW_GRACE_DEFAULT, Duration::from_ms),
        ..SenderConfig::default()
    })
}

/// What is to become of receivers that come too late or are too slow, with an input that can be
/// read `again` or not.
fn series(args: &CastArgs, again: bool) -> Result<Series, Failure> {
    let slow_later = args.slow == Some(Slow::Later);
    let by_command = args.repeat && !args.command.is_empty();
    let goes_on = match args.late {
        // One-way, nobody says that it came too late.
        None => (again || args.repeat) && !args.one_way,
        Some(late) => late == Late::Next,
    };
    let option = match (slow_later, goes_on) {
        (true, false) if again => {
            let message = "--slow later needs another pass, and --late refuse forbids it";
            return Err(Failure::new(ExitStatus::Usage, message));
        }
        (true, _) => "--slow later",
        (false, _) if args.repeat => "--repeat",
        (false, _) => "--late next",
    };
    let needed = slow_later || (goes_on || args.repeat) && !by_command;
    if needed && !again {
        let message = format!("{option} needs an input that can be read again");
        return Err(Failure::new(ExitStatus::Usage, message)
            .hint("redirect a file or a block device with `<`"));
    }
    Ok(Series {
        next_pass: match (goes_on, slow_later) {
            (_, true) => NextPass::ForLateAndSlow,
            (true, false) => NextPass::ForLate,
            (false, false) => NextPass::Never,
        },
        repeat: args.repeat,
        ..Series::default()
    })
}

/// The floor below which receivers are let go.
fn floor(args: &CastArgs) -> Result<Option<Rate>, Failure> {
    let usage = |message: &str| Err(Failure::new(ExitStatus::Usage, message));
    let floor = match (args.slow, args.min_rate) {
        (Some(Slow::Wait), Some(_)) => return usage("--slow wait has no use for a --min-rate"),
        (Some(Slow::Wait) | None, None) if args.slow_grace.is_some() => {
            return usage("--slow-grace needs --slow evict, --slow later or --min-rate");
        }
        (Some(Slow::Wait) | None, None) => return Ok(None),
        (Some(Slow::Evict | Slow::Later), None) => FLOOR_DEFAULT,
        (Some(Slow::Evict | Slow::Later) | None, Some(bits)) => Rate::from_bits_per_s(bits),
    };
    if args
        .rate
        .is_some_and(|most| Rate::from_bits_per_s(most) <= floor)
    {
        return usage("--rate must be above the rate below which receivers are let go");
    }
    Ok(Some(floor))
}

/// The names of the receivers that are expected, each once.
fn expected(words: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = BTreeSet::new();
    for word in words {
        if let Some(path) = word.strip_prefix('@') {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::io(&format!("cannot read {path}"), &e))?;
            let lines = text.lines().map(str::trim);
            names.extend(
                lines
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(str::to_owned),
            );
        } else {
            names.insert(word.trim().to_owned());
        }
    }
    let wrong = names
        .iter()
        .find(|name| !(1..=NAME_LEN_MAX).contains(&name.len()));
    if let Some(name) = wrong {
        let message = format!("--expect: `{name}` cannot be the name of a receiver");
        let hint = format!("names have 1 to {NAME_LEN_MAX} bytes");
        return Err(Failure::new(ExitStatus::Usage, message).hint(hint));
    }
    if names.len() > RECEIVERS_MAX || names.is_empty() != words.is_empty() {
        let message = format!("--expect: {} names, not 1 to {RECEIVERS_MAX}", names.len());
        return Err(Failure::new(ExitStatus::Usage, message));
    }
    Ok(names.into_iter().collect())
}

fn way(args: &CastArgs) -> Result<Destination, Failure> {
    let addressing = match &args.to {
        Some(host) => Addressing::Peer(peer(host, args.net.port, args.net.ipv6)?),
        None if args.broadcast => Addressing::Broadcast,
        None => Addressing::Group,
    };
    Ok(Destination {
        addressing,
        ttl: args.ttl,
        mtu: args.mtu.map(usize::from),
    })
}

/// The address of a host, perhaps with a port.
fn peer(text: &str, port: u16, ipv6: bool) -> Result<SocketAddr, Failure> {
    let unusable = |why: String| {
        Failure::new(ExitStatus::Usage, format!("--to {text}: {why}"))
            .hint("give the name or address of one receiver, perhaps with a port, as [::1]:8367")
    };
    let split = || {
        let (host, port) = text.rsplit_once(':')?;
        Some((host, port.parse().ok()?)).filter(|(host, _)| !host.contains(':'))
    };
    let found: Vec<SocketAddr> = if let Ok(ip) = text.parse::<IpAddr>() {
        vec![SocketAddr::new(ip, port)]
    } else if let Ok(address) = text.parse() {
        vec![address]
    } else {
        let named: (&str, u16) = split().unwrap_or((text, port));
        let found = named.to_socket_addrs();
        found.map_err(|e| unusable(e.to_string()))?.collect()
    };
    let address = found.iter().find(|address| address.is_ipv6() == ipv6);
    let address = address.or(found.first().filter(|_| !ipv6));
    let address = address.ok_or_else(|| unusable("it has no such address".into()))?;
    let ip = address.ip();
    if ip.is_multicast() || ip.is_unspecified() || address.port() == 0 {
        return Err(unusable("that is no receiver's address".into()));
    }
    Ok(*address)
}

/// Starts the command that makes the stream, at the head of a process group: all that it starts can
/// then be stopped with it.
fn producer(command: &[OsString]) -> Result<(Input, std::process::Child), Failure> {
    let name = command[0].to_string_lossy();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Failure::io(&format!("cannot run {name}"), &e))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::new(
            ExitStatus::Local,
            format!("cannot read what {name} writes"),
        ));
    };
    let input = Input::from_file(File::from(OwnedFd::from(stdout)))?;
    Ok((input, child))
}

/// Whether there is a command of this name, before somebody waits for what it writes.
fn look_for(name: &OsStr) -> Result<(), Failure> {
    let runs = |path: &Path| access(path, Access::EXEC_OK).is_ok() && path.is_file();
    let found = if name.as_bytes().contains(&b'/') {
        runs(Path::new(name))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| runs(&dir.join(name)))
    };
    if found {
        return Ok(());
    }
    let name = name.to_string_lossy();
    let message = format!("cannot run {name}: there is no such command");
    Err(Failure::new(ExitStatus::Local, message))
}

/// What is waited for in words, and how long still.
fn waiting_for(waiting: &Waiting, starts_in: Option<Duration>, enter: bool) -> (String, String) {
    let Waiting { joined, wanted, .. } = waiting;
    let mut text = match (joined, wanted) {
        (0, 0) => "waiting for receivers".to_owned(),
        (n, 0) => format!("waiting for more receivers: {n} here"),
        (n, wanted) => format!("waiting for receivers: {n} of {wanted} here"),
    };
    if !waiting.missing.is_empty() {
        let names: Vec<String> = waiting.missing.iter().map(|name| plain(name)).collect();
        text += &format!(", without {}", names.join(", "));
        if waiting.more > 0 {
            text += &format!(" and {} more", waiting.more);
        }
    }
    (text, countdown(starts_in, enter && *joined > 0))
}

/// How long it is to the start, and how to make it come sooner.
fn countdown(starts_in: Option<Duration>, enter: bool) -> String {
    let mut text = starts_in.map_or(String::new(), |time| {
        format!("; starts in {} s", time.as_us().div_ceil(1_000_000))
    });
    if enter {
        text += "; Enter starts now";
    }
    text
}

fn turned_away(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::TooLate | RejectReason::NextPass => "it came too late",
        RejectReason::BrokenOff => "the cast is broken off",
        RejectReason::Full => "the session is full",
        RejectReason::KeyNeeded => "it showed no key, and -R asks for one",
        RejectReason::NotListed => "the key that it showed is not in the list",
    }
}

fn tell_event(event: &SenderEvent, words: &Words, voice: &Voice) {
    match event {
        SenderEvent::Joined {
            name, from, listed, ..
        } => {
            let key = key_name(*listed, &words.names).map(|key| format!(" with the key of {key}"));
            let (name, ip) = (plain(name), from.ip());
            voice.note(&format!("{name} ({ip}) joined{}", key.unwrap_or_default()));
        }
        SenderEvent::Rejected { name, reason, .. } => {
            let why = format!("turned {} away: {}", plain(name), turned_away(*reason));
            // Anybody can ask, as often as they like.
            if words.turned_away.replace(words.turned_away.get() + 1) < TURNED_AWAY_MAX {
                voice.warning(&why);
            } else {
                voice.detail(1, || why);
            }
        }
        SenderEvent::Waits { name, from } => {
            let (name, ip) = (plain(name), from.ip());
            let why = format!("{name} ({ip}) came too late, and waits for another pass");
            if words.waiting.replace(words.waiting.get() + 1) < TURNED_AWAY_MAX {
                voice.note(&why);
            } else {
                voice.detail(1, || why);
            }
        }
        SenderEvent::Started { .. } if words.one_way => {
            voice.note("sending to whoever listens");
        }
        SenderEvent::Started { receivers } => {
            voice.note(&format!("sending to {}", report::receivers(*receivers)));
        }
        SenderEvent::RateLimited { reason, name, rate } => {
            voice.detail(1, || outcome::rate_reason(*reason, name.as_deref(), *rate));
        }
        SenderEvent::Finished {
            name,
            fate: Fate::Done,
            ..
        } => {
            voice.detail(1, || format!("{} has everything", plain(name)));
        }
        SenderEvent::Finished { name, fate, .. } => {
            let why = outcome::describe(*fate);
            let verb = match fate {
                Fate::Dropped(DropReason::NextPass) => "must wait",
                _ => "is out",
            };
            voice.warning(&format!("{} {verb}: {why}", plain(name)));
        }
        SenderEvent::Ended(_) => {}
    }
}

/// What people call the holder of a listed key.
fn key_name(listed: Option<usize>, names: &[String]) -> Option<&str> {
    names.get(listed?).map(String::as_str)
}

/// The same for programs; `man/sealcast-cast.1` says what it holds.
fn record(event: &SenderEvent, names: &[String], journal: &mut Journal) {
    match event {
        SenderEvent::Joined {
            receiver,
            name,
            from,
            listed,
        } => journal.event(
            "joined",
            json!({
                "receiver": receiver,
                "name": name,
                "address": from.ip().to_string(),
                "key": key_name(*listed, names),
            }),
        ),
        SenderEvent::Rejected { name, from, reason } => journal.event(
            "turned_away",
            json!({
                "name": name,
                "address": from.ip().to_string(),
                "reason": turned_away(*reason),
            }),
        ),
        SenderEvent::Waits { name, from } => journal.event(
            "waits",
            json!({"name": name, "address": from.ip().to_string()}),
        ),
        SenderEvent::Started { receivers } => {
            journal.event("started", json!({"receivers": receivers}));
        }
        SenderEvent::RateLimited { reason, name, rate } => journal.event(
            "rate",
            json!({
                "reason": outcome::reason_word(*reason),
                "receiver": reason.receiver(),
                "name": name,
                "bits_s": rate.as_bits_per_s(),
            }),
        ),
        SenderEvent::Finished {
            receiver,
            name,
            fate,
        } => journal.event(
            "finished",
            json!({
                "receiver": receiver,
                "name": name,
                "done": *fate == Fate::Done,
                "fate": outcome::describe(*fate),
            }),
        ),
        SenderEvent::Ended(_) => {}
    }
}

fn progress(sender: &Sender) -> String {
    let stats = sender.stats();
    if sender.is_one_way() {
        return format!(
            "{} sent, {} repair symbols",
            bytes(stats.bytes),
            stats.repair
        );
    }
    format!(
        "{} sent, {} Mbit/s at most, {} active, {} done, {} repair symbols",
        bytes(stats.bytes),
        stats.rate.as_bits_per_s() / 1_000_000,
        stats.active,
        stats.done,
        stats.repair
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_host_perhaps_with_a_port() {
        let found = |text, ipv6| peer(text, 7, ipv6).ok().map(|a| a.to_string());
        assert_eq!(found("10.0.0.1", false), Some("10.0.0.1:7".into()));
        assert_eq!(found("10.0.0.1:99", false), Some("10.0.0.1:99".into()));
        assert_eq!(found("::1", false), Some("[::1]:7".into()));
        assert_eq!(found("[fd00::1]:99", true), Some("[fd00::1]:99".into()));
        assert_eq!(found("10.0.0.1", true), None);
        for text in ["224.0.0.1", "0.0.0.0", "ff02::1", "10.0.0.1:0", ""] {
            assert_eq!(found(text, false), None, "{text}");
        }
    }

    #[test]
    fn what_is_waited_for_is_said_in_a_line() {
        let mut waiting = Waiting {
            joined: 0,
            wanted: 0,
            missing: vec![],
            more: 0,
            starts_at: None,
        };
        let said = |waiting: &Waiting, ms: Option<u64>, enter| {
            let (text, countdown) = waiting_for(waiting, ms.map(Duration::from_ms), enter);
            text + &countdown
        };
        assert_eq!(said(&waiting, None, true), "waiting for receivers");
        waiting.joined = 2;
        assert_eq!(
            said(&waiting, Some(1_001), true),
            "waiting for more receivers: 2 here; starts in 2 s; Enter starts now"
        );
        waiting.wanted = 9;
        waiting.missing = vec!["a".into(), "b\n".into()];
        waiting.more = 5;
        assert_eq!(
            said(&waiting, None, false),
            "waiting for receivers: 2 of 9 here, without a, b\u{fffd} and 5 more"
        );
    }
}
