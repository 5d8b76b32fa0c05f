//! Sections of aligned lines, each with a word on its left for what it says.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use crate::{
    style::{Paint, Style},
    table::wrapped,
};

/// What comes before each line of a section.
pub const INDENT: &str = "  ";
/// The least room for what stands right of the words.
const LEAST: usize = 16;

/// A line; its text is escaped.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What it says something of.
    pub key: Cow<'a, str>,
    /// What it says.
    pub value: String,
    /// How it looks.
    pub paint: Option<Paint>,
}

impl<'a, K: Into<Cow<'a, str>>> From<(K, String)> for Line<'a> {
    fn from((key, value): (K, String)) -> Self {
        Self {
            key: key.into(),
            value,
            paint: None,
        }
    }
}

impl Line<'_> {
    /// The same, marked if it deserves a look.
    #[must_use]
    pub fn warn_if(mut self, notable: bool) -> Self {
        self.paint = notable.then_some(Paint::Warning);
        self
    }
}

/// Prints the title of what is not a section of lines.
///
/// # Errors
/// When the writer fails.
pub fn heading(writer: &mut impl Write, style: Style, title: &str) -> io::Result<()> {
    writeln!(writer, "\n{}", style.paint(Paint::Heading, title))
}

/// Prints a title and the lines below it; on a terminal, long ones go on where they began.
///
/// # Errors
/// When the writer fails.
pub fn section<'a, L: Into<Line<'a>>>(
    writer: &mut impl Write,
    style: Style,
    title: &str,
    lines: Vec<L>,
) -> io::Result<()> {
    heading(writer, style, title)?;
    let lines: Vec<Line> = lines.into_iter().map(Into::into).collect();
    let width = lines.iter().map(|line| line.key.len()).max().unwrap_or(0);
    let before = INDENT.len() + width + INDENT.len();
    let room = style.width.map(|all| all.saturating_sub(before).max(LEAST));
    for Line { key, value, paint } in lines {
        let mut key = key;
        for part in wrapped(value, room) {
            write!(writer, "{INDENT}{key:width$}  ")?;
            match paint {
                Some(paint) => writeln!(writer, "{}", style.paint(paint, part))?,
                None => writeln!(writer, "{part}")?,
            }
            key = Cow::Borrowed("");
        }
    }
    Ok(())
}
