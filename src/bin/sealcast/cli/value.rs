//! Values with units or parts on the command line.

use sealcast::proto::limits::REDUNDANCY_MAX;
use sealcast::tree::Range;
use sealcast::wire::NAME_LEN_MAX;

/// The number in `text` times the factor of the unit after it, letters of either case.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
        .1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes, with the binary units K, M, G, T.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1),
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
        ("T", 1 << 40),
    ];
    scaled(text, &units)
        .ok_or_else(|| "give a number of bytes, perhaps with K, M, G or T, such as 64M".into())
}

/// Bytes of a header to be read before anything is checked.
pub(crate) fn header_bytes(text: &str) -> Result<usize, String> {
    const LIMIT: usize = 1 << 30;
    let bytes = usize::try_from(bytes(text)?)
        .ok()
        .filter(|bytes| *bytes <= LIMIT);
    bytes.ok_or_else(|| "at most 1G can be asked for".into())
}

/// Bits a second, with the decimal units k, M, G.
pub(crate) fn bits_per_s(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    scaled(text, &units)
        .filter(|&rate| rate > 0)
        .ok_or_else(|| "give bits a second above 0, perhaps with k, M or G, such as 600M".into())
}

/// The name of a session, perhaps none, as long as a datagram carries it whole.
pub(crate) fn session_name(text: &str) -> Result<String, String> {
    if text.len() > NAME_LEN_MAX {
        return Err(format!("at most {NAME_LEN_MAX} bytes"));
    }
    Ok(text.to_owned())
}

/// The name of a receiver.
pub(crate) fn receiver_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("1 to {NAME_LEN_MAX} bytes"));
    }
    session_name(text)
}

/// A time in milliseconds, with the units ms, s, m, h, d, w in lower case; a number alone is
/// seconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    const S: u64 = 1_000;
    let units = [
        ("", S),
        ("ms", 1),
        ("s", S),
        ("m", 60 * S),
        ("h", 3_600 * S),
        ("d", 86_400 * S),
        ("w", 604_800 * S),
    ];
    // `1M` might as well be a month.
    let lower = Some(text).filter(|text| !text.bytes().any(|b| b.is_ascii_uppercase()));
    lower.and_then(|text| scaled(text, &units)).ok_or_else(|| {
        "give seconds, or a number with ms, s, m, h, d or w, such as 90s or 12h".into()
    })
}

/// A time in whole seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    Ok(milliseconds(text)? / 1_000)
}

/// A moment in seconds since 1970, perhaps behind an `@`.
pub(crate) fn unix_seconds(text: &str) -> Result<i64, String> {
    let number = text.strip_prefix('@').unwrap_or(text);
    let parsed = number.parse::<i64>();
    parsed.map_err(|_| "give seconds since 1970, such as 1700000000".into())
}

/// A range of owners and what it becomes: FROM:TO, or FROM:TO:COUNT.
pub(crate) fn owners(text: &str) -> Result<Range, String> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|n| n.parse().ok()).collect();
    let range = match numbers.as_deref() {
        Some([from, to]) => Range::new(*from, *to, 1),
        Some([from, to, count]) => Range::new(*from, *to, *count),
        _ => None,
    };
    range.ok_or_else(|| {
        "give two numbers below 4294967295, perhaps a count, such as 0:100000:65536".into()
    })
}

/// How many receivers must have everything for a cast to count as a success.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Require {
    /// All that were awaited.
    All,
    /// So many.
    Count(u32),
    /// This share of those that were awaited, in per cent.
    Percent(f64),
}

/// `all`, a number, or a share with a per cent sign.
pub(crate) fn require(text: &str) -> Result<Require, String> {
    let share = |text: &str| percent(text).ok().filter(|share| *share > 0.0);
    let parsed = match text.strip_suffix('%') {
        _ if text == "all" => Some(Require::All),
        Some(number) => share(number).map(Require::Percent),
        None => text.parse().ok().filter(|n| *n > 0).map(Require::Count),
    };
    parsed.ok_or_else(|| "give all, a number of receivers, or a share such as 95%".into())
}

/// A share in per cent with one decimal, perhaps above 100; as a number of thousandths.
pub(crate) fn redundancy(text: &str) -> Result<u32, String> {
    let text = text.strip_suffix('%').unwrap_or(text);
    let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
    let parsed = number(whole).zip(number(tenths).filter(|_| tenths.len() == 1));
    parsed
        .map(|(whole, tenths)| whole.saturating_mul(10).saturating_add(tenths))
        .filter(|&thousandths| thousandths <= REDUNDANCY_MAX)
        .ok_or_else(|| "give a share between 0 and 1000, such as 10, 12.5 or 20%".into())
}

/// A share in per cent, such as 5 or 0.1.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        Ok(_) => Err("not between 0 and 100".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale() {
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bits_per_s("900m"), Ok(900_000_000));
        assert_eq!(milliseconds("2"), Ok(2_000));
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert_eq!(seconds("2w"), Ok(1_209_600));
        assert_eq!(header_bytes("64K"), Ok(65_536));
        assert_eq!(percent("0.5"), Ok(0.5));
        assert_eq!(require("all"), Ok(Require::All));
        assert_eq!(require("12"), Ok(Require::Count(12)));
        assert_eq!(require("99.5%"), Ok(Require::Percent(99.5)));
    }

    #[test]
    fn owners_are_ranges() {
        assert_eq!(owners("1000:0").ok(), Range::new(1000, 0, 1));
        assert_eq!(
            owners("0:100000:65536").ok(),
            Range::new(0, 100_000, 65_536)
        );
        for text in [
            "",
            "0",
            "0:",
            ":0",
            "0:1:0",
            "0:1:2:3",
            "root:1",
            "-1:0",
            "4294967295:0",
        ] {
            assert!(owners(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_seconds() {
        assert_eq!(unix_seconds("@1700000000"), Ok(1_700_000_000));
        assert_eq!(unix_seconds("-1"), Ok(-1));
        assert!(unix_seconds("yesterday").is_err() && unix_seconds("").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "5 M", "5Q", "-1", "99999999999999T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in [
            "",
            "s",
            "-5s",
            "1.5h",
            "5 m",
            "5M5",
            "5M",
            "9999999999999999999w",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
        for text in ["", "0", "0%", "101%", "-1", "%", "some", "3 %"] {
            assert!(require(text).is_err(), "{text}");
        }
        assert!(bits_per_s("0").is_err() && header_bytes("2G").is_err());
        assert!(percent("101").is_err() && percent("x").is_err());
    }
}
