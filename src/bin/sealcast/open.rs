//! `sealcast open`: arguments to configuration, one library call, report.

use std::fs::File;
use std::path::Path;

use sealcast::edge::stdio::{Input, Output};
use sealcast::edge::{clock, keyfile};
use sealcast::pipe::seal::{Incoming, Report, workers};
use sealcast::seal::opener::{MaxAge, Policy, Trust};
use sealcast::seal::{Identity, Named, Passphrase, Ring, Sender, parse_senders};

use crate::cli::OpenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::{Voice, bytes};
use crate::secret::Secrets;

pub(crate) fn run(args: &OpenArgs, voice: &Voice) -> Result<(), Failure> {
    let secrets = Secrets::new(voice, args.passphrase_file.as_deref(), true);
    let identities = identities(args, &secrets, voice)?;
    let known = senders(args, voice)?;
    let input = Input::stdin()?;
    let mut output = Output::open(args.output.as_deref(), Some(&input))?;
    let report = match &args.inner {
        Some(sealed) => check(args, sealed, &known, input, &mut output, voice)?,
        None => {
            let cancel = input.cancel();
            let incoming = Incoming::read(input, args.max_header)?;
            let file_key = if args.passphrase {
                let header = incoming.header();
                // Nobody is asked in vain.
                if !Passphrase::fits(header) {
                    return Err(not_for_passphrase());
                }
                secrets.passphrase("this stream")?.unwrap(header)?
            } else {
                incoming.unwrap(&Ring::new(&identities), workers())?
            };
            incoming.open(
                &file_key,
                &trust(args, &known),
                &mut output,
                workers(),
                &cancel,
                |done| voice.progress(|| format!("{} opened", bytes(done))),
            )?
        }
    };
    output.commit()?;
    voice.detail(1, || {
        format!(
            "{} written, stanzas in the header: {}",
            bytes(report.bytes),
            report.stanzas
        )
    });
    voice.note(&verdict(&report, &known));
    Ok(())
}

fn not_for_passphrase() -> Failure {
    let fact = "the stream is sealed for keys, not with a passphrase";
    Failure::new(ExitStatus::NoIdentity, fact).hint("give the file with yours by -i in place of -p")
}

/// Checks a payload that was decrypted elsewhere.
fn check(
    args: &OpenArgs,
    sealed: &Path,
    known: &[Named<Sender>],
    input: Input,
    output: &mut Output,
    voice: &Voice,
) -> Result<Report, Failure> {
    let file = File::open(sealed).map_err(|e| Failure::io(&sealed.display().to_string(), &e))?;
    let incoming = Incoming::read(file, args.max_header)?;
    let keys: Vec<_> = known.iter().map(|named| named.key).collect();
    let cancel = input.cancel();
    Ok(incoming.check(
        input,
        (&keys, &policy(args)),
        output,
        workers(),
        &cancel,
        |done| voice.progress(|| format!("{} checked", bytes(done))),
    )?)
}

/// What the receiver may now believe.
fn verdict(report: &Report, known: &[Named<Sender>]) -> String {
    let Some(preamble) = &report.preamble else {
        return format!("{}, unsigned: the sender is not known", bytes(report.bytes));
    };
    let mut text = format!("{}, signed by ", bytes(report.bytes));
    let name = known.iter().find(|named| named.key == preamble.sender);
    if let Some(named) = name.filter(|named| !named.name.is_empty()) {
        text += &format!("{} ", named.name.escape_debug());
    }
    text += &format!(
        "{} at {}",
        preamble.sender.fingerprint(),
        clock::utc(preamble.time_s)
    );
    if !preamble.label.is_empty() {
        text += &format!(", label `{}`", preamble.label.escape_debug());
    }
    if preamble.serial > 0 {
        text += &format!(", serial {}", preamble.serial);
    }
    text
}

fn identities(
    args: &OpenArgs,
    secrets: &Secrets<'_>,
    voice: &Voice,
) -> Result<Vec<Identity>, Failure> {
    let mut all = Vec::new();
    for path in &args.identity {
        all.extend(secrets.identities(path)?);
    }
    for identity in &all {
        voice.detail(1, || {
            format!("identity {}", identity.recipient().fingerprint())
        });
    }
    Ok(all)
}

/// The senders whose streams are taken; none when unsigned ones are.
fn senders(args: &OpenArgs, voice: &Voice) -> Result<Vec<Named<Sender>>, Failure> {
    let mut all = Vec::new();
    for text in &args.from {
        all.extend(from(text)?);
    }
    for Named { key, name } in &all {
        voice.detail(1, || {
            format!("trusted {} {}", key.fingerprint(), name.escape_debug())
                .trim_end()
                .to_string()
        });
    }
    Ok(all)
}

fn trust(args: &OpenArgs, known: &[Named<Sender>]) -> Trust {
    if args.unsigned {
        return Trust::Unsigned;
    }
    let keys = known.iter().map(|named| named.key).collect();
    Trust::Senders(keys, policy(args))
}

fn policy(args: &OpenArgs) -> Policy {
    Policy {
        label: args.label.clone(),
        max_age: args.max_age.map(|max_s| MaxAge {
            now_s: clock::unix_seconds(),
            max_s,
        }),
        serial_min: args.min_serial,
    }
}

/// One key, when `text` begins like one, or else those in the file of that name.
fn from(text: &str) -> Result<Vec<Named<Sender>>, Failure> {
    let keys = ["sealsign", "ssh-", "age1", "age-secret-key-"];
    let lower = text.to_ascii_lowercase();
    if keys.iter().any(|key| lower.starts_with(key)) && !Path::new(text).exists() {
        let list = parse_senders(text).map_err(|e| Failure::key_text(text, &e))?;
        return Ok(list.keys);
    }
    let path = Path::new(text);
    let file = keyfile::read_beside_data(path)?;
    let list = parse_senders(file.text(path)?).map_err(|e| Failure::key_file(path, &e))?;
    Ok(list.keys)
}
