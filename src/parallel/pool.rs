//! Things that are used again: fresh memory costs page faults.

use std::sync::{Mutex, PoisonError};

/// Unused things of one kind, shared by threads.
#[derive(Debug, Default)]
pub struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    /// A pool with nothing in it.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Takes a thing, if the pool has one.
    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives a thing back.
    pub fn put(&self, thing: T) {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        things.push(thing);
    }
}
