//! BYE: the sender ends one receiver's membership.

use super::Error;

/// Why the sender gives a receiver up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropReason {
    /// Nothing was heard of it for too long.
    Silent = 2,
    /// Its consumer took nothing for too long.
    Stalled = 3,
    /// Its DONE named another digest than the sender's.
    Differs = 5,
    /// It kept the stream below the sender's minimum rate for too long.
    Slow = 6,
    /// It has everything, but its consumer did not end in the time that it had.
    Unfinished = 7,
    /// It was too slow, as with [`DropReason::Slow`], but may go on in the next pass.
    NextPass = 8,
    /// Datagrams of the stream's length do not reach it, though short ones do: a black hole (RFC
    /// 8899 section 4.2).
    BlackHole = 9,
    /// Repair did not reach it for too long, or it asked for more than any network loses.
    Lossy = 10,
}

impl DropReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Silent,
        Self::Stalled,
        Self::Differs,
        Self::Slow,
        Self::Unfinished,
        Self::NextPass,
        Self::BlackHole,
        Self::Lossy,
    ];
}

/// Why the sender ends a receiver's membership: one byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByeReason {
    /// Its DONE was heard.
    Done,
    /// Its LEAVE was heard.
    Left,
    /// The sender gave it up.
    Dropped(DropReason),
}

impl ByeReason {
    /// The code of [`ByeReason::Done`].
    const DONE: u8 = 1;
    /// The code of [`ByeReason::Left`].
    const LEFT: u8 = 4;

    /// The reason of this code; nothing when there is none.
    fn from_code(code: u8) -> Option<Self> {
        match code {
            Self::DONE => Some(Self::Done),
            Self::LEFT => Some(Self::Left),
            code => DropReason::ALL
                .into_iter()
                .find(|&reason| reason as u8 == code)
                .map(Self::Dropped),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Done => Self::DONE,
            Self::Left => Self::LEFT,
            Self::Dropped(reason) => reason as u8,
        }
    }
}

/// The sealed body of a BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why the membership ends.
    pub reason: ByeReason,
}

impl Bye {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let [code] = bytes else {
            return Err(Error::Malformed);
        };
        let reason = ByeReason::from_code(*code).ok_or(Error::Malformed)?;
        Ok(Self { reason })
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.reason.code());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_emit_are_inverse() {
        let mut codes = Vec::new();
        let dropped = DropReason::ALL.map(ByeReason::Dropped);
        for reason in [ByeReason::Done, ByeReason::Left]
            .into_iter()
            .chain(dropped)
        {
            let mut bytes = Vec::new();
            Bye { reason }.emit(&mut bytes);
            assert_eq!(Bye::parse(&bytes), Ok(Bye { reason }));
            codes.extend(bytes);
        }
        codes.sort_unstable();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(Bye::parse(&[0]), Err(Error::Malformed));
        assert_eq!(Bye::parse(&[11]), Err(Error::Malformed));
    }
}
