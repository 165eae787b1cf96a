//! BYE: the sender lets one receiver go.

use super::Error;

/// With what words a receiver is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Its DONE was heard.
    Thanks = 1,
    /// Nothing was heard of it for too long.
    Silent = 2,
    /// Its consumer stood still for too long.
    Stalled = 3,
    /// Its LEAVE was heard.
    Left = 4,
    /// Its DONE named another digest.
    Differs = 5,
    /// It kept the stream slower than the sender puts up with.
    Slow = 6,
    /// It has everything, but its consumer did not end in the time that it had.
    Unfinished = 7,
    /// The same as slow, but another session of the series will have the rest.
    Later = 8,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 8] = [
        Self::Thanks,
        Self::Silent,
        Self::Stalled,
        Self::Left,
        Self::Differs,
        Self::Slow,
        Self::Unfinished,
        Self::Later,
    ];
}

/// The sealed body of a BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    /// The words.
    pub verdict: Verdict,
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
        let verdict = Verdict::ALL.into_iter().find(|&v| v as u8 == *code);
        Ok(Self {
            verdict: verdict.ok_or(Error::Malformed)?,
        })
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.verdict as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_emit_are_inverse() {
        for verdict in Verdict::ALL {
            let mut bytes = Vec::new();
            Bye { verdict }.emit(&mut bytes);
            assert_eq!(Bye::parse(&bytes), Ok(Bye { verdict }));
        }
        assert_eq!(Bye::parse(&[0]), Err(Error::Malformed));
    }
}
