//! Recipients: public keys that the file key is wrapped for.

use std::fmt;
use std::str::FromStr;

use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::hybrid::HybridPublicKey;
use crate::crypt::sign::VerifyingKey;
use crate::crypt::{LowOrder, aead, hash, kdf};

use super::list::{self, KeyList, ListEntry, NamedKey};
use super::ssh;
use crate::seal::header::FileKey;
use crate::seal::text::{base64, bech32, fingerprint, unbech32};
use crate::seal::{Error, stanza};

pub(crate) const X25519: &str = "X25519";
pub(crate) const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
pub(crate) const SSH_INFO: &[u8] = b"age-encryption.org/v1/ssh-ed25519";
pub(crate) const HYBRID: &str = "mlkem768x25519";
pub(crate) const HYBRID_INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
const HRP: &str = "age";
const HYBRID_HRP: &str = "age1pq";

/// Someone who can open what is sealed for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Recipient {
    /// A key of `sealcast keygen` or `age-keygen`: `age1…`.
    X25519(PublicKey),
    /// An ssh key, such as a host's: `ssh-ed25519 AAAA…`.
    Ssh(VerifyingKey),
    /// A key that also withstands quantum computers: `age1pq1…`.
    Hybrid(Box<HybridPublicKey>),
}

impl Recipient {
    /// Whether what is sealed for this recipient withstands quantum computers.
    pub const fn is_hybrid(&self) -> bool {
        matches!(self, Self::Hybrid(_))
    }

    /// Wraps the file key for this recipient: a stanza, whole lines. `seed` is 32 random bytes that
    /// serve this once.
    ///
    /// # Errors
    /// [`Error::Key`] when the key is a point of low order, which would protect nothing.
    pub fn wrap(&self, file_key: &FileKey, seed: [u8; 32]) -> Result<String, Error> {
        let ephemeral = SecretKey::from_seed(seed);
        let share = ephemeral.public();
        let share64 = base64(share.as_bytes());
        let (args, key) = match self {
            Self::X25519(theirs) => (
                format!("{X25519} {share64}"),
                x25519_key(&ephemeral, theirs, &share, theirs),
            ),
            Self::Ssh(theirs) => (
                format!("{} {} {share64}", ssh::KIND, base64(&ssh_tag(theirs))),
                ssh_key(&ephemeral, &theirs.to_agreement(), &share, theirs),
            ),
            Self::Hybrid(theirs) => return hybrid_stanza(theirs, file_key, seed),
        };
        let key = key.map_err(|_| UNSOUND)?;
        Ok(format!("-> {args}\n{}\n", stanza::wrap(&key, file_key)))
    }

    /// What people compare.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.to_string())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X25519(key) => f.write_str(&bech32(HRP, key.as_bytes())),
            Self::Ssh(key) => f.write_str(&ssh::line(key)),
            Self::Hybrid(key) => f.write_str(&bech32(HYBRID_HRP, &key.to_bytes())),
        }
    }
}

impl FromStr for Recipient {
    type Err = Error;

    /// Reads one recipient; whatever follows it after a space is a comment.
    fn from_str(text: &str) -> Result<Self, Error> {
        list::parse_one(text, parse)
    }
}

/// The recipients in the text of a file, one a line, `#` comments and blank lines aside.
///
/// # Errors
/// [`Error::KeyLine`] for the first line that holds no recipient, [`Error::Key`] when no key of the
/// file can be used.
pub fn parse_recipients(text: &str) -> Result<KeyList<Recipient>, Error> {
    list::parse_list(text, parse)?.require_nonempty("the file holds no recipient")
}

/// Checks that the recipients may share a stream: who breaks the keys of the others must not open
/// what is sealed for recipients that withstand quantum computers.
///
/// # Errors
/// [`Error::Mixed`].
pub fn check_mix(recipients: &[Recipient]) -> Result<(), Error> {
    let hybrid = recipients.iter().filter(|r| r.is_hybrid()).count();
    if hybrid > 0 && hybrid < recipients.len() {
        let others = recipients.len() - hybrid;
        return Err(Error::Mixed { hybrid, others });
    }
    Ok(())
}

