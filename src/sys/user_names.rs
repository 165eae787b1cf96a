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

/// Whether a group has no other members than `users`, as far as the system's own tables say. One
/// that they do not have may be anybody's.
pub(super) fn group_has_only(gid: u32, users: [u32; 2]) -> bool {
    let read = |path| fs::read(path).unwrap_or_default();
    has_only(&read("/etc/passwd"), &read("/etc/group"), gid, users)
}

fn has_only(passwd: &[u8], group: &[u8], gid: u32, users: [u32; 2]) -> bool {
    let lines = |text| <[u8]>::split(text, |&b| b == b'\n').map(fields);
    let id = gid.to_string();
    let of_group = |line: &Vec<&[u8]>| line.get(2) == Some(&id.as_bytes());
    let mut listed = lines(group).filter(of_group).peekable();
    if listed.peek().is_none() {
        return false;
    }
    let names: Vec<&[u8]> = listed
        .filter_map(|line| line.get(3).copied())
        .flat_map(|names| names.split(|&b| b == b','))
        .filter(|name| !name.is_empty())
        .collect();
    let number = |line: &[&[u8]]| std::str::from_utf8(line.get(2)?).ok()?.parse().ok();
    let is_user = |line: &Vec<&[u8]>| number(line).is_some_and(|id| users.contains(&id));
    let primary = |line: &Vec<&[u8]>| line.get(3) == Some(&id.as_bytes());
    let strangers = lines(passwd).filter(|line| primary(line) && !is_user(line));
    let known =
        |name: &&[u8]| lines(passwd).any(|line| line.first() == Some(name) && is_user(&line));
    strangers.count() == 0 && names.iter().all(known)
}

/// The fields of a line of `/etc/passwd` or `/etc/group`.
fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|&b| b == b':').collect()
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
    fn a_group_of_its_own_has_one_user() {
        let passwd = b"root:x:0:0::/:\nann:x:1000:1000::/:\nbob:x:1001:1001::/:\neve:x:1002:50::/:";
        let group = b"root:x:0:\nann:x:1000:\nbob:x:1001:eve\nstaff:x:50:\nboth:x:60:ann,root\n\
                      gone:x:70:zoe\n";
        for (gid, user, wanted) in [
            (1000, 1000, true),
            (1000, 1001, false),
            (1001, 1001, false),
            (50, 1000, false),
            (60, 1000, true),
            (60, 1001, false),
            (70, 1000, false),
            (0, 1000, true),
            (4711, 1000, false),
        ] {
            let found = has_only(passwd, group, gid, [0, user]);
            assert_eq!(found, wanted, "group {gid}, user {user}");
        }
    }

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
