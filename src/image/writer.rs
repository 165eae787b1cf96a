//! What an image is restored onto: data are written in their places as they come, and what is not
//! data is cleared without being written where the system can do that.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};

/// How much of the beginning and of the end of a device is held back to the last: there are boot
/// sectors, the partition table and its backup.
pub(super) const HELD_BYTES: u64 = 1 << 20;

/// What is collected before it is looked at and written.
const BUFFER_BYTES: u64 = 1 << 20;

/// The unit in which zero bytes are told from data.
const GRAIN_BYTES: u64 = 64 << 10;

/// What a device wants its addresses to be multiples of, when it is not to be written.
const ALIGN_BYTES: u64 = 4 << 10;

/// How much is cleared by one call, which nothing interrupts.
const CLEAR_BYTES_MAX: u64 = 1 << 30;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How what is not data is cleared. A way that fails once is not tried again.
#[derive(Clone, Copy)]
enum Clear {
    /// A new file has zero bytes wherever nothing was written.
    Never,
    Punch,
    ZeroRange,
    Write,
}

/// A file or device that becomes an image from its beginning to its end.
pub(super) struct ImageWriter {
    file: File,
    size: u64,
    sync: bool,
    clear: Clear,
    /// The part that is written at once; what is before and after it is held back.
    middle: Range<u64>,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Data that are not written yet, and their place.
    buffer: Vec<u8>,
    at: u64,
    /// Where the last stretch without data begins that is not cleared yet.
    clear_from: u64,
}

impl ImageWriter {
    /// A new, empty file.
    pub(super) fn file(file: File, size: u64) -> io::Result<Self> {
        file.set_len(size)?;
        Ok(Self::new(file, size, false, Clear::Never, 0..size))
    }

    /// A device with any contents, which is not one that boots from here on until it is finished.
    pub(super) fn device(file: File, size: u64, sync: bool) -> io::Result<Self> {
        let start = size.min(HELD_BYTES);
        let end = size.saturating_sub(HELD_BYTES).max(start);
        let writer = Self::new(file, size, sync, Clear::Punch, start..end);
        writer.write_zeros(0..start)?;
        writer.write_zeros(end..size)?;
        writer.flush()?;
        Ok(writer)
    }

    fn new(file: File, size: u64, sync: bool, clear: Clear, middle: Range<u64>) -> Self {
        let zeros = |len: u64| vec![0; usize::try_from(len).unwrap_or(0)];
        Self {
            file,
            size,
            sync,
            clear,
            head: zeros(middle.start),
            tail: zeros(size - middle.end),
            middle,
            buffer: Vec::new(),
            at: 0,
            clear_from: 0,
        }
    }

    /// Puts data after what was put before.
    pub(super) fn put(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let end = self.at + self.buffer.len() as u64;
            let room = BUFFER_BYTES - end % BUFFER_BYTES;
            let (now, later) = data.split_at(data.len().min(index(room)));
            self.buffer.extend_from_slice(now);
            data = later;
            if now.len() as u64 == room {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Goes on at `offset`; what is left out is no data.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        self.write_out()?;
        self.at = offset;
        Ok(())
    }

    /// Writes what was held back, after everything else.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.clear_to(self.size)?;
        self.flush()?;
        self.file.write_all_at(&self.tail, self.middle.end)?;
        self.file.write_all_at(&self.head, 0)?;
        self.flush()
    }

    /// Whether the image has a partition table with a backup at its end, for sectors of either
    /// size.
    pub(super) fn has_backup_table(&self) -> bool {
        let there = |at: usize| self.head.get(at..at + 8) == Some(b"EFI PART");
        there(512) || there(4096)
    }

    fn flush(&self) -> io::Result<()> {
        match self.sync {
            true => self.file.sync_all(),
            false => Ok(()),
        }
    }

    /// Writes the stretches of the buffer that are data.
    fn write_out(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let at = self.at;
        let (mut from, mut pos) = (0, 0);
        while pos < buffer.len() {
            let grain = GRAIN_BYTES - (at + pos as u64) % GRAIN_BYTES;
            let end = buffer.len().min(pos + index(grain));
            if buffer[pos..end] == ZEROS[..end - pos] {
                self.write(at + from as u64, &buffer[from..pos])?;
                from = end;
            }
            pos = end;
        }
        self.write(at + from as u64, &buffer[from..])?;
        self.at += buffer.len() as u64;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.clear_to(offset)?;
        let end = offset + data.len() as u64;
        let place = |at: u64| index(at.clamp(offset, end) - offset);
        let (head, rest) = data.split_at(place(self.middle.start));
        let (middle, tail) = rest.split_at(place(self.middle.end) - head.len());
        if !head.is_empty() {
            self.head[index(offset)..][..head.len()].copy_from_slice(head);
        }
        self.file.write_all_at(middle, offset + head.len() as u64)?;
        if !tail.is_empty() {
            let from = end - tail.len() as u64 - self.middle.end;
            self.tail[index(from)..][..tail.len()].copy_from_slice(tail);
        }
        self.clear_from = end;
        Ok(())
    }

