//! Sealing and opening with all processors.

use std::io::{self, Read, Write};

use crate::seal::armor;
use crate::seal::batches::{EndCheck, PlainBatcher, SealedBatcher};
use crate::seal::header::Header;
use crate::seal::opener::{Checker, Opened, Opener, Policy, Trust};
use crate::seal::sealer::Sealer;
use crate::seal::signed::Preamble;
use crate::seal::stream::{NONCE_BYTES, buffer, read_nonce};
use crate::seal::{Error, FileKey, Keyring, Recipient, SenderKey, check, check_mix};
use crate::sys::wake::Wake;

use crate::parallel::{Pool, Yielder, ordered};

/// More workers than this are no gain: the pipes are the limit then, and each holds a batch.
const WORKERS_MAX: usize = 8;
/// Stanzas that one worker takes at a time.
const STANZAS: usize = 64;

/// How many workers there are for this machine: as many as processors, within reason.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(WORKERS_MAX))
}

/// Wraps the file key for every recipient, in their order. `seed` gives 32 random bytes.
///
/// # Errors
/// [`Error::Key`] for a recipient that is no sound key, [`Error::Mixed`], and those of `seed`.
pub fn wrap(
    recipients: &[Recipient],
    file_key: &FileKey,
    seed: impl Fn() -> io::Result<[u8; 32]> + Sync,
    workers: usize,
) -> Result<Vec<String>, Error> {
    check_mix(recipients)?;
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
fn unwrap(header: &Header, keyring: &Keyring, workers: usize) -> Result<FileKey, Error> {
    if header.len() <= STANZAS {
        return keyring.unwrap(header);
    }
    let mut starts = (0..header.len()).step_by(STANZAS);
    let mut found = None;
    // A part with the key ends the search; what the parts behind it hold does not matter.
    let result = ordered(
        workers,
        || Ok::<_, Ended>(starts.next()),
        |start| Ok(keyring.try_stanzas(header, start..start + STANZAS)?),
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
    cancel: &Wake,
    workers: usize,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, Error> {
    output.write_all(sealer.head()).map_err(Error::Write)?;
    let mut written = sealer.head().len() as u64;
    let (pool, yielder) = (Pool::new(), Yielder::default());
    let mut batcher = sealer.batcher(input);
    ordered(
        workers,
        || batcher.next(pool.take().unwrap_or_else(buffer)),
        |batch| sealer.seal(batch, || yielder.offer()),
        |batch| {
            output.write_all(batch.bytes()).map_err(Error::Write)?;
            written += batch.bytes().len() as u64;
            pool.give(batch.into_buffer());
            progress(written);
            Ok(())
        },
        || cancel.wake(),
    )?;
    output.flush().map_err(Error::Write)?;
    Ok(written)
}

/// A sealed stream whose header was read.
#[derive(Debug)]
pub struct Incoming<R> {
    header: Header,
    rest: Vec<u8>,
    input: armor::ArmorReader<R>,
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

impl<R: Read + Send> Incoming<R> {
    /// Reads the header, of at most `header_bytes_max` bytes, from `input`, in armor or not.
    ///
    /// # Errors
    /// See [`Header::read`].
    pub fn read(input: R, header_bytes_max: usize) -> Result<Self, Error> {
        let mut input = armor::ArmorReader::new(input);
        let (header, rest) = Header::read(&mut input, header_bytes_max)?;
        Ok(Self {
            header,
            rest,
            input,
        })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Finds the file key with identities, on so many threads.
    ///
    /// # Errors
    /// See [`Keyring::unwrap`].
    pub fn unwrap(&self, keyring: &Keyring, workers: usize) -> Result<FileKey, Error> {
        unwrap(&self.header, keyring, workers)
    }

    /// Opens the stream to `output` on so many threads. `cancel` stops the input.
    ///
    /// # Errors
    /// The first error of input, stream or output in the order of the stream.
    pub fn open(
        self,
        file_key: &FileKey,
        trust: &Trust,
        output: &mut (impl Write + Send),
        workers: usize,
        cancel: &Wake,
        progress: impl FnMut(u64) + Send,
    ) -> Result<Report, Error> {
        let (header, nonce, input) = self.nonce()?;
        let (pool, yielder) = (Pool::new(), Yielder::default());
        let mut batcher = SealedBatcher::new(input);
        let first = batcher
            .next(pool.take().unwrap_or_else(buffer))?
            .ok_or_else(|| cut_off(&header))?;
        let end_check = EndCheck::new(payload_at(&header));
        let (opener, first) = Opener::begin(&header, file_key, &nonce, first, trust)?;
        let stanzas = header.len();
        drop(header);
        let bytes = release(
            (first, end_check),
            || batcher.next(pool.take().unwrap_or_else(buffer)),
            |batch| opener.open(batch, || yielder.offer()),
            output,
            (&pool, workers, cancel),
            progress,
        )?;
        Ok(Report {
            preamble: opener.into_preamble(),
            bytes,
            stanzas,
        })
    }

    /// Checks the payload of this stream that something else decrypted, and releases it to
    /// `output`; the rest is as in [`Incoming::open`]. The stream itself is not read further.
    ///
    /// # Errors
    /// The first error of payload or output in the order of the stream.
    pub fn check(
        self,
        payload: impl Read + Send,
        trust: (&[SenderKey], &Policy),
        output: &mut (impl Write + Send),
        workers: usize,
        cancel: &Wake,
        progress: impl FnMut(u64) + Send,
    ) -> Result<Report, Error> {
        let (header, nonce, _) = self.nonce()?;
        let pool = Pool::new();
        let mut batcher = PlainBatcher::of_payload(payload);
        let first = batcher
            .next(pool.take().unwrap_or_else(buffer))?
            .ok_or(Error::Unsigned)?;
        let end_check = EndCheck::new(payload_at(&header));
        let (checker, first) = Checker::begin(&header, &nonce, first, trust)?;
        let bytes = release(
            (first, end_check),
            || batcher.next(pool.take().unwrap_or_else(buffer)),
            |segment| checker.check(segment),
            output,
            (&pool, workers, cancel),
            progress,
        )?;
        Ok(Report {
            preamble: Some(checker.into_preamble()),
            bytes,
            stanzas: header.len(),
        })
    }

    fn nonce(self) -> Result<(Header, [u8; NONCE_BYTES], impl Read + Send), Error> {
        let mut input = io::Cursor::new(self.rest).chain(self.input);
        let nonce = read_nonce(&mut input, self.header.bytes().len())?;
        Ok((self.header, nonce, input))
    }
}

/// Where the chunks of the stream with this header begin.
fn payload_at(header: &Header) -> u64 {
    (header.bytes().len() + NONCE_BYTES) as u64
}

fn cut_off(header: &Header) -> Error {
    let offset = payload_at(header);
    Error::Truncated { offset }
}

/// Releases the first batch and then all others in their order; returns how many bytes that was.
fn release<J: Send>(
    (first, mut end_check): (Opened, EndCheck),
    next: impl FnMut() -> Result<Option<J>, Error> + Send,
    open: impl Fn(J) -> Opened + Sync,
    output: &mut (impl Write + Send),
    (pool, workers, cancel): (&Pool<Vec<u8>>, usize, &Wake),
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, Error> {
    let (mut bytes, free) = first.release(&mut end_check, output)?;
    pool.give(free);
    ordered(
        workers,
        next,
        |batch| Ok(open(batch)),
        |batch: Opened| {
            let (released, free) = batch.release(&mut end_check, output)?;
            pool.give(free);
            bytes += released;
            progress(bytes);
            Ok(())
        },
        || cancel.wake(),
    )?;
    end_check.finish()?;
    output.flush().map_err(Error::Write)?;
    Ok(bytes)
}
