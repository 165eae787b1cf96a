//! UDP sockets: groups, broadcast and single peers, wide buffers, batches, and the choice of an
//! interface.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::sockopt;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::{Error, route};
use crate::proto::limits::{IP_UDP_LEN, IP6_UDP_LEN, MTU_DEFAULT, MTU_RANGE};

/// The group, unless it is chosen: in the block for use within one organisation, RFC 2365.
pub const GROUP_DEFAULT: Ipv4Addr = Ipv4Addr::new(239, 255, 83, 67);
/// The same over IPv6: an unassigned group, of one site, RFC 4291 and 7346.
pub const GROUP6_DEFAULT: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x5343);
/// The UDP port, unless it is chosen.
pub const PORT_DEFAULT: u16 = 8367;
/// Receive buffers of fewer bytes are worth a word: a sender that knows of them must be careful.
pub const RECEIVE_BUFFER_SMALL: u32 = 2 << 20;

/// Routers that multicast datagrams may pass, plus one.
const TTL_GROUP: u8 = 1;
/// Routers that datagrams to one peer may pass, plus one.
const TTL_PEER: u8 = 64;
/// Bytes asked for the buffer of a socket that receives.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Bytes asked for the buffer of a socket that sends, which Linux doubles: less than the queue of a
/// link, which must not overflow, and enough to keep one of 1 Gbit/s busy while the sender wakes.
const SEND_BUFFER: usize = 1 << 18;
/// System calls' worth of datagrams taken in one go.
const BATCH: usize = 16;
/// Bytes of the longest buffer that the kernel joins datagrams into.
const JOINED_MAX: usize = 1 << 16;

/// Where on the network a session is.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct NetConfig {
    /// The multicast group; without one the default ones.
    pub group: Option<IpAddr>,
    /// Of the default groups, that of IPv6.
    pub ipv6: bool,
    /// The UDP port.
    pub port: u16,
    /// The interface's name; the system's route decides when there is none.
    pub interface: Option<String>,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            group: None,
            ipv6: false,
            port: PORT_DEFAULT,
            interface: None,
        }
    }
}

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

/// How a sender sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Destination {
    /// To which receivers.
    pub addressing: Addressing,
    /// Routers that datagrams may pass, plus one; by default none for a group, 63 for a peer.
    pub ttl: Option<u8>,
    /// Bytes of the path's MTU; by default the interface's, as far as the protocol goes.
    pub mtu: Option<usize>,
}

/// A sender's socket and what was found out about its way.
pub struct Link {
    /// The socket that sends and hears feedback.
    pub socket: BatchSocket,
    /// Where datagrams for all receivers go.
    pub target: SocketAddr,
    /// Bytes of the longest IP packet that fits the way.
    pub mtu: usize,
}

/// A receiver's sockets.
pub struct ReceiverSockets {
    /// Those that hear what is sent to all: receivers on one machine share their addresses.
    pub group: Vec<BatchSocket>,
    /// Those that send feedback and are answered, one for each family.
    unicast: Vec<BatchSocket>,
}

impl NetConfig {
    /// The groups that a receiver listens to, the first at any rate.
    pub fn groups(&self) -> Vec<IpAddr> {
        match (self.group, self.ipv6) {
            (Some(group), _) => vec![group],
            (None, true) => vec![GROUP6_DEFAULT.into()],
            (None, false) => vec![GROUP_DEFAULT.into(), GROUP6_DEFAULT.into()],
        }
    }

    /// The group with its port; of two, the first.
    pub fn target(&self) -> SocketAddr {
        let default = if self.ipv6 {
            GROUP6_DEFAULT.into()
        } else {
            GROUP_DEFAULT.into()
        };
        SocketAddr::new(self.group.unwrap_or(default), self.port)
    }

