//! Messages between processes of the command, in the same frames and with the same codec.

use std::io::{Read, Write};

use serde::{Serialize, de::DeserializeOwned};

use crate::{FrameKind, MAX_REPLY, ProtocolError, codec, read_frame, write_frame};

/// Sends a message as one frame of this kind.
///
/// # Errors
/// If the stream fails, or the message is too long for a frame.
pub fn send_message(
    stream: &mut impl Write,
    kind: FrameKind,
    message: &impl Serialize,
) -> Result<(), ProtocolError> {
    write_frame(stream, kind, &codec::encode(kind, message)?)
}

/// Receives a message from a stream that may have only frames of this kind.
///
/// # Errors
/// If the stream fails or ends, or anything but such a message arrives.
pub fn receive_message<T: DeserializeOwned>(
    stream: &mut impl Read,
    kind: FrameKind,
) -> Result<T, ProtocolError> {
    let frame = read_frame(stream, MAX_REPLY)?;
    if frame.kind != kind {
        return Err(ProtocolError::Unexpected(frame.kind.0));
    }
    codec::decode(kind, &frame.body)
}
