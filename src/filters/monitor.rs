//! How a caller follows a long call.

use crate::sys::wake::Wake;

/// What a caller wants of a call that is under way.
#[derive(Clone, Copy)]
pub struct Monitor<'a> {
    /// Woken when the rest of the input is not wanted, so that a read that blocks can end.
    pub cancel: Option<&'a Wake>,
    /// Hears how many bytes were written so far.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Default for Monitor<'_> {
    fn default() -> Self {
        Self {
            cancel: None,
            progress: &|_| {},
        }
    }
}

impl std::fmt::Debug for Monitor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor")
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

impl Monitor<'_> {
    /// The rest of the input is not wanted.
    pub(super) fn stop(&self) {
        if let Some(cancel) = self.cancel {
            cancel.wake();
        }
    }
}
