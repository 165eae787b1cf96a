//! A tree in one open directory merged into another, where nothing can be moved from the one to the
//! other: it is packed here and restored there.

use std::io::{self, BufReader, PipeWriter, Write, pipe};
use std::path::PathBuf;
use std::thread::Builder;

use rustix::fd::OwnedFd;

use super::pack::{TreePackConfig, pack};
use super::{Error, proc_fd};
use crate::archive::{BufWrite, XattrChoice};

/// How much is written at once.
const ROOM_BYTES: usize = 256 << 10;

/// Packs the tree in `from`, and has `restore` read it.
pub(super) fn packed(
    from: &OwnedFd,
    restore: impl FnOnce(BufReader<io::PipeReader>) -> Result<(), Error>,
) -> Result<(), Error> {
    let config = TreePackConfig {
        paths: vec![PathBuf::from(proc_fd(from))],
        xattrs: XattrChoice::all(),
        strict: true,
        ..TreePackConfig::default()
    };
    let (reader, out) = pipe().map_err(Error::Output)?;
    let room = vec![0; ROOM_BYTES];
    std::thread::scope(|scope| {
        let packer = Builder::new().name("sc-copy".into());
        // The pipe ends with what it is written to.
        let pack = || pack(&config, PipeOut { out, room }, &|_| {}).map(|(_, totals)| totals);
        let packer = packer.spawn_scoped(scope, pack);
        let packer = packer.map_err(Error::system_thread)?;
        let restored = restore(BufReader::with_capacity(ROOM_BYTES, reader));
        let packed = packer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // When one fails, the other does in its wake; what a full disk says is the cause.
        restored.and(packed.map(drop))
    })
}

/// A pipe with room to fill.
struct PipeOut {
    out: PipeWriter,
    room: Vec<u8>,
}

impl Write for PipeOut {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl BufWrite for PipeOut {
    fn buffer(&mut self) -> &mut [u8] {
        &mut self.room
    }

    fn advance(&mut self, len: usize) -> io::Result<()> {
        self.out.write_all(&self.room[..len])
    }
}
