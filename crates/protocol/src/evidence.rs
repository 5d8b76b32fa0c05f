//! What a dump says beyond stacks: who holds what, who awaits whom, what has ended, and polls that
//! were stepped.

use serde::{Deserialize, Serialize};

use crate::{SourceLocation, StackId, StringId};

/// Something found out about a task that its record has no field for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskNote {
    /// The task.
    pub task: u64,
    /// What was found out.
    pub note: Note,
}

/// What a [`TaskNote`] says. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Note {
    /// An earlier dump saw wakers registered, and when this one began all of them had been dropped
    /// unused: until this dump polled it, nothing could wake the task.
    WakersLost,
    /// The task or span that spawned it was dropped before its end.
    SpawnerCancelled,
    /// Its poll was to be stepped, and was not.
    NotStepped(NotStepped),
    /// It is polled in parts. One has ended, and nobody has asked for the next: to wake it has
    /// nothing polled, so it was not probed.
    HeldBack,
}

/// How often a thread was given a processor.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ThreadRun {
    /// The thread, as the target numbers it.
    pub tid: i32,
    /// The count since it started. A dump that takes the thread's stack adds to it.
    pub timeslices: u64,
}

/// Why a poll was not stepped. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum NotStepped {
    /// The target's platform can't.
    Unsupported,
    /// The target has no memory for a trace.
    NoMemory,
    /// A debugger or tracer is attached to the target.
    Traced,
    /// The thread that polls the task blocks SIGTRAP.
    SignalBlocked,
    /// Another part of the target took SIGTRAP over.
    HandlerReplaced,
    /// Another poll was being stepped all the time.
    Busy,
    /// The system refused something that is needed; an errno.
    System(i32),
    /// The task was not polled.
    NotPolled,
    /// The dump's time was up before its turn.
    NoTime,
}

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

/// What tasks can hold and wait for. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
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

/// One poll of a task, instruction by instruction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trace {
    /// The task.
    pub task: u64,
    /// Whether the whole poll was stepped.
    pub end: TraceEnd,
    /// The calls that were made, in the order in which they were. The first is the poll itself.
    pub calls: Vec<Call>,
    /// The instructions that ran, each once a call, in the order in which they last did.
    pub visits: Vec<Visit>,
}

/// A call in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Call {
    /// The call that made it, which comes earlier; the first call has itself here.
    pub caller: u32,
    /// Where the calling instruction is; 0 for the first call.
    pub site: u64,
}

/// An instruction in a [`Trace`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Visit {
    /// The call that it ran in.
    pub call: u32,
    /// Where it is.
    pub ip: u64,
}

/// Whether a whole poll was stepped. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum TraceEnd {
    /// Yes.
    Whole,
    /// The poll took more steps than a recording holds.
    TooLong,
    /// The poll did something that can't be stepped over safely, such as starting a thread.
    Unsafe,
}

/// What a saved dump was taken of, and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Saved {
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// The name of the host.
    pub host: String,
    /// The process, as the one who saved it numbers it.
    pub pid: i32,
    /// The same, as the process itself numbers it, and its main thread.
    pub inner_pid: i32,
    /// The start of the process, in clock ticks after boot: with `pid`, which process it was.
    pub start_time: u64,
    /// The version of its agent.
    pub agent_version: String,
    /// The version of `rtops` that saved it.
    pub rtops_version: String,
}
