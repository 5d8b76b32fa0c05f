//! Faults of threads that are kept from doing their job.

use std::{collections::BTreeMap, time::Duration};

use rtops_protocol::{TaskKind, Thread};
use rtops_symbols::WaitReason;

use super::{
    Fault, Verdict, afterwards,
    facts::{Facts, is_asleep, thread_name},
    locks::Locks,
};
use crate::{
    format,
    group::TaskGroup,
    task::{State, Task},
    words,
};

/// The path of the function that a thread is inside while it drops a runtime.
const SHUTDOWN: &str = "tokio::runtime::blocking::shutdown::";
/// The paths of functions that every tokio worker is inside, whatever its runtime.
const WORKERS: [&str; 2] = [
    "tokio::runtime::scheduler::multi_thread::worker::",
    "tokio::runtime::scheduler::current_thread::",
];
/// The paths of functions that a thread is inside while it waits for a runtime's I/O and timers.
const DRIVERS: [&str; 2] = ["tokio::runtime::io::driver::", "mio::poll::"];
/// A worker hands its tasks to another thread before it blocks in this function.
const IN_PLACE: &str = "tokio::task::blocking::block_in_place";
/// Without a thread in the driver, nothing wakes tasks that wait for I/O or time.
const NOBODY_DRIVES: &str =
    "no thread waits for I/O and timers, so nothing else of this runtime goes on";
/// The effect of a blocked worker that holds up no task.
const NOBODY_STARVES: &str =
    "no task waits for its turn meanwhile; while it lasts, the runtime has a worker less";
/// A poll that lasts longer than this blocks its worker.
const LONG_POLL: Duration = Duration::from_secs(1);

/// Finds a thread that drops a runtime whose threads are busy.
pub(super) fn shutdown<'a>(facts: &mut Facts<'_, 'a>) -> Option<Verdict<'a>> {
    let waits = |thread: &&Thread| facts.is_in(facts.stack(thread), SHUTDOWN);
    let thread = facts.dump.threads.iter().find(waits)?;
    let mut tasks = facts.free_of(|group| {
        group.look.kind == TaskKind::BlockOn || matches!(group.look.state, State::Running { .. })
    });
    // The thread itself waits in the future of a channel.
    tasks.retain(|task| task.block_on() != Some(thread.tid));
    let threads = tasks
        .iter()
        .filter_map(|task| task.state.thread().or_else(|| task.block_on()));
    let mut threads: Vec<i32> = threads.collect();
    threads.sort_unstable();
    threads.dedup();
    if threads.is_empty() {
        return None;
    }
    let place = facts.frames.own_place(facts.stack(thread));
    let at = place.map_or_else(String::new, |place| format!(" at {place}"));
    let name = thread_name(thread);
    let busy = format::count(threads.len(), "thread");
    let does = if threads.len() == 1 { "does" } else { "do" };
    let mut verdict = Verdict::new(
        Fault::Shutdown,
        format!("{name} drops a runtime{at}, and waits for {busy} that {does} not end"),
    );
    verdict.evidence = facts.tasks(&tasks);
    threads.push(thread.tid);
    facts.take(&tasks, &threads);
    verdict.threads = threads;
    verdict.tasks = tasks;
    Some(verdict)
}

/// Finds polls that poll another future in a loop, as `block_on` does, with no
/// budget left for it to go on.
pub(super) fn spinning_on<'a>(facts: &mut Facts<'_, 'a>) -> Vec<Verdict<'a>> {
    let has_no_budget = |group: &&TaskGroup| {
        group.look.kind == TaskKind::BlockOn && group.waits() == [WaitReason::CoopBudget]
    };
    let mut verdicts = Vec::new();
    for future in facts.groups.iter().filter(has_no_budget) {
        let threads: Vec<i32> = future
            .tasks
            .iter()
            .filter_map(|task| task.block_on())
            .collect();
        let mut tasks = facts.free_of(|group| group.look.kind == TaskKind::Task);
        tasks.retain(|task| {
            let thread = task.state.thread();
            thread.is_some_and(|tid| threads.contains(&tid))
        });
        let Some(around) = tasks.first().and_then(|task| facts.group_of(task.key)) else {
            continue;
        };
        let mut verdict = Verdict::new(
            Fault::Livelock,
            format!(
                "{} blocks on a future that has no budget left in this poll, and is polled again \
                 and again",
                facts.group(around, tasks.len())
            ),
        );
        verdict
            .evidence
            .push(facts.group(future, future.tasks.len()));
        facts.take(&tasks, &threads);
        facts.take(&future.tasks, &[]);
        verdict.tasks = tasks;
        verdict.threads = threads;
        verdicts.push(verdict);
    }
    verdicts
}

