//! Independent zstd frames, each announced by a skippable frame with its size, so that a reader
//! can hand them to several decoders without looking inside.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// How many bytes of the tar stream go into one frame; the last has what is left.
pub const FRAME_BYTES: usize = 16 << 20;

/// The same where repetitions are looked for over a long distance.
pub const LONG_FRAME_BYTES: usize = 64 << 20;

/// The level of compression that is used unless another is asked for.
pub const LEVEL_DEFAULT: i32 = 3;

/// The magic number of the frame that announces the next one's size: pzstd's.
pub(super) const ANNOUNCE_MAGIC: u32 = 0x184D_2A50;

/// The length of such a frame: magic number, length of the rest, size.
pub const ANNOUNCEMENT_BYTES: usize = 12;

/// The logarithms of the sizes of a compressor's tables, for long matches and for short ones, and
/// how long these are; zero leaves zstd its choice.
#[derive(Clone, Copy, Default)]
struct Tables {
    long_log: u32,
    short_log: u32,
    short_bytes: u32,
}

/// What level 3 has in frames as long as ours: zstd chooses for windows of 2 MiB. Twice the room
/// for short matches makes a tree of small files 2 % smaller and takes 4 % longer; to look for
/// fewer of them makes it 1 % larger and takes 5 % less.
const TABLES: Tables = Tables {
    long_log: 0,
    short_log: 17,
    short_bytes: 6,
};

/// The same in long frames, where size counts more than time: 1.5 % smaller.
const LONG_TABLES: Tables = Tables {
    long_log: 19,
    short_log: 18,
    short_bytes: 0,
};

/// The shortest repetition that is looked for over a long distance, and the logarithm of how many
/// bytes there are for each that is remembered: half of what zstd chooses. 0.6 % smaller.
const LONG_MATCH_BYTES: u32 = 32;
const LONG_RATE_LOG: u32 = 6;

/// From this level on zstd works hard on what cannot be compressed; a sample tells that before.
const SAMPLED_LEVEL_MIN: i32 = 5;
/// How much of a frame is tried. Below one part in 33 that is saved it counts as incompressible.
const SAMPLE_BYTES: usize = 128 << 10;
const SAVED_PART: usize = 33;

/// Compresses frames; keeps its tables from one to the next.
pub struct Squeezer {
    compressor: Compressor<'static>,
    tables: Tables,
    level: Option<i32>,
    sample: Vec<u8>,
}

impl Squeezer {
    /// A compressor for frames of [`FRAME_BYTES`].
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> io::Result<Self> {
        // A frame is one window: at level 3 that is worth 4 %, and costs next to no time.
        Self::with(FRAME_BYTES, TABLES)
    }

    /// A compressor for frames of [`LONG_FRAME_BYTES`], which finds repetitions in all of them.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn long() -> io::Result<Self> {
        let mut squeezer = Self::with(LONG_FRAME_BYTES, LONG_TABLES)?;
        for parameter in [
            CParameter::EnableLongDistanceMatching(true),
            CParameter::LdmMinMatch(LONG_MATCH_BYTES),
            CParameter::LdmHashRateLog(LONG_RATE_LOG),
        ] {
            squeezer.compressor.set_parameter(parameter)?;
        }
        Ok(squeezer)
    }

    fn with(frame_bytes: usize, tables: Tables) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL_DEFAULT)?;
        for parameter in [
            CParameter::ChecksumFlag(true),
            CParameter::ContentSizeFlag(true),
            CParameter::WindowLog(frame_bytes.ilog2()),
        ] {
            compressor.set_parameter(parameter)?;
        }
        Ok(Self {
            compressor,
            tables,
            level: None,
            sample: Vec::new(),
        })
    }

    /// Makes `out` one frame of the given level, 1 to 19, and returns its announcement, which goes
    /// before it. The same data and level give the same bytes, whatever was compressed before.
    ///
    /// # Errors
    /// When the compressor fails, or has no memory.
    pub fn squeeze(
        &mut self,
        data: &[u8],
        level: i32,
        out: &mut Vec<u8>,
    ) -> io::Result<[u8; ANNOUNCEMENT_BYTES]> {
        if level >= SAMPLED_LEVEL_MIN && self.is_incompressible(data)? {
            self.set(1)?;
        } else {
            self.set(level)?;
        }
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(data.len()));
        let len = self.compressor.compress_to_buffer(data, out)?;
        let size = u32::try_from(len).map_err(io::Error::other)?;
        let mut announcement = [0; ANNOUNCEMENT_BYTES];
        for (to, number) in announcement
            .chunks_exact_mut(4)
            .zip([ANNOUNCE_MAGIC, 4, size])
        {
            to.copy_from_slice(&number.to_le_bytes());
        }
        Ok(announcement)
    }

    fn set(&mut self, level: i32) -> io::Result<()> {
        if self.level == Some(level) {
            return Ok(());
        }
        self.compressor.set_compression_level(level)?;
        let tables = if level == LEVEL_DEFAULT {
            self.tables
        } else {
            Tables::default()
        };
        for parameter in [
            CParameter::HashLog(tables.long_log),
            CParameter::ChainLog(tables.short_log),
            CParameter::MinMatch(tables.short_bytes),
        ] {
            self.compressor.set_parameter(parameter)?;
        }
        self.level = Some(level);
        Ok(())
    }

    /// Whether the middle of `data` does not get smaller.
    fn is_incompressible(&mut self, data: &[u8]) -> io::Result<bool> {
        let from = (data.len() / 2).saturating_sub(SAMPLE_BYTES / 2);
        let piece = &data[from..data.len().min(from + SAMPLE_BYTES)];
        self.set(1)?;
        self.sample.clear();
        self.sample
            .reserve(zstd::zstd_safe::compress_bound(piece.len()));
        let len = self
            .compressor
            .compress_to_buffer(piece, &mut self.sample)?;
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
        let announcement = squeezer.squeeze(data, level, &mut out).unwrap();
        [&announcement[..], &out].concat()
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
