//! What `rtops stats` shows of a process: what its agent counts, what the kernel knows, and what a look at its
//! memory tells. JSON is this view; `text` prints it. `docs/operate/json.md` describes every field.

mod text;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use rtops_protocol::{Runtime, RuntimeFlavor};
use rtops_render::json::{
    self,
    stack::{CorePart, OutsidePart, outside_part},
    verdicts::VerdictsPart,
};
use rtops_report::{
    census::{Census, Kept, OfType, kept_by_type},
    runtimes::{self, CURRENT_THREAD, MULTI_THREAD, SeenRuntime},
    view,
};
use rtops_types::Pid;
use serde::Serialize;

use super::figures_json::FiguresPart;
use crate::{
    proc::Details,
    watch::sample::{Change, Sample, WorkerRates, alive_tasks, longest_poll_ns},
};

pub use text::{called, files, text, threads};

/// Two samples of a live process, and what else is asked for once.
#[derive(Debug)]
pub struct Live {
    pub earlier: Sample,
    pub now: Sample,
    pub details: Details,
}

/// What memory tells of a process, in the words of `rtops stack`.
#[derive(Debug)]
pub struct Seen<'a> {
    pub stack: view::View<'a>,
    pub census: Census,
    pub runtimes: Vec<SeenRuntime>,
    /// Ended tasks that their join handles keep, by type.
    pub kept: Vec<Kept>,
}

impl<'a> Seen<'a> {
    /// Counts what a view of all of a process shows.
    pub fn of(stack: view::View<'a>) -> Self {
        Self {
            census: Census::of(stack.tasks.as_deref().unwrap_or_default()),
            runtimes: runtimes::of(stack.dump, stack.frames),
            kept: kept_by_type(stack.dump, stack.frames),
            stack,
        }
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct View<'a, 'd> {
    schema: u32,
    process: ProcessPart<'a>,
    /// Absent where the process was not looked at.
    #[serde(flatten)]
    look: Option<LookPart<'a>>,
    /// Why it was not, if there is more to it than that nobody asked.
    look_missing: Option<&'a str>,
    tasks: TasksPart,
    runtimes: Vec<RuntimePart<'a>>,
    /// What the text says in the words of `rtops stack`.
    #[serde(skip)]
    seen: Option<&'a Seen<'d>>,
}

#[derive(Debug, Serialize)]
struct ProcessPart<'a> {
    name: &'a str,
    agent_version: Option<&'a str>,
    #[serde(flatten)]
    figures: Figures<'a>,
    cpu_share_now: Option<f64>,
    #[serde(flatten)]
    details: Option<&'a Details>,
}

/// What is known of a process that runs, or of one that ended.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Figures<'a> {
    Live(FiguresPart<'a>),
    Ended { pid: Pid, threads: usize },
}

#[derive(Debug, Serialize)]
struct LookPart<'a> {
    complete: bool,
    gaps: &'a [String],
    core: Option<CorePart<'a>>,
    outside: Option<OutsidePart<'a>>,
    /// Absent where nobody judged.
    verdicts: Option<VerdictsPart<'a>>,
    types: &'a [OfType],
    kept: &'a [Kept],
}

/// How many tasks there are. The first ones are known by a look, the others by an agent.
#[derive(Debug, Default, Serialize)]
struct TasksPart {
    total: Option<usize>,
    blocking: Option<usize>,
    block_on: Option<usize>,
    untracked: Option<usize>,
    ended_kept: Option<usize>,
    tracked: Option<u64>,
    alive: Option<u64>,
    spans: Option<u64>,
    running: Option<u64>,
    longest_poll_ns: Option<u64>,
    spawned: Option<u64>,
    finished: Option<u64>,
    polls: Option<u64>,
    spawned_per_second: Option<f64>,
    finished_per_second: Option<f64>,
    polls_per_second: Option<f64>,
}

