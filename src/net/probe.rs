//! Whether multicast works here at all.

use rustix::event::{PollFd, PollFlags};

use super::socket::{Buffers, send_error};
use super::{Destination, Error, NetConfig};
use crate::sys::clock::Clock;
use crate::sys::wait;
use crate::units::Duration;

/// A datagram to ourselves takes no longer than this.
const ECHO_MAX: Duration = Duration::from_secs(1);

/// Sends a datagram to the group and listens for it on the same machine: `Ok(false)` when it does
/// not come back.
///
/// # Errors
/// Any [`Error`] of the sockets.
pub fn probe(config: &NetConfig) -> Result<bool, Error> {
    let link = config.sender(&Destination::default())?;
    let mut sockets = config.receiver()?;
    sockets.join()?;
    let to = link.target().ip();
    let clock = Clock::new();
    let until = clock.now() + ECHO_MAX;
    let text = b"sealcast probe";
    link.socket
        .send(link.target(), text, text.len())
        .map_err(|e| send_error(link.target(), text.len(), e))?;
    let mut buffers = Buffers::default();
    let mut heard = false;
    while !heard && clock.now() < until {
        let mut fds: Vec<_> = sockets
            .all()
            .map(|port| PollFd::new(port, PollFlags::IN))
            .collect();
        wait::wait(&mut fds, clock.now(), Some(until)).map_err(|source| Error::Socket {
            what: "cannot wait",
            source,
        })?;
        for port in sockets.all() {
            port.receive(&mut buffers, |_, datagram| heard |= *datagram == text[..])
                .map_err(|e| Error::socket("cannot receive", to, e))?;
        }
    }
    Ok(heard)
}
