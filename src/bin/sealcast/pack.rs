//! `sealcast pack`: arguments to configuration, one library call, report.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sealcast::archive::{Glob, Time, Totals, level_for_rate};
use sealcast::filters::{self, Effort};
use sealcast::image::Image;
use sealcast::sys::stdio::Output;
use sealcast::tree::{Note, TreePackConfig};

use crate::cli::PackArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::{self, Voice};

pub(crate) fn run(args: &PackArgs, voice: &Voice) -> Result<(), Failure> {
    match &args.image {
        Some(path) => image(args, path, voice),
        None => tree(args, voice),
    }
}

fn image(args: &PackArgs, path: &Path, voice: &Voice) -> Result<(), Failure> {
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
        voice.warning(&format!(
            "{} is in use: what is written to it meanwhile makes a damaged image",
            path.display()
        ));
    }
    let threads = threads(args);
    let totals = filters::pack_image(&image, effort(args, threads, voice), threads, &mut output)?;
    output.commit()?;
    packed(totals, voice);
    Ok(())
}

fn tree(args: &PackArgs, voice: &Voice) -> Result<(), Failure> {
    let lists = args.exclude_from.iter().chain(&args.files_from);
    if lists.filter(|path| *path == Path::new("-")).count() > 1 {
        return Err(Failure::new(
            ExitStatus::Usage,
            "standard input can be one list, not two",
        ));
    }
    let exclude = exclude(args)?;
    let mut output = Output::open(args.output.as_deref(), None)?;
    let config = TreePackConfig {
        base: args.directory.clone(),
        paths: args.paths.clone(),
        listed: listed(args, voice)?,
        exclude,
        one_file_system: args.one_file_system,
        dereference: args.dereference,
        numeric_owner: args.numeric_owner,
        mtime_max: args.clamp_mtime.map(|secs| Time { secs, nanos: 0 }),
        strict: args.strict,
        outputs: outputs(args, &output),
    };
    let threads = threads(args);
    let tell = |note: &Note| {
        if note.is_error() {
            voice.warning(&note.to_string());
        } else {
            voice.note(&note.to_string());
        }
    };
    let effort = effort(args, threads, voice);
    let totals = filters::pack(&config, effort, threads, &mut output, &tell)?;
    output.commit()?;
    packed(totals, voice);
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

/// The archive itself, and the file that it will replace: neither belongs to what is packed.
fn outputs(args: &PackArgs, output: &Output) -> Vec<(u64, u64)> {
    let new = rustix::fs::fstat(output).map(|s| (s.st_dev, s.st_ino));
    let old = args.output.as_deref().map(fs::metadata);
    let old = old.and_then(Result::ok).map(|m| (m.dev(), m.ino()));
    new.ok().into_iter().chain(old).collect()
}

fn packed(totals: Totals, voice: &Voice) {
    voice.detail(1, || {
        let bytes = report::bytes(totals.bytes);
        format!("packed {} entries with {bytes} of content", totals.entries)
    });
}

fn threads(args: &PackArgs) -> usize {
    args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    )
}

/// The names in the files of -T; nothing without such files.
fn listed(args: &PackArgs, voice: &Voice) -> Result<Option<Vec<PathBuf>>, Failure> {
    if args.files_from.is_empty() {
        return Ok(None);
    }
    let end = if args.null { 0 } else { b'\n' };
    let mut listed = Vec::new();
    for path in &args.files_from {
        let text = read(path)?;
        let names = text.split(|b| *b == end).filter(|name| !name.is_empty());
        listed.extend(names.map(|name| PathBuf::from(OsStr::from_bytes(name))));
    }
    if listed.is_empty() && args.paths.is_empty() {
        voice.warning("there are no names in the list: the archive is empty");
    }
    Ok(Some(listed))
}

/// What a file of the command line holds; `-` is standard input.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let source = match path.to_str() {
        Some("-") => Path::new("/dev/stdin"),
        _ => path,
    };
    fs::read(source).map_err(|e| Failure::io(&path.display().to_string(), &e))
}

/// The patterns of the command line and of files.
fn exclude(args: &PackArgs) -> Result<Vec<Glob>, Failure> {
    let mut patterns: Vec<_> = args.exclude.iter().map(|p| p.as_bytes().to_vec()).collect();
    for path in &args.exclude_from {
        let text = read(path)?;
        let lines = text.split(|b| *b == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        patterns.extend(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
                .map(<[u8]>::to_vec),
        );
    }
    let glob = |pattern: &Vec<u8>| {
        Glob::new(pattern).map_err(|e| {
            let shown = String::from_utf8_lossy(pattern);
            Failure::new(ExitStatus::Usage, format!("bad pattern `{shown}`: {e}"))
        })
    };
    patterns.iter().map(glob).collect()
}

fn effort(args: &PackArgs, threads: usize, voice: &Voice) -> Effort {
    let level = match args.rate {
        Some(rate) => level_for_rate(rate, threads),
        None => args.level,
    };
    let effort = match (args.adapt, args.long) {
        (true, _) => Effort::Adapt,
        (_, true) => Effort::Long(level),
        _ => Effort::Level(level),
    };
    voice.detail(1, || match effort {
        Effort::Level(level) | Effort::Long(level) => format!("compressing at level {level}"),
        Effort::Adapt => "compressing at the level that suits the output".into(),
    });
    effort
}
