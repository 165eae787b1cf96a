//! From an archive to a tree.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{Builder, Scope};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, linkat, makedev, mkdirat, mknodat, symlinkat};

use super::dirs::Dirs;
use super::flush::Flusher;
use super::new_file::{Body, Job, create, write_all};
use super::sandbox::restrict_thread;
use super::staging::{INCOMPLETE_MARKER, Merged, Staging};
use super::writers::Writers;
use super::{Error, Existing, IdMap, restore};
use crate::archive::name::split;
use crate::archive::{Content, Device, Entry, Kind, Meta, ReadBytes, Reader, Segment, Totals};
use crate::sys::user_names::UserNames;

/// The most bytes of attributes of directories, which are kept until the end.
const KEPT_ATTRIBUTES_MAX: usize = 64 << 20;

/// The most bytes of paths of directories, likewise.
const KEPT_PATHS_MAX: usize = 256 << 20;

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
    /// Whether extended attributes, and so access lists and labels, are restored.
    pub xattrs: bool,
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
            xattrs: true,
            sync: true,
            limits: Limits {
                entries: u64::MAX,
                bytes: u64::MAX,
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
    let stage = Staging::new(&config.target, config.existing, config.keep_partial)?;
    for leftover in stage.leftovers() {
        tell(&format!("an earlier unpack left {}", leftover.display()));
    }
    let umask = rustix::process::umask(Mode::empty());
    let path = stage.path().to_path_buf();
    let result = restore_into(config, stage, input, umask);
    rustix::process::umask(umask);
    if result.is_err() && config.keep_partial {
        tell(&format!(
            "the incomplete tree is kept in {}",
            path.display()
        ));
    }
    result
}

fn restore_into<R: ReadBytes + Send>(
    config: &TreeUnpackConfig,
    stage: Staging,
    input: R,
    umask: Mode,
) -> Result<TreeRestored, Error> {
    let root = stage
        .dir()
        .try_clone()
        .map_err(Error::system("open", b""))?;
    let inside = stage.is_inside();
    let extracted = std::thread::scope(|scope| {
        // A thread of its own, since it gives rights up that are needed at the end.
        let extracting = Builder::new()
            .name("sc-restore".into())
            .spawn_scoped(scope, move || extract(scope, config, root, inside, input));
        let extracting = extracting.map_err(Error::system_thread)?;
        extracting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let Extracted {
        mut pending,
        mut restorer,
        mut restored,
    } = extracted;
    if !stage.is_inside() && pending.iter().all(|(path, _)| !path.is_empty()) {
        // The archive does not say what its root looks like.
        let meta = match stage.replaced() {
            Some(stat) => Implied::Like(stat.st_mode & 0o7777, stat.st_uid, stat.st_gid),
            None => Implied::New,
        };
        pending.push((Vec::new(), meta.into()));
    }
    // Deepest first: to set a directory's metadata may close it, and its time comes after its
    // contents.
    let depth =
        |path: &[u8]| path.iter().filter(|&&b| b == b'/').count() + usize::from(!path.is_empty());
    pending.sort_by_key(|(path, _)| std::cmp::Reverse(depth(path)));
    let root_time = pending.iter().find_map(|(path, meta)| match meta {
        Directory::Explicit(meta) if path.is_empty() => Some(meta.mtime),
        _ => None,
    });
    stage.commit(config.sync, root_time, |root, merged| {
        let root = root.try_clone().map_err(Error::system("open", b""))?;
        let mut dirs = Dirs::new(root);
        let context = FinishContext { umask, merged };
        for (path, meta) in &pending {
            finish_directory(&mut dirs, path, meta, &mut restorer, &context)?;
        }
        Ok(())
    })?;
    let skipped = restorer.take_skipped();
    restored.owners_lost = skipped.owners;
    restored.xattrs_lost = skipped.xattrs;
    Ok(restored)
}

/// Makes everything below `root` that an archive holds.
fn extract<'scope, R: ReadBytes>(
    scope: &'scope Scope<'scope, '_>,
    config: &TreeUnpackConfig,
    root: OwnedFd,
    inside: bool,
    input: R,
) -> Result<Extracted, Error> {
    let names = UserNames::load();
    // Whether the system can do that or not, nothing else depends on it.
    let _ = restrict_thread(&root);
    let resolve = |group: bool, name: &[u8]| names.number(group, name);
    let mut reader = Reader::new(input, &resolve);
    let restorer = restore::Restorer::new(config.setuid, config.xattrs);
    let writers = Writers::start(scope, &restorer)?;
    let flusher = match config.sync {
        true => Some(Flusher::start(scope, &root)?),
        false => None,
    };
    let extractor = Extractor {
        config,
        writers,
        flusher,
        dirs: Dirs::new(root),
        seen: HashMap::new(),
        pending: Vec::new(),
        implied: 0,
        kept_paths: 0,
        kept_attributes: 0,
        restorer,
        inside,
        devices_left_out: 0,
    };
    extractor.all(&mut reader)
}

/// What becomes of a directory at the end.
enum Directory {
    Explicit(Meta),
    Implied(Implied),
}

/// A directory that the archive has things in, but says nothing about.
#[derive(Clone, Copy)]
enum Implied {
    New,
    Like(u32, u32, u32),
}

impl From<Implied> for Directory {
    fn from(implied: Implied) -> Self {
        Self::Implied(implied)
    }
}

/// What directories of the archive's silence become.
struct FinishContext<'a> {
    umask: Mode,
    /// Directories that were in the target before.
    merged: &'a Merged,
}

