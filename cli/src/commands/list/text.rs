//! The list of processes.

use std::io::{self, Write};

use rtops_binary::Built;
use rtops_protocol::{Refusal, Summary};
use rtops_render::{
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::format;

use crate::{args::SortKey, proc::Figures};

const NOBODY: &str = "No process with an rtops agent is running, or none that this user may see; \
    add the crate rtops-agent to a service and start it first thing in `main`.";

const NO_RUST: &str = "No Rust process is running, or none that this user may see.";

const COLUMNS: [Column; 13] = [
    Column::new("PID", Fit::Number),
    Column::new("PPID", Fit::OptionalNumber(0)),
    Column::new("USER", Fit::OptionalText(3)),
    Column::new("NAME", Fit::Text),
    Column::new(AGENT, Fit::OptionalText(7)),
    Column::new(RUSTC, Fit::OptionalText(2)),
    Column::new(TOKIO, Fit::OptionalText(8)),
    Column::new("TASKS", Fit::Number),
    Column::new("THREADS", Fit::OptionalNumber(1)),
    Column::new("CPU", Fit::OptionalNumber(6)),
    Column::new("RSS", Fit::OptionalNumber(5)),
    Column::new("UPTIME", Fit::OptionalNumber(4)),
    Column::new("COMMAND", Fit::Cut),
];

/// Columns that show which processes have an agent, and what the others can be asked.
const AGENT: &str = "AGENT";
const RUSTC: &str = "RUSTC";
const TOKIO: &str = "TOKIO";

/// The processes that were asked for.
#[derive(Debug, Default)]
pub struct List {
    pub scope: Scope,
    pub sort: SortKey,
    pub rows: Vec<Row>,
    /// The number of processes, including those left out by the limit.
    pub total: usize,
    /// The number of further processes whose programs the user may not read.
    pub hidden: usize,
}

/// Which processes a list contains.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scope {
    /// Those that have an agent.
    #[default]
    Agents,
    /// Those that run a Rust program as well.
    Rust,
}

/// A process in the list.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub figures: Figures,
    /// Known once the agent has said hello.
    pub agent_version: Option<String>,
    /// Known if programs were read.
    pub built: Option<Built>,
    pub state: State,
}

/// How the agent of a process answered.
#[derive(Debug)]
pub enum State {
    Answering(Summary),
    NotAnswering,
    Refused(Refusal),
    /// It speaks no protocol version that this build does; this is its newest.
    OtherVersion(u16),
    Broken,
    NoAgent,
}

impl State {
    /// Returns the number of tasks, tracked or not, if known.
    pub fn known_tasks(&self) -> Option<u64> {
        match self {
            // Tracked tasks may be on other executors than tokio.
            Self::Answering(summary) => Some(summary.tracked_tasks.max(summary.alive_tasks)),
            _ => None,
        }
    }

    /// Returns what is shown as the number of tasks.
    fn tasks(&self) -> String {
        match self {
            Self::Answering(_) => self.known_tasks().unwrap_or(0).to_string(),
            Self::NotAnswering => "not answering".to_owned(),
            Self::Refused(Refusal::Busy) => "busy".to_owned(),
            Self::Refused(_) => "refused".to_owned(),
            Self::OtherVersion(newest) => format!("protocol {newest}"),
            Self::Broken => "broken".to_owned(),
            Self::NoAgent => "-".to_owned(),
        }
    }

    /// Returns the state in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Answering(_) => "answering",
            Self::NotAnswering => "not answering",
            Self::Refused(Refusal::Busy) => "busy",
            Self::Refused(_) => "refused",
            Self::OtherVersion(_) => "other version",
            Self::Broken => "broken",
            Self::NoAgent => "no agent",
        }
    }
}

/// Prints the table.
pub fn text(writer: &mut (impl Write + ?Sized), style: Style, list: &List) -> io::Result<()> {
    let List {
        scope,
        sort,
        rows,
        total,
        hidden,
    } = list;
    if *total == 0 {
        let nothing = match scope {
            Scope::Agents => NOBODY,
            Scope::Rust => NO_RUST,
        };
        writeln!(writer, "{}", style.paint(Paint::Faint, nothing))?;
    } else {
        let is_shown = |title| *scope == Scope::Rust || ![AGENT, RUSTC, TOKIO].contains(&title);
        let of_row = |row| {
            let cells = COLUMNS.iter().zip(cells(row));
            let shown = cells.filter(|(column, _)| is_shown(column.title));
            shown.map(|(_, cell)| cell).collect()
        };
        let columns = COLUMNS.into_iter();
        let columns = columns.filter(|column| is_shown(column.title));
        let columns: Vec<Column> = columns
            .map(|column| kept_if_sorted(column, *sort))
            .collect();
        table::write(writer, style, "", &columns, rows.iter().map(of_row))?;
    }
    let left_out = total.saturating_sub(rows.len());
    if left_out > 0 {
        let text = format!("({left_out} more not shown; raise --limit to see them)");
        writeln!(writer, "{}", style.paint(Paint::Faint, text))?;
    }
    if *hidden > 0 {
        let text = format!(
            "({} can't be read by this user and may be of Rust, too)",
            format::count(*hidden, "more program")
        );
        writeln!(writer, "{}", style.paint(Paint::Faint, text))?;
    }
    Ok(())
}

