//! `sealcast pack`: arguments to configuration, one library call, report.

use std::fs;
use std::path::Path;

use sealcast::archive::Totals;
use sealcast::filters;
use sealcast::image::{self, Image};
use sealcast::sys::stdio::Output;
use sealcast::tree::{self, Note};

use crate::cli::PackArgs;
use crate::exit::{ExitStatus, Failure};
use crate::plan::pack::{compression, outputs, tree_config};
use crate::present::{Console, bytes};

pub(crate) fn run(args: &PackArgs, console: &Console) -> Result<(), Failure> {
    match &args.image {
        Some(path) => image(args, path, console),
        None => tree(args, console),
    }
}

fn image(args: &PackArgs, path: &Path, console: &Console) -> Result<(), Failure> {
    let image = Image::open(path)?;
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    if let Some(there) = output.and_then(|path| fs::metadata(path).ok()) {
        image.refuse_output(&there)?;
    }
    let mut output = Output::open(args.output.as_deref(), None)?;
    if let Ok(there) = output.writer()?.metadata() {
        image.refuse_output(&there)?;
    }
    if image.in_use() {
        console.warning(&format!(
            "{} is in use: what is written to it meanwhile makes a damaged image",
            path.display()
        ));
    }
    let totals = filters::pack_image(&image, compression(args, console), &mut output);
    let totals = totals.map_err(|e| match e {
        image::Error::Output(e) => image::Error::Output(output.named_error(e)),
        e => e,
    })?;
    output.commit()?;
    packed(totals, console);
    Ok(())
}

fn tree(args: &PackArgs, console: &Console) -> Result<(), Failure> {
    let mut config = tree_config(args, console)?;
    let mut output = Output::open(args.output.as_deref(), None)?;
    config.outputs = outputs(args, &output);
    let tell = |note: &Note| {
        if note.is_error() {
            console.warning(&note.to_string());
        } else {
            console.note(&note.to_string());
        }
    };
    let totals = filters::pack(&config, compression(args, console), &mut output, &tell);
    let totals = totals.map_err(|e| match e {
        tree::Error::Output(e) => tree::Error::Output(output.named_error(e)),
        e => e,
    })?;
    output.commit()?;
    packed(totals, console);
    if totals.errors > 0 {
        let count = totals.errors;
        let what = if count == 1 {
            "object was"
        } else {
            "objects were"
        };
        return Err(Failure::new(
            ExitStatus::Local,
            format!("{count} {what} not packed as found; the archive says so"),
        ));
    }
    Ok(())
}

fn packed(totals: Totals, console: &Console) {
    console.detail(1, || {
        let content = bytes(totals.bytes);
        format!(
            "packed {} entries with {content} of content",
            totals.entries
        )
    });
}
