//! A private directory in which a tree grows, and the record by which it is known as ours: a name
//! alone proves nothing, since others may give any name to anything.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, StatxFlags, flock, fstat, major, minor,
    mkdirat, openat, statx,
};
use rustix::io::{Errno, Result, pread, pwrite};

use super::file_id::FileId;
use super::remove::{remove, remove_empty};
use super::{Error, open_dir, walk};
use crate::sys::{entropy, signals};

/// The tree inside of a stage.
pub(super) const TREE: &[u8] = b"tree";

/// What was in the place of the tree, on its way out.
pub(super) const OLD: &[u8] = b"old";

/// What we wrote about the stage when we made it.
const RECORD: &[u8] = b"stage";

/// What the record ends with from when the target may be neither the old tree nor the new.
const MOVING: &[u8] = b"moving\n";

/// The longest record.
const RECORD_BYTES_MAX: usize = 512;

const PREFIX: &str = ".sealcast-";
const SUFFIX: &str = ".partial";

/// The digits of a name between those.
const DIGITS: usize = 16;

/// A stage that this run has made.
pub(super) struct Stage {
    parent: OwnedFd,
    name: Vec<u8>,
    path: PathBuf,
    dir: OwnedFd,
    id: FileId,
    record: OwnedFd,
    /// How long the record is.
    recorded: u64,
    keep: bool,
    /// Held while the tree becomes the target: a signal waits for that.
    busy: Mutex<()>,
    /// Whether the contents of the target may be neither the old nor the new: from then on the
    /// stage may hold the only copy of something, and only success removes it.
    halfway: AtomicBool,
    interrupted: AtomicBool,
}

impl Stage {
    /// Makes a stage in the directory `parent`, whose path is `at`. A signal removes it.
    pub(super) fn new(
        parent: OwnedFd,
        at: &Path,
        keep: bool,
    ) -> std::result::Result<(Arc<Self>, signals::Guard), Error> {
        let seed = entropy::seed().map_err(|e| {
            let error = std::io::Error::other(e);
            Error::system("name a stage in", at.as_os_str().as_bytes())(error)
        })?;
        let name = format!("{PREFIX}{}{SUFFIX}", hex::encode(&seed[..DIGITS / 2]));
        let path = at.join(&name);
        let made = Arc::new(OnceLock::<Arc<Self>>::new());
        let interrupted = Arc::clone(&made);
        signals::on_interrupt_of(
            move || {
                let stage = Arc::new(Self::make(parent, name.into_bytes(), path, keep)?);
                let _ = made.set(Arc::clone(&stage));
                Ok(stage)
            },
            move || {
                if let Some(stage) = interrupted.get() {
                    stage.interrupt();
                }
            },
        )
    }

    fn make(
        parent: OwnedFd,
        name: Vec<u8>,
        path: PathBuf,
        keep: bool,
    ) -> std::result::Result<Self, Error> {
        let raw = path.as_os_str().as_bytes().to_vec();
        let prepare = || Error::system("prepare", &raw);
        mkdirat(&parent, &*name, Mode::RWXU).map_err(Error::system("create", &raw))?;
        let dir = open_dir(&parent, &name).map_err(|e| prepare()(e))?;
        if !walk::some(&dir).map_err(|e| prepare()(e))?.is_empty() {
            // Somebody was faster, and has put another directory into its place.
            return Err(Error::Swapped(raw));
        }
        let id = FileId::of(&dir).map_err(|e| prepare()(e))?;
        let furnished = furnish(&dir, &name).map_err(|e| prepare()(e));
        let furnished = furnished.and_then(|found| found.ok_or(Error::Swapped(raw.clone())));
        let (record, recorded) = furnished.inspect_err(|_| {
            for inner in [TREE, RECORD] {
                let _ = remove(dir.as_fd(), inner);
            }
            let _ = remove_empty(parent.as_fd(), &name, id);
        })?;
        Ok(Self {
            parent,
            name,
            path,
            dir,
            id,
            record,
            recorded,
            keep,
            busy: Mutex::new(()),
            halfway: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
        })
    }

    /// The stage itself, which holds the tree.
    pub(super) const fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// The directory that the stage is in.
    pub(super) const fn parent(&self) -> &OwnedFd {
        &self.parent
    }

