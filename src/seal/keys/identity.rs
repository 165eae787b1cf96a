//! Identities: secret keys that open what was sealed for their public half.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::hybrid::{self, ENCAPSULATED_LEN, HybridSecretKey};
use crate::crypt::secret::Secret;
use crate::crypt::sign::SigningKey;

use super::passphrase::Passphrase;
use super::passphrase::SCRYPT;
use super::recipient::{self, Recipient};
use super::{passphrase, ssh};
use crate::seal::header::{FileKey, Header, Stanza};
use crate::seal::text::{bech32, unbase64, unbech32};
use crate::seal::{Error, stanza};

const HRP: &str = "age-secret-key-";
const HYBRID_HRP: &str = "age-secret-key-pq-";

/// The secret half of a [`Recipient`].
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Identity {
    /// `AGE-SECRET-KEY-1…`.
    X25519(SecretKey),
    /// An OpenSSH key, such as the host's.
    Ssh(Box<SigningKey>),
    /// `AGE-SECRET-KEY-PQ-1…`.
    Hybrid(HybridSecretKey),
}

impl Identity {
    /// A new identity made of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self::X25519(SecretKey::from_seed(seed))
    }

    /// A new identity that withstands quantum computers, made of 32 random bytes.
    pub const fn hybrid_from_seed(seed: [u8; 32]) -> Self {
        Self::Hybrid(HybridSecretKey::from_seed(seed))
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        match self {
            Self::X25519(key) => Recipient::X25519(key.public()),
            Self::Ssh(key) => Recipient::Ssh(key.public()),
            Self::Hybrid(key) => Recipient::Hybrid(Box::new(key.public())),
        }
    }

    /// The line of a key file; `None` for ssh keys, which have a file format of their own.
    pub fn to_line(&self) -> Option<Zeroizing<String>> {
        let mut line = Zeroizing::new(match self {
            Self::X25519(key) => bech32(HRP, key.expose().expose()),
            Self::Hybrid(key) => bech32(HYBRID_HRP, key.expose().expose()),
            Self::Ssh(_) => return None,
        });
        line.make_ascii_uppercase();
        Some(line)
    }

    /// The identities in the text of a key file: an age identity file, or one OpenSSH key, which
    /// may need a passphrase.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::WrongPassphrase`], [`Error::Key`] and [`Error::KeyLine`].
    pub fn parse_file(text: &str, passphrase: Option<&Passphrase>) -> Result<Vec<Self>, Error> {
        if text.trim_start().starts_with(ssh::PRIVATE_BEGIN) {
            let key = ssh::parse_private(text, passphrase)?;
            return Ok(vec![Self::Ssh(Box::new(key))]);
        }
        let (mut found, mut plugins) = (Vec::new(), false);
        for (line, text) in super::list::key_lines(text) {
            if text.to_ascii_lowercase().starts_with("age-plugin-") {
                plugins = true;
                continue;
            }
            found.push(Self::parse_line(text).map_err(|e| e.with_line(line))?);
        }
        match found.len() {
            0 if plugins => Err(Error::Key("the file holds identities of plugins only")),
            0 => Err(Error::Key("the file holds no identity")),
            _ => Ok(found),
        }
    }

    pub(super) fn parse_line(line: &str) -> Result<Self, Error> {
        let begins = |prefix: &str| {
            line.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if begins(super::sender_key::SECRET_HRP) {
            return Err(Error::Key("a signing key where an identity is expected"));
        }
        if begins("age1") || begins("ssh-") || begins("sealsign1") {
            return Err(Error::Key("a public key where an identity is expected"));
        }
        if begins(HYBRID_HRP) {
            let bytes = Zeroizing::new(unbech32(HYBRID_HRP, line)?);
            return Ok(Self::hybrid_from_seed(*bytes));
        }
        if !begins(HRP) {
            return Err(Error::Key("not an AGE-SECRET-KEY-1…"));
        }
        let bytes = Zeroizing::new(unbech32(HRP, line)?);
        Ok(Self::X25519(SecretKey::from_seed(*bytes)))
    }
}

