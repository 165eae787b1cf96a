//! Access control lists: the text that other archivers write, as the bytes that Linux keeps in an
//! extended attribute.

/// ForeignFormat a name up: whether it is a group's, and the name.
pub type Resolve<'a> = &'a dyn Fn(bool, &[u8]) -> Option<u32>;

/// The attribute of an object's own list.
pub const ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute of the list that new objects in a directory get.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NOBODY: u32 = u32::MAX;

/// The tags of entries that name a user or group.
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// Turns `user::rw-,user:1000:r--,…` (parted by commas or newlines, names or numbers, an optional
/// number behind the permissions) into the attribute's value. Nothing when the text is no list or
/// holds a name that is not known here.
pub fn from_text(text: &[u8], resolve: Resolve<'_>) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for line in text.split(|&b| b == b',' || b == b'\n') {
        let line = line.split(|&b| b == b'#').next()?.trim_ascii();
        if !line.is_empty() {
            entries.push(entry(line, resolve)?);
        }
    }
    if entries.is_empty() {
        return None;
    }
    entries.sort_unstable();
    let mut out = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    Some(out)
}

/// The inverse, with numbers for names, as GNU tar and bsdtar know lists. Nothing when the value is
/// none that Linux would keep.
pub fn to_text(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, []) = entries.as_chunks::<8>() else {
        return None;
    };
    if u32::from_le_bytes(*version) != VERSION || entries.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for &[tag, tag_high, bits, bits_high, id @ ..] in entries {
        let id = u32::from_le_bytes(id);
        let tag = u16::from_le_bytes([tag, tag_high]);
        let named = matches!(tag, USER | GROUP);
        if bits > 7 || bits_high != 0 || (named && id == NOBODY) {
            return None;
        }
        let kind = match tag {
            0x01 | USER => "user",
            0x04 | GROUP => "group",
            0x10 => "mask",
            0x20 => "other",
            _ => return None,
        };
        let who = if named { id.to_string() } else { String::new() };
        let bit = |mask, name| if bits & mask != 0 { name } else { '-' };
        let (r, w, x) = (bit(4, 'r'), bit(2, 'w'), bit(1, 'x'));
        out.extend_from_slice(format!("{kind}:{who}:{r}{w}{x},").as_bytes());
    }
    out.pop();
    Some(out)
}

/// Changes the numbers of the users and groups that an attribute's value names. What is no list of
/// the version we know is left as it is: the system will judge it.
///
/// # Errors
/// Those of `map`.
pub fn map_ids<E>(value: &mut [u8], map: impl Fn(u32) -> Result<u32, E>) -> Result<(), E> {
    let Some((version, entries)) = value.split_first_chunk_mut() else {
        return Ok(());
    };
    if u32::from_le_bytes(*version) != VERSION {
        return Ok(());
    }
    for entry in entries.as_chunks_mut::<8>().0 {
        let [t0, t1, _, _, id @ ..] = entry;
        if matches!(u16::from_le_bytes([*t0, *t1]), USER | GROUP) {
            *id = map(u32::from_le_bytes(*id))?.to_le_bytes();
        }
    }
    Ok(())
}

fn entry(line: &[u8], resolve: Resolve<'_>) -> Option<(u16, u32, u16)> {
    let mut parts = line.split(|&b| b == b':');
    let (kind, mut who, mut bits) = (parts.next()?, parts.next()?, parts.next());
    let mut behind = parts.next();
    // `mask:r--` and `other:r--` may leave the empty name out.
    if bits.is_none() && matches!(kind, b"mask" | b"m" | b"other" | b"o") {
        (who, bits) = (b"", Some(who));
    }
    if parts.next().is_some() {
        return None;
    }
    let permissions = permissions(bits?)?;
    let group = matches!(kind, b"group" | b"g");
    let mut id = || {
        let number = behind.take().and_then(super::number::decimal);
        let number = number.or_else(|| super::number::decimal(who));
        match number {
            Some(n) => u32::try_from(n).ok().filter(|&n| n != NOBODY),
            None => resolve(group, who),
        }
    };
    Some(match (kind, who.is_empty()) {
        (b"user" | b"u", true) => (0x01, NOBODY, permissions),
        (b"user" | b"u", false) => (USER, id()?, permissions),
        (b"group" | b"g", true) => (0x04, NOBODY, permissions),
        (b"group" | b"g", false) => (GROUP, id()?, permissions),
        (b"mask" | b"m", true) => (0x10, NOBODY, permissions),
        (b"other" | b"o", true) => (0x20, NOBODY, permissions),
        _ => return None,
    })
}

fn permissions(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |bits, b| match b {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_from_text() {
        let text = b"user::rw-,user:7:r-x,group::---,group:4294967294:rwx,mask::-w-,other::--x";
        let value = from_text(text, &|_, _| None).unwrap();
        assert_eq!(to_text(&value).unwrap(), text);
        for bad in [&value[..4], &value[..value.len() - 1], b"", b"\x03\0\0\0"] {
            assert_eq!(to_text(bad), None);
        }
        for at in 0..value.len() {
            let mut other = value.clone();
            other[at] ^= 8;
            let back = to_text(&other).map(|text| from_text(&text, &|_, _| None));
            assert!(back.is_none_or(|back| back.is_some()), "{at}");
        }
    }

    #[test]
    fn text_becomes_the_bytes_of_linux() {
        let resolve = |group: bool, name: &[u8]| (!group && name == b"ann").then_some(1000);
        let text = b"user::rw-\nuser:ann:r--\ngroup::r-x\ngroup:7:---\nmask::rw-\nother::---\n";
        let value = from_text(text, &resolve).unwrap();
        let expected: Vec<u8> = [
            (1u16, 6u16, NOBODY),
            (2, 4, 1000),
            (4, 5, NOBODY),
            (8, 0, 7),
            (16, 6, NOBODY),
            (32, 0, NOBODY),
        ]
        .iter()
        .flat_map(|(tag, bits, id)| {
            [
                &tag.to_le_bytes()[..],
                &bits.to_le_bytes(),
                &id.to_le_bytes(),
            ]
            .concat()
        })
        .collect();
        assert_eq!(value[..4], [2, 0, 0, 0]);
        assert_eq!(value[4..], expected);
        assert_eq!(
            from_text(b"user:bob:rw-:1000,user::rwx", &resolve),
            from_text(b"u::rwx,u:1000:rw", &resolve)
        );
        assert_eq!(from_text(b"user:bob:rw-", &resolve), None);
        assert_eq!(from_text(b"nonsense", &resolve), None);
        assert_eq!(from_text(b"", &resolve), None);
    }
}
