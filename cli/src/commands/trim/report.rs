//! What became of the memory that a process was to return.

use std::io::{self, Write};

use rtops_protocol::{Allocator, Trimmed};
use rtops_render::{
    json,
    section::INDENT,
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::{escape::escape, format};
use rtops_types::Pid;
use serde::Serialize;

use crate::{
    commands::{
        memstats::text::glance,
        parts::{HeapPart, ResidentPart},
    },
    proc::{allocators::Sums, memory::Resident},
};

const COLUMNS: [Column; 4] = [
    Column::new("BYTES", Fit::Text),
    Column::new("HEAP", Fit::Text),
    Column::new("BEFORE", Fit::Number),
    Column::new("AFTER", Fit::Number),
];

/// A process before and after it was trimmed.
#[derive(Debug)]
pub struct Report {
    pub pid: Pid,
    pub name: String,
    pub agent_version: String,
    pub before: Resident,
    pub after: Resident,
    pub trimmed: Trimmed,
}

impl Report {
    /// Returns sentences about what did not work.
    pub fn failures(&self) -> Vec<String> {
        let calls = self.trimmed.calls.iter();
        let failed = calls.filter_map(|call| {
            let error = io::Error::from_raw_os_error(call.failed?);
            Some(format!(
                "{} of {} failed: {error}",
                call.call, call.allocator
            ))
        });
        let mut failures: Vec<String> = failed.collect();
        if self.trimmed.calls.is_empty() {
            failures.push("no allocator of this process can give memory back".to_owned());
        }
        failures
    }
}

/// Prints what changed, in a line and in a table.
pub fn text(writer: &mut impl Write, style: Style, report: &Report) -> io::Result<()> {
    let (before, after) = (report.before.rss, report.after.rss);
    let title = format!("{} (pid {})", escape(&report.name), report.pid);
    writeln!(
        writer,
        "{}: {}",
        style.paint(Paint::Heading, title),
        difference(before, after)
    )?;
    for call in &report.trimmed.calls {
        let end = match call.failed {
            None => "took",
            Some(_) => "failed after",
        };
        writeln!(
            writer,
            "{INDENT}{} of {} {end} {}",
            escape(&call.call),
            escape(&call.allocator),
            format::nanoseconds(call.took_ns)
        )?;
    }
    writeln!(writer)?;
    table::write(writer, style, INDENT, &COLUMNS, rows(report))?;
    let now = glance(Sums::of(&report.trimmed.after), after);
    writeln!(writer, "\nnow {now}")?;
    if report
        .trimmed
        .after
        .allocators
        .iter()
        .any(|allocator| allocator.kept > Some(0))
    {
        let text = "what was given back may count as free until it is used again";
        writeln!(writer, "{}", style.paint(Paint::Faint, text))?;
    }
    Ok(())
}

fn difference(before: u64, after: u64) -> String {
    match before.saturating_sub(after) {
        0 => "gave nothing back".to_owned(),
        bytes => format!("gave back {}", format::bytes(bytes)),
    }
}

fn rows(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![vec![
        "RSS".to_owned(),
        String::new(),
        format::bytes(report.before.rss),
        format::bytes(report.after.rss),
    ]];
    let cell = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), format::bytes);
    for now in &report.trimmed.after.allocators {
        let mut before = report.trimmed.before.allocators.iter();
        let earlier = before
            .find(|earlier| earlier.name == now.name)
            .map_or([None; 3], sums);
        for ((key, before), after) in SUMS.into_iter().zip(earlier).zip(sums(now)) {
            if before.is_some() || after.is_some() {
                rows.push(vec![
                    key.to_owned(),
                    now.name.clone(),
                    cell(before),
                    cell(after),
                ]);
            }
        }
    }
    rows
}

/// The names of [`sums`].
const SUMS: [&str; 3] = ["in use", "free", "held"];

fn sums(allocator: &Allocator) -> [Option<u64>; 3] {
    [allocator.in_use, allocator.kept, allocator.held]
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: ProcessPart<'a>,
    calls: Vec<CallPart<'a>>,
    before: SidePart<'a>,
    after: SidePart<'a>,
}

#[derive(Serialize)]
struct ProcessPart<'a> {
    pid: Pid,
    name: &'a str,
    agent_version: &'a str,
}

