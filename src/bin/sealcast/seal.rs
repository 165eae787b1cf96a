//! `sealcast seal`: arguments to configuration, one library call, report.

use std::io::Write;
use std::path::{Path, PathBuf};

use sealcast::crypt::secret::Secret;
use sealcast::filters;
use sealcast::seal::passphrase::WORK_LOG2;
use sealcast::seal::sealer::{Sealer, Signer};
use sealcast::seal::{self, FileKey, Recipient, SenderKey, armor, parse_recipients};
use sealcast::sys::stdio::{Input, Output};
use sealcast::sys::{clock, entropy, keyfile};
use zeroize::Zeroizing;

use crate::cli::SealArgs;
use crate::exit::Failure;
use crate::lists;
use crate::report::{Voice, bytes};
use crate::secret::Secrets;

pub(crate) fn run(args: &SealArgs, voice: &Voice) -> Result<(), Failure> {
    let files = args.recipients_file.iter().chain(&args.sign);
    let files = files.chain(&args.passphrase_file).map(PathBuf::as_path);
    keyfile::not_overwritten(args.output.as_deref(), files)?;
    let recipients = recipients(args, voice)?;
    let secrets = Secrets::new(voice, args.passphrase_file.as_deref(), true);
    let signer = signer(args, &secrets, voice)?;
    if signer.is_none() && !args.unsigned && !args.passphrase {
        voice.warning("not signed: receivers cannot tell who sealed this (see -s and --unsigned)");
    }
    let input = Input::stdin()?;
    let mut output = if args.armor {
        Output::open_text(args.output.as_deref(), Some(&input))?
    } else {
        Output::open(args.output.as_deref(), Some(&input))?
    };

    let seed = Zeroizing::new(entropy::seed()?);
    let (file_key, nonce) = seed.split_at(16);
    let file_key = Secret::new(array(file_key));
    let stanzas = if args.passphrase {
        let passphrase = secrets.new_passphrase("this stream")?;
        vec![passphrase.wrap(&file_key, entropy::seed()?, WORK_LOG2)?]
    } else {
        wrap(&recipients, &file_key)?
    };
    let sealer = Sealer::new(&stanzas, &file_key, &array(nonce), signer)?;
    voice.mute_beside(&output);
    let name = output.name();
    let written = if args.armor {
        armored(input, &mut output, &sealer, voice)
    } else {
        write(input, &mut output, &sealer, voice)
    };
    let written = written.map_err(|e| Failure::stream(&name, e))?;
    output.commit()?;
    voice.done();
    voice.detail(1, || {
        format!("{} written, recipients: {}", bytes(written), stanzas.len())
    });
    Ok(())
}

fn wrap(recipients: &[Recipient], file_key: &FileKey) -> Result<Vec<String>, Failure> {
    let ephemeral = || entropy::seed().map_err(std::io::Error::other);
    let workers = filters::seal::workers();
    Ok(filters::seal::wrap(
        recipients, file_key, ephemeral, workers,
    )?)
}

fn armored(
    input: Input,
    output: &mut Output,
    sealer: &Sealer,
    voice: &Voice,
) -> Result<u64, seal::Error> {
    let mut armor = armor::ArmorWriter::new(output).map_err(seal::Error::Write)?;
    let written = write(input, &mut armor, sealer, voice)?;
    armor.finish().map_err(seal::Error::Write)?;
    Ok(written)
}

fn write(
    input: Input,
    output: &mut (impl Write + Send),
    sealer: &Sealer,
    voice: &Voice,
) -> Result<u64, seal::Error> {
    let cancel = input.stopper();
    let workers = filters::seal::workers();
    let progress = |done| voice.progress(|| format!("{} sealed", bytes(done)));
    filters::seal::seal(input, output, sealer, &cancel, workers, progress)
}

fn array(half: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(half);
    out
}

/// All recipients, each once, in the order in which they were given.
fn recipients(args: &SealArgs, voice: &Voice) -> Result<Vec<Recipient>, Failure> {
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
    lists.extend(lists::recipients_files(&args.recipients_file, true, voice)?);
    let all = lists::join_recipients(lists, args.passphrase, voice)?;
    Ok(all.into_iter().map(|named| named.key).collect())
}

fn signer(
    args: &SealArgs,
    secrets: &Secrets<'_>,
    voice: &Voice,
) -> Result<Option<Signer>, Failure> {
    let Some(path) = &args.sign else {
        return Ok(None);
    };
    let key = secrets.signing_key(path)?;
    voice.detail(1, || {
        format!("sender {}", SenderKey::new(key.public()).fingerprint())
    });
    Ok(Some(Signer {
        key,
        time_s: clock::unix_seconds(),
        serial: args.serial.unwrap_or(0),
        label: args.label.clone().unwrap_or_default(),
    }))
}
