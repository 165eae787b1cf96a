//! OpenSSH's Ed25519 keys: public lines and private files, with a passphrase or without.

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use crate::crypt::sign::{SigningKey, VerifyingKey};

use super::passphrase::Passphrase;
use crate::seal::Error;

/// The type that public lines and stanzas name.
pub(crate) const KIND: &str = "ssh-ed25519";
/// How a private file begins.
pub(crate) const PRIVATE_BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const PRIVATE_END: &str = "-----END OPENSSH PRIVATE KEY-----";
const PRIVATE_MAGIC: &[u8] = b"openssh-key-v1\0";
/// OpenSSH's own files are 400 bytes; 16 KiB is what age allows.
const PRIVATE_BYTES_MAX: usize = 16 << 10;
/// OpenSSH writes 16 or 24; a thousand take some ten seconds.
const ROUNDS_MAX: u32 = 1000;

/// A public key in the form that ssh hashes and sends.
pub(crate) fn wire(key: &VerifyingKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(51);
    for part in [KIND.as_bytes(), key.as_bytes()] {
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A public key as a line without a comment.
pub(crate) fn line(key: &VerifyingKey) -> String {
    format!("{KIND} {}", STANDARD.encode(wire(key)))
}

/// What a line of a file with ssh keys holds.
#[expect(clippy::large_enum_variant, reason = "it lives as long as its line")]
pub(crate) enum Line<'a> {
    /// A key that can be used, and whose it is.
    Key(VerifyingKey, &'a str),
    /// A key of a type that cannot be used, of which lists of hosts and users are full.
    Skipped,
}

/// Reads a line as in `authorized_keys` (`ssh-ed25519 AAAA… comment`) or as in `known_hosts` and
/// `allowed_signers` (`names ssh-ed25519 AAAA…`). `None` when it is no line with an ssh key.
pub(crate) fn parse_line(line: &str) -> Option<Result<Line<'_>, Error>> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    if is_native(fields.first()?) {
        return None;
    }
    let at = (0..fields.len()).find(|at| {
        // Whatever its type, a key's encoding begins with a short length.
        let encoded = fields.get(at + 1).is_some_and(|f| f.starts_with("AAAA"));
        encoded || (*at == 0 && fields[0] == KIND)
    })?;
    if at > 1 || (at == 1 && is_options(fields[0])) {
        return Some(Err(Error::Key(
            "options before an ssh key, which are not understood",
        )));
    }
    if fields[at] != KIND {
        return Some(Ok(Line::Skipped));
    }
    let key = fields.get(at + 1).and_then(|text| parse_wire(text));
    Some(match key {
        Some(key) => Ok(Line::Key(key, name(&fields, at))),
        None => Err(Error::Key("a malformed ssh-ed25519 key")),
    })
}

/// Whether a line that begins so has a key in bech32: what follows is a comment, whatever it says.
fn is_native(first: &str) -> bool {
    let begins = |prefix: &str| {
        let start = first.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let word = first
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    // A host may have such a name, but not such a long one.
    let long = first.len() > "age1".len() + 52;
    let native = ["age1", "age-", "sealsign1", "sealsign-"];
    word && long && native.into_iter().any(begins)
}

/// Whether the field before a key has options of `authorized_keys`, and not names.
fn is_options(field: &str) -> bool {
    const FLAGS: [&str; 14] = [
        "agent-forwarding",
        "cert-authority",
        "no-agent-forwarding",
        "no-port-forwarding",
        "no-pty",
        "no-touch-required",
        "no-user-rc",
        "no-x11-forwarding",
        "port-forwarding",
        "pty",
        "restrict",
        "user-rc",
        "verify-required",
        "x11-forwarding",
    ];
    let hashed = field.starts_with('|');
    !hashed && field.contains(['=', '"'])
        || field
            .split(',')
            .any(|item| FLAGS.contains(&item.to_ascii_lowercase().as_str()))
}

/// The names before a key, unless they are hashed, or the comment behind it.
fn name<'a>(fields: &[&'a str], at: usize) -> &'a str {
    let before = fields[..at].first().filter(|names| !names.starts_with('|'));
    before.or(fields.get(at + 2)).copied().unwrap_or_default()
}

