//! When a session starts, and whom it waits for.

use std::collections::BTreeSet;

use super::members::Member;
use super::{Sender, State, alarm};
use crate::proto::config::fit_name;
use crate::proto::event::SenderEnd;
use crate::units::Instant;
use crate::wire::{Abort, AbortReason};

/// Names of missing receivers that [`Waiting`] tells.
const NAMES_TOLD: usize = 4;

/// What a sender waits for before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Receivers that are there, of those that are wanted.
    pub joined: u32,
    /// Receivers that are wanted; 0 when it waits for no number and no names.
    pub wanted: u32,
    /// The first of the names that are expected and missing.
    pub missing: Vec<String>,
    /// How many more such names there are.
    pub more: usize,
    /// When it starts, if nobody else comes or goes.
    pub starts_at: Option<Instant>,
}

/// The receivers that are expected by name.
#[derive(Debug)]
pub(super) struct Expected {
    names: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl Expected {
    pub(super) fn new(names: &[String]) -> Self {
        let names: BTreeSet<String> = names.iter().map(|name| fit_name(name)).collect();
        Self {
            missing: names.clone(),
            names,
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn came(&mut self, name: &str) {
        self.missing.remove(name);
    }

    fn went(&mut self, name: &str) {
        if self.has(name) {
            self.missing.insert(name.to_owned());
        }
    }
}

impl Sender {
    /// Whether the session has neither started nor ended.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Gathering
    }

    /// What the sender waits for; nothing once it has started.
    pub fn waiting(&self) -> Option<Waiting> {
        if self.state != State::Gathering {
            return None;
        }
        let missing = &self.expected.missing;
        let (joined, wanted) = self.turnout();
        Some(Waiting {
            joined,
            wanted,
            missing: missing.iter().take(NAMES_TOLD).cloned().collect(),
            more: missing.len().saturating_sub(NAMES_TOLD),
            starts_at: self.start_at(),
        })
    }

    /// The names that are expected and of which nobody joined so far.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.expected.missing.iter().map(String::as_str)
    }

    /// Starts as soon as possible, whomever it waits for; `false` when there is nobody to start
    /// with, or no start to wait for any more.
    pub fn start_now(&mut self, now: Instant) -> bool {
        let somebody = self.joined() > 0 || self.is_one_way();
        let may = self.state == State::Gathering && somebody;
        if may {
            self.timers.set(alarm::START, now);
        }
        may
    }

    /// How many are there and how many are wanted, in the terms of what it waits for.
    pub(super) fn turnout(&self) -> (u32, u32) {
        let (here, names) = (self.joined(), self.expected.len());
        if names > self.config.receivers {
            let missing = u32::try_from(self.expected.missing.len()).unwrap_or(u32::MAX);
            (names.saturating_sub(missing), names)
        } else {
            (here, self.config.receivers)
        }
    }

    /// The name by which a receiver is expected: that of its listed key, or else what it calls
    /// itself.
    fn known_as<'a>(&'a self, member: &'a Member) -> &'a str {
        let listed = self.config.keys.listed.as_ref().zip(member.listed);
        let name = listed.and_then(|(list, at)| list.get(at)).map(|l| &l.name);
        name.unwrap_or(&member.name)
    }

    /// A receiver has joined.
    pub(super) fn came(&mut self, now: Instant, receiver: u32) {
        self.first_join.get_or_insert(now);
        self.last_join = now;
        let Some(member) = self.members.member(receiver) else {
            return;
        };
        let name = self.known_as(member).to_owned();
        self.expected.came(&name);
        if self.state == State::Gathering {
            self.plan_start();
        } else if self.expected.has(&name)
            && let Some(member) = self.members.get(receiver)
        {
            member.awaited = true;
        }
    }

    /// A receiver has left before the start: it has missed nothing, and its place is free again.
    pub(super) fn went(&mut self, receiver: u32) {
        let Some(member) = self.members.member(receiver) else {
            return;
        };
        let name = self.known_as(member).to_owned();
        let here = || self.members.all().map(|(_, m)| m).filter(|m| m.is_here());
        if !here().any(|m| self.known_as(m) == name) {
            self.expected.went(&name);
        }
        if here().next().is_none() {
            self.first_join = None;
        }
        self.plan_start();
    }

    /// The start has come: those who are here now are awaited at the end, too.
    pub(super) fn await_present(&mut self) {
        for (_, member) in self.members.active_mut() {
            member.awaited |= member.is_confirmed();
        }
    }

    /// The start did not come in time: whoever is there need not wait for it any more.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.members.sum().active == 0 {
            self.end(SenderEnd::NobodyCame);
            return;
        }
        if self.config.series.with_some && self.joined() > 0 {
            self.start(now);
            return;
        }
        let (joined, wanted) = self.turnout();
        let abort = self.failed.take().unwrap_or_else(|| Abort {
            reason: AbortReason::NotStarted,
            text: if joined < wanted {
                format!("only {joined} of {wanted} receivers came")
            } else {
                "the start was still to come".into()
            },
        });
        self.abort(now, abort.reason, &abort.text);
    }

    fn plan_start(&mut self) {
        match self.start_at() {
            Some(at) => self.timers.set(alarm::START, at),
            None => self.timers.clear(alarm::START),
        }
    }

    fn start_at(&self) -> Option<Instant> {
        if self.is_one_way() {
            return Some(self.began_at + self.config.min_wait);
        }
        let (first, config) = (self.first_join?, &self.config);
        let all_here = self.expected.missing.is_empty() && self.joined() >= config.receivers;
        let early = if config.receivers == 0 && self.expected.names.is_empty() {
            Some(self.last_join + config.settle)
        } else {
            all_here.then_some(first)
        };
        let late = config.max_wait.map(|wait| first + wait);
        let at = early.into_iter().chain(late).min()?;
        Some(at.max(first + config.min_wait))
    }
}
