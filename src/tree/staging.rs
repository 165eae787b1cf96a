//! The place where a tree grows unseen, and how it becomes the target at the end.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, openat, renameat,
    renameat_with, statat,
};
use rustix::io::Errno;

use super::remove::remove;
use super::{Error, mounts, open_dir, proc_path, walk};
use crate::archive::Time;
use crate::sys::{clock, entropy, signals};

/// The file that says that a target is not complete, while its contents are moved into place.
pub(super) const INCOMPLETE_MARKER: &[u8] = b".sealcast-incomplete";

const STAGE_PREFIX: &str = ".sealcast-";
const STAGE_SUFFIX: &str = ".partial";

/// What happens to the contents of a target that has some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Existing {
    /// They are kept, and the archive is refused.
    #[default]
    Refuse,
    /// They are removed when the new tree is complete.
    Replace,
    /// They stay, except for what the archive has under the same names.
    Merge,
}

/// A private directory on the target's file system, which goes away unless it is committed.
pub(super) struct Staging {
    shared: Arc<StagingDir>,
    dir: OwnedFd,
    target: PathBuf,
    plan: Plan,
    leftovers: Vec<PathBuf>,
    _guard: signals::Guard,
}

/// What a signal handler needs as well.
struct StagingDir {
    parent: OwnedFd,
    name: Vec<u8>,
    path: PathBuf,
    keep: bool,
    /// Whether it is inside the target, and the marker beside it.
    inside: bool,
    /// Held while the stage becomes the target: a signal waits for that.
    busy: Mutex<()>,
    /// Whether the contents of the target may be neither the old nor the new: from then on the
    /// stage may hold the only copy of something, and only success removes it.
    halfway: AtomicBool,
    interrupted: AtomicBool,
}

/// Directories that were in the target before, by device and number.
pub(super) type Merged = HashSet<(u64, u64)>;

/// What a stage takes the place of by being renamed.
#[derive(Clone, Copy)]
enum Over {
    /// Nothing has the name.
    Nothing,
    /// An empty directory, which gives way.
    Empty(Stat),
    /// A full one, with which it is exchanged.
    Full(Stat),
}

enum Plan {
    /// The stage becomes the target by being renamed.
    Rename { name: Vec<u8>, over: Over },
    /// The target cannot be renamed over: the stage is inside, and its contents move out.
    Inside {
        target: OwnedFd,
        existing: Existing,
        marker: OwnedFd,
    },
}

impl Staging {
    /// Judges the target and makes a stage for it.
    pub(super) fn new(target: &Path, existing: Existing, keep: bool) -> Result<Self, Error> {
        let raw = target.as_os_str().as_bytes();
        let target = match fs::canonicalize(target) {
            Ok(path) => path,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => absent(target)?,
            Err(e) => return Err(Error::system("find", raw)(e)),
        };
        let there = match statat(CWD, &target, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(Error::system("examine", raw)(e)),
        };
        if there.is_some_and(|s| FileType::from_raw_mode(s.st_mode) != FileType::Directory) {
            return Err(Error::NotDirectory(target));
        }
        if there.is_some() {
            return Self::over(target, there, existing, keep);
        }
        Self::beside(target, Over::Nothing, keep)
    }

    /// A stage for a target that is there.
    fn over(
        target: PathBuf,
        there: Option<Stat>,
        existing: Existing,
        keep: bool,
    ) -> Result<Self, Error> {
        let raw = target.as_os_str().as_bytes();
        let dir = open_dir(CWD, raw).map_err(Error::system("open", raw))?;
        let mount = is_mount(&dir, &target);
        let names = walk::list(&dir).map_err(Error::system("read", raw))?;
        let full = names
            .iter()
            .any(|(name, _)| !(is_leftover(name) || mount && name == b"lost+found"));
        if full && existing == Existing::Refuse {
            return Err(Error::NotEmpty(target));
        }
        let here = fs::metadata(".").ok().is_some_and(|m| {
            use std::os::unix::fs::MetadataExt;
            there.is_some_and(|s| (m.dev(), m.ino()) == (s.st_dev, s.st_ino))
        });
        let parent = target.parent().unwrap_or(Path::new("/"));
        let writable = rustix::fs::accessat(
            CWD,
            parent,
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
            AtFlags::EACCESS,
        )
        .is_ok();
        // Leftovers are in a directory that an earlier run could not rename either.
        let leftovers = names.iter().any(|(name, _)| is_leftover(name));
        if mount || here || !writable || leftovers || existing == Existing::Merge {
            return Self::inside(target, dir, existing, keep);
        }
        let over = match there {
            None => Over::Nothing,
            Some(stat) if full => Over::Full(stat),
            Some(stat) => Over::Empty(stat),
        };
        Self::beside(target, over, keep)
    }