/// Keeps the column that the list is sorted by on a terminal that is too narrow for all.
fn kept_if_sorted(column: Column, sort: SortKey) -> Column {
    let sorted = match sort {
        SortKey::Pid | SortKey::Name | SortKey::Tasks => return column,
        SortKey::Cpu => "CPU",
        SortKey::Rss => "RSS",
        SortKey::Threads => "THREADS",
        SortKey::Uptime => "UPTIME",
    };
    match column.title == sorted {
        true => Column::new(column.title, Fit::Number),
        false => column,
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let figures = &row.figures;
    let unknown = || "-".to_owned();
    [
        figures.pid.to_string(),
        figures.ppid.to_string(),
        figures.user.clone(),
        row.name.clone(),
        match (&row.agent_version, &row.state) {
            (Some(version), _) => version.clone(),
            (None, State::NoAgent) => String::new(),
            (None, _) => "?".to_owned(),
        },
        row.built
            .as_ref()
            .map_or_else(unknown, |built| built.rustc.short().to_owned()),
        match row.built.as_ref().map(|built| built.tokio.as_slice()) {
            None | Some([]) => unknown(),
            Some(versions) => versions.join(", "),
        },
        row.state.tasks(),
        figures.threads.to_string(),
        format::percent(figures.cpu_share()),
        format::bytes(figures.rss_bytes),
        format::duration(figures.uptime),
        figures.command.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtops_binary::Rustc;
    use rtops_types::Pid;

    use super::*;

    fn row(pid: i32, name: &str, state: State) -> Row {
        Row {
            name: name.to_owned(),
            figures: Figures {
                pid: Pid::new(pid),
                ppid: Pid::new(1),
                user: "api".to_owned(),
                threads: 9,
                cpu_time: Duration::from_secs(31),
                rss_bytes: 84_000_000,
                uptime: Duration::from_secs(1000),
                command: format!("/srv/{name} --port 80 --listen 0.0.0.0"),
                name: name.to_owned(),
            },
            agent_version: (!matches!(state, State::NoAgent)).then(|| "0.1.0".to_owned()),
            built: None,
            state,
        }
    }

    fn agents() -> List {
        let summary = Summary {
            name: "gateway".to_owned(),
            tracked_tasks: 1204,
            alive_tasks: 1219,
        };
        List {
            rows: vec![
                row(4711, "gateway", State::Answering(summary)),
                row(12, "evil\u{1b}[2J", State::NotAnswering),
            ],
            total: 2,
            ..List::default()
        }
    }

    /// The same with a process without an agent, and some that the user may not see.
    fn all() -> List {
        let mut list = List {
            scope: Scope::Rust,
            total: 3,
            hidden: 2,
            ..agents()
        };
        list.rows.push(row(4720, "worker", State::NoAgent));
        let compilers = [
            Rustc::Version("1.95.0 (59807616e 2026-04-14)".to_owned()),
            Rustc::Commit("59807616e1fa2540724bfbac14d7976d7e4a3860".to_owned()),
        ];
        let rows = list.rows.iter_mut().step_by(2);
        for (row, rustc) in rows.zip(compilers) {
            row.built = Some(Built {
                tokio: match &rustc {
                    Rustc::Version(_) => vec!["1.54.1".to_owned()],
                    _ => Vec::new(),
                },
                rustc,
            });
        }
        list
    }

    fn shown(list: &List, width: Option<usize>) -> String {
        let mut style = Style::PLAIN;
        style.width = width;
        let mut written = Vec::new();
        assert!(text(&mut written, style, list).is_ok());
        String::from_utf8_lossy(&written).into_owned()
    }

    #[test]
    fn a_file_gets_all_of_it() {
        insta::assert_snapshot!(shown(&agents(), None), @r"
         PID  PPID  USER  NAME                   TASKS  THREADS   CPU    RSS   UPTIME  COMMAND
        4711     1  api   gateway                 1219        9  3.1%  84 MB  16m 40s  /srv/gateway --port 80 --listen 0.0.0.0
          12     1  api   evil\u{1b}[2J  not answering        9  3.1%  84 MB  16m 40s  /srv/evil\u{1b}[2J --port 80 --listen 0.0.0.0
        ");
    }

    #[test]
    fn a_terminal_gets_what_fits() {
        let shown = shown(&agents(), Some(96));
        assert!(
            shown.lines().all(|line| line.chars().count() <= 96),
            "{shown}"
        );
        insta::assert_snapshot!(shown, @r"
         PID  PPID  USER  NAME                   TASKS  THREADS   CPU    RSS   UPTIME  COMMAND
        4711     1  api   gateway                 1219        9  3.1%  84 MB  16m 40s  /srv/gateway --p…
          12     1  api   evil\u{1b}[2J  not answering        9  3.1%  84 MB  16m 40s  /srv/evil\u{1b}[…
        ");
    }

    #[test]
    fn forty_columns_are_enough() {
        let shown = shown(&agents(), Some(40));
        assert!(
            shown.lines().all(|line| line.chars().count() <= 40),
            "{shown}"
        );
        insta::assert_snapshot!(shown, @r"
         PID  NAME                   TASKS
        4711  gateway                 1219
          12  evil\u{1b}[2J  not answering
        ");
    }

    #[test]
    fn those_without_an_agent_are_told_from_the_others() {
        insta::assert_snapshot!(shown(&all(), None), @r"
         PID  PPID  USER  NAME           AGENT  RUSTC      TOKIO           TASKS  THREADS   CPU    RSS   UPTIME  COMMAND
        4711     1  api   gateway        0.1.0  1.95.0     1.54.1           1219        9  3.1%  84 MB  16m 40s  /srv/gateway --port 80 --listen 0.0.0.0
          12     1  api   evil\u{1b}[2J  0.1.0  -          -       not answering        9  3.1%  84 MB  16m 40s  /srv/evil\u{1b}[2J --port 80 --listen 0.0.0.0
        4720     1  api   worker                59807616e  -                   -        9  3.1%  84 MB  16m 40s  /srv/worker --port 80 --listen 0.0.0.0
        (2 more programs can't be read by this user and may be of Rust, too)
        ");
        insta::assert_snapshot!(shown(&all(), Some(80)), @r"
         PID  NAME           AGENT  TOKIO           TASKS   CPU    RSS  COMMAND
        4711  gateway        0.1.0  1.54.1           1219  3.1%  84 MB  /srv/gateway --…
          12  evil\u{1b}[2J  0.1.0  -       not answering  3.1%  84 MB  /srv/evil\u{1b}…
        4720  worker                -                   -  3.1%  84 MB  /srv/worker --p…
        (2 more programs can't be read by this user and may be of Rust, too)
        ");
        insta::assert_snapshot!(shown(&all(), Some(40)), @r"
         PID  NAME                   TASKS
        4711  gateway                 1219
          12  evil\u{1b}[2J  not answering
        4720  worker                     -
        (2 more programs can't be read by this user and may be of Rust, too)
        ");
        let none = List {
            scope: Scope::Rust,
            ..List::default()
        };
        assert_eq!(shown(&none, None).trim_end(), NO_RUST);
    }

    #[test]
    fn the_column_that_it_is_sorted_by_stays() {
        for (sort, title) in [
            (SortKey::Cpu, "CPU"),
            (SortKey::Rss, "RSS"),
            (SortKey::Threads, "THREADS"),
            (SortKey::Uptime, "UPTIME"),
        ] {
            let shown = shown(&List { sort, ..all() }, Some(80));
            let (titles, rows) = shown.split_once('\n').unwrap_or_default();
            assert!(titles.contains(title), "{shown}");
            let is_narrow = |line: &str| line.chars().count() <= 80;
            assert!(is_narrow(titles) && rows.lines().all(is_narrow), "{shown}");
        }
    }

    #[test]
    fn json_keeps_texts_as_they_are() {
        let mut written = Vec::new();
        assert!(super::super::json::json(&mut written, &all()).is_ok());
        let document: serde_json::Value = serde_json::from_slice(&written).unwrap_or_default();
        assert_eq!(
            (&document["schema"], &document["hidden"]),
            (&1.into(), &2.into())
        );
        let worker = &document["processes"][2];
        assert_eq!(worker["state"], "no agent");
        assert_eq!(worker["agent_version"], serde_json::Value::Null);
        assert_eq!(worker["rustc_version"], serde_json::Value::Null);
        assert_eq!(worker["tokio"], serde_json::json!([]));
        assert_eq!(document["processes"][0]["tokio"][0], "1.54.1");
        assert_eq!(
            worker["rustc_commit"],
            "59807616e1fa2540724bfbac14d7976d7e4a3860"
        );
        assert_eq!(document["processes"][0]["tracked_tasks"], 1204);
        assert_eq!(document["processes"][1]["state"], "not answering");
        assert_eq!(document["processes"][1]["name"], "evil\u{1b}[2J");
        assert_eq!(
            document["processes"][1]["tracked_tasks"],
            serde_json::Value::Null
        );
    }
}
