//! The tree of processes.

use std::io::{self, Write};

use rtops_binary::Rustc;
use rtops_render::{
    json,
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::escape::escape;
use rtops_types::Pid;
use serde::Serialize;

use crate::{
    commands::parts::RustcFields,
    proc::forest::{Branch, Placed},
};

const NOTHING: &str = "No Rust process is running, or none that this user may see; \
    `rtops tree --all` shows the others.";
/// Marks before the name of a process with an agent, and of any other Rust process.
const WITH_AGENT: &str = "* ";
const WITHOUT: &str = "+ ";

const COLUMNS: [Column; 4] = [
    Column::new("PID", Fit::Number),
    Column::new("AGENT", Fit::Text),
    Column::new("RUSTC", Fit::Text),
    Column::new("PROCESS", Fit::Cut),
];
/// The columns to show: the first choice in which the tree is not cut, else the last.
const CHOICES: [&[usize]; 3] = [&[0, 1, 2, 3], &[0, 1, 3], &[0, 3]];

/// A process in the tree.
#[derive(Debug)]
pub struct Node {
    pub pid: Pid,
    pub ppid: Pid,
    pub name: String,
    /// `None` if it is not a Rust program, or that is unknown.
    pub rustc: Option<Rustc>,
    pub agent: Option<Agent>,
}

/// The agent of a process.
#[derive(Debug)]
pub struct Agent {
    /// Known if it answers.
    pub version: Option<String>,
    /// How it answers.
    pub state: &'static str,
}

impl Agent {
    /// Makes an agent that does not say its version.
    pub const fn without_version(state: &'static str) -> Self {
        Self {
            version: None,
            state,
        }
    }
}

impl Node {
    /// Whether it runs a Rust program or has an agent.
    pub const fn is_of_interest(&self) -> bool {
        self.rustc.is_some() || self.agent.is_some()
    }
}

impl Branch for Node {
    fn pid(&self) -> Pid {
        self.pid
    }

    fn ppid(&self) -> Pid {
        self.ppid
    }
}

/// Prints a table whose last column is the tree.
pub fn text(writer: &mut impl Write, style: Style, tree: &[Placed<Node>]) -> io::Result<()> {
    if tree.is_empty() {
        return writeln!(writer, "{}", style.paint(Paint::Faint, NOTHING));
    }
    let rows: Vec<[String; COLUMNS.len()]> = tree.iter().map(cells).collect();
    let shown = shown(&rows, style.width);
    let rows = rows.into_iter().map(|row| pick(row, shown));
    table::write(writer, style, "", &pick(COLUMNS, shown), rows)
}

/// Returns the cells of a row in the columns that are shown.
fn pick<T>(row: [T; COLUMNS.len()], shown: &[usize]) -> Vec<T> {
    let cells = row.into_iter().zip(0..);
    let picked = cells.filter(|(_, column)| shown.contains(column));
    picked.map(|(cell, _)| cell).collect()
}

/// Chooses the columns for a terminal of this width.
fn shown(rows: &[[String; COLUMNS.len()]], width: Option<usize>) -> &'static [usize] {
    let mut widths = COLUMNS.map(|column| column.title.len());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(escape(cell).chars().count());
        }
    }
    let fits = |choice: &&&[usize]| {
        let widths = choice.iter().filter_map(|column| widths.get(*column));
        let all = widths.sum::<usize>() + (choice.len() - 1) * usize::from(table::GAP);
        width.is_none_or(|width| all <= width)
    };
    let [.., narrowest] = CHOICES;
    CHOICES.iter().find(fits).copied().unwrap_or(narrowest)
}

fn cells(placed: &Placed<Node>) -> [String; COLUMNS.len()] {
    let Placed {
        process: node,
        bars,
        ..
    } = placed;
    let mark = match (&node.agent, &node.rustc) {
        (Some(_), _) => WITH_AGENT,
        (None, Some(_)) => WITHOUT,
        (None, None) => "",
    };
    let says = |agent: &Agent| match &agent.version {
        Some(version) => version.clone(),
        None => agent.state.to_owned(),
    };
    [
        node.pid.to_string(),
        node.agent.as_ref().map(says).unwrap_or_default(),
        node.rustc.as_ref().map_or("", Rustc::short).to_owned(),
        format!("{bars}{mark}{}", node.name),
    ]
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: Pid,
    ppid: Pid,
    depth: usize,
    name: &'a str,
    #[serde(flatten)]
    rustc: RustcFields<'a>,
    agent_state: Option<&'static str>,
    agent_version: Option<&'a str>,
}

