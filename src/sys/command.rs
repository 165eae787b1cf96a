//! A command that we run, at the head of a process group of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::clock::Clock;
use super::signals::{SecondSignalJob, SignalWatch};
use super::wake::Wake;
use super::{Error, wait};
use crate::units::Duration;

/// A command whose work is not wanted any more has this long to end; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(5);

/// The command and all that it started; it can be polled for its end.
pub struct ChildGroup {
    child: Child,
    /// Readable when the command has ended.
    pid: OwnedFd,
    /// A second signal ends us at once, and the command with us.
    last: Option<SecondSignalJob>,
    /// Once it is waited for, its number may be another's.
    ended: bool,
}

impl ChildGroup {
    /// Takes charge of a command that leads a process group; with `watch`, also when a second
    /// signal ends this process.
    pub fn new(mut child: Child, watch: Option<&SignalWatch>) -> Result<Self, Error> {
        let number = Pid::from_child(&child);
        let pid = pidfd_open(number, PidfdFlags::empty()).map_err(|e| {
            // What cannot be watched must not go on; it may have ended already.
            let _ = kill_process_group(number, Signal::KILL);
            let _ = child.wait();
            Error::System {
                what: "cannot watch the command",
                source: e.into(),
            }
        })?;
        // Kill the command before our end of a pipe closes: otherwise it would see the end of its
        // input, and take a partial stream for a complete one.
        let last = watch.map(|watch| {
            watch.on_second_signal(move || {
                let _ = kill_process_group(number, Signal::KILL);
            })
        });
        Ok(Self {
            child,
            pid,
            last,
            ended: false,
        })
    }

    /// How the command ended, if it has.
    pub fn ended(&mut self) -> Option<io::Result<ExitStatus>> {
        let mut fds = [PollFd::new(&self.pid, PollFlags::IN)];
        // A glance that fails is repeated.
        let _ = poll(&mut fds, Some(&Timespec::default()));
        if fds[0].revents().is_empty() {
            return None;
        }
        self.ended = true;
        self.last = None;
        self.child.try_wait().transpose()
    }

    /// Waits for the command's end, for this time or without limit, or until `cancel` is called.
    pub fn wait(
        &mut self,
        time: Option<Duration>,
        cancel: Option<&Wake>,
    ) -> Option<io::Result<ExitStatus>> {
        let clock = Clock::new();
        let until = time.map(|time| clock.now() + time);
        loop {
            if let Some(end) = self.ended() {
                return Some(end);
            }
            let mut fds = vec![PollFd::new(&self.pid, PollFlags::IN)];
            fds.extend(cancel.map(|cancel| PollFd::new(cancel, PollFlags::IN)));
            if let Err(e) = wait::wait(&mut fds, clock.now(), until) {
                return Some(Err(e));
            }
            let cancelled = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if cancelled || until.is_some_and(|until| clock.now() >= until) {
                return None;
            }
        }
    }

    /// Stops the command and all that it started, if need be by force.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        if self.wait(Some(STOP_MAX), None).is_none() {
            self.signal(Signal::KILL);
            self.wait(None, None);
        }
    }

    /// Sends a signal to the command and all that it started. Until it has ended.
    pub fn signal(&self, signal: Signal) {
        if !self.ended {
            // It may have ended by itself.
            let _ = kill_process_group(Pid::from_child(&self.child), signal);
        }
    }
}

impl AsFd for ChildGroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pid.as_fd()
    }
}
