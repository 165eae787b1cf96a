//! UDP sockets for one multicast group: wide buffers, batches, and the choice of an interface.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::sockopt;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::Error;
use crate::proto::config::IP_UDP_LEN;

/// The group, unless it is chosen: in the block for use within one organisation, RFC 2365.
pub const GROUP_DEFAULT: Ipv4Addr = Ipv4Addr::new(239, 255, 83, 67);
/// The UDP port, unless it is chosen.
pub const PORT_DEFAULT: u16 = 8367;

/// Bytes asked for the buffer of a socket that receives.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Bytes asked for the buffer of a socket that sends: few, so that the sender notices a slow link.
const SEND_BUFFER: usize = 1 << 20;
/// System calls' worth of datagrams taken in one go.
const BATCH: usize = 16;
/// Bytes of the longest buffer that the kernel joins datagrams into.
const JOINED_MAX: usize = 1 << 16;

/// Where on the network a session is.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The multicast group.
    pub group: Ipv4Addr,
    /// Its UDP port.
    pub port: u16,
    /// The interface's name; the system's route decides when there is none.
    pub interface: Option<String>,
    /// Routers that datagrams may pass, plus one.
    pub ttl: u8,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            group: GROUP_DEFAULT,
            port: PORT_DEFAULT,
            interface: None,
            ttl: 1,
        }
    }
}

impl NetConfig {
    /// The group with its port.
    pub fn target(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(self.group, self.port))
    }

    fn open(&self) -> Result<(Socket, Option<u32>), Error> {
        if !self.group.is_multicast() {
            return Err(Error::Group(self.group));
        }
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
            .map_err(|e| self.error("cannot make a UDP socket", e))?;
        let index = self.interface.as_ref().map(|name| {
            rustix::net::netdevice::name_to_index(&socket, name).map_err(|e| Error::Interface {
                name: name.clone(),
                source: e.into(),
            })
        });
        Ok((socket, index.transpose()?))
    }

    fn error(&self, what: &'static str, source: io::Error) -> Error {
        Error::socket(what, self.group, source)
    }

    /// The sender's socket: sends to the group, is answered at its own port.
    pub(super) fn sender(&self) -> Result<Port, Error> {
        let (socket, index) = self.open()?;
        let options = || -> io::Result<()> {
            socket.set_multicast_ttl_v4(u32::from(self.ttl))?;
            // Receivers on the sender's own machine hear it too.
            socket.set_multicast_loop_v4(true)?;
            if let Some(index) = index {
                let any = Ipv4Addr::UNSPECIFIED;
                sockopt::set_ip_multicast_if_with_ifindex(&socket, &self.group, &any, index)?;
            }
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())
        };
        options().map_err(|e| self.error("cannot set up the sender's socket", e))?;
        Port::new(socket.into()).map_err(|e| self.error("cannot set up the sender's socket", e))
    }

    /// A receiver's two sockets: one in the group, which receivers on one machine share, and its
    /// own, which sends feedback and is answered.
    pub(super) fn receiver(&self) -> Result<(Port, Port), Error> {
        let (socket, index) = self.open()?;
        let setup = |e| self.error("cannot set up the receiver's socket", e);
        socket.set_reuse_address(true).map_err(setup)?;
        socket
            .bind(&self.target().into())
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => Error::PortInUse {
                    port: self.port,
                    source,
                },
                _ => self.error("cannot bind to the multicast group", source),
            })?;
        let interface = index.map_or(
            InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
            InterfaceIndexOrAddress::Index,
        );
        socket
            .join_multicast_v4_n(&self.group, &interface)
            .map_err(|e| self.error("cannot join the multicast group", e))?;
        let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(setup)?;
        Ok((
            Port::new(socket.into()).map_err(setup)?,
            Port::new(own).map_err(setup)?,
        ))
    }
}

/// A socket that never blocks, with batches in both directions.
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Port {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // More than the system allows is cut to what it allows; root may pass the limit.
        let reference = SockRef::from(&socket);
        reference.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        reference.set_send_buffer_size(SEND_BUFFER)?;
        Ok(Self { socket, state })
    }

    /// Bytes of the receive buffer, as the system counts them.
    pub(super) fn receive_buffer(&self) -> u32 {
        let bytes = SockRef::from(&self.socket).recv_buffer_size().unwrap_or(0);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Sends datagrams of `segment` bytes each. `Ok(n)`: the first `n` bytes have left; the rest
    /// must wait until the socket has room.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<usize> {
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
    pub(super) fn receive(
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

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for a batch of datagrams.
pub(super) struct Buffers(Vec<u8>);

impl Buffers {
    pub(super) fn new() -> Self {
        Self(vec![0; BATCH * JOINED_MAX])
    }
}

/// The error for datagrams that could not be sent.
pub(super) fn send_error(config: &NetConfig, datagram: usize, source: io::Error) -> Error {
    if quinn_udp::is_msg_size_err(&source) {
        return Error::Mtu {
            bytes: datagram + IP_UDP_LEN,
        };
    }
    Error::socket("cannot send", config.group, source)
}
