//! Keys of `cast` and `catch`: the files that `seal` and `open` use.

use std::path::Path;

use sealcast::crypt::agree::{PublicKey, SecretKey};
use sealcast::crypt::secret::Secret;
use sealcast::proto::{Listed, ReceiverKeys, SHARED_LEN, SenderKeys, shared_secret};
use sealcast::seal::{Identity, NamedKey, Recipient, SenderKey};

use super::lists;
use super::secret::Secrets;
use crate::cli::{CastArgs, CatchArgs, SharedKeyArgs};
use crate::exit::{ExitStatus, Failure};
use crate::present::console::Console;

/// The sender's keys, and the names of those that it takes in.
pub(crate) fn of_sender(
    args: &CastArgs,
    console: &Console,
) -> Result<(SenderKeys, Vec<String>), Failure> {
    let beside_data = args.command.is_empty();
    let secrets = Secrets::new(console, &args.shared.passphrases, beside_data);
    let signing = match &args.sign {
        Some(path) => Some(secrets.signing_key(path)?),
        None => None,
    };
    if let Some(key) = &signing {
        console.detail(1, || {
            format!("sender {}", SenderKey::new(key.public()).fingerprint())
        });
    }
    let mut names = Vec::new();
    let listed = if args.recipients_file.is_empty() {
        None
    } else {
        let files = lists::recipients_files(&args.recipients_file, beside_data, console)?;
        let all = lists::join_recipients(files, false, console)?;
        names = all.iter().map(name_of).collect();
        let listed = all.iter().map(|named| Listed {
            key: agreement_key(&named.key),
            name: name_of(named),
        });
        Some(listed.collect())
    };
    let shared = shared(&args.shared, &secrets, true, args.sign.is_some())?;
    let keys = SenderKeys {
        signing,
        listed,
        shared,
    };
    Ok((keys, names))
}

/// The receiver's keys, and the senders that it believes, by name.
pub(crate) fn of_receiver(
    args: &CatchArgs,
    console: &Console,
) -> Result<(ReceiverKeys, Vec<NamedKey<SenderKey>>), Failure> {
    let secrets = Secrets::new(console, &args.shared.passphrases, false);
    let senders = lists::senders(&args.from, false, console)?;
    let mut identities = Vec::new();
    for path in &args.identity {
        for identity in secrets.identities(path)? {
            console.detail(1, || {
                format!("identity {}", identity.recipient().fingerprint())
            });
            identities.push(agreement_secret(&identity));
        }
    }
    let keys = ReceiverKeys {
        from: senders.iter().map(|named| *named.key.key()).collect(),
        identities,
        shared: shared(&args.shared, &secrets, false, !args.identity.is_empty())?,
    };
    Ok((keys, senders))
}

/// What people call a listed receiver: the name beside its key, or else the key's fingerprint.
fn name_of(named: &NamedKey<Recipient>) -> String {
    if named.name.is_empty() {
        named.key.fingerprint()
    } else {
        named.name.clone()
    }
}

/// The X25519 key that a recipient is known by here.
fn agreement_key(recipient: &Recipient) -> PublicKey {
    match recipient {
        Recipient::X25519(key) => *key,
        Recipient::Ssh(key) => key.to_agreement(),
        Recipient::Hybrid(key) => key.to_agreement(),
    }
}

fn agreement_secret(identity: &Identity) -> SecretKey {
    match identity {
        Identity::X25519(key) => key.clone(),
        Identity::Ssh(key) => key.to_agreement(),
        Identity::Hybrid(key) => key.to_agreement(),
    }
}

/// The secret that all sides have in common, of a file or of a passphrase.
fn shared(
    args: &SharedKeyArgs,
    secrets: &Secrets<'_>,
    new: bool,
    key_file: bool,
) -> Result<Option<Secret<SHARED_LEN>>, Failure> {
    if args.passphrases.passphrase_file.is_some() && !args.passphrase && !key_file {
        let fact = "--passphrase-file has no use without -p or a key file that needs it";
        return Err(Failure::new(ExitStatus::Usage, fact));
    }
    let text = if let Some(path) = &args.key {
        secrets.raw(path)?
    } else if args.passphrase && new {
        secrets.new_passphrase("this session")?.into_bytes()
    } else if args.passphrase {
        secrets.passphrase("the session")?.into_bytes()
    } else {
        return Ok(None);
    };
    let object = args
        .key
        .as_deref()
        .map_or("the passphrase".into(), Path::to_string_lossy);
    let text = text.trim_ascii_end();
    if text.is_empty() {
        return Err(Failure::new(
            ExitStatus::Usage,
            format!("{object} holds no secret"),
        ));
    }
    let secret = shared_secret(text)
        .map_err(|e| Failure::new(ExitStatus::Local, format!("cannot stretch {object}: {e}")))?;
    Ok(Some(secret))
}
