//! Opening: the age layer's checks on every chunk, then the sender's on every segment, and only
//! then the release.

use std::io::Write;

use crate::crypt::hash;

use super::Error;
use super::batches::EndCheck;
use super::header::{FileKey, Header};
use super::keys::SenderKey;
use super::signed::{self, MAGIC, Preamble};
use super::stream::{ChunkCipher, NONCE_BYTES, Plain, Unopened};

/// By how much a sender's clock may be ahead of ours.
pub const CLOCK_AHEAD_S_MAX: u64 = 300;

/// Whose streams are opened.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Trust {
    /// Streams without a signature, and no others.
    Unsigned,
    /// Streams signed by one of the senders, that the policy allows.
    Senders(Vec<SenderKey>, Policy),
}

/// What a signed stream must say of itself.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The label it must have.
    pub label: Option<String>,
    /// How long ago it may have been sealed at most.
    pub max_age: Option<MaxAge>,
    /// The least serial number.
    pub serial_min: Option<u64>,
}

/// How long ago a stream may have been sealed.
#[derive(Clone, Copy, Debug)]
pub struct MaxAge {
    /// The time, in seconds since 1970.
    pub now_s: u64,
    /// The most that is allowed, in seconds.
    pub max_s: u64,
}

impl Policy {
    fn check(&self, preamble: &Preamble) -> Result<(), Error> {
        if let Some(wanted) = &self.label
            && *wanted != preamble.label
        {
            return Err(Error::Label {
                found: preamble.label.escape_debug().to_string(),
                wanted: wanted.escape_debug().to_string(),
            });
        }
        if let Some(min) = self.serial_min
            && preamble.serial < min
        {
            let found = preamble.serial;
            return Err(Error::Serial { found, min });
        }
        if let Some(MaxAge { now_s, max_s }) = self.max_age {
            let ahead_s = preamble.time_s.saturating_sub(now_s);
            if ahead_s > CLOCK_AHEAD_S_MAX {
                return Err(Error::Future { ahead_s });
            }
            let age_s = now_s.saturating_sub(preamble.time_s);
            if age_s > max_s {
                return Err(Error::Stale { age_s, max_s });
            }
        }
        Ok(())
    }
}

/// A batch that may be released, as far as it goes.
#[derive(Debug)]
pub struct Opened {
    plain: Plain,
    skip: usize,
    problem: Option<Error>,
}

impl Opened {
    /// A segment that is good or of which nothing may be released.
    fn segment(mut plain: Plain, result: Result<(), Error>) -> Self {
        if result.is_err() {
            plain.clear();
        }
        Self {
            plain,
            skip: 0,
            problem: result.err(),
        }
    }

    /// Writes what may be released; returns how many bytes that was, and the buffer. `end_check`
    /// has seen all batches before this one.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Trailing`], or what is wrong with the rest of the batch.
    pub fn release(
        self,
        end_check: &mut EndCheck,
        out: &mut impl Write,
    ) -> Result<(u64, Vec<u8>), Error> {
        end_check.check(&self.plain)?;
        self.plain.write(out, self.skip)?;
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok((
                (self.plain.len() - self.skip) as u64,
                self.plain.into_buffer(),
            )),
        }
    }
}

/// What the signatures of a stream bind to.
#[derive(Debug)]
struct Bound {
    stream: [u8; 32],
    payload_at: u64,
}

impl Bound {
    fn new(header: &Header, nonce: &[u8; NONCE_BYTES]) -> Self {
        let mut hash = hash::Blake3::default();
        hash.update(header.bytes());
        hash.update(nonce);
        Self {
            stream: hash.finish(),
            payload_at: (header.bytes().len() + NONCE_BYTES) as u64,
        }
    }

    /// Takes the first segment, which says who signed.
    fn admit(
        &self,
        mut plain: Plain,
        hash: &[u8; 32],
        (senders, policy): (&[SenderKey], &Policy),
    ) -> Result<(Preamble, Opened), Error> {
        let (preamble, _) = Preamble::parse(plain.first_chunk())?.ok_or(Error::Unsigned)?;
        let sender = preamble.sender;
        if !senders.contains(&sender) {
            return Err(Error::UnknownSender {
                fingerprint: sender.fingerprint(),
            });
        }
        signed::verify(&sender, &self.stream, self.payload_at, &mut plain, hash)?;
        // The label must end before the signature, which is off now.
        let (preamble, skip) = Preamble::parse(plain.first_chunk())?.ok_or(Error::Unsigned)?;
        policy.check(&preamble)?;
        let opened = Opened {
            plain,
            skip,
            problem: None,
        };
        Ok((preamble, opened))
    }

    /// Takes a segment after the first.
    fn verify(&self, preamble: &Preamble, mut plain: Plain, hash: &[u8; 32]) -> Opened {
        let (sender, stream) = (&preamble.sender, &self.stream);
        let result = signed::verify(sender, stream, self.payload_at, &mut plain, hash);
        Opened::segment(plain, result)
    }
}

/// Opens one stream.
#[derive(Debug)]
pub struct Opener {
    cipher: ChunkCipher,
    bound: Bound,
    preamble: Option<Preamble>,
}

