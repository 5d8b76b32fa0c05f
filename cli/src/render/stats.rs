//! The counters of one process.

use std::{
    cmp::Reverse,
    io::{self, Write},
};

use rtops_protocol::{Runtime, RuntimeFlavor, Stats, Worker};
use rtops_render::{
    section::{INDENT, heading, section},
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::{
    census::{Census, Count, Kept, OfType},
    crash,
    dump::Dump,
    escape::escape,
    format,
    frames::Frames,
};
use rtops_types::Pid;

use crate::{
    proc::Details,
    watch::sample::{Change, Sample, WorkerRates, alive_tasks},
};

/// How many names of threads the text shows.
const MAX_NAMES: usize = 8;
/// How many types of futures.
const MAX_TYPES: usize = 30;

/// Two samples and what else is asked for once.
#[derive(Debug)]
pub struct Report {
    pub earlier: Sample,
    pub now: Sample,
    pub details: Details,
    pub untracked: Untracked,
}

/// The untracked tasks, as far as they were counted.
#[derive(Debug)]
pub enum Untracked {
    Counted(Census),
    /// They can't be, for this reason.
    Missing(String),
    /// Nobody asked for them, or there are none.
    NotCounted,
}

impl Untracked {
    pub const fn counted(&self) -> Option<&Census> {
        match self {
            Self::Counted(census) => Some(census),
            Self::Missing(_) | Self::NotCounted => None,
        }
    }

    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::Missing(why) => Some(why),
            Self::Counted(_) | Self::NotCounted => None,
        }
    }
}

impl Report {
    /// What changed between the samples.
    pub fn change(&self) -> Change<'_> {
        Change {
            earlier: &self.earlier,
            now: &self.now,
        }
    }
}

/// What the memory of a process tells of it: a core file, or a process that was looked at from outside.
#[derive(Debug)]
pub struct ImageReport<'a> {
    pub pid: Pid,
    pub name: &'a str,
    pub dump: &'a Dump,
    pub frames: &'a Frames,
    pub census: Census,
    /// Ended tasks that their join handles keep, by type.
    pub kept: Vec<Kept>,
}

impl ImageReport<'_> {
    /// Which process it is, and what ended it if something did.
    pub fn head(&self) -> String {
        let ended = crash::sentence(self.dump, self.frames);
        ended.unwrap_or_else(|| format!("{} (pid {})", self.name, self.pid))
    }

    /// How many closures are on blocking pools, and run or wait for a thread there.
    pub fn blocking(&self) -> usize {
        Count::of(self.dump, self.frames).blocking
    }

    /// How many ended tasks are kept.
    pub fn kept(&self) -> usize {
        self.kept.iter().map(|kept| kept.count).sum()
    }
}

/// The head of an image, and its tasks by type.
pub fn image(writer: &mut impl Write, style: Style, report: &ImageReport<'_>) -> io::Result<()> {
    writeln!(
        writer,
        "{}",
        style.paint(Paint::Heading, escape(&report.head()))
    )?;
    let lines = vec![
        ("tasks", report.census.tasks.to_string()),
        ("on blocking pools", report.blocking().to_string()),
        ("ended, kept", report.kept().to_string()),
        ("threads", report.dump.threads.len().to_string()),
    ];
    section(writer, style, "process", lines)?;
    types(writer, style, &report.census)?;
    if let Some(note) = crash::lacks_tokio(report.dump) {
        writeln!(writer, "\n{}", style.paint(Paint::Faint, note))?;
    }
    if !report.kept.is_empty() {
        heading(writer, style, "ended tasks that their join handles keep")?;
        let columns = [
            Column::new("TASKS", Fit::Number),
            Column::new("FUTURE", Fit::Cut),
        ];
        let row = |kept: &Kept| {
            let future = rtops_symbols::display_type(&kept.future_type);
            vec![kept.count.to_string(), future]
        };
        let rows = report.kept.iter().take(MAX_TYPES).map(row);
        table::write(writer, style, INDENT, &columns, rows)?;
    }
    Ok(())
}

