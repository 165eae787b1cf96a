//! A series of sessions over one input: each further one, a pass, is for those who came too late
//! for the one before, or were too slow for it. What counts is how all of them together went.

use std::collections::BTreeSet;

use super::event::{CastEvent, CastReport};
use crate::proto::config;
use crate::proto::{Fate, Listed, MemberReport, SenderConfig, SenderEnd};
use crate::units::Duration;
use crate::wire::{End, SessionId};

/// A further pass starts when all have come that waited for it, but after this time at the latest;
/// and not at all when no receiver has come by then.
const PASS_WAIT: Duration = Duration::from_secs(5);

/// A session that is over.
pub(super) struct PassOutcome {
    pub(super) report: CastReport,
    /// The first session of its series.
    pub(super) series: SessionId,
    /// How the stream ended, if its end was reached.
    pub(super) end: Option<End>,
    /// Receivers that wait for another pass.
    pub(super) waiting: u32,
}

/// What comes after a pass.
pub(super) enum AfterPass {
    /// Another one.
    Pass(Box<SenderConfig>),
    /// Nothing: how the series went, if that was not told already.
    End(Option<CastReport>),
}

/// The passes so far.
pub(super) struct PassSequence {
    config: SenderConfig,
    total: Option<CastReport>,
    /// Each pass gives the same.
    same: bool,
    /// When no receiver waits any more, others are waited for.
    repeat: bool,
}

impl PassSequence {
    /// A series that begins with a session of this kind.
    pub(super) fn new(config: &SenderConfig, same: bool, repeat: bool) -> Self {
        Self {
            config: config.clone(),
            total: None,
            same,
            repeat,
        }
    }

