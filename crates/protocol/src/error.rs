//! Errors of the protocol.

use std::io;

/// Why a conversation could not continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The stream failed, ended early, or ran into its time-out.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The first bytes of a frame are not those of this protocol.
    #[error("the peer does not speak the rtops protocol")]
    NotRtops,
    /// A frame claims to be longer than its receiver accepts.
    #[error("a frame of {length} bytes is longer than the {limit} bytes allowed")]
    TooLong {
        /// The length that the frame's header states, in bytes.
        length: u32,
        /// The receiver's limit, in bytes.
        limit: u32,
    },
    /// A body does not decode as what its kind says.
    #[error("a frame of kind {kind} is malformed: {reason}")]
    Malformed {
        /// The kind byte of the frame.
        kind: u8,
        /// What the decoder found.
        reason: String,
    },
    /// A frame arrived when another kind was due.
    #[error("a frame of kind {0} is out of place")]
    Unexpected(u8),
    /// The two sides share no protocol version.
    #[error(
        "the agent speaks protocol {oldest} to {newest}, this build {}",
        crate::VERSION
    )]
    Version {
        /// The oldest version that the agent speaks.
        oldest: u16,
        /// The newest version that the agent speaks.
        newest: u16,
    },
}
