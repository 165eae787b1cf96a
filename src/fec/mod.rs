//! The erasure code: systematic Cauchy Reed-Solomon over GF(2^16).
//!
//! A block is `k` source symbols of equal, even length. Any number of repair symbols, up to
//! 65,536 − k, can be made one at a time, each by its row number alone, and any `k` symbols of a
//! block give the block back: the code is maximum distance separable. Nothing is spent until a
//! symbol is lost.
//!
//! Source `i` stands at field point `i`, repair row `j` at point 65,535 − j, and the coefficient
//! of source `i` in row `j` is `1 / ((65535 − j) xor i)`. The field is GF((2^8)^2) with the
//! polynomials `x^8 + x^4 + x^3 + x^2 + 1` and `u^2 + u + 0x20`. A symbol of 2h bytes holds h field
//! elements: first their h low bytes, then their h high bytes.

mod code;
mod gf;
mod kernel;

pub use code::{ROWS_MAX, recover, repair};
