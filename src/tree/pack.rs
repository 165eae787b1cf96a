//! From a tree to an archive.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::metadata::{MetadataSource, Xattrs, meta, mtime};
use super::path_list::{self, ListedPath};
use super::walk::{Step, Walk};
use super::{Error, mounts};
use crate::archive::name::{Shown, check, join};
use crate::archive::{
    self, Content, Device, Entry, Glob, Kind, Segment, Time, Totals, Xattr, XattrChoice, acl, pax,
};
use crate::sys::sparse::{holes, read_at};
use crate::sys::user_names::UserNames;

/// What to pack, and how.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct TreePackConfig {
    /// Where relative paths begin; the current directory when there is none.
    pub base: Option<PathBuf>,
    /// One directory, whose contents are packed, or several paths, which keep their names.
    pub paths: Vec<PathBuf>,
    /// More paths, of a list: with one, everything keeps its name, order and repetitions do not
    /// matter, and what is missing is told and counted.
    pub listed: Option<Vec<PathBuf>>,
    /// What to leave out.
    pub exclude: Vec<Glob>,
    /// Whether to stay on the file systems of the paths.
    pub one_file_system: bool,
    /// Whether to pack what symbolic links lead to in their place.
    pub dereference: bool,
    /// Which extended attributes are packed.
    pub xattrs: XattrChoice,
    /// Whether to leave the names of owners out.
    pub numeric_owner: bool,
    /// The latest time of modification that is packed; later ones become it.
    pub mtime_max: Option<Time>,
    /// Whether to give up at the first object that cannot be packed as it is.
    pub strict: bool,
    /// The device and inode of the archive itself, which is not packed, and of the one that it
    /// will replace.
    pub outputs: Vec<(u64, u64)>,
}

/// Something that a person may want to know about the packing.
#[derive(Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Note {
    /// A socket was left out: it lives only as long as its program.
    Socket(Vec<u8>),
    /// The archive itself was left out.
    Itself(Vec<u8>),
    /// The file changed while it was read; the archive has it cut or filled to its first size.
    Changed(Vec<u8>),
    /// It was there when its directory was read, and is not any more.
    Vanished(Vec<u8>),
    /// It could not be read.
    Unreadable(Vec<u8>, io::Error),
    /// It is a symbolic link that should have been followed, and leads nowhere.
    Dangling(Vec<u8>),
    /// Its name or attributes exceed what an archive can hold.
    TooLong(Vec<u8>),
}

impl Note {
    /// Whether the archive is not what the tree was.
    pub const fn is_error(&self) -> bool {
        !matches!(self, Self::Socket(_) | Self::Itself(_))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "left out {}: it is a socket", Shown(path)),
            Self::Itself(path) => write!(f, "left out {}: it is the archive", Shown(path)),
            Self::Changed(path) => write!(f, "{} changed while it was read", Shown(path)),
            Self::Vanished(path) => write!(f, "{} vanished before it was read", Shown(path)),
            Self::Unreadable(path, e) => write!(f, "cannot read {}: {e}", Shown(path)),
            Self::Dangling(path) => write!(f, "cannot follow {}: it leads nowhere", Shown(path)),
            Self::TooLong(path) => {
                write!(f, "{} has too long a name or attributes", Shown(path))
            }
        }
    }
}

/// Packs a tree as an uncompressed archive into `out`, in an order that depends on nothing but the
/// names. `tell` hears of everything that was not packed as it was; such things are counted in the
/// totals.
///
/// # Errors
/// [`Error::Output`] from `out`, [`Error::System`] when a path that was asked for cannot be opened,
/// [`Error::Argument`] when it cannot be named in an archive, [`Error::Strict`].
pub fn pack<W: archive::BufWrite>(
    config: &TreePackConfig,
    out: W,
    tell: &dyn Fn(&Note),
) -> Result<(W, Totals), Error> {
    let names = if config.numeric_owner {
        UserNames::default()
    } else {
        UserNames::load()
    };
    let mut packer = Packer {
        config,
        tell,
        names,
        writer: archive::Writer::in_frames(out).map_err(Error::Output)?,
        links: HashMap::new(),
        xattrs: Xattrs::new(),
        no_atime: rustix::process::geteuid().is_root(),
    };
    let base = match &config.base {
        None => None,
        Some(path) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let name = path.as_os_str().as_bytes();
            let fd = openat(CWD, name, flags, Mode::empty());
            Some(fd.map_err(Error::system("open", name))?)
        }
    };
    if let Some(listed) = &config.listed {
        packer.listed(base.as_ref(), config.paths.iter().chain(listed))?;
        return packer.writer.finish().map_err(Error::Output);
    }
    if let [one] = &config.paths[..]
        && packer.contents_of(base.as_ref(), one)?
    {
        return packer.writer.finish().map_err(Error::Output);
    }
    let mut named: Vec<Vec<u8>> = Vec::new();
    for path in &config.paths {
        let name = name_of(path)?;
        // Two such names would meet in the archive, which no reader could restore.
        let meets = |n: &Vec<u8>| path_list::is_in(n, &name) || path_list::is_in(&name, n);
        if named.iter().any(meets) {
            return Err(Error::Argument {
                path: path.clone(),
                what: "another path has the same name in the archive, or contains it",
            });
        }
        packer.named(base.as_ref(), path, name.clone())?;
        named.push(name);
    }
    packer.writer.finish().map_err(Error::Output)
}

