//! Two trees side by side: everything that an archive should keep.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};

use super::metadata::{MetadataSource, Xattrs, mtime};
use super::walk::{Step, Walk};
use super::{Error, MODE_BITS, open_dir};
use crate::archive::Xattr;
use crate::archive::name::{Shown, join};
use crate::sys::sparse::{holes, read_at};

/// Lists how `b` differs from `a`: names, types, modes, owners (for root only), sizes, contents,
/// link targets, which names are one object, times of modification, extended attributes, device
/// numbers, and where files have holes. Sockets are nothing that could be archived, and are passed
/// over.
///
/// # Errors
/// [`Error::System`] when something cannot be read.
pub fn differences(a: &Path, b: &Path) -> Result<Vec<String>, Error> {
    let (left, right) = (survey(a)?, survey(b)?);
    let mut out = Vec::new();
    for (path, one) in &left {
        match right.get(path) {
            None => out.push(format!("{}: missing", Shown(path))),
            Some(other) => compare(path, one, other, &mut out),
        }
    }
    for path in right.keys().filter(|path| !left.contains_key(*path)) {
        out.push(format!("{}: not expected", Shown(path)));
    }
    Ok(out)
}

/// An object's facts, each as a name and what it is.
type Facts = Vec<(String, String)>;

fn compare(path: &[u8], one: &Facts, other: &Facts, out: &mut Vec<String>) {
    for (fact, value) in one {
        match other.iter().find(|(f, _)| f == fact) {
            Some((_, there)) if there == value => {}
            Some((_, there)) => out.push(format!("{}: {fact} {there} for {value}", Shown(path))),
            None => out.push(format!("{}: no {fact}", Shown(path))),
        }
    }
    for (fact, _) in other {
        if !one.iter().any(|(f, _)| f == fact) {
            out.push(format!("{}: unexpected {fact}", Shown(path)));
        }
    }
}

fn survey(root: &Path) -> Result<BTreeMap<Vec<u8>, Facts>, Error> {
    let raw = root.as_os_str().as_bytes();
    let mut survey = Survey {
        facts: BTreeMap::new(),
        names: HashMap::new(),
        xattrs: Xattrs::new(),
        buffer: vec![0; 256 << 10],
        owners: rustix::process::geteuid().is_root(),
    };
    let fd = open_dir(CWD, raw).map_err(Error::system("open", raw))?;
    let mut walk = Walk::new();
    survey.enter(&mut walk, fd, Vec::new())?;
    while let Some(step) = walk.step().map_err(Error::system("read", walk.path()))? {
        let Step::Name(name, _) = step else { continue };
        let path = join(walk.path(), &name);
        let error = || Error::system("read", &path);
        let dir = walk.dir().map_err(|e| error()(e))?;
        let stat = statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| error()(e))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let fd = open_dir(dir, &name).map_err(|e| error()(e))?;
            survey.enter(&mut walk, fd, path)?;
        } else if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            survey.leaf(dir, &name, &stat, path)?;
        }
    }
    survey.link();
    Ok(survey.facts)
}

struct Survey {
    facts: BTreeMap<Vec<u8>, Facts>,
    /// Names in this tree of objects that have several.
    names: HashMap<(u64, u64), Vec<Vec<u8>>>,
    xattrs: Xattrs,
    buffer: Vec<u8>,
    owners: bool,
}

impl Survey {
    fn enter(&mut self, walk: &mut Walk, fd: OwnedFd, path: Vec<u8>) -> Result<(), Error> {
        let error = || Error::system("read", &path);
        let stat = rustix::fs::fstat(&fd).map_err(|e| error()(e))?;
        let xattrs = self
            .xattrs
            .read(MetadataSource::open(&fd))
            .map_err(|e| error()(e))?;
        let facts = self.common(&stat, "directory", xattrs);
        walk.enter(fd, &stat, path.clone())
            .map_err(|e| error()(e))?;
        self.facts.insert(path, facts);
        Ok(())
    }

