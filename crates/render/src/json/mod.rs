//! JSON output; `docs/operate/json.md` describes every field.

mod claims;
pub mod diff;
pub mod leaks;
mod shared;
pub mod stack;
pub mod verdicts;

use std::io::{self, Write};

use rtops_report::escape::escape_json;
use serde::Serialize;

/// The version of all JSON documents; it increases when a field is removed or changes its meaning.
pub const SCHEMA: u32 = 1;

/// Prints a document indented, for a person to read.
///
/// # Errors
/// If the writer fails.
pub fn write(writer: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    for line in text.lines() {
        writeln!(writer, "{}", escape_json(line))?;
    }
    Ok(())
}

/// Prints a document on one line, as one of many in a stream.
///
/// # Errors
/// If the writer fails.
pub fn write_line(writer: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(document).map_err(io::Error::from)?;
    writeln!(writer, "{}", escape_json(&text))
}
