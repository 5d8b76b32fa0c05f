//! The counters of one process as JSON; `docs/operate/json.md` describes every field.

use std::io::{self, Write};

use rtops_protocol::Runtime;
use rtops_render::json::{
    self,
    stack::{CorePart, OutsidePart, Process, outside_part},
};
use rtops_report::census::{Census, Kept};
use serde::Serialize;

use super::{
    figures_json::FiguresPart,
    stats::{ImageReport, Report, flavor},
};
use crate::{
    proc::Details,
    watch::sample::{WorkerRates, alive_tasks},
};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: ProcessPart<'a>,
    tasks: TasksPart,
    /// Absent where they were not counted.
    untracked: Option<&'a Census>,
    /// Why not, if there is more to it than that nobody asked.
    untracked_missing: Option<&'a str>,
    runtimes: Vec<RuntimePart<'a>>,
}

#[derive(Serialize)]
struct ProcessPart<'a> {
    name: &'a str,
    agent_version: &'a str,
    #[serde(flatten)]
    figures: FiguresPart<'a>,
    cpu_share_now: f64,
    #[serde(flatten)]
    details: &'a Details,
}

#[derive(Serialize)]
struct TasksPart {
    tracked: u64,
    alive: Option<u64>,
    spans: u64,
    running: u64,
    longest_poll_ns: Option<u64>,
    spawned: u64,
    finished: u64,
    polls: u64,
    spawned_per_second: f64,
    finished_per_second: f64,
    polls_per_second: f64,
}

#[derive(Serialize)]
struct RuntimePart<'a> {
    name: &'a str,
    flavor: &'static str,
    alive_tasks: u64,
    global_queue_depth: u64,
    spawned_tasks: Option<u64>,
    blocking_threads: Option<u64>,
    idle_blocking_threads: Option<u64>,
    blocking_queue_depth: Option<u64>,
    budget_forced_yields: Option<u64>,
    workers: Vec<WorkerPart>,
}

#[derive(Serialize)]
struct WorkerPart {
    busy_ns: u64,
    parks: u64,
    queue_depth: Option<u64>,
    polls: Option<u64>,
    steals: Option<u64>,
    #[serde(flatten)]
    rates: Option<WorkerRates>,
}

#[derive(Serialize)]
struct ImageDocument<'a> {
    schema: u32,
    process: Process<'a>,
    complete: bool,
    gaps: &'a [String],
    core: Option<CorePart<'a>>,
    outside: Option<OutsidePart<'a>>,
    untracked: &'a Census,
    blocking: usize,
    kept: &'a [Kept],
    threads: usize,
}

/// Prints what the memory of a process tells as one document.
pub fn image(writer: &mut impl Write, report: &ImageReport<'_>) -> io::Result<()> {
    let dump = report.dump;
    let document = ImageDocument {
        schema: json::SCHEMA,
        process: Process::without_agent(report.pid, report.name),
        complete: dump.gaps.is_empty(),
        gaps: &dump.gaps,
        core: CorePart::of(dump, report.frames),
        outside: outside_part(dump),
        untracked: &report.census,
        blocking: report.blocking(),
        kept: &report.kept,
        threads: dump.threads.len(),
    };
    json::write(writer, &document)
}

/// Prints totals and rates as one document.
pub fn json(writer: &mut impl Write, report: &Report) -> io::Result<()> {
    let (change, now) = (report.change(), &report.now.stats);
    let process = ProcessPart {
        name: &now.name,
        agent_version: &report.now.hello.agent_version,
        figures: FiguresPart::of(&report.now.figures),
        cpu_share_now: change.cpu_share(),
        details: &report.details,
    };
    let tasks = TasksPart {
        tracked: now.tracked_tasks,
        alive: alive_tasks(now),
        spans: now.tracked_spans,
        running: now.running,
        longest_poll_ns: (now.running > 0).then_some(now.longest_poll_ns),
        spawned: now.spawned,
        finished: now.finished,
        polls: now.polls,
        spawned_per_second: change.rate(|stats| stats.spawned),
        finished_per_second: change.rate(|stats| stats.finished),
        polls_per_second: change.rate(|stats| stats.polls),
    };
    let runtimes = now.runtimes.iter().enumerate();
    json::write(
        writer,
        &Document {
            schema: json::SCHEMA,
            process,
            tasks,
            untracked: report.untracked.counted(),
            untracked_missing: report.untracked.missing(),
            runtimes: runtimes
                .map(|(index, runtime)| runtime_part(report, index, runtime))
                .collect(),
        },
    )
}

fn runtime_part<'a>(report: &Report, index: usize, runtime: &'a Runtime) -> RuntimePart<'a> {
    let mut rates = report
        .change()
        .workers(index)
        .unwrap_or_default()
        .into_iter();
    let workers = runtime.workers.iter().map(|worker| WorkerPart {
        busy_ns: worker.busy_ns,
        parks: worker.parks,
        queue_depth: worker.queue_depth,
        polls: worker.polls,
        steals: worker.steals,
        rates: rates.next(),
    });
    RuntimePart {
        name: &runtime.name,
        flavor: flavor(runtime.flavor),
        alive_tasks: runtime.alive_tasks,
        global_queue_depth: runtime.global_queue_depth,
        spawned_tasks: runtime.spawned_tasks,
        blocking_threads: runtime.blocking_threads,
        idle_blocking_threads: runtime.idle_blocking_threads,
        blocking_queue_depth: runtime.blocking_queue_depth,
        budget_forced_yields: runtime.budget_forced_yields,
        workers: workers.collect(),
    }
}
