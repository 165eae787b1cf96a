//! What stands at each path of an archive so far, and what its directories become: as small as can
//! be, since an archive may have very many.

use std::collections::{BTreeMap, HashMap};

use rustix::fs::RawMode;

use super::Error;
use crate::archive::name::split;
use crate::archive::{Meta, Time, Xattr};

/// What a path costs at most: a place in a hash table that was doubled a moment ago.
const PATH_COST: u64 = 40;

/// What a directory costs beside that and its name.
const DIRECTORY_COST: u64 = size_of::<Node>() as u64;

/// What a directory costs that was in the target before.
const MERGED_COST: u64 = 64;

/// What an attribute of a directory costs beside its bytes.
const XATTR_COST: u64 = size_of::<Xattr>() as u64 + 32;

/// The first bytes of a hash with a secret key: nobody can look for two paths with the same.
type Key = [u8; 12];

/// A directory by its number, in the order in which they were made: each after the one that it is
/// in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirId(u32);

/// The root of the tree.
pub(super) const ROOT: DirId = DirId(0);

/// What stands at a path so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Directory(DirId),
    Other,
    LeftOut,
}

/// The same in four bytes.
#[derive(Clone, Copy)]
struct Slot(u32);

const OTHER: u32 = u32::MAX;
const LEFT_OUT: u32 = u32::MAX - 1;

impl From<Made> for Slot {
    fn from(made: Made) -> Self {
        Self(match made {
            Made::Directory(DirId(number)) => number,
            Made::Other => OTHER,
            Made::LeftOut => LEFT_OUT,
        })
    }
}

impl From<Slot> for Made {
    fn from(slot: Slot) -> Self {
        match slot.0 {
            OTHER => Self::Other,
            LEFT_OUT => Self::LeftOut,
            number => Self::Directory(DirId(number)),
        }
    }
}

/// A directory: what the archive says of it, the number of its inode, and where its name ends.
struct Node {
    secs: i64,
    inode: u64,
    nanos: u32,
    uid: u32,
    gid: u32,
    parent: u32,
    name_end: u32,
    mode: u16,
    /// Whether the archive has said anything about it, rather than only of what is in it.
    said: bool,
}

/// All paths of an archive, within so many bytes of memory.
pub(super) struct PathTable {
    secret: [u8; 32],
    made: HashMap<Key, Slot>,
    nodes: Vec<Node>,
    names: Vec<u8>,
    xattrs: BTreeMap<DirId, Vec<Xattr>>,
    cost: u64,
    cost_max: u64,
}

impl PathTable {
    /// A tree with a root alone. `secret` is random; all that is kept may cost `cost_max` bytes.
    pub(super) fn new(secret: [u8; 32], cost_max: u64) -> Self {
        let mut table = Self {
            secret,
            made: HashMap::new(),
            nodes: Vec::new(),
            names: Vec::new(),
            xattrs: BTreeMap::new(),
            cost: 0,
            cost_max,
        };
        table.add(0, b"", 0);
        let root = table.key(b"");
        table.made.insert(root, Made::Directory(ROOT).into());
        table
    }

    /// What stands at `path`.
    pub(super) fn get(&self, path: &[u8]) -> Option<Made> {
        self.made.get(&self.key(path)).map(|&slot| slot.into())
    }

    /// Keeps that something stands at `path` that is no directory.
    pub(super) fn insert(&mut self, path: &[u8], made: Made) -> Result<(), Error> {
        self.pay(PATH_COST)?;
        self.made.insert(self.key(path), made.into());
        Ok(())
    }

    /// Keeps a new directory with the number of its inode. Its parent must be there.
    pub(super) fn insert_directory(&mut self, path: &[u8], inode: u64) -> Result<DirId, Error> {
        let (parent, name) = split(path);
        let Some(Made::Directory(DirId(parent))) = self.get(parent) else {
            return Err(Error::Entry {
                path: path.to_vec(),
                what: "nothing is known of the directory that it is in",
            });
        };
        self.pay(PATH_COST + DIRECTORY_COST + name.len() as u64)?;
        if self.names.len() + name.len() > u32::MAX as usize {
            return Err(self.exceeded());
        }
        let id = self.add(parent, name, inode);
        self.made.insert(self.key(path), Made::Directory(id).into());
        Ok(id)
    }

    fn add(&mut self, parent: u32, name: &[u8], inode: u64) -> DirId {
        let index = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let id = DirId(index(self.nodes.len()));
        self.names.extend_from_slice(name);
        self.nodes.push(Node {
            secs: 0,
            inode,
            nanos: 0,
            uid: 0,
            gid: 0,
            parent,
            name_end: index(self.names.len()),
            mode: 0,
            said: false,
        });
        id
    }