    /// Another pass fails: tells how those before it went.
    pub(super) fn broken(&self, tell: &mut dyn FnMut(CastEvent<'_>)) {
        if let Some(total) = &self.total {
            tell(CastEvent::Before(total));
        }
    }

    /// The input has changed between two passes: receivers that waited must begin anew, with
    /// others.
    pub(super) fn changed(&mut self, tell: &mut dyn FnMut(CastEvent<'_>)) -> SenderConfig {
        tell(CastEvent::RoundChanged(self.total.take().as_ref()));
        let series = &mut self.config.series;
        *series = config::Series {
            end: None,
            number: series.number + 1,
            ..*series
        };
        self.config.clone()
    }

    /// Takes in how a pass went, and says what follows.
    pub(super) fn finish_pass(
        &mut self,
        pass: PassOutcome,
        tell: &mut dyn FnMut(CastEvent<'_>),
    ) -> AfterPass {
        let served = Served::of(&pass.report);
        let waiting = pass.waiting;
        let next_pass =
            waiting > 0 && self.config.series.next_pass.takes_late() && served != Served::Stopped;
        match served {
            Served::Some if next_pass => tell(CastEvent::PassOver {
                report: &pass.report,
                waiting,
            }),
            Served::Nobody if self.total.is_some() => tell(CastEvent::NobodyCameAgain),
            Served::Some | Served::Nobody | Served::Stopped => {}
        }
        let total = match (self.total.take(), served) {
            (None, Served::Stopped) => None,
            (None, _) => Some(pass.report),
            (Some(total), Served::Some) => {
                Some(total.and(pass.report, self.config.keys.listed.as_deref()))
            }
            (Some(total), _) => Some(total),
        };
        if !next_pass && !self.repeat {
            return AfterPass::End(total);
        }
        let series = &mut self.config.series;
        *series = config::Series {
            id: Some(pass.series),
            end: series.end.or(pass.end).filter(|_| self.same && next_pass),
            number: series.number + 1,
            ..*series
        };
        if next_pass {
            self.total = total;
            return AfterPass::Pass(Box::new(self.next_pass(waiting)));
        }
        if let Some(total) = total {
            tell(CastEvent::RoundOver(&total));
        }
        match served {
            Served::Stopped => AfterPass::End(None),
            Served::Some | Served::Nobody => AfterPass::Pass(Box::new(self.config.clone())),
        }
    }

    /// A pass for so many receivers that wait for it.
    fn next_pass(&self, waiting: u32) -> SenderConfig {
        SenderConfig {
            receivers: waiting,
            expect: Vec::new(),
            min_wait: Duration::ZERO,
            max_wait: None,
            start_timeout: Some(PASS_WAIT),
            at_start_timeout: config::StartTimeout::StartAnyway,
            ..self.config.clone()
        }
    }
}

/// Which receivers a pass was for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// The stream was sent.
    Some,
    /// Receivers that seemed to wait did not come.
    Nobody,
    /// A signal came before any receiver was served.
    Stopped,
}

impl Served {
    const fn of(report: &CastReport) -> Self {
        match report.end {
            SenderEnd::Aborted(_) => Self::Stopped,
            SenderEnd::NoReceivers => Self::Nobody,
            SenderEnd::Complete
            | SenderEnd::Partial { .. }
            | SenderEnd::AllLost
            | SenderEnd::Sent => Self::Some,
        }
    }
}

impl CastReport {
    /// This and what a further pass added to it, in which receivers of the `listed` keys took part.
    fn and(mut self, next: Self, listed: Option<&[Listed]>) -> Self {
        let mut missing: BTreeSet<String> = self.missing.into_iter().collect();
        for mut member in next.members {
            let same = |is: fn(&MemberReport, &MemberReport) -> bool| {
                let mut old = self.members.iter();
                old.position(|old| old.fate != Fate::Done && is(old, &member))
            };
            if let Some(at) = same(is_same_process).or_else(|| same(is_same_machine)) {
                let old = &mut self.members[at];
                member.required = old.required;
                member.sent += old.sent;
                member.arrived += old.arrived;
                member.nacks += old.nacks;
                *old = member;
                continue;
            }
            // Who comes late does not count, unless it was expected.
            let key = member.listed.and_then(|at| listed?.get(at));
            member.required = missing.remove(key.map_or(&member.name, |key| &key.name));
            self.members.push(member);
        }
        self.missing = missing.into_iter().collect();
        // Who went before the start never was in it.
        let counted = || self.members.iter().filter(|m| !m.withdrawn);
        let done = counted().filter(|m| m.fate == Fate::Done).count();
        let failed = counted().count() - done;
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        self.end = match (count(done), count(failed)) {
            (0, _) => SenderEnd::AllLost,
            (_, 0) => SenderEnd::Complete,
            (done, failed) => SenderEnd::Partial { done, failed },
        };
        self.elapsed = self.elapsed + next.elapsed;
        self.passes += next.passes;
        let (sum, more) = (&mut self.stats, &next.stats);
        sum.bytes = sum.bytes.max(more.bytes);
        sum.source += more.source;
        sum.repair += more.repair;
        sum.datagrams += more.datagrams;
        sum.wire_bytes += more.wire_bytes;
        sum.repair_rounds += more.repair_rounds;
        sum.limit_times = sum.limit_times.and(more.limit_times);
        sum.rate_reason = more.rate_reason;
        sum.nacks += more.nacks;
        sum.feedbacks += more.feedbacks;
        sum.refused += more.refused;
        sum.unknown_kind += more.unknown_kind;
        self
    }
}

/// Whether a receiver waited for this pass: it comes from the same address and port, and with the
/// same key.
fn is_same_process(old: &MemberReport, new: &MemberReport) -> bool {
    (old.addr, old.listed) == (new.addr, new.listed)
}

/// Whether a receiver is a machine that was in a pass before, perhaps started anew: by its key, or
/// else by its name and address.
fn is_same_machine(old: &MemberReport, new: &MemberReport) -> bool {
    let place = |m: &MemberReport| (m.name.clone(), m.addr.ip());
    match (old.listed, new.listed) {
        (None, None) => place(old) == place(new),
        (old, new) => old == new,
    }
}
