//! `sealcast unpack`: arguments to configuration, one library call, report.

use sealcast::edge::stdio::Input;
use sealcast::edge::tree::{Existing, Limits, Unpack};
use sealcast::pipe;

use crate::cli::UnpackArgs;
use crate::exit::Failure;
use crate::report::{self, Voice};

pub(crate) fn run(args: &UnpackArgs, voice: &Voice) -> Result<(), Failure> {
    let input = Input::stdin()?;
    let cancel = input.cancel();
    let config = Unpack {
        target: args.directory.clone(),
        existing: match (args.replace, args.merge) {
            (true, _) => Existing::Replace,
            (_, true) => Existing::Merge,
            _ => Existing::Refuse,
        },
        keep_partial: args.keep_partial,
        devices: !args.no_devices,
        setuid: !args.no_setuid,
        xattrs: !args.no_xattrs,
        sync: !args.no_sync,
        limits: Limits {
            entries: args.max_entries,
            bytes: args.max_bytes.unwrap_or(u64::MAX),
        },
    };
    let tell = |text: &str| voice.note(text);
    let restored = pipe::unpack(&config, input, || cancel.cancel(), &tell)?;
    let totals = restored.totals;
    if totals.errors > 0 {
        voice.warning(&format!(
            "{} objects were not packed as they were; the tree is what the sender could read",
            totals.errors
        ));
    }
    if !restored.ours {
        voice.detail(1, || {
            "the archive has no totals: another tool made it".into()
        });
    }
    let note = |count: u64, what: &str| {
        if count > 0 {
            voice.note(&format!("{count} {what}"));
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
    voice.detail(1, || {
        let bytes = report::bytes(totals.bytes);
        format!(
            "restored {} entries with {bytes} of content",
            totals.entries
        )
    });
    Ok(())
}
