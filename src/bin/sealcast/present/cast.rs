//! What `sealcast cast` says while it runs: words for people, events for programs.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use sealcast::filters::{CastEvent, CastReport, Error};
use sealcast::proto::{Fate, Sender, SenderEvent, Waiting};
use sealcast::sys::clock;
use sealcast::units::Duration;
use sealcast::wire::{DropReason, RejectReason, SessionId};
use serde_json::json;

use super::console::{self, Console, bytes, plain};
use super::event_log::EventLog;
use super::summary::{self, Absent};
use crate::cli::CastArgs;
use crate::exit::Failure;

/// Receivers that are turned away, or told to wait, with a word.
const TURNED_AWAY_MAX: u32 = 10;

/// What the words about receivers need.
struct Words {
    /// What people call the holders of the listed keys.
    names: Vec<String>,
    turned_away: Cell<u32>,
    /// Who was turned away last, and why.
    last_turned_away: RefCell<Option<(String, RejectReason)>>,
    waiting: Cell<u32>,
    /// Receivers do not answer.
    one_way: bool,
}

/// Says what happens, on standard error and in the report.
pub(crate) struct CastPresenter<'a> {
    args: &'a CastArgs,
    console: &'a Console,
    words: Words,
    log: EventLog,
    /// The session has no keys.
    open: bool,
    /// Why the last round that is over failed.
    failed: Option<Failure>,
    /// How the passes before one that fails went.
    before: Option<serde_json::Value>,
    /// No receiver came for the last pass: each before it was told of already.
    nobody_came_again: bool,
    /// The UDP ports of the receivers and of their answers.
    ports: (u16, u16),
}

impl<'a> CastPresenter<'a> {
    /// Opens the report. `names` are those of the holders of listed keys; `open` for a session
    /// without keys.
    pub(crate) fn new(
        args: &'a CastArgs,
        console: &'a Console,
        names: Vec<String>,
        open: bool,
    ) -> Result<Self, Failure> {
        Ok(Self {
            args,
            console,
            words: Words {
                names,
                turned_away: Cell::new(0),
                last_turned_away: RefCell::default(),
                waiting: Cell::new(0),
                one_way: args.one_way,
            },
            log: EventLog::open(args.report.as_deref())?,
            open,
            failed: None,
            before: None,
            nobody_came_again: false,
            ports: (0, 0),
        })
    }

    pub(crate) fn tell(&mut self, news: &CastEvent<'_>) {
        let (args, console) = (self.args, self.console);
        match news {
            CastEvent::NoNetwork(error) => console.waiting(&console::no_network(error), ""),
            CastEvent::Unsent(error) => console.warning(&format!("{error}; trying on")),
            CastEvent::SentAgain => console.note("datagrams get out again"),
            CastEvent::Announced {
                session,
                to,
                mtu,
                answer_port,
                pass,
            } => {
                self.ports = (to.port(), *answer_port);
                self.tell_announced(*session, *to, *mtu, *pass);
            }
            CastEvent::PassOver { report, waiting } => {
                summary::tell_pass(report, &self.words.names, console);
                let who = console::receivers(*waiting);
                console.note(&format!("another pass, for {who}"));
                self.log.event("pass_over", json!({"waiting": waiting}));
            }
            CastEvent::NobodyCameAgain => {
                console.note("no receiver came for it");
                self.nobody_came_again = true;
            }
            CastEvent::Before(report) => {
                let names = &self.words.names;
                self.before = Some(summary::json_of_failure(Some(report), names, args.require));
            }
            CastEvent::RoundChanged(report) => self.tell_round_changed(*report),
            CastEvent::RoundOver(report) => self.tell_round_over(report),
            CastEvent::Waiting {
                waiting,
                starts_in,
                enter,
            } => {
                let (text, countdown) = if args.one_way {
                    ("announcing".into(), countdown(*starts_in, *enter))
                } else {
                    waiting_for(waiting, *starts_in, *enter)
                };
                console.waiting(&text, &countdown);
            }
            CastEvent::Finishing(n) => {
                let whose = console::receivers(*n);
                console.waiting(&format!("waiting for the consumers of {whose}"), "");
            }
            CastEvent::NobodyToStart => {
                console.warning("no receiver has joined; still waiting");
            }
            CastEvent::Event(event) => {
                tell_event(event, &self.words, console);
                record(event, &self.words.names, &mut self.log);
            }
            CastEvent::Failed(error) => console.warning(&format!("{error}; telling the receivers")),
            CastEvent::Tick(sender) if sender.is_waiting() || sender.committing().is_some() => {}
            CastEvent::Tick(sender) => console.progress(|| progress(sender)),
        }
    }

