//! POLL, END and ABORT: what the sender says to all under the session's key.

use super::Error;
use super::cursor::{Cursor, put_text};

/// Where the sender stands; the sealed body of a POLL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The first block whose first transmission is not over: what is missing of those below it was
    /// lost.
    pub watermark: u32,
    /// The sender's clock in microseconds, to be echoed in feedback.
    pub clock_us: u64,
    /// The longest round trip in the group as the sender knows it, in microseconds.
    pub rtt_us: u32,
    /// Receivers in the session.
    pub receivers: u32,
    /// A receiver reports after this many datagrams of the session, or after [`Poll::report_us`].
    pub report_every: u32,
    /// A receiver reports after this many microseconds, or after [`Poll::report_every`] datagrams.
    pub report_us: u32,
}

impl Poll {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let poll = Self {
            watermark: c.u32()?,
            clock_us: c.u64()?,
            rtt_us: c.u32()?,
            receivers: c.u32()?,
            report_every: c.u32()?,
            report_us: c.u32()?,
        };
        c.end()?;
        Ok(poll)
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.watermark.to_be_bytes());
        out.extend_from_slice(&self.clock_us.to_be_bytes());
        out.extend_from_slice(&self.rtt_us.to_be_bytes());
        out.extend_from_slice(&self.receivers.to_be_bytes());
        out.extend_from_slice(&self.report_every.to_be_bytes());
        out.extend_from_slice(&self.report_us.to_be_bytes());
    }
}

/// The stream is complete; the sealed body of an END.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Bytes of the stream.
    pub length: u64,
    /// Blocks of the stream; an empty stream has none.
    pub blocks: u32,
    /// Source symbols of the last block; 0 for an empty stream.
    pub last_k: u16,
    /// The chain value of the last block: a digest of the whole stream.
    pub digest: [u8; 32],
}

impl End {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none or contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let end = Self {
            length: c.u64()?,
            blocks: c.u32()?,
            last_k: c.u16()?,
            digest: c.array()?,
        };
        c.end()?;
        let empty = [end.length == 0, end.blocks == 0, end.last_k == 0];
        if empty.iter().all(|&e| e == empty[0]) {
            Ok(end)
        } else {
            Err(Error::Malformed)
        }
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.blocks.to_be_bytes());
        out.extend_from_slice(&self.last_k.to_be_bytes());
        out.extend_from_slice(&self.digest);
    }
}

/// Why the stream will never be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AbortReason {
    /// The sender's input could not be read to its end.
    Input = 1,
    /// The command that produces the stream failed.
    Producer = 2,
    /// A person or a signal stopped the sender.
    Interrupted = 3,
    /// The sender's own system failed.
    Local = 4,
    /// The conditions of the start did not come about in time.
    NotStarted = 5,
    /// The input is not what it was in the session of the series before this one.
    Changed = 6,
}

impl AbortReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Input,
        Self::Producer,
        Self::Interrupted,
        Self::Local,
        Self::NotStarted,
        Self::Changed,
    ];
}

/// The stream is broken off; the sealed body of an ABORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Why, for programs.
    pub reason: AbortReason,
    /// What there is to say beyond that, for people; at most 255 bytes.
    pub text: String,
}

impl Abort {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let code = c.u8()?;
        let reason = AbortReason::ALL.into_iter().find(|&r| r as u8 == code);
        let abort = Self {
            reason: reason.ok_or(Error::Malformed)?,
            text: c.text(255)?,
        };
        c.end()?;
        Ok(abort)
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.reason as u8);
        put_text(out, &self.text, 255);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(
            n: [u32; 5], clock_us: u64, length in 1..=u64::MAX, blocks in 1..=u32::MAX,
            last_k in 1..=u16::MAX, digest: [u8; 32], text in "[a-zé :]{0,120}", r in 0..6usize,
        ) {
            let poll = Poll {
                watermark: n[0], clock_us, rtt_us: n[1], receivers: n[2],
                report_every: n[3], report_us: n[4],
            };
            let mut bytes = Vec::new();
            poll.emit(&mut bytes);
            prop_assert_eq!(Poll::parse(&bytes), Ok(poll));

            let end = End { length, blocks, last_k, digest };
            bytes.clear();
            end.emit(&mut bytes);
            prop_assert_eq!(End::parse(&bytes), Ok(end));

            let abort = Abort { reason: AbortReason::ALL[r], text };
            bytes.clear();
            abort.emit(&mut bytes);
            prop_assert_eq!(Abort::parse(&bytes), Ok(abort));
        }

        #[test]
        fn junk_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Poll::parse(&bytes), End::parse(&bytes), Abort::parse(&bytes));
        }
    }

    #[test]
    fn half_empty_ends_are_refused() {
        let end = End {
            length: 0,
            blocks: 1,
            last_k: 1,
            digest: [0; 32],
        };
        let mut bytes = Vec::new();
        end.emit(&mut bytes);
        assert_eq!(End::parse(&bytes), Err(Error::Malformed));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let abort = Abort {
            reason: AbortReason::Local,
            text: "é".repeat(200),
        };
        let mut bytes = Vec::new();
        abort.emit(&mut bytes);
        assert_eq!(Abort::parse(&bytes).unwrap().text, "é".repeat(127));
    }
}