    fn open(&self, family: IpAddr) -> Result<(Socket, Option<u32>), Error> {
        let domain = if family.is_ipv6() {
            Domain::IPV6
        } else {
            Domain::IPV4
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
            .map_err(|e| Error::socket("cannot make a UDP socket", family, e))?;
        let index = self.interface.as_ref().map(|name| {
            rustix::net::netdevice::name_to_index(&socket, name).map_err(|e| Error::Interface {
                name: name.clone(),
                source: e.into(),
            })
        });
        Ok((socket, index.transpose()?))
    }

    /// Refuses what is no group, or one that means nothing without an interface.
    fn check(&self, group: IpAddr) -> Result<(), Error> {
        if !group.is_multicast() {
            return Err(Error::Group(group));
        }
        match group {
            IpAddr::V6(group) if group.segments()[0] & 15 <= 2 && self.interface.is_none() => {
                Err(Error::Scope(group))
            }
            _ => Ok(()),
        }
    }

    /// The sender's socket: sends to all receivers, is answered at its own port.
    pub fn sender(&self, destination: &Destination) -> Result<Link, Error> {
        let target = match destination.addressing {
            Addressing::Group => self.target(),
            Addressing::Broadcast => SocketAddr::new(
                route::broadcast(self.interface.as_deref()).into(),
                self.port,
            ),
            Addressing::Peer(peer) => peer,
        };
        if destination.addressing == Addressing::Group {
            self.check(target.ip())?;
        }
        let (socket, index) = self.open(target.ip())?;
        let setup = |e| Error::socket("cannot set up the sender's socket", target.ip(), e);
        let target = with_scope(target, index);
        set_route(&socket, target, destination, index).map_err(setup)?;
        let (probe, _) = self.open(target.ip())?;
        set_route(&probe, target, destination, index).map_err(setup)?;
        let found = path_mtu(&probe, target)
            .map_err(|e| Error::socket("cannot find a way", target.ip(), e))?;
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
        let any = unspecified(target.ip());
        socket
            .bind(&SocketAddr::new(any, 0).into())
            .map_err(setup)?;
        Ok(Link {
            socket: BatchSocket::new(socket.into()).map_err(setup)?,
            target,
            mtu: mtu.clamp(*MTU_RANGE.start(), *MTU_RANGE.end()),
        })
    }

    /// A receiver's sockets. Over IPv6 only where that is to be had, unless it was asked for.
    pub fn receiver(&self) -> Result<ReceiverSockets, Error> {
        let mut sockets = ReceiverSockets {
            group: Vec::new(),
            unicast: Vec::new(),
        };
        for (i, group) in self.groups().into_iter().enumerate() {
            match self.open_receiver(group) {
                Ok((group, unicast)) => {
                    sockets.group.push(group);
                    sockets.unicast.push(unicast);
                }
                Err(e) if i == 0 => return Err(e),
                Err(_) => {}
            }
        }
        Ok(sockets)
    }

    /// A socket that hears the group, broadcasts, and what is sent to this host alone; and one of
    /// our unicast.
    fn open_receiver(&self, group: IpAddr) -> Result<(BatchSocket, BatchSocket), Error> {
        self.check(group)?;
        let (socket, index) = self.open(group)?;
        let setup = |e| Error::socket("cannot set up the receiver's socket", group, e);
        socket.set_reuse_address(true).map_err(setup)?;
        if group.is_ipv6() {
            socket.set_only_v6(true).map_err(setup)?;
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
        join(&socket, group, index)
            .map_err(|e| Error::socket("cannot join the multicast group", group, e))?;
        let unicast = UdpSocket::bind((any, 0)).map_err(setup)?;
        Ok((
            BatchSocket::new(socket.into()).map_err(setup)?,
            BatchSocket::new(unicast).map_err(setup)?,
        ))
    }
}

impl ReceiverSockets {
    /// Bytes of the receive buffer that the stream comes through, as the system counts them.
    pub fn receive_buffer(&self) -> u32 {
        let bytes = self.group.iter().map(BatchSocket::receive_buffer);
        bytes.min().unwrap_or(0)
    }

    /// All sockets, our own first.
    pub fn all(&self) -> impl Iterator<Item = &BatchSocket> {
        self.unicast.iter().chain(&self.group)
    }

    /// Gives up what cannot hear this sender.
    pub fn keep(&mut self, sender: SocketAddr) {
        let fits = |port: &BatchSocket| port.reaches(sender);
        self.group.retain(fits);
        self.unicast.retain(fits);
    }

    /// Sends a datagram from our own address.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        match self.unicast.iter().find(|port| port.reaches(to)) {
            Some(port) => port.send(to, datagram, datagram.len()).map(|_| ()),
            None => Err(io::ErrorKind::NetworkUnreachable.into()),
        }
    }
}

/// Bytes of the headers before the datagrams to this address.
pub fn ip_udp_len(to: SocketAddr) -> usize {
    if to.is_ipv6() {
        IP6_UDP_LEN
    } else {
        IP_UDP_LEN
    }
}

