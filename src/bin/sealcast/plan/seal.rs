//! `sealcast seal`: its arguments as a configuration that makes sense.

use std::path::Path;

use sealcast::filters::{SealConfig, SealTo};
use sealcast::seal::sealer::Signer;
use sealcast::seal::{Recipient, SenderKey, parse_recipients};
use sealcast::sys::clock;

use super::lists;
use super::secret::Secrets;
use crate::cli::SealArgs;
use crate::exit::Failure;
use crate::present::Console;

/// Reads the keys, and asks for a new passphrase if one is wanted.
pub(crate) fn config(args: &SealArgs, console: &Console) -> Result<SealConfig, Failure> {
    let recipients = recipients(args, console)?;
    let secrets = Secrets::new(console, &args.passphrases, true);
    let signer = signer(args, &secrets, console)?;
    if signer.is_none() && !args.unsigned && !args.passphrase {
        console
            .warning("not signed: receivers cannot tell who sealed this (see -s and --unsigned)");
    }
    let to = if args.passphrase {
        SealTo::Passphrase(secrets.new_passphrase("this stream")?)
    } else {
        SealTo::Recipients(recipients)
    };
    Ok(SealConfig {
        to,
        signer,
        armor: args.armor,
    })
}

/// All recipients, each once, in the order in which they were given.
fn recipients(args: &SealArgs, console: &Console) -> Result<Vec<Recipient>, Failure> {
    let mut lists = Vec::new();
    for text in &args.recipient {
        lists.push(parse_recipients(text).map_err(|e| {
            let failure = Failure::key_text(text, &e.without_line());
            match Path::new(text).exists() {
                true => failure.hint("-R takes recipients from a file"),
                false => failure,
            }
        })?);
    }
    lists.extend(lists::recipients_files(
        &args.recipients_file,
        true,
        console,
    )?);
    let all = lists::join_recipients(lists, args.passphrase, console)?;
    Ok(all.into_iter().map(|named| named.key).collect())
}

fn signer(
    args: &SealArgs,
    secrets: &Secrets<'_>,
    console: &Console,
) -> Result<Option<Signer>, Failure> {
    let Some(path) = &args.sign else {
        return Ok(None);
    };
    let key = secrets.signing_key(path)?;
    console.detail(1, || {
        format!("sender {}", SenderKey::new(key.public()).fingerprint())
    });
    Ok(Some(Signer {
        key,
        time_s: clock::unix_seconds(),
        serial: args.serial.unwrap_or(0),
        label: args.label.clone().unwrap_or_default(),
    }))
}
