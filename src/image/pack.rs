//! From an image to an archive.

use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, CWD, Mode, OFlags, SeekFrom, Stat, fadvise, fstat, openat, seek};
use rustix::io::Errno;

use super::Error;
use crate::archive::{self, Content, Entry, Kind, Meta, Segment, Time, Totals, name};
use crate::sys::sparse::{holes, read_at};

/// The mode of the entry: an image holds everybody's secrets.
const MODE: u32 = 0o600;

/// An open image: a block device, or a regular file.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
    name: Vec<u8>,
    before: Stat,
    size: u64,
    device: bool,
    in_use: bool,
}

impl Image {
    /// Opens the image at `path`. A device that is not in use is kept from being mounted meanwhile.
    ///
    /// # Errors
    /// [`Error::NotImage`], or [`Error::System`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let there = fs::metadata(path).map_err(Error::system("open", path))?;
        let device = there.file_type().is_block_device();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = |flags| openat(CWD, path, flags, Mode::empty());
        let (opened, in_use) = match device {
            true => match open(flags | OFlags::EXCL) {
                Err(Errno::BUSY) => (open(flags), true),
                opened => (opened, false),
            },
            // Should a fifo have taken the file's place, opening it must not wait for a writer.
            false if there.is_file() => (open(flags | OFlags::NONBLOCK), false),
            false => return Err(Error::NotImage(path.into())),
        };
        let file = File::from(opened.map_err(Error::system("open", path))?);
        let before = fstat(&file).map_err(Error::system("examine", path))?;
        if (before.st_dev, before.st_ino) != (there.dev(), there.ino()) {
            return Err(Error::Changed(path.into()));
        }
        let last = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
        let name = match name::check(last) {
            Ok(checked) if !checked.path.is_empty() => checked.path,
            _ => return Err(Error::NotImage(path.into())),
        };
        let size = size(&file).map_err(Error::system("measure", path))?;
        if device && size == 0 {
            return Err(Error::system("measure", path)(Errno::NOMEDIUM));
        }
        Ok(Self {
            file,
            path: path.into(),
            name,
            before,
            size,
            device,
            in_use,
        })
    }

    /// Whether the image is a device that is in use, and so may change while it is read.
    pub const fn in_use(&self) -> bool {
        self.in_use
    }

    /// Refuses an output that is the image itself.
    ///
    /// # Errors
    /// [`Error::SameFile`].
    pub fn refuse_output(&self, output: &Metadata) -> Result<(), Error> {
        if (output.dev(), output.ino()) == (self.before.st_dev, self.before.st_ino) {
            return Err(Error::SameFile(self.path.clone()));
        }
        Ok(())
    }

    /// Where the data are: without the holes of a file; a device has none.
    fn map(&self) -> Result<Option<Vec<Segment>>, Error> {
        if self.device {
            return Ok(None);
        }
        holes(&self.file, &self.before).map_err(Error::system("find the holes of", &self.path))
    }

    fn unchanged(&self) -> Result<(), Error> {
        let after = fstat(&self.file).map_err(Error::system("examine", &self.path))?;
        let size = size(&self.file).map_err(Error::system("measure", &self.path))?;
        let time = |s: &Stat| (s.st_mtime, s.st_mtime_nsec);
        // A node of a device tells when a process has opened it for writing, not what it wrote.
        if size != self.size || (!self.device && time(&after) != time(&self.before)) {
            return Err(Error::Changed(self.path.clone()));
        }
        Ok(())
    }
}

/// The size of a file or device.
pub(super) fn size(file: &File) -> rustix::io::Result<u64> {
    seek(file, SeekFrom::End(0))
}

/// Packs an image as an uncompressed archive with one entry into `out`. Its bytes depend on the
/// name, the size, the holes and the content of the image alone.
///
/// # Errors
/// [`Error::Output`] from `out`; [`Error::Read`] and [`Error::Changed`] when the image could not be
/// had as a whole: then the archive has no end.
pub fn pack<W: archive::BufWrite>(image: &Image, out: W) -> Result<(W, Totals), Error> {
    let map = image.map()?;
    let segments = map.clone().unwrap_or_else(|| {
        vec![Segment {
            offset: 0,
            len: image.size,
        }]
    });
    let mut writer = archive::Writer::in_frames(out).map_err(Error::Output)?;
    let size = image.size;
    let entry = Entry {
        path: image.name.clone(),
        kind: Kind::File(Content { size, map }),
        meta: Meta {
            mode: MODE,
            mtime: Time::default(),
            ..Meta::default()
        },
    };
    writer.entry(&entry).map_err(Error::Output)?;
    // It is only advice.
    let _ = fadvise(&image.file, 0, None, Advice::Sequential);
    for segment in &segments {
        let (mut at, end) = (segment.offset, segment.offset + segment.len);
        while at < end {
            let room = writer.buffer(end - at);
            let want = room.len();
            let got = read_at(&image.file, room, at).map_err(|e| Error::Read {
                path: image.path.clone(),
                at,
                source: e.into(),
            })?;
            if got < want {
                return Err(Error::Changed(image.path.clone()));
            }
            writer.advance(want).map_err(Error::Output)?;
            at += want as u64;
        }
    }
    image.unchanged()?;
    writer.finish().map_err(Error::Output)
}
