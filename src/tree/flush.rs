//! Writing to the disk beside restoring, so that little is left to be written at the end.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use rustix::fd::OwnedFd;

use super::Error;

/// How much is restored from one time to the next.
const STEP_BYTES: u64 = 64 << 20;

/// Has a file system written out from time to time. Dropping this ends it.
pub(super) struct Flusher {
    tick: SyncSender<()>,
    next: u64,
}

impl Flusher {
    /// Starts a thread for the file system that holds `dir`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        dir: &OwnedFd,
    ) -> Result<Self, Error> {
        // Errors of writing are told once to each open file: this one shall not hear what is meant
        // for the one that is asked at the end.
        let dir = super::open_dir(dir, b".").map_err(Error::system("open", b""))?;
        let (tick, ticks) = sync_channel(1);
        Builder::new()
            .name("sc-flush".into())
            .spawn_scoped(scope, move || {
                while ticks.recv().is_ok() {
                    let _ = rustix::fs::syncfs(&dir);
                }
            })
            .map_err(Error::system_thread)?;
        Ok(Self {
            tick,
            next: STEP_BYTES,
        })
    }

    /// Hears that so many bytes have been restored altogether.
    pub(super) fn reached(&mut self, bytes: u64) {
        if bytes >= self.next {
            self.next = bytes + STEP_BYTES;
            // While it is still busy with the time before, it needs no other.
            let _ = self.tick.try_send(());
        }
    }
}
