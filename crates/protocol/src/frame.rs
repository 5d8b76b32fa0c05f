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
///
/// Numbers are never reused. A receiver skips a kind that it does not know, which is how an
/// older client reads a newer agent's reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameKind(pub u8);

impl FrameKind {
    /// [`Hello`](crate::Hello), the agent's first frame.
    pub const HELLO: Self = Self(1);
    /// [`Request`](crate::Request), what a client sends.
    pub const REQUEST: Self = Self(2);
    /// [`Summary`](crate::Summary).
    pub const SUMMARY: Self = Self(16);
    /// [`Stats`](crate::Stats).
    pub const STATS: Self = Self(17);
    /// [`Memory`](crate::Memory).
    pub const MEMORY: Self = Self(18);
    /// [`Trimmed`](crate::Trimmed).
    pub const TRIMMED: Self = Self(19);
    /// [`Build`](crate::Build).
    pub const BUILD: Self = Self(20);
    /// [`Process`](crate::Process).
    pub const PROCESS: Self = Self(32);
    /// A list of [`Module`](crate::Module).
    pub const MODULES: Self = Self(33);
    /// [`Strings`](crate::Strings).
    pub const STRINGS: Self = Self(34);
    /// [`Stacks`](crate::Stacks).
    pub const STACKS: Self = Self(35);
    /// A list of [`Task`](crate::Task).
    pub const TASKS: Self = Self(36);
    /// A list of [`Thread`](crate::Thread).
    pub const THREADS: Self = Self(37);
    /// A list of [`TaskNote`](crate::TaskNote).
    pub const NOTES: Self = Self(38);
    /// A list of [`EndedSite`](crate::EndedSite).
    pub const ENDED_SITES: Self = Self(39);
    /// A list of [`Resource`](crate::Resource).
    pub const RESOURCES: Self = Self(40);
    /// A list of [`Claim`](crate::Claim).
    pub const CLAIMS: Self = Self(41);
    /// A list of [`HandleSeen`](crate::HandleSeen).
    pub const HANDLES_SEEN: Self = Self(42);
    /// [`Trace`](crate::Trace), or the last part of one, in files only.
    pub const TRACE: Self = Self(43);
    /// A list of [`ThreadRun`](crate::ThreadRun).
    pub const THREAD_RUNS: Self = Self(44);
    /// A list of [`Untracked`](crate::Untracked), in files only.
    pub const UNTRACKED: Self = Self(45);
    /// [`NotAttached`](crate::NotAttached), in files only.
    pub const NOT_ATTACHED: Self = Self(46);
    /// A part of a [`Trace`](crate::Trace), of which more follows, in files only.
    pub const TRACE_PART: Self = Self(47);
    /// [`Saved`](crate::Saved), in files only.
    pub const SAVED: Self = Self(48);
    /// [`CoreHead`](crate::CoreHead), in files only.
    pub const CORE: Self = Self(49);
    /// [`Outside`](crate::Outside), in files only.
    pub const OUTSIDE: Self = Self(50);
    /// [`End`](crate::End), the last frame of a reply that was given.
    pub const END: Self = Self(64);
    /// [`Refused`](crate::Refused), the last frame of a reply that was not given.
    pub const REFUSED: Self = Self(65);
}

/// One frame, its body not yet decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
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
/// When the stream fails, or the body is longer than [`MAX_REPLY`].
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
/// When the stream fails or ends, the bytes are not a frame, or the body would be too long; in
/// the last case nothing has been allocated for it.
pub fn read_frame(stream: &mut impl Read, limit: u32) -> Result<Frame, ProtocolError> {
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
    Ok(Frame {
        version: u16::from_le_bytes([v0, v1]),
        kind: FrameKind(kind),
        body,
    })
}
