//! IdMap of an archive as owners of this system: ranges of numbers, as those of user namespaces.

use super::Error;
use crate::archive::{Entry, acl};

/// The attribute whose value may end in the number of the user that a capability is for.
const CAPABILITY: &[u8] = b"security.capability";

/// The length of such a value when it does, and where the number is.
const CAPABILITY_BYTES: usize = 24;
const CAPABILITY_ROOT_AT: usize = 20;

/// A range of numbers of users and groups, and the range that they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first number in the archive.
    pub from: u32,
    /// What it becomes.
    pub to: u32,
    /// How many numbers there are.
    pub count: u32,
}

/// Ranges that do not overlap, neither in the archive nor here: two users that become one would
/// have two entries in an access list. Without any, everybody stays who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<Range>);

/// Ranges that say two things about one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two ranges have the number {0}")]
pub struct Overlap(pub u32);

impl Range {
    /// A range of `count` numbers; nothing when it is empty or holds a number that nobody can have.
    pub fn new(from: u32, to: u32, count: u32) -> Option<Self> {
        // The greatest number stands for no user.
        let fits = |start: u32| start.checked_add(count).is_some();
        (count > 0 && fits(from) && fits(to)).then_some(Self { from, to, count })
    }

    fn map(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.from)?;
        (offset < self.count).then(|| self.to + offset)
    }
}

impl IdMap {
    /// Takes the ranges in any order.
    ///
    /// # Errors
    /// [`Overlap`] with the first number that is in two of them.
    pub fn new(mut ranges: Vec<Range>) -> Result<Self, Overlap> {
        ranges.sort_unstable_by_key(|range| range.to);
        for pair in ranges.windows(2) {
            if pair[1].to - pair[0].to < pair[0].count {
                return Err(Overlap(pair[1].to));
            }
        }
        ranges.sort_unstable_by_key(|range| range.from);
        for pair in ranges.windows(2) {
            if pair[0].map(pair[1].from).is_some() {
                return Err(Overlap(pair[1].from));
            }
        }
        Ok(Self(ranges))
    }

    fn map(&self, id: u32) -> Option<u32> {
        let after = self.0.partition_point(|range| range.from <= id);
        self.0[..after].last()?.map(id)
    }

    /// Changes the owner and group of an entry, and the users that its attributes name: in access
    /// lists, and the user that a capability is for.
    pub(super) fn apply(&self, entry: &mut Entry) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let path = &entry.path;
        let map = |id: u32| {
            self.map(id).ok_or_else(|| Error::Owner {
                path: path.clone(),
                id,
            })
        };
        let meta = &mut entry.meta;
        meta.uid = map(meta.uid)?;
        meta.gid = map(meta.gid)?;
        for xattr in &mut meta.xattrs {
            let value = &mut xattr.value;
            match &xattr.name[..] {
                acl::ACCESS | acl::DEFAULT => acl::map_ids(value, map)?,
                CAPABILITY if value.len() == CAPABILITY_BYTES => {
                    if let Some(id) = value[CAPABILITY_ROOT_AT..].first_chunk_mut() {
                        *id = map(u32::from_le_bytes(*id))?.to_le_bytes();
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Kind, Meta, Xattr};

    fn owners(ranges: &[(u32, u32, u32)]) -> Result<IdMap, Overlap> {
        let range = |&(from, to, count): &_| Range::new(from, to, count).unwrap();
        IdMap::new(ranges.iter().map(range).collect())
    }

    #[test]
    fn ranges_are_judged() {
        assert!(Range::new(0, 0, 0).is_none());
        assert!(Range::new(u32::MAX, 0, 1).is_none() && Range::new(0, u32::MAX, 1).is_none());
        assert!(Range::new(0, 0, u32::MAX).is_some() && Range::new(1, 0, u32::MAX).is_none());
        assert_eq!(owners(&[(5, 0, 5), (0, 9, 6)]), Err(Overlap(5)));
        assert_eq!(owners(&[(5, 0, 5), (20, 4, 6)]), Err(Overlap(4)));
        let owners = owners(&[(1000, 5, 1), (0, 100_000, 1000)]).unwrap();
        let mapped: Vec<_> = [0, 999, 1000, 1001]
            .iter()
            .map(|&id| owners.map(id))
            .collect();
        assert_eq!(mapped, [Some(100_000), Some(100_999), Some(5), None]);
        assert_eq!(IdMap::default().map(0), None);
    }

    #[test]
    fn attributes_name_owners_too() {
        let list = acl::from_text(
            b"user::rwx,user:7:r--,group::r-x,group:8:r--,mask::rwx,other::---",
            &|_, _| None,
        )
        .unwrap();
        let mapped = acl::from_text(
            b"user::rwx,user:17:r--,group::r-x,group:18:r--,mask::rwx,other::---",
            &|_, _| None,
        )
        .unwrap();
        let mut capability = vec![1; CAPABILITY_BYTES];
        capability[CAPABILITY_ROOT_AT..].copy_from_slice(&9u32.to_le_bytes());
        let xattr = |name: &[u8], value: &[u8]| Xattr {
            name: name.to_vec(),
            value: value.to_vec(),
        };
        let entry = Entry {
            path: b"x".to_vec(),
            kind: Kind::Fifo,
            meta: Meta {
                uid: 3,
                gid: 4,
                xattrs: vec![xattr(acl::ACCESS, &list), xattr(CAPABILITY, &capability)],
                ..Meta::default()
            },
        };
        let mut all = entry.clone();
        owners(&[(0, 10, 10)]).unwrap().apply(&mut all).unwrap();
        assert_eq!((all.meta.uid, all.meta.gid), (13, 14));
        assert_eq!(all.meta.xattrs[0].value, mapped);
        assert_eq!(
            all.meta.xattrs[1].value[CAPABILITY_ROOT_AT..],
            19u32.to_le_bytes()
        );
        // Who is only in attributes that are left out needs no range.
        let few = owners(&[(3, 0, 2)]).unwrap();
        let mut bare = entry.clone();
        bare.meta.xattrs.clear();
        assert!(few.apply(&mut bare).is_ok());
        let mut entry = entry;
        let error = few.apply(&mut entry).unwrap_err();
        assert!(error.to_string().contains("x belongs to 7 "), "{error}");
    }
}
