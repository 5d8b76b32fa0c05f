//! Finds the part of a thread's stack that belongs to an untracked task.

use rtops_protocol::{Leaf, LeafEnd};
use rtops_symbols::FrameClass;

use crate::{frame::Link, frames::Frames, task::Task};

/// The path of the function that each worker of a multi-thread runtime runs on
/// the runtime's blocking pool.
const WORKER: &str = "tokio::runtime::scheduler::multi_thread";
/// Paths of tokio's own frames in the poll of a task, innermost first.
const POLLS: [&str; 4] = [
    "tokio::runtime::task::core::",
    "tokio::runtime::task::harness::",
    "tokio::runtime::task::raw::",
    "tokio::runtime::blocking::task::",
];
/// Paths of frames that may be in between.
const BETWEEN: [&str; 4] = [
    "tokio::loom::",
    "tokio::util::",
    "tokio::task::coop::",
    // Part of `std::panic::catch_unwind`, if that is not inlined.
    "__rust_try",
];

/// How much of a thread's stack is inside the poll of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Own {
    /// This many frames, counted from the innermost.
    Innermost(usize),
    /// There is no frame that polls a task.
    NoPoll,
    /// It is inside several polls, and it is unknown which one is the task's.
    Several,
}

/// Returns the part of a stack that belongs to the task whose poll begins at `entry`. If the stack
/// does not reach its root, the poll that it shows may belong to another task.
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
    // From one frame of a poll inwards to its innermost one.
    let innermost = |from: usize| {
        let own = (0..=from).rev().take_while(is_between);
        own.filter(is_poll).last().unwrap_or(from)
    };
    let begins = |link: &Link| frames.function_start(link.address) == Some(entry);
    if let Some(first) = links.iter().position(begins) {
        // Functions inlined there share its address; with link-time optimization,
        // the whole future may be.
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

/// Returns the function that tokio calls to poll the task, if a stack shows it.
pub(crate) fn root(frames: &Frames, leaf: Leaf, entry: u64) -> Option<&str> {
    let Own::Innermost(length) = own_part(frames, leaf, entry) else {
        return None;
    };
    let own = frames.stack(leaf.stack).get(..length)?;
    let mut own = frames.of_links(own).rev();
    // Skips the polls of a pin or box, which forward to what they point to.
    let root = own.find(|frame| frame.known.class() != FrameClass::Std)?;
    Some(&root.function)
        .filter(|name| name.contains("::"))
        .map(String::as_str)
}

/// Whether a future of this type is one of tokio's own threads instead of work of the service.
pub(crate) fn is_worker(future_type: &str) -> bool {
    // Newer symbol names have the form `<tokio::…::Launch>::launch::{closure#0}`.
    let future_type = future_type.strip_prefix('<').unwrap_or(future_type);
    future_type.starts_with(WORKER)
}

/// Whether the stack of a closure on a blocking pool belongs to such a thread: with line tables
/// alone, the type of the closure is unknown.
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
