//! `sealcast cast`: its arguments as a configuration that makes sense.

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
use sealcast::filters::{BlockSource, CastConfig, CommandSource, Error, InputSource};
use sealcast::net::{Addressing, AnswerPort, Destination, NetConfig, PORT_DEFAULT};
use sealcast::proto::config::{NextPass, Series};
use sealcast::proto::limits::{
    FLOOR_DEFAULT, HOLD_MAX_DEFAULT, MTU_DEFAULT, RECEIVERS_MAX, SLOW_GRACE_DEFAULT,
};
use sealcast::proto::{OneWay, SenderConfig};
use sealcast::sys::signals::SignalWatch;
use sealcast::sys::start_signal::StartSignal;
use sealcast::sys::stdio::Input;
use sealcast::units::{Duration, Rate};
use sealcast::wire::NAME_LEN_MAX;

use super::keys;
use crate::cli::{CastArgs, Late, NetArgs, Slow};
use crate::exit::{ExitStatus, Failure};
use crate::present::Console;

/// What is announced before it is sent one-way, unless told otherwise.
const ONE_WAY_MIN_WAIT: Duration = Duration::from_secs(2);

/// A cast that makes sense.
pub(crate) struct CastPlan {
    pub(crate) config: CastConfig,
    /// What people call the holders of the listed keys.
    pub(crate) names: Vec<String>,
    /// The session has no keys.
    pub(crate) open: bool,
}

impl CastPlan {
    /// Reads the keys and checks the arguments.
    pub(crate) fn new(args: &CastArgs, console: &Console) -> Result<Self, Failure> {
        let mtu = args.mtu.map_or(MTU_DEFAULT, usize::from);
        question_rate("--rate", args.rate, mtu, console);
        question_rate("--min-rate", args.min_rate, mtu, console);
        let (keys, names) = keys::of_sender(args, console)?;
        let open = keys.is_empty();
        Ok(Self {
            config: CastConfig {
                sender: SenderConfig {
                    keys,
                    ..config(args)?
                },
                net: net_config(&args.net)?,
                destination: destination(args)?,
                start: StartSignal::manual(),
                repeat: args.repeat,
            },
            names,
            open,
        })
    }

    /// Opens what is cast, and decides with that about further passes.
    pub(crate) fn source<'a>(
        &mut self,
        args: &'a CastArgs,
        watch: &'a SignalWatch,
    ) -> Result<Box<dyn BlockSource + 'a>, Failure> {
        let source = source(args, watch)?;
        let again = source.can_rewind();
        self.config.sender.series = series(args, again)?;
        Ok(source)
    }
}

/// Where the stream comes from: standard input, or a command, which is started anew for each
/// session that repeats it.
fn source<'a>(
    args: &'a CastArgs,
    watch: &'a SignalWatch,
) -> Result<Box<dyn BlockSource + 'a>, Failure> {
    Ok(match (args.command.is_empty(), args.repeat) {
        (true, _) => Box::new(InputSource::new(Input::stdin()?)),
        (false, true) => {
            look_for(&args.command[0])?;
            let start = || {
                let failed = |failure: Failure| Error::Producer(failure.message);
                producer(&args.command, watch).map_err(failed)
            };
            Box::new(CommandSource::new(start)?)
        }
        (false, false) => Box::new(producer(&args.command, watch)?),
    })
}

/// The network as both sides are told it.
pub(crate) fn net_config(args: &NetArgs) -> Result<NetConfig, Failure> {
    Ok(NetConfig {
        group: args.group.map(|group| group.ip),
        ipv6: args.ipv6,
        port: port(args)?,
        interface: args.interface.clone(),
    })
}

/// The UDP port, which can stand in two places.
fn port(args: &NetArgs) -> Result<u16, Failure> {
    match (args.group.and_then(|group| group.port), args.port) {
        (Some(one), Some(other)) if one != other => Err(Failure::new(
            ExitStatus::Usage,
            format!("--group has the port {one}, and --port is {other}"),
        )),
        (one, other) => Ok(one.or(other).unwrap_or(PORT_DEFAULT)),
    }
}

/// Asks whether a rate is meant that lets not even a datagram a second through: as a rule it lacks
/// a unit.
pub(crate) fn question_rate(option: &str, bits: Option<u64>, mtu: usize, console: &Console) {
    if let Some(bits) = bits.filter(|&bits| bits < 8 * mtu as u64) {
        console.warning(&format!(
            "{option} is {bits} bits a second, less than one datagram; was {bits}M meant?"
        ));
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
        silent_max: Duration::from_ms(args.silence_timeout),
        stall_max: limit(args.stall_timeout),
        finish_max: limit(args.finish_timeout),
        rate_max: args.rate.map(Rate::from_bits_per_s),
        one_way: args.one_way.then_some(OneWay {
            redundancy: args.redundancy,
        }),
        floor: floor(args)?,
        hold_max: (args.slow.is_none() && args.min_rate.is_none()).then_some(HOLD_MAX_DEFAULT),
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
        // One-way receivers cannot say that they came too late.
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

/// The floor below which receivers are dropped.
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
        return usage("--rate must be above the rate below which receivers are dropped");
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

fn destination(args: &CastArgs) -> Result<Destination, Failure> {
    let addressing = match &args.to {
        Some(host) => Addressing::Peer(peer(host, port(&args.net)?, args.net.ipv6)?),
        None if args.broadcast => Addressing::Broadcast,
        None => Addressing::Group,
    };
    Ok(Destination {
        addressing,
        ttl: args.ttl,
        mtu: args.mtu.map(usize::from),
        answers: answer_port(args)?,
    })
}

/// The port on which the sender hears answers.
fn answer_port(args: &CastArgs) -> Result<AnswerPort, Failure> {
    let to = port(&args.net)?;
    Ok(match (args.answer_port, to.checked_add(1)) {
        (Some(0), _) => AnswerPort::Any,
        (Some(port), _) if port == to => {
            let message = format!("--answer-port {port}: that is the port of the receivers");
            return Err(Failure::new(ExitStatus::Usage, message)
                .hint("a receiver on this host would take the answers: choose another port"));
        }
        (Some(port), _) => AnswerPort::Fixed(port),
        (None, Some(next)) if !args.one_way => AnswerPort::Preferred(next),
        (None, _) => AnswerPort::Any,
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
fn producer(command: &[OsString], watch: &SignalWatch) -> Result<InputSource, Failure> {
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
    Ok(InputSource::of_command(input, child, Some(watch))?)
}

/// Whether there is a command of this name, before receivers wait for what it writes.
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
}