fn finish_directory(
    dirs: &mut Dirs,
    path: &[u8],
    meta: &Directory,
    restorer: &mut restore::Restorer,
    context: &FinishContext<'_>,
) -> Result<(), Error> {
    let (parent, name) = split(path);
    let parent = dirs.get(parent).map_err(Error::system("open", parent))?;
    let fd = super::open_dir(&*parent, name).map_err(Error::system("open", path))?;
    match meta {
        Directory::Explicit(meta) => restorer.open(&fd, path, meta, restore::AlreadySet::Nothing),
        Directory::Implied(Implied::New) => {
            let stat = rustix::fs::fstat(&fd).map_err(Error::system("examine", path))?;
            if context.merged.contains(&(stat.st_dev, stat.st_ino)) {
                // It was there before, and the archive has nothing to say about it.
                return Ok(());
            }
            let mode = Mode::from_raw_mode(0o777) & !context.umask;
            rustix::fs::fchmod(&fd, mode).map_err(Error::system("set the mode of", path))
        }
        Directory::Implied(Implied::Like(mode, uid, gid)) => {
            let (uid, gid) = (restore::uid(*uid), restore::gid(*gid));
            // An ordinary user's own directory needs no new owner.
            let _ = rustix::fs::fchown(&fd, Some(uid), Some(gid));
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(*mode))
                .map_err(Error::system("set the mode of", path))
        }
    }
}

/// What stands at a path so far. Paths are kept as hashes: an archive may have very many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// A directory that was made because something is in it.
    Implied,
    Directory,
    Other,
    LeftOut,
}

struct Extractor<'a> {
    config: &'a TreeUnpackConfig,
    writers: Writers,
    flusher: Option<Flusher>,
    dirs: Dirs,
    seen: HashMap<[u8; 16], Made>,
    /// Directories, whose metadata comes last.
    pending: Vec<(Vec<u8>, Directory)>,
    /// Directories that the archive did not mention when something came into them.
    implied: u64,
    kept_paths: usize,
    kept_attributes: usize,
    restorer: restore::Restorer,
    inside: bool,
    devices_left_out: u64,
}

/// What is left to do when all entries are there.
struct Extracted {
    pending: Vec<(Vec<u8>, Directory)>,
    restorer: restore::Restorer,
    restored: TreeRestored,
}

