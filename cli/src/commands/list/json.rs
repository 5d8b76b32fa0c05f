//! The list of processes as JSON; `docs/operate/json.md` describes every field.

use std::io::{self, Write};

use rtops_render::json;
use serde::Serialize;

use super::text::{List, State};
use crate::commands::parts::{FiguresPart, RustcFields};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    /// Only if the document is one of many.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    processes: Vec<Process<'a>>,
    /// Includes those left out by the limit.
    total: usize,
    hidden: usize,
}

#[derive(Serialize)]
struct Process<'a> {
    #[serde(flatten)]
    figures: FiguresPart<'a>,
    name: &'a str,
    state: &'static str,
    agent_version: Option<&'a str>,
    #[serde(flatten)]
    rustc: RustcFields<'a>,
    /// The versions in the program; absent if it was not read.
    tokio: Option<&'a [String]>,
    tracked_tasks: Option<u64>,
    alive_tasks: Option<u64>,
}

/// Prints the list as JSON; see `docs/operate/json.md`.
pub fn json(writer: &mut impl Write, list: &List) -> io::Result<()> {
    json::write(writer, &document(None, list))
}

/// Prints the list on one line, with the time.
pub fn json_line(writer: &mut dyn Write, time: &str, list: &List) -> io::Result<()> {
    json::write_line(writer, &document(Some(time), list))
}

fn document<'a>(time: Option<&'a str>, list: &'a List) -> Document<'a> {
    let processes = list.rows.iter().map(|row| {
        let summary = match &row.state {
            State::Answering(summary) => Some(summary),
            _ => None,
        };
        Process {
            figures: FiguresPart::of(&row.figures),
            name: &row.name,
            state: row.state.word(),
            agent_version: row.agent_version.as_deref(),
            rustc: RustcFields::of(row.built.as_ref().map(|built| &built.rustc)),
            tokio: row.built.as_ref().map(|built| built.tokio.as_slice()),
            tracked_tasks: summary.map(|summary| summary.tracked_tasks),
            alive_tasks: summary.map(|summary| summary.alive_tasks),
        }
    });
    Document {
        schema: json::SCHEMA,
        time,
        processes: processes.collect(),
        total: list.total,
        hidden: list.hidden,
    }
}
