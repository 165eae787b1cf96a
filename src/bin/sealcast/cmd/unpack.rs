//! `sealcast unpack`: arguments to configuration, one library call, report.

use std::path::Path;

use sealcast::archive::XattrChoice;
use sealcast::filters;
use sealcast::image;
use sealcast::sys::stdio::Input;
use sealcast::tree::{Existing, IdMap, Limits, TreeUnpackConfig};

use crate::cli::UnpackArgs;
use crate::exit::{ExitStatus, Failure};
use crate::plan::pack::xattrs;
use crate::present::console::{self, Console};

pub(crate) fn run(args: &UnpackArgs, console: &Console) -> Result<(), Failure> {
    let input = Input::stdin()?;
    console.detail(1, || match filters::unpack_sandbox() {
        Ok(means) => format!("the threads that read the archive are held back by {means}"),
        Err(e) => format!("the threads that read the archive may not be held back: {e}"),
    });
    match (&args.image, &args.directory) {
        (Some(target), _) => image(args, target, input, console),
        (None, Some(target)) => tree(args, target, input, console),
        // The command line asks for one of them.
        (None, None) => Err(Failure::new(ExitStatus::Usage, "no target was given")),
    }
}

fn image(args: &UnpackArgs, target: &Path, input: Input, console: &Console) -> Result<(), Failure> {
    let cancel = input.stopper();
    let config = image::ImageUnpackConfig {
        target: target.into(),
        replace: args.replace,
        keep_partial: args.keep_partial,
        sync: !args.no_sync,
        bytes_max: args.max_bytes.unwrap_or(u64::MAX),
        last_words,
    };
    let tell = |text: &str| console.note(text);
    let restored = filters::unpack_image(&config, input, || cancel.wake(), &tell)?;
    if restored.totals.errors > 0 {
        console.warning("the image changed or could not be read while it was packed");
    }
    no_totals(restored.ours, console);
    console.detail(1, || {
        let (size, bytes) = (restored.size, restored.totals.bytes);
        format!(
            "restored an image of {} with {} of content",
            console::bytes(size),
            console::bytes(bytes)
        )
    });
    Ok(())
}

/// What is said while a signal ends us: the thread that holds the console may wait for ever by
/// then.
fn last_words(text: &str) {
    let text = console::plain(text);
    let hint = "its first MiB was zeroed, so that it does not boot; run again";
    console::line(&format!(
        "sealcast unpack: error: {text}\nsealcast unpack: hint: {hint}\n"
    ));
}

fn no_totals(ours: bool, console: &Console) {
    if !ours {
        console.detail(1, || {
            "the archive has no totals: another tool made it".into()
        });
    }
}

fn tree(args: &UnpackArgs, target: &Path, input: Input, console: &Console) -> Result<(), Failure> {
    let cancel = input.stopper();
    let config = TreeUnpackConfig {
        target: target.into(),
        existing: match (args.replace, args.merge) {
            (true, _) => Existing::Replace,
            (_, true) => Existing::Merge,
            _ => Existing::Refuse,
        },
        keep_partial: args.keep_partial,
        owners: IdMap::new(args.map_owner.clone())
            .map_err(|e| Failure::new(ExitStatus::Usage, format!("--map-owner: {e}")))?,
        devices: !args.no_devices,
        setuid: !args.no_setuid,
        xattrs: match args.no_xattrs {
            true => XattrChoice::none(),
            false => xattrs(&args.xattrs)?,
        },
        same_owner: !args.no_same_owner,
        sync: !args.no_sync,
        limits: Limits {
            entries: args.max_entries,
            bytes: args.max_bytes.unwrap_or(u64::MAX),
            memory: args.max_memory,
        },
    };
    let tell = |text: &str| console.note(text);
    let restored = filters::unpack(&config, input, || cancel.wake(), &tell)?;
    let totals = restored.totals;
    if totals.errors > 0 {
        console.warning(&format!(
            "{} objects were not packed as they were; the tree is what the sender could read",
            totals.errors
        ));
    }
    no_totals(restored.ours, console);
    let note = |count: u64, what: &str| {
        if count > 0 {
            console.note(&format!("{count} {what}"));
        }
    };
    note(
        restored.owners_lost,
        "objects have other owners than in the archive: only root may give files away",
    );
    note(
        restored.xattrs_lost,
        "attributes were left out: only root may set them",
    );
    note(restored.devices_left_out, "device nodes were left out");
    console.detail(1, || {
        let bytes = console::bytes(totals.bytes);
        format!(
            "restored {} entries with {bytes} of content",
            totals.entries
        )
    });
    Ok(())
}
