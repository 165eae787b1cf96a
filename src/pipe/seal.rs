//! Sealing and opening with all processors.

use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use crate::edge::stdio::Cancel;
use crate::seal::header::Header;
use crate::seal::opener::{Opener, Trust};
use crate::seal::sealer::Sealer;
use crate::seal::signed::Preamble;
use crate::seal::stream::{NONCE_BYTES, SealedCutter, buffer};
use crate::seal::{Error, FileKey, Recipient, Ring, check};

use super::ordered;

/// More workers than this are no gain: the pipes are the limit then, and each holds a batch.
const WORKERS_MAX: usize = 8;
/// Stanzas that one worker takes at a time.
const STANZAS: usize = 64;

/// How many workers there are for this machine: as many as processors, within reason.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(WORKERS_MAX))
}

/// Buffers that are free to be used again.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn get(&self) -> Vec<u8> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().unwrap_or_else(buffer)
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(buffer);
    }
}

/// Wraps the file key for every recipient, in their order. `seed` gives 32 random bytes.
///
/// # Errors
/// [`Error::Key`] for a recipient that is no sound key, and the errors of `seed`.
pub fn wrap(
    recipients: &[Recipient],
    file_key: &FileKey,
    seed: impl Fn() -> io::Result<[u8; 32]> + Sync,
    workers: usize,
) -> Result<Vec<String>, Error> {
    let one = |recipient: &Recipient| recipient.wrap(file_key, seed()?);
    if recipients.len() <= STANZAS {
        return recipients.iter().map(one).collect();
    }
    let mut parts = recipients.chunks(STANZAS);
    let mut stanzas = Vec::with_capacity(recipients.len());
    ordered(
        workers,
        || Ok(parts.next()),
        |part| part.iter().map(one).collect::<Result<Vec<_>, Error>>(),
        |part| {
            stanzas.extend(part);
            Ok(())
        },
        || {},
    )?;
    Ok(stanzas)
}

/// Finds the file key and checks the header with it.
fn unwrap(header: &Header, ring: &Ring, workers: usize) -> Result<FileKey, Error> {
    if header.len() <= STANZAS {
        return ring.unwrap(header);
    }
    let mut starts = (0..header.len()).step_by(STANZAS);
    let mut found = None;
    // A part with the key ends the search; what the parts behind it hold does not matter.
    let result = ordered(
        workers,
        || Ok::<_, Ended>(starts.next()),
        |start| Ok(ring.try_stanzas(header, start..start + STANZAS)?),
        |part| match part {
            Some(key) => {
                found = Some(key);
                Err(Ended::Found)
            }
            None => Ok(()),
        },
        || {},
    );
    match result {
        Ok(()) | Err(Ended::Found) => check(header, found),
        Err(Ended::Failed(error)) => Err(error),
    }
}

/// Why the search for the file key ended early.
enum Ended {
    Found,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Seals `input` to `output`; returns how many bytes were written. `cancel` stops the input.
///
/// # Errors
/// The first error of input, sealer or output in the order of the stream.
pub fn seal(
    input: impl Read + Send,
    output: &mut (impl Write + Send),
    sealer: &Sealer,
    cancel: &Cancel,
    workers: usize,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, Error> {
    output.write_all(sealer.head()).map_err(Error::Write)?;
    let mut written = sealer.head().len() as u64;
    let pool = Pool::default();
    let mut cutter = sealer.cutter(input);
    ordered(
        workers,
        || cutter.next(pool.get()),
        |batch| sealer.seal(batch),
        |batch| {
            output.write_all(batch.bytes()).map_err(Error::Write)?;
            written += batch.bytes().len() as u64;
            pool.put(batch.into_buffer());
            progress(written);
            Ok(())
        },
        || cancel.cancel(),
    )?;
    output.flush().map_err(Error::Write)?;
    Ok(written)
}

/// What an open stream turned out to be.
#[derive(Debug)]
pub struct Report {
    /// Who signed, when, and what they said; nothing for an unsigned stream.
    pub preamble: Option<Preamble>,
    /// How many bytes were written.
    pub bytes: u64,
    /// How many recipients the header names.
    pub stanzas: usize,
}

/// What is needed to open a stream.
#[derive(Debug)]
pub struct OpenConfig {
    /// The identities to try.
    pub ring: Ring,
    /// Whose streams are opened.
    pub trust: Trust,
    /// The time, in seconds since 1970.
    pub now_s: u64,
    /// Bytes of the greatest header that is read.
    pub header_bytes_max: usize,
    /// Threads that work.
    pub workers: usize,
}

/// Opens `input` to `output`. `cancel` stops the input.
///
/// # Errors
/// The first error of input, stream or output in the order of the stream.
pub fn open(
    mut input: impl Read + Send,
    output: &mut (impl Write + Send),
    config: &OpenConfig,
    cancel: &Cancel,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Report, Error> {
    let (header, rest) = Header::read(&mut input, config.header_bytes_max)?;
    let file_key = unwrap(&header, &config.ring, config.workers)?;
    let mut input = io::Cursor::new(rest).chain(input);
    let mut nonce = [0; NONCE_BYTES];
    input.read_exact(&mut nonce).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated {
            offset: header.bytes().len() as u64,
        },
        _ => Error::Read(e),
    })?;
    let pool = Pool::default();
    let mut cutter = SealedCutter::new(input);
    let end = Error::Truncated {
        offset: (header.bytes().len() + NONCE_BYTES) as u64,
    };
    let first = cutter.next(pool.get())?.ok_or(end)?;
    let (opener, first) = Opener::begin(
        &header,
        &file_key,
        &nonce,
        first,
        &config.trust,
        config.now_s,
    )?;
    let stanzas = header.len();
    drop((header, file_key));

    let (mut bytes, free) = first.release(output)?;
    pool.put(free);
    ordered(
        config.workers,
        || cutter.next(pool.get()),
        |batch| opener.open(batch),
        |batch| {
            let (released, free) = batch.release(output)?;
            pool.put(free);
            bytes += released;
            progress(bytes);
            Ok(())
        },
        || cancel.cancel(),
    )?;
    output.flush().map_err(Error::Write)?;
    Ok(Report {
        preamble: opener.into_preamble(),
        bytes,
        stanzas,
    })
}
