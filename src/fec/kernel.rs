//! The inner loop: `out ^= c · source` over whole symbols. All unsafe code of the crate is here:
//! vector loads and stores, each inside the slices whose lengths were checked, and calls of
//! functions whose CPU features were detected. Every kernel is checked against the plain one.

use super::gf::{Tables, tables};

/// Adds `c` times `source` to `out`. Both are symbols of one even length.
///
/// # Panics
/// If the lengths differ or are odd: the caller cut the symbols.
pub(super) fn mul_add(out: &mut [u8], c: u16, source: &[u8]) {
    assert!(
        out.len() == source.len() && out.len().is_multiple_of(2),
        "symbols of one even length"
    );
    if c == 0 {
        return;
    }
    let half = out.len() / 2;
    let (out_low, out_high) = out.split_at_mut(half);
    let (low, high) = source.split_at(half);
    let done = vectors(out_low, out_high, c, low, high);
    plain(
        &mut out_low[done..],
        &mut out_high[done..],
        c,
        &low[done..],
        &high[done..],
    );
}

/// The loop without vectors: the reference for the others, and their tail.
fn plain(out_low: &mut [u8], out_high: &mut [u8], c: u16, low: &[u8], high: &[u8]) {
    let t = tables();
    let [ll, hl, lh, hh] = t.matrix(c).map(|m| &t.mul[usize::from(m)]);
    for (((ol, oh), &l), &h) in out_low.iter_mut().zip(out_high).zip(low).zip(high) {
        *ol ^= ll[usize::from(l)] ^ hl[usize::from(h)];
        *oh ^= lh[usize::from(l)] ^ hh[usize::from(h)];
    }
}

/// Does as much as whole vectors reach; returns how many elements that was.
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the feature was detected, the lengths were checked"
)]
fn vectors(out_low: &mut [u8], out_high: &mut [u8], c: u16, low: &[u8], high: &[u8]) -> usize {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return 0;
    }
    assert!(out_low.len() == out_high.len() && low.len() == high.len());
    assert!(out_low.len() == low.len());
    // SAFETY: the CPU has AVX2, and the four slices are of one length.
    unsafe { avx2(tables(), out_low, out_high, c, low, high) }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors(_: &mut [u8], _: &mut [u8], _: u16, _: &[u8], _: &[u8]) -> usize {
    0
}

/// Products by table look-up of nibbles, 32 elements at a time.
///
/// # Safety
/// The CPU must have AVX2, and the four slices must be of one length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "vector loads and stores")]
unsafe fn avx2(
    t: &Tables,
    out_low: &mut [u8],
    out_high: &mut [u8],
    c: u16,
    low: &[u8],
    high: &[u8],
) -> usize {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_loadu_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi64,
        _mm256_storeu_si256, _mm256_xor_si256,
    };

    let nibble = _mm256_set1_epi8(15);
    let table = |m: u8| {
        let bytes = &t.nibbles[usize::from(m)];
        // SAFETY: a row has 32 bytes, two loads of 16.
        unsafe {
            let first = _mm_loadu_si128(bytes.as_ptr().cast());
            let second = _mm_loadu_si128(bytes.as_ptr().add(16).cast());
            (
                _mm256_broadcastsi128_si256(first),
                _mm256_broadcastsi128_si256(second),
            )
        }
    };
    let [ll, hl, lh, hh] = t.matrix(c).map(table);
    let product = |(first, second): (__m256i, __m256i), x: __m256i, y: __m256i| {
        _mm256_xor_si256(
            _mm256_shuffle_epi8(first, x),
            _mm256_shuffle_epi8(second, y),
        )
    };
    let end = low.len() / 32 * 32;
    for at in (0..end).step_by(32) {
        // SAFETY: at + 32 <= end <= the length of each slice.
        unsafe {
            let l = _mm256_loadu_si256(low.as_ptr().add(at).cast());
            let h = _mm256_loadu_si256(high.as_ptr().add(at).cast());
            let split = |v| {
                (
                    _mm256_and_si256(v, nibble),
                    _mm256_and_si256(_mm256_srli_epi64(v, 4), nibble),
                )
            };
            let ((l0, l1), (h0, h1)) = (split(l), split(h));
            let to_low: *mut __m256i = out_low.as_mut_ptr().add(at).cast();
            let to_high: *mut __m256i = out_high.as_mut_ptr().add(at).cast();
            let a = _mm256_xor_si256(product(ll, l0, l1), product(hl, h0, h1));
            let b = _mm256_xor_si256(product(lh, l0, l1), product(hh, h0, h1));
            _mm256_storeu_si256(to_low, _mm256_xor_si256(_mm256_loadu_si256(to_low), a));
            _mm256_storeu_si256(to_high, _mm256_xor_si256(_mm256_loadu_si256(to_high), b));
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_agree_with_the_plain_loop(
            c: u16,
            source in proptest::collection::vec(any::<u8>(), 0..600),
            seed: u8,
        ) {
            let source = &source[..source.len() / 2 * 2];
            let half = source.len() / 2;
            let mut out: Vec<u8> = source.iter().map(|b| b.wrapping_mul(31) ^ seed).collect();
            let mut expected = out.clone();
            mul_add(&mut out, c, source);
            let (low, high) = expected.split_at_mut(half);
            plain(low, high, c, &source[..half], &source[half..]);
            prop_assert_eq!(out, expected);
        }
    }
}
