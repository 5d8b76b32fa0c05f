//! What the kernel knows about one process.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use rtops_render::{
    section::{Line, section},
    style::{Paint, Style},
};
use rtops_report::{escape::escape, format, words};

use super::sockets::{self, Which};
use crate::{
    commands::stats::text as stats,
    proc::{
        cgroup,
        container::{self, Container},
        inspect::{Executable, File, Inspected, Related},
        limits::{Unit, Used},
    },
};

/// The most characters of a command line on a terminal.
const MAX_COMMAND: usize = 600;
/// How many digits of a container's id people use.
const SHORT_ID: usize = 12;

/// A process, and what it did while it was watched.
#[derive(Debug)]
pub struct Report {
    /// The name that the agent states, or that of the executable.
    pub name: String,
    pub agent: Agent,
    /// The share of one processor that it used while it was watched.
    pub cpu_share_recent: f64,
    pub watched: Duration,
    pub now: Inspected,
}

/// The agent of a process.
#[derive(Debug)]
pub enum Agent {
    Answers {
        version: String,
    },
    None,
    /// It does not answer, like that of a stopped process.
    Silent,
    /// There may be one; this is why it could not be asked.
    Unasked(String),
}

/// Prints sections of aligned lines, and a table of sockets.
pub fn text(
    writer: &mut impl Write,
    style: Style,
    report: &Report,
    which: Which,
) -> io::Result<()> {
    let now = &report.now;
    let title = format!("{} (pid {})", escape(&report.name), now.figures.pid);
    writeln!(
        writer,
        "{}, up {}",
        style.paint(Paint::Heading, title),
        format::duration(now.figures.uptime)
    )?;
    let mut lines = process_lines(report, style.width.is_some());
    lines.extend(where_lines(now));
    lines.push(agent_line(report));
    lines.extend(unseen_lines(now));
    section(writer, style, "process", lines)?;
    let near = now.limits.iter().filter(|used| used.is_near());
    let near: Vec<Line> = near.map(limit_line).collect();
    if !near.is_empty() {
        section(writer, style, "limits that are near", near)?;
    }
    match &now.sockets {
        Some(all) => sockets::text(writer, style, all, which),
        None => Ok(()),
    }
}

fn process_lines(report: &Report, on_terminal: bool) -> Vec<Line<'static>> {
    let now = &report.now;
    let figures = &now.figures;
    let mut lines: Vec<Line> = vec![("command", command(&figures.command, on_terminal)).into()];
    lines.extend(now.executable.as_ref().map(executable_line));
    if let Some(directory) = &now.directory {
        let directory = escape(&directory.to_string_lossy()).into_owned();
        lines.push(("directory", directory).into());
    }
    let mut user = escape(&figures.user).into_owned();
    if let Some(real) = &now.real_user {
        user = format!("{user}, started by {}", escape(real));
    }
    lines.push(("user", user).into());
    if let Some(parent) = &now.parent {
        lines.push(("parent", related(parent)).into());
    }
    let mut state = words::thread_state(now.state.letter).to_owned();
    if let Some(tracer) = &now.state.tracer {
        state = format!("{state}; traced by {}", related(tracer));
    }
    lines.push(Line::from(("state", state)).warn_if(now.state.is_notable()));
    let ago = format::duration(figures.uptime);
    lines.push(("started", format!("{}, {ago} ago", utc(now.started))).into());
    let cpu = format!(
        "{} over {}, {} since the start, {} in all",
        format::percent(report.cpu_share_recent),
        format::duration(report.watched),
        format::percent(figures.cpu_share()),
        format::duration(figures.cpu_time)
    );
    lines.push(("CPU", cpu).into());
    lines.push(("memory", memory(now)).into());
    lines.push(("threads", stats::threads(&now.details)).into());
    if now.details.open_files.is_some() {
        lines.push(("files", stats::files(&now.details)).into());
    }
    lines
}

/// Says where the process runs, and how likely it is to be killed for its memory.
fn where_lines(now: &Inspected) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> = Vec::new();
    if let Some(path) = cgroup::most_telling(&now.groups) {
        lines.push(("cgroup", escape(path).into_owned()).into());
    }
    match (&now.container, container::unit(&now.groups)) {
        // The unit of a container is made for it, and named by its id.
        (Some(container), _) => lines.push(container_line(container)),
        (None, Some(unit)) => lines.push(("unit", escape(unit).into_owned()).into()),
        (None, None) => {}
    }
    if let Some(kinds) = now.namespaces.as_ref().filter(|kinds| !kinds.is_empty()) {
        let kinds = kinds.join(", ");
        lines.push(("namespaces", format!("{kinds}: not those of rtops")).into());
    }
    if let Some(inner) = now.inner_pid {
        lines.push(("inner pid", inner.to_string()).into());
    }
    if let Some(score) = now.oom_score {
        let text = match now.oom_score_adj {
            None | Some(0) => score.to_string(),
            Some(by) => format!("{score}, adjusted by {by}"),
        };
        lines.push(("OOM score", text).into());
    }
    lines
}

