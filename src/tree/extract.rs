//! From an archive to a tree.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::Scope;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, linkat, makedev, mkdirat, mknodat, symlinkat};

use super::dirs::Dirs;
use super::file_id::FileId;
use super::finish::Finisher;
use super::flush::Flusher;
use super::new_file::{Body, Job, create, write_all};
use super::path_table::{DirId, Made, PathTable};
use super::staging::Staging;
use super::writers::Writers;
use super::{Error, Existing, IdMap, MODE_BITS, across, proc_fd, restore};
use crate::archive::name::split;
use crate::archive::{
    Content, Device, Entry, Kind, ReadBytes, Reader, Segment, Totals, XattrChoice,
};
use crate::sys::entropy;
use crate::sys::sandbox::within;
use crate::sys::user_names::UserNames;

/// The greatest numbers of a device that Linux knows.
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

/// How a tree is restored.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct TreeUnpackConfig {
    /// The directory that will hold the tree.
    pub target: PathBuf,
    /// What happens to what it holds already.
    pub existing: Existing,
    /// Whether a tree that could not be completed is kept beside the target.
    pub keep_partial: bool,
    /// Whose the objects become.
    pub owners: IdMap,
    /// Whether device nodes are made.
    pub devices: bool,
    /// Whether set-user-id and set-group-id bits and capabilities of files are restored.
    pub setuid: bool,
    /// Which extended attributes are restored, and so whether access lists and labels are.
    pub xattrs: XattrChoice,
    /// Whether objects belong to the owners in the archive, rather than to this user.
    pub same_owner: bool,
    /// Whether the tree is on the disk before it takes its place.
    pub sync: bool,
    /// How much an archive may hold.
    pub limits: Limits,
}

impl TreeUnpackConfig {
    /// Restores everything into a new or empty directory.
    pub fn new(target: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            existing: Existing::Refuse,
            keep_partial: false,
            owners: IdMap::default(),
            devices: true,
            setuid: true,
            xattrs: XattrChoice::default(),
            same_owner: true,
            sync: true,
            limits: Limits {
                entries: u64::MAX,
                bytes: u64::MAX,
                memory: u64::MAX,
            },
        }
    }
}

/// Limits on an archive.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of all kinds.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of memory for what must be kept of entries until the end: where they are, and the
    /// metadata of directories.
    pub memory: u64,
}

/// What was restored, and what could not be for want of privilege.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeRestored {
    /// What the archive held.
    pub totals: Totals,
    /// Whether the archive was made by this program, and so had totals to compare.
    pub ours: bool,
    /// Objects whose owner or group is another than in the archive.
    pub owners_lost: u64,
    /// Attributes that an ordinary user may not set.
    pub xattrs_lost: u64,
    /// Device nodes that were left out.
    pub devices_left_out: u64,
}

/// Restores the tree of an uncompressed archive. The target changes at the very end, when the
/// whole archive was read and found good; whatever goes wrong before leaves it as it was. `tell`
/// hears where an incomplete tree was kept, and where an earlier run has left one.
///
/// The process's file mode creation mask is zero meanwhile.
///
/// # Errors
/// [`Error::Archive`], [`Error::Entry`] and [`Error::Limit`] when the archive is refused; the
/// others when the system or the target does not allow it.
pub fn unpack<R: ReadBytes + Send>(
    config: &TreeUnpackConfig,
    input: R,
    tell: &dyn Fn(&str),
) -> Result<TreeRestored, Error> {
    let staging = Staging::new(&config.target, config.existing, config.keep_partial)?;
    for note in staging.notes() {
        tell(note);
    }
    let names = UserNames::load();
    let umask = rustix::process::umask(Mode::empty());
    let path = staging.path();
    let result = restore(config, staging, input, umask, &names);
    rustix::process::umask(umask);
    if result.is_err() && config.keep_partial {
        tell(&format!(
            "the incomplete tree is kept in {}",
            path.display()
        ));
    }
    result
}

/// Restores on threads that have given up what they do not need.
fn restore<R: ReadBytes + Send>(
    config: &TreeUnpackConfig,
    staging: Staging,
    input: R,
    umask: Mode,
    names: &UserNames,
) -> Result<TreeRestored, Error> {
    let around = staging.around().try_clone();
    let around = around.map_err(Error::system("open", b""))?;
    let restore = || restore_into(config, staging, input, umask, names);
    within("sc-commit", Some(around.as_fd()), restore).map_err(Error::system_thread)?
}

