//! Tasks that no wrapper tracks, found and polled in a copy of the process.

use serde::{Deserialize, Serialize};

use crate::Leaf;

/// What a dump is to find out about tasks that no wrapper tracks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CopyRequest {
    /// How much.
    pub detail: CopyDetail,
    /// When.
    pub when: CopyWhen,
    /// The longest time for which the threads of the target may be stopped, in microseconds. Where
    /// it would take longer, no copy is made.
    pub max_pause_us: u32,
}

/// How much a copy is used for. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum CopyDetail {
    /// Which there are, of which type and in which state. None is polled, and tracked tasks are left
    /// out.
    Census,
    /// Where they wait, too.
    Trees,
}

/// When a copy is made. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum CopyWhen {
    /// If more tasks are alive than are tracked.
    Needed,
    /// In any case.
    Always,
}

/// A task of tokio's that no wrapper tracks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unwrapped {
    /// tokio's number of it. Tracked tasks are numbered on their own, and so are those of a second copy
    /// of tokio in the same program: they get numbers from [`OTHER`](Self::OTHER) on here.
    pub id: u64,
    /// The function that polls it. It is made for the type of its future, which debug info names.
    pub poll: u64,
    /// Where its future is a box: the function that polls what is inside; else 0.
    pub boxed_poll: u64,
    /// What it was doing when the copy was made.
    pub state: UnwrappedState,
    /// How many wakers can exist at most, abort handles included, by its count of references. An
    /// idle task with none can never be woken.
    pub wakers: u32,
    /// Whether a handle can still join or abort it.
    pub has_join_handle: bool,
    /// How `leaves` came about.
    pub found_by: FoundBy,
    /// One stack for each place where it waits.
    pub leaves: Vec<Leaf>,
}

impl Unwrapped {
    /// Added to [`id`](Self::id), it makes a number that no tracked task has, and that is exact in
    /// a JSON reader's floating point. [`Trace`](crate::Trace)s and notes name the task by it.
    pub const FIRST: u64 = 1 << 52;
    /// The first number that is not tokio's own.
    pub const OTHER: u64 = 1 << 51;
}

/// What a task was doing when the copy was made. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum UnwrappedState {
    /// It waits to be woken.
    Idle,
    /// It was woken, or is new, and waits for its turn.
    Woken,
    /// It is inside a poll.
    Running {
        /// The thread, as the target numbers it; 0 where that is not known.
        tid: i32,
    },
    /// A closure on a blocking pool, which runs or waits for a thread.
    Blocking {
        /// The thread that runs it, as the target numbers it; 0 where that is not known.
        tid: i32,
    },
}

/// How it was found out where a task waits. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum FoundBy {
    /// A poll in the copy, and the wakers that it registered: branches that register none are
    /// missing, unless others show them that have the same type and the same leaves, and were
    /// stepped.
    Hook,
    /// The same, and a stepped poll in the copy: a [`Trace`](crate::Trace) shows all branches.
    Steps,
    /// The stack of the thread that polls it.
    Thread,
    /// It is not known where it waits.
    Unresolved(Unresolved),
}

/// Why it is not known where a task waits. Variants are only ever added at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Unresolved {
    /// Only its type was asked for.
    NotAsked,
    /// It has not been polled yet, or was about to be.
    Woken,
    /// Its poll waited for a lock that another thread held.
    Locked,
    /// Its poll touched memory that the copy does not have.
    Fault,
    /// Its poll did not end in time.
    Endless,
    /// Its poll would have ended the process.
    Exit,
    /// Its poll panicked.
    Panic,
    /// Its poll repeated a system call that a copy can't make.
    SystemCall,
    /// Its poll would have completed it.
    Ready,
    /// It belongs to a copy of tokio that the agent does not know.
    OtherTokio,
    /// The time was up before its turn.
    NoTime,
    /// No thread is known to run it.
    NoThread,
}

/// What became of the copy. Sent whenever one was asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CopyReport {
    /// Whether one was made.
    pub outcome: CopyOutcome,
    /// For how long threads of the target were stopped, in nanoseconds.
    pub pause_ns: u64,
    /// How long the copy lived, in nanoseconds.
    pub lived_ns: u64,
    /// The tasks that were found in it, without closures of blocking pools.
    pub tasks: u64,
    /// Those of them that a wrapper tracks.
    pub tracked: u64,
    /// How many polls were stepped.
    pub stepped: u64,
}

/// Whether a copy was made. Variants are only ever added at the end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum CopyOutcome {
    /// Yes.
    Made,
    /// It was not needed: all tasks are tracked.
    NotNeeded,
    /// The service's author switched it off.
    Disabled,
    /// The target can't: a sentence without a full stop that says why.
    Unsupported(String),
    /// It was not made this time: a sentence without a full stop that says why.
    Refused(String),
}
