//! Where the process meets the system: clock, entropy, signals, wake-ups, standard streams, key
//! files, child commands, and what threads give up.

pub mod clock;
pub mod command;
pub mod entropy;
mod error;
pub mod keyfile;
pub mod passphrase;
pub mod sandbox;
pub mod secrecy;
pub mod signals;
pub mod sparse;
pub mod start_signal;
pub mod stdio;
pub mod stoppable;
mod strict_modes;
pub mod user_names;
pub mod wait;
pub mod wake;

pub use error::{Changeable, Error};
