//! What a dump contains besides stacks: who holds what, who awaits whom, what has
//! ended, and what ran of polls.

use std::io::{Read, Write};

use rtops_types::Pid;
use serde::{Deserialize, Serialize};

use crate::{
    FrameKind, MAX_REPLY, ProtocolError, Reply, SourceLocation, StackId, StringId, Unresolved,
    WireFrame, codec, read_frame, write_frame,
};

/// How many of the tasks and spans made at one place in the source have ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndedSite {
    /// The place. It may occur several times; the counts add up.
    pub site: SourceLocation,
    /// How many ended or were dropped since the process started.
    pub ended: u64,
    /// The time since the last of them ended, in nanoseconds.
    pub last_ns: u64,
}

/// A lock that a task or thread waits for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Resource {
    /// Its number, unique in the process and never reused.
    pub id: u64,
    /// Its kind.
    pub kind: ResourceKind,
    /// The type of the value that it guards; no text if there is none.
    pub value_type: StringId,
    /// Where it was made.
    pub site: SourceLocation,
}

/// Something that tasks can hold and wait for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ResourceKind {
    /// One holder at a time.
    Mutex,
    /// One writer or several readers.
    RwLock,
    /// Permits. A waiter continues when enough of them are returned, by anyone.
    Semaphore,
    /// A set of tasks, its holders. A waiter continues when any of them ends.
    JoinSet,
}

/// A holder of a [`Resource`], or a waiter for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claim {
    /// The resource.
    pub resource: u64,
    /// Whether it is held or waited for.
    pub role: ClaimRole,
    /// The task or span that took the resource or waits for it; 0 outside all tracked futures. A
    /// guard that was passed on still belongs to the claim of the task that took it.
    pub task: u64,
    /// The thread that took it or began to wait, at that time.
    pub tid: i32,
    /// How long ago that was, in nanoseconds.
    pub since_ns: u64,
    /// Where that was in the source.
    pub site: SourceLocation,
    /// Whether others can hold it at the same time.
    pub mode: ClaimMode,
    /// How many permits; 1 for locks.
    pub permits: u32,
}

/// Whether a [`Claim`] holds its [`Resource`] or waits for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ClaimRole {
    /// It holds the resource.
    Holder,
    /// It waits for the resource.
    Waiter,
}

/// Whether others can hold a [`Resource`] at the same time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ClaimMode {
    /// Others can't.
    Exclusive,
    /// Others can, in the same mode.
    Shared,
}

/// The handle of one tracked task, found on the stack where another waits.
///
/// It is a join if the frame that it was found in awaits a handle, which can be
/// decided only with symbols.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HandleSeen {
    /// The task that waits.
    pub task: u64,
    /// The stack of one of its leaves.
    pub stack: StackId,
    /// The entry of that stack that the handle was found in, from 0, the innermost.
    pub entry: u32,
    /// The task that the handle belongs to.
    pub of: u64,
}

/// The number of a [`Trace`] in a reply, from 0.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct TraceId(pub u32);

/// One poll of a task, instruction by instruction. Tasks whose polls are alike share a trace.
///
/// A trace that is too long for one frame is sent in several, which sender and
/// receiver treat as one [`Reply`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trace {
    /// Whether the whole poll ran.
    pub end: TraceEnd,
    /// The order of the visits.
    pub order: TraceOrder,
    /// The calls, in the order in which they were made. The first is the poll itself.
    pub calls: Vec<Call>,
    /// The instructions that ran, each once per call.
    pub visits: Vec<Visit>,
}

impl Trace {
    /// The maximum number of calls, and of visits, in a trace.
    pub const MAX: usize = 1 << 20;
    /// The number of calls and visits in one frame, at up to 14 bytes each.
    const A_FRAME: usize = 64 << 10;

    /// Sends the trace in as many frames as it needs.
    pub(crate) fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        let parts = (self.calls.len() + self.visits.len()).div_ceil(Self::A_FRAME);
        let (mut calls, mut visits) = (self.calls.as_slice(), self.visits.as_slice());
        for left in (0..parts.max(1)).rev() {
            let (some_calls, other_calls) = calls.split_at(calls.len().min(Self::A_FRAME));
            let room = Self::A_FRAME - some_calls.len();
            let (some_visits, other_visits) = visits.split_at(visits.len().min(room));
            (calls, visits) = (other_calls, other_visits);
            let part = Self {
                end: self.end,
                order: self.order,
                calls: some_calls.to_vec(),
                visits: some_visits.to_vec(),
            };
            if left == 0 {
                return Reply::Trace(part).send_frame(stream);
            }
            let kind = FrameKind::TRACE_PART;
            write_frame(stream, kind, &codec::encode(kind, &part)?)?;
        }
        Ok(())
    }

    /// Receives the parts after the first one.
    pub(crate) fn receive_rest(mut self, stream: &mut impl Read) -> Result<Self, ProtocolError> {
        loop {
            let WireFrame { kind, body, .. } = read_frame(stream, MAX_REPLY)?;
            let is_last = kind == FrameKind::REPLY;
            let part: Self = match kind {
                FrameKind::TRACE_PART => codec::decode(kind, &body)?,
                FrameKind::REPLY => match codec::decode(kind, &body)? {
                    Reply::Trace(last) => last,
                    _ => return Err(ProtocolError::Unexpected(kind.0)),
                },
                _ => return Err(ProtocolError::Unexpected(kind.0)),
            };
            let is_empty = part.calls.is_empty() && part.visits.is_empty();
            self.calls.extend(part.calls);
            self.visits.extend(part.visits);
            if is_empty || self.calls.len().max(self.visits.len()) > Self::MAX {
                return Err(ProtocolError::Malformed {
                    kind: kind.0,
                    reason: "a part of a poll is empty, or one too many".to_owned(),
                });
            }
            if is_last {
                return Ok(self);
            }
        }
    }
}

/// The order of the instructions in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TraceOrder {
    /// By when they last ran: the last ones show where the task waits.
    LastRun,
    /// By when they first ran: the first ones show where the task resumes. Used for tasks that were
    /// woken, or that the poll would have completed.
    FirstRun,
}

/// A call in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Call {
    /// The call that made it, which comes earlier; the first call refers to itself.
    pub caller: u32,
    /// The address of the calling instruction; 0 for the first call.
    pub site: u64,
}

/// An instruction in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Visit {
    /// The call that it ran in.
    pub call: u32,
    /// Its address.
    pub ip: u64,
}

/// Whether a whole poll ran.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TraceEnd {
    /// The whole poll ran.
    Whole,
    /// The poll took too many steps.
    TooLong,
    /// The poll was abandoned, for this reason.
    GivenUp(Unresolved),
}

/// The target of a saved dump, and when the dump was taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Saved {
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// The name of the host.
    pub host: String,
    /// The process id as seen by whoever saved the dump.
    pub pid: Pid,
    /// The process id as the process itself sees it, and the id of its main thread.
    pub inner_pid: i32,
    /// The start of the process, in clock ticks after boot, which together with `pid` identifies
    /// it. `None` for a core file.
    pub start_time: Option<u64>,
    /// The version of its agent; `None` if no agent was asked.
    pub agent_version: Option<String>,
    /// The version of `rtops` that saved it.
    pub rtops_version: String,
}
