//! Waking a thread that waits for descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use std::io;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::Error;

/// An event that threads wait for beside their descriptors: it wakes a driver up, and it ends the
/// blocked reads of an [`Input`](super::stdio::Input) with an error of kind `ConnectionAborted`.
#[derive(Clone, Debug)]
pub struct Wake(Arc<OwnedFd>);

impl Wake {
    /// An event that has not happened.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn new() -> Result<Self, Error> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(|fd| Self(Arc::new(fd)))
            .map_err(|e| Error::System {
                what: "cannot make an event descriptor",
                source: e.into(),
            })
    }

    /// Makes it not have happened, so that it can happen again.
    pub fn clear(&self) {
        // A counter that is zero already would block, were it not told not to.
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }

    /// Lets it happen: it stays so until [`Wake::clear`].
    pub fn wake(&self) {
        // A counter that is already full has been heard.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Waits until `fd` is ready, has failed or was hung up; if this event happens, that is an
    /// error of kind `ConnectionAborted`.
    pub(super) fn or_ready(&self, fd: &impl AsFd, ready: PollFlags) -> io::Result<()> {
        let mut fds = [PollFd::new(fd, ready), PollFd::new(self, PollFlags::IN)];
        while let Err(e) = poll(&mut fds, None) {
            if e != Errno::INTR {
                return Err(e.into());
            }
        }
        if fds[1].revents().is_empty() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped"))
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
