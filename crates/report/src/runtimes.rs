//! tokio's runtimes as found in memory, whether or not an agent knows them.

use std::collections::{BTreeMap, HashMap, HashSet};

use rtops_protocol::OnRuntime;
use serde::Serialize;

use crate::{
    dump::{Dump, leaf_of},
    frames::Frames,
    task::State,
};

/// The path of functions that show that a thread is a worker of a multi-thread runtime.
const WORKER: &str = "tokio::runtime::scheduler::multi_thread::worker::";
/// Paths of functions on a thread's stack that show another scheduler, and the word for it.
const OTHERS: [(&str, &str); 2] = [
    ("tokio::task::local::", "local set"),
    (
        "tokio::runtime::scheduler::current_thread::",
        CURRENT_THREAD,
    ),
];

/// The word for a scheduler with a pool of workers.
pub const MULTI_THREAD: &str = "multi thread";
/// The word for a scheduler on the thread that is inside `block_on`.
pub const CURRENT_THREAD: &str = "current thread";

/// A runtime, or a set of local tasks, that has tasks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SeenRuntime {
    /// The agent's name for it.
    pub name: Option<String>,
    /// How it schedules, if a thread shows it.
    pub flavor: Option<&'static str>,
    /// The names of its workers, with the number of workers for each.
    pub worker_threads: BTreeMap<String, usize>,
    /// The number of its tasks that have not ended.
    pub tasks: usize,
    /// How many of them are inside a poll.
    pub running: usize,
    /// How many of them wait for their turn.
    pub woken: usize,
}

/// Returns the runtimes of a dump, the one with the most tasks first.
#[must_use]
pub fn of(dump: &Dump, frames: &Frames) -> Vec<SeenRuntime> {
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut seen: Vec<SeenRuntime> = Vec::new();
    for (number, runtime) in dump.runtimes.iter().enumerate() {
        numbers.extend(runtime.cells.iter().map(|cell| (*cell, number)));
        seen.push(of_one(dump, frames, runtime));
    }
    let mut counted = HashSet::new();
    for task in &dump.tasks {
        let cell = task.memory().and_then(|memory| memory.cell);
        let Some((cell, number)) = cell.and_then(|cell| Some((cell, numbers.get(&cell)?))) else {
            continue;
        };
        let Some(runtime) = seen.get_mut(*number) else {
            continue;
        };
        let name = task.tracked().and_then(|told| dump.string(told.runtime));
        if runtime.name.is_none() {
            runtime.name = name.map(str::to_owned);
        }
        // Several tracked futures may be parts of one task.
        if counted.insert(cell) {
            match task.state {
                State::Running { .. } => runtime.running += 1,
                State::Woken | State::Starved | State::New => runtime.woken += 1,
                _ => {}
            }
        }
    }
    seen.sort_by_key(|runtime| std::cmp::Reverse(runtime.tasks));
    seen
}

fn of_one(dump: &Dump, frames: &Frames, runtime: &OnRuntime) -> SeenRuntime {
    let mut flavor = None;
    let mut worker_threads: BTreeMap<String, usize> = BTreeMap::new();
    for tid in &runtime.threads {
        let thread = dump.thread(*tid);
        let Some((thread, leaf)) = thread.and_then(|thread| Some((thread, leaf_of(thread)?)))
        else {
            continue;
        };
        let links = frames.stack(leaf.stack);
        let is_in = |function: &str| {
            let mut frames = frames.of_links(links);
            frames.any(|frame| frame.name.starts_with(function))
        };
        let others = || OTHERS.iter().filter(|(function, _)| is_in(function));
        let word = match is_in(WORKER) {
            true => Some(MULTI_THREAD),
            // A set of local tasks is also on the stack of the runtime that polls it.
            false => others()
                .next()
                .map(|(_, word)| *word)
                .filter(|_| others().count() == 1),
        };
        if word.is_none() && others().next().is_none() {
            continue;
        }
        flavor = flavor.or(word);
        *worker_threads
            .entry(thread.name.clone().unwrap_or_default())
            .or_default() += 1;
    }
    SeenRuntime {
        name: None,
        flavor,
        worker_threads,
        tasks: runtime.cells.len(),
        running: 0,
        woken: 0,
    }
}