fn command(command: &str, on_terminal: bool) -> String {
    let shown = escape(command);
    let length = shown.chars().count();
    if !on_terminal || length <= MAX_COMMAND {
        return shown.into_owned();
    }
    let start: String = shown.chars().take(MAX_COMMAND).collect();
    format!("{start}… ({length} characters)")
}

fn executable_line(executable: &Executable) -> Line<'static> {
    let path = executable.path.to_string_lossy();
    let path = escape(&path);
    let (text, notable) = match executable.file {
        File::Same => (path.into_owned(), false),
        File::Replaced => (format!("{path} (replaced since the start)"), true),
        File::Deleted => (format!("{path} (deleted since the start)"), true),
        File::InMemory => (format!("{path} (in memory only)"), false),
    };
    Line::from(("executable", text)).warn_if(notable)
}

fn related(process: &Related) -> String {
    match &process.name {
        Some(name) => format!("{} ({})", process.pid, escape(name)),
        None => process.pid.to_string(),
    }
}

fn utc(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

fn memory(now: &Inspected) -> String {
    let (resident, memory) = (now.figures.rss_bytes, now.memory);
    let share = memory.of_machine.map_or_else(String::new, |all| {
        let usage = cgroup::Usage {
            used: resident,
            limit: all,
        };
        let share = format::percent(usage.share());
        format!(" ({share} of {})", format::bytes(all))
    });
    let mut text = format!("{} resident{share}", format::bytes(resident));
    let swapped = memory.swapped.filter(|bytes| *bytes > 0);
    for (what, bytes) in [
        ("PSS", memory.proportional),
        ("peak", memory.peak),
        ("swapped", swapped),
    ] {
        if let Some(bytes) = bytes {
            text = format!("{text}, {what} {}", format::bytes(bytes));
        }
    }
    text
}

fn container_line(container: &Container) -> Line<'static> {
    let runtime = container
        .runtime
        .map_or_else(String::new, |name| format!("{name} "));
    let id: String = container.id.chars().take(SHORT_ID).collect();
    let text = format!("{runtime}{} {}", container.kind, escape(&id));
    ("container", text).into()
}

fn agent_line(report: &Report) -> Line<'static> {
    let pid = report.now.figures.pid;
    let text = match &report.agent {
        Agent::Answers { version } => format!(
            "rtops-agent {}; `rtops stack {pid}` shows where its tasks wait",
            escape(version)
        ),
        Agent::None => "none".to_owned(),
        Agent::Silent => "does not answer".to_owned(),
        Agent::Unasked(why) => format!("not known: {}", escape(why)),
    };
    ("agent", text).into()
}

fn unseen_lines(now: &Inspected) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> = Vec::new();
    if !now.hidden.is_empty() {
        let what = now.hidden.join(", ");
        let owner = escape(&now.figures.user);
        let way_out = match (&*owner, now.viewer_is_root) {
            (_, true) => "the kernel hides that here, even from root".to_owned(),
            ("root", _) => "not visible to this user; run rtops as root".to_owned(),
            _ => format!("not visible to this user; run rtops as {owner} or as root"),
        };
        let text = format!("{what} ({way_out})");
        lines.push(("left out", text).into());
    }
    lines.extend(
        now.unread
            .iter()
            .map(|why| Line::from(("not read", escape(why).into_owned()))),
    );
    lines
}

fn limit_line(used: &Used) -> Line<'static> {
    let show = |value: u64| match used.unit {
        Unit::Count => value.to_string(),
        Unit::Bytes => format::bytes(value),
        Unit::Seconds => format::duration(Duration::from_secs(value)),
    };
    let (now, most) = (show(used.usage.used), show(used.usage.limit));
    let share = format::percent(used.usage.share());
    let text = format!("{now} of {most}, {share} ({})", used.set_by);
    Line::from((used.what, text)).warn_if(true)
}

#[cfg(test)]
mod tests;
