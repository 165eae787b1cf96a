//! Reading files that may have holes.

use rustix::fd::AsFd;
use rustix::fs::Stat;
use rustix::io::{Errno, Result};

use crate::archive::{SEGMENTS_MAX, Segment};

/// Where an open file has data, in ascending order; `None` when it has no holes, or more than an
/// archive can tell.
///
/// # Errors
/// Those of `lseek`(2).
pub fn holes(fd: impl AsFd, stat: &Stat) -> Result<Option<Vec<Segment>>> {
    use rustix::fs::{SeekFrom, seek};
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    // What fits into one block is there or not, and the number of blocks tells.
    let block = u64::try_from(stat.st_blksize).unwrap_or(0).min(4096);
    if size == 0 || (size <= block && stat.st_blocks > 0) {
        return Ok(None);
    }
    let fd = fd.as_fd();
    let mut map = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match seek(fd, SeekFrom::Data(at)) {
            Ok(offset) if offset < size => offset,
            // Only a hole up to the end is left.
            Ok(_) | Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::NOTSUP) => return Ok(None),
            Err(e) => return Err(e),
        };
        let end = seek(fd, SeekFrom::Hole(offset))?.min(size);
        if end <= offset {
            return Ok(None);
        }
        map.push(Segment {
            offset,
            len: end - offset,
        });
        at = end;
        if map.len() > SEGMENTS_MAX {
            // More holes than a map may tell: they become zero bytes.
            return Ok(None);
        }
    }
    let dense = matches!(&map[..], [one] if one.len == size);
    Ok((!dense).then_some(map))
}

/// Reads at `offset` into `buf` until it is full or the file ends; returns the bytes read.
///
/// # Errors
/// Those of `pread`(2).
pub fn read_at(fd: impl AsFd, buf: &mut [u8], mut offset: u64) -> Result<usize> {
    let fd = fd.as_fd();
    let mut filled = 0;
    while filled < buf.len() {
        match rustix::io::pread(fd, &mut buf[filled..], offset) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                offset += n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
