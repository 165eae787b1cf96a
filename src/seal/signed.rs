//! The signed payload: what the age layer encrypts when a sender signs.
//!
//! It is cut into segments of 1 MiB, a batch of chunks each; a segment ends in a signature over its
//! data and its place in this one stream. The first begins with a preamble that says who signs.

use crate::crypt::sign::{SIGNATURE_LEN, SigningKey, VerifyingKey};

use super::Error;
use super::error::LABEL_BYTES_MAX;
use super::keys::SenderKey;
use super::stream::{Plain, batch_at};

/// How a signed payload begins.
pub const MAGIC: &[u8; 16] = b"sealcast-signed1";
/// Bytes of a preamble without its label.
const FIXED_BYTES: usize = 70;

/// What is signed begins with this, so that a signature made for another purpose never fits.
const CONTEXT: &[u8; 28] = b"sealcast.dev/segment-sig/v1\0";
const HASH_BLAKE3: u8 = 1;
const SEGMENT_LOG2: u8 = 20;

/// Who signs a stream, when they did, and what they say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The sender.
    pub sender: SenderKey,
    /// When the stream was sealed, in seconds since 1970.
    pub time_s: u64,
    /// A number that grows from stream to stream; zero when there is none.
    pub serial: u64,
    /// What the stream is, for the receiver to compare.
    pub label: String,
}

impl Preamble {
    /// Its bytes.
    ///
    /// # Errors
    /// [`Error::LabelTooLong`].
    pub fn emit(&self) -> Result<Vec<u8>, Error> {
        let label = self.label.as_bytes();
        let len = label.len();
        let short = u8::try_from(len).map_err(|_| Error::LabelTooLong { len })?;
        let mut out = Vec::with_capacity(FIXED_BYTES + len);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(self.sender.key().as_bytes());
        out.extend_from_slice(&[0, HASH_BLAKE3, SEGMENT_LOG2, 0]);
        out.extend_from_slice(&self.time_s.to_be_bytes());
        out.extend_from_slice(&self.serial.to_be_bytes());
        out.extend_from_slice(&u16::from(short).to_be_bytes());
        out.extend_from_slice(label);
        Ok(out)
    }

    /// Reads the preamble at the start of `bytes`, and returns its length. `None` when there is
    /// none.
    ///
    /// # Errors
    /// [`Error::Preamble`] when there is one that is not understood.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Ok(None);
        };
        let wrong = |what| Error::Preamble { what };
        let parsed = Self::fields(rest).ok_or_else(|| wrong("it is cut off"))?;
        let (sender, form, time_s, serial, label) = parsed;
        if form[0] != 0 || form[3] != 0 {
            return Err(wrong("it uses a flag that is not known"));
        }
        if form[1] != HASH_BLAKE3 {
            return Err(wrong("it names a hash that is not known"));
        }
        if form[2] != SEGMENT_LOG2 {
            return Err(wrong("it names a segment size other than 1 MiB"));
        }
        let label = std::str::from_utf8(label).map_err(|_| wrong("its label is not utf-8"))?;
        if label.len() > LABEL_BYTES_MAX {
            return Err(wrong("its label is too long"));
        }
        let key = VerifyingKey::from_bytes(sender).map_err(|_| wrong("its key is no key"))?;
        let len = FIXED_BYTES + label.len();
        let preamble = Self {
            sender: SenderKey::new(key),
            time_s,
            serial,
            label: label.to_string(),
        };
        Ok(Some((preamble, len)))
    }

    #[expect(clippy::type_complexity, reason = "the fields of one parser, in order")]
    fn fields(bytes: &[u8]) -> Option<(&[u8; 32], [u8; 4], u64, u64, &[u8])> {
        let (sender, bytes) = bytes.split_first_chunk()?;
        let (form, bytes) = bytes.split_first_chunk()?;
        let (time, bytes) = bytes.split_first_chunk()?;
        let (serial, bytes) = bytes.split_first_chunk()?;
        let (len, bytes) = bytes.split_first_chunk()?;
        let label = bytes.get(..u16::from_be_bytes(*len).into())?;
        let (time, serial) = (u64::from_be_bytes(*time), u64::from_be_bytes(*serial));
        Some((sender, *form, time, serial, label))
    }
}

/// What is signed for a segment: the stream, the place, the length and the hash of the data.
fn statement(stream: &[u8; 32], segment: &Plain, hash: &[u8; 32]) -> [u8; 105] {
    // A segment is 1 MiB at most.
    let len = u32::try_from(segment.len()).unwrap_or(u32::MAX);
    let mut out = [0; 105];
    out[..28].copy_from_slice(CONTEXT);
    out[28..60].copy_from_slice(stream);
    out[60..68].copy_from_slice(&segment.index().to_be_bytes());
    out[68] = u8::from(segment.last());
    out[69..73].copy_from_slice(&len.to_be_bytes());
    out[73..].copy_from_slice(hash);
    out
}

/// Signs a segment, whose data has the BLAKE3 hash `hash`, of the stream whose header and nonce
/// have the hash `stream`.
pub(crate) fn sign(
    key: &SigningKey,
    stream: &[u8; 32],
    segment: &Plain,
    hash: &[u8; 32],
) -> [u8; SIGNATURE_LEN] {
    key.sign(&statement(stream, segment, hash))
}

/// Takes the signature off a segment and checks it; `hash` is the hash of what precedes it.
pub(crate) fn verify(
    sender: &SenderKey,
    stream: &[u8; 32],
    payload_at: u64,
    segment: &mut Plain,
    hash: &[u8; 32],
) -> Result<(), Error> {
    let number = segment.index();
    let wrong = || Error::Segment {
        segment: number,
        offset: batch_at(payload_at, number),
    };
    let signature = segment.strip::<SIGNATURE_LEN>().ok_or_else(wrong)?;
    sender
        .key()
        .verify_strict(&statement(stream, segment, hash), &signature)
        .map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preamble() -> Preamble {
        Preamble {
            sender: SenderKey::new(SigningKey::from_seed([1; 32]).public()),
            time_s: 1_700_000_000,
            serial: 7,
            label: "lab-image".into(),
        }
    }

    #[test]
    fn the_preamble_comes_back() {
        let mut bytes = preamble().emit().unwrap();
        assert_eq!(bytes.len(), 79);
        bytes.extend_from_slice(b"data");
        assert_eq!(Preamble::parse(&bytes).unwrap(), Some((preamble(), 79)));
        assert_eq!(Preamble::parse(b"other data").unwrap(), None);
        for len in 16..79 {
            assert!(Preamble::parse(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let bytes = preamble().emit().unwrap();
        for (at, value) in [(48, 1), (49, 2), (50, 21), (51, 1), (68, 1), (70, 0xff)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert!(Preamble::parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn labels_have_a_maximum() {
        let mut long = preamble();
        long.label = "x".repeat(255);
        let bytes = long.emit().unwrap();
        assert_eq!(Preamble::parse(&bytes).unwrap().unwrap().0, long);
        long.label.push('x');
        assert!(matches!(long.emit(), Err(Error::LabelTooLong { len: 256 })));
    }
}