    fn beside(target: PathBuf, over: Over, keep: bool) -> Result<Self, Error> {
        let raw = target.as_os_str().as_bytes();
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::NotDirectory(target));
        };
        let name = name.as_bytes().to_vec();
        let parent_fd =
            open_dir(CWD, parent.as_os_str().as_bytes()).map_err(Error::system("open", raw))?;
        let plan = Plan::Rename { name, over };
        let parent = parent.to_path_buf();
        let found = leftovers(&parent_fd, &parent);
        let mut stage = Self::make(target, parent_fd, &parent, plan, keep)?;
        stage.leftovers = found;
        Ok(stage)
    }

    fn inside(
        target: PathBuf,
        dir: OwnedFd,
        existing: Existing,
        keep: bool,
    ) -> Result<Self, Error> {
        let marker_error = |e: Errno| Error::system("create", INCOMPLETE_MARKER)(e);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let marker = openat(&dir, INCOMPLETE_MARKER, flags, Mode::RUSR | Mode::WUSR)
            .map_err(marker_error)?;
        match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy(target)),
            Err(e) => return Err(marker_error(e)),
        }
        if let Some(stage) = halfway(&marker).map_err(marker_error)? {
            let stage = target.join(std::ffi::OsStr::from_bytes(&stage));
            return Err(Error::Unfinished { target, stage });
        }
        // What an earlier run left when it was killed; the lock says that no other run works on it.
        for (name, _) in walk::list(&dir).map_err(marker_error)? {
            if is_leftover(&name) && name != INCOMPLETE_MARKER {
                remove(dir.as_fd(), &name).map_err(Error::system("remove", &name))?;
            }
        }
        let parent = dir
            .try_clone()
            .map_err(Error::system("open", INCOMPLETE_MARKER))?;
        let plan = Plan::Inside {
            target: dir,
            existing,
            marker,
        };
        let at = target.clone();
        Self::make(target, parent, &at, plan, keep).inspect_err(|_| {
            let at = at.as_os_str().as_bytes();
            let _ = rustix::fs::unlink([at, b"/", INCOMPLETE_MARKER].concat());
        })
    }

    fn make(
        target: PathBuf,
        parent: OwnedFd,
        parent_path: &Path,
        plan: Plan,
        keep: bool,
    ) -> Result<Self, Error> {
        let seed = entropy::seed().map_err(|e| {
            Error::system("name a stage in", parent_path.as_os_str().as_bytes())(
                std::io::Error::other(e),
            )
        })?;
        let name = format!("{STAGE_PREFIX}{}{STAGE_SUFFIX}", hex::encode(&seed[..8]));
        let path = parent_path.join(&name);
        let raw = path.as_os_str().as_bytes();
        let name = name.into_bytes();
        let shared = Arc::new(StagingDir {
            parent,
            name,
            path: path.clone(),
            keep,
            inside: matches!(plan, Plan::Inside { .. }),
            busy: Mutex::new(()),
            halfway: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
        });
        let (maker, handler) = (Arc::clone(&shared), Arc::clone(&shared));
        let made = signals::on_interrupt_of(
            move || {
                rustix::fs::mkdirat(&maker.parent, &*maker.name, Mode::RWXU)
                    .map_err(Error::system("create", raw))?;
                let dir = open_dir(&maker.parent, &maker.name).and_then(|dir| {
                    private(&dir)?;
                    Ok(dir)
                });
                dir.map_err(|e| {
                    maker.clean();
                    Error::system("prepare", raw)(e)
                })
            },
            move || handler.interrupt(),
        );
        let (dir, guard) = made?;
        occupy(&dir);
        Ok(Self {
            shared,
            dir,
            target,
            plan,
            leftovers: Vec::new(),
            _guard: guard,
        })
    }

    /// Where the tree grows.
    pub(super) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// The stage's path, for people.
    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Stages beside the target that earlier runs left, being killed or told to keep them. Whose
    /// they are is not known, so that only a person may remove them.
    pub(super) fn leftovers(&self) -> &[PathBuf] {
        &self.leftovers
    }

    /// What was at the target before, when the stage takes its place whole.
    pub(super) fn replaced(&self) -> Option<&Stat> {
        match &self.plan {
            Plan::Rename {
                over: Over::Empty(stat) | Over::Full(stat),
                ..
            } => Some(stat),
            Plan::Rename { .. } | Plan::Inside { .. } => None,
        }
    }

    /// Whether the tree's contents move into the target one by one.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self.plan, Plan::Inside { .. })
    }

    /// Makes the stage the target. `finish` sets the directories' metadata below the root that it
    /// is given: before a rename, but after things were moved into an existing target; it also
    /// hears which directories were there before.
    pub(super) fn commit(
        self,
        sync: bool,
        root_time: Option<Time>,
        finish: impl FnOnce(&OwnedFd, &Merged) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let _busy = shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.plan {
            Plan::Rename { name, over } => {
                if matches!(over, Over::Full(_)) {
                    let above = self.target.parent().unwrap_or(Path::new("/"));
                    mounts::refuse(shared.parent.as_fd(), name, above)?;
                }
                finish(&self.dir, &Merged::new())?;
                self.flush(&self.dir, sync)?;
                self.rename(name, *over, sync)
            }
            Plan::Inside {
                target,
                existing,
                marker,
            } => {
                self.check_inside(target, *existing)?;
                // The marker tells a later run that this stage is not only a leftover.
                rustix::io::write(marker, &shared.name)
                    .map_err(Error::system("write", INCOMPLETE_MARKER))?;
                self.flush(&self.dir, sync)?;
                shared.halfway.store(true, Ordering::SeqCst);
                let moved = self.fill(target, *existing, sync, finish);
                moved.map_err(|source| Error::Halfway {
                    source: Box::new(source),
                    target: self.target.clone(),
                    stage: shared.path.clone(),
                })?;
                // All of this has changed the root once more.
                let times = root_time.map(super::restore::timestamps);
                times
                    .map_or(Ok(()), |times| rustix::fs::futimens(target, &times))
                    .map_err(Error::system("set the time of", self.raw_target()))
            }
        }
    }

    fn raw_target(&self) -> &[u8] {
        self.target.as_os_str().as_bytes()
    }

    fn flush(&self, dir: &OwnedFd, sync: bool) -> Result<(), Error> {
        match sync {
            true => rustix::fs::syncfs(dir).map_err(Error::system("write out", self.raw_target())),
            false => Ok(()),
        }
    }

    /// Gives the stage the target's name.
    fn rename(&self, name: &[u8], over: Over, sync: bool) -> Result<(), Error> {
        let (shared, parent, raw) = (&self.shared, &self.shared.parent, self.raw_target());
        // The old tree is to be removed under the stage's name, which takes a while.
        let _old = open_dir(parent, name).inspect(occupy);
        match over {
            Over::Full(_) => swap_in(shared, name).map_err(Error::system("replace", raw))?,
            Over::Empty(_) => renameat(parent, &*shared.name, parent, name)
                .map_err(Error::system("replace", raw))?,
            Over::Nothing => {
                rename_new(parent, &shared.name, name).map_err(Error::system("create", raw))?;
            }
        }
        if sync {
            rustix::fs::fsync(parent).map_err(Error::system("write out", raw))?;
        }
        // After a swap this is the old tree; otherwise it is nothing.
        remove(parent.as_fd(), &shared.name).map_err(Error::system("remove", &shared.name))
    }

    /// Refuses what could not be moved into the target, before anything is changed there.
    fn check_inside(&self, target: &OwnedFd, existing: Existing) -> Result<(), Error> {
        if existing != Existing::Replace {
            return check_merge(&self.dir, target, &self.target);
        }
        for name in self.old(target)? {
            mounts::refuse(target.as_fd(), &name, &self.target)?;
        }
        Ok(())
    }

    /// Moves what is in the stage into the target.
    fn fill(
        &self,
        target: &OwnedFd,
        existing: Existing,
        sync: bool,
        finish: impl FnOnce(&OwnedFd, &Merged) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if existing == Existing::Replace {
            self.clear(target)?;
        }
        let mut merged = Merged::new();
        move_in(&self.dir, target, &self.target, &mut merged)?;
        finish(target, &merged)?;
        self.flush(target, sync)?;
        remove(target.as_fd(), &self.shared.name)
            .map_err(Error::system("remove", self.raw_target()))?;
        rustix::fs::unlinkat(target, INCOMPLETE_MARKER, AtFlags::empty())
            .map_err(Error::system("remove", INCOMPLETE_MARKER))
    }

    /// The names that were in the target before.
    fn old(&self, target: &OwnedFd) -> Result<Vec<Vec<u8>>, Error> {
        let raw = self.target.as_os_str().as_bytes();
        let names = walk::list(target).map_err(Error::system("read", raw))?;
        let old = |name: &Vec<u8>| {
            *name != self.shared.name && name != INCOMPLETE_MARKER && name != b"lost+found"
        };
        Ok(names
            .into_iter()
            .map(|(name, _)| name)
            .filter(old)
            .collect())
    }

    /// Removes what was in the target before.
    fn clear(&self, target: &OwnedFd) -> Result<(), Error> {
        for name in self.old(target)? {
            remove(target.as_fd(), &name).map_err(Error::system("remove", &name))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.shared.clean();
        self.shared.unmark();
    }
}

