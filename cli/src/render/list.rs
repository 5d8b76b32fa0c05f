//! The list of processes.

use std::io::{self, Write};

use rtops_protocol::{Refusal, Summary};
use rtops_report::{
    format,
    style::{Paint, Style},
};
use serde::Serialize;

use super::table::{self, Column, Fit};
use crate::process::Figures;

const NOBODY: &str = "No process with an rtops agent is running, or none that this user may see; \
    add the crate rtops-agent to a service and start it first thing in `main`.";

const COLUMNS: [Column; 10] = [
    column("PID", Fit::Number),
    column("PPID", Fit::OptionalNumber(0)),
    column("USER", Fit::OptionalText(2)),
    column("NAME", Fit::Text),
    column("TASKS", Fit::Number),
    column("THREADS", Fit::OptionalNumber(1)),
    column("CPU", Fit::OptionalNumber(5)),
    column("RSS", Fit::OptionalNumber(4)),
    column("UPTIME", Fit::OptionalNumber(3)),
    column("COMMAND", Fit::Cut),
];

const fn column(title: &'static str, fit: Fit) -> Column {
    Column { title, fit }
}

/// A process with an agent.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub figures: Figures,
    /// Known once the agent has said hello.
    pub agent_version: Option<String>,
    pub state: State,
}

/// How its agent answered.
#[derive(Debug)]
pub enum State {
    Answering(Summary),
    NotAnswering,
    Refused(Refusal),
    /// It speaks no protocol that this build does; this is its newest.
    OtherVersion(u16),
    Broken,
}

impl State {
    /// What stands in for the number of tasks.
    fn tasks(&self) -> String {
        match self {
            Self::Answering(summary) => summary.tracked_tasks.to_string(),
            Self::NotAnswering => "not answering".to_owned(),
            Self::Refused(Refusal::Busy) => "busy".to_owned(),
            Self::Refused(_) => "refused".to_owned(),
            Self::OtherVersion(newest) => format!("protocol {newest}"),
            Self::Broken => "broken".to_owned(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Answering(_) => "answering",
            Self::NotAnswering => "not answering",
            Self::Refused(Refusal::Busy) => "busy",
            Self::Refused(_) => "refused",
            Self::OtherVersion(_) => "other version",
            Self::Broken => "broken",
        }
    }
}

/// The table.
pub fn text(writer: &mut (impl Write + ?Sized), style: Style, rows: &[Row]) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(writer, "{}", style.paint(Paint::Faint, NOBODY));
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    table::write(writer, style, "", &COLUMNS, &cells)
}

fn cells(row: &Row) -> Vec<String> {
    let figures = &row.figures;
    vec![
        figures.pid.to_string(),
        figures.ppid.to_string(),
        figures.user.clone(),
        row.name.clone(),
        row.state.tasks(),
        figures.threads.to_string(),
        format::percent(figures.cpu_share()),
        format::bytes(figures.rss_bytes),
        format::duration(figures.uptime),
        figures.command.clone(),
    ]
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    /// Only where it is one of many.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: i32,
    ppid: i32,
    user: &'a str,
    name: &'a str,
    state: &'static str,
    agent_version: Option<&'a str>,
    tracked_tasks: Option<u64>,
    alive_tasks: Option<u64>,
    threads: u64,
    cpu_share: f64,
    cpu_seconds: f64,
    rss_bytes: u64,
    uptime_seconds: f64,
    command: &'a str,
}

/// The same as JSON; see `docs/json.md`.
pub fn json(writer: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    super::json(writer, &document(None, rows))
}

/// The same on one line, with the time.
pub fn json_line(writer: &mut dyn Write, time: &str, rows: &[Row]) -> io::Result<()> {
    super::json_line(writer, &document(Some(time), rows))
}

