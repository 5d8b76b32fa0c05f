//! How the output may look: colour and width, decided once and passed down.

use std::fmt::{self, Display};

/// What the writers need to know about where the output goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Style {
    /// Whether escape sequences for colour are written.
    color: bool,
    /// The columns of the terminal; `None` where nothing may be cut.
    pub width: Option<usize>,
}

/// What a piece of text is, for its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paint {
    /// A line that begins a section.
    Heading,
    /// A place in the source, and other side remarks.
    Faint,
    /// What deserves a look.
    Warning,
}

impl Style {
    /// No colour, no width: what files and pipes get.
    pub const PLAIN: Self = Self {
        color: false,
        width: None,
    };

    /// A style with or without colour, for so many columns.
    #[must_use]
    pub const fn new(color: bool, width: Option<usize>) -> Self {
        Self { color, width }
    }

    /// The text in its colour.
    pub fn paint<T: Display>(self, paint: Paint, text: T) -> impl Display {
        Painted {
            paint: self.color.then_some(paint),
            text,
        }
    }
}

struct Painted<T> {
    paint: Option<Paint>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.paint {
            None => return self.text.fmt(f),
            Some(Paint::Heading) => 1,
            Some(Paint::Faint) => 2,
            Some(Paint::Warning) => 33,
        };
        write!(f, "\x1b[{code}m{}\x1b[0m", self.text)
    }
}
