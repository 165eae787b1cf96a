//! How datagrams are sealed and opened, and the nonce of each kind.
//!
//! Each key has one purpose and one sender. Multicast datagrams count up in their nonces, FEEDBACK
//! and BYE carry a counter, JOIN, ACCEPT and REJECT are constant under keys that are new with each
//! receiver's key, their kind and reason being in the nonce.

use crate::crypt::aead::{Cipher, NONCE_LEN};
use crate::wire::DatagramKind;

/// The nonce of transmission `sequence`.
pub(in crate::proto) fn multicast_nonce(sequence: u64) -> [u8; NONCE_LEN] {
    counter_nonce(0, sequence)
}

/// The nonce of the `count`th datagram of a kind.
pub(in crate::proto) fn counter_nonce(kind: u8, count: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[0] = kind;
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    nonce
}

/// The nonce of the `count`th FEEDBACK of this receiver, or BYE to it.
pub(in crate::proto) fn member_nonce(
    kind: DatagramKind,
    receiver: u32,
    count: u32,
) -> [u8; NONCE_LEN] {
    counter_nonce(kind as u8, u64::from(receiver) << 32 | u64::from(count))
}

/// The nonce of a JOIN, ACCEPT or REJECT; `detail` tells two texts of one kind apart.
pub(in crate::proto) fn reply_nonce(kind: DatagramKind, detail: u16) -> [u8; NONCE_LEN] {
    counter_nonce(kind as u8, u64::from(detail))
}

/// Seals the body that begins at `body` of the datagram that begins at `start`, and appends its
/// tag. What stands between is authenticated with it.
pub(in crate::proto) fn seal(
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    out: &mut Vec<u8>,
    start: usize,
    body: usize,
) {
    let (head, text) = out.split_at_mut(body);
    let tag = cipher.seal_in_place(nonce, &head[start..], text);
    out.extend_from_slice(&tag);
}

/// Opens a datagram in place and returns its body; nothing when it is forged or too short, and it
/// is then lost.
pub(in crate::proto) fn open<'a>(
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    datagram: &'a mut [u8],
    header_len: usize,
) -> Option<&'a mut [u8]> {
    let (head, rest) = datagram.split_at_mut_checked(header_len)?;
    cipher.open_in_place(nonce, head, rest).ok()
}
