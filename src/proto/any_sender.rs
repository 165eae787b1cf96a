//! A sender of either kind: of a session whose receivers answer, or of a one-way session.

use std::net::SocketAddr;

use super::config::{SenderConfig, fit_name};
use super::event::{MemberReport, SenderEvent, SenderStats, Transmit};
use super::one_way::OneWaySender;
use super::sender::{TwoWaySender, Waiting};
use crate::units::Instant;
use crate::wire::{AbortReason, End, SessionId};

#[derive(Debug)]
enum Machine {
    TwoWay(Box<TwoWaySender>),
    OneWay(Box<OneWaySender>),
}

/// The sender's state machine; see the module [`super`] for the order of calls.
#[derive(Debug)]
pub struct Sender(Machine);

/// Calls the method of the machine that it is.
macro_rules! machine {
    ($sender:expr, $machine:ident => $call:expr) => {
        match $sender {
            Machine::TwoWay($machine) => $call,
            Machine::OneWay($machine) => $call,
        }
    };
}

impl Sender {
    /// A sender that announces its session at once. All randomness comes from `seed`, which must
    /// never serve twice.
    ///
    /// # Panics
    /// If the symbol is empty or of odd length, or a block could not hold its trailer.
    pub fn new(mut config: SenderConfig, seed: [u8; 32], now: Instant) -> Self {
        let (k, len) = (config.k, config.symbol_len);
        assert!(len > 0 && len.is_multiple_of(2), "symbols of even length");
        assert!(
            usize::from(k) * usize::from(len) > super::trailer_len(true),
            "room for data"
        );
        config.name = fit_name(&config.name);
        Self(match config.one_way {
            Some(one_way) => {
                Machine::OneWay(Box::new(OneWaySender::new(config, one_way, seed, now)))
            }
            None => Machine::TwoWay(Box::new(TwoWaySender::new(config, seed, now))),
        })
    }

    /// Whether receivers do not answer.
    pub fn is_one_way(&self) -> bool {
        matches!(self.0, Machine::OneWay(_))
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        machine!(&self.0, m => m.session())
    }

    /// The first session of the series.
    pub fn series(&self) -> SessionId {
        machine!(&self.0, m => m.series())
    }

    /// How the stream ends, once that is known: the same in each session of a series.
    pub fn stream_end(&self) -> Option<End> {
        machine!(&self.0, m => m.stream_end())
    }

    /// Takes bytes of the stream, as many as there is room for, and says how many.
    pub fn push(&mut self, data: &[u8]) -> usize {
        machine!(&mut self.0, m => m.push(data))
    }

    /// The stream is complete.
    pub fn finish(&mut self) {
        machine!(&mut self.0, m => m.finish());
    }

    /// The stream will never be complete: tells all receivers, then ends.
    pub fn abort(&mut self, now: Instant, reason: AbortReason, text: &str) {
        machine!(&mut self.0, m => m.abort(now, reason, text));
    }

    /// The stream failed before it began: tells the receivers when they are there, as if the
    /// session began, so that none of them waits for what will not come.
    pub fn abort_at_start(&mut self, now: Instant, reason: AbortReason, text: &str) {
        machine!(&mut self.0, m => m.abort_at_start(now, reason, text));
    }

    /// Whether the session has neither started nor ended.
    pub fn is_waiting(&self) -> bool {
        machine!(&self.0, m => m.is_waiting())
    }

    /// What the sender waits for; nothing once it has started.
    pub fn waiting(&self) -> Option<Waiting> {
        machine!(&self.0, m => m.waiting())
    }

    /// The names that are expected and of which no receiver joined so far.
    pub fn missing(&self) -> Vec<String> {
        match &self.0 {
            Machine::TwoWay(sender) => sender.missing().map(str::to_owned).collect(),
            Machine::OneWay(_) => Vec::new(),
        }
    }

    /// How many receivers wait for another session of the series.
    pub fn waiting_for_next(&self, now: Instant) -> u32 {
        match &self.0 {
            Machine::TwoWay(sender) => sender.waiting_for_next(now),
            Machine::OneWay(_) => 0,
        }
    }

    /// Starts as soon as possible, whatever it waits for; `false` when there is no receiver to
    /// start with, or no start to wait for any more.
    pub fn start_now(&mut self, now: Instant) -> bool {
        machine!(&mut self.0, m => m.start_now(now))
    }

    /// Takes a datagram that came to the sender's own address. Its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        match &mut self.0 {
            Machine::TwoWay(sender) => sender.handle_datagram(now, from, datagram),
            Machine::OneWay(sender) => sender.handle_datagram(now, datagram),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        machine!(&mut self.0, m => m.handle_timeout(now));
    }

    /// When to call [`Sender::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        machine!(&self.0, m => m.poll_timeout())
    }

    /// Fills `buf` with datagrams to send now; nothing when there are none.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        machine!(&mut self.0, m => m.poll_transmit(now, buf))
    }

    /// The system has taken what [`Sender::poll_transmit`] gave for the group.
    pub fn on_transmitted(&mut self, now: Instant) {
        machine!(&mut self.0, m => m.on_transmitted(now));
    }

    /// Whether [`Sender::handle_timeout`] came so late that the rate is not kept: a driver that
    /// could wait for a moment had better not sleep.
    pub fn is_late(&self) -> bool {
        machine!(&self.0, m => m.is_late())
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        machine!(&mut self.0, m => m.poll_event())
    }

    /// Whether the session is over and all that there was to say about it was sent.
    pub fn is_done(&self) -> bool {
        machine!(&self.0, m => m.is_done())
    }

    /// What was counted so far.
    pub fn stats(&self) -> SenderStats {
        machine!(&self.0, m => m.stats())
    }

    /// Receivers that joined, less those that left before the start.
    pub fn joined(&self) -> u32 {
        match &self.0 {
            Machine::TwoWay(sender) => sender.joined(),
            Machine::OneWay(_) => 0,
        }
    }

    /// How many receivers are still there, if all of them have everything, and only their consumers
    /// still work.
    pub fn committing(&self) -> Option<u32> {
        match &self.0 {
            Machine::TwoWay(sender) => sender.committing(),
            Machine::OneWay(_) => None,
        }
    }

    /// How each receiver fared.
    pub fn members(&self) -> Vec<MemberReport> {
        match &self.0 {
            Machine::TwoWay(sender) => sender.members(),
            Machine::OneWay(_) => Vec::new(),
        }
    }

    /// The machine of a session whose receivers answer, for tests that look into it.
    #[cfg(test)]
    pub(super) fn two_way(&mut self) -> &mut TwoWaySender {
        match &mut self.0 {
            Machine::TwoWay(sender) => sender,
            Machine::OneWay(_) => panic!("a one-way session"),
        }
    }

    /// The parts that tests look into.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (&super::sender::SendWindow, &super::sender::Outgoing) {
        machine!(&self.0, m => m.parts())
    }
}
