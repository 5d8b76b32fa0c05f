//! Tasks that were found in the memory of the process, and polled there in an interpreter.

use serde::{Deserialize, Serialize};

use crate::{Leaf, TraceId};

/// A task of tokio's. What names it is its place in a reply, counted from 0 over all frames. In a dump that
/// has what an agent tells, too, it may be one of those that are tracked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Untracked {
    /// tokio's number of it; `None` where that can't be read, as in old versions.
    pub number: Option<u64>,
    /// Which tokio of the program it belongs to, from 0: there may be several, each of which counts
    /// its tasks on its own.
    pub tokio: u32,
    /// The address of its cell, where that is the same as in the process.
    pub cell: Option<u64>,
    /// What its future has in memory of a tracked one: see [`Task::mark`](crate::Task::mark).
    pub mark: Option<u64>,
    /// The function that polls it. It is made for the type of its future, which debug info names.
    pub poll: u64,
    /// Where its future is a box: the function that polls what is inside.
    pub boxed_poll: Option<u64>,
    /// What it was doing.
    pub state: UntrackedState,
    /// How many wakers can exist at most, abort handles included, by its count of references. An
    /// idle task with none can never be woken.
    pub wakers: u32,
    /// Whether a handle can still join or abort it.
    pub has_join_handle: bool,
    /// How it was found out where it waits.
    pub found_by: FoundBy,
    /// What ran of its poll. Any number of tasks may have the same.
    pub trace: Option<TraceId>,
    /// Each place where it waits.
    pub leaves: Vec<UntrackedLeaf>,
    /// The marks of the tracked futures that were polled.
    pub polled: Vec<u64>,
    /// Where each of its polls wakes it instead of waiting, if it was polled or about to be.
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
        /// The thread, as the target numbers it, where that is known.
        tid: Option<i32>,
    },
    /// A closure on a blocking pool, which runs or waits for a thread.
    Blocking {
        /// The thread that runs it, as the target numbers it, where that is known.
        tid: Option<i32>,
    },
    /// It has ended, and its join handle keeps what is left of it.
    Completed,
    /// It is no task, but the future that a thread polls itself, inside `block_on`, and waits.
    BlockOn {
        /// The thread, as the target numbers it.
        tid: i32,
    },
    /// A closure on a blocking pool, which waits for a thread.
    Queued,
}

/// How it was found out where a task waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum FoundBy {
    /// A poll in the interpreter: its [`Trace`](crate::Trace) shows all branches; of a task that was
    /// woken, where it resumes.
    Steps,
    /// The stack of the thread that polls it.
    Thread,
    /// It is not known where it waits.
    Unresolved(Unresolved),
    /// A poll in the interpreter that would have completed an idle task, at the very instant of the
    /// dump: its [`Trace`](crate::Trace) shows what is ready, and nobody has woken the task.
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
    /// Its poll came to an instruction that can't be interpreted.
    Instruction,
    /// A part of its poll runs on another stack, as on a coroutine.
    OtherStack,
}
