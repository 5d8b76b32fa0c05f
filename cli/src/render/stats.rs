//! The counters of one process.

use std::{
    cmp::Reverse,
    io::{self, Write},
};

use rtops_protocol::{Runtime, RuntimeFlavor, Stats, Worker};
use rtops_report::{
    census::{Census, OfType},
    escape::escape,
    format,
    style::{Paint, Style},
};
use serde::Serialize;

use super::{
    section::{self, INDENT},
    table::{self, Column, Fit},
};
use crate::process::{Details, Figures};

/// How many names of threads the text shows.
const MAX_NAMES: usize = 8;
/// How many types of futures.
const MAX_TYPES: usize = 30;

/// Two samples and what the kernel says.
#[derive(Debug)]
pub struct Report {
    pub figures: Figures,
    pub details: Details,
    /// The share of one processor used between the samples.
    pub cpu_share_now: f64,
    pub agent_version: String,
    pub earlier: Stats,
    pub now: Stats,
    /// The tasks that no wrapper tracks; or why they are not counted, if that is worth a word.
    pub unwrapped: Result<Census, Option<String>>,
}

impl Report {
    /// Nanoseconds between the samples by the agent's own clock.
    fn elapsed_ns(&self) -> u64 {
        self.now.clock_ns.saturating_sub(self.earlier.clock_ns)
    }

    /// How fast a counter grew, a second.
    pub fn rate(&self, earlier: u64, now: u64) -> f64 {
        ratio(now.saturating_sub(earlier), self.elapsed_ns()) * 1e9
    }

    /// The same runtime in the earlier sample.
    pub fn earlier_runtime(&self, index: usize, now: &Runtime) -> Option<&Runtime> {
        let earlier = self.earlier.runtimes.get(index)?;
        (earlier.name == now.name && earlier.workers.len() == now.workers.len()).then_some(earlier)
    }

    /// `None` for a worker that the earlier sample does not have.
    pub fn worker_rates(&self, earlier: Option<&Worker>, now: &Worker) -> Option<WorkerRates> {
        let earlier = earlier?;
        // A worker's busy time grows only when it goes to sleep, so that one which is stuck in a
        // poll would look idle. An even count of its sleeps and wake-ups says that it is awake.
        let never_slept =
            earlier.park_unparks == now.park_unparks && now.park_unparks.is_multiple_of(2);
        let busy_ns = now.busy_ns.saturating_sub(earlier.busy_ns);
        let busy_share = if never_slept {
            1.0
        } else {
            ratio(busy_ns, self.elapsed_ns()).min(1.0)
        };
        Some(WorkerRates {
            busy_share,
            parks_per_second: self.rate(earlier.parks, now.parks),
        })
    }
}

