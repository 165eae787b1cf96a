//! Why a stream was not sealed or not opened, and why a key was not taken.

use std::io;

use super::armor;

/// Bytes of the longest label.
pub(super) const LABEL_BYTES_MAX: usize = 255;

/// What went wrong with a sealed stream or a key.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Error {
    /// The input failed.
    #[error("cannot read the input: {0}")]
    Read(#[source] io::Error),
    /// The output failed.
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
    /// The system failed between the two.
    #[error("cannot go on working: {0}")]
    System(#[from] io::Error),

    /// There is no input at all.
    #[error("the input is empty")]
    Empty,
    /// The input does not begin as an age file.
    #[error("not a sealed stream: the input does not begin with `age-encryption.org/v1`")]
    NotAge,
    /// The armor of the input breaks its rules.
    #[error(transparent)]
    Armor(armor::Malformed),
    /// The header is longer than allowed.
    #[error("header is longer than {max} bytes")]
    HeaderTooLong {
        /// The most that was allowed.
        max: usize,
    },
    /// The header breaks its grammar.
    #[error("header is malformed at byte {offset}: {what}")]
    Header {
        /// Where the line at fault begins.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file key fits, but the header is not as its maker wrote it.
    #[error("header is forged: its mac does not hold")]
    HeaderForged,
    /// None of the identities can open the stream.
    #[error("no identity fits: the stream is sealed for {stanzas} other {}",
        if *stanzas == 1 { "recipient" } else { "recipients" })]
    NoIdentity {
        /// How many recipients the header names.
        stanzas: usize,
    },
    /// The stream is encrypted to a passphrase, and there are only keys.
    #[error("no identity fits: the stream is sealed with a passphrase")]
    Passphrase,
    /// The stream is encrypted to another passphrase.
    #[error("wrong passphrase")]
    WrongPassphrase,

    /// To try the passphrase is more work than allowed.
    #[error("a passphrase with the work factor {found} takes {} MiB of memory, and at most {max} \
        is allowed", 1_u32 << found.saturating_sub(10))]
    WorkFactor {
        /// The work factor that is asked for, at most [`WORK_LOG2_MAX`](super::passphrase).
        found: u8,
        /// The most that is allowed.
        max: u8,
    },

    /// The input ends too early.
    #[error("stream is truncated at byte {offset}")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// A chunk was changed, moved, or is not of this stream.
    #[error("chunk {chunk} at byte {offset} is forged, damaged or cut short")]
    Chunk {
        /// Its number, from zero.
        chunk: u64,
        /// Where it begins.
        offset: u64,
    },
    /// The last chunk is empty although it is not the only one.
    #[error("chunk {chunk} at byte {offset} is empty")]
    EmptyChunk {
        /// Its number, from zero.
        chunk: u64,
        /// Where it begins.
        offset: u64,
    },
    /// The input goes on after the end of the stream.
    #[error("data follows the end of the stream at byte {offset}")]
    Trailing {
        /// Where the stream ended.
        offset: u64,
    },

    /// The stream carries no signature.
    #[error("the stream is not signed")]
    Unsigned,
    /// The stream is signed, and no sender key was named to check it against.
    #[error("the stream is signed, and unsigned input was asked for")]
    Signed,
    /// The preamble is not of a form that is known.
    #[error("preamble of the signed payload: {what}")]
    Preamble {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The stream names a sender who is not among those wanted.
    #[error("the sender is not trusted: the stream names {fingerprint}")]
    UnknownSender {
        /// The fingerprint of the key that it names.
        fingerprint: String,
    },
    /// The signature of a segment does not hold.
    #[error("segment {segment} at byte {offset} was not signed for this stream and place")]
    Segment {
        /// Its number, from zero.
        segment: u64,
        /// Where it begins.
        offset: u64,
    },
    /// The label is another one.
    #[error("the stream is labelled `{found}`, not `{wanted}`{}",
        if found.is_empty() { ": it has no label" } else { "" })]
    Label {
        /// The label of the stream, with what cannot be printed escaped.
        found: String,
        /// The label that was asked for.
        wanted: String,
    },
    /// The stream was sealed too long ago.
    #[error("the stream was sealed {age_s} s ago, and at most {max_s} s are allowed")]
    Stale {
        /// Its age in seconds.
        age_s: u64,
        /// The most that is allowed.
        max_s: u64,
    },
    /// The stream was sealed in the future.
    #[error("the stream was sealed {ahead_s} s ahead of this clock")]
    Future {
        /// By how many seconds it is ahead.
        ahead_s: u64,
    },
    /// The serial number is too low.
    #[error("the stream has the serial number {found}{}, and at least {min} is wanted",
        if *found == 0 { ", which is none" } else { "" })]
    Serial {
        /// The stream's serial number.
        found: u64,
        /// The least that is allowed.
        min: u64,
    },
    /// What is to be sealed without a signature looks like a signed payload.
    #[error("the input begins like a signed payload and would be taken for one")]
    Ambiguous,
    /// Recipients that withstand quantum computers among others that do not.
    #[error(
        "recipients of two kinds: of all, {hybrid} withstand quantum computers and {others} not"
    )]
    Mixed {
        /// How many do.
        hybrid: usize,
        /// How many do not.
        others: usize,
    },
    /// The label is too long to be carried.
    #[error("the label has {len} bytes, and at most {LABEL_BYTES_MAX} fit")]
    LabelTooLong {
        /// Its length.
        len: usize,
    },

    /// A key file has a passphrase, and none was given.
    #[error("the key has a passphrase")]
    Locked,
    /// A key is malformed or of another kind than wanted.
    #[error("{0}")]
    Key(&'static str),
    /// A text does not begin as a key of any kind that was wanted.
    #[error("{0}")]
    NotKey(&'static str),
    /// A line of a key file is malformed or of another kind than wanted.
    #[error("line {line}: {what}")]
    KeyLine {
        /// The line, from one.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}
