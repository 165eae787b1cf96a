//! Text forms: bech32 for keys, strict base64 for headers, fingerprints for people.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bech32::primitives::checksum::Checksum;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Fe1024, Hrp};
use zeroize::Zeroizing;

use crate::crypt::hash;

use super::Error;

/// Hexadecimal digits of a fingerprint: 128 bits.
const FINGERPRINT_DIGITS: usize = 32;

/// Bech32 (BIP 173) without its limit on the length, as age's keys have it.
enum Long {}

impl Checksum for Long {
    type MidstateRepr = u32;
    type CorrectionField = Fe1024;
    const ROOT_GENERATOR: Self::CorrectionField = Bech32::ROOT_GENERATOR;
    const ROOT_EXPONENTS: RangeInclusive<usize> = Bech32::ROOT_EXPONENTS;
    const CODE_LENGTH: usize = usize::MAX;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [u32; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: u32 = Bech32::TARGET_RESIDUE;
}

/// `data` as bech32 in lower case. `hrp` is one of our own constants.
pub(crate) fn bech32(hrp: &str, data: &[u8]) -> String {
    // Room for all of it at once: a text that grows leaves copies of a secret behind.
    let digits = (data.len() * 8).div_ceil(5);
    let mut text = String::with_capacity(hrp.len() + 1 + digits + Long::CHECKSUM_LENGTH);
    #[expect(
        clippy::expect_used,
        reason = "our prefixes are valid and the length has no limit"
    )]
    let hrp = Hrp::parse(hrp).expect("a valid prefix");
    #[expect(clippy::expect_used, reason = "a string takes all that is written")]
    bech32::encode_lower_to_fmt::<Long, _>(&mut text, hrp, data).expect("room in memory");
    text
}

/// The `N` bytes of a bech32 string under `hrp`, in either case but not in both.
pub(crate) fn unbech32<const N: usize>(hrp: &str, text: &str) -> Result<[u8; N], Error> {
    const WRONG: Error = Error::Key("a key with a mistyped or missing character");
    let parsed = CheckedHrpstring::new::<Long>(text).map_err(|_| WRONG)?;
    if !parsed.hrp().as_str().eq_ignore_ascii_case(hrp) {
        return Err(Error::Key("a key of another kind"));
    }
    let mut data = [0; N];
    let mut bytes = parsed.byte_iter();
    for byte in &mut data {
        *byte = bytes.next().ok_or(Error::Key("a key that is too short"))?;
    }
    // Writing it again also catches padding bits that are not zero.
    let again = Zeroizing::new(bech32(hrp, &data));
    if bytes.next().is_some() || !again.eq_ignore_ascii_case(text) {
        return Err(WRONG);
    }
    Ok(data)
}

/// Unpadded base64.
pub(crate) fn base64(data: &[u8]) -> String {
    STANDARD_NO_PAD.encode(data)
}

/// Decodes unpadded, canonical base64 of exactly `N` bytes.
pub(crate) fn unbase64<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != (N * 8).div_ceil(6) {
        return None;
    }
    let len = STANDARD_NO_PAD.decode_slice(text, &mut out).ok()?;
    (len == N).then_some(out)
}

/// Whether `line`, at most 64 characters, is unpadded, canonical base64.
pub(crate) fn is_base64(line: &[u8]) -> bool {
    let mut out = [0; 48];
    line.len() <= 64 && STANDARD_NO_PAD.decode_slice(line, &mut out).is_ok()
}

/// What people compare: the first 128 bits of SHA-256 of a public key's text form, in hexadecimal.
pub(crate) fn fingerprint(public: &str) -> String {
    let mut digits = hex::encode(hash::sha256(public.as_bytes()));
    digits.truncate(FINGERPRINT_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_key_in_both_cases() {
        let text = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        let data: [u8; 32] = unbech32("age", text).unwrap();
        assert_eq!(bech32("age", &data), text);
        assert_eq!(unbech32("age", &text.to_uppercase()).unwrap(), data);
        let mut mixed = text.to_string();
        mixed.replace_range(4..5, "Z");
        assert!(unbech32::<32>("age", &mixed).is_err());
        assert!(unbech32::<32>("sealsign", text).is_err());
    }

    #[test]
    fn base64_is_canonical() {
        assert!(is_base64(b""));
        assert!(is_base64(b"AAAA"));
        assert!(is_base64(b"AA"));
        assert!(!is_base64(b"AB"), "bits set beyond the end");
        assert!(!is_base64(b"AA=="));
        assert!(!is_base64(b"A"));
        assert!(!is_base64(b"AA_-"));
        assert_eq!(unbase64::<1>(b"/w"), Some([0xff]));
        assert_eq!(unbase64::<2>(b"/w"), None);
        assert_eq!(unbase64::<1>(b"/x"), None);
    }

    proptest! {
        #[test]
        fn bech32_comes_back(data: [u8; 32]) {
            let text = bech32("sealsign-secret-", &data);
            prop_assert_eq!(unbech32::<32>("sealsign-secret-", &text).unwrap(), data);
        }

        #[test]
        fn one_wrong_character_is_noticed(data: [u8; 32], at in 4usize..62, to in "[a-z0-9]") {
            let mut text = bech32("age", &data);
            prop_assume!(text[at..=at] != to);
            text.replace_range(at..=at, &to);
            prop_assert!(unbech32::<32>("age", &text).is_err());
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,90}") {
            let _ = unbech32::<32>("age", &text);
        }
    }
}
