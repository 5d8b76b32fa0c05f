//! The head of what was read of a live process from outside.

use serde::{Deserialize, Serialize};

/// How a process was looked at from outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outside {
    /// For how long it stood still, in nanoseconds.
    pub pause_ns: u64,
    /// Why it was read while it stood still, and not copied; a part of a sentence, without a full stop.
    pub read_standing: Option<String>,
    /// For how long there was a copy of it, in nanoseconds: until then, its first write to a page cost it a fault
    /// and a page. `None` if it was not copied.
    pub copy_ns: Option<u64>,
    /// Whether there is any sign of tokio in it.
    pub has_tokio: bool,
    /// How many threads could not be stopped: nothing is known of them.
    pub threads_not_stopped: u64,
    /// How long after it stood still its agent told what it knows, if it has one, in nanoseconds: what it says
    /// of times counts from there.
    pub agent_told_after_ns: Option<u64>,
}

/// That a process with an agent could not be looked at from outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NotAttached {
    /// A sentence without a full stop that says why.
    pub why: String,
}
