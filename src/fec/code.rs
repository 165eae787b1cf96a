//! Making repair symbols and giving blocks back.

use super::gf::{Tables, tables};
use super::kernel::mul_add;

/// Rows that a block of `k` source symbols can have: points 0..k belong to the sources.
pub const ROWS_MAX: usize = 65_536;

/// The field point of repair row `row`.
fn point(row: u16) -> u16 {
    u16::MAX - row
}

fn coefficient(t: &Tables, row: u16, source: u16) -> u16 {
    t.inv(point(row) ^ source)
}

/// Makes repair symbol `row` of a block into `out`. `block` holds the source symbols one after the
/// other, each as long as `out`.
///
/// # Panics
/// If the block is not a whole number of symbols of even length, or `row` + k exceeds [`ROWS_MAX`].
pub fn repair(block: &[u8], row: u16, out: &mut [u8]) {
    let k = block.len() / out.len();
    assert!(
        k * out.len() == block.len() && k + usize::from(row) < ROWS_MAX,
        "row of the block"
    );
    let t = tables();
    out.fill(0);
    for (i, source) in (0u16..).zip(block.chunks_exact(out.len())) {
        mul_add(out, coefficient(t, row, i), source);
    }
}

/// Gives the missing source symbols of a block back, in place.
///
/// `missing` lists the source numbers whose symbols in `block` are not there; `repairs` holds as
/// many repair symbols with their rows, all different. The repair symbols are used up as scratch.
///
/// # Panics
/// If the counts differ, the symbols are of another length or a number is not of this block: the
/// caller has checked all of it when the symbols arrived.
pub fn recover(
    block: &mut [u8],
    symbol_len: usize,
    missing: &[u16],
    repairs: &mut [(u16, Vec<u8>)],
) {
    assert_eq!(
        missing.len(),
        repairs.len(),
        "as many repair symbols as missing ones"
    );
    let t = tables();
    // Syndromes: what each repair symbol says beyond the sources that are there.
    let mut lost = missing.iter().peekable();
    for (i, source) in (0u16..).zip(block.chunks_exact(symbol_len)) {
        if lost.next_if(|&&m| m == i).is_some() {
            continue;
        }
        for (row, symbol) in repairs.iter_mut() {
            mul_add(symbol, coefficient(t, *row, i), source);
        }
    }
    assert!(
        lost.next().is_none(),
        "missing numbers ascend and belong to the block"
    );
    let rows: Vec<u16> = repairs.iter().map(|(row, _)| *row).collect();
    let inverse = invert(t, &rows, missing);
    for (a, &m) in missing.iter().enumerate() {
        let start = usize::from(m) * symbol_len;
        let out = &mut block[start..start + symbol_len];
        out.fill(0);
        for (b, (_, symbol)) in repairs.iter().enumerate() {
            mul_add(out, inverse[a * missing.len() + b], symbol);
        }
    }
}

/// The inverse of the Cauchy matrix of `rows` over `missing`, in closed form: there is no case in
/// which it fails.
fn invert(t: &Tables, rows: &[u16], missing: &[u16]) -> Vec<u16> {
    let m = missing.len();
    let x: Vec<u16> = rows.iter().map(|&row| point(row)).collect();
    let y = missing;
    let ratio = |own: u16, opposite: &[u16], same: &[u16], skip: usize| {
        let numerator = opposite.iter().fold(1, |n, &o| t.mul(n, own ^ o));
        let others = same.iter().enumerate().filter(|&(i, _)| i != skip);
        let denominator = others.fold(1, |d, (_, &s)| t.mul(d, own ^ s));
        t.mul(numerator, t.inv(denominator))
    };
    let u: Vec<u16> = (0..m).map(|b| ratio(x[b], y, &x, b)).collect();
    let v: Vec<u16> = (0..m).map(|a| ratio(y[a], &x, y, a)).collect();
    let mut inverse = Vec::with_capacity(m * m);
    for a in 0..m {
        inverse.extend((0..m).map(|b| t.mul(t.mul(u[b], v[a]), t.inv(x[b] ^ y[a]))));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn known_coefficients() {
        let t = tables();
        let known = [
            (0, 0, 0x0f00),
            (0, 1, 0xef6a),
            (1, 0, 0xef6a),
            (7, 255, 0xf972),
        ];
        for (row, source, expected) in known {
            assert_eq!(coefficient(t, row, source), expected);
        }
        assert_eq!(coefficient(t, 1000, 300), 0x9822);
    }

    #[test]
    fn known_repair_symbols() {
        let block: Vec<u8> = (0..5 * 1408usize)
            .map(|n| ((n / 1408 * 31 + n % 1408 * 7) % 256) as u8)
            .collect();
        let known = [
            (
                0,
                "37814d1f7c000819bb4bd1d2d6dd8689ad9cc67d2af066dbb051d907d0470487",
            ),
            (
                9,
                "b4fc7eb0de8f5d70fe406c47b622fbcdbb392bfd6375b162aae522bfb6c9c9b2",
            ),
        ];
        for (row, expected) in known {
            let mut out = vec![0; 1408];
            repair(&block, row, &mut out);
            assert_eq!(blake3::hash(&out).to_hex().as_str(), expected);
        }
    }

    fn check(k: usize, len: usize, missing: &[u16], first_row: u16) {
        let block: Vec<u8> = (0..k * len).map(|n| (n * n / 7 + n) as u8).collect();
        let mut damaged = block.clone();
        for &m in missing {
            damaged[usize::from(m) * len..][..len].fill(0xee);
        }
        let mut repairs: Vec<(u16, Vec<u8>)> = (first_row..)
            .take(missing.len())
            .map(|row| {
                let mut symbol = vec![0; len];
                repair(&block, row, &mut symbol);
                (row, symbol)
            })
            .collect();
        recover(&mut damaged, len, missing, &mut repairs);
        assert!(
            damaged == block,
            "k {k}, missing {missing:?}, rows from {first_row}"
        );
    }

    #[test]
    fn extreme_blocks_come_back() {
        check(1, 2, &[0], 65_534);
        check(3, 1436, &[0, 1, 2], 0);
        check(256, 66, &(0..256).collect::<Vec<_>>(), 65_279 - 256);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_k_symbols_give_the_block_back(
            k in 1..80usize,
            half in 1..60usize,
            picks in proptest::collection::vec(any::<u16>(), 0..20),
            row in 0..60_000u16,
        ) {
            let missing: BTreeSet<u16> = picks.iter().map(|p| p % k as u16).collect();
            check(k, half * 2, &missing.into_iter().collect::<Vec<_>>(), row);
        }
    }
}
