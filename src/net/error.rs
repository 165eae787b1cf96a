//! What keeps a cast from running.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use crate::edge;

/// A socket or thread that could not be had or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not a multicast group.
    #[error("{0} is not a multicast group")]
    Group(IpAddr),
    /// The group means another network on each interface.
    #[error("the group {0} is of one link only, and which one is not said")]
    Scope(Ipv6Addr),
    /// There is no such interface.
    #[error("no network interface {name}: {source}")]
    Interface {
        /// The name given.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not know out of which interface datagrams go.
    #[error("no route to {to}: {source}")]
    NoRoute {
        /// The group or host.
        to: IpAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Another program has the port for itself.
    #[error("UDP port {port} is in use by another program: {source}")]
    PortInUse {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something about a socket.
    #[error("{what}: {source}")]
    Socket {
        /// What was attempted.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The datagrams that are asked for are too long for the way that they must go.
    #[error("datagrams of {asked} bytes do not fit {way}, whose MTU is {mtu}")]
    WayMtu {
        /// Bytes that were asked for, with headers.
        asked: usize,
        /// The interface's name, or where it goes to.
        way: String,
        /// Bytes that fit.
        mtu: usize,
    },
    /// A datagram is too long for the interface, which was not known before.
    #[error("datagrams of {bytes} bytes do not fit the interface's MTU")]
    Mtu {
        /// Bytes of the datagram with its IP header.
        bytes: usize,
    },
    /// The input could not be read.
    #[error("cannot read the input: {0}")]
    Input(#[source] io::Error),
    /// The input is not what it was before.
    #[error("the input changed: this pass over it does not end as the one before")]
    Changed,
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// The command that produces the stream failed.
    #[error("the command that produces the stream failed: {0}")]
    Producer(String),
    /// The command that consumes the stream failed.
    #[error("the command that consumes the stream failed: {0}")]
    Consumer(String),
    /// The command that consumes the stream does not want all of it.
    #[error("the command that consumes the stream ended before the stream did")]
    ConsumerEnded,
    /// The same, and it still runs.
    #[error("the command that consumes the stream closed its input before the end of the stream")]
    ConsumerClosed,
    /// The process cannot get something else of the system.
    #[error(transparent)]
    Edge(#[from] edge::Error),
    /// A signal stopped the session.
    #[error("interrupted")]
    Interrupted(i32),
}

impl Error {
    /// An error about a socket, sorted by what a person can do about it.
    pub(super) fn socket(what: &'static str, to: IpAddr, source: io::Error) -> Self {
        use rustix::io::Errno;
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NODEV | Errno::ADDRNOTAVAIL) => {
                Self::NoRoute { to, source }
            }
            _ => Self::Socket { what, source },
        }
    }
}