impl StagingDir {
    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        // Never given back: the stage must not become the target while the signal ends us.
        std::mem::forget(self.busy.lock().unwrap_or_else(PoisonError::into_inner));
        self.clean_now();
        self.unmark();
    }

    fn unmark(&self) {
        if self.inside && !self.keep && !self.halfway.load(Ordering::SeqCst) {
            let _ = rustix::fs::unlinkat(&self.parent, INCOMPLETE_MARKER, AtFlags::empty());
        }
    }

    /// Removes the stage, unless it is to be kept.
    fn clean(&self) {
        if self.interrupted.load(Ordering::SeqCst) {
            // The handler is at it, and the signal will end us: say nothing more.
            loop {
                std::thread::park();
            }
        }
        self.clean_now();
    }

    fn clean_now(&self) {
        if self.keep || self.halfway.load(Ordering::SeqCst) {
            return;
        }
        // Another thread may still be adding files to it for a moment.
        for _ in 0..200 {
            match remove(self.parent.as_fd(), &self.name) {
                Err(Errno::NOTEMPTY | Errno::NOENT) => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                _ => return,
            }
        }
    }
}

/// A target that is not there: its directory must be.
fn absent(target: &Path) -> Result<PathBuf, Error> {
    let raw = target.as_os_str().as_bytes();
    if fs::symlink_metadata(target).is_ok() {
        // A link that leads nowhere.
        return Err(Error::NotDirectory(target.into()));
    }
    let name = target
        .file_name()
        .ok_or_else(|| Error::NotDirectory(target.into()))?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = fs::canonicalize(parent).map_err(Error::system("find the directory of", raw))?;
    Ok(parent.join(name))
}