/// Identities with what is derived of them once, to try on many stanzas.
pub struct Keyring(Vec<PreparedIdentity>);

enum PreparedIdentity {
    X25519(SecretKey, PublicKey),
    Ssh(Box<SigningKey>, [u8; 4]),
    Hybrid(HybridSecretKey),
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} identities)", self.0.len())
    }
}

impl Keyring {
    /// Holds the identities.
    pub fn new(identities: &[Identity]) -> Self {
        let held = identities.iter().map(|identity| match identity {
            Identity::X25519(key) => PreparedIdentity::X25519(key.clone(), key.public()),
            Identity::Ssh(key) => {
                PreparedIdentity::Ssh(key.clone(), recipient::ssh_tag(&key.public()))
            }
            Identity::Hybrid(key) => PreparedIdentity::Hybrid(key.clone()),
        });
        Self(held.collect())
    }

    /// Looks for the file key in the stanzas `range` of `header`, which may be tried in parts.
    ///
    /// # Errors
    /// [`Error::Header`] when a stanza of a type that an identity can open breaks its rules.
    pub fn try_stanzas(
        &self,
        header: &Header,
        range: Range<usize>,
    ) -> Result<Option<FileKey>, Error> {
        for stanza in header.stanzas(range) {
            for held in &self.0 {
                if let Some(key) = held.unwrap(&stanza)? {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    /// Finds the file key and checks the header with it.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::Passphrase`], [`Error::Header`] and [`Error::HeaderForged`].
    pub fn unwrap(&self, header: &Header) -> Result<FileKey, Error> {
        let found = self.try_stanzas(header, 0..header.len())?;
        check(header, found)
    }
}

/// Takes the file key that was found, if one was, and checks the header with it.
///
/// # Errors
/// [`Error::NoIdentity`], [`Error::Passphrase`], [`Error::HeaderForged`], and [`Error::Header`]
/// when a passphrase's stanza is not alone.
pub fn check(header: &Header, found: Option<FileKey>) -> Result<FileKey, Error> {
    passphrase::find(header)?;
    let Some(key) = found else {
        let mut first = header.stanzas(0..1);
        return Err(match first.next() {
            Some(stanza) if stanza.kind() == SCRYPT => Error::Passphrase,
            _ => Error::NoIdentity {
                stanzas: header.len(),
            },
        });
    };
    header.verify(&key)?;
    Ok(key)
}

impl PreparedIdentity {
    /// The file key, when the stanza is for this identity.
    fn unwrap(&self, stanza: &Stanza<'_>) -> Result<Option<FileKey>, Error> {
        match self {
            Self::X25519(ours, recipient) if stanza.kind() == recipient::X25519 => {
                let [share] = stanza
                    .args()
                    .ok_or_else(|| stanza.wrong("an X25519 stanza has not one argument"))?;
                let (share, body) = share_and_body(stanza, share)?;
                let key = recipient::x25519_key(ours, &share, &share, recipient)
                    .map_err(|_| stanza.wrong("a share has low order"))?;
                Ok(stanza::open(&key, body))
            }
            Self::Ssh(ours, tag) if stanza.kind() == ssh::KIND => {
                let [theirs, share] = stanza
                    .args()
                    .ok_or_else(|| stanza.wrong("an ssh-ed25519 stanza has not two arguments"))?;
                let theirs: [u8; 4] = unbase64(theirs.as_bytes())
                    .ok_or_else(|| stanza.wrong("an ssh-ed25519 tag is not four bytes"))?;
                let (share, body) = share_and_body(stanza, share)?;
                if theirs != *tag {
                    return Ok(None);
                }
                let key = recipient::ssh_key(&ours.to_agreement(), &share, &share, &ours.public())
                    .map_err(|_| stanza.wrong("a share has low order"))?;
                Ok(stanza::open(&key, body))
            }
            Self::Hybrid(ours) if stanza.kind() == recipient::HYBRID => {
                let [share] = stanza
                    .args()
                    .ok_or_else(|| stanza.wrong("an mlkem768x25519 stanza has not one argument"))?;
                let share: [u8; ENCAPSULATED_LEN] = unbase64(share.as_bytes())
                    .ok_or_else(|| stanza.wrong("a share is not 1120 bytes of canonical base64"))?;
                let body = stanza::body(stanza)?;
                hybrid::check_point(&share).map_err(|_| stanza.wrong("a share has low order"))?;
                let opened = ours.open(recipient::HYBRID_INFO, &share, &body);
                let key = opened.ok().map(Zeroizing::new);
                Ok(key.and_then(|key| Some(Secret::new(key.as_slice().try_into().ok()?))))
            }
            Self::X25519(..) | Self::Ssh(..) | Self::Hybrid(_) => Ok(None),
        }
    }
}

fn share_and_body(stanza: &Stanza<'_>, share: &str) -> Result<(PublicKey, [u8; 32]), Error> {
    let share = unbase64(share.as_bytes())
        .ok_or_else(|| stanza.wrong("a share is not 32 bytes of canonical base64"))?;
    Ok((PublicKey(share), stanza::body(stanza)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh() -> Identity {
        Identity::Ssh(Box::new(SigningKey::from_seed([6; 32])))
    }

    fn header(recipients: &[Recipient]) -> Header {
        let key = FileKey::new([8; 16]);
        let stanzas: Vec<_> = recipients
            .iter()
            .zip(1u8..)
            .map(|(r, i)| r.wrap(&key, [i; 32]).unwrap())
            .collect();
        Header::read(&mut &*Header::emit(&stanzas, &key), 1 << 20)
            .unwrap()
            .0
    }

    #[test]
    fn each_identity_finds_its_stanza() {
        let one = Identity::from_seed([4; 32]);
        let other = Identity::from_seed([5; 32]);
        let header = header(&[one.recipient(), ssh().recipient()]);
        for identity in [one, ssh()] {
            let key = Keyring::new(&[other.clone(), identity]).unwrap(&header);
            assert_eq!(key.unwrap(), FileKey::new([8; 16]));
        }
        assert!(matches!(
            Keyring::new(&[other]).unwrap(&header),
            Err(Error::NoIdentity { stanzas: 2 })
        ));
    }

    #[test]
    fn a_key_file_comes_back() {
        let identity = Identity::from_seed([4; 32]);
        let text = format!("# comment\n\n{}\n", identity.to_line().unwrap().as_str());
        let found = Identity::parse_file(&text, None).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].recipient(), identity.recipient());
    }

    #[test]
    fn what_is_no_identity_is_named() {
        let check = |text: &str| Identity::parse_file(text, None).unwrap_err().to_string();
        assert!(check("").contains("no identity"));
        assert!(check("# only\n").contains("no identity"));
        let public = Identity::from_seed([4; 32]).recipient().to_string();
        assert!(check(&public).contains("public key"));
        assert!(check("hello").contains("line 1: not an AGE-SECRET-KEY"));
    }

    #[test]
    fn a_stanza_that_breaks_its_rules_is_an_error() {
        let key = FileKey::new([8; 16]);
        let ours = Identity::from_seed([4; 32]);
        let good = ours.recipient().wrap(&key, [1; 32]).unwrap();
        let bad = [
            good.replacen("X25519 ", "X25519 more ", 1),
            good.replacen("X25519 ", "X25519 AA", 1),
            format!("-> X25519 {}\n{}\n", "A".repeat(43), "A".repeat(43)),
            format!("{}\n", good.trim_end().rsplit_once('\n').unwrap().0) + "AAAA\n",
            format!("{good}-> scrypt a b\nAAAA\n"),
        ];
        for stanza in bad {
            let bytes = Header::emit(std::slice::from_ref(&stanza), &key);
            let (header, _) = Header::read(&mut &*bytes, 1 << 20).unwrap();
            let other = Identity::from_seed([5; 32]);
            assert!(
                matches!(
                    Keyring::new(&[other]).unwrap(&header),
                    Err(Error::Header { .. })
                ),
                "{stanza}"
            );
        }
    }
}