/// Sections of aligned lines, and a table of the workers of each runtime.
pub fn text(writer: &mut impl Write, style: Style, report: &Report) -> io::Result<()> {
    let Sample {
        hello,
        stats,
        figures,
    } = &report.now;
    let title = format!("{} (pid {})", escape(&stats.name), figures.pid);
    writeln!(
        writer,
        "{}, up {}, rtops-agent {}",
        style.paint(Paint::Heading, title),
        format::duration(figures.uptime),
        escape(&hello.agent_version)
    )?;
    section(writer, style, "process", process_lines(report))?;
    section(writer, style, "tasks", task_lines(report))?;
    if let Some(census) = report.untracked.counted() {
        types(writer, style, census)?;
    }
    for (index, runtime) in stats.runtimes.iter().enumerate() {
        let title = format!("runtime \"{}\"", escape(&runtime.name));
        section(writer, style, &title, runtime_lines(runtime))?;
        if !runtime.workers.is_empty() {
            writeln!(writer)?;
            workers(writer, style, runtime, report.change().workers(index))?;
        }
    }
    Ok(())
}

fn process_lines(report: &Report) -> Vec<(&'static str, String)> {
    let (figures, details) = (&report.now.figures, &report.details);
    let mut lines = vec![
        ("command", escape(&figures.command).into_owned()),
        ("user", escape(&figures.user).into_owned()),
        (
            "CPU",
            format!(
                "{} now, {} since the start, {} in all",
                format::percent(report.change().cpu_share()),
                format::percent(figures.cpu_share()),
                format::duration(figures.cpu_time)
            ),
        ),
    ];
    if let Some(cpus) = details.cpus {
        lines.push(("CPUs", format!("{cpus} usable")));
    }
    lines.push((
        "memory",
        format!("{} resident", format::bytes(figures.rss_bytes)),
    ));
    lines.push(("files", files(details)));
    lines.push(("threads", threads(details)));
    lines
}

/// Open files against their limit.
pub fn files(details: &Details) -> String {
    let limit = details
        .file_limit
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    details.open_files.map_or_else(
        || "not visible to this user".to_owned(),
        |open| format!("{open}{limit} open"),
    )
}

/// The number of threads, and the commonest names.
pub fn threads(details: &Details) -> String {
    let mut names: Vec<(&String, &usize)> = details.threads.iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown = names.iter().take(MAX_NAMES);
    let mut parts: Vec<String> = shown
        .map(|(name, count)| format!("{count} {}", escape(name)))
        .collect();
    if names.len() > MAX_NAMES {
        parts.push(format!("{} more names", names.len() - MAX_NAMES));
    }
    let total: usize = details.threads.values().sum();
    format!("{total}: {}", parts.join(", "))
}

fn in_a_poll(stats: &Stats) -> String {
    if stats.running == 0 {
        return "0".to_owned();
    }
    let longest = format::nanoseconds(stats.longest_poll_ns);
    format!("{}, the longest for {longest}", stats.running)
}

fn task_lines(report: &Report) -> Vec<(&'static str, String)> {
    let (change, now) = (report.change(), &report.now.stats);
    let rated =
        |counter: fn(&Stats) -> u64| format!("{} ({:.1}/s)", counter(now), change.rate(counter));
    let mut lines = vec![
        ("tracked", now.tracked_tasks.to_string()),
        ("spans", now.tracked_spans.to_string()),
        ("in a poll now", in_a_poll(now)),
        ("spawned", rated(|stats| stats.spawned)),
        ("finished", rated(|stats| stats.finished)),
        ("polls", rated(|stats| stats.polls)),
    ];
    if let Some(alive) = alive_tasks(now) {
        lines.insert(1, ("alive on tokio", alive.to_string()));
    }
    match &report.untracked {
        Untracked::Counted(census) => lines.push(("untracked", census.tasks.to_string())),
        Untracked::Missing(why) => lines.push(("not counted", escape(why).into_owned())),
        Untracked::NotCounted => {}
    }
    lines
}

