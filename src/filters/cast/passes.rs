//! A series of sessions over one input: each further one, a pass, is for those who came too late
//! for the one before, or were too slow for it. What counts is how all of them together went.

use std::collections::BTreeSet;

use super::report::{News, Report};
use crate::proto::config;
use crate::proto::{Fate, Listed, MemberReport, SenderConfig, SenderEnd};
use crate::units::Duration;
use crate::wire::{DropReason, End, SessionId};

/// A further pass starts when all have come that waited for it, but after this time at the latest;
/// and not at all when nobody has come by then.
const PASS_WAIT: Duration = Duration::from_secs(5);

/// A session that is over.
pub(super) struct Pass {
    pub(super) report: Report,
    /// The first session of its series.
    pub(super) series: SessionId,
    /// How the stream ended, if its end was reached.
    pub(super) end: Option<End>,
    /// Receivers that wait for another pass.
    pub(super) waiting: u32,
}

/// What comes after a pass.
pub(super) enum Next {
    /// Another one.
    Pass(Box<SenderConfig>),
    /// Nothing: how the series went, if that was not told already.
    End(Option<Report>),
}

/// The passes so far.
pub(super) struct Series {
    config: SenderConfig,
    total: Option<Report>,
    /// Each pass gives the same.
    same: bool,
    /// When nobody waits any more, others are waited for.
    repeat: bool,
}

impl Series {
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
    pub(super) fn broken(&self, tell: &mut dyn FnMut(News<'_>)) {
        if let Some(total) = &self.total {
            tell(News::Before(total));
        }
    }

    /// The input has changed between two passes: whoever waited must begin anew, with others.
    pub(super) fn changed(&mut self, tell: &mut dyn FnMut(News<'_>)) -> SenderConfig {
        tell(News::RoundChanged(self.total.take().as_ref()));
        let series = &mut self.config.series;
        *series = config::Series {
            end: None,
            number: series.number + 1,
            with_some: false,
            ..*series
        };
        self.config.clone()
    }

    /// Takes in how a pass went, and says what follows.
    pub(super) fn take(&mut self, pass: Pass, tell: &mut dyn FnMut(News<'_>)) -> Next {
        let Pass {
            report, waiting, ..
        } = pass;
        let stopped = matches!(report.end, SenderEnd::Aborted(_));
        let goes_on = waiting > 0 && self.config.series.goes_on && !stopped;
        if goes_on && report.end != SenderEnd::NobodyCame {
            tell(News::PassOver {
                report: &report,
                waiting,
            });
        }
        // Whoever seemed to wait was not there, or nothing was sent yet.
        let nothing = stopped || report.end == SenderEnd::NobodyCame;
        if nothing && !stopped && self.total.is_some() {
            tell(News::NobodyCameAgain);
        }
        let total = match self.total.take() {
            None if stopped => None,
            None => Some(report),
            Some(total) if nothing => Some(total),
            Some(total) => Some(total.and(report, self.config.keys.listed.as_deref())),
        };
        if !goes_on && !self.repeat {
            return Next::End(total);
        }
        let series = &mut self.config.series;
        *series = config::Series {
            id: Some(pass.series),
            end: series.end.or(pass.end).filter(|_| self.same && goes_on),
            number: series.number + 1,
            with_some: goes_on,
            ..*series
        };
        if !goes_on {
            if let Some(total) = total {
                tell(News::RoundOver(&total));
            }
            return match stopped {
                true => Next::End(None),
                false => Next::Pass(Box::new(self.config.clone())),
            };
        }
        self.total = total;
        Next::Pass(Box::new(SenderConfig {
            receivers: waiting,
            expect: Vec::new(),
            min_wait: Duration::ZERO,
            max_wait: None,
            start_timeout: Some(PASS_WAIT),
            ..self.config.clone()
        }))
    }
}

impl Report {
    /// This and what a further pass added to it, in which receivers of the `listed` keys took part.
    fn and(mut self, next: Self, listed: Option<&[Listed]>) -> Self {
        let mut missing: BTreeSet<String> = self.missing.into_iter().collect();
        for mut member in next.members {
            let old = self.members.iter_mut().find(|old| is_again(old, &member));
            if let Some(old) = old {
                member.awaited = old.awaited;
                member.sent += old.sent;
                member.arrived += old.arrived;
                member.nacks += old.nacks;
                *old = member;
                continue;
            }
            // Who comes late does not count, unless it was expected.
            let key = member.listed.and_then(|at| listed?.get(at));
            member.awaited = missing.remove(key.map_or(&member.name, |key| &key.name));
            self.members.push(member);
        }
        self.missing = missing.into_iter().collect();
        // Who went before the start never was in it.
        let counted = || self.members.iter().filter(|m| !m.forgotten);
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
        sum.rounds += more.rounds;
        sum.nacks += more.nacks;
        sum.feedbacks += more.feedbacks;
        sum.refused += more.refused;
        sum.unknown_kind += more.unknown_kind;
        self
    }
}

/// Whether a receiver is one that was left for this pass: it comes from the same address and port,
/// and with the same key.
fn is_again(old: &MemberReport, new: &MemberReport) -> bool {
    old.fate == Fate::Dropped(DropReason::NextPass)
        && (old.addr, old.listed) == (new.addr, new.listed)
}
