//! Frames: a fixed header, then a body of the length that the header states.
//!
//! The header is 12 bytes: `RTOP`, the protocol version (u16), the kind (u8), a zero byte, and
//! the length of the body (u32); numbers are little-endian.

use std::io::{Read, Write};

use crate::ProtocolError;

/// The longest body that an agent accepts, in bytes.
pub const MAX_REQUEST: u32 = 64 << 10;
/// The longest body that a client accepts, in bytes; larger replies are several frames.
pub const MAX_REPLY: u32 = 1 << 20;

const MAGIC: [u8; 4] = *b"RTOP";
const HEADER: usize = 12;

/// What the body of a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameKind(pub u8);

impl FrameKind {
    /// [`Hello`](crate::Hello), the agent's first frame.
    pub const HELLO: Self = Self(1);
    /// [`Request`](crate::Request), what a client sends.
    pub const REQUEST: Self = Self(2);
    /// [`Reply`](crate::Reply), what an agent sends, and what files hold.
    pub const REPLY: Self = Self(3);
    /// A part of a [`Trace`](crate::Trace) that is followed by more; only in files.
    pub const TRACE_PART: Self = Self(4);
    /// Exchanged between the command and the process that reads symbols; never
    /// between command and agent.
    pub const SYMBOLS: Self = Self(5);
    /// Exchanged between the command and the process that reads programs.
    pub const PROGRAMS: Self = Self(6);
}

/// One frame, its body not yet decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WireFrame {
    /// The protocol version that the sender wrote.
    pub version: u16,
    /// What the body is.
    pub kind: FrameKind,
    /// The encoded body.
    pub body: Vec<u8>,
}

/// Writes one frame.
///
/// # Errors
/// If the stream fails, or the body is longer than [`MAX_REPLY`].
pub fn write_frame(
    stream: &mut impl Write,
    kind: FrameKind,
    body: &[u8],
) -> Result<(), ProtocolError> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if length > MAX_REPLY {
        return Err(ProtocolError::TooLong {
            length,
            limit: MAX_REPLY,
        });
    }
    let [v0, v1] = crate::VERSION.to_le_bytes();
    let [l0, l1, l2, l3] = length.to_le_bytes();
    let [m0, m1, m2, m3] = MAGIC;
    let header: [u8; HEADER] = [m0, m1, m2, m3, v0, v1, kind.0, 0, l0, l1, l2, l3];
    stream.write_all(&header)?;
    stream.write_all(body)?;
    Ok(())
}

/// Reads one frame whose body is at most `limit` bytes long.
///
/// # Errors
/// If the stream fails or ends, the bytes are not a frame, or the body would be too long; in the
/// last case nothing has been allocated for it.
pub fn read_frame(stream: &mut impl Read, limit: u32) -> Result<WireFrame, ProtocolError> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let [m0, m1, m2, m3, v0, v1, kind, _, l0, l1, l2, l3] = header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(ProtocolError::NotRtops);
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length > limit {
        return Err(ProtocolError::TooLong { length, limit });
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(WireFrame {
        version: u16::from_le_bytes([v0, v1]),
        kind: FrameKind(kind),
        body,
    })
}
