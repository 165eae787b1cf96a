//! What an archive holds: entries, as values.

/// One member of an archive: a name and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Names from the root of the tree, joined by `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Everything about it but its content.
    pub meta: Meta,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Kind {
    /// A regular file, whose content follows.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link and its target, verbatim.
    Symlink(Vec<u8>),
    /// Another name of an earlier entry that is not a directory; its path.
    HardLink(Vec<u8>),
    /// A character device.
    Character(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
}

/// The content of a regular file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The length of the file.
    pub size: u64,
    /// Where the stored bytes go when the file has holes; nothing when all bytes are stored.
    pub map: Option<Vec<Segment>>,
}

impl Content {
    /// A file without holes.
    pub const fn dense(size: u64) -> Self {
        Self { size, map: None }
    }

    /// How many bytes of the file are stored.
    pub fn stored(&self) -> u64 {
        match &self.map {
            Some(map) => map.iter().map(|s| s.len).sum(),
            None => self.size,
        }
    }
}

/// A stretch of data in a file with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// The numbers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The unit.
    pub minor: u32,
}

/// Owner, permissions, time and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with set-user-id, set-group-id and sticky: twelve bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The owner's name where the archive was made; may be empty.
    pub uname: Vec<u8>,
    /// The group's name where the archive was made; may be empty.
    pub gname: Vec<u8>,
    /// When the content was last modified.
    pub mtime: Time,
    /// Extended attributes in the order of their names.
    pub xattrs: Vec<Xattr>,
}

/// A moment on the wall clock; any year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds since 1970, rounded down.
    pub secs: i64,
    /// Nanoseconds after that; less than 1 000 000 000.
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its name with the namespace, such as `user.comment`.
    pub name: Vec<u8>,
    /// Its value; any bytes.
    pub value: Vec<u8>,
}

/// What an archive says about itself in its last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of file content that are stored.
    pub bytes: u64,
    /// Entries that could not be packed, or not as they were.
    pub errors: u64,
}
