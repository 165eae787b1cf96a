//! Tests of whole sessions, with honest and other peers.

mod insider;
mod late_receivers;
mod one_way;
mod replay;
