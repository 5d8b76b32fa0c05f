//! How the output may look: colour and width, decided once from the terminal and the arguments.

use std::{
    env,
    fmt::{self, Display},
    io::IsTerminal,
};

use clap::ValueEnum;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal that can, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Even into a file or pipe.
    Always,
    /// Not at all.
    Never,
}

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
    /// The style for standard output.
    pub fn of_stdout(choice: ColorChoice) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal_size::terminal_size_of(&stdout)
            .filter(|_| terminal)
            .map(|(width, _)| usize::from(width.0));
        Self {
            color: match choice {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => terminal && environment_allows_color(),
            },
            width,
        }
    }

    /// The style for a file that the user named.
    pub fn of_file(choice: ColorChoice) -> Self {
        Self {
            color: choice == ColorChoice::Always,
            width: None,
        }
    }

    /// The text in its colour.
    pub fn paint<T: Display>(self, paint: Paint, text: T) -> impl Display {
        Painted {
            paint: self.color.then_some(paint),
            text,
        }
    }
}

#[cfg(test)]
impl Style {
    /// No colour, no width: what files and pipes get.
    pub const PLAIN: Self = Self {
        color: false,
        width: None,
    };
}

fn environment_allows_color() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
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
