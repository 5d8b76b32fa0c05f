//! How the output may look, from the terminal, the environment and the arguments.

use std::{env, io::IsTerminal};

use clap::ValueEnum;
use rtops_render::style::Style;

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

/// How many characters a terminal shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// The size of the terminal that standard output is, now: it may change.
pub fn size() -> Option<Size> {
    let (columns, rows) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(Size {
        columns: columns.0,
        rows: rows.0,
    })
}

/// The style of messages on standard error.
pub fn style_for_stderr() -> Style {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    Style::new(false, size.map(|(columns, _)| usize::from(columns.0)))
}

/// Whether a terminal obeys escape sequences.
pub fn moves_cursor() -> bool {
    env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl ColorChoice {
    /// The style for standard output.
    pub fn for_stdout(self) -> Style {
        let terminal = std::io::stdout().is_terminal();
        let width = size()
            .filter(|_| terminal)
            .map(|size| usize::from(size.columns));
        let color = match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && environment_allows_color(),
        };
        Style::new(color, width)
    }

    /// The style for a file that the user named.
    pub const fn for_file(self) -> Style {
        Style::new(matches!(self, Self::Always), None)
    }
}

fn environment_allows_color() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && moves_cursor()
}
