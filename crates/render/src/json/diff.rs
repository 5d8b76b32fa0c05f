//! The differences between two dumps as JSON.

use std::io::{self, Write};

use rtops_report::diff::{Changed, DiffView, Moved, Processes, Subject};
use rtops_types::Pid;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    before: Side<'a>,
    after: Side<'a>,
    /// `null` if unknown.
    seconds_between: Option<f64>,
    same_process: bool,
    groups_changed: usize,
    groups_unchanged: usize,
    groups: Vec<&'a Changed>,
    moved_total: usize,
    moved: Vec<&'a Moved>,
}

#[derive(Serialize)]
struct Side<'a> {
    pid: Pid,
    name: &'a str,
    tasks: usize,
    complete: bool,
    gaps: &'a [String],
}

impl<'a> Side<'a> {
    const fn of(subject: Subject<'a>, tasks: usize) -> Self {
        Self {
            pid: subject.pid,
            name: subject.name,
            tasks,
            complete: subject.gaps.is_empty(),
            gaps: subject.gaps,
        }
    }
}

/// Prints the differences as one document.
///
/// # Errors
/// If the writer fails.
pub fn json(writer: &mut impl Write, view: &DiffView) -> io::Result<()> {
    let diff = view.diff;
    let document = Document {
        schema: super::SCHEMA,
        before: Side::of(view.before, diff.tasks.0),
        after: Side::of(view.after, diff.tasks.1),
        seconds_between: view.time.map(|time| time.as_secs_f64()),
        same_process: view.processes == Processes::Same,
        groups_changed: diff.groups.len(),
        groups_unchanged: diff.unchanged,
        groups: diff.groups.iter().take(view.limit).collect(),
        moved_total: diff.moved.iter().map(|moved| moved.count).sum(),
        moved: diff.moved.iter().take(view.limit).collect(),
    };
    super::write(writer, &document)
}
