//! `sealcast pack`: arguments to configuration, one library call, report.

use std::os::unix::ffi::OsStrExt;

use sealcast::archive::Glob;
use sealcast::edge::stdio::Output;
use sealcast::edge::tree::{Note, Pack};
use sealcast::pipe;

use crate::cli::PackArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::{self, Voice};

pub(crate) fn run(args: &PackArgs, voice: &Voice) -> Result<(), Failure> {
    let globs = args.exclude.iter().map(|pattern| {
        Glob::new(pattern.as_bytes()).map_err(|e| {
            let shown = pattern.to_string_lossy();
            Failure::new(ExitStatus::Usage, format!("bad pattern `{shown}`: {e}"))
        })
    });
    let exclude = globs.collect::<Result<_, _>>()?;
    let mut output = Output::open(args.output.as_deref(), None)?;
    let config = Pack {
        base: args.directory.clone(),
        paths: args.paths.clone(),
        exclude,
        one_file_system: args.one_file_system,
        numeric_owner: args.numeric_owner,
        strict: args.strict,
        output: rustix::fs::fstat(&output)
            .ok()
            .map(|s| (s.st_dev, s.st_ino)),
    };
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let tell = |note: &Note| {
        if note.is_error() {
            voice.warning(&note.to_string());
        } else {
            voice.note(&note.to_string());
        }
    };
    let totals = pipe::pack(&config, args.level, threads, &mut output, &tell)?;
    output.commit()?;
    voice.detail(1, || {
        let bytes = report::bytes(totals.bytes);
        format!("packed {} entries with {bytes} of content", totals.entries)
    });
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
