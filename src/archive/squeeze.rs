//! Independent zstd frames, each announced by a skippable frame with its size, so that a reader
//! can hand them to several decoders without looking inside.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// How many bytes of the tar stream go into one frame; the last has what is left.
pub const FRAME_BYTES: usize = 8 << 20;

/// The level of compression that is used unless another is asked for.
pub const LEVEL_DEFAULT: i32 = 3;

/// The magic number of the frame that announces the next one's size: pzstd's.
pub(super) const ANNOUNCE_MAGIC: u32 = 0x184D_2A50;

/// Compresses frames; keeps its tables from one to the next.
pub struct Squeezer {
    compressor: Compressor<'static>,
}

impl Squeezer {
    /// A compressor of the given level, 1 to 19.
    ///
    /// # Errors
    /// When there is no memory for it, or the level does not exist.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self { compressor })
    }

    /// One frame with its announcement, appended to `out`. The same data and level give the same
    /// bytes, whatever was compressed before.
    ///
    /// # Errors
    /// When the compressor fails.
    pub fn squeeze(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        let bound = zstd::zstd_safe::compress_bound(data.len());
        out.resize(start + 12 + bound, 0);
        let len = self
            .compressor
            .compress_to_buffer(data, &mut out[start + 12..])?;
        out.truncate(start + 12 + len);
        let size = u32::try_from(len).map_err(io::Error::other)?;
        out[start..start + 4].copy_from_slice(&ANNOUNCE_MAGIC.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&4u32.to_le_bytes());
        out[start + 8..start + 12].copy_from_slice(&size.to_le_bytes());
        Ok(())
    }
}