    /// Keeps what the archive says of a directory; the names of owners are not used.
    pub(super) fn describe(&mut self, id: DirId, meta: &Meta) -> Result<(), Error> {
        let node = self.node_mut(id);
        node.secs = meta.mtime.secs;
        node.nanos = meta.mtime.nanos;
        node.uid = meta.uid;
        node.gid = meta.gid;
        node.mode = u16::try_from(meta.mode).unwrap_or(u16::MAX);
        node.said = true;
        if !meta.xattrs.is_empty() {
            let bytes = |x: &Xattr| XATTR_COST + x.name.len() as u64 + x.value.len() as u64;
            self.pay(meta.xattrs.iter().map(bytes).sum())?;
            self.xattrs.insert(id, meta.xattrs.clone());
        }
        Ok(())
    }

    /// What the archive says of a directory; nothing when it only has things in it.
    pub(super) fn described(&self, id: DirId) -> Option<Meta> {
        let node = self.node(id);
        node.said.then(|| Meta {
            mode: RawMode::from(node.mode),
            uid: node.uid,
            gid: node.gid,
            mtime: Time {
                secs: node.secs,
                nanos: node.nanos,
            },
            xattrs: self.xattrs.get(&id).cloned().unwrap_or_default(),
            ..Meta::default()
        })
    }

    /// Counts the bytes that it takes to remember where a directory is merged into.
    pub(super) fn pay_for_merge(&mut self) -> Result<(), Error> {
        self.pay(MERGED_COST)
    }

    /// All directories, each after the one that it is in.
    pub(super) fn directories(&self) -> impl DoubleEndedIterator<Item = DirId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(DirId)
    }

    /// The directory that another is in; the root is in itself.
    pub(super) fn parent(&self, id: DirId) -> DirId {
        DirId(self.node(id).parent)
    }

    /// The last name of a directory's path.
    pub(super) fn name(&self, id: DirId) -> &[u8] {
        let end = |id: DirId| self.node(id).name_end as usize;
        let start = id.0.checked_sub(1).map_or(0, |before| end(DirId(before)));
        &self.names[start..end(id)]
    }

    /// The path of a directory.
    pub(super) fn path(&self, id: DirId) -> Vec<u8> {
        let mut names = vec![self.name(id)];
        let mut at = self.parent(id);
        while at != ROOT {
            names.push(self.name(at));
            at = self.parent(at);
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The number of the inode that a directory had when it was made.
    pub(super) fn inode(&self, id: DirId) -> u64 {
        self.node(id).inode
    }

    fn node(&self, id: DirId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: DirId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn key(&self, path: &[u8]) -> Key {
        let hash = blake3::keyed_hash(&self.secret, path);
        let mut key = Key::default();
        key.copy_from_slice(&hash.as_bytes()[..size_of::<Key>()]);
        key
    }

    fn pay(&mut self, bytes: u64) -> Result<(), Error> {
        self.cost += bytes;
        if self.cost > self.cost_max {
            return Err(self.exceeded());
        }
        Ok(())
    }

    const fn exceeded(&self) -> Error {
        Error::Memory(self.cost_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(xattr: usize) -> Meta {
        Meta {
            mode: 0o2750,
            uid: 7,
            gid: 8,
            mtime: Time { secs: -1, nanos: 5 },
            xattrs: vec![Xattr {
                name: b"user.x".to_vec(),
                value: vec![1; xattr],
            }],
            ..Meta::default()
        }
    }

    #[test]
    fn directories_are_known_by_path_and_number() {
        let mut table = PathTable::new([1; 32], 10_000);
        let a = table.insert_directory(b"a", 11).unwrap();
        let b = table.insert_directory(b"a/bb", 12).unwrap();
        let c = table.insert_directory(b"a/bb/c", 13).unwrap();
        table.insert(b"a/bb/f", Made::Other).unwrap();
        table.describe(b, &meta(3)).unwrap();
        assert_eq!(table.get(b"a/bb"), Some(Made::Directory(b)));
        assert_eq!(table.get(b"a/bb/f"), Some(Made::Other));
        assert_eq!(table.get(b"a/b"), None);
        assert_eq!(table.get(b""), Some(Made::Directory(ROOT)));
        assert_eq!(
            table.directories().collect::<Vec<_>>(),
            [ROOT, a, b, c],
            "parents come first"
        );
        let paths = [ROOT, a, b, c].map(|id| table.path(id));
        assert_eq!(paths, [&b""[..], b"a", b"a/bb", b"a/bb/c"]);
        assert_eq!((table.parent(c), table.inode(c)), (b, 13));
        assert_eq!(table.described(b), Some(meta(3)));
        assert_eq!(table.described(c), None);
        assert!(table.insert_directory(b"x/y", 14).is_err());
    }

    #[test]
    fn what_is_kept_is_paid_for() {
        const { assert!(size_of::<Node>() <= 40 && size_of::<(Key, Slot)>() == 16) };
        let mut table = PathTable::new([1; 32], 1000);
        let id = table.insert_directory(b"d", 1).unwrap();
        assert!(table.describe(id, &meta(100)).is_ok());
        assert!(matches!(
            table.describe(id, &meta(900)),
            Err(Error::Memory(1000))
        ));
        let mut table = PathTable::new([1; 32], 1000);
        let made = (0..100u32).take_while(|n| table.insert(&n.to_le_bytes(), Made::Other).is_ok());
        assert_eq!(made.count(), 25);
    }
}
