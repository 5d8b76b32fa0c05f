//! The view as text: the head of `rtops stack`, sections of aligned lines, and tables.

use std::io::{self, Write};

use rtops_protocol::TaskKind;
use rtops_render::{
    section::{INDENT, heading, section},
    style::{Paint, Style},
    table::{self, Column, Fit},
    text,
};
use rtops_report::{
    census::{Kept, OfType},
    crash,
    escape::escape,
    format, words,
};

use super::view::{Figures, RuntimePart, TasksPart, View, WorkerPart};
use crate::{commands::parts::FiguresPart, proc::Details, watch::sample::WorkerRates};

/// How many thread names the text shows.
const MAX_NAMES: usize = 8;
/// How many types of futures the text shows.
const MAX_TYPES: usize = 30;

type Lines = Vec<(&'static str, String)>;

/// Prints the view.
pub fn text(writer: &mut impl Write, style: Style, view: &View<'_, '_>) -> io::Result<()> {
    match view.seen {
        Some(seen) => text::stack::head(writer, style, &seen.stack)?,
        None => {
            let pid = match view.process.figures {
                Figures::Live(FiguresPart { figures, .. }) => figures.pid,
                Figures::Ended { pid, .. } => pid,
            };
            let title = format!("{} (pid {pid})", escape(view.process.name));
            writeln!(writer, "{}", style.paint(Paint::Heading, title))?;
        }
    }
    section(writer, style, "process", process_lines(view))?;
    let lines = task_lines(view);
    if !lines.is_empty() {
        section(writer, style, "tasks", lines)?;
    }
    if let Some(look) = &view.look {
        types(writer, style, look.types)?;
        kept(writer, style, look.kept)?;
    }
    for runtime in &view.runtimes {
        section(writer, style, &title(runtime), runtime_lines(runtime))?;
        if let Some(of_runtime) = runtime.workers.as_ref().filter(|all| !all.is_empty()) {
            writeln!(writer)?;
            workers(writer, style, of_runtime)?;
        }
    }
    match view
        .seen
        .and_then(|seen| crash::lacks_tokio(seen.stack.dump))
    {
        Some(note) => writeln!(writer, "\n{}", style.paint(Paint::Faint, note)),
        None => Ok(()),
    }
}

fn process_lines(view: &View<'_, '_>) -> Lines {
    let process = &view.process;
    let mut lines = Lines::new();
    match &process.figures {
        Figures::Live(FiguresPart { figures, .. }) => {
            let now = process
                .cpu_share_now
                .map(|share| format!("{} now, ", format::percent(share)));
            lines.push(("command", escape(&figures.command).into_owned()));
            lines.push(("user", escape(&figures.user).into_owned()));
            lines.push(("up", format::duration(figures.uptime)));
            lines.push((
                "CPU",
                format!(
                    "{}{} since the start, {} in all",
                    now.unwrap_or_default(),
                    format::percent(figures.cpu_share()),
                    format::duration(figures.cpu_time)
                ),
            ));
            let cpus = process.details.and_then(|details| details.cpus);
            lines.extend(cpus.map(|cpus| ("CPUs", format!("{cpus} usable"))));
            let memory = format::bytes(figures.rss_bytes);
            lines.push(("memory", format!("{memory} resident")));
        }
        Figures::Ended { threads, .. } => lines.push(("threads", threads.to_string())),
    }
    if let Some(details) = process.details {
        lines.push(("files", files(details)));
        lines.push(("threads", threads(details)));
    }
    let agent = process.agent_version;
    lines.extend(agent.map(|version| ("agent", format!("rtops-agent {}", escape(version)))));
    lines
}

/// Formats the number of open files, with their limit.
pub fn files(details: &Details) -> String {
    let limit = details
        .file_limit
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    details.open_files.map_or_else(
        || "not visible to this user".to_owned(),
        |open| format!("{open}{limit} open"),
    )
}

/// Formats the number of threads, with the most common names.
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

/// Returns what an agent counts, and what a look shows besides the tasks themselves.
fn task_lines(view: &View<'_, '_>) -> Lines {
    let TasksPart {
        untracked,
        ended_kept,
        tracked,
        alive,
        spans,
        running,
        longest_poll_ns,
        spawned,
        finished,
        polls,
        spawned_per_second,
        finished_per_second,
        polls_per_second,
        ..
    } = view.tasks;
    let rated = |count: Option<u64>, rate: Option<f64>| {
        let rate = rate.map_or_else(String::new, |rate| format!(" ({rate:.1}/s)"));
        count.map(|count| format!("{count}{rate}"))
    };
    let number = |count: Option<u64>| count.map(|count| count.to_string());
    let size = |count: Option<usize>| count.map(|count| count.to_string());
    let in_a_poll = running.map(|running| match longest_poll_ns {
        Some(longest) => format!(
            "{running}, the longest for {}",
            format::nanoseconds(longest)
        ),
        None => running.to_string(),
    });
    let known = [
        ("tracked", number(tracked)),
        // Only beside what an agent counts: without one, all tasks are untracked.
        ("untracked", size(untracked.filter(|_| tracked.is_some()))),
        ("alive on tokio", number(alive)),
        ("ended, kept", size(ended_kept.filter(|kept| *kept > 0))),
        ("spans", number(spans)),
        ("in a poll now", in_a_poll),
        ("spawned", rated(spawned, spawned_per_second)),
        ("finished", rated(finished, finished_per_second)),
        ("polls", rated(polls, polls_per_second)),
        (
            "not counted",
            view.look_missing.map(|why| escape(why).into_owned()),
        ),
    ];
    let known = known.into_iter();
    known
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

/// Prints the types of the tasks, the most common first.
fn types(writer: &mut impl Write, style: Style, types: &[OfType]) -> io::Result<()> {
    if types.is_empty() {
        return Ok(());
    }
    heading(writer, style, "tasks by type")?;
    let columns = [
        Column::new("TASKS", Fit::Number),
        Column::new("RUNNING", Fit::OptionalNumber(0)),
        Column::new("IDLE", Fit::OptionalNumber(1)),
        Column::new("TYPE", Fit::Cut),
    ];
    let rows = types.iter().take(MAX_TYPES).map(|of_type| {
        vec![
            of_type.count.to_string(),
            of_type.running.to_string(),
            of_type.idle.to_string(),
            called(&of_type.title, of_type.kind),
        ]
    });
    table::write(writer, style, INDENT, &columns, rows)?;
    more(writer, style, types.len())
}

/// Names tasks in a table of all kinds.
pub fn called(title: &str, kind: TaskKind) -> String {
    match kind {
        TaskKind::Task | TaskKind::Span => title.to_owned(),
        kind => format!("{title} ({})", words::noun(kind)),
    }
}

fn kept(writer: &mut impl Write, style: Style, kept: &[Kept]) -> io::Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    heading(writer, style, "ended tasks that their join handles keep")?;
    let columns = [
        Column::new("TASKS", Fit::Number),
        Column::new("TYPE", Fit::Cut),
    ];
    let row = |kept: &Kept| {
        let future = rtops_symbols::display_type(&kept.future_type);
        vec![kept.count.to_string(), future]
    };
    let rows = kept.iter().take(MAX_TYPES).map(row);
    table::write(writer, style, INDENT, &columns, rows)?;
    more(writer, style, kept.len())
}

/// Says that there are more types than are shown.
fn more(writer: &mut impl Write, style: Style, types: usize) -> io::Result<()> {
    match types.saturating_sub(MAX_TYPES) {
        0 => Ok(()),
        hidden => {
            let types = format::count(hidden, "more type");
            let text = format!("({types}; --json has them all)");
            writeln!(writer, "{INDENT}{}", style.paint(Paint::Faint, text))
        }
    }
}

/// Names a runtime, or lists its threads if the agent does not know it.
fn title(runtime: &RuntimePart<'_>) -> String {
    if let Some(name) = runtime.name {
        return format!("runtime \"{}\"", escape(name));
    }
    let names: Vec<String> = runtime
        .worker_threads
        .into_iter()
        .flatten()
        .map(|(name, count)| match count {
            1 => format!("thread \"{}\"", escape(name)),
            count => format!("{count} threads \"{}\"", escape(name)),
        })
        .collect();
    match names.is_empty() {
        true => "runtime without a thread that is known".to_owned(),
        false => format!("runtime of {}", format::list(names)),
    }
}

fn runtime_lines(runtime: &RuntimePart<'_>) -> Lines {
    let tasks = runtime.tasks.map(|tasks| {
        let busy = [(runtime.running, "running"), (runtime.woken, "woken")];
        let busy = busy.into_iter().filter_map(|(count, word)| {
            let count = count.filter(|count| *count > 0)?;
            Some(format!(", {count} {word}"))
        });
        format!("{tasks}{}", busy.collect::<String>())
    });
    let known = [
        ("scheduler", runtime.flavor.map(str::to_owned)),
        ("tasks", tasks),
    ];
    let counted = [
        // The look found the same number at the same time.
        (
            "alive tasks",
            runtime.alive_tasks.filter(|_| runtime.tasks.is_none()),
        ),
        ("global queue", runtime.global_queue_depth),
        ("spawned", runtime.spawned_tasks),
        ("blocking threads", runtime.blocking_threads),
        ("idle blocking threads", runtime.idle_blocking_threads),
        ("blocking queue", runtime.blocking_queue_depth),
        ("budget yields", runtime.budget_forced_yields),
    ];
    let counted = counted.map(|(key, count)| (key, count.map(|count| count.to_string())));
    let lines = known.into_iter().chain(counted);
    lines
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

/// A figure that only some builds of tokio have.
type Figure = fn(&WorkerPart) -> Option<u64>;

fn workers(writer: &mut impl Write, style: Style, workers: &[WorkerPart]) -> io::Result<()> {
    const NUMBER: Fit = Fit::Number;
    let unstable = |pick: Figure| workers.iter().any(|worker| pick(worker).is_some());
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
    let rows = workers.iter().enumerate().map(|(index, worker)| {
        let rates = worker.rates.as_ref();
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
