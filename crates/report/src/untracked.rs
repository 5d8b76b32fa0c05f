//! What is not known of untracked tasks, and which part of a thread's stack is theirs.

use rtops_protocol::{FoundBy, Leaf, LeafEnd, TraceEnd, Unresolved};
use rtops_symbols::{FrameClass, classify};

use crate::{
    dump::Dump,
    frames::{Frames, Link},
    task::{State, Task},
};

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

/// Where the memory comes from that untracked tasks are found in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A process.
    Process,
    /// A core file.
    Core,
}

impl Source {
    pub(crate) fn of(dump: &Dump) -> Self {
        match dump.core {
            Some(_) => Self::Core,
            None => Self::Process,
        }
    }
}

/// Why it is not known where a task waits, in a word or two for a count, and in a sentence.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Reason {
    /// As in "12 locked".
    pub short: &'static str,
    /// In brackets, for the task itself.
    pub sentence: &'static str,
    /// In brackets, for a task of which a part is known.
    pub(crate) cut: &'static str,
}

/// A reason by its short form, and what became of the poll.
macro_rules! reason {
    ($short:literal, $what:literal) => {
        Reason {
            short: $short,
            sentence: concat!("(await not resolved: ", $what, ")"),
            cut: concat!("(more may be missing: ", $what, ")"),
        }
    };
}

impl Reason {
    /// Its poll was stepped, and showed nothing.
    pub(crate) const NO_CODE: Self =
        reason!("ran none of its own code", "none of its own code ran");

    /// Several tasks are polled on its thread.
    pub(crate) const SEVERAL_POLLS: Self = reason!(
        "in one of several polls",
        "its thread is inside several polls"
    );

    /// `None` for a task that waits for nothing but its turn, and where nothing went wrong.
    pub(crate) fn of(state: State, found_by: FoundBy, source: Source) -> Option<Self> {
        match found_by {
            // It may wait for one.
            FoundBy::Unresolved(Unresolved::NoThread) if state == State::Submitted => None,
            FoundBy::Unresolved(Unresolved::NotAsked)
                if matches!(state, State::Woken | State::Submitted | State::Queued) =>
            {
                None
            }
            FoundBy::Unresolved(why) => Some(Self::of_unresolved(why, source)),
            _ => None,
        }
    }

    /// Why a poll that was stepped does not show all; `None` where it does.
    pub(crate) fn of_trace(end: TraceEnd, source: Source) -> Option<Self> {
        match end {
            TraceEnd::Whole => None,
            TraceEnd::TooLong => Some(TOO_MANY_STEPS),
            TraceEnd::GivenUp(why) => Some(Self::of_unresolved(why, source)),
        }
    }

    fn of_unresolved(why: Unresolved, source: Source) -> Self {
        match why {
            Unresolved::NotAsked => reason!("not asked for", "not asked for"),
            Unresolved::Locked => {
                reason!(
                    "locked",
                    "its poll waited for a lock that another thread held"
                )
            }
            Unresolved::Fault if source == Source::Core => reason!(
                "outside of the core file",
                "its poll needs memory that the core file lacks"
            ),
            Unresolved::Fault => reason!(
                "outside of what was read",
                "its poll needs memory that can't be read"
            ),
            Unresolved::Endless => TOO_MANY_STEPS,
            Unresolved::Exit => {
                reason!("about to exit", "its poll would have ended the process")
            }
            Unresolved::Panic => reason!("panicked", "its poll panicked"),
            Unresolved::SystemCall => reason!(
                "in system calls",
                "its poll makes a system call that has no answer here"
            ),
            Unresolved::Ready => reason!(
                "about to end",
                "it waits no longer, the next poll completes it"
            ),
            Unresolved::NoTime => {
                reason!("ran out of time", "no time was left; raise --timeout")
            }
            Unresolved::NoThread => reason!(
                "on an unknown thread",
                "it is not known which thread runs it"
            ),
            Unresolved::Instruction => reason!(
                "at an unknown instruction",
                "its poll has an instruction that rtops does not know"
            ),
            Unresolved::OtherStack => reason!(
                "on another stack",
                "a part of its poll runs on another stack"
            ),
        }
    }
}

/// A poll that ran for as long as one may.
const TOO_MANY_STEPS: Reason = reason!("polled too long", "the poll took too many steps");

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
    let name = |index: usize| {
        let frame = links.get(index).and_then(|link| frames.get(link.frame));
        frame.map_or("", |frame| frame.name.as_str())
    };
    let is_poll = |index: &usize| POLLS.iter().any(|poll| name(*index).starts_with(poll));
    let is_between = |index: &usize| {
        is_poll(index)
            || BETWEEN.iter().any(|path| name(*index).starts_with(path))
            || classify(name(*index)) == FrameClass::Std
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
    let own = frames.stack(leaf.stack).get(..length)?.iter().rev();
    let mut own = own.filter_map(|link| frames.get(link.frame));
    // What polls whatever a pin or box leads to.
    let root = own.find(|frame| classify(&frame.function) != FrameClass::Std)?;
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
    let links = task.leaves.iter().flat_map(|leaf| frames.stack(leaf.stack));
    let mut links = links.filter_map(|link| frames.get(link.frame));
    links.any(|frame| {
        let rest = frame.name.strip_prefix(WORKER);
        rest.is_some_and(|rest| rest.starts_with("::worker::"))
    })
}

#[cfg(test)]
pub(crate) mod tests;