fn is_leftover(name: &[u8]) -> bool {
    name == INCOMPLETE_MARKER
        || (name.starts_with(STAGE_PREFIX.as_bytes()) && name.ends_with(STAGE_SUFFIX.as_bytes()))
}

/// Locks a stage, so that other runs do not report it as left behind. If locking is unsupported,
/// they may print a needless warning.
fn occupy(dir: &OwnedFd) {
    let _ = rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive);
}

/// Stages of ours in a directory that no run works in.
fn leftovers(dir: &OwnedFd, at: &Path) -> Vec<PathBuf> {
    let names = walk::list(dir).unwrap_or_default();
    let names = names.iter().map(|(name, _)| &**name);
    let idle = |name: &&[u8]| {
        *name != INCOMPLETE_MARKER
            && is_leftover(name)
            && open_dir(dir, name).is_ok_and(|stage| {
                !begins(&stage)
                    && rustix::fs::flock(&stage, FlockOperation::NonBlockingLockExclusive).is_ok()
            })
    };
    let names = names.filter(idle);
    names
        .map(|name| at.join(std::ffi::OsStr::from_bytes(name)))
        .collect()
}

/// Whether a stage is only just being made: who makes it locks it in a moment.
fn begins(stage: &OwnedFd) -> bool {
    let empty = || walk::list(stage).is_ok_and(|names| names.is_empty());
    let young = |stat: Stat| {
        let changed = u64::try_from(stat.st_ctime).unwrap_or(0);
        clock::unix_seconds().abs_diff(changed) <= 1
    };
    rustix::fs::fstat(stage).is_ok_and(young) && empty()
}

