//! What `sealcast catch` says while it runs: words for people, events for programs.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use sealcast::crypt::sign::VerifyingKey;
use sealcast::filters::{CatchEvent, CatchReport, Error};
use sealcast::net::{self, JoinedGroup, NetConfig};
use sealcast::proto::{Awaits, PassedOver, Receiver, ReceiverEnd, ReceiverEvent};
use sealcast::seal::{NamedKey, SenderKey};
use sealcast::sys::clock;
use sealcast::wire::{AbortReason, DropReason, LeaveReason, RejectReason};
use serde_json::{Value, json};

use super::console::{Console, bytes, no_network, plain};
use super::event_log::EventLog;
use crate::cli::CatchArgs;
use crate::exit::{ExitStatus, Failure};

/// So many sessions are told of.
const FOUND_MAX: u32 = 20;

/// Says what happens, on standard error and in the report.
pub(crate) struct CatchPresenter<'a> {
    args: &'a CatchArgs,
    console: &'a Console,
    /// Where it listens.
    place: String,
    net: NetConfig,
    /// Groups that it cannot listen to.
    unheard: Vec<IpAddr>,
    /// That nothing can be heard was told, or why nothing can.
    deaf: bool,
    started: bool,
    senders: Vec<NamedKey<SenderKey>>,
    log: EventLog,
    heard: Heard,
    /// Bytes that the consumer got.
    handed_out: u64,
}

impl<'a> CatchPresenter<'a> {
    /// Opens the report.
    pub(crate) fn new(
        args: &'a CatchArgs,
        console: &'a Console,
        net: &NetConfig,
        senders: Vec<NamedKey<SenderKey>>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            args,
            console,
            place: net.target().to_string(),
            net: net.clone(),
            unheard: Vec::new(),
            deaf: false,
            started: false,
            senders,
            log: EventLog::open(args.report.as_deref())?,
            heard: Heard::default(),
            handed_out: 0,
        })
    }

    pub(crate) fn tell(&mut self, event: &CatchEvent<'_>) {
        let console = self.console;
        match event {
            CatchEvent::Waiting(Awaits::Sender) if self.deaf => {}
            CatchEvent::Waiting(awaits) => {
                console.waiting(&waiting_for(*awaits, &self.place, self.args), "");
            }
            CatchEvent::Listening(joined) => self.tell_listening(joined),
            CatchEvent::NoNetwork(error) => {
                let known = std::mem::replace(&mut self.deaf, true);
                if !self.started {
                    console.waiting(&no_network(error), "");
                } else if !known {
                    console.warning(&format!("{error}; nothing can be heard"));
                }
            }
            CatchEvent::Event(event) => {
                self.started |= matches!(event, ReceiverEvent::Started);
                if self.heard.is_news(event, console) {
                    tell_event(event, &self.senders, console);
                    record(event, &mut self.log);
                }
            }
            CatchEvent::SmallBuffer(granted) => warn_of_buffer(*granted, console),
            CatchEvent::Mtu { datagram, mtu } => console.warning(&format!(
                "the sender's datagrams of {datagram} bytes do not fit our network's MTU of {mtu}; \
                 it needs --mtu {mtu}"
            )),
            CatchEvent::Tick(receiver) if receiver.awaits().is_some() => {}
            CatchEvent::Tick(receiver) => {
                self.handed_out = receiver.stats().bytes;
                console.progress(|| progress(receiver));
            }
        }
    }

    fn tell_listening(&mut self, joined: &[JoinedGroup]) {
        let console = self.console;
        self.place = place(joined);
        let was_deaf = std::mem::take(&mut self.deaf);
        if self.started {
            if was_deaf {
                console.note(&format!("listening again on {}", self.place));
            }
            return;
        }
        console.detail(1, || format!("listening on {}", self.place));
        let mut groups = self.net.groups();
        groups.retain(|ip| joined.iter().all(|at| at.group.ip() != *ip));
        for ip in &groups {
            // Most networks have IPv4, and many have nothing else.
            let text = format!("no route to {ip}, which is not listened to");
            match ip {
                IpAddr::V4(_) => console.note(&text),
                IpAddr::V6(_) => console.detail(1, || text),
            }
        }
        self.unheard = groups;
    }

    /// Tells how the catch ended, and closes the report.
    pub(crate) fn conclude(mut self, result: Result<CatchReport, Error>) -> Result<(), Failure> {
        let (args, console) = (self.args, self.console);
        match result {
            Ok(report) => {
                let place = (self.net.port, &self.unheard[..]);
                let result = finish(&report, (&self.heard, place), args, console);
                let message = result.as_ref().err().map(|f| &*f.message);
                self.log.end(json(&report), message);
                let whole = report.end == ReceiverEnd::Dropped(DropReason::Unfinished);
                let bytes = if whole { 0 } else { report.stats.bytes };
                let result = result.map_err(|failure| partial(failure, bytes, args));
                self.log.close(result, console)
            }
            Err(error) => {
                let message = error.to_string();
                self.log.end(json!({"complete": false}), Some(&message));
                let result = self.log.close(Err(error), console);
                result
                    .map_err(|failure| Failure { message, ..failure })
                    .map_err(|failure| partial(failure, self.handed_out, args))
            }
        }
    }
}

