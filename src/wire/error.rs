//! Why bytes are not a datagram of ours.

/// Malformed is malformed: callers count it, and branch on the version alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A datagram of another version of the protocol.
    #[error("protocol version {0}, this is version {version}", version = super::VERSION)]
    Version(u8),
    /// Not a datagram of this protocol, or one cut short.
    #[error("malformed datagram")]
    Malformed,
}
