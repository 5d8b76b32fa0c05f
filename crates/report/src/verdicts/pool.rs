//! The fault of a blocking pool whose threads are all taken.

use std::collections::HashSet;

use rtops_protocol::{TaskKind, Thread};

use super::{Fault, Verdict, facts::Facts};
use crate::{
    format,
    task::{State, Task},
};

/// The function that a thread of a blocking pool runs.
const POOL: &str = "tokio::runtime::blocking::pool::Inner::run";
/// The path of the functions with which such a thread runs a closure.
const CLOSURE: &str = "tokio::runtime::blocking::task::";

/// Finds closures that are queued while all threads of the pool are taken.
pub(super) fn full<'a>(facts: &mut Facts<'_, 'a>) -> Option<Verdict<'a>> {
    let closures = |is_one: fn(State) -> bool| {
        facts.free_of(|group| group.look.kind == TaskKind::Blocking && is_one(group.look.state))
    };
    let queued = closures(|state| state == State::Queued);
    let running = closures(|state| matches!(state, State::Running { .. }));
    if queued.is_empty() || running.is_empty() || has_idle_thread(facts) {
        return None;
    }
    let threads: Vec<i32> = running
        .iter()
        .filter_map(|task| task.state.thread())
        .collect();
    let inside = futures_inside(facts, &threads);
    let waits_for_pool = waits_for(&inside, &queued);
    let all = running.len();
    let mut verdict = Verdict::new(
        if waits_for_pool == all {
            Fault::Deadlock
        } else {
            Fault::BlockingPool
        },
        if waits_for_pool == all {
            format!(
                "the blocking pool is full of what waits for it: all {all} threads wait for closures \
                 of the same pool, and {} in its queue",
                format::is(queued.len(), "closure"),
            )
        } else {
            format!(
                "the blocking pool is full: all {all} threads run closures, and {} in its queue",
                format::is(queued.len(), "closure")
            )
        },
    );
    verdict.evidence = facts.tasks(&running);
    verdict.evidence.extend(facts.tasks(&inside));
    verdict.victims = awaiting(facts, &running, &queued);
    facts.take(&running, &threads);
    facts.take(&queued, &[]);
    facts.take(&inside, &[]);
    facts.take(&verdict.victims, &[]);
    verdict.victims.extend(queued);
    verdict.tasks = running;
    verdict.threads = threads;
    Some(verdict)
}

/// Whether a thread of a pool is idle, and may be about to take a queued closure.
fn has_idle_thread(facts: &Facts) -> bool {
    let is_idle = |thread: &Thread| {
        let links = facts.stack(thread);
        facts.is_in(links, POOL) && !facts.is_in(links, CLOSURE)
    };
    facts.dump.threads.iter().any(is_idle)
}

/// Returns the futures that these threads poll inside `block_on`.
fn futures_inside<'a>(facts: &Facts<'_, 'a>, threads: &[i32]) -> Vec<&'a Task> {
    let mut futures = facts.free_of(|group| group.look.kind == TaskKind::BlockOn);
    futures.retain(|task| task.block_on().is_some_and(|tid| threads.contains(&tid)));
    futures
}

/// Returns how many of `tasks` await the end of one of `awaited`.
fn waits_for(tasks: &[&Task], awaited: &[&Task]) -> usize {
    let cells = cells(awaited);
    let tasks = tasks.iter();
    tasks.filter(|task| awaits_one(task, &cells)).count()
}

fn cells(tasks: &[&Task]) -> HashSet<u64> {
    let tasks = tasks.iter();
    tasks.filter_map(|task| task.memory()?.cell).collect()
}

fn awaits_one(task: &Task, cells: &HashSet<u64>) -> bool {
    let leaves = task.memory().map_or(&[][..], |memory| &memory.leaves);
    let mut awaited = leaves.iter().filter_map(|place| place.awaits);
    awaited.any(|cell| cells.contains(&cell))
}

/// Returns the tasks that await the end of closures that run or are queued.
fn awaiting<'a>(facts: &Facts<'_, 'a>, running: &[&Task], queued: &[&Task]) -> Vec<&'a Task> {
    let mut all = cells(running);
    all.extend(cells(queued));
    let mut tasks = facts.free_of(|group| group.look.kind == TaskKind::Task);
    tasks.retain(|task| awaits_one(task, &all));
    tasks
}
