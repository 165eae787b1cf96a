//! `sealcast open`: arguments to configuration, one library call, report.

use std::fs::File;
use std::path::{Path, PathBuf};

use sealcast::filters::{Monitor, OpenReport, SealedInput, workers};
use sealcast::seal::{self, NamedKey, SenderKey};
use sealcast::sys::stdio::{Input, Output};
use sealcast::sys::{clock, keyfile};

use crate::cli::OpenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::plan::lists;
use crate::plan::open::{OpenKeys, policy, trust};
use crate::plan::secret::Secrets;
use crate::present::{Console, bytes};

pub(crate) fn run(args: &OpenArgs, console: &Console) -> Result<(), Failure> {
    let senders = args.from.iter().map(Path::new);
    let files = args
        .identity
        .iter()
        .chain(&args.passphrases.passphrase_file);
    let files = files.chain(&args.inner).map(PathBuf::as_path);
    keyfile::not_overwritten(args.output.as_deref(), files.chain(senders))?;
    let secrets = Secrets::new(console, &args.passphrases, true);
    let keys = OpenKeys::read(args, &secrets, console)?;
    let known = lists::senders(&args.from, true, console)?;
    let input = Input::stdin()?;
    let mut output = Output::open(args.output.as_deref(), Some(&input))?;
    console.mute_beside(&output);
    let report = match &args.inner {
        Some(sealed) => check(args, sealed, &known, input, &mut output, console)?,
        None => open(args, &keys, &known, input, &mut output, console)?,
    };
    output.commit()?;
    console.done();
    console.detail(1, || {
        format!(
            "{} written, stanzas in the header: {}",
            bytes(report.bytes),
            report.stanzas
        )
    });
    console.note(&verdict(&report, &known));
    Ok(())
}

/// Opens a sealed stream.
fn open(
    args: &OpenArgs,
    keys: &OpenKeys<'_>,
    known: &[NamedKey<SenderKey>],
    input: Input,
    output: &mut Output,
    console: &Console,
) -> Result<OpenReport, Failure> {
    let (cancel, name) = (input.stopper(), output.name());
    let monitor = Monitor {
        cancel: Some(&cancel),
        progress: &|done| console.progress(|| format!("{} opened", bytes(done))),
    };
    let sealed = SealedInput::read(input, args.max_header)?;
    let file_key = keys.unwrap(&sealed)?;
    sealed
        .open(&file_key, &trust(args, known), output, workers(), monitor)
        .map_err(|e| Failure::stream(&name, e))
}

/// Checks a payload that was decrypted elsewhere.
fn check(
    args: &OpenArgs,
    path: &Path,
    known: &[NamedKey<SenderKey>],
    input: Input,
    output: &mut Output,
    console: &Console,
) -> Result<OpenReport, Failure> {
    let file = File::open(path).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    let sealed = SealedInput::read(file, args.max_header).map_err(|e| match e {
        seal::Error::Read(e) => Failure::io(&path.display().to_string(), &e),
        other => Failure::from(other).of_file(path),
    })?;
    let keys: Vec<_> = known.iter().map(|named| named.key).collect();
    let (cancel, name) = (input.stopper(), output.name());
    let monitor = Monitor {
        cancel: Some(&cancel),
        progress: &|done| console.progress(|| format!("{} checked", bytes(done))),
    };
    sealed
        .check(
            input,
            (&keys[..], &policy(args)),
            output,
            workers(),
            monitor,
        )
        .map_err(|e| match e {
            seal::Error::Unsigned => {
                let fact = "standard input does not begin as a signed payload";
                Failure::new(ExitStatus::Sender, fact)
                    .hint("give what age -d makes of the sealed stream; it may have failed")
            }
            other => Failure::stream(&name, other),
        })
}

/// What the receiver may now believe.
fn verdict(report: &OpenReport, known: &[NamedKey<SenderKey>]) -> String {
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
