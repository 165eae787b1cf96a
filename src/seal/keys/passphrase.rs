//! Passphrases: the file key wrapped under a secret that people remember, by scrypt (RFC 7914).
//!
//! What is sealed with a passphrase has no other recipients: who can open it could have made it.

use std::fmt;
use std::io;

use zeroize::Zeroizing;

use crate::crypt::{aead, kdf};

use crate::seal::header::{FileKey, Header, Stanza};
use crate::seal::text::{base64, unbase64};
use crate::seal::{Error, stanza};

/// The type of a passphrase's stanza.
pub(crate) const SCRYPT: &str = "scrypt";
const INFO: &[u8] = b"age-encryption.org/v1/scrypt";
const SALT_LEN: usize = 16;
/// The work factor that is written: 2 to this power. It takes 256 MiB of memory and about a second.
pub const WORK_LOG2: u8 = 18;
/// The greatest work factor that is read unless more is allowed: whoever makes a file chooses it,
/// and the work is done before anything can be checked. It takes 1 GiB.
pub const WORK_LOG2_ALLOWED: u8 = 20;
/// The greatest work factor that can be allowed, which takes 4 GiB.
pub const WORK_LOG2_MAX: u8 = 22;

/// A passphrase, erased when it is dropped, and the work factor that it is used with at most.
#[derive(Clone)]
pub struct Passphrase {
    text: Zeroizing<String>,
    work_log2_max: u8,
}