    /// The stage's name.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The stage's path, for people.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a signal waiting.
    pub(super) fn busy(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the target is from here on neither the old tree nor the new.
    pub(super) fn moving(&self) -> Result<()> {
        pwrite(&self.record, MOVING, self.recorded)?;
        self.halfway.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Removes the stage when it is not needed any more. The record goes last: until then a later
    /// run knows it.
    ///
    /// # Errors
    /// Those of the system, and [`Errno::STALE`] when another directory has its name.
    pub(super) fn remove(&self) -> Result<()> {
        for name in [TREE, OLD, RECORD] {
            remove(self.dir.as_fd(), name)?;
        }
        remove_empty(self.parent.as_fd(), &self.name, self.id)
    }

    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        // Never given back: the stage must not become the target while the signal ends us.
        std::mem::forget(self.busy());
        self.discard();
    }

    /// Removes the stage, unless it is to be kept.
    pub(super) fn clean(&self) {
        if self.interrupted.load(Ordering::SeqCst) {
            // The handler is at it, and the signal will end us: say nothing more.
            loop {
                std::thread::park();
            }
        }
        self.discard();
    }

    fn discard(&self) {
        if self.keep || self.halfway.load(Ordering::SeqCst) {
            return;
        }
        // Another thread may still be adding files to it for a moment.
        for _ in 0..200 {
            match self.remove() {
                Err(Errno::NOTEMPTY | Errno::NOENT) => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                _ => return,
            }
        }
    }
}

/// Makes what is in a stage; nothing that it inherits may reach the tree. Gives its record with the
/// length of that, or nothing if the directory belongs to somebody else.
fn furnish(dir: &OwnedFd, name: &[u8]) -> Result<Option<(OwnedFd, u64)>> {
    for list in [crate::archive::acl::ACCESS, crate::archive::acl::DEFAULT] {
        // There is mostly none to remove.
        let _ = rustix::fs::fremovexattr(dir, list);
    }
    // A file system without modes may refuse it.
    let _ = rustix::fs::fchmod(dir, Mode::RWXU);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let record = openat(dir, RECORD, flags, Mode::RUSR | Mode::WUSR)?;
    // What we make is ours, also where the file system or its server gives it another owner.
    if fstat(dir)?.st_uid != fstat(&record)?.st_uid {
        return Ok(None);
    }
    // Where there are no locks, other runs may print a needless warning.
    let _ = flock(&record, FlockOperation::NonBlockingLockExclusive);
    let line = line(dir, name)?;
    pwrite(&record, line.as_bytes(), 0)?;
    mkdirat(dir, TREE, Mode::RWXU)?;
    Ok(Some((record, line.len() as u64)))
}

/// What tells a stage from everything else: its name, device and inode, and when it was born, where
/// the file system knows that.
fn line(dir: &OwnedFd, name: &[u8]) -> Result<String> {
    let stat = fstat(dir)?;
    let born = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok();
    let born = born.filter(|x| x.stx_mask & StatxFlags::BTIME.bits() != 0);
    let born = born.map_or((0, 0), |x| (x.stx_btime.tv_sec, x.stx_btime.tv_nsec));
    Ok(format!(
        "sealcast stage {} {}:{} {} {}.{:09}\n",
        String::from_utf8_lossy(name),
        major(stat.st_dev),
        minor(stat.st_dev),
        stat.st_ino,
        born.0,
        born.1
    ))
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

/// A stage that an earlier run has left, or that another is at work in.
pub(super) struct FoundStage {
    pub(super) path: PathBuf,
    dir: OwnedFd,
    id: FileId,
    /// Whether a run has it.
    pub(super) live: bool,
    /// Whether its tree was being moved into the target.
    pub(super) moving: bool,
    /// Held so that no other run takes it for left.
    _record: OwnedFd,
}

impl FoundStage {
    /// Removes it from `parent`.
    pub(super) fn remove(self, parent: &OwnedFd) -> Result<()> {
        for name in [TREE, OLD, RECORD] {
            remove(self.dir.as_fd(), name)?;
        }
        let name = self.path.file_name().unwrap_or_default();
        remove_empty(parent.as_fd(), name.as_bytes(), self.id)
    }
}

/// The stages of this user in a directory, by their records; `at` is its path.
pub(super) fn find(dir: &OwnedFd, at: &Path) -> Result<Vec<FoundStage>> {
    let mut names = Vec::new();
    walk::each(dir, |name, _| {
        if has_form(name) {
            names.push(name.to_vec());
        }
        true
    })?;
    let found = names.iter().filter_map(|name| {
        let mut found = examine(dir, name).ok()??;
        found.path = at.join(OsStr::from_bytes(name));
        Some(found)
    });
    Ok(found.collect())
}

fn has_form(name: &[u8]) -> bool {
    let digits = name
        .strip_prefix(PREFIX.as_bytes())
        .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// What `name` in `dir` is, if its record fits it.
fn examine(parent: &OwnedFd, name: &[u8]) -> Result<Option<FoundStage>> {
    let dir = open_dir(parent, name)?;
    let stat = fstat(&dir)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let record = openat(&dir, RECORD, flags, Mode::empty())?;
    let written = fstat(&record)?;
    let regular = FileType::from_raw_mode(written.st_mode) == FileType::RegularFile;
    if !is_ours(&stat) || !is_ours(&written) || !regular || written.st_nlink != 1 {
        return Ok(None);
    }
    let mut text = [0; RECORD_BYTES_MAX];
    let len = pread(&record, &mut text, 0)?;
    let Some(rest) = text[..len].strip_prefix(line(&dir, name)?.as_bytes()) else {
        return Ok(None);
    };
    let locked = flock(&record, FlockOperation::NonBlockingLockExclusive);
    Ok(Some(FoundStage {
        path: PathBuf::new(),
        id: FileId::from(&stat),
        dir,
        live: locked == Err(Errno::WOULDBLOCK),
        moving: rest == MOVING,
        _record: record,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;

    fn open(path: &Path) -> OwnedFd {
        open_dir(CWD, path.as_os_str().as_bytes()).unwrap()
    }

    fn left(at: &Path) -> Vec<(PathBuf, bool, bool)> {
        let found = find(&open(at), at).unwrap().into_iter();
        found.map(|f| (f.path, f.live, f.moving)).collect()
    }

    /// A stage of a run that was killed.
    fn killed(at: &Path) -> PathBuf {
        let (stage, _guard) = Stage::new(open(at), at, true).unwrap();
        fs::write(stage.path().join("tree/file"), "x").unwrap();
        stage.path().to_path_buf()
    }

    #[test]
    fn a_stage_is_known_by_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let (stage, _guard) = Stage::new(open(dir.path()), dir.path(), false).unwrap();
        let path = stage.path().to_path_buf();
        assert_eq!(left(dir.path()), [(path.clone(), true, false)]);
        stage.moving().unwrap();
        assert_eq!(left(dir.path()), [(path, true, true)]);
        stage.remove().unwrap();
        assert_eq!(left(dir.path()), []);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_only_looks_like_a_stage_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = killed(dir.path());
        assert_eq!(left(dir.path()), [(path.clone(), false, false)]);
        // Another name, as its owner's neighbour may give it; then a copy; then an open one.
        let other = dir.path().join(".sealcast-0123456789abcdef.partial");
        fs::rename(&path, &other).unwrap();
        assert_eq!(left(dir.path()), []);
        fs::create_dir(&path).unwrap();
        fs::copy(other.join("stage"), path.join("stage")).unwrap();
        assert_eq!(left(dir.path()), []);
        fs::remove_dir_all(&path).unwrap();
        fs::rename(&other, &path).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(left(dir.path()), []);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        let [found] = &mut find(&open(dir.path()), dir.path()).unwrap()[..] else {
            panic!("it is not found");
        };
        assert!(!found.live);
        fs::hard_link(path.join("stage"), dir.path().join("kept")).unwrap();
        assert_eq!(left(dir.path()), []);
    }

    #[test]
    fn a_directory_in_the_place_of_a_stage_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (stage, _guard) = Stage::new(open(dir.path()), dir.path(), false).unwrap();
        fs::rename(stage.path(), dir.path().join("aside")).unwrap();
        fs::create_dir(stage.path()).unwrap();
        fs::write(stage.path().join("precious"), "x").unwrap();
        assert_eq!(stage.remove(), Err(Errno::STALE));
        assert!(stage.path().join("precious").exists());
    }
}
