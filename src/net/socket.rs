//! UDP sockets: the network that they are on, wide buffers, and batches.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::{netdevice, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::Error;
use crate::proto::limits::{IP_UDP_LEN, IP6_UDP_LEN};

/// The group, unless it is chosen: in the block for use within one organisation, RFC 2365.
pub const GROUP_DEFAULT: Ipv4Addr = Ipv4Addr::new(239, 255, 83, 67);
/// The same over IPv6: an unassigned group, of one site, RFC 4291 and 7346.
pub const GROUP6_DEFAULT: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x5343);
/// The UDP port, unless it is chosen.
pub const PORT_DEFAULT: u16 = 8367;
/// Receive buffers of fewer bytes are worth a word: a sender that knows of them must be careful.
pub const RECEIVE_BUFFER_SMALL: u32 = 2 << 20;

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

    /// The number of the interface, if one was chosen: another one when it was made anew.
    pub(super) fn index(&self, socket: &impl AsFd) -> Result<Option<u32>, Error> {
        let index = self.interface.as_ref().map(|name| {
            netdevice::name_to_index(socket, name).map_err(|e| Error::Interface {
                name: name.clone(),
                source: e.into(),
            })
        });
        index.transpose()
    }

    /// Refuses what is no group, or one that means nothing without an interface.
    pub(super) fn check(&self, group: IpAddr) -> Result<(), Error> {
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
}

/// A new socket of the family of an address.
pub(super) fn open(family: IpAddr) -> Result<Socket, Error> {
    let domain = if family.is_ipv6() {
        Domain::IPV6
    } else {
        Domain::IPV4
    };
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
        .map_err(|e| Error::socket("cannot make a UDP socket", family, e))
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

pub(super) fn unspecified(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The MTU of the way that this socket's datagrams take, if the system says it.
pub(super) fn path_mtu(socket: &Socket, target: SocketAddr) -> io::Result<Option<usize>> {
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

/// A socket that never blocks, with batches in both directions.
pub struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    ipv6: bool,
}

impl BatchSocket {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
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

    /// The socket itself, to set it up.
    pub(super) fn inner(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    /// The port that it hears on.
    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |addr| addr.port())
    }

    /// Whether it is of this address's family.
    pub(super) fn reaches(&self, peer: SocketAddr) -> bool {
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
    let to = target.ip();
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Firewall { to, source },
        _ => Error::socket("cannot send", to, source),
    }
}
