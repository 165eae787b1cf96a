//! Where the process meets the system: standard streams, files, clock, entropy and signals.

pub mod clock;
pub mod entropy;
mod error;
pub mod interrupt;
pub mod keyfile;
pub mod stdio;

pub use error::Error;
