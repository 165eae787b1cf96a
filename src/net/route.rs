//! What the system knows about the way out: the interface, and its broadcast address.

use std::net::{IpAddr, Ipv4Addr};

use rustix::io::{read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

// Of rtnetlink(7): kinds of messages, a flag, attributes, and the first type of routes by which
// nothing leaves.
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTN_BLACKHOLE: u8 = 6;
/// Bytes of the headers before the attributes.
const HEADERS: usize = 16 + 12;

/// The number of the interface by which datagrams to this address leave, as the system's routes
/// say now.
pub(super) fn interface_to(to: IpAddr) -> Option<u32> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::RAW;
    // The first protocol of netlink is that of routes.
    let netlink = socket_with(AddressFamily::NETLINK, kind, flags, None).ok()?;
    write(&netlink, &question(to)).ok()?;
    // The system has answered by now.
    let mut answer = [0; 4096];
    let len = read(&netlink, &mut answer[..]).ok()?;
    interface_in(answer.get(..len)?)
}

/// The message that asks for a route.
fn question(to: IpAddr) -> Vec<u8> {
    let (family, address) = match to {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    let bytes = u8::try_from(address.len()).unwrap_or(0);
    let all = HEADERS + 4 + address.len();
    let mut message = u32::try_from(all).unwrap_or(0).to_ne_bytes().to_vec();
    message.extend(RTM_GETROUTE.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.resize(16, 0);
    let [family, _] = family.as_raw().to_le_bytes();
    message.extend([family, bytes * 8]);
    message.resize(HEADERS, 0);
    message.extend((u16::from(bytes) + 4).to_ne_bytes());
    message.extend(RTA_DST.to_ne_bytes());
    message.extend(address);
    message
}

/// The interface that an answer names.
fn interface_in(answer: &[u8]) -> Option<u32> {
    let number = |at: usize| Some(u16::from_ne_bytes(*answer.get(at..)?.first_chunk()?));
    if number(4)? != RTM_NEWROUTE || *answer.get(16 + 7)? >= RTN_BLACKHOLE {
        return None;
    }
    let mut at = HEADERS;
    loop {
        let (len, kind) = (usize::from(number(at)?), number(at + 2)?);
        if kind == RTA_OIF {
            return Some(u32::from_ne_bytes(*answer.get(at + 4..)?.first_chunk()?));
        }
        // An attribute begins at a multiple of four.
        at += len.max(4).next_multiple_of(4);
    }
}

/// Whether an interface is known to have no link.
pub fn is_down(interface: &str) -> bool {
    let path = format!("/sys/class/net/{interface}/operstate");
    std::fs::read_to_string(path).is_ok_and(|state| state.trim_end().ends_with("down"))
}

/// The broadcast address of the network that `interface` is on; without one, of the interface that
/// the default route leaves by. The address that every network understands where nothing is known.
pub(super) fn broadcast(interface: Option<&str>) -> Ipv4Addr {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    broadcast_in(&table, interface).unwrap_or(Ipv4Addr::BROADCAST)
}

/// A line of the table: interface, destination, gateway and mask.
fn line(text: &str) -> Option<(&str, [u32; 3])> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    // As they stand in memory: the bytes of the address in order, whatever the machine's order is.
    let number = |i: usize| {
        let word = u32::from_str_radix(fields.get(i)?, 16).ok()?;
        Some(u32::from_be_bytes(word.to_ne_bytes()))
    };
    Some((fields.first()?, [number(1)?, number(2)?, number(7)?]))
}

fn broadcast_in(table: &str, interface: Option<&str>) -> Option<Ipv4Addr> {
    let lines: Vec<_> = table.lines().skip(1).filter_map(line).collect();
    let default = || {
        lines
            .iter()
            .find(|(_, [to, _, mask])| *to == 0 && *mask == 0)
    };
    let name = interface.or_else(|| default().map(|(name, _)| *name))?;
    lines
        .iter()
        // A network of its unicast: no gateway, room for more than two, no multicast.
        .filter(|(on, [to, gateway, mask])| {
            *on == name && *gateway == 0 && *mask != 0 && !mask >= 3 && to >> 28 != 14
        })
        .map(|(_, [to, _, mask])| Ipv4Addr::from_bits(to | !mask))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000000E0\t00000000\t0001\t0\t0\t0\t000000F0\t0\t0\t0
eth0\t0000530A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FEFFFF\t0\t0\t0
";

    #[test]
    fn the_system_knows_the_way_to_itself() {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let lo = rustix::net::netdevice::name_to_index(&socket, "lo").unwrap();
        assert_eq!(interface_to(Ipv4Addr::LOCALHOST.into()), Some(lo));
    }

    #[test]
    fn an_answer_names_an_interface_or_none() {
        let mut answer = question(Ipv4Addr::new(239, 255, 83, 67).into());
        assert_eq!(answer.len(), 36);
        assert_eq!(interface_in(&answer), None);
        answer[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
        assert_eq!(interface_in(&answer), None);
        for bytes in [&[5, 0], &RTA_DST.to_ne_bytes(), &[9, 0], &[0, 0], &[8, 0]] {
            answer.extend(*bytes);
        }
        answer.extend(RTA_OIF.to_ne_bytes());
        answer.extend(7u32.to_ne_bytes());
        #[cfg(target_endian = "little")]
        assert_eq!(interface_in(&answer), Some(7));
        answer[16 + 7] = 7;
        assert_eq!(interface_in(&answer), None);
        for len in 0..answer.len() {
            assert_eq!(interface_in(&answer[..len]), None);
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn broadcast_addresses_are_found() {
        let found = |interface| broadcast_in(TABLE, interface);
        assert_eq!(found(Some("eth0")), Some(Ipv4Addr::new(10, 83, 0, 255)));
        assert_eq!(found(None), Some(Ipv4Addr::new(192, 168, 3, 255)));
        assert_eq!(found(Some("eth2")), None);
        assert_eq!(broadcast_in("junk\njunk\n", None), None);
    }
}
