//! What lets a receiver resume in another session of a series: it came too late for one, or was too
//! slow for it.

use crate::crypt::sign::VerifyingKey;
use crate::proto::block::Chain;
use crate::proto::limits::{NEXT_PASS_SILENT_MAX, NEXT_PASS_UNANSWERED_MAX};
use crate::units::{Duration, Instant};
use crate::wire::{Announce, SessionId};

/// What was handed out of the stream, and into what blocks it was cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamPosition {
    pub(super) chain: Chain,
    /// Symbols of a block, and bytes of a symbol.
    pub(super) shape: (u16, u16),
}

/// The series that a receiver waits for, and how far it came.
#[derive(Clone, Debug)]
pub(super) struct ResumeState {
    series: SessionId,
    /// The key that signed one session of the series signs all.
    signer: Option<VerifyingKey>,
    position: Option<StreamPosition>,
    /// When a session of the series was announced, or its sender answered.
    heard_at: Instant,
    /// When the sender answered. An attacker can repeat an ANNOUNCE, but no answer.
    answered_at: Instant,
}

impl ResumeState {
    pub(super) fn new(
        series: SessionId,
        signer: Option<VerifyingKey>,
        position: Option<StreamPosition>,
        now: Instant,
    ) -> Self {
        Self {
            series,
            signer,
            position,
            heard_at: now,
            answered_at: now,
        }
    }

    /// Whether this session is one of the series, in which we can go on; notes that it was heard.
    pub(super) fn admits(&mut self, now: Instant, announce: &Announce) -> bool {
        let signer = self.signer.map(|key| *key.as_bytes());
        let shape = (announce.k, announce.symbol_len);
        let admits = announce.series == self.series
            && announce.protection.signer == signer
            && !announce.protection.one_way
            && self.position.is_none_or(|position| position.shape == shape);
        if admits {
            self.heard_at = now;
        }
        admits
    }

    /// The sender has answered.
    pub(super) fn on_answer(&mut self, now: Instant) {
        self.answered_at = now;
        self.heard_at = now;
    }

    /// What was handed out already.
    pub(super) fn so_far(&self) -> Option<Chain> {
        self.position.map(|position| position.chain)
    }

    /// When the sender is lost, if nothing more is heard of it.
    pub(super) fn lost_at(&self) -> Instant {
        (self.heard_at + NEXT_PASS_SILENT_MAX).min(self.answered_at + NEXT_PASS_UNANSWERED_MAX)
    }

    /// For how long it was silent, if that is too long.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        if now.since(self.heard_at) >= NEXT_PASS_SILENT_MAX {
            Some(NEXT_PASS_SILENT_MAX)
        } else {
            let unanswered = now.since(self.answered_at) >= NEXT_PASS_UNANSWERED_MAX;
            unanswered.then_some(NEXT_PASS_UNANSWERED_MAX)
        }
    }
}