/// Warns the reader of standard output that it has only a part of the stream.
fn partial(failure: Failure, bytes: u64, args: &CatchArgs) -> Failure {
    let seen = args.command.is_empty() && args.output.as_deref().is_none_or(is_stdout);
    if !seen || bytes == 0 {
        return failure;
    }
    failure.hint("what was written so far is not the whole stream")
}

/// Warns that the system grants so few bytes of receive buffer.
fn warn_of_buffer(granted: u32, console: &Console) {
    console.warning(&format!(
        "the system grants a receive buffer of {} only, which slows the cast down, and loses \
         datagrams of one that is one-way; \
         `sysctl -w net.core.rmem_max=16777216` allows more",
        bytes(granted.into())
    ));
}

/// What was heard of sessions that we may never be in: an attacker can announce any number of them.
#[derive(Default)]
struct Heard {
    sessions: u32,
    ignored: bool,
    /// Sessions of another name than the one that is wanted.
    names: Vec<String>,
    /// The newest sender that was asked to admit us, perhaps in vain.
    asked: Option<SocketAddr>,
}

impl Heard {
    /// Whether an event is worth a word.
    fn is_news(&mut self, event: &ReceiverEvent, console: &Console) -> bool {
        match event {
            ReceiverEvent::PassedOver { .. } => self.ignored = true,
            ReceiverEvent::OtherName { name, .. } => self.names.push(quoted(name)),
            ReceiverEvent::Found { from, one_way, .. } => {
                self.asked = Some(*from).filter(|_| !one_way);
            }
            _ => {}
        }
        if !matches!(event, ReceiverEvent::Found { .. }) {
            return true;
        }
        self.sessions = self.sessions.saturating_add(1);
        if self.sessions == FOUND_MAX + 1 {
            console.warning("more sessions are ignored without a message");
        }
        self.sessions <= FOUND_MAX
    }
}

/// Whether the name of an output means standard output.
fn is_stdout(output: &Path) -> bool {
    output == Path::new("-")
}

/// Where it listens: the groups, and the interface that they are joined on.
fn place(joined: &[JoinedGroup]) -> String {
    let groups: Vec<String> = joined
        .iter()
        .enumerate()
        .map(|(i, at)| match i {
            0 => at.group.to_string(),
            _ => at.group.ip().to_string(),
        })
        .collect();
    let mut text = groups.join(" and ");
    let mut interfaces: Vec<&String> = joined.iter().flat_map(|at| &at.interface).collect();
    interfaces.dedup();
    for name in interfaces {
        text += &format!(", {name}");
        if net::is_down(name) {
            text += ", which is down";
        }
    }
    text
}

/// The name of a session, for it may have none.
fn quoted(name: &str) -> String {
    match name {
        "" => "one without a name".into(),
        name => format!("{:?}", plain(name)),
    }
}

