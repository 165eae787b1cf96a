//! What keys a file has, whatever their kinds.

use std::collections::BTreeSet;

use crate::crypt::sign::SigningKey;

use super::identity::Identity;
use super::list::{self, ListEntry, NamedKey};
use super::passphrase::Passphrase;
use super::recipient::Recipient;
use super::sender_key::SenderKey;
use super::sender_key::{self, SECRET_HRP};
use super::{recipient, ssh};
use crate::seal::Error;

/// A key of any kind.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum AnyKey {
    /// The public half of an identity.
    Recipient(NamedKey<Recipient>),
    /// The public half of a signing key.
    SenderKey(NamedKey<SenderKey>),
    /// A secret key that opens.
    Identity(Identity),
    /// A secret key that signs.
    Signing(SigningKey),
}

/// The keys in the text of a file in their order, without those that are revoked, and how many
/// lines were ignored. An ssh key is found twice, as it can be both.
///
/// # Errors
/// [`Error::KeyLine`], [`Error::Key`] when there is none, and those of [`Identity::parse_file`] for
/// an OpenSSH private key.
pub fn parse_any_keys(
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<(Vec<AnyKey>, usize), Error> {
    if text.trim_start().starts_with(ssh::PRIVATE_BEGIN) {
        let key = ssh::parse_private(text, passphrase)?;
        let identity = AnyKey::Identity(Identity::Ssh(Box::new(key.clone())));
        return Ok((vec![identity, AnyKey::Signing(key)], 0));
    }
    let (mut found, mut revoked, mut ignored) = (Vec::new(), BTreeSet::new(), 0);
    for (line, text) in list::key_lines(text) {
        let mut used = true;
        for entry in line_of(text).map_err(|e| e.with_line(line))? {
            match entry {
                ListEntry::Key(named) => found.push(named.key),
                ListEntry::Revoked(key) => {
                    revoked.extend(public(&key));
                    used = false;
                }
                ListEntry::Ignored => used = false,
            }
        }
        ignored += usize::from(!used);
    }
    if found.is_empty() && ignored == 0 {
        return Err(Error::Key("the file holds no key"));
    }
    found.retain(|key| public(key).is_none_or(|text| !revoked.contains(&text)));
    Ok((found, ignored))
}

/// The text of a public key.
fn public(key: &AnyKey) -> Option<String> {
    match key {
        AnyKey::Recipient(named) => Some(named.key.to_string()),
        AnyKey::SenderKey(named) => Some(named.key.to_string()),
        AnyKey::Identity(_) | AnyKey::Signing(_) => None,
    }
}

/// The one key of a line, or the two that an ssh key is.
fn line_of(text: &str) -> Result<Vec<ListEntry<AnyKey>>, Error> {
    let lower = text.to_ascii_lowercase();
    let secret = |key| {
        let name = String::new();
        vec![ListEntry::Key(NamedKey { key, name })]
    };
    if lower.starts_with("age-secret-key-") {
        return Identity::parse_line(text).map(AnyKey::Identity).map(secret);
    }
    if lower.starts_with(SECRET_HRP) {
        return sender_key::parse_signing_line(text)
            .map(AnyKey::Signing)
            .map(secret);
    }
    let recipient = list::parse_entry(text, |text| {
        Ok(wrap(recipient::parse(text)?, AnyKey::Recipient))
    });
    let sender = list::parse_entry(text, |text| {
        Ok(wrap(sender_key::parse(text)?, AnyKey::SenderKey))
    });
    match (recipient, sender) {
        // What neither can use is one line all the same.
        (Ok(ListEntry::Ignored), Ok(_)) => Ok(vec![ListEntry::Ignored]),
        (Ok(recipient), Ok(sender)) => Ok(vec![recipient, sender]),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(vec![one]),
        (Err(_), Err(e)) if lower.starts_with("sealsign1") => Err(e),
        (Err(e), Err(_)) if lower.starts_with("age1") => Err(e),
        (Err(Error::NotKey(_)), Err(_)) => {
            Err(Error::NotKey("not a key of any kind that is known"))
        }
        (Err(e), Err(_)) => Err(e),
    }
}

fn wrap<K>(entry: ListEntry<K>, found: impl Fn(NamedKey<K>) -> AnyKey) -> ListEntry<AnyKey> {
    let name = String::new;
    match entry {
        ListEntry::Key(named) => ListEntry::Key(NamedKey {
            key: found(named),
            name: name(),
        }),
        ListEntry::Revoked(key) => ListEntry::Revoked(found(NamedKey { key, name: name() })),
        ListEntry::Ignored => ListEntry::Ignored,
    }
}