    /// Clears from where data ended up to `end`. What is held back is clear from the beginning.
    fn clear_to(&mut self, end: u64) -> io::Result<()> {
        let start = self.clear_from.max(self.middle.start);
        let end = end.min(self.middle.end);
        if start >= end || matches!(self.clear, Clear::Never) {
            return Ok(());
        }
        let (first, last) = (start.next_multiple_of(ALIGN_BYTES), end - end % ALIGN_BYTES);
        if first >= last {
            return self.write_zeros(start..end);
        }
        self.write_zeros(start..first)?;
        self.write_zeros(last..end)?;
        let mut from = first;
        while from < last {
            let len = (last - from).min(CLEAR_BYTES_MAX);
            self.clear_range(from..from + len)?;
            from += len;
        }
        Ok(())
    }

    fn clear_range(&mut self, range: Range<u64>) -> io::Result<()> {
        loop {
            let (flags, next) = match self.clear {
                Clear::Never => return Ok(()),
                Clear::Write => return self.write_zeros(range),
                Clear::Punch => (FallocateFlags::PUNCH_HOLE, Clear::ZeroRange),
                Clear::ZeroRange => (FallocateFlags::ZERO_RANGE, Clear::Write),
            };
            let flags = flags | FallocateFlags::KEEP_SIZE;
            if fallocate(&self.file, flags, range.start, range.end - range.start).is_ok() {
                return Ok(());
            }
            // Whatever the reason, the last way tells whether it matters.
            self.clear = next;
        }
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let len = index(range.end - at).min(ZEROS.len());
            self.file.write_all_at(&ZEROS[..len], at)?;
            at += len as u64;
        }
        Ok(())
    }
}

/// A length as an index; what is longer than memory is cut by the caller's own bounds.
fn index(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const MIB: usize = 1 << 20;

    /// A file full of what was there before, as a device of `size` bytes.
    fn device(size: usize) -> (File, ImageWriter) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![0xee; size], 0).unwrap();
        let writer = ImageWriter::device(file.try_clone().unwrap(), size as u64, false).unwrap();
        (file, writer)
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; index(file.metadata().unwrap().len())];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Data and zero bytes in turn, in stretches of lengths that fit nothing.
    fn image(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for (i, part) in bytes.chunks_mut(150_001).enumerate() {
            if i % 3 != 1 {
                part.fill(u8::try_from(i % 250).unwrap() + 1);
            }
        }
        bytes
    }

    #[test]
    fn every_way_of_clearing_gives_the_same() {
        for size in [
            0,
            1,
            700,
            MIB,
            MIB + 1,
            2 * MIB,
            2 * MIB + 4097,
            5 * MIB + 513,
        ] {
            let image = image(size);
            for clear in [Clear::Punch, Clear::ZeroRange, Clear::Write] {
                let (file, mut writer) = device(size);
                writer.clear = clear;
                for part in image.chunks(77_777) {
                    writer.put(part).unwrap();
                }
                writer.finish().unwrap();
                assert!(content(&file) == image, "{size}");
            }
            let file = tempfile::tempfile().unwrap();
            let mut writer = ImageWriter::file(file.try_clone().unwrap(), size as u64).unwrap();
            writer.put(&image).unwrap();
            writer.finish().unwrap();
            assert!(content(&file) == image, "{size}");
        }
    }

    #[test]
    fn what_is_skipped_is_cleared_and_needs_no_space() {
        let size = 8 * MIB;
        let (file, mut writer) = device(size);
        writer.skip_to(100).unwrap();
        writer.put(b"head").unwrap();
        writer.skip_to(4 * MIB as u64 + 5).unwrap();
        writer.put(b"middle").unwrap();
        writer.put(&[0; 300_000]).unwrap();
        writer.skip_to(size as u64 - 4).unwrap();
        writer.put(b"tail").unwrap();
        let before = content(&file);
        assert!(
            before[..MIB]
                .iter()
                .chain(&before[size - MIB..])
                .all(|&b| b == 0)
        );
        writer.finish().unwrap();
        let mut wanted = vec![0; size];
        wanted[100..104].copy_from_slice(b"head");
        wanted[4 * MIB + 5..4 * MIB + 11].copy_from_slice(b"middle");
        wanted[size - 4..].copy_from_slice(b"tail");
        assert!(content(&file) == wanted);
        let used = file.metadata().unwrap().blocks() * 512;
        assert!(used < 3 * MIB as u64, "{used}");
    }
}
