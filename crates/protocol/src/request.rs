//! What a client asks for.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::{CopyRequest, FrameKind, MAX_REQUEST, ProtocolError, codec, read_frame, write_frame};

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
    /// The same, with the frames of [`evidence`](crate::Trace) and, where wanted, stepped polls.
    /// For agents with [`Capabilities::EVIDENCE`](crate::Capabilities::EVIDENCE).
    Dump(DumpRequest),
    /// The same, with untracked tasks, which takes a copy of the process. For agents with
    /// [`Capabilities::COPY`](crate::Capabilities::COPY).
    DumpWithCopy(DumpRequest, CopyRequest),
    /// What the allocator says, and what [`Capabilities::MEMORY`](crate::Capabilities::MEMORY)
    /// agents count.
    Memory,
    /// To give memory that the allocator keeps for later back to the system. For agents with
    /// [`Capabilities::TRIM`](crate::Capabilities::TRIM).
    Trim,
    /// What the service says of its build. Answered with a [`Build`](crate::Build). For agents with
    /// [`Capabilities::BUILD`](crate::Capabilities::BUILD).
    Build,
    /// As [`Memory`](Self::Memory), with what an allocator finds out only by walking through its
    /// heap, however large that is. Threads that allocate may wait for as long.
    MemoryByWalk,
}

/// Which stacks are wanted and for how long the agent may try.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StackRequest {
    /// Tasks, threads, or both.
    pub parts: StackParts,
    /// The time after which the agent sends what it has, in milliseconds.
    pub deadline_ms: u32,
}

/// What a dump is to hold.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DumpRequest {
    /// Tasks, threads, or both.
    pub parts: StackParts,
    /// The time after which the agent sends what it has, in milliseconds.
    pub deadline_ms: u32,
    /// Which polls are to be stepped.
    pub steps: Steps,
}

/// Which tasks are to be polled once more, instruction by instruction; a few of each place where
/// such tasks are made. Only agents with [`Capabilities::STEPS`](crate::Capabilities::STEPS) can.
/// Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Steps {
    /// None.
    No,
    /// Those that have no waker, so that nothing else can show where they wait.
    Proven,
    /// All that wait, as branches without a waker may stand beside others that have one.
    Deep,
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
