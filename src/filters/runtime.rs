//! What a session needs of its process: randomness, a clock, and a handle that stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::sys::clock::Clock;
use crate::sys::wake::Wake;
use crate::sys::{Error, entropy};

/// The process as one session sees it. Each session has one of its own, so that several can run in
/// one process and end apart.
#[derive(Debug)]
pub struct Runtime {
    /// Randomness for keys and delays, which must never serve twice.
    pub(super) seed: [u8; 32],
    pub(super) clock: Clock,
    pub(super) stopper: Stopper,
}

impl Runtime {
    /// Randomness of the system and a clock that begins now.
    ///
    /// # Errors
    /// [`Error::System`] without randomness or a descriptor.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            seed: entropy::seed()?,
            clock: Clock::new(),
            stopper: Stopper {
                signal: Arc::default(),
                wake: Wake::new()?,
            },
        })
    }

    /// The handle that stops the session, for another thread or a signal handler's.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Wakes the session's driver up.
    pub(super) const fn wake(&self) -> &Wake {
        &self.stopper.wake
    }

    /// The signal that the session was stopped with, if it was.
    pub(super) fn stopped(&self) -> Option<i32> {
        Some(self.stopper.signal.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
    }
}

/// Stops a session from outside. Its peers are told, and the call that runs it returns
/// [`Error::Interrupted`](super::Error::Interrupted).
#[derive(Clone, Debug)]
pub struct Stopper {
    signal: Arc<AtomicI32>,
    wake: Wake,
}

impl Stopper {
    /// Stops the session as this signal does, say 15 for SIGTERM.
    pub fn stop(&self, signal: i32) {
        self.signal.store(signal, Ordering::SeqCst);
        self.wake.wake();
    }
}
