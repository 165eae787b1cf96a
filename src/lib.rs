#![doc = include_str!("ARCHITECTURE.md")]

pub mod archive;
pub mod crypt;
pub mod edge;
pub mod fec;
pub mod net;
pub mod pipe;
pub mod proto;
pub mod seal;
pub mod units;
pub mod wire;
