//! The head of what was read from a live process from outside.

use serde::{Deserialize, Serialize};

/// A look at a process from outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outside {
    /// How long it was stopped, in nanoseconds.
    pub pause_ns: u64,
    /// Why it was read while stopped, and not copied; a part of a sentence, without a full stop.
    pub read_standing: Option<String>,
    /// How long a copy of it existed, in nanoseconds. During that time, its first write to a page
    /// cost it a fault and a page. `None` if it was not copied.
    pub copy_ns: Option<u64>,
    /// Whether it shows any sign of tokio.
    pub has_tokio: bool,
    /// The number of threads that could not be stopped: nothing is known about them.
    pub threads_not_stopped: u64,
    /// How long after it was stopped its agent reported, if it has one, in nanoseconds: times in
    /// that report count from there.
    pub agent_told_after_ns: Option<u64>,
}

/// Says that a process with an agent could not be looked at from outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NotAttached {
    /// A sentence without a full stop that says why.
    pub why: String,
}
