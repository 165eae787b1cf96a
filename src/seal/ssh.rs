//! OpenSSH's Ed25519 keys, public lines and unencrypted private files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypt::sign::{SigningKey, VerifyingKey};

use super::Error;

/// The type that public lines and stanzas name.
pub(crate) const KIND: &str = "ssh-ed25519";
/// How a private file begins.
pub(crate) const PRIVATE_BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const PRIVATE_END: &str = "-----END OPENSSH PRIVATE KEY-----";
const PRIVATE_MAGIC: &[u8] = b"openssh-key-v1\0";
/// OpenSSH's own files are 400 bytes; 16 KiB is what age allows.
const PRIVATE_BYTES_MAX: usize = 16 << 10;

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
pub(crate) enum Line {
    /// A key that can be used.
    Key(VerifyingKey),
    /// A key of a type that cannot be used, in a list of hosts where such are common, or a key
    /// that is marked as revoked or as an authority.
    Skipped,
}

/// Reads a line as in `authorized_keys` (`ssh-ed25519 AAAA… comment`) or as in `known_hosts` and
/// `allowed_signers` (`names ssh-ed25519 AAAA…`). `None` when it is no line with an ssh key.
pub(crate) fn parse_line(line: &str) -> Option<Result<Line, Error>> {
    let fields: Vec<_> = line.split_ascii_whitespace().take(4).collect();
    let marked = fields.first().is_some_and(|f| f.starts_with('@'));
    let fields = if marked { &fields[1..] } else { &fields[..] };
    let at = fields.iter().take(2).position(|f| is_kind(f))?;
    if marked || (at == 1 && fields[1] != KIND) {
        return Some(Ok(Line::Skipped));
    }
    if fields[at] != KIND {
        return Some(Err(Error::Key(
            "an ssh key of a type other than ssh-ed25519",
        )));
    }
    let key = fields.get(at + 1).and_then(|text| parse_wire(text));
    Some(match key {
        Some(key) => Ok(Line::Key(key)),
        None => Err(Error::Key("a malformed ssh-ed25519 key")),
    })
}

fn is_kind(field: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|prefix| field.starts_with(prefix))
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

/// Reads an unencrypted private key file.
pub(crate) fn parse_private(text: &str) -> Result<SigningKey, Error> {
    const WRONG: Error = Error::Key("a malformed openssh private key");
    if text.len() > PRIVATE_BYTES_MAX {
        return Err(WRONG);
    }
    let inner = text
        .trim()
        .strip_prefix(PRIVATE_BEGIN)
        .and_then(|t| t.strip_suffix(PRIVATE_END))
        .ok_or(WRONG)?;
    let joined: Zeroizing<String> =
        Zeroizing::new(inner.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    let bytes = Zeroizing::new(STANDARD.decode(joined.as_bytes()).map_err(|_| WRONG)?);
    let body = bytes.strip_prefix(PRIVATE_MAGIC).ok_or(WRONG)?;
    private_fields(&mut Fields(body)).ok_or(WRONG)?
}

/// `None` when the fields are not as OpenSSH writes them.
fn private_fields(fields: &mut Fields<'_>) -> Option<Result<SigningKey, Error>> {
    if fields.string()? != b"none" {
        return Some(Err(Error::Key(
            "an openssh private key with a passphrase, which is not supported",
        )));
    }
    let plain = fields.string()? == b"none" && fields.string()?.is_empty() && fields.u32()? == 1;
    plain.then_some(())?;
    fields.string()?;
    let mut inner = Fields(fields.string()?);
    (inner.u32()? == inner.u32()?).then_some(())?;
    if inner.string()? != KIND.as_bytes() {
        return Some(Err(Error::Key(
            "an openssh private key of a type other than ssh-ed25519",
        )));
    }
    let public = inner.string()?;
    let both: &[u8; 64] = inner.string()?.try_into().ok()?;
    let key = SigningKey::from_seed(*both.first_chunk()?);
    let fits = key.public().as_bytes() == public && both[32..] == *public;
    fits.then_some(Ok(key))
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
            Some(Ok(Line::Key(key))) => Some(key),
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
    fn other_lines_are_told_apart() {
        let line = line(&key());
        let skipped = |text: &str| matches!(parse_line(text), Some(Ok(Line::Skipped)));
        assert!(skipped(&format!("@revoked * {line}")));
        assert!(skipped(&format!("@cert-authority * {line}")));
        assert!(skipped("node ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB"));
        assert!(skipped("node ecdsa-sha2-nistp256 AAAAE2VjZHNh"));
        assert!(matches!(parse_line("ssh-rsa AAAAB3Nz"), Some(Err(_))));
        assert!(matches!(parse_line("ssh-ed25519"), Some(Err(_))));
        assert!(matches!(parse_line(&line[..line.len() - 1]), Some(Err(_))));
        assert!(parse_line("age1abc").is_none());
        // Options that limit a signer are not understood, so the line is not taken.
        assert!(parse_line(&format!("me cert-authority {line}")).is_none());
    }
}
