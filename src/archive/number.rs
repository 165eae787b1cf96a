//! Numbers in headers and records, read strictly.

use super::Time;

/// A numeric field of a header: octal digits with spaces or zero bytes around them, or base 256
/// when the first bit is set. Empty is zero, as old tools write it.
pub(super) fn field(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        return base_256(first, rest);
    }
    let start = field.iter().position(|&b| b != b' ').unwrap_or(field.len());
    let field = &field[start..];
    let end = field
        .iter()
        .position(|&b| b == b' ' || b == 0)
        .unwrap_or(field.len());
    let (digits, tail) = field.split_at(end);
    if tail.iter().any(|&b| b != b' ' && b != 0) {
        return None;
    }
    digits.iter().try_fold(0i128, |n, &b| match b {
        b'0'..=b'7' => Some(n << 3 | i128::from(b - b'0')),
        _ => None,
    })
}

/// Two's complement, with the top bit replaced by a marker.
fn base_256(first: u8, rest: &[u8]) -> Option<i128> {
    let negative = first & 0x40 != 0;
    let top = if negative {
        i128::from(first) - 0x100
    } else {
        i128::from(first & 0x7f)
    };
    rest.iter()
        .try_fold(top, |n, &b| n.checked_mul(256)?.checked_add(i128::from(b)))
}

/// A decimal number of a record: digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// A time of a record: `-12.5` is twelve and a half seconds before 1970. Digits after the ninth
/// are cut, towards the past.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (whole, part) = match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    let whole = decimal(whole)?;
    if !part.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |i: usize| part.get(i).map_or(0, |&b| u32::from(b - b'0'));
    let nanos = (0..9).fold(0, |n, i| n * 10 + digit(i));
    let more = part.iter().skip(9).any(|&b| b != b'0');
    if !negative {
        let secs = i64::try_from(whole).ok()?;
        return Some(Time { secs, nanos });
    }
    let secs = 0i64.checked_sub_unsigned(whole)?;
    let nanos = nanos + u32::from(more);
    if nanos == 0 {
        return Some(Time { secs, nanos });
    }
    Some(Time {
        secs: secs.checked_sub(1)?,
        nanos: 1_000_000_000 - nanos,
    })
}

/// A time as a record's value, with as many digits as it needs.
pub(super) fn show_time(time: Time) -> String {
    let Time { secs, nanos } = time;
    let (sign, secs, nanos) = if secs < 0 && nanos > 0 {
        ("-", (secs + 1).unsigned_abs(), 1_000_000_000 - nanos)
    } else if secs < 0 {
        ("-", secs.unsigned_abs(), 0)
    } else {
        ("", secs.unsigned_abs(), nanos)
    };
    if nanos == 0 {
        return format!("{sign}{secs}");
    }
    let part = format!("{nanos:09}");
    format!("{sign}{secs}.{}", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_strictly() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b"77777777"), Some(0o77_777_777));
        assert_eq!(field(b"\x80\0\0\0\xff\xff\xff\xfe"), Some(4_294_967_294));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(b"0000648\0"), None);
        assert_eq!(field(b"-000644\0"), None);
        assert_eq!(field(b"06\0\x36\0\0\0\0"), None);
    }

    #[test]
    fn times_of_any_year() {
        let t = |text: &str, secs, nanos| {
            assert_eq!(time(text.as_bytes()), Some(Time { secs, nanos }), "{text}");
        };
        t("0", 0, 0);
        t("1.5", 1, 500_000_000);
        t("-1.5", -2, 500_000_000);
        t("-0.000000001", -1, 999_999_999);
        t("1.9999999999", 1, 999_999_999);
        t("-1.9999999999", -2, 0);
        t("-9223372036854775808", i64::MIN, 0);
        t("-9223372036854775807.5", i64::MIN, 500_000_000);
        for bad in [
            "",
            "-",
            ".5",
            "1.x",
            "1e3",
            "+1",
            "99999999999999999999",
            "9223372036854775808",
            "-9223372036854775808.5",
        ] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn times_come_back(secs in any::<i64>(), nanos in 0u32..1_000_000_000) {
            let there = Time { secs, nanos };
            prop_assert_eq!(time(show_time(there).as_bytes()), Some(there));
        }
    }
}