/// A runtime. The first figures are known by a look, the others by an agent.
#[derive(Debug, Default, Serialize)]
struct RuntimePart<'a> {
    name: Option<&'a str>,
    flavor: Option<&'static str>,
    tasks: Option<usize>,
    running: Option<usize>,
    woken: Option<usize>,
    /// Its workers by their names.
    worker_threads: Option<&'a BTreeMap<String, usize>>,
    alive_tasks: Option<u64>,
    global_queue_depth: Option<u64>,
    spawned_tasks: Option<u64>,
    blocking_threads: Option<u64>,
    idle_blocking_threads: Option<u64>,
    blocking_queue_depth: Option<u64>,
    budget_forced_yields: Option<u64>,
    workers: Option<Vec<WorkerPart>>,
}

#[derive(Debug, Serialize)]
struct WorkerPart {
    busy_ns: u64,
    parks: u64,
    queue_depth: Option<u64>,
    polls: Option<u64>,
    steals: Option<u64>,
    #[serde(flatten)]
    rates: Option<WorkerRates>,
}

impl<'a, 'd> View<'a, 'd> {
    /// All that is known of a process: `live` of one that runs, `seen` of one that was looked at.
    pub fn of(
        live: Option<&'a Live>,
        seen: Option<&'a Seen<'d>>,
        look_missing: Option<&'a str>,
    ) -> Self {
        Self {
            schema: json::SCHEMA,
            process: ProcessPart::of(live, seen),
            look: seen.map(LookPart::of),
            look_missing,
            tasks: TasksPart::of(live, seen),
            runtimes: all_runtimes(live, seen),
            seen,
        }
    }
}

/// Prints the view as one document.
pub fn json(writer: &mut impl Write, view: &View<'_, '_>) -> io::Result<()> {
    json::write(writer, view)
}

impl<'a> ProcessPart<'a> {
    fn of(live: Option<&'a Live>, seen: Option<&'a Seen<'_>>) -> Self {
        let agent = live.and_then(|live| live.now.agent.as_ref());
        let figures = live.map(|live| Figures::Live(FiguresPart::of(&live.now.figures)));
        let stack = seen.map(|seen| &seen.stack);
        Self {
            name: match (live, stack) {
                (Some(live), _) => live.now.name(),
                (None, Some(stack)) => stack.name,
                (None, None) => "",
            },
            agent_version: agent.map(|agent| &*agent.hello.agent_version),
            figures: figures.unwrap_or_else(|| Figures::Ended {
                pid: stack.map_or(Pid::new(0), |stack| stack.pid),
                threads: stack.map_or(0, |stack| stack.dump.threads.len()),
            }),
            cpu_share_now: live.map(|live| live.change().cpu_share()),
            details: live.map(|live| &live.details),
        }
    }
}

impl Live {
    /// What changed between the samples.
    const fn change(&self) -> Change<'_> {
        Change {
            earlier: &self.earlier,
            now: &self.now,
        }
    }
}

impl<'a> LookPart<'a> {
    fn of(seen: &'a Seen<'_>) -> Self {
        let dump = seen.stack.dump;
        let verdicts = seen.stack.verdicts.as_ref();
        Self {
            complete: dump.gaps.is_empty(),
            gaps: &dump.gaps,
            core: CorePart::of(dump, seen.stack.frames),
            outside: outside_part(dump),
            verdicts: verdicts.map(|judged| VerdictsPart::of(dump, judged)),
            types: &seen.census.by_type,
            kept: &seen.kept,
        }
    }
}

impl TasksPart {
    fn of(live: Option<&Live>, seen: Option<&Seen<'_>>) -> Self {
        let mut part = Self::default();
        if let Some(seen) = seen {
            let count = seen.census.count;
            part.total = Some(count.total());
            part.blocking = Some(count.blocking);
            part.block_on = Some(count.block_on);
            part.untracked = Some(seen.census.untracked);
            part.ended_kept = Some(seen.kept.iter().map(|kept| kept.count).sum());
        }
        let Some((live, now)) = live.and_then(|live| Some((live, live.now.stats()?))) else {
            return part;
        };
        let change = live.change();
        Self {
            tracked: Some(now.tracked_tasks),
            alive: alive_tasks(&now.runtimes),
            spans: Some(now.tracked_spans),
            running: Some(now.running),
            longest_poll_ns: longest_poll_ns(now),
            spawned: Some(now.spawned),
            finished: Some(now.finished),
            polls: Some(now.polls),
            spawned_per_second: change.rate(|stats| stats.spawned),
            finished_per_second: change.rate(|stats| stats.finished),
            polls_per_second: change.rate(|stats| stats.polls),
            ..part
        }
    }
}

