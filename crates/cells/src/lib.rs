//! Finds tokio's tasks in the memory of a process: a core file, or a stopped process.
//!
//! The process itself runs nothing. Tasks are found by the structure of their *cells*, tokio's
//! allocations for them, and each waiting task is polled in an interpreter, which drops whatever a
//! poll writes. The calls that a poll makes on the way to where it waits are the task's await tree.
//!
//! ```no_run
//! use rtops_cells::{Options, Inventory};
//! use rtops_image::Core;
//!
//! let core = Core::open("core".as_ref(), &rtops_image::Options::default())?;
//! let inventory = Inventory::take(&core, Options::default())?;
//! for task in &inventory.tasks {
//!     println!("task {:?}: {:?}, polled by {:#x}", task.number, task.state, task.poll);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it relies on
//!
//! `layout.rs` lists everything that this crate relies on in tokio's private memory layout, in
//! one table for versions 1.20 and later. Several copies of tokio in one program are told apart
//! by their wakers. Leftovers of ended tasks are not mistaken for tasks; `discover.rs` says how.
//!
//! A wrongly interpreted instruction would show a wrong line. `rtops-differential` runs the
//! same polls on the processor and compares all registers before each instruction.
#![forbid(unsafe_code)]

use std::ops::Range;

use rtops_image::Tid;

mod answers;
mod discover;
mod elf;
mod inventory;
mod layout;
mod machine;
mod marks;
mod places;
mod poll;
mod polls;
mod recorder;
mod scan;
mod shared;
mod siblings;
mod source;
mod stacks;
mod symbols;
mod tree;
mod version;
mod vtable;
mod words;

pub use crate::{
    inventory::{Inventory, Noted, Options, Resumed},
    machine::Machine,
    marks::first_word,
    poll::{Polled, Poller},
    polls::Polls,
    recorder::Registered,
    shared::{Party, Shared, SharedKind},
    stacks::Stack,
    tree::{Call, Visit, VisitOrder},
    version::Version,
};

/// A task of tokio's, or a closure on a blocking pool, that has not ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Task {
    /// The address of its cell.
    pub cell: u64,
    /// The copy of tokio in the program that it belongs to, from 0.
    pub copy: u32,
    /// tokio's number of it; `None` for versions before 1.23, which
    /// keep it where it can't be found.
    pub number: Option<u64>,
    /// The number of the list that owns it: one for each runtime and each `LocalSet`; 0 for a
    /// closure on a blocking pool.
    pub owner: u64,
    /// The address of the function that polls it, which is specific to the type of its future.
    pub poll: u64,
    /// The address of the function that polls the content, if its future looks like a box. Only
    /// the type of the future can say whether it is one.
    pub boxed_poll: Option<u64>,
    /// Where its future is, or the content of a future that looks like a box. Empty if unknown.
    pub future: Range<u64>,
    /// What it was doing.
    pub state: State,
    /// The number of references to its cell.
    pub references: u64,
    /// The most wakers and abort handles that there can be. An idle
    /// task without any can never be woken.
    pub wakers: u64,
    /// Whether there is a `JoinHandle`.
    pub has_join_handle: bool,
    /// Where its poll registered wakers, sorted; a place is
    /// repeated for each waker registered there.
    pub leaves: Vec<Leaf>,
    /// The arguments with which its poll called the function that [`Options::noted`] names.
    pub noted: Vec<u64>,
    /// Where its poll wakes it again instead of waiting, by position in [`Inventory::leaves`].
    /// Only for a task that was woken or inside a poll: any other may be waiting.
    pub wakes_itself: Option<u32>,
    /// What its poll ran, by position in [`Inventory::traces`].
    pub trace: Option<u32>,
    /// Why its poll does not show where it waits, or that it no longer waits.
    pub unresolved: Option<Unresolved>,
}

/// A runtime of tokio's, or a `LocalSet`, that has tasks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Runtime {
    /// The copy of tokio in the program that it belongs to, as in [`Task::copy`].
    pub copy: u32,
    /// The number of the list that owns its tasks, as in [`Task::owner`].
    pub owner: u64,
    /// The threads that refer to its scheduler, its workers among them.
    pub threads: Vec<Tid>,
}

/// Where a poll registered a waker.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Leaf {
    /// The stack, by position in [`Inventory::leaves`].
    pub stack: u32,
    /// The cell of the task whose handle is awaited there.
    pub awaits: Option<u64>,
    /// The word that [`Options::noted`] names.
    pub note: Option<u64>,
}

/// What a poll ran.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    /// Whether all of the poll ran.
    pub is_whole: bool,
    /// The order of the instructions: by their last run for a poll that reached the point where
    /// its task waits, else by their first run.
    pub order: VisitOrder,
    /// The calls that were made, in order. The first is the poll itself.
    pub calls: Vec<Call>,
    /// The instructions that ran, each once per call.
    pub visits: Vec<Visit>,
}

/// What a task was doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// It waited to be woken.
    Idle,
    /// It had been woken, or was new, and waited for its turn.
    Woken,
    /// It was inside a poll, on this thread if that is known.
    Running {
        /// The thread's id in the image.
        tid: Option<Tid>,
    },
    /// It is a closure that waits for a thread of its blocking pool.
    Queued,
    /// It is a closure that runs on a blocking pool, on this thread if that is known.
    Blocking {
        /// The thread's id in the image.
        tid: Option<Tid>,
    },
}

/// Why the poll of a task does not show where the task waits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Unresolved {
    /// It waits for a lock that a thread held.
    Locked,
    /// It needs memory that the image does not have.
    Fault,
    /// It did not end within its budget.
    Endless,
    /// It would have ended the process.
    Exit,
    /// It panicked.
    Panic,
    /// It kept repeating a system call that gets no answer.
    SystemCall,
    /// It reached an instruction that the interpreter does not know.
    UnknownInstruction,
    /// It completed the future: the task no longer waits.
    Ready,
    /// The time was up before its turn.
    NoTime,
    /// It is not known which thread runs it.
    NoThread,
    /// Part of it runs on another stack, such as a coroutine's.
    OtherStack,
}
