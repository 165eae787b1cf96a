//! Waiting for sockets, threads and alarms at once.

use std::io;

use rustix::event::{PollFd, Timespec, poll};

use crate::units::{Duration, Instant};

/// The longest sleep: progress is drawn as often.
const NAP_MAX: Duration = Duration::from_ms(200);

/// Waits until one of `fds` is ready or the alarm at `until` rings.
pub fn wait(fds: &mut [PollFd<'_>], now: Instant, until: Option<Instant>) -> io::Result<()> {
    let nap = until
        .map_or(NAP_MAX, |at| at.since(now))
        .min(NAP_MAX)
        .as_us();
    let timeout = Timespec {
        tv_sec: i64::try_from(nap / 1_000_000).unwrap_or(0),
        tv_nsec: i64::try_from(nap % 1_000_000 * 1_000).unwrap_or(0),
    };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