#[derive(Serialize)]
struct CallPart<'a> {
    allocator: &'a str,
    call: &'a str,
    took_ns: u64,
    failed: Option<i32>,
}

#[derive(Serialize)]
struct SidePart<'a> {
    memory: ResidentPart,
    heap: HeapPart<'a>,
}

/// Prints the report as JSON; see `docs/operate/json.md`.
pub fn json(writer: &mut impl Write, report: &Report) -> io::Result<()> {
    let trimmed = &report.trimmed;
    let calls = trimmed.calls.iter().map(|call| CallPart {
        allocator: &call.allocator,
        call: &call.call,
        took_ns: call.took_ns,
        failed: call.failed,
    });
    json::write(
        writer,
        &Document {
            schema: json::SCHEMA,
            process: ProcessPart {
                pid: report.pid,
                name: &report.name,
                agent_version: &report.agent_version,
            },
            calls: calls.collect(),
            before: SidePart {
                memory: ResidentPart::of(&report.before),
                heap: HeapPart::of(&trimmed.before),
            },
            after: SidePart {
                memory: ResidentPart::of(&report.after),
                heap: HeapPart::of(&trimmed.after),
            },
        },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{Memory, TrimCall};

    use super::*;

    fn resident(rss: u64) -> Resident {
        Resident {
            rss,
            peak: None,
            anonymous: None,
            file: None,
            shmem: None,
            swap: None,
            rollup: Err("not visible to this user"),
        }
    }

    fn memory(kept: u64) -> Memory {
        let allocator = |name: &str, in_use| Allocator {
            name: name.to_owned(),
            held: Some(84_000_000 + kept),
            in_use,
            kept: Some(kept),
            figures: Vec::new(),
            notes: Vec::new(),
            took_ns: 0,
        };
        Memory {
            allocators: vec![
                allocator("jemalloc", Some(84_000_000)),
                allocator("glibc malloc", None),
            ],
            ..Memory::default()
        }
    }

    fn report(failed: Option<i32>) -> Report {
        let call = |call: &str, failed| TrimCall {
            allocator: "jemalloc".to_owned(),
            call: call.to_owned(),
            took_ns: 12_000_000,
            failed,
        };
        Report {
            pid: Pid::new(4711),
            name: "gate\u{1b}[2Jway".to_owned(),
            agent_version: "0.1.0".to_owned(),
            before: resident(140_000_000),
            after: resident(97_000_000),
            trimmed: Trimmed {
                before: memory(31_000_000),
                calls: vec![call("arena.4096.purge", failed)],
                after: memory(0),
            },
        }
    }

    fn shown(width: Option<usize>) -> String {
        let mut style = Style::PLAIN;
        style.width = width;
        let mut written = Vec::new();
        text(&mut written, style, &report(None)).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn before_and_after_stand_side_by_side() {
        let text = shown(None);
        assert_eq!(shown(Some(80)), text);
        insta::assert_snapshot!(text, @r"
        gate\u{1b}[2Jway (pid 4711): gave back 43 MB
          arena.4096.purge of jemalloc took 12 ms

          BYTES   HEAP          BEFORE  AFTER
          RSS                   140 MB  97 MB
          in use  jemalloc       84 MB  84 MB
          free    jemalloc       31 MB    0 B
          held    jemalloc      115 MB  84 MB
          free    glibc malloc   31 MB    0 B
          held    glibc malloc  115 MB  84 MB

        now heap 168 MB, of RSS 97 MB
        ");
    }

    #[test]
    fn forty_columns_are_enough() {
        let text = shown(Some(40));
        let mut table = text.lines().skip_while(|line| !line.contains("BEFORE"));
        assert!(table.clone().count() > 6);
        let table = table.by_ref().take_while(|line| !line.is_empty());
        for line in table {
            assert!(line.chars().count() <= 40, "{line}");
        }
    }

    #[test]
    fn what_failed_is_told() {
        assert_eq!(report(None).failures(), Vec::<String>::new());
        let failures = report(Some(14)).failures();
        assert!(failures[0].starts_with("arena.4096.purge of jemalloc failed: "));
        let mut none = report(None);
        none.trimmed.calls.clear();
        assert_eq!(none.failures().len(), 1);
    }
}
