//! What an archive of ours says of itself: a comment for all entries, in a skippable frame. So
//! other programs see a tar stream with nothing but entries; some fail at records that no entry
//! follows.

use super::{BLOCK_BYTES, header, padding, pax};

/// The key of our global records. It is the one that every reader passes over in silence.
pub(super) const RECORD_KEY: &[u8] = b"comment";

/// The magic number of such a frame, one of the sixteen that decompressors pass over.
pub(super) const OWN_MAGIC: u32 = 0x184D_2A5E;

/// How the text of each of them begins.
const START: &[u8] = b"sealcast ";

/// The longest text.
pub(super) const TEXT_BYTES_MAX: usize = 100;

/// The frame with a text of ours.
pub fn own_frame(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [
        &OWN_MAGIC.to_le_bytes()[..],
        &len.to_le_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

/// Whether a skippable frame with our number holds a text of ours.
pub(super) fn is_own(text: &[u8]) -> bool {
    text.starts_with(START) && text.len() <= TEXT_BYTES_MAX
}

/// The part of the tar stream that a text stands for: a record for all entries that follow.
pub(super) fn blocks(text: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    pax::emit(&mut record, RECORD_KEY, text);
    let mut blocks = header::emit_records(true, record.len() as u64)
        .as_bytes()
        .to_vec();
    let end =
        blocks.len() + record.len() + usize::try_from(padding(record.len() as u64)).unwrap_or(0);
    blocks.append(&mut record);
    blocks.resize(end, 0);
    debug_assert_eq!(blocks.len() % BLOCK_BYTES, 0);
    blocks
}
