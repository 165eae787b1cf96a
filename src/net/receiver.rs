//! A receiver's sockets, and the groups that they are in. Interfaces and addresses come and go, and
//! a membership goes with its interface: groups are joined again and again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use rustix::net::netdevice;
use socket2::{InterfaceIndexOrAddress, Socket};

use super::socket::{BatchSocket, open, unspecified};
use super::{Error, NetConfig, route};

/// A receiver's sockets.
pub struct ReceiverSockets {
    config: NetConfig,
    ports: Vec<Port>,
}

/// The sockets for one group.
struct Port {
    group: IpAddr,
    /// Hears what is sent to all: receivers on one machine share its address.
    shared: BatchSocket,
    /// Sends feedback and is answered.
    unicast: BatchSocket,
    /// The interface on which the group is joined; 0 where the system has chosen one and does not
    /// say which.
    joined: Option<u32>,
}

/// A group that is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedGroup {
    /// The group with its port.
    pub group: SocketAddr,
    /// The interface, if that is known.
    pub interface: Option<String>,
}

impl NetConfig {
    /// A receiver's sockets, in no group yet: of IPv4 and IPv6 one is enough, unless it was asked
    /// for.
    ///
    /// # Errors
    /// Any [`Error`]; none of them may pass.
    pub fn receiver(&self) -> Result<ReceiverSockets, Error> {
        let mut ports = Vec::new();
        let mut failed = None;
        for group in self.groups() {
            self.check(group)?;
            match self.open_port(group) {
                Ok(port) => ports.push(port),
                Err(e @ Error::PortInUse { .. }) => return Err(e),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        match failed {
            Some(error) if ports.is_empty() => Err(error),
            _ => Ok(ReceiverSockets {
                config: self.clone(),
                ports,
            }),
        }
    }

    /// A socket that hears the group, broadcasts, and what is sent to this host alone; and one of
    /// our own.
    fn open_port(&self, group: IpAddr) -> Result<Port, Error> {
        let socket = open(group)?;
        let setup = |e| Error::socket("cannot set up the receiver's socket", group, e);
        socket.set_reuse_address(true).map_err(setup)?;
        // Of all groups no other than ours: it is bound to every address.
        if group.is_ipv6() {
            socket.set_only_v6(true).map_err(setup)?;
            socket.set_multicast_all_v6(false).map_err(setup)?;
        } else {
            socket.set_multicast_all_v4(false).map_err(setup)?;
        }
        let any = unspecified(group);
        socket
            .bind(&SocketAddr::new(any, self.port).into())
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => Error::PortInUse {
                    port: self.port,
                    source,
                },
                _ => Error::socket("cannot bind to the port", group, source),
            })?;
        let unicast = UdpSocket::bind((any, 0)).map_err(setup)?;
        Ok(Port {
            group,
            shared: BatchSocket::new(socket.into()).map_err(setup)?,
            unicast: BatchSocket::new(unicast).map_err(setup)?,
            joined: None,
        })
    }
}

impl ReceiverSockets {
    /// Joins the groups on the interfaces that are there now, which may not be those of the last
    /// time; says whether that has changed anything. One group that can be joined is enough.
    ///
    /// # Errors
    /// [`Error::Interface`], [`Error::NoRoute`] and [`Error::Socket`] when no group is joined.
    pub fn join(&mut self) -> Result<bool, Error> {
        let mut failed = None;
        let before: Vec<_> = self.ports.iter().map(|port| port.joined).collect();
        for port in &mut self.ports {
            if let Err(error) = port.join(&self.config) {
                failed = failed.or(Some(error));
            }
        }
        match failed {
            Some(error) if self.ports.iter().all(|port| port.joined.is_none()) => Err(error),
            _ => Ok(!self.ports.iter().map(|port| port.joined).eq(before)),
        }
    }

    /// The groups that are joined.
    pub fn joined(&self) -> Vec<JoinedGroup> {
        let joined = self.ports.iter().filter_map(|port| {
            Some(JoinedGroup {
                group: SocketAddr::new(port.group, self.config.port),
                interface: netdevice::index_to_name(&port.shared, port.joined?).ok(),
            })
        });
        joined.collect()
    }

    /// Bytes of the receive buffer that the stream comes through, as the system counts them.
    pub fn receive_buffer(&self) -> u32 {
        let bytes = self.ports.iter().map(|port| port.shared.receive_buffer());
        bytes.min().unwrap_or(0)
    }

    /// All sockets, our own first.
    pub fn all(&self) -> impl Iterator<Item = &BatchSocket> {
        let unicast = self.ports.iter().map(|port| &port.unicast);
        unicast.chain(self.ports.iter().map(|port| &port.shared))
    }

    /// Gives up what cannot hear this sender.
    pub fn keep(&mut self, sender: SocketAddr) {
        self.ports.retain(|port| port.shared.reaches(sender));
    }

    /// Sends a datagram from our own address.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut own = self.ports.iter().map(|port| &port.unicast);
        match own.find(|port| port.reaches(to)) {
            Some(port) => port.send(to, datagram, datagram.len()).map(|_| ()),
            None => Err(io::ErrorKind::NetworkUnreachable.into()),
        }
    }
}

impl Port {
    /// Joins the group where that is to be done now.
    fn join(&mut self, config: &NetConfig) -> Result<(), Error> {
        let chosen = config.index(&self.shared).inspect_err(|_| self.leave())?;
        let index = match chosen.or_else(|| route::interface_to(self.group)) {
            // The route has gone, but not the membership.
            None if self.joined.is_some() => return Ok(()),
            index => index.unwrap_or(0),
        };
        if self.joined == Some(index) {
            return Ok(());
        }
        self.leave();
        let failed = |e| Error::socket("cannot join the multicast group", self.group, e);
        set_joined(&self.shared.inner(), self.group, index, true).map_err(failed)?;
        self.joined = Some(index);
        Ok(())
    }

    /// Gives up a membership, which may have gone with its interface.
    fn leave(&mut self) {
        if let Some(index) = self.joined.take() {
            let _ = set_joined(&self.shared.inner(), self.group, index, false);
        }
    }
}

/// Joins or leaves a group on this interface; 0 lets the system choose one.
fn set_joined(socket: &Socket, group: IpAddr, index: u32, join: bool) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let interface = match index {
                0 => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
                index => InterfaceIndexOrAddress::Index(index),
            };
            if join {
                socket.join_multicast_v4_n(&group, &interface)
            } else {
                socket.leave_multicast_v4_n(&group, &interface)
            }
        }
        IpAddr::V6(group) if join => socket.join_multicast_v6(&group, index),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, index),
    }
}
