//! FEEDBACK: where a receiver stands and what it lacks.

use super::Error;
use super::cursor::{Cursor, put_u48};

/// Entries of one FEEDBACK at most: they fit the smallest Ethernet path with IPv6.
pub const ENTRIES_MAX: usize = 160;

/// Why a receiver leaves before it has everything, or before its consumer has done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// Its consumer went away.
    Consumer,
    /// A person or a signal stopped it.
    Interrupted,
    /// Its own system failed.
    Local,
    /// What it received contradicts itself.
    Corrupt,
    /// The command that consumes the stream ended with this status, which is not 0.
    Status(u8),
    /// The command that consumes the stream was ended by this signal, which is not 0.
    Signal(u8),
}

impl LeaveReason {
    /// The code, and the number that comes with it; 0 for none.
    fn code(self) -> (u8, u8) {
        match self {
            Self::Consumer => (1, 0),
            Self::Interrupted => (2, 0),
            Self::Local => (3, 0),
            Self::Corrupt => (4, 0),
            Self::Status(status) => (5, status),
            Self::Signal(signal) => (6, signal),
        }
    }

    fn from_code(code: u8, number: u8) -> Result<Self, Error> {
        match (code, number) {
            (1, 0) => Ok(Self::Consumer),
            (2, 0) => Ok(Self::Interrupted),
            (3, 0) => Ok(Self::Local),
            (4, 0) => Ok(Self::Corrupt),
            (5, 1..) => Ok(Self::Status(number)),
            (6, 1..) => Ok(Self::Signal(number)),
            _ => Err(Error::Malformed),
        }
    }
}

/// How far a receiver is with the stream as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Still at it.
    Receiving,
    /// Everything was handed to the consumer, and this is its digest.
    Done([u8; 32]),
    /// It gives up.
    Leave(LeaveReason),
    /// Everything was handed to the consumer, which still works on it.
    Finishing,
}

/// In place of a number of symbols: the block was put together and is not what the sender signed.
/// The receiver asks for its hashes, and for its source symbols once more.
pub const POLLUTED: u16 = u16::MAX;

/// Symbols that a run of blocks lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The first block.
    pub block: u32,
    /// How many blocks in a row lack as many, at least 1.
    pub run: u16,
    /// Symbols that each of them lacks, at least 1, or [`POLLUTED`].
    pub symbols: u16,
}

/// The sealed body of a FEEDBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The first block not yet handed to the consumer.
    pub next: u32,
    /// The first block for which there is no room.
    pub window_end: u32,
    /// One more than the highest sequence number seen.
    pub sequence_end: u64,
    /// Datagrams of the session received, modulo 2^32.
    pub received: u32,
    /// The newest sender's clock heard, in microseconds; 0 if none was.
    pub echo_us: u64,
    /// How long ago it was heard, in microseconds.
    pub hold_us: u32,
    /// How far it is.
    pub outcome: Outcome,
    /// What it lacks, at most [`ENTRIES_MAX`] entries.
    pub needs: Vec<Need>,
}

impl Feedback {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let (next, window_end, sequence_end) = (c.u32()?, c.u32()?, c.u48()?);
        let (received, echo_us, hold_us) = (c.u32()?, c.u64()?, c.u32()?);
        let outcome = match (c.u8()?, c.u8()?) {
            (0, 0) => Outcome::Receiving,
            (1, 0) => Outcome::Done(c.array()?),
            (2, code) => Outcome::Leave(LeaveReason::from_code(code, c.u8()?)?),
            (3, 0) => Outcome::Finishing,
            _ => return Err(Error::Malformed),
        };
        let count = usize::from(c.u16()?);
        if count > ENTRIES_MAX {
            return Err(Error::Malformed);
        }
        let mut needs = Vec::with_capacity(count);
        for _ in 0..count {
            let need = Need {
                block: c.u32()?,
                run: c.u16()?,
                symbols: c.u16()?,
            };
            if need.run == 0 || need.symbols == 0 {
                return Err(Error::Malformed);
            }
            needs.push(need);
        }
        c.end()?;
        Ok(Self {
            next,
            window_end,
            sequence_end,
            received,
            echo_us,
            hold_us,
            outcome,
            needs,
        })
    }

    /// Appends the body; entries beyond [`ENTRIES_MAX`] are following for the next FEEDBACK.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(&self.window_end.to_be_bytes());
        put_u48(out, self.sequence_end);
        out.extend_from_slice(&self.received.to_be_bytes());
        out.extend_from_slice(&self.echo_us.to_be_bytes());
        out.extend_from_slice(&self.hold_us.to_be_bytes());
        match self.outcome {
            Outcome::Receiving => out.extend_from_slice(&[0, 0]),
            Outcome::Done(digest) => {
                out.extend_from_slice(&[1, 0]);
                out.extend_from_slice(&digest);
            }
            Outcome::Leave(reason) => {
                let (code, number) = reason.code();
                out.extend_from_slice(&[2, code, number]);
            }
            Outcome::Finishing => out.extend_from_slice(&[3, 0]),
        }
        let count = self.needs.len().min(ENTRIES_MAX);
        out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        for need in &self.needs[..count] {
            out.extend_from_slice(&need.block.to_be_bytes());
            out.extend_from_slice(&need.run.to_be_bytes());
            out.extend_from_slice(&need.symbols.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Receiving),
            any::<[u8; 32]>().prop_map(Outcome::Done),
            Just(Outcome::Finishing),
            (1..=6u8, 1..=u8::MAX).prop_map(|(code, number)| {
                let number = if code < 5 { 0 } else { number };
                Outcome::Leave(LeaveReason::from_code(code, number).unwrap())
            }),
        ]
    }

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(
            n: [u32; 4], echo_us: u64, sequence_end in 0..1u64 << 48, outcome in any_outcome(),
            needs in proptest::collection::vec((any::<u32>(), 1..=u16::MAX, 1..=u16::MAX), 0..161),
        ) {
            let needs: Vec<Need> = needs
                .into_iter()
                .take(ENTRIES_MAX)
                .map(|(block, run, symbols)| Need { block, run, symbols })
                .collect();
            let feedback = Feedback {
                next: n[0], window_end: n[1], sequence_end, received: n[2], echo_us, hold_us: n[3],
                outcome, needs,
            };
            let mut bytes = Vec::new();
            feedback.emit(&mut bytes);
            prop_assert!(crate::wire::MemberHeader::LEN + bytes.len() + 16 <= 1452);
            prop_assert_eq!(Feedback::parse(&bytes), Ok(feedback));
        }

        #[test]
        fn a_consumers_status_has_one_form(code: u8, number: u8) {
            if let Ok(reason) = LeaveReason::from_code(code, number) {
                prop_assert_eq!(reason.code(), (code, number));
            }
        }

        #[test]
        fn junk_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Feedback::parse(&bytes);
        }
    }
}
