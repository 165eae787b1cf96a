//! Sockets, and the drivers that run the protocol on them.

pub mod cast;
pub mod catch;
mod error;
mod group;
mod outlet;
mod probe;
mod route;
mod series;
mod socket;
mod tap;
mod wait;

pub use error::Error;
pub use outlet::Sink;
pub use probe::probe;
pub use socket::{
    GROUP_DEFAULT, GROUP6_DEFAULT, NetConfig, PORT_DEFAULT, RECEIVE_BUFFER_SMALL, To, Way,
};

/// What a driver needs of its process.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    /// Randomness for keys and delays, which must never serve twice.
    pub seed: [u8; 32],
    /// Wakes the driver up; the handle that `watch` was made with.
    pub wake: &'a crate::edge::stdio::Cancel,
    /// Signals that were caught.
    pub watch: &'a crate::edge::interrupt::Watch,
}