/// The MTU of the way to a peer, if the system knows it.
pub fn mtu_to(peer: SocketAddr) -> Option<usize> {
    let socket = UdpSocket::bind((unspecified(peer.ip()), 0)).ok()?;
    path_mtu(&socket.into(), peer).ok().flatten()
}

fn unspecified(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
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

/// The MTU of the way that this socket's datagrams take, if the system says it.
fn path_mtu(socket: &Socket, target: SocketAddr) -> io::Result<Option<usize>> {
    socket.connect(&target.into())?;
    let mtu = if target.is_ipv6() {
        sockopt::ipv6_mtu(socket)
    } else {
        sockopt::ip_mtu(socket)
    };
    Ok(mtu
        .ok()
        .map(|mtu| usize::try_from(mtu).unwrap_or(usize::MAX)))
}

/// Makes a socket hear this group, and of all groups no other: it may be bound to every address.
fn join(socket: &Socket, group: IpAddr, index: Option<u32>) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let any = InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED);
            let interface = index.map_or(any, InterfaceIndexOrAddress::Index);
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &interface)
        }
        IpAddr::V6(group) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, index.unwrap_or(0))
        }
    }
}

/// A socket that never blocks, with batches in both directions.
pub struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    ipv6: bool,
}

impl BatchSocket {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // More than the system allows is cut to what it allows; root may pass the limit.
        let reference = SockRef::from(&socket);
        reference.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        reference.set_send_buffer_size(SEND_BUFFER)?;
        let ipv6 = socket.local_addr()?.is_ipv6();
        Ok(Self {
            socket,
            state,
            ipv6,
        })
    }

    /// Whether it is of this address's family.
    fn reaches(&self, peer: SocketAddr) -> bool {
        self.ipv6 == peer.is_ipv6()
    }

    /// Bytes of the receive buffer, as the system counts them.
    pub fn receive_buffer(&self) -> u32 {
        let bytes = SockRef::from(&self.socket).recv_buffer_size().unwrap_or(0);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Sends datagrams of `segment` bytes each. `Ok(n)`: the first `n` bytes have left; the rest
    /// must wait until the socket has room.
    pub fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            // One call for all where the kernel cuts datagrams itself, one for each elsewhere.
            let count = self
                .state
                .max_gso_segments()
                .min(bytes.len().div_ceil(segment));
            let part = &bytes[sent..bytes.len().min(sent + count * segment)];
            let transmit = quinn_udp::Transmit {
                destination: to,
                ecn: None,
                contents: part,
                segment_size: (part.len() > segment).then_some(segment),
                src_ip: None,
            };
            match self
                .state
                .try_send(UdpSockRef::from(&self.socket), &transmit)
            {
                Ok(()) => sent += part.len(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A full queue of the link is a link to wait for. What was said to a peer that has
                // gone comes back as a refusal of something else.
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                // The kernel does not cut datagrams after all: again, one by one.
                Err(_) if count > 1 && self.state.max_gso_segments() == 1 => {}
                Err(e) => return Err(e),
            }
        }
        Ok(sent)
    }

    /// Takes a batch of datagrams in and calls `each` with each. `Ok(false)` when there was none.
    pub fn receive(
        &self,
        buffers: &mut Buffers,
        mut each: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<bool> {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut slices: [IoSliceMut<'_>; BATCH] = {
            let mut rest = buffers.0.chunks_exact_mut(JOINED_MAX);
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()))
        };
        let received = self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut meta);
        let count = match received {
            Ok(count) => count,
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock => return Ok(false),
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => return Ok(true),
                _ => return Err(e),
            },
        };
        for (slice, meta) in slices.iter_mut().zip(&meta[..count]) {
            for datagram in slice[..meta.len].chunks_mut(meta.stride.max(1)) {
                each(meta.addr, datagram);
            }
        }
        Ok(true)
    }
}

impl AsFd for BatchSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for a batch of datagrams.
pub struct Buffers(Vec<u8>);

impl Default for Buffers {
    fn default() -> Self {
        Self(vec![0; BATCH * JOINED_MAX])
    }
}

/// The error for datagrams that could not be sent.
pub fn send_error(target: SocketAddr, datagram: usize, source: io::Error) -> Error {
    if quinn_udp::is_msg_size_err(&source) {
        return Error::Mtu {
            bytes: datagram + ip_udp_len(target),
        };
    }
    Error::socket("cannot send", target.ip(), source)
}
