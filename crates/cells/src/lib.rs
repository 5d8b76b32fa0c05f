//! tokio's tasks in the memory of a process: a core file, or a process that stands still.
//!
//! Nothing of the process is run. Its tasks are found by the structure of what tokio keeps of each, a
//! *cell*, and each task that waits is polled in an interpreter, over memory in which what a poll writes
//! is dropped afterwards. The calls that a poll makes on its way to where it waits are its await tree.
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
//! # What it rests on
//!
//! `layout.rs` has all that is relied on of tokio's private memory layout, in one table for the
//! versions from 1.20 on. Several copies of tokio in one program are told apart by their wakers. What
//! is left of a task that has ended is not taken for one: `discover.rs` says by what.
//!
//! An instruction that is interpreted wrongly would show a wrong line. `rtops-differential` runs the same
//! polls on the processor, and compares all registers before each instruction.
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
    /// Which copy of tokio in the program it belongs to, from 0.
    pub copy: u32,
    /// tokio's number of it; versions before 1.23 keep it where it can't be found.
    pub number: Option<u64>,
    /// The number of the list that owns it: one for each runtime and each `LocalSet`; 0 for a closure
    /// on a blocking pool.
    pub owner: u64,
    /// The address of the function that polls it, which is made for the type of its future.
    pub poll: u64,
    /// Where its future looks like a box: the address of the function that polls what is inside. It is
    /// one only if its type says so.
    pub boxed_poll: Option<u64>,
    /// Where its future lies; of one that looks like a box, what is inside. Empty where that is not known.
    pub future: Range<u64>,
    /// What it was doing.
    pub state: State,
    /// How many references there are to its cell.
    pub references: u64,
    /// How many wakers and abort handles there can be at most. An idle task without any can never be woken.
    pub wakers: u64,
    /// Whether there is a `JoinHandle`.
    pub has_join_handle: bool,
    /// Where its poll registered wakers, sorted: the same as often as one was registered there.
    pub leaves: Vec<Leaf>,
    /// With what its poll called the function that [`Options::noted`] names.
    pub noted: Vec<u64>,
    /// Where its poll wakes it once more instead of waiting, by position in [`Inventory::leaves`]; only of one that
    /// was woken, or inside a poll, as it may wait otherwise.
    pub wakes_itself: Option<u32>,
    /// What ran of its poll, by position in [`Inventory::traces`].
    pub trace: Option<u32>,
    /// Why its poll does not tell where it waits, or that it waits no longer.
    pub unresolved: Option<Unresolved>,
}

/// A runtime of tokio's, or a `LocalSet`, that has tasks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Runtime {
    /// Which copy of tokio in the program it belongs to, as in [`Task::copy`].
    pub copy: u32,
    /// The number of the list that owns its tasks, as in [`Task::owner`].
    pub owner: u64,
    /// The threads that refer to its scheduler: its workers are among them.
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

/// What ran of a poll.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    /// Whether all of the poll ran.
    pub is_whole: bool,
    /// In which order the instructions are: of a poll that came to where its task waits, in which they last
    /// ran; else in which they first did.
    pub order: VisitOrder,
    /// The calls that were made, in order. The first is the poll itself.
    pub calls: Vec<Call>,
    /// The instructions that ran, each once a call.
    pub visits: Vec<Visit>,
}

/// What a task was doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// It waited to be woken.
    Idle,
    /// It was woken, or is new, and waited for its turn.
    Woken,
    /// It was inside a poll, on this thread if that is known.
    Running {
        /// As the image numbers it.
        tid: Option<Tid>,
    },
    /// It is a closure that waits for a thread of its blocking pool.
    Queued,
    /// It is a closure that runs on a blocking pool, on this thread if that is known.
    Blocking {
        /// As the image numbers it.
        tid: Option<Tid>,
    },
}

/// Why the poll of a task does not tell where it waits.
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
    /// It repeated a system call that nothing answers.
    SystemCall,
    /// It came to an instruction that the interpreter does not know.
    UnknownInstruction,
    /// It completed the future: the task waits no longer.
    Ready,
    /// The time was up before its turn.
    NoTime,
    /// It is not known which thread runs it.
    NoThread,
    /// A part of it runs on another stack, as on a coroutine.
    OtherStack,
}