    fn tell_announced(&mut self, session: SessionId, to: SocketAddr, mtu: usize, pass: u32) {
        let (args, console) = (self.args, self.console);
        self.log.pass(pass);
        if self.open && pass == 1 && args.one_way {
            console.note(
                "every machine can listen, and claim to be this sender; --key and -s change that",
            );
        } else if self.open && pass == 1 {
            console.note(
                "every machine on this network can take part; -s, -R and --key keep them out",
            );
        }
        let answers = self.ports.1;
        console.detail(1, || {
            let port = if args.one_way {
                String::new()
            } else {
                format!(", answers on UDP port {answers}")
            };
            format!("session {session}, to {to}, MTU {mtu}{port}")
        });
        self.log.event(
            "announced",
            json!({
                "session": session.to_string(),
                "name": args.name,
                "to": to.to_string(),
                "mtu": mtu,
                "answer_port": (!args.one_way).then_some(answers),
                "one_way": args.one_way,
                "unix_s": clock::unix_seconds(),
            }),
        );
    }

    fn tell_round_changed(&mut self, report: Option<&CastReport>) {
        let failure = Failure::from(Error::Changed);
        self.console.warning(&failure.message);
        let names = &self.words.names;
        let mut fields = summary::json_of_failure(report, names, self.args.require);
        fields["error"] = failure.message.as_str().into();
        self.log.event("round_over", fields);
        self.failed = Some(failure);
    }

    fn tell_round_over(&mut self, report: &CastReport) {
        let (args, names) = (self.args, &self.words.names);
        let told = std::mem::take(&mut self.nobody_came_again);
        let absent = self.absent();
        let result = summary::conclude(report, (names, &absent), args, told, self.console);
        let fields = summary::json(report, names, args.require);
        self.log.event("round_over", fields);
        if let Err(failure) = result {
            self.console.warning(&failure.message);
            self.failed = Some(failure);
        }
    }

    /// What may explain that receivers did not come.
    fn absent(&self) -> Absent {
        let last = self.words.last_turned_away.borrow();
        Absent {
            ports: self.ports,
            turned_away: last.as_ref().map(|(name, reason)| {
                let count = console::receivers(self.words.turned_away.get());
                let why = turned_away(*reason);
                (
                    format!("turned {count} away, {} last: {why}", plain(name)),
                    *reason,
                )
            }),
        }
    }