fn restore_into<R: ReadBytes + Send>(
    config: &TreeUnpackConfig,
    staging: Staging,
    input: R,
    umask: Mode,
    names: &UserNames,
) -> Result<TreeRestored, Error> {
    let (root, made) = (staging.tree()?, staging.tree()?);
    // The same again: at the end more is needed than until then.
    let tree = root.try_clone().map_err(Error::system("open", b""))?;
    let extract = || std::thread::scope(|scope| extract(scope, config, root, input, names));
    let extracted = within("sc-restore", Some(tree.as_fd()), extract);
    let extracted = extracted.map_err(Error::system_thread)??;
    let Extracted {
        table,
        restorer,
        mut restored,
    } = extracted;
    let id = FileId::of(&made).map_err(Error::system("examine", b""))?;
    let mut finisher = Finisher {
        table,
        made: Dirs::new(made),
        restorer,
        device: id.device,
        umask,
        replaced: staging.replaced(),
        done: false,
    };
    let copy = |from: &OwnedFd, to: &OwnedFd| {
        across::packed(from, |tree| merge_into(config, to, tree, umask, names))
    };
    staging.commit(config.sync, &mut finisher, &copy)?;
    let skipped = finisher.restorer.take_skipped();
    restored.owners_lost = skipped.owners;
    restored.xattrs_lost = skipped.xattrs;
    Ok(restored)
}

/// Merges a tree of ours into an open directory.
fn merge_into<R: ReadBytes + Send>(
    config: &TreeUnpackConfig,
    to: &OwnedFd,
    tree: R,
    umask: Mode,
    names: &UserNames,
) -> Result<(), Error> {
    let config = TreeUnpackConfig {
        target: proc_fd(to).into(),
        existing: Existing::Merge,
        owners: IdMap::default(),
        xattrs: XattrChoice::all(),
        ..config.clone()
    };
    let staging = Staging::new(&config.target, config.existing, config.keep_partial)?;
    restore(&config, staging, tree, umask, names).map(drop)
}

/// Makes everything below `root` that an archive holds.
fn extract<'scope, R: ReadBytes>(
    scope: &'scope Scope<'scope, '_>,
    config: &TreeUnpackConfig,
    root: OwnedFd,
    input: R,
    names: &UserNames,
) -> Result<Extracted, Error> {
    let secret = entropy::seed()
        .map_err(|e| Error::system("hash the paths of", b"")(io::Error::other(e)))?;
    let resolve = |group: bool, name: &[u8]| names.number(group, name);
    let mut reader = Reader::new(input, &resolve);
    let restorer = restore::Restorer::new(config.setuid, config.same_owner);
    let writers = Writers::start(scope, &restorer)?;
    let flusher = match config.sync {
        true => Some(Flusher::start(scope, &root)?),
        false => None,
    };
    let extractor = Extractor {
        config,
        writers,
        flusher,
        device: FileId::of(&root)
            .map_err(Error::system("examine", b""))?
            .device,
        dirs: Dirs::new(root),
        table: PathTable::new(secret, config.limits.memory),
        implied: 0,
        restorer,
        devices_left_out: 0,
    };
    extractor.all(&mut reader)
}

struct Extractor<'a> {
    config: &'a TreeUnpackConfig,
    writers: Writers,
    flusher: Option<Flusher>,
    device: u64,
    dirs: Dirs,
    table: PathTable,
    /// Directories that the archive did not mention when something came into them.
    implied: u64,
    restorer: restore::Restorer,
    devices_left_out: u64,
}

/// What is left to do when all entries are there.
struct Extracted {
    table: PathTable,
    restorer: restore::Restorer,
    restored: TreeRestored,
}

