//! Cleaning up when a signal ends the process.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Error;

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

/// Has a write beyond the limit of file sizes fail, as on a full disk, rather than end the process
/// with everything half done.
///
/// # Errors
/// [`Error::System`] when the handler cannot be installed.
pub fn survive_size_limits() -> Result<(), Error> {
    let noticed = Arc::new(AtomicBool::new(false));
    let installed = signal_hook::flag::register(SIGXFSZ, noticed);
    installed.map(drop).map_err(|source| Error::System {
        what: "cannot watch for signals",
        source,
    })
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
#[derive(Debug)]
pub struct SignalWatch {
    last: Arc<LastJobs>,
}

/// What is to be done before a second signal ends the process; held while it is done.
#[derive(Default)]
struct LastJobs(Mutex<(u64, BTreeMap<u64, Job>)>);

impl LastJobs {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Job>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LastJobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} jobs", self.lock().1.len())
    }
}

/// The promise of [`SignalWatch::on_second_signal`]; dropping it forgets the job.
#[derive(Debug)]
pub struct SecondSignalJob(Arc<LastJobs>, u64);

/// Watches for SIGINT, SIGTERM, SIGHUP and SIGQUIT. `first` hears of the first; the second does
/// what it does by default, after the jobs of [`SignalWatch::on_second_signal`]. The thread that
/// waits for them is the process's, and ends with it.
///
/// # Errors
/// [`Error::System`] when the handlers cannot be installed.
pub fn watch(first: impl FnOnce(i32) + Send + 'static) -> Result<SignalWatch, Error> {
    let failed = |what| move |source| Error::System { what, source };
    let watch = failed("cannot watch for signals");
    let mut signals = Signals::new(heeded()).map_err(watch)?;
    let last = Arc::<LastJobs>::default();
    let jobs = Arc::clone(&last);
    let mut first = Some(first);
    std::thread::Builder::new()
        .name("sc-signal".into())
        .spawn(move || {
            for signal in signals.forever() {
                if let Some(first) = first.take() {
                    first(signal);
                    continue;
                }
                // Held to the end: no thread forgets a job while it is done.
                let mut jobs = jobs.lock();
                while let Some((_, job)) = jobs.1.pop_last() {
                    job();
                }
                die_of(signal);
            }
        })
        .map_err(failed("cannot start a thread that watches for signals"))?;
    Ok(SignalWatch { last })
}

impl SignalWatch {
    /// Does `job` before a second signal ends the process.
    pub fn on_second_signal(&self, job: impl FnOnce() + Send + 'static) -> SecondSignalJob {
        let mut last = self.last.lock();
        last.0 += 1;
        let number = last.0;
        last.1.insert(number, Box::new(job));
        SecondSignalJob(Arc::clone(&self.last), number)
    }
}

impl Drop for SecondSignalJob {
    fn drop(&mut self) {
        self.0.lock().1.remove(&self.1);
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
