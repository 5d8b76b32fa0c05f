//! The answers of an agent, and the contents of a saved dump.

use std::io::{Read, Write};

use rtops_types::Module;
use serde::{Deserialize, Serialize};

use crate::{
    Build, Claim, CoreHead, EndedSite, FrameKind, HandleSeen, MAX_REPLY, Memory, NotAttached,
    OnRuntime, Outside, ProtocolError, Resource, Saved, Shared, Trace, Trimmed, Untracked,
    WireFrame, codec, read_frame, write_frame,
};

/// One frame of an answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Reply {
    /// The answer to [`Request::Summary`](crate::Request::Summary).
    Summary(Summary),
    /// The answer to [`Request::Stats`](crate::Request::Stats).
    Stats(Stats),
    /// The answer to [`Request::Memory`](crate::Request::Memory).
    Memory(Memory),
    /// The answer to [`Request::Trim`](crate::Request::Trim).
    Trimmed(Trimmed),
    /// The answer to [`Request::Build`](crate::Request::Build).
    Build(Build),
    /// The head of a dump.
    Process(Process),
    /// The modules that contain the addresses of a dump.
    Modules(Vec<Module>),
    /// Texts, numbered from 1 across all frames of the same reply.
    Strings(Strings),
    /// Stacks, numbered from 0 across all frames of the same reply.
    Stacks(Stacks),
    /// Tasks; the texts, stacks and traces that they refer to came earlier.
    Tasks(Vec<Task>),
    /// Threads; the stacks that they refer to came earlier.
    Threads(Vec<Thread>),
    /// What has ended; the texts came earlier.
    EndedSites(Vec<EndedSite>),
    /// Locks that a task or thread waits for; the texts came earlier.
    Resources(Vec<Resource>),
    /// Holders of resources that came earlier, and waiters for them.
    Claims(Vec<Claim>),
    /// Handles of tasks, found where tasks that came earlier wait.
    HandlesSeen(Vec<HandleSeen>),
    /// What ran of a poll, numbered from 0 across all frames of the same reply; no agent sends it.
    Trace(Trace),
    /// Tasks that were found in memory; the stacks and traces that they refer to came
    /// earlier. No agent sends them.
    Untracked(Vec<Untracked>),
    /// The first frame of a saved dump; no agent sends it.
    Saved(Saved),
    /// The head of a dump that was taken from a core file; no agent sends it.
    Core(CoreHead),
    /// The head of what was read from a live process from outside; no agent sends it.
    /// In a dump that also has an agent's answer, it comes after that, and the
    /// numbering of stacks starts again.
    Outside(Outside),
    /// Says that nothing was read from outside; no agent sends it.
    NotAttached(NotAttached),
    /// The end of an answer.
    End(End),
    /// A refusal to answer.
    Refused(Refused),
    /// What tasks and threads wait for, and who else has it; the tasks and threads came
    /// earlier. No agent sends it.
    Shared(Vec<Shared>),
    /// Which tasks and threads belong to which runtime; the tasks and threads came
    /// earlier. No agent sends it.
    OnRuntime(OnRuntime),
}

/// One line of the list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// The name that the process goes by.
    pub name: String,
    /// Tracked tasks that have not ended.
    pub tracked_tasks: u64,
    /// Tasks alive on the tokio runtimes that the agent knows, tracked or not.
    pub alive_tasks: u64,
}

/// The agent's counters.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Stats {
    /// The name that the process goes by.
    pub name: String,
    /// Tracked tasks that have not ended.
    pub tracked_tasks: u64,
    /// Tracked spans that have not ended.
    pub tracked_spans: u64,
    /// Tracked tasks and spans that are inside a poll now.
    pub running: u64,
    /// How long the longest of these polls has lasted, in nanoseconds.
    pub longest_poll_ns: u64,
    /// Tracked tasks and spans made since the process started.
    pub spawned: u64,
    /// Tracked tasks and spans that ended or were dropped.
    pub finished: u64,
    /// Polls of tracked tasks and spans.
    pub polls: u64,
    /// The agent's clock, in nanoseconds: rates between two replies are computed over its advance.
    pub clock_ns: u64,
    /// The runtimes that the agent knows.
    pub runtimes: Vec<Runtime>,
}

/// A tokio runtime.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Runtime {
    /// The name it was registered under.
    pub name: String,
    /// Its scheduler.
    pub flavor: RuntimeFlavor,
    /// Tasks alive, tracked or not.
    pub alive_tasks: u64,
    /// Tasks that wait in the global queue for a worker.
    pub global_queue_depth: u64,
    /// Its worker threads.
    pub workers: Vec<Worker>,
    /// Tasks spawned since it started; only with `--cfg tokio_unstable`.
    pub spawned_tasks: Option<u64>,
    /// Threads of the blocking pool; only with `--cfg tokio_unstable`.
    pub blocking_threads: Option<u64>,
    /// Threads of the blocking pool without work; only with `--cfg tokio_unstable`.
    pub idle_blocking_threads: Option<u64>,
    /// Closures that wait for a thread of the blocking pool; only with `--cfg tokio_unstable`.
    pub blocking_queue_depth: Option<u64>,
    /// Polls ended by the cooperative budget; only with `--cfg tokio_unstable`.
    pub budget_forced_yields: Option<u64>,
}

