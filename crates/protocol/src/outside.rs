//! The head of a dump of a live process that was looked at from outside.

use serde::{Deserialize, Serialize};

/// How a process without an agent was looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outside {
    /// For how long it stood still, in nanoseconds.
    pub pause_ns: u64,
    /// Why it was read while it stood still, and not copied; a part of a sentence, without a full stop.
    pub read_standing: Option<String>,
    /// Whether there is any sign of tokio in it.
    pub has_tokio: bool,
    /// How many threads could not be stopped: nothing is known of them.
    pub threads_not_stopped: u64,
}
