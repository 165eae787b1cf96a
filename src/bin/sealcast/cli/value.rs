//! Values with units or parts on the command line.

use std::net::{IpAddr, SocketAddr};

use sealcast::proto::limits::REDUNDANCY_MAX;
use sealcast::tree::Range;
use sealcast::wire::NAME_LEN_MAX;

/// Units and their factors.
type Units<'a> = &'a [(&'a str, u64)];

/// Bytes: in powers of 1024, but for those that say otherwise.
const BYTES: Units<'_> = &[
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("T", 1 << 40),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
];

/// Prefixes of bits a second.
const RATES: Units<'_> = &[
    ("", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

const S: u64 = 1_000;

/// Times in milliseconds.
const TIMES: Units<'_> = &[
    ("", S),
    ("ms", 1),
    ("s", S),
    ("sec", S),
    ("second", S),
    ("m", 60 * S),
    ("min", 60 * S),
    ("minute", 60 * S),
    ("h", 3_600 * S),
    ("hour", 3_600 * S),
    ("d", 86_400 * S),
    ("day", 86_400 * S),
    ("w", 604_800 * S),
    ("week", 604_800 * S),
];

/// A number at the beginning of a text, perhaps with a fraction, and the rest: the digits before
/// and behind the point.
fn number(text: &str) -> Option<(u64, &str, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    // `1.` is a slip of the finger.
    let pointed = text.len() - rest.len() > whole.len();
    let sound = !pointed || !fraction.is_empty();
    Some((
        whole.parse().ok().filter(|_| sound)?,
        fraction,
        rest.trim_start(),
    ))
}

/// A number and its fraction times a factor, cut to a whole number.
fn times(whole: u64, fraction: &str, factor: u64) -> Option<u64> {
    let places = u32::try_from(fraction.len()).ok()?;
    let part = match fraction {
        "" => 0,
        digits => {
            u128::from(factor) * digits.parse::<u64>().map(u128::from).ok()?
                / 10_u128.checked_pow(places)?
        }
    };
    let part = u64::try_from(part).ok()?;
    whole.checked_mul(factor)?.checked_add(part)
}

/// The number in `text` times the factor of the unit after it, letters of either case.
fn scaled(text: &str, units: Units<'_>) -> Option<u64> {
    let (whole, fraction, unit) = number(text)?;
    let found = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    times(whole, fraction, found.1)
}

/// Bytes, with the binary units K, M, G, T.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, BYTES)
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

/// Bits a second, with the decimal units k, M, G, and perhaps with what they are of.
pub(crate) fn bits_per_s(text: &str) -> Result<u64, String> {
    const OF_BITS: [&str; 7] = ["bit/s", "bits/s", "bits", "bit", "bps", "b/s", "b"];
    // A byte has a capital B.
    if text.ends_with("B/s") || text.ends_with('B') {
        return Err("rates are in bits a second, not bytes: 12.5MB/s is 100M".into());
    }
    let prefixed = OF_BITS.iter().find_map(|of| {
        let at = text.len().checked_sub(of.len())?;
        let (rate, end) = text.split_at_checked(at)?;
        end.eq_ignore_ascii_case(of).then_some(rate.trim_end())
    });
    scaled(prefixed.unwrap_or(text), RATES)
        .filter(|&rate| rate > 0)
        .ok_or_else(|| "give bits a second above 0, perhaps with k, M or G, such as 600M".into())
}

/// A multicast group, perhaps with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

/// An address, or an address and a port: 239.1.2.3:4567 or [ff15::1]:4567.
pub(crate) fn group(text: &str) -> Result<Group, String> {
    let bare = |ip| Group { ip, port: None };
    let full = |address: SocketAddr| Group {
        ip: address.ip(),
        port: Some(address.port()),
    };
    let parsed = text.parse().map(bare).or_else(|_| text.parse().map(full));
    let sound = parsed.ok().filter(|group| group.port != Some(0));
    sound.ok_or_else(|| "give an address, perhaps with a port, as 239.1.2.3:4567".into())
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

/// A time in milliseconds, with units in lower case; a number alone is seconds. Several follow each
/// other, as in 1h30m.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    sum(text, true).ok_or_else(|| {
        "give seconds, or a number with ms, s, m, h, d or w, such as 90s or 12h".into()
    })
}

