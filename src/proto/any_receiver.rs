//! A receiver of either kind: of a session in which it answers, or of a one-way session.

use std::net::SocketAddr;

use super::config::{ReceiverConfig, fit_name};
use super::event::Awaits;
use super::event::{Delivery, ReceiverEvent, ReceiverStats, Transmit};
use super::one_way::OneWayReceiver;
use super::receiver::TwoWayReceiver;
use crate::units::Instant;
use crate::wire::LeaveReason;

#[derive(Debug)]
enum Machine {
    TwoWay(Box<TwoWayReceiver>),
    OneWay(Box<OneWayReceiver>),
}

/// The receiver's state machine; see the module [`super`] for the order of calls.
#[derive(Debug)]
pub struct Receiver(Machine);

/// Calls the method of the machine that it is.
macro_rules! machine {
    ($receiver:expr, $machine:ident => $call:expr) => {
        match $receiver {
            Machine::TwoWay($machine) => $call,
            Machine::OneWay($machine) => $call,
        }
    };
}

impl Receiver {
    /// A receiver that searches for a session. All randomness comes from `seed`, which must never
    /// serve twice.
    pub fn new(mut config: ReceiverConfig, seed: [u8; 32], now: Instant) -> Self {
        config.name = fit_name(&config.name);
        Self(match config.one_way {
            true => Machine::OneWay(Box::new(OneWayReceiver::new(config, seed, now))),
            false => Machine::TwoWay(Box::new(TwoWayReceiver::new(config, seed, now))),
        })
    }

    /// What the receiver waits for; nothing once data flows.
    pub fn awaits(&self) -> Option<Awaits> {
        machine!(&self.0, m => m.awaits())
    }

    /// Takes a datagram that came to the group or to our own address, in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        machine!(&mut self.0, m => m.handle_datagram(now, from, datagram));
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        machine!(&mut self.0, m => m.handle_timeout(now));
    }

    /// When to call [`Receiver::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        machine!(&self.0, m => m.poll_timeout())
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        machine!(&mut self.0, m => m.poll_event())
    }

    /// Whether the session is over.
    pub fn is_done(&self) -> bool {
        machine!(&self.0, m => m.is_done())
    }

    /// What was counted so far.
    pub fn stats(&self) -> ReceiverStats {
        machine!(&self.0, m => m.stats())
    }

    /// Fills `buf` with a datagram to send now; nothing when there is none, as always in a one-way
    /// session.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        match &mut self.0 {
            Machine::TwoWay(receiver) => receiver.poll_transmit(now, buf),
            Machine::OneWay(_) => {
                buf.clear();
                None
            }
        }
    }

    /// Hands data out, in order, each block checked; nothing when the next one is not complete.
    pub fn pull(&mut self, now: Instant) -> Option<Delivery> {
        machine!(&mut self.0, m => m.pull(now))
    }

    /// The interface that leads to a sender takes IP packets of at most so many bytes: senders at
    /// this address are told.
    pub fn note_mtu(&mut self, from: SocketAddr, mtu: usize) {
        match &mut self.0 {
            Machine::TwoWay(receiver) => receiver.note_mtu(from, mtu),
            Machine::OneWay(_) => {}
        }
    }

    /// Takes the buffer of a [`Delivery`] back.
    pub fn recycle(&mut self, buf: Vec<u8>) {
        machine!(&mut self.0, m => m.recycle(buf));
    }

    /// The consumer has taken everything, after [`ReceiverEvent::Complete`]: tells the sender.
    pub fn consumed(&mut self, now: Instant) {
        match &mut self.0 {
            Machine::TwoWay(receiver) => receiver.consumed(now),
            Machine::OneWay(receiver) => receiver.consumed(),
        }
    }

    /// Gives up: tells the sender, if there is one.
    pub fn leave(&mut self, now: Instant, reason: LeaveReason) {
        match &mut self.0 {
            Machine::TwoWay(receiver) => receiver.leave(now, reason),
            Machine::OneWay(receiver) => receiver.leave(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Sender, SenderConfig};
    use crate::wire;

    #[test]
    fn an_extension_is_counted_and_changes_nothing() {
        let now = Instant::from_us(1);
        let mut sender = Sender::new(SenderConfig::default(), [1; 32], now);
        let mut receiver = Receiver::new(ReceiverConfig::default(), [2; 32], now);
        let from = SocketAddr::from(([10, 0, 0, 1], 9));
        let mut buf = Vec::new();
        sender.handle_timeout(now);
        while sender.poll_transmit(now, &mut buf).is_some() {
            receiver.handle_datagram(now, from, &mut buf);
        }
        while receiver.poll_transmit(now, &mut buf).is_some() {
            sender.handle_datagram(now, from, &mut buf);
        }
        for sub_kind in [0, 1, 255] {
            // With the session's tag, and of any length.
            let mut datagram = buf.clone();
            datagram.resize(8 + usize::from(sub_kind), sub_kind);
            datagram[..2].copy_from_slice(&[wire::VERSION << 4 | wire::EXTENSION, sub_kind]);
            receiver.handle_datagram(now, from, &mut datagram.clone());
            sender.handle_datagram(now, from, &mut datagram);
        }
        let (theirs, ours) = (sender.stats(), receiver.stats());
        assert_eq!((theirs.unknown_kind, theirs.refused), (3, 0));
        assert_eq!((ours.unknown_kind, ours.refused), (3, 0));
        assert!(receiver.poll_transmit(now, &mut buf).is_none());
        assert_eq!(receiver.awaits(), Some(Awaits::Answer(from)));
    }
}
