//! Sessions whose receivers never answer: machines of their own over the parts of the others.

mod candidate;
mod completeness;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub(super) use self::receiver::OneWayReceiver;
pub(super) use self::sender::OneWaySender;