/// What a worker did between the samples.
#[derive(Debug, Serialize)]
pub struct WorkerRates {
    /// The share of the time between the samples in which it was busy.
    pub busy_share: f64,
    pub parks_per_second: f64,
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Sections of aligned lines, and a table of the workers of each runtime.
pub fn text(writer: &mut impl Write, style: Style, report: &Report) -> io::Result<()> {
    let figures = &report.figures;
    let title = format!("{} (pid {})", escape(&report.now.name), figures.pid);
    writeln!(
        writer,
        "{}, up {}, rtops-agent {}",
        style.paint(Paint::Heading, title),
        format::duration(figures.uptime),
        escape(&report.agent_version)
    )?;
    section::write(writer, style, "process", &process_lines(report))?;
    section::write(writer, style, "tasks", &task_lines(report))?;
    if let Ok(census) = &report.unwrapped {
        types(writer, style, census)?;
    }
    for (index, runtime) in report.now.runtimes.iter().enumerate() {
        let earlier = report.earlier_runtime(index, runtime);
        let title = format!("runtime \"{}\"", escape(&runtime.name));
        section::write(writer, style, &title, &runtime_lines(runtime))?;
        if !runtime.workers.is_empty() {
            writeln!(writer)?;
            workers(writer, style, report, earlier, runtime)?;
        }
    }
    Ok(())
}

fn process_lines(report: &Report) -> Vec<(&'static str, String)> {
    let (figures, details) = (&report.figures, &report.details);
    let mut lines = vec![
        ("command", escape(&figures.command).into_owned()),
        ("user", escape(&figures.user).into_owned()),
        (
            "CPU",
            format!(
                "{} now, {} since the start, {} in all",
                format::percent(report.cpu_share_now),
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
    let limit = details
        .file_limit
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    lines.push((
        "files",
        details.open_files.map_or_else(
            || "not visible to this user".to_owned(),
            |open| format!("{open}{limit} open"),
        ),
    ));
    lines.push(("threads", threads(details)));
    lines
}

/// The number of threads, and the commonest names.
fn threads(details: &Details) -> String {
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
    let (earlier, now) = (&report.earlier, &report.now);
    let rated = |earlier, now| format!("{now} ({:.1}/s)", report.rate(earlier, now));
    let mut lines = vec![
        ("tracked", now.tracked_tasks.to_string()),
        ("spans", now.tracked_spans.to_string()),
        ("in a poll now", in_a_poll(now)),
        ("spawned", rated(earlier.spawned, now.spawned)),
        ("finished", rated(earlier.finished, now.finished)),
        ("polls", rated(earlier.polls, now.polls)),
    ];
    if !now.runtimes.is_empty() {
        let alive = alive_tasks(now);
        lines.insert(1, ("alive on tokio", alive.to_string()));
    }
    match &report.unwrapped {
        Ok(census) => lines.push(("without a wrapper", census.tasks.to_string())),
        Err(Some(missing)) => lines.push(("not counted", escape(missing).into_owned())),
        Err(None) => {}
    }
    lines
}

/// The types of the tasks that no wrapper tracks.
fn types(writer: &mut impl Write, style: Style, census: &Census) -> io::Result<()> {
    if census.tasks == 0 {
        return Ok(());
    }
    writeln!(
        writer,
        "\n{}",
        style.paint(Paint::Heading, "tasks without a wrapper")
    )?;
    let column = |title, fit| Column { title, fit };
    let columns = [
        column("TASKS", Fit::Number),
        column("RUNNING", Fit::OptionalNumber(0)),
        column("IDLE", Fit::OptionalNumber(1)),
        column("FUTURE", Fit::Cut),
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
    let rows: Vec<Vec<String>> = rows.collect();
    table::write(writer, style, INDENT, &columns, &rows)?;
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

/// Tasks alive on all runtimes together.
pub fn alive_tasks(stats: &Stats) -> u64 {
    let alive = stats.runtimes.iter().map(|runtime| runtime.alive_tasks);
    alive.fold(0, u64::saturating_add)
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
    report: &Report,
    earlier: Option<&Runtime>,
    runtime: &Runtime,
) -> io::Result<()> {
    const NUMBER: Fit = Fit::Number;
    let column = |title, fit| Column { title, fit };
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
        column("WORKER", NUMBER),
        column("BUSY NOW", NUMBER),
        column("BUSY TIME", NUMBER),
        column("PARKS", NUMBER),
        column("PARKS/S", NUMBER),
    ];
    columns.extend(optional.iter().map(|(title, _)| column(title, NUMBER)));
    let rows: Vec<Vec<String>> = runtime
        .workers
        .iter()
        .enumerate()
        .map(|(index, worker)| {
            let before = earlier.and_then(|runtime| runtime.workers.get(index));
            let rates = report.worker_rates(before, worker);
            let rate =
                |text: fn(&WorkerRates) -> String| rates.as_ref().map_or("-".to_owned(), text);
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
        })
        .collect();
    table::write(writer, style, INDENT, &columns, &rows)
}