fn waiting_for(awaits: Awaits, place: &str, args: &CatchArgs) -> String {
    match awaits {
        Awaits::Sender => {
            let session = match &args.name {
                Some(name) => format!("session {name:?}"),
                None => "a sender".into(),
            };
            format!("waiting for {session} on {place}")
        }
        Awaits::Next => "waiting for the next pass".into(),
        Awaits::Answer(from) => format!("waiting for the answer of {}", from.ip()),
        Awaits::Start(Some(policy)) if policy.wanted > 0 => {
            let (joined, wanted) = (policy.joined, policy.wanted);
            format!("waiting for the start: {joined} of {wanted} receivers are there")
        }
        Awaits::Start(_) => "waiting for the start".into(),
    }
}

fn tell_event(event: &ReceiverEvent, senders: &[NamedKey<SenderKey>], console: &Console) {
    match event {
        ReceiverEvent::Found {
            name,
            from,
            signer,
            session,
            one_way,
            ..
        } => {
            let kind = if *one_way {
                "one-way session"
            } else {
                "session"
            };
            let name = if name.is_empty() {
                String::new()
            } else {
                format!(" {name:?}")
            };
            let signer = match signer {
                Some(key) => signed_by(key, senders),
                None => ", which is not signed".into(),
            };
            console.note(&format!("found {kind}{name} of {}{signer}", from.ip()));
            console.detail(1, || format!("session {session}"));
        }
        ReceiverEvent::PassedOver { from, why } => {
            let why = describe(*why);
            console.warning(&format!("ignored a session of {}: {why}", from.ip()));
        }
        ReceiverEvent::OtherName { from, name } => console.warning(&format!(
            "ignored a session of {}: {}, and --name asks for another",
            from.ip(),
            quoted(name)
        )),
        ReceiverEvent::Moved { from } => {
            console.note(&format!("the sender has the address {} now", from.ip()));
        }
        ReceiverEvent::Joined { receiver, .. } => {
            console.detail(1, || format!("joined as receiver {receiver}"));
        }
        ReceiverEvent::Waiting(_) | ReceiverEvent::Ended(_) => {}
        ReceiverEvent::Forgotten => console.warning("the sender fell silent; searching again"),
        ReceiverEvent::Waits { from: None } => {
            console.note("came too late for this pass, and waits for the next");
        }
        ReceiverEvent::Waits { from: Some(n) } => console.warning(&format!(
            "too slow for the others: waits for the next pass, to go on after {}",
            bytes(*n)
        )),
        ReceiverEvent::Started => console.note("receiving"),
        ReceiverEvent::Complete { length } => {
            console.detail(1, || format!("all {} are here", bytes(*length)));
        }
    }
}

/// The same for programs; `man/sealcast-catch.1` says what it holds.
fn record(event: &ReceiverEvent, log: &mut EventLog) {
    match event {
        ReceiverEvent::Found {
            session,
            name,
            signer,
            from,
            one_way,
            ..
        } => log.event(
            "found",
            json!({
                "session": session.to_string(),
                "name": name,
                "signer": signer.and_then(|key| sender(&key)).map(|s| s.to_string()),
                "address": from.ip().to_string(),
                "one_way": one_way,
                "unix_s": clock::unix_seconds(),
            }),
        ),
        ReceiverEvent::PassedOver { from, why } => log.event(
            "passed_over",
            json!({"address": from.ip().to_string(), "reason": describe(*why)}),
        ),
        ReceiverEvent::OtherName { from, name } => log.event(
            "passed_over",
            json!({
                "address": from.ip().to_string(),
                "reason": "it has another name",
                "name": name,
            }),
        ),
        ReceiverEvent::Moved { from } => {
            log.event("moved", json!({"address": from.ip().to_string()}));
        }
        ReceiverEvent::Joined { receiver, .. } => {
            log.event("joined", json!({"receiver": receiver}));
        }
        ReceiverEvent::Waits { from } => log.event("waits", json!({"bytes": from})),
        ReceiverEvent::Started => log.event("started", json!({})),
        ReceiverEvent::Complete { length } => log.event("received", json!({"bytes": length})),
        ReceiverEvent::Waiting(_) | ReceiverEvent::Forgotten | ReceiverEvent::Ended(_) => {}
    }
}

fn sender(key: &[u8; 32]) -> Option<SenderKey> {
    VerifyingKey::from_bytes(key).ok().map(SenderKey::new)
}

