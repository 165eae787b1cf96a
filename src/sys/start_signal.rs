//! A person who says that it is time to start: by SIGUSR1, or by Enter on the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp};
use signal_hook::consts::SIGUSR1;

use super::Error;

/// Whether a person wants to start.
#[derive(Debug)]
pub struct StartSignal {
    signal: Arc<AtomicBool>,
    terminal: Option<File>,
}

impl StartSignal {
    /// Listens to no signal and no terminal: only [`StartSignal::request`] starts.
    pub fn manual() -> Self {
        Self {
            signal: Arc::default(),
            terminal: None,
        }
    }

    /// Asks to start.
    pub fn request(&self) {
        self.signal.store(true, Ordering::Relaxed);
    }

    /// Listens for SIGUSR1, and to the terminal that we were started from, if standard
    /// error is one.
    ///
    /// # Errors
    /// [`Error::System`] when the handler cannot be installed.
    pub fn new() -> Result<Self, Error> {
        let signal = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGUSR1, Arc::clone(&signal)).map_err(|source| {
            Error::System {
                what: "cannot watch for signals",
                source,
            }
        })?;
        let flags = i32::try_from(OFlags::NONBLOCK.bits() | OFlags::NOCTTY.bits()).unwrap_or(0);
        // Who has no terminal has signals.
        let open = || {
            OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open("/dev/tty")
                .ok()
        };
        let terminal = io::stderr().is_terminal().then(open).flatten();
        Ok(Self { signal, terminal })
    }

    /// The terminal, while what is typed there is for us: we are in the foreground, so that reading
    /// does not stop us, and it shows what is typed, so that no passphrase is being asked for.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        let terminal = self.terminal.as_ref()?;
        let ours = tcgetpgrp(terminal).ok()? == getpgrp();
        let modes = tcgetattr(terminal).ok()?.local_modes;
        let typed = modes.contains(LocalModes::ICANON | LocalModes::ECHO);
        (ours && typed).then(|| terminal.as_fd())
    }

    /// Whether a person asked to start since the last call.
    pub fn requested(&self) -> bool {
        self.signal.swap(false, Ordering::Relaxed) || self.entered()
    }

    fn entered(&self) -> bool {
        let ready = |fd: BorrowedFd<'_>| {
            let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).is_ok()
                && fds[0].revents().contains(PollFlags::IN)
        };
        let line = &mut [0; 256];
        self.terminal().is_some_and(ready)
            && self
                .terminal
                .as_ref()
                .is_some_and(|mut terminal| terminal.read(line).is_ok_and(|n| n > 0))
    }
}
