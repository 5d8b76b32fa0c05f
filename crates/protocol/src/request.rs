//! The requests of a client.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::{FrameKind, MAX_REQUEST, ProtocolError, codec, read_frame, write_frame};

/// A request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Request {
    /// The name and the number of tasks, for the list. Answered with a [`Summary`](crate::Summary).
    Summary,
    /// All counters. Answered with [`Stats`](crate::Stats).
    Stats,
    /// Await trees, thread stacks, who holds what, and what has ended. Answered
    /// with a stream of frames.
    Dump(DumpRequest),
    /// What the allocator reports, and what
    /// [`Capabilities::MEMORY`](crate::Capabilities::MEMORY) agents count.
    Memory(HeapWalk),
    /// Returns memory that the allocator keeps for later to the system. For agents with
    /// [`Capabilities::TRIM`](crate::Capabilities::TRIM).
    Trim,
    /// What the service states about its build. Answered with a [`Build`](crate::Build). For agents
    /// with [`Capabilities::BUILD`](crate::Capabilities::BUILD).
    Build,
    /// Allows the client to trace the process until the conversation ends. The answer has no frames
    /// but the last, and the next request follows.
    Attach,
}

/// Whether to ask an allocator that has to walk its heap for an answer, while
/// threads that allocate wait.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum HeapWalk {
    /// Only if that can't take long.
    IfSmall,
    /// However long that takes.
    Always,
}

/// What a dump should contain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DumpRequest {
    /// Tasks, threads, or both.
    pub parts: StackParts,
    /// The time after which the agent sends what it has, in milliseconds.
    pub deadline_ms: u32,
    /// Which tasks and threads the agent asks where they wait.
    pub ask: Ask,
}

/// Which tasks and threads an agent asks where they wait. All of them are listed in any case, with
/// what is known about them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Ask {
    /// None.
    Nobody,
    /// Tracked tasks, which are polled once more.
    Tasks,
    /// Tracked tasks, and threads, which are interrupted.
    TasksAndThreads,
    /// The tracked tasks with these numbers.
    These(Vec<u64>),
}

/// The parts of a dump.
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
    /// If the stream fails.
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
    /// If the stream fails, or what arrives is not a request that this build knows.
    pub fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        let frame = read_frame(stream, MAX_REQUEST)?;
        if frame.kind != FrameKind::REQUEST {
            return Err(ProtocolError::Unexpected(frame.kind.0));
        }
        codec::decode(frame.kind, &frame.body)
    }
}
