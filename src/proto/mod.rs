//! The multicast protocol: [`Sender`] and [`Receiver`], state machines without clock or socket.
//!
//! Both are plain structs owned by one thread. Bytes and `now` go in, bytes and a moment to wake up
//! come out. `now` never runs back. The owner calls, in this order and again after every input:
//!
//! 1. *inputs*, as they come: `handle_datagram`, `handle_timeout`, and local data
//!    ([`Sender::push`], [`Sender::finish`], [`Sender::abort`], [`Receiver::consumed`],
//!    [`Receiver::leave`]);
//! 2. `poll_transmit` until it gives nothing: datagrams to send;
//! 3. [`Receiver::pull`] as long as the consumer has room: data to hand out, in order, checked;
//! 4. `poll_event` until it gives nothing: what happened, for people and for the owner's own state;
//! 5. `poll_timeout`: when to call `handle_timeout` if nothing else happens.
//!
//! A session passes through these states. The sender: gathering (announcing, taking JOINs),
//! sending, draining (END until every receiver answered), ended. A receiver: searching, joining,
//! receiving, lingering (DONE or LEAVE until BYE), ended. Each has a deadline; see `limits` and
//! `man/sealcast-protocol.7`.
//!
//! Nothing that a peer sends panics. What is malformed, forged or replayed changes nothing but a
//! counter: datagrams are authenticated before any state changes.

mod any_receiver;
mod any_sender;
mod block;
pub mod config;
mod event;
mod keys;
pub mod limits;
mod one_way;
mod protect;
mod rate;
mod receiver;
mod sender;
#[cfg(test)]
mod testing;
mod timer;

pub use any_receiver::Receiver;
pub use any_sender::Sender;
pub use block::trailer_len;
pub use config::{OneWay, ReceiverConfig, SenderConfig};
pub use event::{
    Awaits, Delivery, Fate, MemberReport, PassedOver, ReceiverEnd, ReceiverEvent, ReceiverStats,
    SenderEnd, SenderEvent, SenderStats, Target, Transmit,
};
pub use keys::{
    Listed, ReceiverKeys, SHARED_LEN, SHARED_SALT, SHARED_WORK_LOG2, SenderKeys, shared_secret,
};
pub use rate::{LimitTimes, RateReason, SendLimit};
pub use sender::Waiting;