/// Finds workers that are blocked inside a poll: for long, or without having run since the look, or
/// while tasks wait for their turn, or with no thread left to wait for I/O and timers, or for
/// something that their own task holds.
pub(super) fn blocked_workers<'a>(facts: &mut Facts<'_, 'a>) -> Vec<Verdict<'a>> {
    let workers = Workers::of(facts);
    let blocked = blocked(facts);
    let count = blocked.iter().map(|blocked| blocked.tasks.len()).sum();
    let nobody_drives = workers.is_stopped_by(count);
    let starving = starving(facts);
    let mut verdicts = Vec::new();
    for Blocked {
        group,
        why,
        tasks,
        holders,
        is_stuck,
        having,
        still,
    } in blocked
    {
        // The first worker of a circle was already reported with all others in it.
        if !tasks.iter().any(|task| facts.is_free(task)) {
            continue;
        }
        let since = tasks.iter().filter_map(|task| task.since()).max();
        let is_long = since.is_some_and(|since| since >= LONG_POLL);
        let is_its_own = |holder: &&Task| tasks.iter().any(|task| task.key == holder.key);
        let own = is_stuck && holders.iter().all(is_its_own);
        let still = still.filter(|_| workers.are_known());
        let is_long = is_long || still.is_some();
        if !is_long && starving.is_empty() && !nobody_drives && !is_stuck {
            continue;
        }
        // A holder that is running goes on without a driver.
        let are_suspended = holders.iter().all(|holder| holder.state.thread().is_none());
        let is_deadlock = is_stuck || (nobody_drives && !holders.is_empty() && are_suspended);
        let fault = if is_deadlock {
            Fault::Deadlock
        } else {
            Fault::BlockedWorker
        };
        let why = match still.filter(|_| since.is_none()) {
            Some(still) => format!(
                "{why}, and has not run for {} since",
                format::duration(still)
            ),
            None => why,
        };
        let sentence = blocked_sentence(facts, &workers, group, &tasks, &why);
        let mut verdict = Verdict::new(fault, sentence);
        if own {
            verdict
                .evidence
                .push("its own task has what it waits for, and is not polled".to_owned());
        } else if !holders.is_empty() {
            let holders = format::list(facts.tasks(&holders));
            verdict
                .evidence
                .push(format!("who has what it waits for: {holders}"));
        } else if !having.is_empty() {
            let having = having.iter().map(|thread| facts.thread(thread));
            let having = format::list(having.collect());
            verdict.evidence.push(format!(
                "who else has what it waits for in memory: {having}"
            ));
        }
        if !starving.is_empty() {
            let starving = format::list(facts.tasks(&starving));
            verdict
                .evidence
                .push(format!("woken, and not polled: {starving}"));
        }
        if nobody_drives {
            verdict.evidence.push(NOBODY_DRIVES.to_owned());
        } else if starving.is_empty() && fault == Fault::BlockedWorker {
            verdict.evidence.push(NOBODY_STARVES.to_owned());
        }
        verdict.threads = tasks
            .iter()
            .filter_map(|task| task.state.thread())
            .collect();
        facts.take(&tasks, &verdict.threads);
        facts.take(&holders, &[]);
        facts.take(&starving, &[]);
        verdict.victims.clone_from(&starving);
        let others: Vec<&Task> = holders.into_iter().filter(|one| !is_its_own(one)).collect();
        verdict.tasks = tasks;
        verdict.tasks.extend(others);
        verdicts.push(verdict);
    }
    verdicts
}

/// Tasks that block their threads at the same place.
struct Blocked<'f, 'a> {
    group: &'f TaskGroup<'a>,
    why: String,
    tasks: Vec<&'a Task>,
    /// The holders of what they wait for, as far as known.
    holders: Vec<&'a Task>,
    /// Whether none of the holders can release it.
    is_stuck: bool,
    /// Other threads that have its address in memory, one of which may hold it.
    having: Vec<&'a Thread>,
    /// How long their threads have not run since the look; `None` if one of them has.
    still: Option<Duration>,
}

