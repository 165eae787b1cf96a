//! How datagrams are protected: keys, ciphers, signatures, and the window against replays.

mod access;
mod announcement;
mod handshake;
mod replay_window;
mod sealing;
mod signing;

pub(super) use access::{AccessKey, CookieMaker};
pub(super) use announcement::{AnnounceHash, OpenedAnnounce, emit_announce};
pub(super) use handshake::{
    Handshake, MemberCiphers, PeerCiphers, multicast_cipher, one_way_secret,
};
pub(super) use replay_window::ReplayWindow;
#[cfg(test)]
pub(super) use sealing::counter_nonce;
pub(super) use sealing::{member_nonce, multicast_nonce, open, reply_nonce, seal};
pub(super) use signing::{SignatureContext, sign, verify};
