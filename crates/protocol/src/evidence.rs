//! What a dump says beyond stacks: who holds what, who awaits whom, what has ended, and what ran of polls.

use std::io::{Read, Write};

use rtops_types::Pid;
use serde::{Deserialize, Serialize};

use crate::{
    Frame, FrameKind, MAX_REPLY, ProtocolError, Reply, SourceLocation, StackId, StringId,
    Unresolved, codec, read_frame, write_frame,
};

/// What has ended of the tasks and spans that were made at one place in the source.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndedSite {
    /// The place. It may occur several times; the counts add up.
    pub site: SourceLocation,
    /// How many ended or were dropped since the process started.
    pub ended: u64,
    /// The time since the last of them did, in nanoseconds.
    pub last_ns: u64,
}

/// A lock that somebody waits for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Resource {
    /// Its number, unique in the process and never reused.
    pub id: u64,
    /// What it is.
    pub kind: ResourceKind,
    /// The type of the value that it guards; no text where there is none.
    pub value_type: StringId,
    /// Where it was made.
    pub site: SourceLocation,
}

/// What tasks can hold and wait for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ResourceKind {
    /// One holder at a time.
    Mutex,
    /// One writer or several readers.
    RwLock,
    /// Permits. A waiter goes on when enough of them come back, from whomever.
    Semaphore,
    /// A set of tasks, its holders. A waiter goes on when any of them ends.
    JoinSet,
}

/// Somebody holds a [`Resource`], or waits for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claim {
    /// The resource.
    pub resource: u64,
    /// Whether it is held or waited for.
    pub role: ClaimRole,
    /// The task or span that took it or waits; 0 outside of all tracked futures. A guard that was
    /// handed on is still the claim of the task that took it.
    pub task: u64,
    /// The thread that did, at that time.
    pub tid: i32,
    /// Since when, in nanoseconds before now.
    pub since_ns: u64,
    /// Where in the source.
    pub site: SourceLocation,
    /// Whether others can hold it at the same time.
    pub mode: ClaimMode,
    /// How many permits; 1 for locks.
    pub permits: u32,
}

/// On which side of a [`Resource`] a [`Claim`] is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ClaimRole {
    /// It is held.
    Holder,
    /// It is waited for.
    Waiter,
}

/// Whether others can hold a [`Resource`] at the same time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ClaimMode {
    /// No.
    Exclusive,
    /// Yes, in the same mode.
    Shared,
}

/// The handle of one tracked task was found on the stack where another waits.
///
/// It is a join where the frame it was found in is one that awaits a handle, which only somebody
/// with symbols can tell.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HandleSeen {
    /// The task that waits.
    pub task: u64,
    /// The stack of one of its leaves.
    pub stack: StackId,
    /// Which entry of that stack the handle was found in, from 0, the innermost.
    pub entry: u32,
    /// The task that the handle is of.
    pub of: u64,
}

/// The number of a [`Trace`] in a reply, from 0.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct TraceId(pub u32);

/// One poll of a task, instruction by instruction. Any number of tasks may be polled alike, and name
/// the same.
///
/// One that is too long for a frame is sent in several, which are one [`Reply`] to who
/// sends and who receives it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trace {
    /// Whether the whole poll ran.
    pub end: TraceEnd,
    /// In which order the visits are.
    pub order: TraceOrder,
    /// The calls that were made, in the order in which they were. The first is the poll itself.
    pub calls: Vec<Call>,
    /// The instructions that ran, each once a call.
    pub visits: Vec<Visit>,
}

impl Trace {
    /// The most calls, and the most visits, of one.
    pub const MAX: usize = 1 << 20;
    /// How many calls or visits go into one frame, at up to 14 bytes each.
    const A_FRAME: usize = 64 << 10;

    /// Sends it, in as many frames as it takes.
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

    /// Receives what follows the first part.
    pub(crate) fn receive_rest(mut self, stream: &mut impl Read) -> Result<Self, ProtocolError> {
        loop {
            let Frame { kind, body, .. } = read_frame(stream, MAX_REPLY)?;
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

/// In which order the instructions of a [`Trace`] are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TraceOrder {
    /// That in which they last ran: the last ones show where the task waits.
    LastRun,
    /// That in which they first ran: the first ones show where the task resumes. So it is for tasks
    /// that were woken, or that the poll would have completed.
    FirstRun,
}

/// A call in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Call {
    /// The call that made it, which comes earlier; the first call has itself here.
    pub caller: u32,
    /// Where the calling instruction is; 0 for the first call.
    pub site: u64,
}

/// An instruction in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Visit {
    /// The call that it ran in.
    pub call: u32,
    /// Where it is.
    pub ip: u64,
}

/// Whether a whole poll ran.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TraceEnd {
    /// Yes.
    Whole,
    /// The poll took too many steps.
    TooLong,
    /// The poll was given up, for this reason.
    GivenUp(Unresolved),
}

/// What a saved dump was taken of, and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Saved {
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// The name of the host.
    pub host: String,
    /// The process, as the one who saved it numbers it.
    pub pid: Pid,
    /// The same, as the process itself numbers it, and its main thread.
    pub inner_pid: i32,
    /// The start of the process, in clock ticks after boot: with `pid`, which process it was. A core
    /// file does not tell.
    pub start_time: Option<u64>,
    /// The version of its agent; `None` where none was asked.
    pub agent_version: Option<String>,
    /// The version of `rtops` that saved it.
    pub rtops_version: String,
}
