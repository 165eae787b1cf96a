#![doc = include_str!("DESIGN.md")]

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