    /// Tells how the cast ended, and closes the report.
    pub(crate) fn conclude(
        mut self,
        result: Result<Option<CastReport>, Error>,
    ) -> Result<(), Failure> {
        let (args, console, names) = (self.args, self.console, &self.words.names);
        match result {
            Ok(None) => {
                let success = self.failed.is_none();
                let message = self.failed.as_ref().map(|f| &*f.message);
                let fields = json!({"success": success, "complete": success});
                self.log.end(fields, message);
                self.log.close(self.failed.map_or(Ok(()), Err), console)
            }
            Ok(Some(report)) => {
                let told = self.nobody_came_again;
                let absent = self.absent();
                let result = summary::conclude(&report, (names, &absent), args, told, console);
                let fields = summary::json(&report, names, args.require);
                let message = result.as_ref().err().map(|f| &*f.message);
                self.log.end(fields, message);
                self.log.close(result, console)
            }
            Err(error) => {
                let nothing = || summary::json_of_failure(None, names, args.require);
                let fields = self.before.unwrap_or_else(nothing);
                self.log.end(fields, Some(&error.to_string()));
                self.log.close(Err(error), console)
            }
        }
    }
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

fn tell_event(event: &SenderEvent, words: &Words, console: &Console) {
    match event {
        SenderEvent::Joined {
            name, from, listed, ..
        } => {
            let key = summary::key_name(*listed, &words.names)
                .map(|key| format!(" with the key of {key}"));
            let (name, ip) = (plain(name), from.ip());
            console.note(&format!("{name} ({ip}) joined{}", key.unwrap_or_default()));
        }
        SenderEvent::Rejected { name, reason, .. } => {
            let why = format!("turned {} away: {}", plain(name), turned_away(*reason));
            words
                .last_turned_away
                .replace(Some((name.clone(), *reason)));
            // An attacker can ask as often as it likes.
            if words.turned_away.replace(words.turned_away.get() + 1) < TURNED_AWAY_MAX {
                console.warning(&why);
            } else {
                console.detail(1, || why);
            }
        }
        SenderEvent::Waits { name, from } => {
            let (name, ip) = (plain(name), from.ip());
            let why = format!("{name} ({ip}) came too late, and waits for another pass");
            if words.waiting.replace(words.waiting.get() + 1) < TURNED_AWAY_MAX {
                console.note(&why);
            } else {
                console.detail(1, || why);
            }
        }
        SenderEvent::Started { .. } if words.one_way => {
            console.note("sending to all that listen");
        }
        SenderEvent::Started { receivers } => {
            console.note(&format!("sending to {}", console::receivers(*receivers)));
        }
        SenderEvent::RateLimited { reason, name, rate } => {
            console.detail(1, || summary::rate_reason(*reason, name.as_deref(), *rate));
        }
        SenderEvent::Finished {
            name,
            fate: Fate::Done,
            ..
        } => {
            console.detail(1, || format!("{} has everything", plain(name)));
        }
        SenderEvent::Finished { name, fate, .. } => {
            let why = summary::describe(*fate);
            let verb = match fate {
                Fate::Dropped(DropReason::NextPass) => "must wait",
                _ => "is out",
            };
            console.warning(&format!("{} {verb}: {why}", plain(name)));
        }
        SenderEvent::Returned { name, .. } => {
            console.note(&format!("{} came back, and counts once", plain(name)));
        }
        SenderEvent::Ended(_) => {}
    }
}

/// The same for programs; `man/sealcast-cast.1` says what it holds.
fn record(event: &SenderEvent, names: &[String], log: &mut EventLog) {
    match event {
        SenderEvent::Joined {
            receiver,
            name,
            from,
            listed,
        } => log.event(
            "joined",
            json!({
                "receiver": receiver,
                "name": name,
                "address": from.ip().to_string(),
                "key": summary::key_name(*listed, names),
            }),
        ),
        SenderEvent::Rejected { name, from, reason } => log.event(
            "turned_away",
            json!({
                "name": name,
                "address": from.ip().to_string(),
                "reason": turned_away(*reason),
            }),
        ),
        SenderEvent::Waits { name, from } => log.event(
            "waits",
            json!({"name": name, "address": from.ip().to_string()}),
        ),
        SenderEvent::Started { receivers } => {
            log.event("started", json!({"receivers": receivers}));
        }
        SenderEvent::RateLimited { reason, name, rate } => log.event(
            "rate",
            json!({
                "reason": summary::reason_word(*reason),
                "receiver": reason.receiver(),
                "name": name,
                "bits_s": rate.as_bits_per_s(),
            }),
        ),
        SenderEvent::Returned {
            before,
            receiver,
            name,
        } => log.event(
            "returned",
            json!({"before": before, "receiver": receiver, "name": name}),
        ),
        SenderEvent::Finished {
            receiver,
            name,
            fate,
        } => log.event(
            "finished",
            json!({
                "receiver": receiver,
                "name": name,
                "done": *fate == Fate::Done,
                "fate": summary::describe(*fate),
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
