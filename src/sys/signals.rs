//! Cleaning up when a signal ends the process.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Error;
use super::wake::Wake;

/// The signals that end us and that we were not told to ignore, as `nohup` and shells in the
/// background tell their children.
fn heeded() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM]
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0)
        .collect()
}

type Job = Box<dyn FnOnce() + Send>;

/// What is to be done before a signal ends the process, with a number for each job. One thread does
/// it all: with several, one would end the process while another is still at work.
struct Jobs {
    next: u64,
    waiting: BTreeMap<u64, Job>,
    watched: bool,
}

static JOBS: Mutex<Jobs> = Mutex::new(Jobs {
    next: 0,
    waiting: BTreeMap::new(),
    watched: false,
});

fn jobs() -> MutexGuard<'static, Jobs> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a job when SIGINT, SIGTERM, SIGHUP or SIGQUIT arrives, then lets the signal do what it does
/// by default, so that the parent sees the true cause of death. Dropping the guard forgets the job.
#[derive(Debug)]
pub struct Guard(u64);

/// Installs `job` for the case that a signal ends the process.
///
/// # Errors
/// [`Error::System`] when the handler cannot be installed.
pub fn on_interrupt(job: impl FnOnce() + Send + 'static) -> Result<Guard, Error> {
    on_interrupt_of(|| Ok::<_, Error>(()), job).map(|(_, guard)| guard)
}

/// Makes something and installs the `job` that removes it; a signal in between waits for both.
///
/// # Errors
/// Those of `make`, and [`Error::System`] when the handler cannot be installed.
pub fn on_interrupt_of<T, E: From<Error>>(
    make: impl FnOnce() -> Result<T, E>,
    job: impl FnOnce() + Send + 'static,
) -> Result<(T, Guard), E> {
    let mut jobs = jobs();
    if !jobs.watched {
        clean_up_on_signals().map_err(|source| Error::System {
            what: "cannot watch for signals",
            source,
        })?;
        jobs.watched = true;
    }
    let made = make()?;
    let number = jobs.next;
    jobs.next += 1;
    jobs.waiting.insert(number, Box::new(job));
    Ok((made, Guard(number)))
}

/// Starts the thread that waits for what may never come; it ends with the process.
fn clean_up_on_signals() -> io::Result<()> {
    let mut signals = Signals::new(heeded())?;
    let clean_up = move || {
        for signal in signals.forever() {
            // Held to the end, so that nothing new is begun.
            let mut jobs = jobs();
            while let Some((_, job)) = jobs.waiting.pop_last() {
                job();
            }
            die_of(signal);
        }
    };
    std::thread::Builder::new()
        .name("sc-signal".into())
        .spawn(clean_up)
        .map(|_| ())
}

/// Notices signals instead of dying of them, for those who have something to say first.
pub struct SignalWatch {
    caught: Arc<AtomicI32>,
    last: LastJob,
}

/// What is to be done before a second signal ends the process; held while it is done.
type LastJob = Arc<Mutex<Option<Job>>>;

/// The promise of [`SignalWatch::on_second_signal`]; dropping it forgets the job.
pub struct SecondSignalJob(LastJob);

/// Watches for SIGINT, SIGTERM, SIGHUP and SIGQUIT. The first wakes `wake` up and is noted; the
/// second does what it does by default, after the job of [`SignalWatch::on_second_signal`].
///
/// # Errors
/// [`Error::System`] when the handlers cannot be installed.
pub fn watch(wake: Wake) -> Result<SignalWatch, Error> {
    let system = |source| Error::System {
        what: "cannot watch for signals",
        source,
    };
    let mut signals = Signals::new(heeded()).map_err(system)?;
    let caught = Arc::new(AtomicI32::new(0));
    let last = LastJob::default();
    let (shared, job) = (Arc::clone(&caught), Arc::clone(&last));
    std::thread::Builder::new()
        .name("sc-signal".into())
        .spawn(move || {
            for signal in signals.forever() {
                if shared.swap(signal, Ordering::SeqCst) != 0 {
                    // Held to the end: nobody forgets the job while it is done.
                    let mut job = job.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(job) = job.take() {
                        job();
                    }
                    die_of(signal);
                }
                wake.wake();
            }
        })
        .map_err(system)?;
    Ok(SignalWatch { caught, last })
}

impl SignalWatch {
    /// The signal that was caught, if one was.
    pub fn caught(&self) -> Option<i32> {
        Some(self.caught.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
    }

    /// Does `job`, in place of any other, before a second signal ends the process.
    pub fn on_second_signal(&self, job: impl FnOnce() + Send + 'static) -> SecondSignalJob {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Box::new(job));
        SecondSignalJob(Arc::clone(&self.last))
    }
}

impl std::fmt::Debug for SignalWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalWatch")
            .field("caught", &self.caught())
            .finish_non_exhaustive()
    }
}

impl Drop for SecondSignalJob {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Ends the process as `signal` does by default, so that the parent sees the true cause of death.
pub fn die_of(signal: i32) {
    if emulate_default_handler(signal).is_err() {
        std::process::exit(128 + signal);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        jobs().waiting.remove(&self.0);
    }
}
