//! `sealcast open`: arguments to configuration, one library call, report.

use std::path::Path;

use sealcast::edge::stdio::{Input, Output};
use sealcast::edge::{clock, keyfile};
use sealcast::pipe::seal::{OpenConfig, Report, open, workers};
use sealcast::seal::opener::{Policy, Trust};
use sealcast::seal::{Identity, Ring, Sender, parse_senders};

use crate::cli::OpenArgs;
use crate::exit::Failure;
use crate::keygen::read_secret;
use crate::report::{Voice, bytes};

pub(crate) fn run(args: &OpenArgs, voice: &Voice) -> Result<(), Failure> {
    let config = OpenConfig {
        ring: ring(args, voice)?,
        trust: trust(args, voice)?,
        now_s: clock::unix_seconds(),
        header_bytes_max: args.max_header,
        workers: workers(),
    };
    let input = Input::stdin()?;
    let mut output = Output::open(args.output.as_deref(), Some(&input))?;
    let cancel = input.cancel();
    let report = open(input, &mut output, &config, &cancel, |done| {
        voice.progress(|| format!("{} opened", bytes(done)));
    })?;
    output.commit()?;
    voice.detail(1, || {
        format!(
            "{} written, stanzas in the header: {}",
            bytes(report.bytes),
            report.stanzas
        )
    });
    voice.note(&verdict(&report));
    Ok(())
}

/// What the receiver may now believe.
fn verdict(report: &Report) -> String {
    let Some(preamble) = &report.preamble else {
        return format!("{}, unsigned: the sender is not known", bytes(report.bytes));
    };
    let mut text = format!(
        "{}, signed by {} at {}",
        bytes(report.bytes),
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

fn ring(args: &OpenArgs, voice: &Voice) -> Result<Ring, Failure> {
    let mut all = Vec::new();
    for path in &args.identity {
        let text = read_secret(path, voice)?;
        all.extend(Identity::parse_file(&text).map_err(|e| Failure::key_file(path, &e))?);
    }
    for identity in &all {
        voice.detail(1, || {
            format!("identity {}", identity.recipient().fingerprint())
        });
    }
    Ok(Ring::new(&all))
}

fn trust(args: &OpenArgs, voice: &Voice) -> Result<Trust, Failure> {
    if args.unsigned {
        return Ok(Trust::Unsigned);
    }
    let mut all = Vec::new();
    for text in &args.from {
        all.extend(senders(text)?);
    }
    for sender in &all {
        voice.detail(1, || format!("trusted {}", sender.fingerprint()));
    }
    let policy = Policy {
        label: args.label.clone(),
        age_s_max: args.max_age,
        serial_min: args.min_serial,
    };
    Ok(Trust::Senders(all, policy))
}

/// One key, when `text` begins like one, or else those in the file of that name.
fn senders(text: &str) -> Result<Vec<Sender>, Failure> {
    let keys = ["sealsign", "ssh-", "age1", "age-secret-key-"];
    let lower = text.to_ascii_lowercase();
    if keys.iter().any(|key| lower.starts_with(key)) && !Path::new(text).exists() {
        let sender = text.parse().map_err(|e| Failure::key_text(text, &e))?;
        return Ok(vec![sender]);
    }
    let path = Path::new(text);
    let file = keyfile::read_beside_data(path)?;
    parse_senders(&file.text).map_err(|e| Failure::key_file(path, &e))
}
