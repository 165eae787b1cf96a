//! Whether multicast works here at all.

use rustix::event::{PollFd, PollFlags};

use super::socket::{Buffers, send_error};
use super::{Error, NetConfig, wait};
use crate::edge::clock::Clock;
use crate::units::Duration;

/// A datagram to ourselves takes no longer than this.
const ECHO_MAX: Duration = Duration::from_secs(1);

/// Sends a datagram to the group and listens for it on the same machine: `Ok(false)` when it does
/// not come back.
///
/// # Errors
/// Any [`Error`] of the sockets.
pub fn probe(config: &NetConfig) -> Result<bool, Error> {
    let sender = config.sender()?;
    let (group, _own) = config.receiver()?;
    let clock = Clock::new();
    let until = clock.now() + ECHO_MAX;
    let text = b"sealcast probe";
    sender
        .send(config.target(), text, text.len())
        .map_err(|e| send_error(config, text.len(), e))?;
    let mut buffers = Buffers::new();
    let mut heard = false;
    while !heard && clock.now() < until {
        let mut fds = [PollFd::new(&group, PollFlags::IN)];
        wait::wait(&mut fds, clock.now(), Some(until)).map_err(|source| Error::Socket {
            what: "cannot wait",
            source,
        })?;
        group
            .receive(&mut buffers, |_, datagram| heard |= *datagram == text[..])
            .map_err(|e| Error::socket("cannot receive", config.group, e))?;
    }
    Ok(heard)
}