impl Passphrase {
    /// Takes a passphrase over, for work factors up to [`WORK_LOG2_ALLOWED`].
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self {
            text,
            work_log2_max: WORK_LOG2_ALLOWED,
        }
    }

    /// Allows work factors up to this one, and none above [`WORK_LOG2_MAX`].
    #[must_use]
    pub fn allowing(mut self, work_log2_max: u8) -> Self {
        self.work_log2_max = work_log2_max.min(WORK_LOG2_MAX);
        self
    }

    /// Whether a header is for a passphrase.
    pub fn fits(header: &Header) -> bool {
        header.stanzas(0..1).any(|stanza| stanza.kind() == SCRYPT)
    }

    /// Its bytes, to be used otherwise.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.text.as_bytes().to_vec())
    }

    /// Its bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Wraps the file key: the one stanza of a header. `seed` is 32 random bytes that serve this
    /// once; the work factor is 2 to the power of `work_log2`, which is 1 to [`WORK_LOG2_MAX`].
    ///
    /// # Errors
    /// [`Error::System`] when there is not enough memory.
    pub fn wrap(&self, file_key: &FileKey, seed: [u8; 32], work_log2: u8) -> Result<String, Error> {
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&seed[..SALT_LEN]);
        let work = work_log2.clamp(1, WORK_LOG2_MAX);
        let body = stanza::wrap(&self.key(&salt, work)?, file_key);
        Ok(format!("-> {SCRYPT} {} {work}\n{body}\n", base64(&salt)))
    }

    /// Finds the file key of a header that is for a passphrase and checks the header with it.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`], [`Error::HeaderForged`], [`Error::NoIdentity`] when the header
    /// is for keys, and [`Error::Header`].
    pub fn unwrap(&self, header: &Header) -> Result<FileKey, Error> {
        let stanzas = header.len();
        let Some(stanza) = find(header)? else {
            return Err(Error::NoIdentity { stanzas });
        };
        let key = self.unwrap_stanza(&stanza)?.ok_or(Error::WrongPassphrase)?;
        header.verify(&key)?;
        Ok(key)
    }

    fn unwrap_stanza(&self, stanza: &Stanza<'_>) -> Result<Option<FileKey>, Error> {
        let [salt, work] = stanza
            .args()
            .ok_or_else(|| stanza.wrong("a passphrase stanza has not two arguments"))?;
        let salt = unbase64(salt.as_bytes())
            .ok_or_else(|| stanza.wrong("a salt is not 16 bytes of canonical base64"))?;
        let work = work_log2(work).ok_or_else(|| stanza.wrong("a work factor is no number"))?;
        if work > WORK_LOG2_MAX {
            return Err(stanza.wrong("a work factor is greater than 22"));
        }
        if work > self.work_log2_max {
            return Err(Error::WorkFactor {
                found: work,
                max: self.work_log2_max,
            });
        }
        let body = stanza::body(stanza)?;
        Ok(stanza::open(&self.key(&salt, work)?, body))
    }

    /// Derives a key with 2^work_log2 KiB of memory.
    ///
    /// # Errors
    /// [`Error::System`] when there is not so much.
    fn key(&self, salt: &[u8; SALT_LEN], work_log2: u8) -> Result<aead::Key, Error> {
        let salt = [INFO, salt].concat();
        kdf::stretch(self.expose(), &salt, work_log2).map_err(|e| io::Error::other(e).into())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A decimal number from 1 without a sign or leading zeros.
fn work_log2(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if !digits || text.is_empty() {
        return None;
    }
    // What does not fit is greater than anything that is allowed.
    Some(text.parse().unwrap_or(u8::MAX))
}

/// The stanza of a header that is for a passphrase.
///
/// # Errors
/// [`Error::Header`] when it is not the only stanza.
pub(super) fn find(header: &Header) -> Result<Option<Stanza<'_>>, Error> {
    let mut stanzas = header.stanzas(0..header.len());
    let Some(stanza) = stanzas.find(|stanza| stanza.kind() == SCRYPT) else {
        return Ok(None);
    };
    if header.len() > 1 {
        return Err(stanza.wrong("a passphrase stanza is not alone"));
    }
    Ok(Some(stanza))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into()))
    }

    fn header(stanzas: &[String]) -> Header {
        let bytes = Header::emit(stanzas, &FileKey::new([8; 16]));
        Header::read(&mut &*bytes, 1 << 20).unwrap().0
    }

    #[test]
    fn the_file_key_comes_back_for_the_passphrase_alone() {
        let stanza = passphrase("blue")
            .wrap(&FileKey::new([8; 16]), [1; 32], 2)
            .unwrap();
        let one = header(std::slice::from_ref(&stanza));
        let key = passphrase("blue").unwrap(&one).unwrap();
        assert_eq!(key, FileKey::new([8; 16]));
        let wrong = passphrase("bleu").unwrap(&one);
        assert!(matches!(wrong, Err(Error::WrongPassphrase)));
        let two = header(&[stanza.clone(), stanza]);
        let result = passphrase("blue").unwrap(&two);
        assert!(matches!(result, Err(Error::Header { .. })));
    }

    #[test]
    fn a_stranger_does_not_choose_the_work() {
        let file_key = FileKey::new([8; 16]);
        let stanza = passphrase("blue").wrap(&file_key, [1; 32], 3).unwrap();
        let header = |work: &str| header(&[stanza.replacen(" 3\n", &format!(" {work}\n"), 1)]);
        for (work, max, known) in [
            ("21", None, false),
            ("22", None, false),
            ("3", Some(2), false),
            ("3", Some(3), true),
        ] {
            let blue = passphrase("blue");
            let blue = max.map_or(blue.clone(), |max| blue.allowing(max));
            let found = blue.unwrap(&header(work));
            assert_eq!(found.is_ok(), known, "{work}");
            assert!(known || matches!(found, Err(Error::WorkFactor { .. })));
        }
        let most = passphrase("blue").allowing(u8::MAX);
        assert_eq!(most.work_log2_max, WORK_LOG2_MAX);
    }

    #[test]
    fn work_factors_have_one_form_and_a_maximum() {
        let good = passphrase("blue")
            .wrap(&FileKey::new([8; 16]), [1; 32], 2)
            .unwrap();
        let bad = [
            "0",
            "02",
            "+2",
            "-2",
            "0x2",
            "2 ",
            "two",
            "23",
            "300",
            "99999999999999999999",
        ];
        for work in bad {
            let stanza = good.replacen(" 2\n", &format!(" {work}\n"), 1);
            let bytes = Header::emit(&[stanza], &FileKey::new([8; 16]));
            let result = Header::read(&mut &*bytes, 1 << 20)
                .and_then(|(header, _)| passphrase("blue").unwrap(&header));
            assert!(matches!(result, Err(Error::Header { .. })), "{work}");
        }
    }
}