fn parse_wire(text: &str) -> Option<VerifyingKey> {
    // 68 characters are all that fits; anything longer need not be decoded.
    if text.len() > 68 {
        return None;
    }
    let bytes = STANDARD.decode(text).ok()?;
    let mut fields = Fields(&bytes);
    if fields.string()? != KIND.as_bytes() {
        return None;
    }
    let key = fields.string()?.try_into().ok()?;
    fields.0.is_empty().then_some(())?;
    VerifyingKey::from_bytes(key).ok()
}

/// Reads a private key file.
///
/// # Errors
/// [`Error::Locked`] when it has a passphrase and none is given, [`Error::WrongPassphrase`], and
/// [`Error::Key`].
pub(crate) fn parse_private(
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<SigningKey, Error> {
    if text.len() > PRIVATE_BYTES_MAX {
        return Err(WRONG);
    }
    let inner = text
        .trim()
        .strip_prefix(PRIVATE_BEGIN)
        .and_then(|t| t.strip_suffix(PRIVATE_END))
        .ok_or(WRONG)?;
    // Room for all of it at once: a text that grows leaves copies of the secret behind.
    let mut joined = Zeroizing::new(String::with_capacity(inner.len()));
    joined.extend(inner.split_ascii_whitespace());
    let bytes = Zeroizing::new(STANDARD.decode(joined.as_bytes()).map_err(|_| WRONG)?);
    let body = bytes.strip_prefix(PRIVATE_MAGIC).ok_or(WRONG)?;
    let locked = Locked::parse(body)?;
    let (inner, encrypted) = locked.unlock(passphrase)?;
    let mut inner = Fields(&inner);
    if inner.u32().ok_or(WRONG)? != inner.u32().ok_or(WRONG)? {
        return Err(if encrypted {
            Error::WrongPassphrase
        } else {
            WRONG
        });
    }
    if inner.string().ok_or(WRONG)? != KIND.as_bytes() {
        return Err(Error::Key(
            "an openssh private key of a type other than ssh-ed25519",
        ));
    }
    key_pair(&mut inner)
        .filter(|key| locked.public == wire(&key.public()))
        .ok_or(WRONG)
}

const WRONG: Error = Error::Key("a malformed openssh private key");
const CIPHER: Error = Error::Key("an openssh private key under a cipher other than aes256-ctr");

/// `None` when the halves do not fit each other.
fn key_pair(fields: &mut Fields<'_>) -> Option<SigningKey> {
    let public = fields.string()?;
    let both: &[u8; 64] = fields.string()?.try_into().ok()?;
    let key = SigningKey::from_seed(*both.first_chunk()?);
    let fits = key.public().as_bytes() == public && both[32..] == *public;
    fields.string()?;
    // What fills the last block of the cipher counts from one.
    let filled = fields.0.iter().zip(1..).all(|(byte, at)| *byte == at);
    (fits && filled).then_some(key)
}

/// A private key as it stands in its file (PROTOCOL.key of OpenSSH).
struct Locked<'a> {
    cipher: &'a [u8],
    kdf: &'a [u8],
    options: &'a [u8],
    /// The public half, which is never encrypted.
    public: &'a [u8],
    text: &'a [u8],
}

impl<'a> Locked<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        let mut string = || fields.string().ok_or(WRONG);
        let (cipher, kdf, options) = (string()?, string()?, string()?);
        // Some ciphers put a tag behind all fields.
        if ![&b"none"[..], b"aes256-ctr"].contains(&cipher) {
            return Err(CIPHER);
        }
        if fields.u32() != Some(1) {
            return Err(WRONG);
        }
        let mut string = || fields.string().ok_or(WRONG);
        let (public, text) = (string()?, string()?);
        let locked = Self {
            cipher,
            kdf,
            options,
            public,
            text,
        };
        fields.0.is_empty().then_some(locked).ok_or(WRONG)
    }

    /// The key's fields, and whether a passphrase was needed for them.
    fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<(Zeroizing<Vec<u8>>, bool), Error> {
        let mut text = Zeroizing::new(self.text.to_vec());
        if self.cipher == b"none" && self.kdf == b"none" && self.options.is_empty() {
            return Ok((text, false));
        }
        if self.cipher != b"aes256-ctr" || self.kdf != b"bcrypt" {
            return Err(CIPHER);
        }
        let (salt, rounds) = self.bcrypt_options().ok_or(WRONG)?;
        if rounds > ROUNDS_MAX {
            return Err(Error::Key(
                "an openssh private key with more than 1000 rounds of bcrypt",
            ));
        }
        let passphrase = passphrase.ok_or(Error::Locked)?;
        let mut key = Zeroizing::new([0; 48]);
        bcrypt_pbkdf::bcrypt_pbkdf(passphrase.expose(), salt, rounds, &mut *key)
            .map_err(|_| WRONG)?;
        let (key, iv) = key.split_at(32);
        let mut cipher = Ctr128BE::<Aes256>::new_from_slices(key, iv).map_err(|_| WRONG)?;
        cipher.apply_keystream(&mut text);
        Ok((text, true))
    }

    fn bcrypt_options(&self) -> Option<(&'a [u8], u32)> {
        let mut fields = Fields(self.options);
        let options = (fields.string()?, fields.u32()?);
        fields.0.is_empty().then_some(options)
    }
}

