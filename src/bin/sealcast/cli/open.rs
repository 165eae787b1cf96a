//! Options of `sealcast open`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// Check the sender, decrypt.
///
/// Reads a sealed stream from standard input and writes the data that was sealed. Of a signed
/// stream nothing is written that was not checked to be the sender's, for this stream, and in its
/// place.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("trust").required(true).args(["from", "unsigned"]))]
pub(crate) struct OpenArgs {
    /// Open with the identities in FILE. Can be given many times.
    ///
    /// FILE is made by `sealcast keygen` or age-keygen(1), or is an unencrypted OpenSSH private key
    /// of type ed25519, such as /etc/ssh/ssh_host_ed25519_key.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) identity: Vec<PathBuf>,
    /// Take streams signed by SENDER: a public key, or a file of them. Can be given many times.
    ///
    /// A key is `sealsign1…` as printed by `sealcast keygen`, or `ssh-ed25519 AAAA…`. A file has
    /// one a line, perhaps followed by a name; blank lines and lines that begin with `#` are passed
    /// over. ssh keys may stand behind names, as in known_hosts or allowed_signers. Anything that
    /// does not begin like a key is taken for the name of a file.
    #[arg(short, long, value_name = "SENDER")]
    pub(crate) from: Vec<String>,
    /// Take streams without a signature, from whomever.
    ///
    /// Any age file can be opened so. Data is then written chunk by chunk, as age(1) does. A signed
    /// stream is refused: its sender is there to be checked.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Insist on the label TEXT.
    #[arg(long, value_name = "TEXT", conflicts_with = "unsigned")]
    pub(crate) label: Option<String>,
    /// Refuse streams sealed longer than DURATION ago, such as 90s, 15m, 12h, 7d or 2w.
    ///
    /// The time is the one that the sender signed. A stream from more than five minutes in the
    /// future is refused, too.
    #[arg(long, value_name = "DURATION", conflicts_with = "unsigned", value_parser = duration)]
    pub(crate) max_age: Option<u64>,
    /// Refuse streams with a serial number below N.
    #[arg(long, value_name = "N", conflicts_with = "unsigned")]
    pub(crate) min_serial: Option<u64>,
    /// Read headers of up to BYTES, such as 64K or 8M.
    ///
    /// The header grows by about 100 bytes a recipient, and all of it is read before the first
    /// byte can be checked.
    #[arg(long, value_name = "BYTES", default_value = "2M", value_parser = header_bytes)]
    pub(crate) max_header: usize,
    /// Write to FILE, which appears only when all of the stream was good.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The greatest header that can be asked for.
const HEADER_BYTES_LIMIT: usize = 1 << 30;

/// Splits `text` into a number and its unit's factor.
fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Seconds in a duration.
fn duration(text: &str) -> Result<u64, String> {
    let units = [
        ("s", 1),
        ("m", 60),
        ("h", 3_600),
        ("d", 86_400),
        ("w", 604_800),
    ];
    number(text, &units).ok_or_else(|| "give a number and s, m, h, d or w, such as 12h".into())
}

fn header_bytes(text: &str) -> Result<usize, String> {
    let units = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
    number(text, &units)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes <= HEADER_BYTES_LIMIT)
        .ok_or_else(|| "give a number of bytes, perhaps with K, M or G, up to 1G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("90s"), Ok(90));
        assert_eq!(duration("2w"), Ok(1_209_600));
        for wrong in [
            "",
            "5",
            "s",
            "-5s",
            "1.5h",
            "5 m",
            "5M",
            "99999999999999999999s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("9999999999999999999w").is_err());
        assert_eq!(header_bytes("300"), Ok(300));
        assert_eq!(header_bytes("64K"), Ok(65_536));
        assert_eq!(header_bytes("1G"), Ok(1 << 30));
        for wrong in ["", "K", "2G", "1k", "99999999999G"] {
            assert!(header_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
