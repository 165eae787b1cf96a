//! The inner loop: `out ^= c · source` over whole symbols. All unsafe code of the crate is here:
//! vector loads and stores, each inside the slices whose lengths were checked, and calls of
//! functions whose CPU features were detected. Every kernel is checked against the plain one.

use std::sync::OnceLock;

use super::gf::{Tables, tables};

/// What is left behind whole vectors is done in buffers of this length, a multiple of all vectors.
const PAD: usize = 64;

/// The ways of doing it, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Gfni512,
    #[cfg(target_arch = "x86_64")]
    Gfni256,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Plain,
}

impl Kernel {
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Gfni512,
        #[cfg(target_arch = "x86_64")]
        Self::Gfni256,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Plain,
    ];

    /// Whether this CPU can do it.
    fn works(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 => {
                std::arch::is_x86_feature_detected!("gfni")
                    && std::arch::is_x86_feature_detected!("avx512f")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Gfni256 => {
                std::arch::is_x86_feature_detected!("gfni")
                    && std::arch::is_x86_feature_detected!("avx2")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Plain => true,
        }
    }

    fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| {
            let works = Self::ALL.iter().find(|kernel| kernel.works());
            works.copied().unwrap_or(Self::Plain)
        })
    }

    /// Adds `c` times (`low`, `high`) to (`out_low`, `out_high`), as far as whole vectors reach;
    /// returns how many elements that was. All four must be of one length, and the kernel must
    /// work.
    #[allow(
        unsafe_code,
        reason = "the feature is detected, the lengths are checked"
    )]
    fn run(
        self,
        c: u16,
        out_low: &mut [u8],
        out_high: &mut [u8],
        low: &[u8],
        high: &[u8],
    ) -> usize {
        let len = low.len();
        assert!(out_low.len() == len && out_high.len() == len && high.len() == len);
        debug_assert!(self.works());
        let t = tables();
        match self {
            // SAFETY: `works` was true, and the four slices are of one length.
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 => unsafe { x86::gfni512(t, c, out_low, out_high, low, high) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Gfni256 => unsafe { x86::gfni256(t, c, out_low, out_high, low, high) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(t, c, out_low, out_high, low, high) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { arm::neon(t, c, out_low, out_high, low, high) },
            Self::Plain => {
                plain(t, c, out_low, out_high, low, high);
                len
            }
        }
    }

    /// The same for whole symbols.
    fn mul_add(self, out: &mut [u8], c: u16, source: &[u8]) {
        let half = out.len() / 2;
        let (out_low, out_high) = out.split_at_mut(half);
        let (low, high) = source.split_at(half);
        let done = self.run(c, out_low, out_high, low, high);
        let rest = half - done;
        if rest == 0 {
            return;
        }
        let mut pads = [[0; PAD]; 4];
        let rests = [
            &out_low[done..],
            &out_high[done..],
            &low[done..],
            &high[done..],
        ];
        for (pad, rest_of) in pads.iter_mut().zip(rests) {
            pad[..rest].copy_from_slice(rest_of);
        }
        let [a, b, l, h] = &mut pads;
        self.run(c, a, b, l, h);
        out_low[done..].copy_from_slice(&a[..rest]);
        out_high[done..].copy_from_slice(&b[..rest]);
    }
}

/// Adds `c` times `source` to `out`. Both are symbols of one even length.
///
/// # Panics
/// If the lengths differ or are odd: the caller cut the symbols.
pub(super) fn mul_add(out: &mut [u8], c: u16, source: &[u8]) {
    assert!(
        out.len() == source.len() && out.len().is_multiple_of(2),
        "symbols of one even length"
    );
    if c != 0 {
        Kernel::best().mul_add(out, c, source);
    }
}

/// The loop without vectors: the reference for the others.
fn plain(t: &Tables, c: u16, out_low: &mut [u8], out_high: &mut [u8], low: &[u8], high: &[u8]) {
    let [ll, hl, lh, hh] = t.matrix(c).map(|m| &t.mul[usize::from(m)]);
    for (((ol, oh), &l), &h) in out_low.iter_mut().zip(out_high).zip(low).zip(high) {
        *ol ^= ll[usize::from(l)] ^ hl[usize::from(h)];
        *oh ^= lh[usize::from(l)] ^ hh[usize::from(h)];
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads and stores")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_epi64x,
        _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
        _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_storeu_si512,
        _mm512_ternarylogic_epi64,
    };

    use super::Tables;

    /// Products as bit matrices, 64 elements at a time.
    ///
    /// # Safety
    /// The CPU must have GFNI and AVX-512F, and the four slices must be of one length.
    #[target_feature(enable = "gfni,avx512f")]
    pub(super) unsafe fn gfni512(
        t: &Tables,
        c: u16,
        out_low: &mut [u8],
        out_high: &mut [u8],
        low: &[u8],
        high: &[u8],
    ) -> usize {
        const XOR3: i32 = 0x96;
        let bits = |m: u8| _mm512_set1_epi64(t.bits[usize::from(m)].cast_signed());
        let [ll, hl, lh, hh] = t.matrix(c).map(bits);
        let end = low.len() / 64 * 64;
        for at in (0..end).step_by(64) {
            // SAFETY: at + 64 <= end <= the length of each slice.
            unsafe {
                let l = _mm512_loadu_si512(low.as_ptr().add(at).cast());
                let h = _mm512_loadu_si512(high.as_ptr().add(at).cast());
                let to_low = out_low.as_mut_ptr().add(at).cast();
                let to_high = out_high.as_mut_ptr().add(at).cast();
                let a = _mm512_gf2p8affine_epi64_epi8::<0>(l, ll);
                let b = _mm512_gf2p8affine_epi64_epi8::<0>(h, hl);
                let sum = _mm512_ternarylogic_epi64::<XOR3>(_mm512_loadu_si512(to_low), a, b);
                _mm512_storeu_si512(to_low, sum);
                let a = _mm512_gf2p8affine_epi64_epi8::<0>(l, lh);
                let b = _mm512_gf2p8affine_epi64_epi8::<0>(h, hh);
                let sum = _mm512_ternarylogic_epi64::<XOR3>(_mm512_loadu_si512(to_high), a, b);
                _mm512_storeu_si512(to_high, sum);
            }
        }
        end
    }

    /// Products as bit matrices, 32 elements at a time.
    ///
    /// # Safety
    /// The CPU must have GFNI and AVX2, and the four slices must be of one length.
    #[target_feature(enable = "gfni,avx2")]
    pub(super) unsafe fn gfni256(
        t: &Tables,
        c: u16,
        out_low: &mut [u8],
        out_high: &mut [u8],
        low: &[u8],
        high: &[u8],
    ) -> usize {
        let bits = |m: u8| _mm256_set1_epi64x(t.bits[usize::from(m)].cast_signed());
        let [ll, hl, lh, hh] = t.matrix(c).map(bits);
        let end = low.len() / 32 * 32;
        for at in (0..end).step_by(32) {
            // SAFETY: at + 32 <= end <= the length of each slice.
            unsafe {
                let l = _mm256_loadu_si256(low.as_ptr().add(at).cast());
                let h = _mm256_loadu_si256(high.as_ptr().add(at).cast());
                let to_low: *mut __m256i = out_low.as_mut_ptr().add(at).cast();
                let to_high: *mut __m256i = out_high.as_mut_ptr().add(at).cast();
                let a = _mm256_xor_si256(
                    _mm256_gf2p8affine_epi64_epi8::<0>(l, ll),
                    _mm256_gf2p8affine_epi64_epi8::<0>(h, hl),
                );
                let b = _mm256_xor_si256(
                    _mm256_gf2p8affine_epi64_epi8::<0>(l, lh),
                    _mm256_gf2p8affine_epi64_epi8::<0>(h, hh),
                );
                _mm256_storeu_si256(to_low, _mm256_xor_si256(_mm256_loadu_si256(to_low), a));
                _mm256_storeu_si256(to_high, _mm256_xor_si256(_mm256_loadu_si256(to_high), b));
            }
        }
        end
    }

    /// Products by table look-up of nibbles, 32 elements at a time.
    ///
    /// # Safety
    /// The CPU must have AVX2, and the four slices must be of one length.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(
        t: &Tables,
        c: u16,
        out_low: &mut [u8],
        out_high: &mut [u8],
        low: &[u8],
        high: &[u8],
    ) -> usize {
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
        let split = |v| {
            (
                _mm256_and_si256(v, nibble),
                _mm256_and_si256(_mm256_srli_epi64::<4>(v), nibble),
            )
        };
        let end = low.len() / 32 * 32;
        for at in (0..end).step_by(32) {
            // SAFETY: at + 32 <= end <= the length of each slice.
            unsafe {
                let l = _mm256_loadu_si256(low.as_ptr().add(at).cast());
                let h = _mm256_loadu_si256(high.as_ptr().add(at).cast());
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
}

#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "vector loads and stores")]
mod arm {
    use std::arch::aarch64::{
        uint8x16_t, vandq_u8, vdupq_n_u8, veorq_u8, vld1q_u8, vqtbl1q_u8, vshrq_n_u8, vst1q_u8,
    };

    use super::Tables;

    /// Products by table look-up of nibbles, 16 elements at a time.
    ///
    /// # Safety
    /// The CPU must have NEON, and the four slices must be of one length.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn neon(
        t: &Tables,
        c: u16,
        out_low: &mut [u8],
        out_high: &mut [u8],
        low: &[u8],
        high: &[u8],
    ) -> usize {
        let nibble = vdupq_n_u8(15);
        let table = |m: u8| {
            let bytes = &t.nibbles[usize::from(m)];
            // SAFETY: a row has 32 bytes, two loads of 16.
            unsafe { (vld1q_u8(bytes.as_ptr()), vld1q_u8(bytes.as_ptr().add(16))) }
        };
        let [ll, hl, lh, hh] = t.matrix(c).map(table);
        let product = |(first, second): (uint8x16_t, uint8x16_t), x: uint8x16_t, y: uint8x16_t| {
            veorq_u8(vqtbl1q_u8(first, x), vqtbl1q_u8(second, y))
        };
        let split = |v| (vandq_u8(v, nibble), vshrq_n_u8::<4>(v));
        let end = low.len() / 16 * 16;
        for at in (0..end).step_by(16) {
            // SAFETY: at + 16 <= end <= the length of each slice.
            unsafe {
                let (l0, l1) = split(vld1q_u8(low.as_ptr().add(at)));
                let (h0, h1) = split(vld1q_u8(high.as_ptr().add(at)));
                let to_low = out_low.as_mut_ptr().add(at);
                let to_high = out_high.as_mut_ptr().add(at);
                let a = veorq_u8(product(ll, l0, l1), product(hl, h0, h1));
                let b = veorq_u8(product(lh, l0, l1), product(hh, h0, h1));
                vst1q_u8(to_low, veorq_u8(vld1q_u8(to_low), a));
                vst1q_u8(to_high, veorq_u8(vld1q_u8(to_high), b));
            }
        }
        end
    }
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
            let out: Vec<u8> = source.iter().map(|b| b.wrapping_mul(31) ^ seed).collect();
            let mut expected = out.clone();
            Kernel::Plain.mul_add(&mut expected, c, source);
            for kernel in Kernel::ALL.iter().filter(|kernel| kernel.works()) {
                let mut found = out.clone();
                kernel.mul_add(&mut found, c, source);
                prop_assert_eq!(&found, &expected, "{:?}", kernel);
            }
            let mut found = out;
            mul_add(&mut found, c, source);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_best_kernel_works() {
        assert!(Kernel::best().works());
        println!("{:?}", Kernel::best());
    }
}
