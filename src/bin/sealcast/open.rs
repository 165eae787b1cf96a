//! `sealcast open`: arguments to configuration, one library call, report.

use std::fs::File;
use std::path::{Path, PathBuf};

use sealcast::filters::seal::{Incoming, Report, workers};
use sealcast::seal::opener::{MaxAge, Policy, Trust};
use sealcast::seal::{self, FileKey, Identity, Keyring, NamedKey, Passphrase, SenderKey};
use sealcast::sys::stdio::{Input, Output};
use sealcast::sys::{clock, keyfile};

use crate::cli::OpenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::lists;
use crate::report::{Voice, bytes};
use crate::secret::Secrets;

pub(crate) fn run(args: &OpenArgs, voice: &Voice) -> Result<(), Failure> {
    let senders = args.from.iter().map(Path::new);
    let files = args.identity.iter().chain(&args.passphrase_file);
    let files = files.chain(&args.inner).map(PathBuf::as_path);
    keyfile::not_overwritten(args.output.as_deref(), files.chain(senders))?;
    let secrets = Secrets::new(voice, args.passphrase_file.as_deref(), true);
    let keys = Keys::read(args, &secrets, voice)?;
    let known = lists::senders(&args.from, true, voice)?;
    let input = Input::stdin()?;
    let mut output = Output::open(args.output.as_deref(), Some(&input))?;
    voice.mute_beside(&output);
    let report = match &args.inner {
        Some(sealed) => check(args, sealed, &known, input, &mut output, voice)?,
        None => {
            let cancel = input.stopper();
            let incoming = Incoming::read(input, args.max_header)?;
            let file_key = keys.unwrap(&incoming)?;
            let name = output.name();
            incoming
                .open(
                    &file_key,
                    &trust(args, &known),
                    &mut output,
                    workers(),
                    &cancel,
                    |done| voice.progress(|| format!("{} opened", bytes(done))),
                )
                .map_err(|e| Failure::stream(&name, e))?
        }
    };
    output.commit()?;
    voice.done();
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

/// What can open a stream.
struct Keys<'a> {
    passphrase: bool,
    open: Vec<Identity>,
    /// Files of identities with a passphrase, which is asked for only when no other fits.
    locked: Vec<&'a Path>,
    secrets: &'a Secrets<'a>,
    voice: &'a Voice,
}

impl<'a> Keys<'a> {
    fn read(
        args: &'a OpenArgs,
        secrets: &'a Secrets<'a>,
        voice: &'a Voice,
    ) -> Result<Self, Failure> {
        let (mut open, mut locked) = (Vec::new(), Vec::new());
        for path in &args.identity {
            match secrets.open_identities(path)? {
                Some(found) => open.extend(found),
                None => locked.push(path.as_path()),
            }
        }
        let keys = Self {
            passphrase: args.passphrase,
            open,
            locked,
            secrets,
            voice,
        };
        keys.show(&keys.open);
        Ok(keys)
    }

    fn show(&self, identities: &[Identity]) {
        for identity in identities {
            let fingerprint = || identity.recipient().fingerprint();
            self.voice
                .detail(1, || format!("identity {}", fingerprint()));
        }
    }

    fn unwrap(&self, incoming: &Incoming<Input>) -> Result<FileKey, Failure> {
        if self.passphrase {
            let header = incoming.header();
            // Nobody is asked in vain.
            if !Passphrase::fits(header) {
                return Err(not_for_passphrase());
            }
            return Ok(self.secrets.passphrase("this stream")?.unwrap(header)?);
        }
        let mut found = incoming.unwrap(&Keyring::new(&self.open), workers());
        for path in &self.locked {
            if !matches!(found, Err(seal::Error::NoIdentity { .. })) {
                break;
            }
            let identities = self.secrets.identities(path)?;
            self.show(&identities);
            found = incoming.unwrap(&Keyring::new(&identities), workers());
        }
        Ok(found?)
    }
}

fn not_for_passphrase() -> Failure {
    let fact = "the stream is sealed for keys, not with a passphrase";
    Failure::new(ExitStatus::NoIdentity, fact).hint("give the file with yours by -i in place of -p")
}

/// Checks a payload that was decrypted elsewhere.
fn check(
    args: &OpenArgs,
    sealed: &Path,
    known: &[NamedKey<SenderKey>],
    input: Input,
    output: &mut Output,
    voice: &Voice,
) -> Result<Report, Failure> {
    let file = File::open(sealed).map_err(|e| Failure::io(&sealed.display().to_string(), &e))?;
    let incoming = Incoming::read(file, args.max_header).map_err(|e| match e {
        seal::Error::Read(e) => Failure::io(&sealed.display().to_string(), &e),
        other => Failure::from(other).of_file(sealed),
    })?;
    let keys: Vec<_> = known.iter().map(|named| named.key).collect();
    let (cancel, name) = (input.stopper(), output.name());
    let trust = (&keys[..], &policy(args));
    let progress = |done| voice.progress(|| format!("{} checked", bytes(done)));
    incoming
        .check(input, trust, output, workers(), &cancel, progress)
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
fn verdict(report: &Report, known: &[NamedKey<SenderKey>]) -> String {
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

fn trust(args: &OpenArgs, known: &[NamedKey<SenderKey>]) -> Trust {
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
