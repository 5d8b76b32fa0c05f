//! The output for several processes, put together from that for each.

use std::io::{self, Write};

use rtops_render::json;
use rtops_report::escape::escape;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::Error;

/// What to print for one process.
#[derive(Debug)]
pub enum Section {
    /// Text or a JSON document, as it would be printed for this process alone.
    Dump(Vec<u8>),
    /// The process could not be shown.
    Failed(Failed),
}

/// Why a process could not be shown.
#[derive(Debug, Serialize)]
pub struct Failed {
    target: String,
    error: String,
    exit_code: u8,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    processes: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Dump(&'a RawValue),
    Failed(&'a Failed),
}

impl Section {
    /// Makes the section of a process that could not be asked.
    pub fn failed(target: &str, error: &Error) -> Self {
        Self::Failed(Failed {
            target: target.to_owned(),
            error: error.to_string(),
            exit_code: error.exit_code(),
        })
    }
}

/// Prints the sections, with an empty line between them; errors go to standard error later.
pub fn text(writer: &mut impl Write, sections: &[Section]) -> io::Result<()> {
    for (place, section) in sections.iter().enumerate() {
        if place > 0 {
            writeln!(writer)?;
        }
        match section {
            Section::Dump(text) => writer.write_all(text)?,
            Section::Failed(failed) => {
                let Failed { target, error, .. } = failed;
                writeln!(writer, "{}: not shown: {error}", escape(target))?;
            }
        }
    }
    Ok(())
}

/// Prints all sections in one document.
pub fn json(writer: &mut impl Write, sections: &[Section]) -> io::Result<()> {
    let parts: Result<Vec<Part>, serde_json::Error> = sections
        .iter()
        .map(|section| match section {
            Section::Dump(text) => serde_json::from_slice(text).map(Part::Dump),
            Section::Failed(failed) => Ok(Part::Failed(failed)),
        })
        .collect();
    let document = Document {
        schema: json::SCHEMA,
        processes: parts?,
    };
    json::write(writer, &document)
}
