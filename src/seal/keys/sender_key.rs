//! Senders: the keys that sign streams, and their public halves.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::crypt::sign::{SigningKey, VerifyingKey};

use super::list::{self, KeyList, ListEntry, NamedKey};
use super::passphrase::Passphrase;
use super::ssh;
use crate::seal::Error;
use crate::seal::text::{bech32, fingerprint, unbech32};

/// The prefix of a public signing key. It names algorithm and version: another has another prefix.
const PUBLIC_HRP: &str = "sealsign";
/// The prefix of a secret signing key, written in upper case.
pub(crate) const SECRET_HRP: &str = "sealsign-secret-";

/// Someone who can sign streams, known by a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderKey(VerifyingKey);

impl SenderKey {
    /// The sender with this key.
    pub const fn new(key: VerifyingKey) -> Self {
        Self(key)
    }

    /// The key that checks signatures.
    pub const fn key(&self) -> &VerifyingKey {
        &self.0
    }

    /// What people compare; the same for a key in ssh's form and in ours.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.to_string())
    }
}

impl fmt::Display for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32(PUBLIC_HRP, self.0.as_bytes()))
    }
}

impl FromStr for SenderKey {
    type Err = Error;

    /// Reads one sender, `sealsign1…` or `ssh-ed25519 AAAA…`; what follows is a comment.
    fn from_str(text: &str) -> Result<Self, Error> {
        list::parse_one(text, parse)
    }
}

/// The senders in the text of a file, one a line, `#` comments and blank lines aside.
///
/// # Errors
/// [`Error::KeyLine`] for the first line that holds no sender, [`Error::Key`] when none does.
pub fn parse_sender_keys(text: &str) -> Result<KeyList<SenderKey>, Error> {
    list::parse_list(text, parse)?.require_nonempty("the file holds no signing key")
}

pub(super) fn parse(text: &str) -> Result<ListEntry<SenderKey>, Error> {
    if let Some(line) = ssh::parse_line(text) {
        return Ok(list::ssh_entry(&line?, SenderKey));
    }
    let (word, name) = list::word_and_comment(text);
    let lower = word.to_ascii_lowercase();
    if lower.starts_with("age1") {
        return Err(Error::Key(
            "a recipient where a signing key is expected: it cannot name a sender",
        ));
    }
    let secret = [SECRET_HRP, "age-secret-key-", "-----begin "];
    if secret.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(Error::Key("a secret key where a public one is expected"));
    }
    if !lower.starts_with("sealsign1") {
        return Err(Error::NotKey("neither a sealsign1… nor an ssh-ed25519 key"));
    }
    let bytes = unbech32(PUBLIC_HRP, word)?;
    VerifyingKey::from_bytes(&bytes)
        .map(|key| {
            ListEntry::Key(NamedKey {
                key: SenderKey(key),
                name: name.to_string(),
            })
        })
        .map_err(|_| Error::Key("a signing key that is no sound point"))
}

/// The line of a key file with a secret signing key.
pub fn signing_key_line(key: &SigningKey) -> Zeroizing<String> {
    let mut line = Zeroizing::new(bech32(SECRET_HRP, key.expose().expose()));
    line.make_ascii_uppercase();
    line
}

/// The signing key in the text of a key file: ours, with one key, or an OpenSSH private key, which
/// may need a passphrase.
///
/// # Errors
/// [`Error::Locked`], [`Error::WrongPassphrase`], [`Error::Key`] and [`Error::KeyLine`].
pub fn parse_signing_key(text: &str, passphrase: Option<&Passphrase>) -> Result<SigningKey, Error> {
    if text.trim_start().starts_with(ssh::PRIVATE_BEGIN) {
        return ssh::parse_private(text, passphrase);
    }
    let mut lines = list::key_lines(text);
    let (line, first) = lines
        .next()
        .ok_or(Error::Key("the file holds no signing key"))?;
    let key = parse_signing_line(first).map_err(|e| e.with_line(line))?;
    if let Some((line, _)) = lines.next() {
        return Err(Error::KeyLine {
            line,
            what: "a second key, and a stream has one sender",
        });
    }
    Ok(key)
}

pub(super) fn parse_signing_line(line: &str) -> Result<SigningKey, Error> {
    let lower = Zeroizing::new(line.to_ascii_lowercase());
    if lower.starts_with("age-secret-key-") {
        return Err(Error::Key("an identity where a signing key is expected"));
    }
    if lower.starts_with("sealsign1") || lower.starts_with("ssh-") {
        return Err(Error::Key(
            "a public key where a secret signing key is expected",
        ));
    }
    if !lower.starts_with(SECRET_HRP) {
        return Err(Error::Key("not a SEALSIGN-SECRET-1…"));
    }
    let seed = Zeroizing::new(unbech32(SECRET_HRP, line)?);
    Ok(SigningKey::from_seed(*seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_come_back() {
        let key = SigningKey::from_seed([7; 32]);
        let sender = SenderKey::new(key.public());
        assert_eq!(sender.to_string().parse::<SenderKey>().unwrap(), sender);
        let text = format!("# mine\n{}\n", signing_key_line(&key).as_str());
        let found = parse_signing_key(&text, None).unwrap();
        assert_eq!(found.public(), key.public());
        assert!(parse_signing_key(&format!("{text}{text}"), None).is_err());
    }

    #[test]
    fn an_ssh_line_is_the_same_sender() {
        let sender = SenderKey::new(SigningKey::from_seed([7; 32]).public());
        let line = ssh::line(sender.key());
        let other: SenderKey = format!("{line} root@admin").parse().unwrap();
        assert_eq!(other, sender);
        assert_eq!(other.fingerprint(), sender.fingerprint());
        assert_eq!(sender.fingerprint().len(), 32);
    }

    #[test]
    fn files_of_senders() {
        let a = SenderKey::new(SigningKey::from_seed([7; 32]).public());
        let b = SenderKey::new(SigningKey::from_seed([8; 32]).public());
        let text = format!("# ours\n{a} admin\n\nroot@b {}\n", ssh::line(b.key()));
        let list = parse_sender_keys(&text).unwrap();
        let found: Vec<_> = list.keys.iter().map(|k| (k.key, k.name.as_str())).collect();
        assert_eq!(found, [(a, "admin"), (b, "root@b")]);
        assert!(parse_sender_keys("# none\n").is_err());
        assert!(matches!(
            parse_sender_keys(&format!("{a}\nage1abc\n")),
            Err(Error::KeyLine { line: 2, .. })
        ));
        let secret = signing_key_line(&SigningKey::from_seed([7; 32]));
        let refused = secret.parse::<SenderKey>().unwrap_err().to_string();
        assert!(refused.contains("secret key"));
    }
}