/// Who signed a session: its name, if we know it, and its fingerprint.
fn signed_by(key: &[u8; 32], senders: &[NamedKey<SenderKey>]) -> String {
    let Some(sender) = sender(key) else {
        return String::new();
    };
    let known = senders.iter().find(|named| named.key == sender);
    let name = known.map_or("", |named| &named.name);
    let space = if name.is_empty() { "" } else { " " };
    let fingerprint = sender.fingerprint();
    format!(", signed by {}{space}{fingerprint}", name.escape_debug())
}

fn describe(why: PassedOver) -> &'static str {
    match why {
        PassedOver::Unsigned => "it is not signed, and --from asks for a signature",
        PassedOver::OtherSigner => "its signer is not named by --from",
        PassedOver::SharedKeyNeeded => "it has a shared secret; give it with --key or -p",
        PassedOver::OtherSharedKey => "it has another shared secret than ours, or is forged",
        PassedOver::NoSharedKey => "it has no shared secret, and ours asks for one",
        PassedOver::OneWay => "it is one-way; --one-way takes part",
        PassedOver::TwoWay => "it wants answers, and with --one-way we give none",
        PassedOver::MoreMemory => {
            "it is one-way, and sends more at once than --memory allows for: half of the \
             sender's is needed"
        }
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

/// The last event of the report; `man/sealcast-catch.1` says what it holds.
fn json(report: &CatchReport) -> Value {
    let stats = &report.stats;
    json!({
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

fn finish(
    report: &CatchReport,
    (heard, place): (&Heard, (u16, &[IpAddr])),
    args: &CatchArgs,
    console: &Console,
) -> Result<(), Failure> {
    let stats = &report.stats;
    console.detail(1, || {
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
        console.warning("heard datagrams of another version of the protocol");
    }
    let transfer = |message: &str| Failure::new(ExitStatus::Transfer, message);
    let failure = match &report.end {
        ReceiverEnd::Complete => {
            console.note(&format!(
                "{} in {:.2} s, complete",
                bytes(stats.bytes),
                report.elapsed.as_secs_f64()
            ));
            return Ok(());
        }
        ReceiverEnd::NoSender => no_sender(heard, place, args),
        ReceiverEnd::Rejected(reason) => rejected(*reason, args.one_way),
        ReceiverEnd::SenderLost(silence) => transfer(&format!(
            "lost the sender: nothing was heard of it for {} s",
            silence.as_secs_f64()
        )),
        ReceiverEnd::Aborted(reason, text) => transfer(&aborted(*reason, &plain(text))),
        ReceiverEnd::Dropped(reason) => dropped(*reason),
        ReceiverEnd::Lost { block, lacks } => lost(*block, *lacks),
        ReceiverEnd::Overrun { block } => overrun(*block),
        ReceiverEnd::Corrupt | ReceiverEnd::Left(LeaveReason::Corrupt) => corrupt(report.resumed),
        ReceiverEnd::Left(_) => transfer("left the session"),
    };
    Err(failure)
}

/// No session took us in: the error says what was heard instead.
fn no_sender(heard: &Heard, (port, unheard): (u16, &[IpAddr]), args: &CatchArgs) -> Failure {
    let transfer = |message: &str| Failure::new(ExitStatus::Transfer, message);
    if let Some(sender) = heard.asked {
        let (ip, port) = (sender.ip(), sender.port());
        return transfer(&format!(
            "{ip} announced a session, and did not answer this receiver"
        ))
        .hint(format!(
            "a firewall there must let in UDP port {port}, where it hears answers"
        ));
    }
    let failure = transfer("no sender has admitted this receiver");
    if heard.ignored {
        return failure.hint("a session was ignored, for the reason given above");
    }
    match (&heard.names[..], &args.name) {
        ([_, ..], Some(wanted)) => transfer(&format!("no session {wanted:?} was announced"))
            .hint(format!("heard of: {}", heard.names.join(", ")))
            .hint("`catch --name` and `cast --name` must be the same"),
        _ => {
            let failure =
                failure.hint("is `sealcast cast` running, with the same --group and --port?");
            let interface = match unheard.iter().find(|ip| ip.is_ipv4()) {
                Some(ip) => format!("there is no route to {ip}: choose the right --interface"),
                None => "if it is, choose the right --interface on both sides".into(),
            };
            failure
                .hint(interface)
                .hint(format!("a firewall here must let in UDP port {port}"))
        }
    }
}

/// Why the sender ended this receiver's membership.
fn dropped(reason: DropReason) -> Failure {
    let why = match reason {
        DropReason::Unfinished => "its consumer did not end within the sender's --finish-timeout",
        DropReason::Stalled => "its consumer took nothing for too long",
        DropReason::Silent => "it had not heard of it",
        DropReason::Differs => "what it received is not what was sent",
        DropReason::NextPass => "it was too slow, and may come to the next pass",
        DropReason::Slow => "it kept the stream too slow for too long",
        DropReason::BlackHole => "no datagram of the stream reached it, only short ones",
        DropReason::Lossy => "it lacked data for too long: too much was lost on the way to it",
    };
    let message = format!("the sender dropped this receiver: {why}");
    match reason {
        DropReason::Slow => Failure::new(ExitStatus::Evicted, message)
            .hint("look for a slow disk, port or cable here; the sender's --slow has the limit"),
        DropReason::BlackHole => Failure::new(ExitStatus::Transfer, message)
            .hint("the MTU on the way is smaller than the sender's: see its --mtu"),
        _ => Failure::new(ExitStatus::Transfer, message),
    }
}

/// What came does not check.
fn corrupt(resumed: bool) -> Failure {
    let message = "what the sender sent contradicts itself";
    let failure = Failure::new(ExitStatus::Data, message);
    if resumed {
        failure.hint("its input may have changed since the pass before")
    } else {
        failure
    }
}

fn rejected(reason: RejectReason, one_way: bool) -> Failure {
    let transfer = |message: &str| Failure::new(ExitStatus::Transfer, message);
    let no_identity = |message: &str| Failure::new(ExitStatus::NoIdentity, message);
    match reason {
        RejectReason::TooLate | RejectReason::NextPass => too_late(one_way),
        RejectReason::BrokenOff => {
            transfer("the sender broke off: it was stopped, or its stream failed")
        }
        RejectReason::Full => transfer("the session is full"),
        RejectReason::KeyNeeded => {
            no_identity("the sender takes in listed keys only").hint("show it an identity with -i")
        }
        RejectReason::NotListed => {
            no_identity("none of our identities is among the keys that the sender takes in")
        }
    }
}

fn too_late(one_way: bool) -> Failure {
    let fact = "came too late: the beginning of the stream is gone";
    let option = match one_way {
        true => "a longer --min-wait on the sender gives receivers more time",
        false => "--receivers on the sender makes it wait for all",
    };
    Failure::new(ExitStatus::Transfer, fact).hint(format!("wait for the next cast; {option}"))
}

fn lost(block: u32, lacks: u16) -> Failure {
    let fact =
        format!("lost too much: block {block} lacks {lacks} symbols, and nothing is sent again");
    Failure::new(ExitStatus::Transfer, fact)
        .hint("a greater --redundancy on the sender repairs more losses")
}

fn overrun(block: u32) -> Failure {
    let fact = format!(
        "our consumer is slower than the sender's rate: there was no room for block {block}"
    );
    Failure::new(ExitStatus::Transfer, fact)
        .hint("the sender does not wait: it needs a lower --rate, or we more --memory")
}

/// Why the sender broke the stream off; `more` is its own words, if it has any.
fn aborted(reason: AbortReason, more: &str) -> String {
    let words = match reason {
        AbortReason::Input => "the sender could not read its input",
        AbortReason::Producer => "the command on the sender's side failed",
        AbortReason::Interrupted => "the sender was stopped",
        AbortReason::Local => "the sender's system failed",
        AbortReason::NotStarted => "the sender gave up",
        AbortReason::Changed => "the sender's input is not what it was in the pass before",
    };
    let colon = if more.is_empty() { "" } else { ": " };
    format!("{words}{colon}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let said = aborted(AbortReason::Interrupted, "");
        assert_eq!(said, "the sender was stopped");
        let said = aborted(AbortReason::Producer, "exit status: 7");
        assert_eq!(
            said,
            "the command on the sender's side failed: exit status: 7"
        );
    }
}
