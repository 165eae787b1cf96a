//! Sealing with all processors.

use std::io::{self, Read, Write};

use super::Monitor;
use crate::crypt::secret::Secret;
use crate::parallel::{Pool, Yielder, ordered};
use crate::seal::passphrase::WORK_LOG2;
use crate::seal::sealer::{Sealer, Signer};
use crate::seal::stream::buffer;
use crate::seal::{Error, FileKey, Passphrase, Recipient, armor, check_mix};
use crate::sys::entropy;

/// More workers than this are no gain: the pipes are the limit then, and each holds a batch.
const WORKERS_MAX: usize = 8;
/// Stanzas that one worker takes at a time.
pub(super) const STANZAS: usize = 64;

/// How a stream is sealed.
#[derive(Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct SealConfig {
    /// Who can open it.
    pub to: SealTo,
    /// Who signs it, when, and what is said of it; `None` for a stream that anybody may have
    /// sealed.
    pub signer: Option<Signer>,
    /// Whether it becomes text, as of `age -a`.
    pub armor: bool,
}

impl SealConfig {
    /// Seals for `to`, without a signature and armor.
    pub const fn new(to: SealTo) -> Self {
        Self {
            to,
            signer: None,
            armor: false,
        }
    }
}

/// Who can open a stream.
#[derive(Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum SealTo {
    /// The holders of these keys, at least one.
    Recipients(Vec<Recipient>),
    /// All who know the passphrase.
    Passphrase(Passphrase),
}

/// What a seal made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct SealReport {
    /// Bytes of the sealed stream, armor aside.
    pub bytes: u64,
    /// Stanzas in the header, one for each recipient.
    pub stanzas: usize,
}

/// Seals `input` to `output`: an age v1 file, with signatures inside if there is a signer.
///
/// # Errors
/// [`Error::Key`] and [`Error::Mixed`] for recipients that cannot be used; then the first error of
/// input, sealer or output in the order of the stream.
pub fn seal(
    config: SealConfig,
    input: impl Read + Send,
    output: &mut (impl Write + Send),
    monitor: Monitor<'_>,
) -> Result<SealReport, Error> {
    let file_key = Secret::new(random()?);
    let stanzas = match &config.to {
        SealTo::Recipients(recipients) => wrap(recipients, &file_key, seed, workers())?,
        SealTo::Passphrase(passphrase) => vec![passphrase.wrap(&file_key, seed()?, WORK_LOG2)?],
    };
    let sealer = Sealer::new(&stanzas, &file_key, &random()?, config.signer)?;
    let bytes = if config.armor {
        let mut armor = armor::ArmorWriter::new(output).map_err(Error::Write)?;
        let bytes = seal_with(&sealer, input, &mut armor, workers(), monitor)?;
        armor.finish().map_err(Error::Write)?;
        bytes
    } else {
        seal_with(&sealer, input, output, workers(), monitor)?
    };
    Ok(SealReport {
        bytes,
        stanzas: stanzas.len(),
    })
}

fn seed() -> io::Result<[u8; 32]> {
    entropy::seed().map_err(io::Error::other)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&seed()?[..N]);
    Ok(bytes)
}

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

/// Seals `input` to `output` with a sealer that is ready, on so many threads; returns how many
/// bytes were written.
///
/// # Errors
/// The first error of input, sealer or output in the order of the stream.
pub fn seal_with(
    sealer: &Sealer,
    input: impl Read + Send,
    output: &mut (impl Write + Send),
    workers: usize,
    monitor: Monitor<'_>,
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
            pool.put(batch.into_buffer());
            (monitor.progress)(written);
            Ok(())
        },
        || monitor.stop(),
    )?;
    output.flush().map_err(Error::Write)?;
    Ok(written)
}
