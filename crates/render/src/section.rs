//! Sections of aligned lines, each with a key on the left.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use crate::{
    style::{Paint, Style},
    table::wrapped,
};

/// The indentation of each line of a section.
pub const INDENT: &str = "  ";
/// The minimum width of the values.
const LEAST: usize = 16;

/// A line of a section; its text is already escaped.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What the line is about.
    pub key: Cow<'a, str>,
    /// What it says about that.
    pub value: String,
    /// The colour of the value.
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
    /// Returns the line, marked if it deserves a look.
    #[must_use]
    pub fn warn_if(mut self, notable: bool) -> Self {
        self.paint = notable.then_some(Paint::Warning);
        self
    }
}

/// Prints a title for something other than a section of lines.
///
/// # Errors
/// If the writer fails.
pub fn heading(writer: &mut impl Write, style: Style, title: &str) -> io::Result<()> {
    writeln!(writer, "\n{}", style.paint(Paint::Heading, title))
}

/// Prints a title and the lines below it; on a terminal, long values continue
/// below where they began.
///
/// # Errors
/// If the writer fails.
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
