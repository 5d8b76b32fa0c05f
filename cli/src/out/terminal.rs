//! How the output may look, depending on the terminal, the environment and the arguments.

use std::{env, io::IsTerminal};

use clap::ValueEnum;
use rtops_render::style::Style;
use unicode_width::UnicodeWidthChar;

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

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// Returns the current size of the terminal on standard output; it may change.
pub fn size() -> Option<Size> {
    let (columns, rows) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(Size {
        columns: columns.0,
        rows: rows.0,
    })
}

/// Returns the style of messages on standard error.
pub fn style_for_stderr() -> Style<'static> {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    Style::new(false, size.map(|(columns, _)| usize::from(columns.0)))
}

/// Whether the terminal understands escape sequences.
pub fn moves_cursor() -> bool {
    env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Returns how many rows the text takes on a terminal of this size.
pub fn rows(text: &str, size: Size) -> usize {
    let columns = usize::from(size.columns).max(1);
    let rows = text.lines().map(|line| {
        let width: usize = visible(line).map(|(_, width)| width).sum();
        width.div_ceil(columns).max(1)
    });
    rows.sum()
}

/// Returns the position of each visible character in a line and how many columns it takes;
/// skips escape sequences for colour and links.
pub fn visible(line: &str) -> impl Iterator<Item = (usize, usize)> {
    enum Within {
        Text,
        /// After ESC, which begins a sequence or ends a command.
        Escape,
        Control,
        Command,
    }
    let mut within = Within::Text;
    line.char_indices().filter_map(move |(at, character)| {
        within = match (&within, character) {
            (Within::Text | Within::Command, '\x1b') => Within::Escape,
            (Within::Text, _) => return Some((at, character.width().unwrap_or(0))),
            (Within::Escape, '[') => Within::Control,
            (Within::Escape, ']') => Within::Command,
            (Within::Escape, _) | (Within::Control, '@'..='~') | (Within::Command, '\x07') => {
                Within::Text
            }
            (Within::Control, _) => Within::Control,
            (Within::Command, _) => Within::Command,
        };
        None
    })
}

impl ColorChoice {
    /// Returns the style for standard output.
    pub fn for_stdout(self) -> Style<'static> {
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

    /// Returns the style for a file that the user named.
    pub const fn for_file(self) -> Style<'static> {
        Style::new(matches!(self, Self::Always), None)
    }
}

fn environment_allows_color() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && moves_cursor()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_what_is_shown() {
        let size = Size {
            columns: 4,
            rows: 24,
        };
        for (text, expected) in [
            ("", 0),
            ("\n\n", 2),
            ("four\nfours", 3),
            ("\x1b[1;33mfour\x1b[0m", 1),
            ("\x1b]8;;file:///a/long/name\x1b\\four\x1b]8;;\x1b\\", 1),
            ("\x1b]8;;file:///a\x07fours\x1b]8;;\x07", 2),
            ("日本語", 2),
        ] {
            assert_eq!(rows(text, size), expected, "{text:?}");
        }
    }
}
