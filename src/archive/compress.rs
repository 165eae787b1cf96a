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

/// What a compressor is set to: a level of zstd's and, where they are not zero, the logarithms of
/// the sizes of its tables, for long matches and for short ones, and how long a match is at least.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Parameters {
    level: i32,
    long_log: u32,
    short_log: u32,
    match_bytes: u32,
}

/// What we do at level 3 in frames as long as ours. One table, as at zstd's levels 1 and 2, does in
/// less time what the two of its level 3 do, which are meant for windows of 2 MiB. How large that
/// table should be is another matter for each frame, and a sample of it tells which pays.
const fn standard(sample_percent: usize) -> Parameters {
    match sample_percent {
        // Text, and pages of many sources: what they repeat is all over the frame.
        28..40 => one_table(19, 7),
        // Mostly code, which repeats itself nearby: as small as with more, in seven eighths of the
        // time.
        40..55 => one_table(18, 6),
        // Few different things, or what can hardly be compressed: 1 % larger in four fifths.
        _ => ROUGH,
    }
}

/// The setting for what gains little by another.
const ROUGH: Parameters = one_table(17, 6);

const fn one_table(log: u32, match_bytes: u32) -> Parameters {
    Parameters {
        level: 1,
        long_log: log,
        short_log: 0,
        match_bytes,
    }
}

/// Level 3 in long frames, where size counts more than time.
const LONG: Parameters = Parameters {
    level: 3,
    long_log: 19,
    short_log: 18,
    match_bytes: 0,
};

/// The shortest repetition that is looked for over a long distance, and the logarithm of how many
/// bytes there are for each that is remembered: half of what zstd chooses. 0.6 % smaller.
const LONG_MATCH_BYTES: u32 = 32;
const LONG_RATE_LOG: u32 = 6;

/// From this level on zstd works hard on what cannot be compressed, of which a sample keeps more
/// than so many percent.
const HARD_LEVEL_MIN: i32 = 5;
const HARD_PERCENT: usize = 97;

/// A sample is so many pieces out of a frame, each of so many bytes.
const SAMPLE_PIECES: usize = 8;
const PIECE_BYTES: usize = 16 << 10;

/// Compresses frames; keeps its tables from one to the next.
pub struct FrameCompressor {
    compressor: Compressor<'static>,
    long: bool,
    set: Option<Parameters>,
    sample: Vec<u8>,
    compressed: Vec<u8>,
}

impl FrameCompressor {
    /// A compressor for frames of [`FRAME_BYTES`].
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> io::Result<Self> {
        // A frame is one window: at level 3 that is worth 4 %, and costs next to no time.
        Self::with(FRAME_BYTES, false)
    }

