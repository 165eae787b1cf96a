//! `sealcast pack`: its arguments as a configuration that makes sense.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sealcast::archive::{Glob, Time, XattrChoice, level_for_rate};
use sealcast::filters::{Compression, Effort};
use sealcast::proto::limits::MTU_DEFAULT;
use sealcast::sys::stdio::Output;
use sealcast::tree::TreePackConfig;

use super::cast::question_rate;
use crate::cli::{PackArgs, XattrArgs};
use crate::exit::{ExitStatus, Failure};
use crate::present::Console;

/// What is packed, without what the output adds to it.
pub(crate) fn tree_config(args: &PackArgs, console: &Console) -> Result<TreePackConfig, Failure> {
    let lists = args.exclude_from.iter().chain(&args.files_from);
    if lists.filter(|path| *path == Path::new("-")).count() > 1 {
        return Err(Failure::new(
            ExitStatus::Usage,
            "standard input can be one list, not two",
        ));
    }
    Ok(TreePackConfig {
        base: args.directory.clone(),
        paths: args.paths.clone(),
        exclude: exclude(args)?,
        listed: listed(args, console)?,
        one_file_system: args.one_file_system,
        dereference: args.dereference,
        xattrs: xattrs(&args.xattrs)?,
        numeric_owner: args.numeric_owner,
        mtime_max: args.clamp_mtime.map(|secs| Time { secs, nanos: 0 }),
        strict: args.strict,
        outputs: Vec::new(),
    })
}

/// The archive itself, and the file that it will replace: neither belongs to what is packed.
pub(crate) fn outputs(args: &PackArgs, output: &Output) -> Vec<(u64, u64)> {
    let new = rustix::fs::fstat(output).map(|s| (s.st_dev, s.st_ino));
    let old = args.output.as_deref().map(fs::metadata);
    let old = old.and_then(Result::ok).map(|m| (m.dev(), m.ino()));
    new.ok().into_iter().chain(old).collect()
}

/// How the archive is compressed.
pub(crate) fn compression(args: &PackArgs, console: &Console) -> Compression {
    let threads = args
        .threads
        .map_or(Compression::default().threads, usize::from);
    question_rate("--rate", args.rate, MTU_DEFAULT, console);
    Compression {
        effort: effort(args, threads, console),
        threads,
    }
}

/// The names in the files of -T; nothing without such files.
fn listed(args: &PackArgs, console: &Console) -> Result<Option<Vec<PathBuf>>, Failure> {
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
        console.warning("there are no names in the list: the archive is empty");
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
    patterns.iter().map(|pattern| glob(pattern)).collect()
}

fn glob(pattern: &[u8]) -> Result<Glob, Failure> {
    Glob::new(pattern).map_err(|e| {
        let shown = String::from_utf8_lossy(pattern);
        Failure::new(ExitStatus::Usage, format!("bad pattern `{shown}`: {e}"))
    })
}

/// Which extended attributes are packed or restored.
pub(crate) fn xattrs(args: &XattrArgs) -> Result<XattrChoice, Failure> {
    let globs = |patterns: &[OsString]| -> Result<Vec<Glob>, Failure> {
        patterns
            .iter()
            .map(|pattern| glob(pattern.as_bytes()))
            .collect()
    };
    let include = globs(&args.xattrs_include)?;
    Ok(XattrChoice::new(include, globs(&args.xattrs_exclude)?))
}

fn effort(args: &PackArgs, threads: usize, console: &Console) -> Effort {
    let level = match args.rate {
        Some(rate) => level_for_rate(rate, threads),
        None => args.level,
    };
    let effort = match (args.adapt, args.long) {
        (true, _) => Effort::Adapt,
        (_, true) => Effort::Long(level),
        _ => Effort::Level(level),
    };
    console.detail(1, || match effort {
        Effort::Level(level) | Effort::Long(level) => format!("compressing at level {level}"),
        Effort::Adapt => "compressing at the level that suits the output".into(),
    });
    effort
}
