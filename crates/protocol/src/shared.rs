//! What tasks and threads have in common, as memory tells: what they wait for, and their runtimes.

use serde::{Deserialize, Serialize};

/// Something that tasks or threads wait for, and who else has it in memory. No agent sends it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shared {
    /// Its address in the process.
    pub address: u64,
    /// What it is.
    pub kind: SharedKind,
    /// Who waits for it, the oldest first where that is known.
    pub waiters: Vec<Party>,
    /// Who else has its address, or that of what it lies in, in memory. Who waits for it and has it once
    /// more, besides the place where it waits, is one of them. What a future has moved or dropped leaves
    /// its address behind, so that not everyone here still has it.
    pub others: Vec<Party>,
    /// Those of them all who hold it: with their future dropped in the interpreter, the first waiter gets
    /// what it waits for. Whoever is not here may hold it nevertheless.
    pub holders: Vec<Party>,
    /// Whether nobody else has it: they have all references to it that are counted.
    pub is_complete: bool,
}

/// What it is that tasks or threads wait for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum SharedKind {
    /// A list of those who wait, as in tokio's locks, semaphores and channels.
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
        /// As the target numbers it.
        tid: i32,
    },
}

/// Tasks of one runtime of tokio's, or of one set of local tasks, and the threads that have to do with it. No agent
/// sends it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OnRuntime {
    /// Which one; there may be several messages of one.
    pub number: u32,
    /// The threads that refer to its scheduler, its workers among them, as the target numbers them.
    pub threads: Vec<i32>,
    /// The cells of its tasks, as in [`Untracked::cell`](crate::Untracked::cell).
    pub cells: Vec<u64>,
}
