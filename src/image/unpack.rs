//! From an archive to an image.

use std::fs::{self, File};
use std::io::{self, BufRead};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::Error;
use super::pack::size;
use super::writer::ImageWriter;
use crate::archive::{Content, Kind, Reader, Totals};
use crate::sys::sandbox::within;
use crate::sys::signals;
use crate::sys::stdio::Output;
use crate::sys::user_names::UserNames;

/// How an image is restored.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct ImageUnpackConfig {
    /// A block device, or the name of a file.
    pub target: PathBuf,
    /// Whether a file that is there is replaced.
    pub replace: bool,
    /// Whether a file that could not be completed is kept beside the target.
    pub keep_partial: bool,
    /// Whether the image is on the disk before the run ends, and a device's first part after all
    /// others.
    pub sync: bool,
    /// How many bytes of content an archive may hold.
    pub bytes_max: u64,
    /// Says that a device is incomplete when a signal ends the process.
    pub last_words: fn(&str),
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRestored {
    /// What the archive held.
    pub totals: Totals,
    /// Whether the archive was made by this program, and so had totals to compare.
    pub ours: bool,
    /// The length of the image with all that is not data.
    pub size: u64,
}

/// Restores the image of an uncompressed archive, which holds one regular file and nothing else. A
/// file takes its name when the whole archive was read and found good. A device is written
/// meanwhile, but its first and last parts are zero bytes until then. `tell` hears where an
/// incomplete file was kept, and how a device differs in size.
///
/// # Errors
/// [`Error::Archive`], [`Error::NotOneFile`] and [`Error::Limit`] when the archive is refused,
/// [`Error::Incomplete`] when a device was written to before; the others when the system or the
/// target does not allow it.
pub fn unpack<R: BufRead + Send>(
    config: &ImageUnpackConfig,
    input: R,
    tell: &dyn Fn(&str),
) -> Result<ImageRestored, Error> {
    let (file, output) = match Target::open(config)? {
        Target::Device(file) => (file, None),
        Target::File(output) => (output.writer()?, Some(output)),
    };
    let names = UserNames::load();
    // What waits for signals shall not be started by a thread that has given rights up.
    let _watch = signals::on_interrupt(|| {})?;
    let device = output.is_none();
    let restore = || restore(config, file, device, input, &names);
    let result = within("sc-restore", None, restore);
    let result = result.map_err(Error::system("start a thread for", &config.target));
    match (result.flatten(), output) {
        (Ok((restored, note)), output) => {
            output.map_or(Ok(()), |output| output.commit_with(config.sync))?;
            if let Some(note) = note {
                tell(&note);
            }
            Ok(restored)
        }
        (Err(e), output) => {
            if config.keep_partial
                && let Some(path) = output.and_then(Output::keep)
            {
                tell(&format!(
                    "the incomplete image is kept in {}",
                    path.display()
                ));
            }
            Err(e)
        }
    }
}

/// Writes the image of an archive to what is open for it. There may be something to tell then.
fn restore<R: BufRead>(
    config: &ImageUnpackConfig,
    file: File,
    device: bool,
    input: R,
    names: &UserNames,
) -> Result<(ImageRestored, Option<String>), Error> {
    let resolve = |group: bool, name: &[u8]| names.number(group, name);
    let mut reader = Reader::new(input, &resolve);
    let content = only_file(config, &mut reader)?;
    let note = match device {
        true => to_device(config, file, &content, &mut reader)?,
        false => to_file(config, file, &content, &mut reader).map(|()| None)?,
    };
    Ok((restored(&content, &reader), note))
}

enum Target {
    Device(File),
    File(Output),
}

impl Target {
    fn open(config: &ImageUnpackConfig) -> Result<Self, Error> {
        let path = &config.target;
        let refused = || Error::NotTarget(path.clone());
        if path == Path::new("-") {
            return Err(refused());
        }
        match fs::metadata(path) {
            Ok(there) if there.file_type().is_block_device() => device(path).map(Self::Device),
            Ok(there) if !there.is_file() => Err(refused()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::system("open", path)(e)),
            // A link to nowhere is there as well.
            _ if !config.replace && fs::symlink_metadata(path).is_ok() => {
                Err(Error::Exists(path.clone()))
            }
            _ => Ok(Self::File(Output::image(
                path,
                config.replace,
                config.keep_partial,
            )?)),
        }
    }
}

/// Opens a device for us alone.
fn device(path: &Path) -> Result<File, Error> {
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::BUSY) => return Err(Error::Busy(path.into())),
        Err(e) => return Err(Error::system("open", path)(e)),
    };
    let stat = fstat(&file).map_err(Error::system("examine", path))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => Ok(file),
        _ => Err(Error::NotTarget(path.into())),
    }
}