/// The runtimes that the agent knows, with what a look shows of them, then the others.
fn all_runtimes<'a>(live: Option<&'a Live>, seen: Option<&'a Seen<'_>>) -> Vec<RuntimePart<'a>> {
    let mut others: Vec<&SeenRuntime> = seen.iter().flat_map(|seen| &seen.runtimes).collect();
    let mut all = Vec::new();
    let known: &[Runtime] = live.map_or(&[], |live| live.now.runtimes());
    for (index, told) in known.iter().enumerate() {
        let seen = place_of(told, known, &others).map(|place| others.remove(place));
        let rates = live.and_then(|live| live.change().workers(index));
        all.push(RuntimePart::of(Some((told, rates)), seen));
    }
    all.extend(
        others
            .into_iter()
            .map(|seen| RuntimePart::of(None, Some(seen))),
    );
    all
}

/// Which of the runtimes that were seen one is that the agent knows: the one whose tasks say so, else the only
/// one that is like it.
fn place_of(told: &Runtime, known: &[Runtime], seen: &[&SeenRuntime]) -> Option<usize> {
    let is_named = |seen: &&SeenRuntime| seen.name.as_ref() == Some(&told.name);
    if let Some(place) = seen.iter().position(is_named) {
        return Some(place);
    }
    let is_like = |told: &Runtime, seen: &SeenRuntime| {
        let workers: usize = seen.worker_threads.values().sum();
        seen.name.is_none()
            && seen.flavor == Some(flavor(told.flavor))
            && workers == told.workers.len()
    };
    let mut places = (0..seen.len()).filter(|place| {
        let seen = seen.get(*place);
        seen.is_some_and(|seen| is_like(told, seen))
    });
    let place = places.next().filter(|_| places.next().is_none())?;
    let seen = seen.get(place)?;
    let likes = known.iter().filter(|told| is_like(told, seen));
    (likes.count() == 1).then_some(place)
}

impl<'a> RuntimePart<'a> {
    fn of(
        told: Option<(&'a Runtime, Option<Vec<WorkerRates>>)>,
        seen: Option<&'a SeenRuntime>,
    ) -> Self {
        let mut part = Self::default();
        if let Some(seen) = seen {
            part.name = seen.name.as_deref();
            part.flavor = seen.flavor;
            part.tasks = Some(seen.tasks);
            part.running = Some(seen.running);
            part.woken = Some(seen.woken);
            part.worker_threads = (!seen.worker_threads.is_empty()).then_some(&seen.worker_threads);
        }
        let Some((told, rates)) = told else {
            return part;
        };
        let mut rates = rates.unwrap_or_default().into_iter();
        let workers = told.workers.iter().map(|worker| WorkerPart {
            busy_ns: worker.busy_ns,
            parks: worker.parks,
            queue_depth: worker.queue_depth,
            polls: worker.polls,
            steals: worker.steals,
            rates: rates.next(),
        });
        Self {
            name: Some(&told.name),
            flavor: Some(flavor(told.flavor)),
            alive_tasks: Some(told.alive_tasks),
            global_queue_depth: Some(told.global_queue_depth),
            spawned_tasks: told.spawned_tasks,
            blocking_threads: told.blocking_threads,
            idle_blocking_threads: told.idle_blocking_threads,
            blocking_queue_depth: told.blocking_queue_depth,
            budget_forced_yields: told.budget_forced_yields,
            workers: Some(workers.collect()),
            ..part
        }
    }
}

/// The scheduler in words.
const fn flavor(flavor: RuntimeFlavor) -> &'static str {
    match flavor {
        RuntimeFlavor::CurrentThread => CURRENT_THREAD,
        RuntimeFlavor::MultiThread => MULTI_THREAD,
        RuntimeFlavor::Other => "other",
    }
}
