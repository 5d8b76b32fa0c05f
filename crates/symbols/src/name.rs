//! The name of a function, and what it tells.

use crate::{
    fold::{FrameClass, classify_path},
    names,
    poll::{self, Polls},
    wait,
};

/// What is to be known of a function: by readers, and by the rules that judge stacks. To find that out takes its name
/// apart, and many stacks have the same function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// Without generic arguments and what the compiler made.
    pub(crate) path: String,
    display: String,
    class: FrameClass,
    polls: Option<Polls>,
}

impl Name {
    /// What this full name tells, which is one as in [`Function::Named`](crate::Function::Named).
    #[must_use]
    pub fn of(function: &str) -> Self {
        let segments = names::segments(function);
        let path = names::path(&segments);
        Self {
            class: classify_path(&path),
            polls: poll::polls(&segments),
            display: names::display(function, &segments),
            path,
        }
    }

    /// The name as people say it, as [`display_name`](crate::display_name) has it.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// What the function is to a reader.
    #[must_use]
    pub const fn class(&self) -> FrameClass {
        self.class
    }

    /// How the function polls; `None` for one that is no poll.
    #[must_use]
    pub const fn polls(&self) -> Option<Polls> {
        self.polls
    }

    /// Whether the function is a part of a container of futures, other than the wakers of its children.
    #[must_use]
    pub fn is_container(&self) -> bool {
        wait::is_container(&self.path)
    }
}
