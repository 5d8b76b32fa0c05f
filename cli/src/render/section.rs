//! A title with aligned lines below.

use std::io::{self, Write};

use rtops_report::style::{Paint, Style};

/// What comes before each line of a section.
pub const INDENT: &str = "  ";

/// Prints an empty line, the title, and each key with its value.
pub fn write(
    writer: &mut impl Write,
    style: Style,
    title: &str,
    lines: &[(&str, String)],
) -> io::Result<()> {
    writeln!(writer, "\n{}", style.paint(Paint::Heading, title))?;
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in lines {
        writeln!(writer, "{INDENT}{key:width$}  {value}")?;
    }
    Ok(())
}