/// How a runtime schedules.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum RuntimeFlavor {
    /// One thread, inside `block_on`.
    CurrentThread,
    /// A pool of workers.
    MultiThread,
    /// A flavor that tokio added after this build.
    Other,
}

/// A worker thread of a runtime.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Worker {
    /// Time spent busy since the runtime started, in nanoseconds.
    pub busy_ns: u64,
    /// How often it went to sleep.
    pub parks: u64,
    /// How often it went to sleep or woke up; odd while it sleeps.
    pub park_unparks: u64,
    /// Tasks in its own queue; only with `--cfg tokio_unstable`.
    pub queue_depth: Option<u64>,
    /// Tasks that it polled; only with `--cfg tokio_unstable`.
    pub polls: Option<u64>,
    /// Tasks that it took from other workers; only with `--cfg tokio_unstable`.
    pub steals: Option<u64>,
}

/// The head of a dump.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Process {
    /// The name that the process goes by.
    pub name: String,
    /// Tracked tasks on the tokio runtimes that the agent knows; `None` without an agent.
    pub tracked_on_tokio: Option<u64>,
    /// Tasks alive on those runtimes, tracked or not; `None` if no runtime is known.
    pub alive_on_tokio: Option<u64>,
    /// How to find in memory which tracked futures a poll belongs to; `None` if that is not known.
    pub tracking: Option<Tracking>,
}

/// Where code that tracks futures records which one it polls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tracking {
    /// Where each thread keeps the number of the innermost tracked future that it polls, as an
    /// offset in bytes from its thread pointer; the number 0 means none.
    pub current: i64,
    /// The function that records the waker of a poll if it differs from the last one. Its first
    /// argument is two words after the future's [`mark`](Task::mark).
    pub keeps_waker: u64,
}

/// Texts that tasks and threads refer to by number.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Strings(pub Vec<String>);

/// The number of a text in a reply; 0 is no text.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct StringId(pub u32);

/// Stacks that tasks and threads refer to by number.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stacks(pub Vec<Vec<u64>>);

/// The number of a stack in a reply, from 0.
///
/// A stack is the instruction pointer, then the return addresses, the innermost first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct StackId(pub u32);

/// A tracked future.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Task {
    /// Its number, unique in the process and never reused.
    pub id: u64,
    /// The task or span that it was made in or is polled by; 0 if there is none.
    pub parent: u64,
    /// Its kind.
    pub kind: TaskKind,
    /// The name it was given.
    pub name: StringId,
    /// The type of its future.
    pub future_type: StringId,
    /// Where it was spawned or tracked.
    pub site: SourceLocation,
    /// The name of the tokio runtime that polls it.
    pub runtime: StringId,
    /// The time since it was made, in nanoseconds.
    pub age_ns: u64,
    /// How often it was polled.
    pub polls: u64,
    /// What it is doing.
    pub state: TaskState,
    /// Whether anything can wake it, if that was found out.
    pub waker: WakerState,
    /// How `leaves` was obtained.
    pub obtained: Obtained,
    /// The address of the agent's record of it, which the owner of its future has in memory.
    pub mark: u64,
    /// What the waker of its latest poll points to, which on tokio is the task's cell; `None`
    /// before the first poll.
    pub cell: Option<u64>,
    /// Whether an earlier dump saw registered wakers, all of which had been dropped unused when
    /// this dump began: until this dump polled it, nothing could wake it.
    pub lost_wakers: bool,
    /// Whether the task or span that spawned it was dropped before its end.
    pub is_orphan: bool,
    /// One stack for each place where it waits.
    pub leaves: Vec<Leaf>,
}

/// What a tracked future is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TaskKind {
    /// A future that an executor polls on its own.
    Task,
    /// A future inside a task.
    Span,
    /// A closure on a blocking pool.
    Blocking,
    /// The future that a thread polls itself, inside `block_on`.
    BlockOn,
}

/// A place in the source; `file` is 0 if unknown.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct SourceLocation {
    /// The file as the compiler saw it.
    pub file: StringId,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// What a tracked future is doing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TaskState {
    /// Made, and not polled yet.
    New {
        /// The time since it was made, in nanoseconds.
        since_ns: u64,
    },
    /// Polled, and waiting to be woken.
    Suspended {
        /// The time since its last poll ended, in nanoseconds.
        since_ns: u64,
    },
    /// Inside a poll.
    Running {
        /// The time since that poll began, in nanoseconds.
        since_ns: u64,
        /// The thread it runs on, as the target numbers it.
        tid: i32,
    },
    /// Woken by the dump and not polled by its deadline: its executor has no thread for it.
    Starved {
        /// The time since its last poll ended, in nanoseconds.
        since_ns: u64,
    },
    /// Polled in parts, one of which has ended, and nobody asks for the next: waking it would poll
    /// nothing, so it was not probed.
    HeldBack {
        /// The time since its last poll ended, in nanoseconds.
        since_ns: u64,
    },
}