/// The fields of ssh's encoding, each behind its length.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(u32::from_be_bytes(*head))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> VerifyingKey {
        SigningKey::from_seed([3; 32]).public()
    }

    fn found(text: &str) -> Option<VerifyingKey> {
        match parse_line(text) {
            Some(Ok(Line::Key(key, _))) => Some(key),
            _ => None,
        }
    }

    #[test]
    fn a_line_comes_back_in_all_its_places() {
        let line = line(&key());
        assert_eq!(found(&line), Some(key()));
        assert_eq!(found(&format!("{line} root@node")), Some(key()));
        assert_eq!(found(&format!("node,10.0.0.7 {line}")), Some(key()));
        assert_eq!(found(&format!("|1|salt=|hash= {line}")), Some(key()));
    }

    #[test]
    fn keys_have_the_names_that_stand_beside_them() {
        let line = line(&key());
        let name = |text: &str| match parse_line(text) {
            Some(Ok(Line::Key(_, name))) => name.to_string(),
            _ => panic!("{text}"),
        };
        assert_eq!(name(&line), "");
        assert_eq!(name(&format!("{line} root@node")), "root@node");
        assert_eq!(name(&format!("node,10.0.0.7 {line}")), "node,10.0.0.7");
        assert_eq!(name(&format!("|1|salt=|hash= {line} was node")), "was");
    }

    #[test]
    fn other_lines_are_told_apart() {
        let line = line(&key());
        let skipped = |text: &str| matches!(parse_line(text), Some(Ok(Line::Skipped)));
        assert!(skipped("node ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB"));
        assert!(skipped("node ecdsa-sha2-nistp256 AAAAE2VjZHNh"));
        assert!(skipped("ssh-rsa AAAAB3Nz root@node"));
        assert!(skipped("sk-ssh-ed25519@openssh.com AAAAGnNr"));
        assert!(matches!(parse_line("ssh-ed25519"), Some(Err(_))));
        assert!(matches!(parse_line(&line[..line.len() - 1]), Some(Err(_))));
        assert!(parse_line("age1abc").is_none());
        assert!(parse_line("node without a key").is_none());
    }

    #[test]
    fn a_comment_does_not_make_another_key_an_ssh_key() {
        let line = line(&key());
        let age = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        assert!(parse_line(&format!("{age} ssh-gateway")).is_none());
        assert!(parse_line(&format!("{age} {line}")).is_none());
        assert!(parse_line(&format!("{} {line}", age.to_uppercase())).is_none());
        // Hosts may have any name.
        assert_eq!(found(&format!("ssh-gw.example.com {line}")), Some(key()));
        assert_eq!(found(&format!("age1-node {line}")), Some(key()));
    }

    #[test]
    fn options_that_limit_a_key_are_not_passed_over() {
        let line = line(&key());
        for options in [
            "cert-authority",
            "Restrict,pty",
            "from=\"10.0.0.0/8\",no-pty",
            "command=\"echo hello\"",
            "me cert-authority",
            "me namespaces=\"file\"",
        ] {
            let found = parse_line(&format!("{options} {line}")).map(|r| r.map(|_| ()));
            assert!(matches!(found, Some(Err(Error::Key(_)))), "{options}");
        }
    }
}
