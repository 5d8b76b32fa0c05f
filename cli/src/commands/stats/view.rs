//! What `rtops stats` shows: what the agent counts, what the kernel knows, and what a look at
//! memory shows. JSON is this view; `text` prints it. `docs/operate/json.md` describes every field.

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
    census::{Kept, OfType},
    runtimes::{CURRENT_THREAD, MULTI_THREAD, SeenRuntime},
};
use rtops_types::Pid;
use serde::Serialize;

use crate::{
    commands::parts::FiguresPart,
    proc::Details,
    watch::{
        look::Seen,
        sample::{Change, Sample, WorkerRates, alive_tasks, longest_poll_ns},
    },
};

/// Two samples of a live process, and what else is asked for once.
#[derive(Debug)]
pub struct Live {
    pub earlier: Sample,
    pub now: Sample,
    pub details: Details,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub struct View<'a, 'd> {
    pub schema: u32,
    pub process: ProcessPart<'a>,
    /// Absent if the process was not looked at.
    #[serde(flatten)]
    pub look: Option<LookPart<'a>>,
    /// Why it was not, unless nobody asked.
    pub look_missing: Option<&'a str>,
    pub tasks: TasksPart,
    pub runtimes: Vec<RuntimePart<'a>>,
    /// What the text says in the words of `rtops stack`.
    #[serde(skip)]
    pub seen: Option<&'a Seen<'d>>,
}

#[derive(Debug, Serialize)]
pub struct ProcessPart<'a> {
    pub name: &'a str,
    pub agent_version: Option<&'a str>,
    #[serde(flatten)]
    pub figures: Figures<'a>,
    pub cpu_share_now: Option<f64>,
    #[serde(flatten)]
    pub details: Option<&'a Details>,
}

/// The figures of a live process, or of one that has ended.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Figures<'a> {
    Live(FiguresPart<'a>),
    Ended { pid: Pid, threads: usize },
}

#[derive(Debug, Serialize)]
pub struct LookPart<'a> {
    pub complete: bool,
    pub gaps: &'a [String],
    pub core: Option<CorePart<'a>>,
    pub outside: Option<OutsidePart<'a>>,
    /// Absent if nothing was judged.
    pub verdicts: Option<VerdictsPart<'a>>,
    pub types: &'a [OfType],
    pub kept: &'a [Kept],
}

/// How many tasks there are. The first fields come from a look, the others from an agent.
#[derive(Debug, Default, Serialize)]
pub struct TasksPart {
    pub total: Option<usize>,
    pub blocking: Option<usize>,
    pub block_on: Option<usize>,
    pub untracked: Option<usize>,
    pub ended_kept: Option<usize>,
    pub tracked: Option<u64>,
    pub alive: Option<u64>,
    pub spans: Option<u64>,
    pub running: Option<u64>,
    pub longest_poll_ns: Option<u64>,
    pub spawned: Option<u64>,
    pub finished: Option<u64>,
    pub polls: Option<u64>,
    pub spawned_per_second: Option<f64>,
    pub finished_per_second: Option<f64>,
    pub polls_per_second: Option<f64>,
}

/// A runtime. The first fields come from a look, the others from an agent.
#[derive(Debug, Default, Serialize)]
pub struct RuntimePart<'a> {
    pub name: Option<&'a str>,
    pub flavor: Option<&'static str>,
    pub tasks: Option<usize>,
    pub running: Option<usize>,
    pub woken: Option<usize>,
    /// Its workers by name.
    pub worker_threads: Option<&'a BTreeMap<String, usize>>,
    pub alive_tasks: Option<u64>,
    pub global_queue_depth: Option<u64>,
    pub spawned_tasks: Option<u64>,
    pub blocking_threads: Option<u64>,
    pub idle_blocking_threads: Option<u64>,
    pub blocking_queue_depth: Option<u64>,
    pub budget_forced_yields: Option<u64>,
    pub workers: Option<Vec<WorkerPart>>,
}

#[derive(Debug, Serialize)]
pub struct WorkerPart {
    pub busy_ns: u64,
    pub parks: u64,
    pub queue_depth: Option<u64>,
    pub polls: Option<u64>,
    pub steals: Option<u64>,
    #[serde(flatten)]
    pub rates: Option<WorkerRates>,
}

impl<'a, 'd> View<'a, 'd> {
    /// Combines what is known about a process: `live` if it runs, `seen` if it was looked at.
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
    /// Returns what changed between the samples.
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

/// Returns the runtimes that the agent knows, with what a look shows of them, then the others.
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

/// Finds the runtime that the agent knows as `told` among those that a look has seen: the one whose
/// tasks name it, else the only one that is like it.
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

/// Names the scheduler.
const fn flavor(flavor: RuntimeFlavor) -> &'static str {
    match flavor {
        RuntimeFlavor::CurrentThread => CURRENT_THREAD,
        RuntimeFlavor::MultiThread => MULTI_THREAD,
        RuntimeFlavor::Other => "other",
    }
}