pub(super) fn parse(text: &str) -> Result<ListEntry<Recipient>, Error> {
    if let Some(line) = ssh::parse_line(text) {
        return Ok(list::ssh_entry(&line?, Recipient::Ssh));
    }
    let (word, name) = list::word_and_comment(text);
    let key = parse_age(word)?;
    let name = name.to_string();
    Ok(ListEntry::Key(NamedKey { key, name }))
}

fn parse_age(word: &str) -> Result<Recipient, Error> {
    let lower = word.to_ascii_lowercase();
    if lower.starts_with("age-secret-key-") || lower.starts_with(super::sender_key::SECRET_HRP) {
        return Err(Error::Key("a secret key where a recipient is expected"));
    }
    // The last `1` parts the type from the key, in which there is none.
    let kind = lower.rsplit_once('1').map_or("", |(kind, _)| kind);
    match kind {
        HRP => unbech32(HRP, word).map(|bytes| Recipient::X25519(PublicKey(bytes))),
        HYBRID_HRP => {
            let key = HybridPublicKey::from_bytes(&unbech32(HYBRID_HRP, word)?);
            let key = key.map_err(|_| UNSOUND)?;
            Ok(Recipient::Hybrid(Box::new(key)))
        }
        "sealsign" => Err(Error::Key("a signing key where a recipient is expected")),
        _ if kind.starts_with("age1") => Err(Error::Key(
            "an age recipient of a type not supported: a plugin's or a hardware key",
        )),
        _ if word.starts_with("-----BEGIN ") => {
            Err(Error::Key("a secret key where a recipient is expected"))
        }
        _ => Err(Error::NotKey(
            "neither an age1… nor an ssh-ed25519 recipient",
        )),
    }
}

const UNSOUND: Error = Error::Key("a recipient that is no sound key");

fn hybrid_stanza(
    theirs: &HybridPublicKey,
    file_key: &FileKey,
    seed: [u8; 32],
) -> Result<String, Error> {
    let sealed = theirs.seal(HYBRID_INFO, file_key.expose(), seed);
    let (share, body) = sealed.map_err(|_| UNSOUND)?;
    let (share, body) = (base64(&share), base64(&body));
    Ok(format!("-> {HYBRID} {share}\n{body}\n"))
}

/// The wrapping key of an X25519 stanza.
pub(crate) fn x25519_key(
    ours: &SecretKey,
    point: &PublicKey,
    share: &PublicKey,
    recipient: &PublicKey,
) -> Result<aead::Key, LowOrder> {
    let shared = ours.agree(point)?;
    let salt = [*share.as_bytes(), *recipient.as_bytes()].concat();
    Ok(kdf::derive(shared.expose(), &salt, X25519_INFO))
}

/// The wrapping key of an ssh-ed25519 stanza: as for X25519, with the agreed secret bound to the
/// ssh key by one more multiplication.
pub(crate) fn ssh_key(
    ours: &SecretKey,
    point: &PublicKey,
    share: &PublicKey,
    recipient: &VerifyingKey,
) -> Result<aead::Key, LowOrder> {
    let tweak = kdf::derive(b"", &ssh::wire(recipient), SSH_INFO);
    let shared = ours.agree(point)?;
    let shared = SecretKey::from_seed(*tweak.expose()).agree(&PublicKey(*shared.expose()))?;
    let salt = [*share.as_bytes(), *recipient.to_agreement().as_bytes()].concat();
    Ok(kdf::derive(shared.expose(), &salt, SSH_INFO))
}

