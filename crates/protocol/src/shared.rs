//! What tasks and threads have in common, according to memory: what they wait
//! for, and their runtimes.

use serde::{Deserialize, Serialize};

/// Something that tasks or threads wait for, and who else has it in memory. No agent sends it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shared {
    /// Its address in the process.
    pub address: u64,
    /// What it is.
    pub kind: SharedKind,
    /// Who waits for it, the oldest first if that is known.
    pub waiters: Vec<Party>,
    /// Who else has its address, or the address of what contains it, in memory. This includes
    /// waiters that have it once more, apart from the place where they wait. A future leaves the
    /// address behind in what it moved or dropped, so not everyone listed still has it.
    pub others: Vec<Party>,
    /// The waiters and others that hold it: if their future is dropped in the interpreter, the
    /// first waiter gets what it waits for. Parties that are not listed may hold it, too.
    pub holders: Vec<Party>,
    /// Whether nobody else has it: the parties listed have all references to it that are counted.
    pub is_complete: bool,
}

/// What tasks or threads wait for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum SharedKind {
    /// A list of waiters, as in tokio's locks, semaphores and channels.
    Queue,
    /// A place for one waker, as at the receiving end of a channel.
    Slot,
    /// A lock for which threads wait.
    Lock,
}

/// A task or thread that has something in memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Party {
    /// A task.
    Task {
        /// The address of its cell, as in [`Untracked::cell`](crate::Untracked::cell).
        cell: u64,
    },
    /// The future that a thread polls itself, inside `block_on`.
    BlockOn {
        /// The thread, as the target numbers it.
        tid: i32,
    },
    /// A thread.
    Thread {
        /// The thread, as the target numbers it.
        tid: i32,
    },
}

/// The tasks of one tokio runtime, or of one set of local tasks, and the threads connected with it.
/// No agent sends it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OnRuntime {
    /// The number of the runtime or set; several messages may have the same.
    pub number: u32,
    /// The threads that refer to its scheduler, including its workers, as the target numbers them.
    pub threads: Vec<i32>,
    /// The cells of its tasks, as in [`Untracked::cell`](crate::Untracked::cell).
    pub cells: Vec<u64>,
}
