//! Randomness of the system: the only source in the program.

use rand::TryRng;
use rand::rngs::SysRng;

use super::Error;

/// 32 random bytes of the system: a seed for keys or for a protocol's generator.
///
/// # Errors
/// [`Error::System`] when the system has no entropy source.
pub fn seed() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    SysRng
        .try_fill_bytes(&mut seed)
        .map_err(|source| Error::System {
            what: "cannot get random bytes",
            source: std::io::Error::other(source),
        })?;
    Ok(seed)
}
