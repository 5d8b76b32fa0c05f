//! What a client asks for.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::{FrameKind, MAX_REQUEST, ProtocolError, codec, read_frame, write_frame};

/// One question. Variants are only ever added at the end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Request {
    /// Name and number of tasks, for the list. Answered with a [`Summary`](crate::Summary).
    Summary,
    /// All counters. Answered with [`Stats`](crate::Stats).
    Stats,
    /// Await trees and thread stacks. Answered with a stream of frames.
    Stack(StackRequest),
}

/// Which stacks are wanted and for how long the agent may try.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StackRequest {
    /// Tasks, threads, or both.
    pub parts: StackParts,
    /// The time after which the agent sends what it has, in milliseconds.
    pub deadline_ms: u32,
}

/// The halves of a dump.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StackParts {
    /// Tasks, and the threads that are inside a poll.
    Tasks,
    /// Threads only.
    Threads,
    /// Both.
    All,
}

impl Request {
    /// Sends the request.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        write_frame(
            stream,
            FrameKind::REQUEST,
            &codec::encode(FrameKind::REQUEST, self)?,
        )
    }

    /// Receives a request.
    ///
    /// # Errors
    /// When the stream fails or what arrives is no request that this build knows.
    pub fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        let frame = read_frame(stream, MAX_REQUEST)?;
        if frame.kind != FrameKind::REQUEST {
            return Err(ProtocolError::Unexpected(frame.kind.0));
        }
        codec::decode(frame.kind, &frame.body)
    }
}