    fn leaf(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        path: Vec<u8>,
    ) -> Result<(), Error> {
        let error = || Error::system("read", &path);
        let xattrs = self
            .xattrs
            .read(MetadataSource::Named(dir, name))
            .map_err(|e| error()(e))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let word = match kind {
            FileType::RegularFile => "file",
            FileType::Symlink => "symbolic link",
            FileType::CharacterDevice => "character device",
            FileType::BlockDevice => "block device",
            FileType::Fifo => "fifo",
            _ => "unknown",
        };
        let mut facts = self.common(stat, word, xattrs);
        let mut say = |fact: &str, value: String| facts.push((fact.into(), value));
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            self.names.entry(id).or_default().push(path.clone());
        }
        match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(dir, name, flags, Mode::empty()).map_err(|e| error()(e))?;
                say("size", stat.st_size.to_string());
                let hash = self.hash(fd.as_fd(), stat).map_err(|e| error()(e))?;
                say("content", hash.0);
                say("holes", hash.1);
            }
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).map_err(|e| error()(e))?;
                say("target", Shown(target.as_bytes()).to_string());
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                say("device", format!("{:#x}", stat.st_rdev));
            }
            _ => {}
        }
        self.facts.insert(path, facts);
        Ok(())
    }

    /// Adds which names are one object. Names outside of the tree are not ours to compare.
    fn link(&mut self) {
        for names in self.names.values().filter(|names| names.len() > 1) {
            let Some(first) = names.iter().min() else {
                continue;
            };
            for name in names {
                let Some(facts) = self.facts.get_mut(name) else {
                    continue;
                };
                facts.push(("one object with".into(), Shown(first).to_string()));
                facts.push(("number of names".into(), names.len().to_string()));
            }
        }
    }

    fn common(&self, stat: &Stat, kind: &str, xattrs: Vec<Xattr>) -> Facts {
        let time = mtime(stat);
        let mut facts = vec![
            ("type".into(), kind.into()),
            ("mode".into(), format!("{:04o}", stat.st_mode & MODE_BITS)),
            ("time".into(), format!("{} s {} ns", time.secs, time.nanos)),
        ];
        if self.owners {
            facts.push(("owner".into(), format!("{}:{}", stat.st_uid, stat.st_gid)));
        }
        for Xattr { name, value } in xattrs {
            let fact = format!("attribute {}", Shown(&name));
            facts.push((fact, hex::encode(value)));
        }
        facts
    }

    /// The hash of the file's data with their places, and where it has holes.
    fn hash(&mut self, fd: BorrowedFd<'_>, stat: &Stat) -> rustix::io::Result<(String, String)> {
        let map = holes(fd, stat)?;
        let places = match &map {
            None => "none".to_owned(),
            Some(map) => map
                .iter()
                .map(|s| format!("data {}+{}", s.offset, s.len))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let whole = vec![crate::archive::Segment {
            offset: 0,
            len: u64::try_from(stat.st_size).unwrap_or(0),
        }];
        let mut hasher = blake3::Hasher::new();
        for segment in map.unwrap_or(whole) {
            let mut done = 0;
            while done < segment.len {
                let want = usize::try_from(segment.len - done)
                    .unwrap_or(usize::MAX)
                    .min(self.buffer.len());
                let at = segment.offset + done;
                let got = read_at(fd, &mut self.buffer[..want], at)?;
                // Zero bytes count for nothing, so that a hole equals the zeros that it reads as.
                let block = &self.buffer[..got];
                for (i, page) in block.chunks(4096).enumerate() {
                    if page.iter().any(|&b| b != 0) {
                        hasher.update(&(at + (i as u64) * 4096).to_le_bytes());
                        hasher.update(page);
                    }
                }
                if got == 0 {
                    break;
                }
                done += got as u64;
            }
        }
        let mut hash = hasher.finalize().to_hex().to_string();
        hash.truncate(16);
        Ok((hash, places))
    }
}
