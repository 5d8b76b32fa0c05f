//! Selects the tasks and threads to show.

use std::{collections::HashSet, time::Duration};

use regex::Regex;

use crate::task::TaskKey;

/// Whether equal tasks are shown together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grouping {
    /// Together.
    Equal,
    /// Each on its own.
    Each,
}

/// Which tasks and threads to show.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only tasks and threads with a matching name, function or file.
    pub filter: Option<Regex>,
    /// Only tasks that have been in their state for at least this long; tasks for which
    /// that is unknown are left out.
    pub min_age: Option<Duration>,
    /// Only these tasks.
    pub tasks: Option<HashSet<TaskKey>>,
    /// Only the threads with these numbers.
    pub threads: Option<HashSet<i32>>,
}

impl Selection {
    /// Whether nothing is left out.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        matches!(
            self,
            Self {
                filter: None,
                min_age: None,
                tasks: None,
                threads: None
            }
        )
    }
}
