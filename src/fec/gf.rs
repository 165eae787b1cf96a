//! Arithmetic in GF(2^16) as a tower over GF(2^8).

use std::sync::OnceLock;

/// `x^8 + x^4 + x^3 + x^2 + 1`.
const POLYNOMIAL: u16 = 0x11d;
/// The constant of `u^2 + u + DELTA`: the least one that makes it irreducible.
pub(super) const DELTA: u8 = 0x20;

/// Tables of GF(2^8).
pub(super) struct Tables {
    /// `mul[a][b]` = a · b.
    pub(super) mul: Vec<[u8; 256]>,
    inv: [u8; 256],
    /// `nibbles[a]`: a times 0..16, then a times 0, 16, …, 240, for byte shuffles.
    pub(super) nibbles: Vec<[u8; 32]>,
    /// `bits[a]`: multiplication by a as a matrix of bits, rows as GF2P8AFFINEQB wants them, which
    /// takes the row of the highest bit of the product from the lowest byte.
    pub(super) bits: Vec<u64>,
}

pub(super) fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(build)
}

fn build() -> Tables {
    let mut mul = vec![[0; 256]; 256];
    let mut inv = [0; 256];
    let mut nibbles = vec![[0; 32]; 256];
    for a in 0..=255u8 {
        let row = &mut mul[usize::from(a)];
        for b in 0..=255u8 {
            let product = slow_mul(a, b);
            row[usize::from(b)] = product;
            if product == 1 {
                inv[usize::from(a)] = b;
            }
        }
        for i in 0..16 {
            nibbles[usize::from(a)][i] = row[i];
            nibbles[usize::from(a)][16 + i] = row[i << 4];
        }
    }
    let bits = mul.iter().map(matrix_of_bits).collect();
    Tables {
        mul,
        inv,
        nibbles,
        bits,
    }
}

/// The matrix of the multiplication whose products are `row`.
fn matrix_of_bits(row: &[u8; 256]) -> u64 {
    let mut bytes = [0; 8];
    for (out_bit, byte) in bytes.iter_mut().rev().enumerate() {
        for in_bit in 0..8 {
            *byte |= (row[1 << in_bit] >> out_bit & 1) << in_bit;
        }
    }
    u64::from_le_bytes(bytes)
}

fn slow_mul(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (u16::from(a), b, 0u16);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a <<= 1;
        if a & 0x100 != 0 {
            a ^= POLYNOMIAL;
        }
        b >>= 1;
    }
    product.to_le_bytes()[0]
}

impl Tables {
    fn mul8(&self, a: u8, b: u8) -> u8 {
        self.mul[usize::from(a)][usize::from(b)]
    }

    /// The product of two elements of GF(2^16).
    pub(super) fn mul(&self, a: u16, b: u16) -> u16 {
        let ([a0, a1], [b0, b1]) = (a.to_le_bytes(), b.to_le_bytes());
        let (low, high) = (self.mul8(a0, b0), self.mul8(a1, b1));
        let cross = self.mul8(a0 ^ a1, b0 ^ b1);
        u16::from_le_bytes([low ^ self.mul8(DELTA, high), cross ^ low])
    }

    /// The inverse of an element of GF(2^16); zero has none and gives zero.
    pub(super) fn inv(&self, a: u16) -> u16 {
        let [a0, a1] = a.to_le_bytes();
        let norm = self.mul8(a0, a0 ^ a1) ^ self.mul8(DELTA, self.mul8(a1, a1));
        let inverse = self.inv[usize::from(norm)];
        u16::from_le_bytes([self.mul8(inverse, a0 ^ a1), self.mul8(inverse, a1)])
    }

    /// The four GF(2^8) constants that multiply (low, high) by `c`: low to low, high to low, low to
    /// high, high to high.
    pub(super) fn matrix(&self, c: u16) -> [u8; 4] {
        let [c0, c1] = c.to_le_bytes();
        [c0, self.mul8(DELTA, c1), c1, c0 ^ c1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let t = tables();
        assert_eq!(t.mul(0x1234, 0x5678), 0xd88c);
        assert_eq!(t.inv(0x1234), 0x2ee3);
    }

    #[test]
    fn delta_is_irreducible() {
        // u^2 + u + delta has no root iff the trace of delta is one.
        let t = tables();
        let trace = |d: u8| (0..8).fold((0, d), |(sum, x), _| (sum ^ x, t.mul8(x, x))).0;
        assert_eq!((1..DELTA).find(|&d| trace(d) == 1), None);
        assert_eq!(trace(DELTA), 1);
    }

    proptest! {
        #[test]
        fn it_is_a_field(a: u16, b: u16, c: u16) {
            let t = tables();
            prop_assert_eq!(t.mul(a, t.mul(b, c)), t.mul(t.mul(a, b), c));
            prop_assert_eq!(t.mul(a, b ^ c), t.mul(a, b) ^ t.mul(a, c));
            prop_assert_eq!(t.mul(a, t.inv(a)), u16::from(a != 0));
        }
    }
}
