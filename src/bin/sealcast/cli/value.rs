//! Values with units on the command line.

use std::num::ParseIntError;

fn scaled(text: &str, units: &[(&str, u64)], unit: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|e: ParseIntError| e.to_string())?;
    let known = |&(name, _): &(&str, u64)| name.eq_ignore_ascii_case(suffix);
    let Some(&(_, factor)) = units.iter().find(|u| known(u)) else {
        let names: Vec<&str> = units
            .iter()
            .map(|u| u.0)
            .filter(|n| !n.is_empty())
            .collect();
        return Err(format!(
            "{suffix:?} is no unit of {unit}: use {}",
            names.join(", ")
        ));
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "the number is too large".to_owned())
}

/// Bytes, with the binary units K, M, G, T.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    scaled(
        text,
        &[
            ("", 1),
            ("K", 1 << 10),
            ("M", 1 << 20),
            ("G", 1 << 30),
            ("T", 1 << 40),
        ],
        "bytes",
    )
}

/// Bits a second, with the decimal units k, M, G.
pub(crate) fn bits_per_s(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    match scaled(text, &units, "bits a second")? {
        0 => Err("a rate of zero never ends".to_owned()),
        rate => Ok(rate),
    }
}

/// Seconds, with the units ms, s, m, h, d; in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1_000),
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    scaled(text, &units, "time")
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
        assert_eq!(percent("0.5"), Ok(0.5));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "5 M", "5Q", "-1", "99999999999999T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(bits_per_s("0").is_err());
        assert!(percent("101").is_err() && percent("x").is_err());
    }
}