fn blocked<'f, 'a>(facts: &Facts<'f, 'a>) -> Vec<Blocked<'f, 'a>> {
    let mut by_place: BTreeMap<(String, String), Blocked> = BTreeMap::new();
    let locks = Locks::of(facts);
    let groups = facts.groups.iter();
    for group in groups.filter(|group| group.look.kind == TaskKind::Task) {
        for task in facts.free(group) {
            let thread = task.state.thread().and_then(|tid| facts.dump.thread(tid));
            let Some(thread) = thread else { continue };
            let Some(why) = is_blocked(facts, group, task, thread) else {
                continue;
            };
            let still = afterwards::stood_still(thread);
            let place = (facts.group(group, 1), why.clone());
            let known = by_place.entry(place).or_insert_with(|| Blocked {
                group,
                why,
                tasks: Vec::new(),
                holders: Vec::new(),
                is_stuck: false,
                having: Vec::new(),
                still,
            });
            known.tasks.push(task);
            known.still = known.still.min(still);
            let lock = facts.lock_of(thread.tid);
            for other in lock.into_iter().flat_map(|lock| facts.threads_with(lock)) {
                if !known.having.iter().any(|one| one.tid == other.tid) {
                    known.having.push(other);
                }
            }
            known.is_stuck |= locks.is_stuck(task);
            for holder in locks.holders(task) {
                if !known.holders.iter().any(|one| one.key == holder.key) {
                    known.holders.push(holder);
                }
            }
        }
    }
    by_place.into_values().collect()
}

fn blocked_sentence(
    facts: &Facts,
    workers: &Workers,
    group: &TaskGroup,
    tasks: &[&Task],
    why: &str,
) -> String {
    let who = match (tasks.len(), workers.count) {
        (1, 1) => "the only worker is".to_owned(),
        (some, all) if some == all => format!("all {all} workers are"),
        (1, all) if all > 1 => format!("1 of {all} workers is"),
        (some, all) if all > some => format!("{some} of {all} workers are"),
        (1, _) => "a thread is".to_owned(),
        (some, _) => format!("{some} threads are"),
    };
    let at = facts
        .place(group)
        .map_or_else(String::new, |place| format!(" at {place}"));
    let since = tasks.iter().filter_map(|task| task.since()).max();
    let time = since.map_or_else(String::new, |since| {
        format!(" for {}", format::duration(since))
    });
    format!(
        "{who} blocked inside a poll of {}{at}{time}: {why}",
        words::called(group)
    )
}

/// Returns why a thread is blocked inside the poll of a task; `None` if it is not, or may not be.
fn is_blocked(facts: &Facts, group: &TaskGroup, task: &Task, thread: &Thread) -> Option<String> {
    let links = group.chains.iter().flat_map(|chain| &chain.links);
    let links: Vec<_> = links.copied().collect();
    if !facts.is_free_thread(thread.tid) || facts.is_in(&links, IN_PLACE) {
        return None;
    }
    let is_long = task.since().is_some_and(|since| since >= LONG_POLL);
    if is_asleep(thread) {
        // It was passing through the kernel, or waited only for a moment.
        if !is_long && afterwards::has_gone_on(thread) {
            return None;
        }
        return Some(match facts.wait_of(thread) {
            Some(wait) => format!("it waits ({wait})"),
            None => "it waits in the kernel".to_owned(),
        });
    }
    is_long.then(|| match afterwards::has_used([thread]) {
        Some(used) => format!("it computes, and {used}"),
        None => "it computes".to_owned(),
    })
}

/// Returns the tasks that could go on if a thread polled them.
fn starving<'a>(facts: &Facts<'_, 'a>) -> Vec<&'a Task> {
    facts.free_of(|group| {
        group.look.kind == TaskKind::Task
            && matches!(group.look.state, State::Woken | State::Starved)
    })
}

/// The threads that poll tokio's tasks.
struct Workers {
    count: usize,
    /// Whether one of them, or a thread that helps out, waits for I/O and timers.
    has_driver: bool,
    /// Whether one of them, or another thread that may drive them, computes.
    has_running: bool,
}

impl Workers {
    fn of(facts: &Facts) -> Self {
        let is_in = |thread: &Thread, functions: &[&str]| {
            let links = facts.stack(thread);
            functions
                .iter()
                .any(|function| facts.is_in(links, function))
        };
        let threads = || facts.dump.threads.iter();
        Self {
            count: threads().filter(|thread| is_in(thread, &WORKERS)).count(),
            has_driver: threads().any(|thread| is_in(thread, &DRIVERS)),
            has_running: threads().any(|thread| !is_asleep(thread)),
        }
    }

    /// Whether workers are known: without names they can't be told from threads that poll a task
    /// outside of any worker, as in `block_in_place`.
    const fn are_known(&self) -> bool {
        self.count > 0
    }

    /// Whether this many blocked workers are all, and no other thread waits for I/O and timers.
    const fn is_stopped_by(&self, blocked: usize) -> bool {
        self.are_known()
            && blocked > 0
            && blocked >= self.count
            && !self.has_driver
            && !self.has_running
    }
}