/// The tag that tells a host its stanza.
pub(crate) fn ssh_tag(key: &VerifyingKey) -> [u8; 4] {
    let hash = hash::sha256(&ssh::wire(key));
    [hash[0], hash[1], hash[2], hash[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    #[test]
    fn text_comes_back() {
        let recipient: Recipient = KEY.parse().unwrap();
        assert_eq!(recipient.to_string(), KEY);
        assert_eq!(
            format!("{KEY} node 7").parse::<Recipient>().unwrap(),
            recipient
        );
    }

    #[test]
    fn a_key_that_spells_another_type_is_what_it_is() {
        // `age1tag1…` are hardware keys, and `tag` is as good a beginning of a key as any.
        for (bytes, start) in [([0x5f, 0x50], "age1tag"), ([0x08, 0x00], "age1pq")] {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&bytes);
            let recipient = Recipient::X25519(PublicKey(key));
            let text = recipient.to_string();
            assert!(text.starts_with(start), "{text}");
            assert_eq!(text.parse::<Recipient>().unwrap(), recipient);
        }
        let hardware = "age1tag1qwe0kafsjrar4txm6heqnhpfuggzr0gvznz7fvygxrlq90u5mq2pysxtw6h";
        assert!(
            matches!(hardware.parse::<Recipient>(), Err(Error::Key(what))
            if what.contains("not supported"))
        );
    }

    #[test]
    fn a_file_of_recipients() {
        let text = format!("# nodes\n\n{KEY} node-1\r\n  {KEY}\nnode ssh-rsa AAAAB3\n");
        let list = parse_recipients(&text).unwrap();
        assert_eq!((list.keys.len(), list.ignored), (2, 1));
        assert_eq!(list.keys[0].name, "node-1");
        let wrong = format!("{KEY}\n#\nnode-1 {KEY}\n");
        assert!(matches!(
            parse_recipients(&wrong),
            Err(Error::KeyLine { line: 3, .. })
        ));
    }

    #[test]
    fn a_revoked_key_is_no_recipient_wherever_it_stands() {
        let key = |seed| crate::crypt::sign::SigningKey::from_seed([seed; 32]).public();
        let (good, bad) = (ssh::line(&key(1)), ssh::line(&key(2)));
        let text = format!("a {bad}\nb {good}\n@revoked * {bad}\nc {bad}\n");
        let list = parse_recipients(&text).unwrap();
        assert_eq!(list.keys.len(), 1);
        assert_eq!((list.keys[0].name.as_str(), list.ignored), ("b", 3));
        let none = parse_recipients(&format!("a {bad}\n@revoked * {bad}\n")).unwrap();
        assert!(none.keys.is_empty());
        // A list of its own revokes as well, and keys of all kinds.
        let other = parse_recipients(&format!("b {good}\na {bad}\n{KEY}\n")).unwrap();
        let joined = KeyList::join([other.clone(), none.clone()]);
        assert_eq!(joined.keys.len(), 2);
        let age = parse_recipients(&format!("@revoked {KEY}\n@revoked node-7 {KEY}\n")).unwrap();
        assert_eq!(KeyList::join([none, other, age]).keys.len(), 1);
        // What may have been meant so is not passed over.
        for mark in ["@revoke", "@Revoked", "@"] {
            let text = format!("{good}\n{mark} * {bad}\n");
            let wrong = parse_recipients(&text);
            assert!(
                matches!(wrong, Err(Error::KeyLine { line: 2, .. })),
                "{mark}"
            );
        }
        let authority = format!("{good}\n@cert-authority * {bad}\n");
        assert_eq!(parse_recipients(&authority).unwrap().keys.len(), 1);
    }

    #[test]
    fn hybrid_recipients_are_among_themselves() {
        let hybrid = crate::seal::Identity::hybrid_from_seed([1; 32]).recipient();
        let text = hybrid.to_string();
        assert!(text.starts_with("age1pq1"));
        assert_eq!(text.parse::<Recipient>().unwrap(), hybrid);
        let other: Recipient = KEY.parse().unwrap();
        assert!(check_mix(&[hybrid.clone(), hybrid.clone()]).is_ok());
        assert!(check_mix(&[other.clone(), other.clone()]).is_ok());
        assert!(matches!(
            check_mix(&[hybrid, other.clone(), other]),
            Err(Error::Mixed {
                hybrid: 1,
                others: 2
            })
        ));
    }

    #[test]
    fn keys_that_protect_nothing_are_refused() {
        let low = Recipient::X25519(PublicKey([0; 32]));
        assert!(low.wrap(&FileKey::new([1; 16]), [2; 32]).is_err());
    }
}