/// A path without slashes at its end.
fn trim(raw: &[u8]) -> &[u8] {
    match raw.iter().rposition(|&b| b != b'/') {
        Some(last) => &raw[..=last],
        None => raw,
    }
}

/// The name of a path in an archive: the path without slashes around it. The root of the tree has
/// none, and so no place beside others.
fn name_of(path: &Path) -> Result<Vec<u8>, Error> {
    match name_or_root(path)? {
        name if name.is_empty() => Err(no_name(path)),
        name => Ok(name),
    }
}

fn name_or_root(path: &Path) -> Result<Vec<u8>, Error> {
    let trimmed = trim(path.as_os_str().as_bytes());
    if trimmed == b"/" {
        return Ok(Vec::new());
    }
    // Several slashes are one, and where they begin does not matter.
    let parts = trimmed
        .split(|&b| b == b'/')
        .filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join(&b'/');
    let checked = check(&name).map_err(|_| no_name(path))?;
    Ok(checked.path)
}

fn no_name(path: &Path) -> Error {
    Error::Argument {
        path: path.into(),
        what: "a name in an archive has no `..` nor `.` inside, no zero byte, and 16384 bytes \
               at most; use -C",
    }
}

/// An object that is there: its name in an open directory.
struct Found {
    dir: OwnedFd,
    name: Vec<u8>,
    stat: Stat,
}

struct Packer<'a, W> {
    config: &'a TreePackConfig,
    tell: &'a dyn Fn(&Note),
    names: UserNames,
    writer: archive::Writer<W>,
    /// Objects with several names that were packed, by device and inode, and as what.
    links: HashMap<(u64, u64), (Vec<u8>, Snapshot)>,
    xattrs: Xattrs,
    no_atime: bool,
}

/// By what an object is known again: its type, its size and its time.
type Snapshot = (FileType, i64, Time);

fn snapshot(stat: &Stat) -> Snapshot {
    (
        FileType::from_raw_mode(stat.st_mode),
        stat.st_size,
        mtime(stat),
    )
}