/// The stage that an earlier run named when it began to move it into the target.
fn halfway(marker: &OwnedFd) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut name = [0; 256];
    let len = rustix::io::pread(marker, &mut name, 0)?;
    Ok((len > 0).then(|| name[..len].to_vec()))
}

fn is_mount(dir: &OwnedFd, target: &Path) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    if let Ok(x) = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
        && x.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return x.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    }
    let device = |path: &Path| rustix::fs::stat(path).map(|s| s.st_dev).ok();
    target
        .parent()
        .is_none_or(|parent| device(parent) != device(target))
}

/// Takes from a new directory what it inherited: nothing of it may reach the tree.
fn private(dir: &OwnedFd) -> rustix::io::Result<()> {
    let path = proc_path(dir, b"");
    for list in [crate::archive::acl::ACCESS, crate::archive::acl::DEFAULT] {
        // There is mostly none to remove.
        let _ = rustix::fs::removexattr(&*path, list);
    }
    rustix::fs::fchown(dir, None, Some(rustix::process::getegid()))?;
    rustix::fs::fchmod(dir, Mode::RWXU)
}

/// Renames to a name that must not exist.
fn rename_new(parent: &OwnedFd, from: &[u8], to: &[u8]) -> rustix::io::Result<()> {
    match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it: a rename replaces nothing but an empty directory.
        Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, from, parent, to),
        renamed => renamed,
    }
}

/// Exchanges stage and target.
fn swap_in(shared: &StagingDir, name: &[u8]) -> rustix::io::Result<()> {
    let parent = &shared.parent;
    match renameat_with(parent, &*shared.name, parent, name, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = [&shared.name[..], b".old"].concat();
            renameat(parent, name, parent, &*aside)?;
            if let Err(e) = renameat(parent, &*shared.name, parent, name) {
                renameat(parent, &*aside, parent, name)?;
                return Err(e);
            }
            renameat(parent, &*aside, parent, &*shared.name)
        }
        swapped => swapped,
    }
}

/// Looks for things that cannot be merged before anything is touched.
fn check_merge(from: &OwnedFd, to: &OwnedFd, at: &Path) -> Result<(), Error> {
    each_pair(from, to, at, &mut |path, pair| {
        let what = match (pair.new_is_dir, pair.old_is_dir) {
            (true, false) => "it is no directory, but the archive's is",
            (false, true) => "it is a directory, but the archive's is none",
            _ if pair.mounted => "something is mounted there",
            _ => return Ok(()),
        };
        Err(Error::Conflict {
            path: path.into(),
            what,
        })
    })
}

/// What is in two trees under the same path.
struct Pair {
    new_is_dir: bool,
    old_is_dir: bool,
    /// Something is mounted on the old one.
    mounted: bool,
}

