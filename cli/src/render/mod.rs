//! Models turned into text and JSON. Nothing here asks anybody anything.

mod claims_json;
pub mod info;
pub mod info_json;
pub mod leaks_json;
pub mod list;
pub mod list_json;
mod memory_json;
pub mod memstats;
pub mod memstats_json;
pub mod rates;
mod rustc_json;
mod section;
pub mod sections;
mod sockets;
pub mod stack_json;
pub mod stats;
pub mod stats_json;
mod table;
pub mod tree;
pub mod trim;
pub mod version;
pub mod version_json;

use std::io::{self, Write};

use rtops_report::escape::escape_json;
use serde::Serialize;

/// The version of all JSON documents; it grows when a field goes or changes its meaning.
const SCHEMA: u32 = 1;

/// Prints a document, indented, as one that a person may look at.
fn json(writer: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    for line in text.lines() {
        writeln!(writer, "{}", escape_json(line))?;
    }
    Ok(())
}

/// Prints a document on one line, as one of many that follow each other.
fn json_line(writer: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(document).map_err(io::Error::from)?;
    writeln!(writer, "{}", escape_json(&text))
}