    /// A compressor for frames of [`LONG_FRAME_BYTES`], which finds repetitions in all of them.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn long() -> io::Result<Self> {
        let mut frames = Self::with(LONG_FRAME_BYTES, true)?;
        for parameter in [
            CParameter::EnableLongDistanceMatching(true),
            CParameter::LdmMinMatch(LONG_MATCH_BYTES),
            CParameter::LdmHashRateLog(LONG_RATE_LOG),
        ] {
            frames.compressor.set_parameter(parameter)?;
        }
        Ok(frames)
    }

    fn with(frame_bytes: usize, long: bool) -> io::Result<Self> {
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
            long,
            set: None,
            sample: Vec::new(),
            compressed: Vec::new(),
        })
    }

    /// Makes `out` one frame of the given level, 1 to 19, and returns its announcement, which goes
    /// before it. The same data and level give the same bytes, whatever was compressed before.
    ///
    /// # Errors
    /// When the compressor fails, or has no memory.
    pub fn compress(
        &mut self,
        data: &[u8],
        level: i32,
        out: &mut Vec<u8>,
    ) -> io::Result<[u8; ANNOUNCEMENT_BYTES]> {
        let setting = self.choose(data, level)?;
        self.set(setting)?;
        let len = compress_into(&mut self.compressor, data, out)?;
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

    /// How to compress `data` where `level` is asked for.
    fn choose(&mut self, data: &[u8], level: i32) -> io::Result<Parameters> {
        match level {
            LEVEL_DEFAULT if self.long => Ok(LONG),
            LEVEL_DEFAULT => Ok(standard(self.sample_percent(data)?)),
            HARD_LEVEL_MIN.. if self.sample_percent(data)? > HARD_PERCENT => Ok(ROUGH),
            _ => Ok(plain(level)),
        }
    }

    fn set(&mut self, setting: Parameters) -> io::Result<()> {
        if self.set == Some(setting) {
            return Ok(());
        }
        self.compressor.set_compression_level(setting.level)?;
        for parameter in [
            CParameter::HashLog(setting.long_log),
            CParameter::ChainLog(setting.short_log),
            CParameter::MinMatch(setting.match_bytes),
        ] {
            self.compressor.set_parameter(parameter)?;
        }
        self.set = Some(setting);
        Ok(())
    }

    /// What a sample of `data` shrinks to, in percent.
    fn sample_percent(&mut self, data: &[u8]) -> io::Result<usize> {
        self.sample.clear();
        let part = data.len().div_ceil(SAMPLE_PIECES).max(PIECE_BYTES);
        for part in data.chunks(part) {
            let from = part.len().saturating_sub(PIECE_BYTES) / 2;
            let piece = &part[from..part.len().min(from + PIECE_BYTES)];
            self.sample.extend_from_slice(piece);
        }
        self.set(ROUGH)?;
        let len = compress_into(&mut self.compressor, &self.sample, &mut self.compressed)?;
        Ok(len * 100 / self.sample.len().max(1))
    }
}

/// A level as zstd has it.
fn plain(level: i32) -> Parameters {
    Parameters {
        level,
        ..Parameters::default()
    }
}

/// Makes `out` one frame of `data`; returns its length.
fn compress_into(
    compressor: &mut Compressor<'_>,
    data: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    out.clear();
    out.reserve(zstd::zstd_safe::compress_bound(data.len()));
    compressor.compress_to_buffer(data, out)
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

    fn frame(frames: &mut FrameCompressor, data: &[u8], level: i32) -> Vec<u8> {
        let mut out = Vec::new();
        let announcement = frames.compress(data, level, &mut out).unwrap();
        [&announcement[..], &out].concat()
    }

    #[test]
    fn a_frame_depends_on_its_data_and_level_alone() {
        let text = b"a line of text that comes again\n".repeat(20_000);
        let noise = noise(1 << 20);
        let mut one = FrameCompressor::new().unwrap();
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
    fn what_a_sample_keeps_chooses_the_table() {
        let logs = [27, 28, 39, 40, 54, 55].map(|percent| standard(percent).long_log);
        assert_eq!(logs, [17, 19, 19, 18, 18, 17]);
    }

    #[test]
    fn noise_is_not_worked_on() {
        let noise = noise(1 << 20);
        let mut frames = FrameCompressor::new().unwrap();
        let fast = frame(&mut frames, &noise, 1);
        assert!(frame(&mut frames, &noise, 9) == fast);
        let mut mixed = noise;
        mixed[400_000..700_000].fill(7);
        let fast = frame(&mut frames, &mixed, 1);
        assert!(frame(&mut frames, &mixed, 9) != fast);
    }

    #[test]
    fn long_frames_find_what_is_far_away() {
        let block = noise(9 << 20);
        let twice = [&block[..], &block].concat();
        let mut long = FrameCompressor::long().unwrap();
        let first = frame(&mut long, &twice, 3);
        assert!(first.len() < block.len() + block.len() / 10);
        frame(&mut long, &block, 3);
        assert!(frame(&mut long, &twice, 3) == first);
    }
}
