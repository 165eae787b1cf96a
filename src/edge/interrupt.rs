//! Cleaning up when a signal ends the process.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Error;
use super::stdio::Cancel;

/// The signals that end us and that we were not told to ignore, as `nohup` and shells in the
/// background tell their children.
fn heeded() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    [SIGHUP, SIGINT, SIGTERM]
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0)
        .collect()
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs a job when SIGINT, SIGTERM or SIGHUP arrives, then lets the signal do what it does by
/// default, so that the parent sees the true cause of death. Dropping the guard forgets the job.
pub struct Guard {
    job: Arc<Mutex<Option<Job>>>,
}

/// Installs `job` for the case that a signal ends the process.
///
/// # Errors
/// [`Error::System`] when the handler cannot be installed.
pub fn on_interrupt(job: impl FnOnce() + Send + 'static) -> Result<Guard, Error> {
    let system = |source| Error::System {
        what: "cannot watch for signals",
        source,
    };
    let mut signals = Signals::new(heeded()).map_err(system)?;
    let job: Arc<Mutex<Option<Job>>> = Arc::new(Mutex::new(Some(Box::new(job))));
    let shared = Arc::clone(&job);
    // This thread waits for what may never come; it ends with the process.
    std::thread::Builder::new()
        .name("sc-signal".into())
        .spawn(move || {
            for signal in signals.forever() {
                let job = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(job) = job {
                    job();
                }
                die_of(signal);
            }
        })
        .map_err(system)?;
    Ok(Guard { job })
}

/// Notices signals instead of dying of them, for those who have something to say first.
#[derive(Debug)]
pub struct Watch {
    caught: Arc<AtomicI32>,
}

/// Watches for SIGINT, SIGTERM and SIGHUP. The first wakes `wake` up and is noted; the second does
/// what it does by default.
///
/// # Errors
/// [`Error::System`] when the handlers cannot be installed.
pub fn watch(wake: Cancel) -> Result<Watch, Error> {
    let system = |source| Error::System {
        what: "cannot watch for signals",
        source,
    };
    let mut signals = Signals::new(heeded()).map_err(system)?;
    let caught = Arc::new(AtomicI32::new(0));
    let shared = Arc::clone(&caught);
    std::thread::Builder::new()
        .name("sc-signal".into())
        .spawn(move || {
            for signal in signals.forever() {
                if shared.swap(signal, Ordering::SeqCst) != 0 {
                    die_of(signal);
                }
                wake.cancel();
            }
        })
        .map_err(system)?;
    Ok(Watch { caught })
}

impl Watch {
    /// The signal that was caught, if one was.
    pub fn caught(&self) -> Option<i32> {
        Some(self.caught.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
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
        self.job
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}