impl TaskState {
    /// Returns how long it has been in this state, in nanoseconds.
    #[must_use]
    pub const fn since_ns(self) -> u64 {
        match self {
            Self::New { since_ns }
            | Self::Suspended { since_ns }
            | Self::Running { since_ns, .. }
            | Self::Starved { since_ns }
            | Self::HeldBack { since_ns } => since_ns,
        }
    }
}

/// Whether anything can wake a suspended task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum WakerState {
    /// It was not probed, or its poll did not end in a wait.
    NotKnown,
    /// Its last poll registered wakers, and some are still held.
    Held(u32),
    /// Its last poll registered no waker, or all were dropped without a wake: by the contract of
    /// `Future` nothing can wake it again.
    None,
}

/// How the stacks of a task were obtained.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Obtained {
    /// There are none.
    NotCaptured,
    /// By one extra poll of the task itself.
    Probed,
}

/// One place where a task waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Leaf {
    /// The stack from the await point to the task's root.
    pub stack: StackId,
    /// Whether the stack reaches the root.
    pub end: LeafEnd,
}

/// Where the unwinding of a stack ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum LeafEnd {
    /// At the root.
    Complete,
    /// At the end of the copied bytes.
    Truncated,
    /// At a frame without unwind information.
    Lost,
    /// At memory that is not in the core file.
    Absent,
    /// At the root, but frames in the middle are left out, because there were too many.
    Abridged,
}

/// An OS thread.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Thread {
    /// Its number as the target sees it.
    pub tid: i32,
    /// Its name; a core file has none.
    pub name: Option<String>,
    /// The state letter of `/proc/PID/task/TID/stat`; a core file has none.
    pub state: Option<char>,
    /// The kernel function that it sleeps in, if the kernel reports it.
    pub wchan: Option<String>,
    /// The number of the system call that it is in, if the kernel reports it.
    pub syscall: Option<i64>,
    /// Processor time used, in clock ticks; a core file has none.
    pub cpu_ticks: Option<u64>,
    /// How often it was given a processor, if known. A dump that takes its stack increases it.
    pub timeslices: Option<u64>,
    /// What it did in the time after the look, if it was watched.
    pub afterwards: Option<Afterwards>,
    /// Its stack, or why there is none.
    pub capture: ThreadCapture,
}

/// What a thread did in the time after a look at it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Afterwards {
    /// How long it was watched, in nanoseconds.
    pub watched_ns: u64,
    /// How long it ran in that time, in nanoseconds.
    pub ran_ns: u64,
    /// How long it could have run in that time but had no processor, in nanoseconds.
    pub queued_ns: u64,
    /// How often it was given a processor in that time.
    pub timeslices: u64,
    /// Its state letter at the end.
    pub state: char,
}

/// The stack of a thread, or why there is none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ThreadCapture {
    /// The stack.
    Stack(Leaf),
    /// It is a thread of the agent itself.
    Agent,
    /// It blocks the signal that the agent uses.
    SignalBlocked,
    /// It did not handle the signal in time.
    NoAnswer,
    /// The dump's time was up before its turn.
    NoTime,
    /// Another part of the process took over the signal.
    HandlerReplaced,
    /// The system refused something that the capture needs; this is the errno.
    Failed(i32),
    /// Thread stacks are switched off, or not supported here.
    Off,
    /// The core file does not contain it.
    Absent,
}

/// The end of an answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct End {
    /// Sentences that say what is missing and why; empty if the answer is complete.
    pub gaps: Vec<String>,
}

/// A refusal to answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// A sentence for the user.
    pub message: String,
}

/// Why an agent refuses to answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refusal {
    /// The agent serves as many clients as it may; ask again.
    Busy,
    /// The user may not ask this agent.
    Permission,
    /// The request is not one that this agent knows.
    Unsupported,
    /// The service's author switched it off.
    Disabled,
    /// Something went wrong.
    Failed,
}

impl Reply {
    /// Sends the frame; a long [`Trace`] takes several.
    ///
    /// # Errors
    /// If the stream fails or the body is longer than [`MAX_REPLY`].
    pub fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        match self {
            Self::Trace(trace) => trace.send(stream),
            other => other.send_frame(stream),
        }
    }

    pub(crate) fn send_frame(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        let kind = FrameKind::REPLY;
        write_frame(stream, kind, &codec::encode(kind, self)?)
    }

    /// Receives one frame of an answer, or all frames of a long [`Trace`].
    ///
    /// # Errors
    /// If the stream fails or what arrives is not a frame of an answer.
    pub fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        let WireFrame { kind, body, .. } = read_frame(stream, MAX_REPLY)?;
        match kind {
            FrameKind::REPLY => codec::decode(kind, &body),
            FrameKind::TRACE_PART => {
                let first: Trace = codec::decode(kind, &body)?;
                Ok(Self::Trace(first.receive_rest(stream)?))
            }
            _ => Err(ProtocolError::Unexpected(kind.0)),
        }
    }
}