/// A number and its unit, which is left out only if it stands `alone`, and what follows.
fn sum(text: &str, alone: bool) -> Option<u64> {
    let (whole, fraction, rest) = number(text)?;
    let (unit, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_lowercase).count());
    let is = |name: &str| unit == name || name.len() > 2 && unit.strip_suffix('s') == Some(name);
    let found = TIMES.iter().find(|(name, _)| is(name))?;
    let time = times(whole, fraction, found.1)?;
    match rest.trim_start() {
        "" if alone || !unit.is_empty() => Some(time),
        rest if !unit.is_empty() => time.checked_add(sum(rest, false)?),
        _ => None,
    }
}

/// A time of silence after which a peer is lost, in milliseconds: peers are not heard more often
/// than each second and a bit.
pub(crate) fn silence(text: &str) -> Result<u64, String> {
    milliseconds(text)
        .ok()
        .filter(|ms| (5 * S..=3_600 * S).contains(ms))
        .ok_or_else(|| "give a time from 5s to 1h".into())
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
    fn units_are_as_people_write_them() {
        for (text, wanted) in [
            ("100Mbit", 100_000_000),
            ("100 Mbit/s", 100_000_000),
            ("100Mb/s", 100_000_000),
            ("100mbps", 100_000_000),
            ("12.5M", 12_500_000),
            ("2.5Gbit", 2_500_000_000),
            ("9600", 9_600),
            ("9600bps", 9_600),
            ("0.5k", 500),
        ] {
            assert_eq!(bits_per_s(text), Ok(wanted), "{text}");
        }
        for text in [
            "12.5MB/s", "100MB", "1.5.5M", "1.M", ".5M", "M", "5Tbit", "5xbit", "é",
        ] {
            assert!(bits_per_s(text).is_err(), "{text}");
        }
        for (text, wanted) in [
            ("5min", 300_000),
            ("5 minutes", 300_000),
            ("90sec", 90_000),
            ("1h30m", 5_400_000),
            ("1h 30min", 5_400_000),
            ("1.5h", 5_400_000),
            ("0.25", 250),
            ("2days", 172_800_000),
        ] {
            assert_eq!(milliseconds(text), Ok(wanted), "{text}");
        }
        for (text, wanted) in [
            ("64MiB", 64 << 20),
            ("1.5G", 3 << 29),
            ("64MB", 64_000_000),
            ("64m", 64 << 20),
            ("512B", 512),
            ("2 TiB", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        assert_eq!(silence("30s"), Ok(30_000));
        assert!(silence("4s").is_err() && silence("2h").is_err());
    }

    #[test]
    fn a_group_may_have_a_port() {
        let shown = |text| group(text).map(|g| (g.ip.to_string(), g.port)).ok();
        assert_eq!(shown("239.1.2.3"), Some(("239.1.2.3".into(), None)));
        assert_eq!(shown("239.1.2.3:77"), Some(("239.1.2.3".into(), Some(77))));
        assert_eq!(shown("ff15::1"), Some(("ff15::1".into(), None)));
        assert_eq!(shown("[ff15::1]:77"), Some(("ff15::1".into(), Some(77))));
        for text in ["239.1.2.3:0", "239.1.2.3:x", "[ff15::1]", "pears", ""] {
            assert_eq!(shown(text), None, "{text}");
        }
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
        for text in [
            "",
            "x",
            "5 Q",
            "5Q",
            "-1",
            "99999999999999T",
            "1.99999999999999999999G",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in [
            "",
            "s",
            "-5s",
            "5m5",
            "5 5m",
            "5M",
            "1.h",
            "5mss",
            "1hm",
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