/// Prints the processes as a JSON list in the order of the tree; see `docs/operate/json.md`.
pub fn json(writer: &mut impl Write, tree: &[Placed<Node>]) -> io::Result<()> {
    let processes = tree.iter().map(|placed| {
        let node = &placed.process;
        let agent = node.agent.as_ref();
        Process {
            pid: node.pid,
            ppid: node.ppid,
            depth: placed.depth,
            name: &node.name,
            rustc: RustcFields::of(node.rustc.as_ref()),
            agent_state: agent.map(|agent| agent.state),
            agent_version: agent.and_then(|agent| agent.version.as_deref()),
        }
    });
    json::write(
        writer,
        &Document {
            schema: json::SCHEMA,
            processes: processes.collect(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::forest::{Part, grow};

    fn node(pid: i32, ppid: i32, name: &str, rustc: Option<&str>, agent: Option<Agent>) -> Node {
        Node {
            pid: Pid::new(pid),
            ppid: Pid::new(ppid),
            name: name.to_owned(),
            rustc: rustc.map(|version| Rustc::Version(version.to_owned())),
            agent,
        }
    }

    fn tree() -> Vec<Placed<Node>> {
        let agent = Agent {
            version: Some("0.1.0".to_owned()),
            state: "answering",
        };
        let silent = Agent::without_version("not answering");
        let nodes = vec![
            node(1, 0, "systemd", None, None),
            node(4711, 1, "bash", None, None),
            node(
                4720,
                4711,
                "gateway",
                Some("1.95.0 (5980761 2026-04-14)"),
                Some(agent),
            ),
            node(4722, 4720, "rg", Some("1.63.0"), None),
            node(4725, 4711, "evil\u{1b}[2J", None, Some(silent)),
        ];
        grow(nodes, Part::All, Node::is_of_interest)
    }

    fn drawn(width: Option<usize>) -> String {
        let mut written = Vec::new();
        assert!(text(&mut written, Style::new(false, width), &tree()).is_ok());
        String::from_utf8_lossy(&written).into_owned()
    }

    #[test]
    fn the_tree_is_the_last_column() {
        insta::assert_snapshot!(drawn(None), @r"
         PID  AGENT          RUSTC   PROCESS
           1                         systemd
        4711                         └─ bash
        4720  0.1.0          1.95.0     ├─ * gateway
        4722                 1.63.0     │  └─ + rg
        4725  not answering             └─ * evil\u{1b}[2J
        ");
        insta::assert_snapshot!(drawn(Some(43)), @r"
         PID  AGENT          PROCESS
           1                 systemd
        4711                 └─ bash
        4720  0.1.0             ├─ * gateway
        4722                    │  └─ + rg
        4725  not answering     └─ * evil\u{1b}[2J
        ");
        insta::assert_snapshot!(drawn(Some(40)), @r"
         PID  PROCESS
           1  systemd
        4711  └─ bash
        4720     ├─ * gateway
        4722     │  └─ + rg
        4725     └─ * evil\u{1b}[2J
        ");
    }

    #[test]
    fn json_is_a_flat_list() {
        let mut written = Vec::new();
        assert!(json(&mut written, &tree()).is_ok());
        let document: serde_json::Value = serde_json::from_slice(&written).unwrap_or_default();
        let depths = (0..5).map(|place| document["processes"][place]["depth"].as_u64());
        assert_eq!(depths.flatten().collect::<Vec<_>>(), [0, 1, 2, 3, 2]);
        let gateway = &document["processes"][2];
        assert_eq!(gateway["agent_version"], "0.1.0");
        assert_eq!(gateway["rustc_version"], "1.95.0 (5980761 2026-04-14)");
    }
}
