//! Which part of a thread's stack is an untracked task's.

use rtops_protocol::{Leaf, LeafEnd};
use rtops_symbols::FrameClass;

use crate::{frame::Link, frames::Frames, task::Task};

/// The function that each worker of a multi-thread runtime is, on the runtime's blocking pool.
const WORKER: &str = "tokio::runtime::scheduler::multi_thread";
/// tokio's own frames of the poll of a task, its innermost ones first met from inside.
const POLLS: [&str; 4] = [
    "tokio::runtime::task::core::",
    "tokio::runtime::task::harness::",
    "tokio::runtime::task::raw::",
    "tokio::runtime::blocking::task::",
];
/// What may stand between them.
const BETWEEN: [&str; 4] = [
    "tokio::loom::",
    "tokio::util::",
    "tokio::task::coop::",
    // Of `std::panic::catch_unwind`, where it is not inlined.
    "__rust_try",
];

/// How much of a thread's stack is inside the poll of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Own {
    /// So many frames, the innermost ones.
    Innermost(usize),
    /// There is no frame that polls a task.
    NoPoll,
    /// It is inside several polls, and which is the task's can't be told.
    Several,
}

/// The part of a stack that belongs to the task whose poll begins at `entry`. Of one that does not
/// reach its root, the poll that shows may be another's.
pub(crate) fn own_part(frames: &Frames, leaf: Leaf, entry: u64) -> Own {
    let links = frames.stack(leaf.stack);
    let frame = |index: usize| links.get(index).and_then(|link| frames.get(link.frame));
    let name = |index: usize| frame(index).map_or("", |frame| frame.name.as_str());
    let is_poll = |index: &usize| POLLS.iter().any(|poll| name(*index).starts_with(poll));
    let is_between = |index: &usize| {
        is_poll(index)
            || BETWEEN.iter().any(|path| name(*index).starts_with(path))
            || frame(*index).is_some_and(|frame| frame.known.class() == FrameClass::Std)
    };
    // From one frame of a poll inwards to its innermost.
    let innermost = |from: usize| {
        let own = (0..=from).rev().take_while(is_between);
        own.filter(is_poll).last().unwrap_or(from)
    };
    let begins = |link: &Link| frames.function_start(link.address) == Some(entry);
    if let Some(first) = links.iter().position(begins) {
        // What is inlined in the function has its address: the whole future, with link-time optimization.
        let address = links.get(first).map(|link| link.address);
        let inlined = links.iter().skip(first);
        let inlined = inlined.take_while(|link| Some(link.address) == address);
        return Own::Innermost(innermost(first + inlined.count().saturating_sub(1)));
    }
    let mut polls = (0..links.len()).rev().filter(is_poll);
    let Some(outermost) = polls.next() else {
        return Own::NoPoll;
    };
    let cut = innermost(outermost);
    if leaf.end != LeafEnd::Complete || (0..cut).any(|index| is_poll(&index)) {
        Own::Several
    } else {
        Own::Innermost(cut)
    }
}

/// The function that tokio calls to poll the task, if a stack shows it.
pub(crate) fn root(frames: &Frames, leaf: Leaf, entry: u64) -> Option<&str> {
    let Own::Innermost(length) = own_part(frames, leaf, entry) else {
        return None;
    };
    let own = frames.stack(leaf.stack).get(..length)?;
    let mut own = frames.of_links(own).rev();
    // What polls whatever a pin or box leads to.
    let root = own.find(|frame| frame.known.class() != FrameClass::Std)?;
    Some(&root.function)
        .filter(|name| name.contains("::"))
        .map(String::as_str)
}

/// Whether a future of this type is no task of the service's, but one of tokio's own threads.
pub(crate) fn is_worker(future_type: &str) -> bool {
    // `<tokio::…::Launch>::launch::{closure#0}` is what newer linkage names have.
    let future_type = future_type.strip_prefix('<').unwrap_or(future_type);
    future_type.starts_with(WORKER)
}

/// Whether the stack of a closure on a blocking pool is that of such a thread: with line tables alone, the
/// type of the closure is not known.
pub(crate) fn is_worker_thread(frames: &Frames, task: &Task) -> bool {
    let leaves = task.leaves.iter();
    let mut frames = leaves.flat_map(|leaf| frames.of_links(frames.stack(leaf.stack)));
    frames.any(|frame| {
        let rest = frame.name.strip_prefix(WORKER);
        rest.is_some_and(|rest| rest.starts_with("::worker::"))
    })
}

#[cfg(any(test, feature = "fixtures"))]
#[allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "for tests"
)]
pub mod fixtures;
#[cfg(test)]
mod tests;
