//! What the system knows about the way out: an interface's broadcast address.

use std::net::Ipv4Addr;

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
    #[cfg(target_endian = "little")]
    fn broadcast_addresses_are_found() {
        let found = |interface| broadcast_in(TABLE, interface);
        assert_eq!(found(Some("eth0")), Some(Ipv4Addr::new(10, 83, 0, 255)));
        assert_eq!(found(None), Some(Ipv4Addr::new(192, 168, 3, 255)));
        assert_eq!(found(Some("eth2")), None);
        assert_eq!(broadcast_in("junk\njunk\n", None), None);
    }
}
