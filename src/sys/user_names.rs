//! Names of users and groups, from the system's own tables.

use std::collections::HashMap;
use std::fs;

/// Users and groups of this system, by number and by name.
#[derive(Debug, Default)]
pub struct UserNames {
    users: Table,
    groups: Table,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u32, Vec<u8>>,
    by_name: HashMap<Vec<u8>, u32>,
}

impl UserNames {
    /// Reads `/etc/passwd` and `/etc/group`. Without them users have no names, which does no harm.
    pub fn load() -> Self {
        Self {
            users: Table::parse(&fs::read("/etc/passwd").unwrap_or_default()),
            groups: Table::parse(&fs::read("/etc/group").unwrap_or_default()),
        }
    }

    /// A user's name; empty when there is none.
    pub fn user(&self, uid: u32) -> &[u8] {
        self.users.by_id.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// A group's name; empty when there is none.
    pub fn group(&self, gid: u32) -> &[u8] {
        self.groups.by_id.get(&gid).map_or(&[], Vec::as_slice)
    }

    /// The number of a group or user.
    pub fn number(&self, group: bool, name: &[u8]) -> Option<u32> {
        let table = if group { &self.groups } else { &self.users };
        table.by_name.get(name).copied()
    }
}

impl Table {
    /// Both files have the name first and the number third. The first of two entries counts.
    fn parse(text: &[u8]) -> Self {
        let mut table = Self::default();
        for line in text.split(|&b| b == b'\n') {
            let mut fields = line.split(|&b| b == b':');
            let (Some(name), Some(id)) = (fields.next(), fields.nth(1)) else {
                continue;
            };
            let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            table.by_id.entry(id).or_insert_with(|| name.to_vec());
            table.by_name.entry(name.to_vec()).or_insert(id);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let table =
            Table::parse(b"root:x:0:0::/:/bin/sh\n# no\nroot2:x:0:0\nbin:x:2:\n:x:5:\nbad:x:y:\n");
        assert_eq!(table.by_id[&0], b"root");
        assert_eq!(table.by_name[&b"root2"[..]], 0);
        assert_eq!(table.by_id[&2], b"bin");
        assert_eq!(table.by_id.len(), 2);
    }
}
