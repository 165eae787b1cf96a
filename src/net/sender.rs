//! A sender's socket, and the way that its datagrams take: out of an interface that may be made
//! anew, in a network whose addresses may change.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use rustix::net::sockopt;
use socket2::Socket;

use super::socket::{BatchSocket, open, path_mtu, unspecified};
use super::{Error, NetConfig, route};
use crate::proto::limits::{MTU_DEFAULT, MTU_RANGE};

/// Routers that multicast datagrams may pass, plus one.
const TTL_GROUP: u8 = 1;
/// Routers that datagrams to one peer may pass, plus one.
const TTL_PEER: u8 = 64;

/// Which receivers a sender's datagrams go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Addressing {
    /// A multicast group.
    #[default]
    Group,
    /// Everybody on the IPv4 network of the interface.
    Broadcast,
    /// One receiver.
    Peer(SocketAddr),
}

/// On which UDP port a sender hears answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum AnswerPort {
    /// Any that is free.
    #[default]
    Any,
    /// This one, or any if it is taken.
    Preferred(u16),
    /// This one.
    Fixed(u16),
}

/// How a sender sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Destination {
    /// To which receivers.
    pub addressing: Addressing,
    /// Routers that datagrams may pass, plus one; by default none for a group, 63 for a peer.
    pub ttl: Option<u8>,
    /// Bytes of the path's MTU; by default the interface's, as far as the protocol goes.
    pub mtu: Option<usize>,
    /// Where answers come in.
    pub answers: AnswerPort,
}

/// A sender's socket and what was found out about its way.
pub struct Link {
    /// The socket that sends and hears feedback.
    pub socket: BatchSocket,
    /// Bytes of the longest IP packet that fits the way.
    pub mtu: usize,
    config: NetConfig,
    destination: Destination,
    /// Where datagrams for all receivers go.
    target: Cell<SocketAddr>,
    /// The interface that they leave by, if one was chosen.
    index: Cell<Option<u32>>,
}

impl NetConfig {
    /// The sender's socket: sends to all receivers, is answered at a port of its own.
    ///
    /// # Errors
    /// Any [`Error`]; of those that [`Error::may_pass`], another try may have none.
    pub fn sender(&self, destination: &Destination) -> Result<Link, Error> {
        let family = self.destined(destination).ip();
        if destination.addressing == Addressing::Group {
            self.check(family)?;
        }
        let socket = open(family)?;
        let setup = |e| Error::socket("cannot set up the sender's socket", family, e);
        let index = self.index(&socket)?;
        let target = with_scope(self.destined(destination), index);
        set_route(&socket, target, destination, index).map_err(setup)?;
        let probe = open(family)?;
        set_route(&probe, target, destination, index).map_err(setup)?;
        let found =
            path_mtu(&probe, target).map_err(|e| Error::socket("cannot find a way", family, e))?;
        let mtu = match (destination.mtu, found) {
            (Some(asked), Some(mtu)) if asked > mtu => {
                let interface = self.interface.as_ref();
                let way = match interface.filter(|_| target.ip().is_multicast()) {
                    Some(name) => format!("interface {name}"),
                    None => format!("the way to {}", target.ip()),
                };
                return Err(Error::PathMtu { asked, way, mtu });
            }
            (Some(asked), _) => asked,
            (None, found) => found.unwrap_or(MTU_DEFAULT),
        };
        bind(&socket, family, destination.answers)?;
        Ok(Link {
            socket: BatchSocket::new(socket.into()).map_err(setup)?,
            mtu: mtu.clamp(*MTU_RANGE.start(), *MTU_RANGE.end()),
            config: self.clone(),
            destination: *destination,
            target: Cell::new(target),
            index: Cell::new(index),
        })
    }

    /// Where datagrams for all receivers go.
    fn destined(&self, destination: &Destination) -> SocketAddr {
        match destination.addressing {
            Addressing::Group => self.target(),
            Addressing::Broadcast => SocketAddr::new(
                route::broadcast(self.interface.as_deref()).into(),
                self.port,
            ),
            Addressing::Peer(peer) => peer,
        }
    }
}

impl Link {
    /// Where datagrams for all receivers go.
    pub fn target(&self) -> SocketAddr {
        self.target.get()
    }

    /// The UDP port on which answers come in.
    pub fn answer_port(&self) -> u16 {
        self.socket.port()
    }

    /// Finds the way anew: the interface may be another one of the same name, and its network may
    /// have another address. Where there is none now, the old one stays.
    pub fn refresh(&self) {
        let Ok(index) = self.config.index(&self.socket) else {
            return;
        };
        let target = with_scope(self.config.destined(&self.destination), index);
        if (target, index) == (self.target.get(), self.index.get()) {
            return;
        }
        let socket = self.socket.inner();
        if set_route(&socket, target, &self.destination, index).is_ok() {
            self.target.set(target);
            self.index.set(index);
        }
    }
}

/// Chooses the port on which answers come in. What is sent to groups is not for us.
fn bind(socket: &Socket, family: IpAddr, answers: AnswerPort) -> Result<(), Error> {
    let setup = |e| Error::socket("cannot set up the sender's socket", family, e);
    if family.is_ipv6() {
        socket.set_only_v6(true).map_err(setup)?;
        socket.set_multicast_all_v6(false).map_err(setup)?;
    } else {
        socket.set_multicast_all_v4(false).map_err(setup)?;
    }
    let bind = |port| socket.bind(&SocketAddr::new(unspecified(family), port).into());
    match answers {
        AnswerPort::Any => bind(0),
        AnswerPort::Preferred(port) => bind(port).or_else(|_| bind(0)),
        AnswerPort::Fixed(port) => bind(port),
    }
    .map_err(|source| match (source.kind(), answers) {
        (io::ErrorKind::AddrInUse, AnswerPort::Fixed(port)) => Error::PortInUse { port, source },
        _ => setup(source),
    })
}

/// An IPv6 address with the interface that gives it a meaning.
fn with_scope(target: SocketAddr, index: Option<u32>) -> SocketAddr {
    match (target, index) {
        (SocketAddr::V6(v6), Some(index)) if v6.scope_id() == 0 => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into()
        }
        _ => target,
    }
}

/// Sets how far and out of which interface a socket sends.
fn set_route(
    socket: &Socket,
    target: SocketAddr,
    destination: &Destination,
    index: Option<u32>,
) -> io::Result<()> {
    let usual = match destination.addressing {
        Addressing::Peer(_) => TTL_PEER,
        Addressing::Group | Addressing::Broadcast => TTL_GROUP,
    };
    let ttl = u32::from(destination.ttl.unwrap_or(usual));
    match target.ip() {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.set_multicast_ttl_v4(ttl)?;
            // Receivers on the sender's own machine hear it too.
            socket.set_multicast_loop_v4(true)?;
            if let Some(index) = index {
                let any = Ipv4Addr::UNSPECIFIED;
                sockopt::set_ip_multicast_if_with_ifindex(socket, &group, &any, index)?;
            }
        }
        IpAddr::V6(group) if group.is_multicast() => {
            socket.set_multicast_hops_v6(ttl)?;
            socket.set_multicast_loop_v6(true)?;
            socket.set_multicast_if_v6(index.unwrap_or(0))?;
        }
        IpAddr::V4(_) => {
            socket.set_ttl_v4(ttl)?;
            socket.set_broadcast(destination.addressing == Addressing::Broadcast)?;
        }
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl)?,
    }
    Ok(())
}
