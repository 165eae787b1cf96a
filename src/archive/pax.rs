//! PAX records: `LENGTH RECORD_KEY=VALUE\n`, framed by the declared length and by nothing else,
//! since a value may hold any byte.

use super::number;

/// The most bytes of records that one entry may have.
pub const RECORDS_BYTES_MAX: u64 = 1 << 20;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; any bytes.
    pub value: &'a [u8],
}

/// Appends a record to `out`.
pub fn emit(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + digits(rest);
    if digits(len) > digits(rest) {
        len = rest + digits(len);
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(n: usize) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Takes records apart, in order. A record that breaks the form ends them with an error.
pub fn parse(mut bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, &'static str>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let one = first(bytes);
        match &one {
            Ok((_, rest)) => bytes = rest,
            Err(_) => bytes = &[],
        }
        Some(one.map(|(record, _)| record))
    })
}

fn first(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), &'static str> {
    let space = bytes
        .iter()
        .take(20)
        .position(|&b| b == b' ')
        .ok_or("a record without a length")?;
    let len = number::decimal(&bytes[..space])
        .and_then(|len| usize::try_from(len).ok())
        .ok_or("a record's length is no number")?;
    if len > bytes.len() || len <= space + 1 {
        return Err("a record's length does not fit");
    }
    let (record, rest) = bytes.split_at(len);
    let body = record[space + 1..]
        .strip_suffix(b"\n")
        .ok_or("a record does not end where it says")?;
    let equals = body
        .iter()
        .position(|&b| b == b'=')
        .ok_or("a record without `=`")?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err("a record with a bad key");
    }
    Ok((Record { key, value }, rest))
}

/// The prefix of extended attributes' keys.
pub const XATTR: &[u8] = b"SCHILY.xattr.";

/// An attribute's name as it stands in a key: `=` would end the key, so it is written `%3D`, and
/// `%` itself `%25`.
pub fn escape_key(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &b in name {
        match b {
            b'%' => out.extend_from_slice(b"%25"),
            b'=' => out.extend_from_slice(b"%3D"),
            _ => out.push(b),
        }
    }
    out
}

/// The inverse of [`escape_key`], which leaves every other `%` as it is.
pub fn unescape_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            _ => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_counts_itself() {
        for len in 0..1200 {
            let mut out = Vec::new();
            emit(&mut out, b"k", &vec![b'v'; len]);
            let said: usize = std::str::from_utf8(out.split(|&b| b == b' ').next().unwrap())
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(said, out.len(), "{len}");
        }
    }

    #[test]
    fn a_newline_in_a_value_hides_nothing() {
        let mut out = Vec::new();
        emit(&mut out, b"SCHILY.xattr.user.a", b"1\n\n99 size=7\n");
        emit(&mut out, b"size", b"3");
        let records: Vec<_> = parse(&out).collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].value, b"3");
    }

    #[test]
    fn broken_records_are_errors() {
        for bad in [
            &b"x"[..],
            b"4 a=\n",
            b"99 a=b\n",
            b"6 a=bc",
            b"3 a\n",
            b"0 a=b\n",
            b"2 a=b\n",
            b"5 ab\n",
            b"-6 a=b\n",
            b" 6 a=b\n",
            b"6 =ab\n",
            b"7 a\0=b\n",
            b"18446744073709551617 a=b\n",
        ] {
            assert!(
                parse(bad).any(|r| r.is_err()),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    proptest! {
        #[test]
        fn records_come_back(pairs in proptest::collection::vec(
            ("[a-zA-Z.]{1,20}", proptest::collection::vec(any::<u8>(), 0..200)), 0..8)) {
            let mut out = Vec::new();
            for (key, value) in &pairs {
                emit(&mut out, key.as_bytes(), value);
            }
            let back: Vec<_> = parse(&out).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(back.len(), pairs.len());
            for (record, (key, value)) in back.iter().zip(&pairs) {
                prop_assert_eq!(record.key, key.as_bytes());
                prop_assert_eq!(record.value, &value[..]);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for record in parse(&bytes) {
                let _ = record;
            }
        }

        #[test]
        fn keys_come_back(name in proptest::collection::vec(
            prop_oneof![Just(b'%'), Just(b'='), Just(b'3'), Just(b'D'), any::<u8>()], 0..20)) {
            let key = escape_key(&name);
            prop_assert!(!key.contains(&b'='));
            prop_assert_eq!(unescape_key(&key), name);
        }
    }
}
