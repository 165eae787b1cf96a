//! What keys a file has, whatever their kinds.

use std::collections::BTreeSet;

use crate::crypt::sign::SigningKey;

use super::sender::{self, SECRET_HRP};
use super::{Entry, Error, Identity, Named, Passphrase, Recipient, Sender, recipient, ssh};

/// A key of any kind.
#[derive(Clone, Debug)]
pub enum Found {
    /// The public half of an identity.
    Recipient(Named<Recipient>),
    /// The public half of a signing key.
    Sender(Named<Sender>),
    /// A secret key that opens.
    Identity(Identity),
    /// A secret key that signs.
    Signing(SigningKey),
}

/// The keys in the text of a file in their order, without those that are revoked, and how many
/// lines were passed over. An ssh key is found twice, as it can be both.
///
/// # Errors
/// [`Error::KeyLine`], [`Error::Key`] when there is none, and those of [`Identity::parse_file`] for
/// an OpenSSH private key.
pub fn inventory(
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<(Vec<Found>, usize), Error> {
    if text.trim_start().starts_with(ssh::PRIVATE_BEGIN) {
        let key = ssh::parse_private(text, passphrase)?;
        let identity = Found::Identity(Identity::Ssh(Box::new(key.clone())));
        return Ok((vec![identity, Found::Signing(key)], 0));
    }
    let (mut found, mut revoked, mut passed_over) = (Vec::new(), BTreeSet::new(), 0);
    for (line, text) in super::key_lines(text) {
        let mut used = true;
        for entry in line_of(text).map_err(|e| e.at_line(line))? {
            match entry {
                Entry::Key(named) => found.push(named.key),
                Entry::Revoked(key) => {
                    revoked.extend(public(&key));
                    used = false;
                }
                Entry::PassedOver => used = false,
            }
        }
        passed_over += usize::from(!used);
    }
    if found.is_empty() && passed_over == 0 {
        return Err(Error::Key("the file holds no key"));
    }
    found.retain(|key| public(key).is_none_or(|text| !revoked.contains(&text)));
    Ok((found, passed_over))
}

/// The text of a public key.
fn public(key: &Found) -> Option<String> {
    match key {
        Found::Recipient(named) => Some(named.key.to_string()),
        Found::Sender(named) => Some(named.key.to_string()),
        Found::Identity(_) | Found::Signing(_) => None,
    }
}

/// The one key of a line, or the two that an ssh key is.
fn line_of(text: &str) -> Result<Vec<Entry<Found>>, Error> {
    let lower = text.to_ascii_lowercase();
    let secret = |key| {
        let name = String::new();
        vec![Entry::Key(Named { key, name })]
    };
    if lower.starts_with("age-secret-key-") {
        return Identity::parse_line(text).map(Found::Identity).map(secret);
    }
    if lower.starts_with(SECRET_HRP) {
        return sender::parse_signing_line(text)
            .map(Found::Signing)
            .map(secret);
    }
    let recipient = super::parse_entry(text, |text| {
        Ok(wrap(recipient::parse(text)?, Found::Recipient))
    });
    let sender = super::parse_entry(text, |text| Ok(wrap(sender::parse(text)?, Found::Sender)));
    match (recipient, sender) {
        // What neither can use is one line all the same.
        (Ok(Entry::PassedOver), Ok(_)) => Ok(vec![Entry::PassedOver]),
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

fn wrap<K>(entry: Entry<K>, found: impl Fn(Named<K>) -> Found) -> Entry<Found> {
    let name = String::new;
    match entry {
        Entry::Key(named) => Entry::Key(Named {
            key: found(named),
            name: name(),
        }),
        Entry::Revoked(key) => Entry::Revoked(found(Named { key, name: name() })),
        Entry::PassedOver => Entry::PassedOver,
    }
}
