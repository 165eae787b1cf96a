//! What can go wrong with sockets and routes.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

/// A socket that could not be made or used.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
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
    /// A firewall of this system lets nothing out.
    #[error("cannot send to {to}: {source}")]
    Firewall {
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
    PathMtu {
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
}

impl Error {
    /// An error about a socket, sorted by what a person can do about it.
    pub(crate) fn socket(what: &'static str, to: IpAddr, source: io::Error) -> Self {
        use rustix::io::Errno;
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(
                Errno::NETUNREACH
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::HOSTDOWN
                | Errno::NODEV
                | Errno::NXIO
                | Errno::ADDRNOTAVAIL,
            ) => Self::NoRoute { to, source },
            _ => Self::Socket { what, source },
        }
    }

    /// Whether it is for want of an interface or a route, which may come.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoRoute { .. } => true,
            Self::Interface { source, .. } => {
                source.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
            }
            _ => false,
        }
    }
}