/// The content of the archive's first entry, which must be a regular file.
fn only_file<R: BufRead>(
    config: &ImageUnpackConfig,
    reader: &mut Reader<'_, R>,
) -> Result<Content, Error> {
    let entry = reader.next()?.ok_or(Error::NoEntry)?;
    match entry.kind {
        Kind::File(content) if content.stored() > config.bytes_max => {
            Err(Error::Limit(config.bytes_max))
        }
        Kind::File(content) => Ok(content),
        _ => Err(Error::NotOneFile {
            path: entry.path,
            what: "is no regular file",
        }),
    }
}

fn to_file<R: BufRead>(
    config: &ImageUnpackConfig,
    file: File,
    content: &Content,
    reader: &mut Reader<'_, R>,
) -> Result<(), Error> {
    let write = || Error::system("write", &config.target);
    let mut writer = ImageWriter::file(file, content.size).map_err(|e| write()(e))?;
    write_image(&mut writer, content, reader, &config.target)?;
    writer.finish().map_err(|e| write()(e))
}

fn to_device<R: BufRead>(
    config: &ImageUnpackConfig,
    file: File,
    content: &Content,
    reader: &mut Reader<'_, R>,
) -> Result<Option<String>, Error> {
    let path = &config.target;
    let has = size(&file).map_err(Error::system("measure", path))?;
    let needs = content.size;
    if has < needs {
        let path = path.clone();
        return Err(Error::TooSmall { path, has, needs });
    }
    let write = || Error::system("write", path);
    let guard = begin(config, &file, needs)?;
    let draw = || {
        let writer = ImageWriter::device(file, needs, config.sync);
        let mut writer = writer.map_err(|e| write()(e))?;
        write_image(&mut writer, content, reader, path)?;
        writer.finish().map_err(|e| write()(e))?;
        Ok(writer)
    };
    let writer = draw().map_err(|source| Error::Incomplete {
        source: Box::new(source),
        path: path.clone(),
    })?;
    drop(guard);
    if has == needs {
        return Ok(None);
    }
    let more = has - needs;
    let backup = match writer.has_backup_table() {
        true => ", and the backup of the partition table is not at its end: see `sgdisk -e`",
        false => "",
    };
    Ok(Some(format!(
        "{} has {more} bytes after the image{backup}",
        path.display()
    )))
}

/// Writes to a device for the first time, which tells whether that is allowed at all: from then on
/// it is incomplete, and a signal says so.
fn begin(config: &ImageUnpackConfig, file: &File, size: u64) -> Result<signals::Guard, Error> {
    let (path, say) = (config.target.clone(), config.last_words);
    // What the writer then begins with as well.
    let zeros = [0; 512];
    let first = usize::try_from(size).map_or(zeros.len(), |size| size.min(zeros.len()));
    let write = || match file.write_at(&zeros[..first], 0) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::ReadOnly(config.target.clone()))
        }
        Err(e) => Err(Error::system("write", &config.target)(e)),
    };
    let job = move || say(&format!("interrupted; {} is incomplete", path.display()));
    signals::on_interrupt_of(write, job).map(|((), guard)| guard)
}

/// Puts the content in its place, and reads the archive to its sound end.
fn write_image<R: BufRead>(
    writer: &mut ImageWriter,
    content: &Content,
    reader: &mut Reader<'_, R>,
    path: &Path,
) -> Result<(), Error> {
    let write = || Error::system("write", path);
    let mut segments = content.map.iter().flatten();
    // Without a map, everything is one segment.
    let mut remaining = content.map.as_ref().map_or(u64::MAX, |_| 0);
    loop {
        let data = reader.data()?;
        if data.is_empty() {
            break;
        }
        if remaining == 0 {
            let Some(segment) = segments.next() else {
                break;
            };
            writer.skip_to(segment.offset).map_err(|e| write()(e))?;
            remaining = segment.len;
        }
        let len = data
            .len()
            .min(usize::try_from(remaining).unwrap_or(usize::MAX));
        writer.put(&data[..len]).map_err(|e| write()(e))?;
        remaining -= len as u64;
        reader.consume(len);
    }
    match reader.next()? {
        None => Ok(()),
        Some(entry) => Err(Error::NotOneFile {
            path: entry.path,
            what: "is another entry",
        }),
    }
}

fn restored<R: BufRead>(content: &Content, reader: &Reader<'_, R>) -> ImageRestored {
    ImageRestored {
        totals: reader.totals().unwrap_or(reader.seen()),
        ours: reader.version().is_some(),
        size: content.size,
    }
}