impl Opener {
    /// Begins with the first batch, which tells who signed. All other batches can then be opened
    /// in any order.
    ///
    /// # Errors
    /// Whatever is wrong with a signed stream's first segment, its sender, or the policy.
    pub fn begin(
        header: &Header,
        file_key: &FileKey,
        nonce: &[u8; NONCE_BYTES],
        first: Unopened,
        trust: &Trust,
    ) -> Result<(Self, Opened), Error> {
        let mut opener = Self {
            cipher: ChunkCipher::new(file_key, nonce),
            bound: Bound::new(header, nonce),
            preamble: None,
        };
        let Trust::Senders(senders, policy) = trust else {
            let opened = opener.unsigned(first, || {});
            if opened.plain.first_chunk().starts_with(MAGIC) {
                return Err(Error::Signed);
            }
            return Ok((opener, opened));
        };
        let (plain, problem, hash) =
            first.open_signed(&opener.cipher, opener.bound.payload_at, || {});
        if let Some(problem) = problem {
            return Err(problem);
        }
        let (preamble, opened) = opener.bound.admit(plain, &hash, (senders, policy))?;
        opener.preamble = Some(preamble);
        Ok((opener, opened))
    }

    fn unsigned(&self, batch: Unopened, between: impl FnMut()) -> Opened {
        let (plain, problem) = batch.open(&self.cipher, self.bound.payload_at, between);
        Opened {
            plain,
            skip: 0,
            problem,
        }
    }

    /// Opens a batch after the first. What is wrong with it comes out when it is released: of a
    /// signed stream's segment nothing is, of an unsigned stream the chunks before the first that
    /// is refused. `between` is called between its chunks, so that the caller can let others have
    /// the processor.
    pub fn open(&self, batch: Unopened, between: impl FnMut()) -> Opened {
        let (cipher, payload_at) = (&self.cipher, self.bound.payload_at);
        let Some(preamble) = &self.preamble else {
            return self.unsigned(batch, between);
        };
        match batch.open_signed(cipher, payload_at, between) {
            (plain, Some(problem), _) => Opened::segment(plain, Err(problem)),
            (plain, None, hash) => self.bound.verify(preamble, plain, &hash),
        }
    }

    /// Who signed and what they said, unless the stream is unsigned.
    pub fn into_preamble(self) -> Option<Preamble> {
        self.preamble
    }
}

/// Checks the signed payload of a stream that was decrypted elsewhere.
#[derive(Debug)]
pub struct Checker {
    bound: Bound,
    preamble: Preamble,
}

impl Checker {
    /// Begins with the first segment of the payload of the stream with this header and nonce.
    ///
    /// # Errors
    /// Whatever is wrong with the segment, its sender, or the policy.
    pub fn begin(
        header: &Header,
        nonce: &[u8; NONCE_BYTES],
        first: Plain,
        trust: (&[SenderKey], &Policy),
    ) -> Result<(Self, Opened), Error> {
        let bound = Bound::new(header, nonce);
        let hash = first.signed_hash();
        let (preamble, opened) = bound.admit(first, &hash, trust)?;
        Ok((Self { bound, preamble }, opened))
    }

    /// Checks a segment after the first; [`Error::Segment`] comes out when it is released.
    pub fn check(&self, segment: Plain) -> Opened {
        let hash = segment.signed_hash();
        self.bound.verify(&self.preamble, segment, &hash)
    }

    /// Who signed and what they said.
    pub fn into_preamble(self) -> Preamble {
        self.preamble
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::sign::SigningKey;

    fn check(policy: &Policy) -> Result<(), Error> {
        let preamble = Preamble {
            sender: SenderKey::new(SigningKey::from_seed([1; 32]).public()),
            time_s: 1000,
            serial: 7,
            label: "lab".into(),
        };
        policy.check(&preamble)
    }

    #[test]
    fn the_policy_is_held_to_the_second() {
        let age = |now_s| Policy {
            max_age: Some(MaxAge { now_s, max_s: 60 }),
            ..Policy::default()
        };
        assert!(check(&age(1060)).is_ok());
        assert!(matches!(
            check(&age(1061)),
            Err(Error::Stale {
                age_s: 61,
                max_s: 60
            })
        ));
        assert!(check(&age(700)).is_ok());
        assert!(matches!(
            check(&age(699)),
            Err(Error::Future { ahead_s: 301 })
        ));
        assert!(check(&Policy::default()).is_ok());
    }

    #[test]
    fn label_and_serial_are_compared() {
        let label = |text: &str| Policy {
            label: Some(text.into()),
            ..Policy::default()
        };
        assert!(check(&label("lab")).is_ok());
        assert!(matches!(check(&label("Lab")), Err(Error::Label { .. })));
        let serial = |min| Policy {
            serial_min: Some(min),
            ..Policy::default()
        };
        assert!(check(&serial(7)).is_ok());
        assert!(matches!(
            check(&serial(8)),
            Err(Error::Serial { found: 7, min: 8 })
        ));
    }
}
