//! How the output may look, from the terminal, the environment and the arguments.

use std::{env, io::IsTerminal};

use clap::ValueEnum;
use rtops_report::style::Style;

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

impl ColorChoice {
    /// The style for standard output.
    pub fn for_stdout(self) -> Style {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal_size::terminal_size_of(&stdout)
            .filter(|_| terminal)
            .map(|(width, _)| usize::from(width.0));
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
    !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
