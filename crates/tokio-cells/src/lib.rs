//! Find the tasks of tokio in a copy of this process, and find out where they wait by polling them
//! there.
//!
//! tokio keeps each task in a *cell*: one allocation with a header, the future and a trailer. All
//! cells are found by their look: an address on 128 bytes, a vtable of so many code addresses in a
//! file's read-only data, and links to their neighbours in the runtime's list that agree. Nothing of
//! this is promised by tokio: `layout.rs` says what is relied on, and each copy has tasks of our own
//! making in it, the *canaries*, which must be found and must behave; else the copy is not used.
//!
//! In the copy, which is harmless (see [`rtops_snapshot`]), idle tasks are polled:
//!
//! - The *hook pass* polls all of them. What clones a waker is caught in the act, with the stack
//!   from there up to the task's poll: the places where it waits, as far as they register.
//! - The *step pass* polls samples of tasks that look alike, instruction by instruction
//!   ([`rtops_step`]): all places, registered or not. Before, the wakers of executors inside of tasks
//!   (`FuturesUnordered` and its likes) are woken, so that they poll their children.
//!
//! A poll that does anything but wait ends in a fresh copy for those that follow.
//!
//! The address-catching is that of `tasktrace` and others, see the design notes; reading tokio's cells
//! and polling in a copy are new here as far as we know.

mod canary;
mod driver;
mod inside;
mod layout;
mod outside;
mod record;
mod samples;

pub use crate::outside::{Cell, CellState, Observer, Outcome, StackCopy, Survey, Wanted};
pub use rtops_snapshot::{Failed, GiveUp, Plan, Refusal as NoCopy, Times};

/// Why there is no survey.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no copy.
    #[error(transparent)]
    NoCopy(#[from] rtops_snapshot::Refusal),
    /// The copy did not get as far as to find tasks.
    #[error("the copy did not get to the tasks: {0}")]
    Failed(#[from] rtops_snapshot::Failed),
    /// What was found of our own tasks is not what is known of tokio.
    #[error("this version of tokio keeps its tasks in a way that is not known: {0}")]
    UnknownLayout(&'static str),
    /// There is no runtime for the canaries.
    #[error("no runtime can be made to check how tokio keeps its tasks: {0}")]
    NoRuntime(std::io::Error),
}
