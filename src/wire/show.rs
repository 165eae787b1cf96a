//! One line about a datagram, from what stands in the clear: for traces and people.

use super::{ByeHeader, FeedbackHeader, Header, Kind, ReplyHeader, peek};

/// Describes a datagram in one line.
pub fn show(bytes: &[u8]) -> String {
    let len = bytes.len();
    let (kind, tag) = match peek(bytes) {
        Ok(known) => known,
        Err(e) => return format!("{e}, {len} bytes"),
    };
    let detail =
        match kind {
            Kind::Data => Header::parse(bytes).map(|h| {
                let repair = if h.repair { " repair" } else { "" };
                format!(
                    "tx {} block {} symbol {} left {}{repair}",
                    h.tx, h.block, h.symbol, h.left
                )
            }),
            Kind::Poll | Kind::End | Kind::Abort => {
                Header::parse(bytes).map(|h| format!("tx {}", h.tx))
            }
            Kind::Announce => Ok(String::new()),
            Kind::Join | Kind::Accept | Kind::Reject => ReplyHeader::parse(bytes)
                .map(|h| format!("key {}", hex::encode(&h.receiver_key[..4]))),
            Kind::Feedback => FeedbackHeader::parse(bytes)
                .map(|h| format!("receiver {} number {}", h.receiver, h.number)),
            Kind::Bye => ByeHeader::parse(bytes)
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
        let header = Header {
            kind: Kind::Data,
            tag: 0xabcd,
            repair: true,
            pledge: 0,
            symbol: 65_535,
            tx: 7,
            left: 3,
            block: 9,
        };
        let mut bytes = Vec::new();
        header.emit(&mut bytes);
        assert_eq!(
            show(&bytes),
            "Data session 0000abcd tx 7 block 9 symbol 65535 left 3 repair, 20 bytes"
        );
        assert_eq!(show(b""), "malformed datagram, 0 bytes");
        assert_eq!(
            show(&[0x31; 8]),
            "protocol version 3, this is version 1, 8 bytes"
        );
    }
}
