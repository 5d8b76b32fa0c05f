//! The name of a function, and what is derived from it.

use crate::{
    fold::{FrameClass, classify_path},
    names,
    poll::{self, Polls},
    wait,
};

/// What readers, and the rules that judge stacks, need to know of a function. Deriving this
/// takes the name apart, and many stacks have the same function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// The name without generic arguments and what the compiler made.
    pub(crate) path: String,
    display: String,
    class: FrameClass,
    polls: Option<Polls>,
}

impl Name {
    /// Takes a full name apart, in the form of [`Function::Named`](crate::Function::Named).
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

    /// Returns the name as people say it, like [`display_name`](crate::display_name).
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Returns what the function means to a reader.
    #[must_use]
    pub const fn class(&self) -> FrameClass {
        self.class
    }

    /// Returns how the function polls; `None` if it does not.
    #[must_use]
    pub const fn polls(&self) -> Option<Polls> {
        self.polls
    }

    /// Whether the function is part of a container of futures,
    /// other than the wakers of its children.
    #[must_use]
    pub fn is_container(&self) -> bool {
        wait::is_container(&self.path)
    }
}