/// The types of the untracked tasks.
fn types(writer: &mut impl Write, style: Style, census: &Census) -> io::Result<()> {
    if census.tasks == 0 {
        return Ok(());
    }
    heading(writer, style, "untracked tasks")?;
    let columns = [
        Column::new("TASKS", Fit::Number),
        Column::new("RUNNING", Fit::OptionalNumber(0)),
        Column::new("IDLE", Fit::OptionalNumber(1)),
        Column::new("FUTURE", Fit::Cut),
    ];
    let types = as_shown(census);
    let rows = types.iter().take(MAX_TYPES).map(|of_type| {
        vec![
            of_type.count.to_string(),
            of_type.running.to_string(),
            of_type.idle.to_string(),
            of_type.future_type.clone(),
        ]
    });
    table::write(writer, style, INDENT, &columns, rows)?;
    match types.len().saturating_sub(MAX_TYPES) {
        0 => Ok(()),
        hidden => {
            let types = format::count(hidden, "more type");
            let text = format!("({types}; --json has them all)");
            writeln!(writer, "{INDENT}{}", style.paint(Paint::Faint, text))
        }
    }
}

/// The types by the names that are shown, which leave generic arguments out.
fn as_shown(census: &Census) -> Vec<OfType> {
    let mut shown: Vec<OfType> = Vec::new();
    for of_type in &census.by_type {
        let future_type = rtops_symbols::display_type(&of_type.future_type);
        match shown
            .iter_mut()
            .find(|known| known.future_type == future_type)
        {
            Some(known) => {
                known.count += of_type.count;
                known.running += of_type.running;
                known.idle += of_type.idle;
            }
            None => shown.push(OfType {
                future_type,
                ..of_type.clone()
            }),
        }
    }
    shown.sort_by_key(|of_type| Reverse(of_type.count));
    shown
}

fn runtime_lines(runtime: &Runtime) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("scheduler", flavor(runtime.flavor).to_owned()),
        ("alive tasks", runtime.alive_tasks.to_string()),
        ("global queue", runtime.global_queue_depth.to_string()),
    ];
    for (key, value) in [
        ("spawned", runtime.spawned_tasks),
        ("blocking threads", runtime.blocking_threads),
        ("idle blocking threads", runtime.idle_blocking_threads),
        ("blocking queue", runtime.blocking_queue_depth),
        ("budget yields", runtime.budget_forced_yields),
    ] {
        lines.extend(value.map(|value| (key, value.to_string())));
    }
    lines
}

/// The scheduler in words.
pub fn flavor(flavor: RuntimeFlavor) -> &'static str {
    match flavor {
        RuntimeFlavor::CurrentThread => "current thread",
        RuntimeFlavor::MultiThread => "multi thread",
        RuntimeFlavor::Other => "other",
    }
}

/// A figure that only some builds of tokio have.
type Figure = fn(&Worker) -> Option<u64>;

fn workers(
    writer: &mut impl Write,
    style: Style,
    runtime: &Runtime,
    rates: Option<Vec<WorkerRates>>,
) -> io::Result<()> {
    const NUMBER: Fit = Fit::Number;
    let unstable = |pick: Figure| runtime.workers.iter().any(|w| pick(w).is_some());
    let optional: [(&str, Figure); 3] = [
        ("QUEUE", |worker| worker.queue_depth),
        ("POLLS", |worker| worker.polls),
        ("STEALS", |worker| worker.steals),
    ];
    let optional: Vec<_> = optional
        .into_iter()
        .filter(|(_, pick)| unstable(*pick))
        .collect();
    let mut columns = vec![
        Column::new("WORKER", NUMBER),
        Column::new("BUSY NOW", NUMBER),
        Column::new("BUSY TIME", NUMBER),
        Column::new("PARKS", NUMBER),
        Column::new("PARKS/S", NUMBER),
    ];
    columns.extend(optional.iter().map(|(title, _)| Column::new(title, NUMBER)));
    let rows = runtime.workers.iter().enumerate().map(|(index, worker)| {
        let rates = rates.as_ref().and_then(|rates| rates.get(index));
        let rate = |text: fn(&WorkerRates) -> String| rates.map_or("-".to_owned(), text);
        let mut cells = vec![
            index.to_string(),
            rate(|rates| format::percent(rates.busy_share)),
            format::nanoseconds(worker.busy_ns),
            worker.parks.to_string(),
            rate(|rates| format!("{:.1}", rates.parks_per_second)),
        ];
        cells.extend(optional.iter().map(|(_, pick)| {
            pick(worker).map_or_else(|| "-".to_owned(), |value| value.to_string())
        }));
        cells
    });
    table::write(writer, style, INDENT, &columns, rows)
}