impl Extractor<'_> {
    fn all<R: ReadBytes>(mut self, reader: &mut Reader<'_, R>) -> Result<Extracted, Error> {
        let Limits { entries, bytes, .. } = self.config.limits;
        while let Some(mut entry) = reader.next()? {
            let seen = reader.seen();
            if seen.entries.saturating_add(self.implied) > entries {
                return Err(Error::Limit {
                    what: "entries",
                    limit: entries,
                });
            }
            if seen.bytes > bytes {
                return Err(Error::Limit {
                    what: "bytes of content",
                    limit: bytes,
                });
            }
            if let Some(flusher) = &mut self.flusher {
                flusher.reached(seen.bytes);
            }
            // What is not wanted shall not wait with the rest.
            let xattrs = &mut entry.meta.xattrs;
            xattrs.retain(|xattr| self.config.xattrs.has(&xattr.name));
            self.config.owners.apply(&mut entry)?;
            self.entry(entry, reader)?;
        }
        self.writers.wait_idle()?;
        self.restorer.add_skipped(self.writers.skipped());
        Ok(Extracted {
            table: self.table,
            restorer: self.restorer,
            restored: TreeRestored {
                totals: reader.totals().unwrap_or(reader.seen()),
                ours: reader.version().is_some(),
                devices_left_out: self.devices_left_out,
                ..TreeRestored::default()
            },
        })
    }

    fn entry<R: ReadBytes>(
        &mut self,
        entry: Entry,
        reader: &mut Reader<'_, R>,
    ) -> Result<(), Error> {
        let path = &entry.path;
        let before = self.table.get(path);
        if let Kind::Directory = entry.kind {
            return self.directory(&entry, before);
        }
        if before.is_some() {
            return Err(refuse(path, "it is there twice"));
        }
        let (parent, name) = split(path);
        let dir = self.parent(parent)?;
        let mut seen = Made::Other;
        match &entry.kind {
            Kind::File(Content { size, map: None }) => {
                self.table.insert(path, seen)?;
                return self.file(dir, *size, entry, reader);
            }
            Kind::File(Content {
                size,
                map: Some(map),
            }) => self.sparse_file(&dir, name, &entry, (*size, map), reader)?,
            Kind::Symlink(target) => {
                symlinkat(&**target, &*dir, name).map_err(Error::system("create", path))?;
                self.restorer
                    .named(&dir, name, path, &entry.meta, FileType::Symlink)?;
            }
            Kind::HardLink(to) => seen = self.link(&dir, name, path, to)?,
            Kind::Fifo => {
                self.node(&dir, name, &entry, FileType::Fifo, 0)?;
            }
            Kind::Character(device) => {
                seen = self.device(&dir, name, &entry, FileType::CharacterDevice, *device)?;
            }
            Kind::Block(device) => {
                seen = self.device(&dir, name, &entry, FileType::BlockDevice, *device)?;
            }
            Kind::Directory => {}
        }
        self.table.insert(path, seen)
    }

    fn directory(&mut self, entry: &Entry, before: Option<Made>) -> Result<(), Error> {
        let path = &entry.path;
        let id = match before {
            // What is said comes after what was implied, and so has the last word.
            Some(Made::Directory(id)) if self.table.described(id).is_none() => id,
            Some(Made::Directory(_)) => return Err(refuse(path, "it is there twice")),
            Some(Made::Other | Made::LeftOut) => {
                return Err(refuse(path, "something else has its name"));
            }
            None => {
                self.parent(split(path).0)?;
                self.make_directory(path)?
            }
        };
        self.table.describe(id, &entry.meta)
    }

    /// Makes a directory in one that is there.
    fn make_directory(&mut self, path: &[u8]) -> Result<DirId, Error> {
        let (above, name) = split(path);
        let above = self.open(above)?;
        mkdirat(&*above, name, Mode::RWXU).map_err(Error::system("create", path))?;
        let id = FileId::of_name(&above, name).map_err(Error::system("examine", path))?;
        self.table.insert_directory(path, id.inode)
    }

    /// Opens a directory that was made.
    fn open(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Error> {
        let Some(Made::Directory(id)) = self.table.get(path) else {
            return Err(refuse(path, "it is no directory"));
        };
        let id = FileId {
            device: self.device,
            inode: self.table.inode(id),
        };
        self.dirs.get(path, id).map_err(Error::found_again(path))
    }

    /// The directory that an entry goes into; makes those that the archive does not mention.
    fn parent(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Error> {
        let mut missing = Vec::new();
        let mut at = path;
        loop {
            match self.table.get(at) {
                Some(Made::Directory(_)) => break,
                Some(Made::Other | Made::LeftOut) => {
                    return Err(refuse(
                        at,
                        "it is no directory, but other entries are in it",
                    ));
                }
                None => missing.push(at),
            }
            at = split(at).0;
        }
        for dir in missing.into_iter().rev() {
            self.implied += 1;
            let limit = self.config.limits.entries;
            if self.implied > limit {
                return Err(Error::Limit {
                    what: "entries",
                    limit,
                });
            }
            self.make_directory(dir)?;
        }
        self.open(path)
    }

    /// Has a file made, and lends what is in it.
    fn file<R: ReadBytes>(
        &mut self,
        dir: Arc<OwnedFd>,
        size: u64,
        entry: Entry,
        reader: &mut Reader<'_, R>,
    ) -> Result<(), Error> {
        let Entry { path, meta, .. } = entry;
        let job = |body| Job {
            dir,
            path,
            meta,
            body,
        };
        let mut part = reader.take_bytes()?;
        if part.len() as u64 == size {
            return self.writers.push(job(Body::Whole(part)));
        }
        let (parts_in, parts_out) = channel();
        self.writers.push(job(Body::Parts(size, parts_out)))?;
        while !part.is_empty() {
            if parts_in.send(part).is_err() {
                // Who makes it has failed, and need not see the rest.
                return self.writers.wait_idle();
            }
            part = reader.take_bytes()?;
        }
        Ok(())
    }

    /// Makes a file with holes.
    fn sparse_file<R: BufRead>(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        (size, map): (u64, &[Segment]),
        reader: &mut Reader<'_, R>,
    ) -> Result<(), Error> {
        let path = &entry.path;
        let (fd, given) = create(dir, name, path, &entry.meta, &self.restorer)?;
        let write_error = |e| Error::system("write", path)(e);
        rustix::fs::ftruncate(&fd, size).map_err(write_error)?;
        for segment in map {
            let start = rustix::fs::SeekFrom::Start(segment.offset);
            rustix::fs::seek(&fd, start).map_err(write_error)?;
            let mut remaining = segment.len;
            while remaining > 0 {
                let data = reader.data()?;
                if data.is_empty() {
                    break;
                }
                let len = data
                    .len()
                    .min(usize::try_from(remaining).unwrap_or(usize::MAX));
                write_all(&fd, &data[..len]).map_err(write_error)?;
                reader.consume(len);
                remaining -= len as u64;
            }
        }
        self.restorer.open(&fd, path, &entry.meta, given)
    }

    /// Another name of an earlier entry: known by our own table, not by what the system finds.
    fn link(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8], to: &[u8]) -> Result<Made, Error> {
        match self.table.get(to) {
            Some(Made::Other) => {}
            Some(Made::LeftOut) => {
                self.devices_left_out += 1;
                return Ok(Made::LeftOut);
            }
            Some(Made::Directory(_)) => {
                return Err(refuse(path, "it is a hard link to a directory"));
            }
            None => return Err(refuse(path, "it is a hard link to no earlier entry")),
        }
        // It may be a file that is not made yet.
        self.writers.wait_idle()?;
        let (to_dir, to_name) = split(to);
        let to_dir = self.open(to_dir)?;
        linkat(&*to_dir, to_name, dir, name, AtFlags::empty())
            .map_err(Error::system("link", path))?;
        Ok(Made::Other)
    }

    fn device(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        kind: FileType,
        device: Device,
    ) -> Result<Made, Error> {
        if device.major > MAJOR_MAX || device.minor > MINOR_MAX {
            return Err(refuse(&entry.path, "no device has such numbers"));
        }
        if !self.config.devices {
            self.devices_left_out += 1;
            return Ok(Made::LeftOut);
        }
        let number = makedev(device.major, device.minor);
        match self.node(dir, name, entry, kind, number) {
            Ok(()) => Ok(Made::Other),
            Err(Error::System { source, .. })
                if !self.restorer.root && source.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.devices_left_out += 1;
                Ok(Made::LeftOut)
            }
            Err(Error::System { path, source, .. }) => Err(Error::Device { path, source }),
            Err(e) => Err(e),
        }
    }

    fn node(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<(), Error> {
        let path = &entry.path;
        // With its mode at once: there may be no way to set it later.
        let mode = Mode::from_raw_mode(entry.meta.mode & MODE_BITS);
        mknodat(dir, name, kind, mode, device).map_err(Error::system("create", path))?;
        self.restorer.named(dir, name, path, &entry.meta, kind)
    }
}

fn refuse(path: &[u8], what: &'static str) -> Error {
    Error::Entry {
        path: path.to_vec(),
        what,
    }
}

impl std::fmt::Display for TreeRestored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Totals { entries, bytes, .. } = self.totals;
        write!(f, "{entries} entries with {bytes} bytes of content")
    }
}