fn document<'a>(time: Option<&'a str>, rows: &'a [Row]) -> Document<'a> {
    let processes = rows.iter().map(|row| {
        let summary = match &row.state {
            State::Answering(summary) => Some(summary),
            _ => None,
        };
        Process {
            pid: row.figures.pid,
            ppid: row.figures.ppid,
            user: &row.figures.user,
            name: &row.name,
            state: row.state.word(),
            agent_version: row.agent_version.as_deref(),
            tracked_tasks: summary.map(|summary| summary.tracked_tasks),
            alive_tasks: summary.map(|summary| summary.alive_tasks),
            threads: row.figures.threads,
            cpu_share: row.figures.cpu_share(),
            cpu_seconds: row.figures.cpu_time.as_secs_f64(),
            rss_bytes: row.figures.rss_bytes,
            uptime_seconds: row.figures.uptime.as_secs_f64(),
            command: &row.figures.command,
        }
    });
    Document {
        schema: super::SCHEMA,
        time,
        processes: processes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(pid: i32, name: &str, state: State) -> Row {
        Row {
            name: name.to_owned(),
            figures: Figures {
                pid,
                ppid: 1,
                user: "api".to_owned(),
                threads: 9,
                cpu_time: Duration::from_secs(31),
                rss_bytes: 84_000_000,
                uptime: Duration::from_secs(1000),
                command: format!("/srv/{name} --port 80 --listen 0.0.0.0"),
                name: name.to_owned(),
            },
            agent_version: Some("0.1.0".to_owned()),
            state,
        }
    }

    fn rows() -> Vec<Row> {
        let summary = Summary {
            name: "gateway".to_owned(),
            tracked_tasks: 1204,
            alive_tasks: 1219,
        };
        vec![
            row(4711, "gateway", State::Answering(summary)),
            row(12, "evil\u{1b}[2J", State::NotAnswering),
        ]
    }

    fn shown(width: Option<usize>) -> String {
        let mut style = Style::PLAIN;
        style.width = width;
        let mut written = Vec::new();
        assert!(text(&mut written, style, &rows()).is_ok());
        String::from_utf8_lossy(&written).into_owned()
    }

    #[test]
    fn a_file_gets_all_of_it() {
        insta::assert_snapshot!(shown(None), @r"
         PID  PPID  USER  NAME                   TASKS  THREADS   CPU    RSS   UPTIME  COMMAND
        4711     1  api   gateway                 1204        9  3.1%  84 MB  16m 40s  /srv/gateway --port 80 --listen 0.0.0.0
          12     1  api   evil\u{1b}[2J  not answering        9  3.1%  84 MB  16m 40s  /srv/evil\u{1b}[2J --port 80 --listen 0.0.0.0
        ");
    }

    #[test]
    fn a_terminal_gets_what_fits() {
        let shown = shown(Some(96));
        assert!(
            shown.lines().all(|line| line.chars().count() <= 96),
            "{shown}"
        );
        insta::assert_snapshot!(shown, @r"
         PID  PPID  USER  NAME                   TASKS  THREADS   CPU    RSS   UPTIME  COMMAND
        4711     1  api   gateway                 1204        9  3.1%  84 MB  16m 40s  /srv/gateway --p…
          12     1  api   evil\u{1b}[2J  not answering        9  3.1%  84 MB  16m 40s  /srv/evil\u{1b}[…
        ");
    }

    #[test]
    fn forty_columns_are_enough() {
        let shown = shown(Some(40));
        assert!(
            shown.lines().all(|line| line.chars().count() <= 40),
            "{shown}"
        );
        insta::assert_snapshot!(shown, @r"
         PID  NAME                   TASKS
        4711  gateway                 1204
          12  evil\u{1b}[2J  not answering
        ");
    }

    #[test]
    fn json_keeps_texts_as_they_are() {
        let mut written = Vec::new();
        assert!(json(&mut written, &rows()).is_ok());
        let document: serde_json::Value = serde_json::from_slice(&written).unwrap_or_default();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["processes"][0]["tracked_tasks"], 1204);
        assert_eq!(document["processes"][1]["state"], "not answering");
        assert_eq!(document["processes"][1]["name"], "evil\u{1b}[2J");
        assert_eq!(
            document["processes"][1]["tracked_tasks"],
            serde_json::Value::Null
        );
    }
}
