//! `sealcast seal`: arguments to configuration, one library call, report.

use std::path::PathBuf;

use sealcast::filters::{self, Monitor};
use sealcast::sys::keyfile;
use sealcast::sys::stdio::{Input, Output};

use crate::cli::SealArgs;
use crate::exit::Failure;
use crate::plan::seal::config;
use crate::present::{Console, bytes};

pub(crate) fn run(args: &SealArgs, console: &Console) -> Result<(), Failure> {
    let files = args.recipients_file.iter().chain(&args.sign);
    let files = files
        .chain(&args.passphrases.passphrase_file)
        .map(PathBuf::as_path);
    keyfile::not_overwritten(args.output.as_deref(), files)?;
    let input = Input::stdin()?;
    let config = config(args, console)?;
    let mut output = if args.armor {
        Output::open_text(args.output.as_deref(), Some(&input))?
    } else {
        Output::open(args.output.as_deref(), Some(&input))?
    };
    console.mute_beside(&output);
    let (name, cancel) = (output.name(), input.stopper());
    let monitor = Monitor {
        cancel: Some(&cancel),
        progress: &|done| console.progress(|| format!("{} sealed", bytes(done))),
    };
    let report = filters::seal(config, input, &mut output, monitor)
        .map_err(|e| Failure::stream(&name, e))?;
    output.commit()?;
    console.done();
    console.detail(1, || {
        let (written, recipients) = (bytes(report.bytes), report.stanzas);
        format!("{written} written, recipients: {recipients}")
    });
    Ok(())
}
