//! Why bytes are not a datagram of ours.

/// Malformed is malformed: callers count it, and tell apart what a newer program may have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A datagram of another version of the protocol.
    #[error("protocol version {0}, this is version {version}", version = super::VERSION)]
    Version(u8),
    /// A datagram of a kind that came after this program: ignored, and counted.
    #[error("unknown extension {sub_kind}")]
    Unknown {
        /// The second byte of the datagram.
        sub_kind: u8,
    },
    /// Not a datagram of this protocol, or one cut short.
    #[error("malformed datagram")]
    Malformed,
}
