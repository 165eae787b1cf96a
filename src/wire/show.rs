//! One line about a datagram, from what stands in the clear: for traces and people.

use super::{DatagramKind, HandshakeHeader, MemberHeader, MulticastHeader, peek};

/// Describes a datagram in one line.
pub fn show(bytes: &[u8]) -> String {
    let len = bytes.len();
    let (kind, tag) = match peek(bytes) {
        Ok(known) => known,
        Err(e) => return format!("{e}, {len} bytes"),
    };
    let detail = match kind {
        DatagramKind::Data => MulticastHeader::parse(bytes).map(|h| {
            let repair = if h.repair { " repair" } else { "" };
            format!(
                "sequence {} block {} symbol {} following {}{repair}",
                h.sequence, h.block, h.symbol, h.following
            )
        }),
        DatagramKind::Poll | DatagramKind::End | DatagramKind::Abort | DatagramKind::Hashes => {
            MulticastHeader::parse(bytes).map(|h| format!("sequence {}", h.sequence))
        }
        DatagramKind::Announce | DatagramKind::Hello | DatagramKind::Cookie => Ok(String::new()),
        DatagramKind::Join | DatagramKind::Accept | DatagramKind::Reject => {
            HandshakeHeader::parse(bytes)
                .map(|h| format!("key {}", hex::encode(&h.receiver_key[..4])))
        }
        DatagramKind::Feedback | DatagramKind::Bye => MemberHeader::parse(bytes)
            .map(|h| format!("receiver {} number {}", h.receiver, h.number)),
    };
    let detail = detail.unwrap_or_else(|e| e.to_string());
    format!("{kind:?} session {tag:08x} {detail}, {len} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_is() {
        let header = MulticastHeader {
            kind: DatagramKind::Data,
            tag: 0xabcd,
            repair: true,
            auto_parity: 0,
            symbol: 65_535,
            sequence: 7,
            following: 3,
            block: 9,
        };
        let mut bytes = Vec::new();
        header.emit(&mut bytes);
        assert_eq!(
            show(&bytes),
            "Data session 0000abcd sequence 7 block 9 symbol 65535 following 3 repair, 20 bytes"
        );
        assert_eq!(show(b""), "malformed datagram, 0 bytes");
        assert_eq!(
            show(&[0x21; 8]),
            "protocol version 2, this is version 3, 8 bytes"
        );
        assert_eq!(show(&[0x3f; 8]), "unknown extension 63, 8 bytes");
    }
}
