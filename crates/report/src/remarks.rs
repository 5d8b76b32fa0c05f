//! What to say when something is unknown: one table for text, JSON and profiles.

use rtops_protocol::{FoundBy, LeafEnd, Thread, ThreadCapture, TraceEnd, Unresolved};

use crate::{dump::Dump, task::State};

/// On a chain: where in its innermost function the task waits.
pub(crate) const NO_LINE: &str =
    "(await not resolved: the code of the innermost function that ran has no line)";
/// On tasks of a program without debug info.
pub const APPROXIMATE: &str =
    "(what it waits for is approximate: without lines, names of functions alone tell it)";
/// On a running task whose thread has no frame that polls a task.
pub(crate) const WHOLE_THREAD: &str =
    "(the whole thread: which part of its stack is the task's can't be told)";
/// On a running task that was not being polled yet when its thread was captured.
pub(crate) const POLLED_SINCE: &str =
    "(what it does is not known: its poll began after the process stood still)";
/// On a task without a waker, in an image.
pub(crate) const NEVER_SOMEWHERE: &str = "(where it waits without a waker is not known)";
/// The same, if only the agent was asked.
pub(crate) const NEVER_UNSEEN: &str =
    "(where it waits without a waker only shows where the process is looked at from outside)";
/// On an executor inside `block_on`.
pub(crate) const RUNS_TASKS: &str = "(it waits for nothing itself: it runs its tasks)";
/// On a thread inside `block_on`, after all futures with stored wakers were polled.
pub(crate) const NO_STORED_WAKER: &str =
    "in block_on: no stored waker shows where its future waits";
/// On a thread that polls a task inside `block_on`.
pub(crate) const BLOCK_ON_AND_TASK: &str = "in block_on, and inside the poll of a task: where the \
     future of block_on waits is not known";

/// Returns what to say about a stack that does not reach its root; `None` if it does.
pub(crate) fn incomplete(end: LeafEnd) -> Option<&'static str> {
    match end {
        LeafEnd::Complete => None,
        LeafEnd::Truncated => {
            Some("(the callers are cut off: the stack is too deep, or goes on elsewhere)")
        }
        LeafEnd::Lost => Some("(the callers are lost: a frame without unwind information)"),
        LeafEnd::Absent => {
            Some("(the callers are cut off: their part of the stack could not be read)")
        }
        LeafEnd::Abridged => {
            Some("(too deep to be shown whole: frames in the middle are left out)")
        }
    }
}

/// Returns what to say about a thread without a stack.
pub(crate) fn not_captured(thread: &Thread) -> String {
    let mut text = match thread.capture {
        ThreadCapture::Stack(_) => String::new(),
        ThreadCapture::Agent => "no stack: a thread of the agent itself".to_owned(),
        ThreadCapture::SignalBlocked => "no stack: it blocks the agent's signal".to_owned(),
        ThreadCapture::NoAnswer => "no stack: it did not handle the signal in time".to_owned(),
        ThreadCapture::HandlerReplaced => {
            "no stack: the service took over the agent's signal".to_owned()
        }
        ThreadCapture::NoTime => "no stack: the time was up before its turn".to_owned(),
        ThreadCapture::Failed(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            format!("no stack: the agent could not ask for it ({error})")
        }
        ThreadCapture::Off => "no stack: switched off, or not supported here".to_owned(),
        ThreadCapture::Absent => "no stack: it could not be read".to_owned(),
    };
    if thread.capture != ThreadCapture::Agent
        && let Some(wchan) = &thread.wchan
    {
        text = format!("{text}; in the kernel it is in {wchan}");
    }
    text
}

/// The source of the memory in which untracked tasks are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A live process.
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

/// Why it is unknown where a task waits, as a word or two for a count and as a sentence.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Reason {
    /// As in "12 locked".
    pub short: &'static str,
    /// In parentheses, for the task itself.
    pub sentence: &'static str,
    /// In parentheses, for a task that is partly known.
    pub(crate) cut: &'static str,
}

/// Makes a reason from its short form and what happened to the poll.
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
    /// Its poll was stepped, but showed nothing.
    pub(crate) const NO_CODE: Self =
        reason!("ran none of its own code", "none of its own code ran");

    /// Its thread polls several tasks.
    pub(crate) const SEVERAL_POLLS: Self = reason!(
        "in one of several polls",
        "its thread is inside several polls"
    );

    /// Returns `None` if nothing went wrong, or if the task waits only for its turn.
    pub(crate) fn of(state: State, found_by: FoundBy, source: Source) -> Option<Self> {
        match found_by {
            // It may wait for a thread.
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

    /// Returns why a stepped poll does not show everything; `None` if it does.
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
            Unresolved::Panic => reason!(
                "panicked",
                "the poll of it that rtops tried in memory of its own panicked"
            ),
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

/// The poll took the largest number of steps allowed.
const TOO_MANY_STEPS: Reason = reason!("polled too long", "the poll took too many steps");
