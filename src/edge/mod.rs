//! Where the process meets the system: standard streams, files, trees, disk images, clock,
//! entropy and signals.

pub mod clock;
pub mod entropy;
mod error;
pub mod image;
pub mod interrupt;
pub mod keyfile;
pub mod passphrase;
pub mod starter;
pub mod stdio;
pub mod tree;

pub use error::Error;