/// Visits what is in both trees under the same path.
fn each_pair(
    from: &OwnedFd,
    to: &OwnedFd,
    at: &Path,
    visit: &mut impl FnMut(&Path, &Pair) -> Result<(), Error>,
) -> Result<(), Error> {
    let raw = at.as_os_str().as_bytes();
    for (name, _) in walk::list(from).map_err(Error::system("read", raw))? {
        let path = at.join(std::ffi::OsStr::from_bytes(&name));
        let is_dir = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
        let stat = |dir: &OwnedFd| statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW);
        let new = stat(from).map_err(Error::system("examine", &name))?;
        let old = match stat(to) {
            Ok(old) => old,
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(Error::system("examine", &name)(e)),
        };
        let mounted = mounts::is_mount(to.as_fd(), &name);
        let mounted = mounted.map_err(Error::system("examine", &name))?;
        let pair = Pair {
            new_is_dir: is_dir(&new),
            old_is_dir: is_dir(&old),
            mounted,
        };
        visit(&path, &pair)?;
        if pair.new_is_dir && pair.old_is_dir {
            let open = |dir| open_dir(dir, &name).map_err(Error::system("open", &name));
            each_pair(&open(from)?, &open(to)?, &path, visit)?;
        }
    }
    Ok(())
}

/// Moves everything in `from` into `to`; directories that are in both are merged.
fn move_in(from: &OwnedFd, to: &OwnedFd, at: &Path, merged: &mut Merged) -> Result<(), Error> {
    let raw = at.as_os_str().as_bytes();
    for (name, kind) in walk::list(from).map_err(Error::system("read", raw))? {
        let old = statat(to, &*name, AtFlags::SYMLINK_NOFOLLOW);
        let both = kind != FileType::RegularFile
            && old.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        if both {
            let path = at.join(std::ffi::OsStr::from_bytes(&name));
            let open = |dir| open_dir(dir, &name).map_err(Error::system("open", &name));
            let (inner, outer) = (open(from)?, open(to)?);
            let stat = rustix::fs::fstat(&outer).map_err(Error::system("examine", &name))?;
            merged.insert((stat.st_dev, stat.st_ino));
            move_in(&inner, &outer, &path, merged)?;
        } else {
            renameat(from, &*name, to, &*name).map_err(Error::system("move into place", &name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target in a mount point's manner, with an old file, and a stage with a new one.
    fn inside(target: &Path) -> Staging {
        let dir = open_dir(CWD, target.as_os_str().as_bytes()).unwrap();
        let stage = Staging::inside(target.into(), dir, Existing::Replace, false).unwrap();
        fs::write(stage.path().join("new"), "new").unwrap();
        stage
    }

    #[test]
    fn a_stage_that_is_being_made_was_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let found = || {
            let open = open_dir(CWD, dir.path().as_os_str().as_bytes()).unwrap();
            leftovers(&open, dir.path())
        };
        let stage = dir.path().join(format!("{STAGE_PREFIX}0{STAGE_SUFFIX}"));
        fs::create_dir(&stage).unwrap();
        assert!(found().is_empty());
        fs::write(stage.join("file"), "").unwrap();
        assert_eq!(found(), std::slice::from_ref(&stage));
        // Empty again, but for longer than it takes to begin.
        fs::remove_file(stage.join("file")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2_100));
        assert_eq!(found(), [stage]);
    }

    #[test]
    fn a_tree_that_is_not_finished_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), "old").unwrap();
        let stage = inside(dir.path());
        let path = stage.path().to_path_buf();
        fs::create_dir(path.join("zone")).unwrap();
        let failing = |_: &OwnedFd, _: &Merged| Err(Error::system("fail", b"x")(Errno::IO));
        let error = stage.commit(false, None, failing).unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(path.is_dir() && dir.path().join("new").exists());
        for existing in [Existing::Replace, Existing::Merge, Existing::Refuse] {
            let again = open_dir(CWD, dir.path().as_os_str().as_bytes()).unwrap();
            let again = Staging::inside(dir.path().into(), again, existing, false);
            assert!(matches!(again.err(), Some(Error::Unfinished { .. })));
            assert!(path.is_dir() && dir.path().join("new").exists());
        }
    }

    #[test]
    fn nothing_is_cleared_after_a_signal() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), "old").unwrap();
        let stage = inside(dir.path());
        let shared = Arc::clone(&stage.shared);
        shared.interrupt();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(stage.commit(false, None, |_, _| Ok(())).is_ok()));
        assert!(
            told.recv_timeout(std::time::Duration::from_millis(300))
                .is_err()
        );
        assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"old");
    }
}