impl Extractor<'_> {
    fn all<R: ReadBytes>(mut self, reader: &mut Reader<'_, R>) -> Result<Extracted, Error> {
        let Limits { entries, bytes } = self.config.limits;
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
            self.config.owners.apply(&mut entry, self.config.xattrs)?;
            self.entry(entry, reader)?;
        }
        self.writers.wait_idle()?;
        self.restorer.add_skipped(self.writers.skipped());
        Ok(Extracted {
            pending: self.pending,
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
        if self.inside && path.starts_with(INCOMPLETE_MARKER) {
            return Err(refuse(path, "its name is reserved in such a target"));
        }
        let key = key(path);
        let before = self.seen.get(&key).copied();
        if let Kind::Directory = entry.kind {
            return self.directory(&entry, key, before);
        }
        if before.is_some() {
            return Err(refuse(path, "it is there twice"));
        }
        let (parent, name) = split(path);
        let dir = self.parent(parent)?;
        let mut seen = Made::Other;
        match &entry.kind {
            Kind::File(Content { size, map: None }) => {
                self.seen.insert(key, seen);
                return self.file(dir, *size, entry, reader);
            }
            Kind::File(Content {
                size,
                map: Some(map),
            }) => self.sparse_file(&dir, name, &entry, (*size, map), reader)?,
            Kind::Symlink(target) => {
                symlinkat(&**target, &*dir, name).map_err(Error::system("create", path))?;
                self.restorer.named(&dir, name, path, &entry.meta, true)?;
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
        self.seen.insert(key, seen);
        Ok(())
    }

    fn directory(
        &mut self,
        entry: &Entry,
        key: [u8; 16],
        before: Option<Made>,
    ) -> Result<(), Error> {
        let path = &entry.path;
        match before {
            Some(Made::Directory) => return Err(refuse(path, "it is there twice")),
            Some(Made::Other | Made::LeftOut) => {
                return Err(refuse(path, "something else has its name"));
            }
            // What is said comes after what was implied, and so has the last word.
            Some(Made::Implied) => {}
            None if path.is_empty() => {}
            None => {
                let (parent, name) = split(path);
                let dir = self.parent(parent)?;
                mkdirat(&*dir, name, Mode::RWXU).map_err(Error::system("create", path))?;
            }
        }
        self.seen.insert(key, Made::Directory);
        // Only what is used at the end is kept; names of owners are not.
        let said = &entry.meta;
        let meta = Meta {
            mode: said.mode,
            uid: said.uid,
            gid: said.gid,
            mtime: said.mtime,
            xattrs: match self.config.xattrs {
                true => said.xattrs.clone(),
                false => Vec::new(),
            },
            ..Meta::default()
        };
        self.keep(path, Directory::Explicit(meta))
    }

    /// Keeps a directory's metadata for the end, within limits.
    fn keep(&mut self, path: &[u8], meta: Directory) -> Result<(), Error> {
        if let Directory::Explicit(meta) = &meta {
            let bytes = meta
                .xattrs
                .iter()
                .map(|x| x.name.len() + x.value.len() + 32);
            self.kept_attributes += bytes.sum::<usize>();
        }
        self.kept_paths += path.len();
        if self.kept_attributes > KEPT_ATTRIBUTES_MAX {
            return Err(refuse(
                path,
                "the directories up to it have too many attributes",
            ));
        }
        if self.kept_paths > KEPT_PATHS_MAX {
            return Err(refuse(path, "the directories up to it have too long paths"));
        }
        self.pending.push((path.to_vec(), meta));
        Ok(())
    }

    /// The directory that an entry goes into; makes those that the archive does not mention.
    fn parent(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Error> {
        let mut missing = Vec::new();
        let mut at = path;
        while !at.is_empty() {
            match self.seen.get(&key(at)) {
                Some(Made::Directory | Made::Implied) => break,
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
            let (above, name) = split(dir);
            let above = self.dirs.get(above).map_err(Error::system("open", above))?;
            mkdirat(&*above, name, Mode::RWXU).map_err(Error::system("create", dir))?;
            self.seen.insert(key(dir), Made::Implied);
            self.keep(dir, Implied::New.into())?;
        }
        self.dirs.get(path).map_err(Error::system("open", path))
    }

    /// Has a file made, and lends what is in it.
    fn file<R: ReadBytes>(
        &mut self,
        dir: Arc<OwnedFd>,
        size: u64,
        entry: Entry,
        reader: &mut Reader<'_, R>,
    ) -> Result<(), Error> {
        let Entry { path, mut meta, .. } = entry;
        if !self.config.xattrs {
            // They would only wait with it.
            meta.xattrs = Vec::new();
        }
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
        match self.seen.get(&key(to)) {
            Some(Made::Other) => {}
            Some(Made::LeftOut) => {
                self.devices_left_out += 1;
                return Ok(Made::LeftOut);
            }
            Some(Made::Directory | Made::Implied) => {
                return Err(refuse(path, "it is a hard link to a directory"));
            }
            None => return Err(refuse(path, "it is a hard link to no earlier entry")),
        }
        // It may be a file that is not made yet.
        self.writers.wait_idle()?;
        let (to_dir, to_name) = split(to);
        let to_dir = self
            .dirs
            .get(to_dir)
            .map_err(Error::system("open", to_dir))?;
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
                if !self.restorer.root && source.kind() == std::io::ErrorKind::PermissionDenied =>
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
        mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device)
            .map_err(Error::system("create", path))?;
        self.restorer.named(dir, name, path, &entry.meta, false)
    }
}

fn key(path: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(path);
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    key
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
