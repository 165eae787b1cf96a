//! `sealcast seal`: arguments to configuration, one library call, report.

use sealcast::crypt::secret::Secret;
use sealcast::edge::stdio::{Input, Output};
use sealcast::edge::{clock, entropy, keyfile};
use sealcast::pipe;
use sealcast::seal::sealer::{Sealer, Signer};
use sealcast::seal::{Recipient, Sender, parse_recipients, parse_signing_key};

use crate::cli::SealArgs;
use crate::exit::{ExitStatus, Failure};
use crate::keygen::read_secret;
use crate::report::{Voice, bytes};

pub(crate) fn run(args: &SealArgs, voice: &Voice) -> Result<(), Failure> {
    let recipients = recipients(args, voice)?;
    let signer = signer(args, voice)?;
    if signer.is_none() && !args.unsigned {
        voice.warning("not signed: receivers cannot tell who sealed this (see -s and --unsigned)");
    }
    let input = Input::stdin()?;
    let mut output = Output::open(args.output.as_deref(), Some(&input))?;

    let seed = entropy::seed()?;
    let (file_key, nonce) = seed.split_at(16);
    let file_key = Secret::new(array(file_key));
    let workers = pipe::seal::workers();
    let ephemeral = || entropy::seed().map_err(std::io::Error::other);
    let stanzas = pipe::seal::wrap(&recipients, &file_key, ephemeral, workers)?;
    let sealer = Sealer::new(&stanzas, &file_key, &array(nonce), signer)?;
    let cancel = input.cancel();
    let written = pipe::seal::seal(input, &mut output, &sealer, &cancel, workers, |done| {
        voice.progress(|| format!("{} sealed", bytes(done)));
    })?;
    output.commit()?;
    voice.detail(1, || {
        format!(
            "{} written, recipients: {}",
            bytes(written),
            recipients.len()
        )
    });
    Ok(())
}

fn array(half: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(half);
    out
}

/// All recipients, each once, in the order in which they were given.
fn recipients(args: &SealArgs, voice: &Voice) -> Result<Vec<Recipient>, Failure> {
    let mut all = Vec::new();
    for text in &args.recipient {
        let recipient = text.parse().map_err(|e| Failure::key_text(text, &e))?;
        all.push(recipient);
    }
    for path in &args.recipients_file {
        let file = keyfile::read_beside_data(path)?;
        let (found, skipped) =
            parse_recipients(&file.text).map_err(|e| Failure::key_file(path, &e))?;
        if found.is_empty() {
            return Err(Failure::new(
                ExitStatus::Usage,
                format!("{}: the file holds no recipient", path.display()),
            ));
        }
        if skipped > 0 {
            voice.detail(1, || {
                format!(
                    "{}: passed over {skipped} ssh keys that are revoked or not ed25519",
                    path.display()
                )
            });
        }
        all.extend(found);
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|recipient| seen.insert(recipient.to_string()));
    for recipient in &all {
        voice.detail(2, || format!("recipient {}", recipient.fingerprint()));
    }
    Ok(all)
}

fn signer(args: &SealArgs, voice: &Voice) -> Result<Option<Signer>, Failure> {
    let Some(path) = &args.sign else {
        return Ok(None);
    };
    let text = read_secret(path, voice)?;
    let key = parse_signing_key(&text).map_err(|e| Failure::key_file(path, &e))?;
    voice.detail(1, || {
        format!("sender {}", Sender::new(key.public()).fingerprint())
    });
    Ok(Some(Signer {
        key,
        time_s: clock::unix_seconds(),
        serial: args.serial.unwrap_or(0),
        label: args.label.clone().unwrap_or_default(),
    }))
}
