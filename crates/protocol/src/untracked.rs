//! Tasks that were found in the memory of the process and polled in an interpreter.

use serde::{Deserialize, Serialize};

use crate::{Leaf, TraceId};

/// A tokio task. It is identified by its position in a reply, counted from 0 across all frames. In
/// a dump that also has an agent's answer, it may be one of the tracked tasks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Untracked {
    /// Its number in tokio; `None` if that can't be read, as in old versions.
    pub number: Option<u64>,
    /// The tokio that it belongs to, from 0: a program may contain several, each of which numbers
    /// its tasks separately.
    pub tokio: u32,
    /// The address of its cell, if that is the same as in the process.
    pub cell: Option<u64>,
    /// The mark that its future has in memory if it is tracked: see
    /// [`Task::mark`](crate::Task::mark).
    pub mark: Option<u64>,
    /// The function that polls it. It is generated for the type of its
    /// future, which debug info names.
    pub poll: u64,
    /// If its future is a box, the function that polls what is inside.
    pub boxed_poll: Option<u64>,
    /// What it was doing.
    pub state: UntrackedState,
    /// The maximum number of wakers that can exist, abort handles included, by its reference count.
    /// An idle task with none can never be woken.
    pub wakers: u32,
    /// Whether a handle can still join or abort it.
    pub has_join_handle: bool,
    /// How it was determined where it waits.
    pub found_by: FoundBy,
    /// What ran of its poll. Several tasks may share a trace.
    pub trace: Option<TraceId>,
    /// The places where it waits.
    pub leaves: Vec<UntrackedLeaf>,
    /// The marks of the tracked futures that the poll polled.
    pub polled: Vec<u64>,
    /// The place where each of its polls wakes it instead of waiting, if it
    /// was polled or about to be.
    pub wakes_itself: Option<Leaf>,
}

/// A place where an untracked task waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct UntrackedLeaf {
    /// Its stack.
    pub leaf: Leaf,
    /// The cell of the task whose handle is awaited there.
    pub awaits: Option<u64>,
    /// The number of the innermost tracked future that is polled there; 0 for none.
    pub inside: u64,
}

impl From<Leaf> for UntrackedLeaf {
    fn from(leaf: Leaf) -> Self {
        Self {
            leaf,
            awaits: None,
            inside: 0,
        }
    }
}

/// What an untracked task was doing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum UntrackedState {
    /// It waits to be woken.
    Idle,
    /// It was woken, or is new, and waits for its turn.
    Woken,
    /// It is inside a poll.
    Running {
        /// The thread, as the target numbers it, if known.
        tid: Option<i32>,
    },
    /// A closure on a blocking pool, which runs or waits for a thread.
    Blocking {
        /// The thread that runs it, as the target numbers it, if known.
        tid: Option<i32>,
    },
    /// It has ended, and its join handle keeps what is left of it.
    Completed,
    /// It is not a task but the future that a thread polls itself, inside `block_on`, and it waits.
    BlockOn {
        /// The thread, as the target numbers it.
        tid: i32,
    },
    /// A closure on a blocking pool, which waits for a thread.
    Queued,
}

/// How it was determined where a task waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum FoundBy {
    /// By a poll in the interpreter: its [`Trace`](crate::Trace) shows all branches, or where the
    /// task resumes if it was woken.
    Steps,
    /// From the stack of the thread that polls it.
    Thread,
    /// It is not known where it waits.
    Unresolved(Unresolved),
    /// By a poll in the interpreter that would have completed an idle task, at the very instant of
    /// the dump: its [`Trace`](crate::Trace) shows what is ready, and nobody has woken the task.
    Ready,
}

/// Why it is not known where a task waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Unresolved {
    /// Only its type was asked for.
    NotAsked,
    /// Its poll waited for a lock that another thread held.
    Locked,
    /// Its poll touched memory that was not found.
    Fault,
    /// Its poll did not end in time.
    Endless,
    /// Its poll would have ended the process.
    Exit,
    /// Its poll panicked.
    Panic,
    /// Its poll repeated a system call that can't be made for it.
    SystemCall,
    /// Its poll completed the task.
    Ready,
    /// The time was up before its turn.
    NoTime,
    /// No thread is known to run it.
    NoThread,
    /// Its poll reached an instruction that can't be interpreted.
    Instruction,
    /// Part of its poll runs on another stack, as in a coroutine.
    OtherStack,
}
