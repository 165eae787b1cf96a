//! Opening with all processors.

use std::io::{self, Read, Write};

use super::Monitor;
use super::seal::{STANZAS, workers};
use crate::parallel::{Pool, Yielder, ordered};
use crate::seal::armor;
use crate::seal::batches::{EndCheck, PlainBatcher, SealedBatcher};
use crate::seal::header::{HEADER_BYTES_MAX, Header};
use crate::seal::opener::{Checker, Opened, Opener, Policy, Trust};
use crate::seal::signed::Preamble;
use crate::seal::stream::{NONCE_BYTES, buffer, read_nonce};
use crate::seal::{Error, FileKey, Identity, Keyring, SenderKey, check};
use crate::sys::sandbox::within;

/// How a stream is opened.
#[derive(Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct OpenConfig {
    /// Keys that may open it.
    pub identities: Vec<Identity>,
    /// Whose streams are opened.
    pub trust: Trust,
    /// Bytes that its header may have.
    pub header_bytes_max: usize,
}

impl OpenConfig {
    /// Opens with these identities what is to be trusted.
    pub const fn new(identities: Vec<Identity>, trust: Trust) -> Self {
        Self {
            identities,
            trust,
            header_bytes_max: HEADER_BYTES_MAX,
        }
    }
}

/// Opens `input`, in armor or not, to `output`. No byte is written before the signature over it has
/// been checked.
///
/// # Errors
/// [`Error::NoIdentity`]; then the first error of input, stream or output in the order of the
/// stream.
pub fn open(
    config: &OpenConfig,
    input: impl Read + Send,
    output: &mut (impl Write + Send),
    monitor: Monitor<'_>,
) -> Result<OpenReport, Error> {
    let sealed = SealedInput::read(input, config.header_bytes_max)?;
    let file_key = sealed.unwrap(&Keyring::new(&config.identities))?;
    sealed.open(&file_key, &config.trust, output, workers(), monitor)
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

/// A sealed stream whose header was read.
#[derive(Debug)]
pub struct SealedInput<R> {
    header: Header,
    rest: Vec<u8>,
    input: armor::ArmorReader<R>,
}

/// What an open stream turned out to be.
#[derive(Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct OpenReport {
    /// Who signed, when, and what they said; nothing for an unsigned stream.
    pub preamble: Option<Preamble>,
    /// How many bytes were written.
    pub bytes: u64,
    /// How many recipients the header names.
    pub stanzas: usize,
}

impl<R: Read + Send> SealedInput<R> {
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

    /// Finds the file key with identities.
    ///
    /// # Errors
    /// See [`Keyring::unwrap`].
    pub fn unwrap(&self, keyring: &Keyring) -> Result<FileKey, Error> {
        unwrap(&self.header, keyring, workers())
    }

    /// Opens the stream to `output` on so many threads, which give up all but what is open.
    ///
    /// # Errors
    /// The first error of input, stream or output in the order of the stream.
    pub fn open(
        self,
        file_key: &FileKey,
        trust: &Trust,
        output: &mut (impl Write + Send),
        workers: usize,
        monitor: Monitor<'_>,
    ) -> Result<OpenReport, Error> {
        let open = || self.open_here(file_key, trust, output, workers, monitor);
        within("sc-open", None, open).map_err(Error::System)?
    }

    fn open_here(
        self,
        file_key: &FileKey,
        trust: &Trust,
        output: &mut (impl Write + Send),
        workers: usize,
        monitor: Monitor<'_>,
    ) -> Result<OpenReport, Error> {
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
            &ReleaseContext {
                pool: &pool,
                workers,
                monitor,
            },
        )?;
        Ok(OpenReport {
            preamble: opener.into_preamble(),
            bytes,
            stanzas,
        })
    }

    /// Checks the payload of this stream that something else decrypted, and releases it to
    /// `output`; the rest is as in [`SealedInput::open`]. The stream itself is not read further.
    ///
    /// # Errors
    /// The first error of payload or output in the order of the stream.
    pub fn check(
        self,
        payload: impl Read + Send,
        trust: (&[SenderKey], &Policy),
        output: &mut (impl Write + Send),
        workers: usize,
        monitor: Monitor<'_>,
    ) -> Result<OpenReport, Error> {
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
            &ReleaseContext {
                pool: &pool,
                workers,
                monitor,
            },
        )?;
        Ok(OpenReport {
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

/// What a release works with.
struct ReleaseContext<'a> {
    pool: &'a Pool<Vec<u8>>,
    workers: usize,
    monitor: Monitor<'a>,
}

/// Releases the first batch and then all others in their order; returns how many bytes that was.
fn release<J: Send>(
    (first, mut end_check): (Opened, EndCheck),
    next: impl FnMut() -> Result<Option<J>, Error> + Send,
    open: impl Fn(J) -> Opened + Sync,
    output: &mut (impl Write + Send),
    context: &ReleaseContext<'_>,
) -> Result<u64, Error> {
    let (mut bytes, free) = first.release(&mut end_check, output)?;
    context.pool.put(free);
    ordered(
        context.workers,
        next,
        |batch| Ok(open(batch)),
        |batch: Opened| {
            let (released, free) = batch.release(&mut end_check, output)?;
            context.pool.put(free);
            bytes += released;
            (context.monitor.progress)(bytes);
            Ok(())
        },
        || context.monitor.stop(),
    )?;
    end_check.finish()?;
    output.flush().map_err(Error::Write)?;
    Ok(bytes)
}
