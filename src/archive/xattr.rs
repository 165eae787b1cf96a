//! Extended attributes as records carry them: in the form that GNU tar and we write, and in
//! libarchive's.

use super::Xattr;

/// The longest value of an extended attribute: what Linux can store.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The longest name: likewise.
const NAME_BYTES_MAX: usize = 255;

/// The most extended attributes that one entry may have.
const XATTRS_MAX: usize = 4096;

/// Adds an attribute that libarchive has written in its own form.
pub(super) fn put_exact(
    list: &mut Vec<Xattr>,
    name: &[u8],
    value: &[u8],
) -> Result<(), &'static str> {
    let value = base64(value).ok_or("an attribute is no base64")?;
    put(list, percent_decode(name), value)
}

/// Adds an attribute; one that comes again has its last value.
pub(super) fn put(
    list: &mut Vec<Xattr>,
    name: Vec<u8>,
    value: Vec<u8>,
) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(&0) {
        return Err("an attribute's name is empty, too long or no text");
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err("an attribute is too long");
    }
    list.retain(|x| x.name != name);
    if list.len() == XATTRS_MAX {
        return Err("it has too many attributes");
    }
    list.push(Xattr { name, value });
    Ok(())
}

/// Libarchive writes each attribute twice: exact under its own key, and under ours with the name
/// percent-encoded. The encoded copies give way; what it wrote otherwise, such as access lists,
/// stays.
pub(super) fn merge_exact(mut other: Vec<Xattr>, exact: Vec<Xattr>) -> Vec<Xattr> {
    if exact.is_empty() {
        other.sort();
        return other;
    }
    let mut out: Vec<Xattr> = other
        .into_iter()
        .filter(|x| {
            let decoded = percent_decode(&x.name);
            exact.iter().all(|e| e.name != x.name && e.name != decoded)
        })
        .collect();
    out.extend(exact);
    out.sort();
    out
}

fn percent_decode(name: &[u8]) -> Vec<u8> {
    let hex = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let code = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        (rest, _) = match code {
            Some((high, low)) => (&rest[3..], out.push(high << 4 | low)),
            None => (after, out.push(byte)),
        };
    }
    out
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |i| i + 1);
    STANDARD_NO_PAD.decode(&text[..end]).ok()
}