impl<W: archive::BufWrite> Packer<'_, W> {
    /// Packs what is in the directory `path`, with its own metadata as the root's; false when it
    /// is no directory.
    fn contents_of(&mut self, base: Option<&OwnedFd>, path: &Path) -> Result<bool, Error> {
        let name = path.as_os_str().as_bytes();
        // The path is the caller's own: links on the way to it are followed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match base {
            Some(base) => openat(base, name, flags, Mode::empty()),
            None => openat(CWD, name, flags, Mode::empty()),
        };
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOTDIR) => return Ok(false),
            Err(e) => return Err(Error::system("open", name)(e)),
        };
        let stat = fstat(&fd).map_err(Error::system("examine", name))?;
        let mut walk = Walk::new();
        self.directory(&mut walk, fd, &stat, Vec::new())?;
        self.walk(walk, stat.st_dev)?;
        Ok(true)
    }

    /// Packs the trees at the paths of a list, in the order of a walk.
    fn listed<'p>(
        &mut self,
        base: Option<&OwnedFd>,
        paths: impl Iterator<Item = &'p PathBuf>,
    ) -> Result<(), Error> {
        let mut last: Option<(Vec<u8>, FileType)> = None;
        for ListedPath { name, path } in path_list::sorted(paths, name_or_root)? {
            if let Some((above, kind)) = &last
                && path_list::is_in(&name, above)
            {
                // It was packed with its directory, unless that is only a link to one.
                if *kind != FileType::Directory {
                    self.note(&Note::Unreadable(name, Errno::NOTDIR.into()))?;
                }
                continue;
            }
            match self.find(base, path) {
                Ok(found) => {
                    self.found(&found, name.clone())?;
                    last = Some((name, FileType::from_raw_mode(found.stat.st_mode)));
                }
                Err(e) => self.note(&Note::Unreadable(name, e.into()))?,
            }
        }
        Ok(())
    }

    /// Packs `path` under the name `name`.
    fn named(&mut self, base: Option<&OwnedFd>, path: &Path, name: Vec<u8>) -> Result<(), Error> {
        let raw = path.as_os_str().as_bytes();
        let found = self.find(base, path).map_err(Error::system("open", raw))?;
        self.found(&found, name)
    }

    fn find(&self, base: Option<&OwnedFd>, path: &Path) -> rustix::io::Result<Found> {
        let trimmed = trim(path.as_os_str().as_bytes());
        // Everything below is done by single names in open directories.
        let (parent, last) = match trimmed.iter().rposition(|&b| b == b'/') {
            None => (&b"."[..], trimmed),
            Some(0) => (&b"/"[..], &trimmed[1..]),
            Some(at) => (&trimmed[..at], &trimmed[at + 1..]),
        };
        let name = if last.is_empty() { b"." } else { last }.to_vec();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match base {
            Some(base) => openat(base, parent, flags, Mode::empty()),
            None => openat(CWD, parent, flags, Mode::empty()),
        }?;
        let stat = statat(&dir, &*name, self.stat_flags())?;
        Ok(Found { dir, name, stat })
    }

    fn found(&mut self, found: &Found, path: Vec<u8>) -> Result<(), Error> {
        let Found { dir, name, stat } = found;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut above = (0..path.len()).filter(|&at| path[at] == b'/');
        if above.any(|at| self.excluded(&path[..at], FileType::Directory))
            || (!path.is_empty() && self.excluded(&path, kind))
        {
            return Ok(());
        }
        let mut walk = Walk::new();
        self.object(dir, name, kind, path, &mut walk, None)?;
        self.walk(walk, stat.st_dev)
    }

    fn walk(&mut self, mut walk: Walk, device: u64) -> Result<(), Error> {
        let device = self.config.one_file_system.then_some(device);
        loop {
            let step = walk
                .step()
                .map_err(Error::system("return from", walk.path()))?;
            let (name, kind) = match step {
                None => return Ok(()),
                Some(Step::Leave) => continue,
                Some(Step::Name(name, kind)) => (name, kind),
            };
            let path = join(walk.path(), &name);
            let dir = walk.dir().map_err(Error::system("read", walk.path()))?;
            let follow = kind == FileType::Symlink && self.config.dereference;
            let kind = if follow || kind == FileType::Unknown {
                match statat(dir, &*name, self.stat_flags()) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    // It is not the link that is missing.
                    Err(Errno::NOENT) if follow => {
                        self.note(&Note::Dangling(path))?;
                        continue;
                    }
                    Err(e) => {
                        self.failed(path, e)?;
                        continue;
                    }
                }
            } else {
                kind
            };
            if self.excluded(&path, kind) {
                continue;
            }
            // The walk is borrowed by `dir`, and a directory must be entered: take a descriptor
            // of our own only then.
            if kind == FileType::Directory {
                match self.open_dir(dir, &name) {
                    Ok(fd) => self.subdirectory(&mut walk, fd, path, device)?,
                    Err(e) => {
                        let stat = statat(dir, &*name, self.stat_flags());
                        self.closed_directory(stat, path, e)?;
                    }
                }
            } else {
                self.leaf(dir, &name, kind, path)?;
            }
        }
    }

    /// How symbolic links are looked at: each is a thing of its own, unless they shall be followed.
    fn stat_flags(&self) -> AtFlags {
        match self.config.dereference {
            true => AtFlags::empty(),
            false => AtFlags::SYMLINK_NOFOLLOW,
        }
    }

    fn open_flags(&self) -> OFlags {
        match self.config.dereference {
            true => OFlags::empty(),
            false => OFlags::NOFOLLOW,
        }
    }

    fn open_dir(&self, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | self.open_flags();
        openat(dir, name, flags, Mode::empty())
    }

    /// Whether an object may come by once more, under another name.
    fn may_meet(&self, stat: &Stat) -> bool {
        stat.st_nlink > 1 || self.config.dereference
    }

    fn excluded(&self, path: &[u8], kind: FileType) -> bool {
        let is_dir = kind == FileType::Directory;
        self.config
            .exclude
            .iter()
            .any(|glob| glob.fits(path, is_dir))
    }

    fn object(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        kind: FileType,
        path: Vec<u8>,
        walk: &mut Walk,
        device: Option<u64>,
    ) -> Result<(), Error> {
        if kind != FileType::Directory {
            return self.leaf(dir.as_fd(), name, kind, path);
        }
        match self.open_dir(dir.as_fd(), name) {
            Ok(fd) => self.subdirectory(walk, fd, path, device),
            Err(e) => {
                let stat = statat(dir, name, self.stat_flags());
                self.closed_directory(stat, path, e)
            }
        }
    }

    fn subdirectory(
        &mut self,
        walk: &mut Walk,
        fd: OwnedFd,
        path: Vec<u8>,
        device: Option<u64>,
    ) -> Result<(), Error> {
        let stat = match fstat(&fd) {
            Ok(stat) => stat,
            Err(e) => return self.failed(path, e),
        };
        if self.config.dereference && walk.is_in(&stat) {
            return self.failed(path, Errno::LOOP);
        }
        if device.is_some_and(|device| device != stat.st_dev || mounts::is_root(&fd) == Some(true))
        {
            // A mount point is packed as the directory that it covers a place of.
            return self.empty_directory(&fd, &stat, path).map(drop);
        }
        self.directory(walk, fd, &stat, path)
    }

    /// Packs a directory and goes into it.
    fn directory(
        &mut self,
        walk: &mut Walk,
        fd: OwnedFd,
        stat: &Stat,
        path: Vec<u8>,
    ) -> Result<(), Error> {
        if !self.empty_directory(&fd, stat, path.clone())? {
            return Ok(());
        }
        match walk.enter(fd, stat, path.clone()) {
            Ok(()) => Ok(()),
            Err(e) => self.failed(path, e),
        }
    }

    /// Packs a directory without its contents; false when it could not be.
    fn empty_directory(&mut self, fd: &OwnedFd, stat: &Stat, path: Vec<u8>) -> Result<bool, Error> {
        match self.xattrs.read(MetadataSource::open(fd)) {
            Ok(xattrs) => self.put(path, Kind::Directory, stat, xattrs),
            Err(e) => self.failed(path, e).map(|()| false),
        }
    }

    /// A directory that cannot be opened: its own metadata is kept, its contents are missing.
    fn closed_directory(
        &mut self,
        stat: rustix::io::Result<Stat>,
        path: Vec<u8>,
        error: Errno,
    ) -> Result<(), Error> {
        if let Ok(stat) = stat
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        {
            self.put(path.clone(), Kind::Directory, &stat, Vec::new())?;
        }
        self.failed(path, error)
    }

    /// Packs anything but a directory.
    fn leaf(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        path: Vec<u8>,
    ) -> Result<(), Error> {
        match kind {
            FileType::RegularFile => return self.file(dir, name, path),
            FileType::Socket => return self.note(&Note::Socket(path)),
            _ => {}
        }
        let read = || -> rustix::io::Result<(Stat, Kind)> {
            let stat = statat(dir, name, self.stat_flags())?;
            let device = || Device {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            };
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => Kind::Symlink(readlinkat(dir, name, Vec::new())?.into_bytes()),
                FileType::CharacterDevice => Kind::Character(device()),
                FileType::BlockDevice => Kind::Block(device()),
                FileType::Fifo => Kind::Fifo,
                // It became something else since its directory was read.
                _ => return Err(Errno::STALE),
            };
            Ok((stat, kind))
        };
        let (stat, kind) = match read() {
            Ok(read) => read,
            Err(e) => return self.failed(path, e),
        };
        if self.link(&stat, &path)? {
            return Ok(());
        }
        let source = match self.config.dereference {
            true => MetadataSource::Followed(dir, name),
            false => MetadataSource::Named(dir, name),
        };
        match self.xattrs.read(source) {
            Ok(xattrs) => self.put(path, kind, &stat, xattrs).map(drop),
            Err(e) => self.failed(path, e),
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<(), Error> {
        // Should a fifo have taken the file's place, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | self.open_flags();
        let opened = if self.no_atime {
            match openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
                Err(Errno::PERM) => openat(dir, name, flags, Mode::empty()),
                opened => opened,
            }
        } else {
            openat(dir, name, flags, Mode::empty())
        };
        let opened = opened.and_then(|fd| fstat(&fd).map(|stat| (fd, stat)));
        let (fd, stat) = match opened {
            Ok(opened) => opened,
            Err(e) => return self.failed(path, e),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return self.failed(path, Errno::STALE);
        }
        if self.config.outputs.contains(&(stat.st_dev, stat.st_ino)) {
            return self.note(&Note::Itself(path));
        }
        if self.link(&stat, &path)? {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let shape = self
            .xattrs
            .read(MetadataSource::open(&fd))
            .and_then(|xattrs| Ok((xattrs, holes(&fd, &stat)?)));
        let (xattrs, map) = match shape {
            Ok(shape) => shape,
            Err(e) => return self.failed(path, e),
        };
        let content = Content { size, map };
        let segments = content.map.clone().unwrap_or_else(|| {
            vec![Segment {
                offset: 0,
                len: size,
            }]
        });
        if !self.put(path.clone(), Kind::File(content), &stat, xattrs)? {
            return Ok(());
        }
        self.content(&fd, &segments, &stat, path)
    }

    fn content(
        &mut self,
        fd: &OwnedFd,
        segments: &[Segment],
        before: &Stat,
        path: Vec<u8>,
    ) -> Result<(), Error> {
        for segment in segments {
            let mut done = 0;
            while done < segment.len {
                let room = self.writer.buffer(segment.len - done);
                let want = room.len();
                let got = match read_at(fd, room, segment.offset + done) {
                    Ok(got) => got,
                    Err(e) => {
                        self.writer.end_entry().map_err(Error::Output)?;
                        return self.failed(path, e);
                    }
                };
                if got < want {
                    // The file has shrunk; zero bytes keep what follows in its place.
                    room[got..].fill(0);
                }
                self.writer.advance(want).map_err(Error::Output)?;
                done += want as u64;
            }
        }
        self.writer.end_entry().map_err(Error::Output)?;
        let after = match fstat(fd) {
            Ok(after) => after,
            Err(e) => return self.failed(path, e),
        };
        if after.st_size != before.st_size || mtime(&after) != mtime(before) {
            return self.note(&Note::Changed(path));
        }
        Ok(())
    }

    /// Packs another name of an object that was packed before; remembers the first.
    fn link(&mut self, stat: &Stat, path: &[u8]) -> Result<bool, Error> {
        if !self.may_meet(stat) {
            return Ok(false);
        }
        let id = (stat.st_dev, stat.st_ino);
        let Some((first, then)) = self.links.get(&id).cloned() else {
            return Ok(false);
        };
        self.put(path.to_vec(), Kind::HardLink(first), stat, Vec::new())?;
        if snapshot(stat) != then {
            // It was written to, or it is gone and its inode serves another.
            self.note(&Note::Changed(path.to_vec()))?;
        }
        Ok(true)
    }

    /// Writes an entry's header; false when the entry cannot be told in an archive.
    fn put(
        &mut self,
        path: Vec<u8>,
        kind: Kind,
        stat: &Stat,
        mut xattrs: Vec<Xattr>,
    ) -> Result<bool, Error> {
        xattrs.retain(|xattr| self.config.xattrs.has(&xattr.name));
        let records: usize = xattrs
            .iter()
            .map(|x| match &x.name[..] {
                // These are told as text, too.
                acl::ACCESS | acl::DEFAULT => 5 * x.value.len() + 128,
                _ => 3 * x.name.len() + x.value.len() + 32,
            })
            .sum();
        let records = records as u64 + 2 * path.len() as u64 + 8192;
        let deep = path.split(|&b| b == b'/').count() > archive::name::DEPTH_MAX;
        // A directory's has a slash at its end.
        let long = path.len() >= archive::name::PATH_BYTES_MAX;
        if records > pax::RECORDS_BYTES_MAX || long || deep {
            self.note(&Note::TooLong(path))?;
            return Ok(false);
        }
        let mut meta = meta(stat, xattrs, &self.names);
        if let Some(max) = self.config.mtime_max {
            meta.mtime = meta.mtime.min(max);
        }
        let first = self.may_meet(stat) && !matches!(kind, Kind::Directory | Kind::HardLink(_));
        if matches!(kind, Kind::HardLink(_)) {
            // The first name has told everything.
            meta.mtime.nanos = 0;
        }
        let entry = Entry { path, kind, meta };
        self.writer.entry(&entry).map_err(Error::Output)?;
        if first {
            let id = (stat.st_dev, stat.st_ino);
            self.links.insert(id, (entry.path, snapshot(stat)));
        }
        Ok(true)
    }

    fn failed(&mut self, path: Vec<u8>, error: Errno) -> Result<(), Error> {
        let note = match error {
            Errno::NOENT => Note::Vanished(path),
            // Something else has taken its place.
            Errno::STALE | Errno::NOTDIR | Errno::NXIO => Note::Changed(path),
            Errno::LOOP if !self.config.dereference => Note::Changed(path),
            e => Note::Unreadable(path, e.into()),
        };
        self.note(&note)
    }

    fn note(&mut self, note: &Note) -> Result<(), Error> {
        if note.is_error() {
            if self.config.strict {
                return Err(Error::Strict(note.to_string()));
            }
            self.writer.count_error();
        }
        (self.tell)(note);
        Ok(())
    }
}
