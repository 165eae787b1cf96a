//! Independent zstd frames, each announced by a skippable frame with its size, so that a reader
//! can hand them to several decoders without looking inside.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// How many bytes of the tar stream go into one frame; the last has what is left.
pub const FRAME_BYTES: usize = 8 << 20;

/// The same where repetitions are looked for over a long distance.
pub const LONG_FRAME_BYTES: usize = 64 << 20;

/// The level of compression that is used unless another is asked for.
pub const LEVEL_DEFAULT: i32 = 3;

/// The magic number of the frame that announces the next one's size: pzstd's.
pub(super) const ANNOUNCE_MAGIC: u32 = 0x184D_2A50;

/// From this level on zstd works hard on what cannot be compressed; a sample tells that before.
const SAMPLED_LEVEL_MIN: i32 = 5;
/// How much of a frame is tried. Below one part in 33 that is saved it counts as incompressible.
const SAMPLE_BYTES: usize = 128 << 10;
const SAVED_PART: usize = 33;

/// Compresses frames; keeps its tables from one to the next.
pub struct Squeezer {
    compressor: Compressor<'static>,
    level: i32,
    sample: Vec<u8>,
}

impl Squeezer {
    /// A compressor for frames of [`FRAME_BYTES`].
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL_DEFAULT)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        // A frame is one window: at level 3 that is worth 2 % and costs no time.
        compressor.set_parameter(CParameter::WindowLog(FRAME_BYTES.ilog2()))?;
        Ok(Self {
            compressor,
            level: LEVEL_DEFAULT,
            sample: Vec::new(),
        })
    }

    /// A compressor for frames of [`LONG_FRAME_BYTES`], which finds repetitions in all of them.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn long() -> io::Result<Self> {
        let mut squeezer = Self::new()?;
        let compressor = &mut squeezer.compressor;
        compressor.set_parameter(CParameter::WindowLog(LONG_FRAME_BYTES.ilog2()))?;
        compressor.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        Ok(squeezer)
    }

    /// One frame of the given level, 1 to 19, with its announcement, appended to `out`. The same
    /// data and level give the same bytes, whatever was compressed before.
    ///
    /// # Errors
    /// When the compressor fails, or has no memory.
    pub fn squeeze(&mut self, data: &[u8], level: i32, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        let bound = zstd::zstd_safe::compress_bound(data.len());
        if level >= SAMPLED_LEVEL_MIN && self.is_incompressible(data)? {
            self.set(1)?;
        } else {
            self.set(level)?;
        }
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

    fn set(&mut self, level: i32) -> io::Result<()> {
        if level != self.level {
            self.compressor.set_compression_level(level)?;
            self.level = level;
        }
        Ok(())
    }

    /// Whether the middle of `data` does not get smaller.
    fn is_incompressible(&mut self, data: &[u8]) -> io::Result<bool> {
        let from = (data.len() / 2).saturating_sub(SAMPLE_BYTES / 2);
        let piece = &data[from..data.len().min(from + SAMPLE_BYTES)];
        self.set(1)?;
        self.sample
            .resize(zstd::zstd_safe::compress_bound(piece.len()), 0);
        let len = self
            .compressor
            .compress_to_buffer(piece, &mut self.sample[..])?;
        Ok(len + piece.len() / SAVED_PART > piece.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that no compressor makes smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56).to_le_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    fn frame(squeezer: &mut Squeezer, data: &[u8], level: i32) -> Vec<u8> {
        let mut out = Vec::new();
        squeezer.squeeze(data, level, &mut out).unwrap();
        out
    }

    #[test]
    fn a_frame_depends_on_its_data_and_level_alone() {
        let text = b"a line of text that comes again\n".repeat(20_000);
        let noise = noise(1 << 20);
        let mut one = Squeezer::new().unwrap();
        let first: Vec<_> = [1, 3, 5, 9, 12]
            .iter()
            .map(|level| frame(&mut one, &text, *level))
            .collect();
        for (level, wanted) in [12, 9, 5, 3, 1].iter().zip(first.iter().rev()) {
            frame(&mut one, &noise, 7);
            assert!(frame(&mut one, &text, *level) == *wanted, "{level}");
        }
    }

    #[test]
    fn noise_is_not_worked_on() {
        let noise = noise(1 << 20);
        let mut squeezer = Squeezer::new().unwrap();
        let fast = frame(&mut squeezer, &noise, 1);
        assert!(frame(&mut squeezer, &noise, 9) == fast);
        let mut mixed = noise;
        mixed[400_000..700_000].fill(7);
        let fast = frame(&mut squeezer, &mixed, 1);
        assert!(frame(&mut squeezer, &mixed, 9) != fast);
    }

    #[test]
    fn long_frames_find_what_is_far_away() {
        let block = noise(9 << 20);
        let twice = [&block[..], &block].concat();
        let mut long = Squeezer::long().unwrap();
        let first = frame(&mut long, &twice, 3);
        assert!(first.len() < block.len() + block.len() / 10);
        frame(&mut long, &block, 3);
        assert!(frame(&mut long, &twice, 3) == first);
    }
}
