//! Combines what an agent reports about a process with what was read of it from outside.
//!
//! The process was stopped first; its agent was asked a moment later. What was read
//! shows all of tokio's tasks at one instant. What an agent reports about a task, such
//! as name, age and parent, belongs to the task in whose memory the agent's own record
//! is found, or to which its waker points.

use std::{
    collections::{HashMap, HashSet},
    slice,
    time::Duration,
};

use rtops_protocol::{CLIENT_THREAD, FoundBy, TaskKind, Thread, ThreadCapture, WakerState};

use self::parts::Parts;
use crate::task::{MAX_NESTING, Memory, Origin, State, Task, TaskKey, Untracked};

mod parts;

/// Returns the tracked tasks, with what was read of them, followed by the untracked ones, all as
/// they were when the process stood still. `told_after` is how much later the agent answered.
pub(crate) fn tasks(all: Vec<Task>, told_after: Duration) -> Vec<Task> {
    let (mut tracked, found): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|task| task.tracked().is_some());
    tracked.retain(|task| task.tracked().is_none_or(|told| told.age >= told_after));
    for task in &mut tracked {
        if let Origin::Tracked(told) = &mut task.origin {
            told.has_moved = told.since < told_after;
        }
    }
    let cells = found.iter().filter_map(|task| task.memory()?.cell);
    let index = Index::of(&tracked, &cells.collect());
    let mut parts = Parts::of(&tracked);
    let mut others = Vec::new();
    for found in found {
        let places = index.of_found(&found);
        if places.is_empty() {
            others.push(found);
            continue;
        }
        parts.add(&found, places);
        // A trace does not show which part of the poll belongs to which of several tracked futures.
        if let [place] = places
            && let Some(task) = tracked.get_mut(*place)
        {
            let kept = parts.wakers_kept(&found);
            add(task, found, kept);
        }
    }
    parts.give(&mut tracked);
    tracked.extend(others);
    tracked
}

/// Returns the numbers of the tracked tasks for which memory does not show where they
/// wait, and of the spans inside them.
pub(crate) fn unread(tasks: &[Task]) -> Vec<u64> {
    let is_span = |task: &&Task| task.kind == TaskKind::Span;
    let is_unread = |task: &&Task| !is_span(task) && task.is_unread();
    let mut unread: HashSet<TaskKey> = tasks.iter().filter(is_unread).map(|it| it.key).collect();
    if unread.is_empty() {
        return Vec::new();
    }
    for _ in 0..MAX_NESTING {
        let is_inside = |task: &&Task| task.parent().is_some_and(|it| unread.contains(&it));
        let spans = tasks.iter().filter(is_span).filter(is_inside);
        let spans: Vec<TaskKey> = spans.map(|span| span.key).collect();
        let before = unread.len();
        unread.extend(spans);
        if unread.len() == before {
            break;
        }
    }
    let numbers = tasks.iter().filter(|task| unread.contains(&task.key));
    numbers
        .filter_map(|task| Some(task.tracked()?.id))
        .collect()
}

/// Adds to a thread what an agent reports about it; `None` if it serves the agent's clients.
pub(crate) fn thread(agents: &HashMap<i32, Thread>, read: Thread) -> Option<Thread> {
    let Some(told) = agents.get(&read.tid) else {
        let serves = read.name.as_deref() == Some(CLIENT_THREAD);
        return (!serves).then_some(read);
    };
    let is_there_still = told.syscall == read.syscall;
    Some(Thread {
        name: read.name.or_else(|| told.name.clone()),
        state: read.state.or(told.state.filter(|_| is_there_still)),
        wchan: told.wchan.clone().filter(|_| is_there_still),
        cpu_ticks: told.cpu_ticks,
        timeslices: told.timeslices,
        capture: match told.capture {
            ThreadCapture::Agent => ThreadCapture::Agent,
            _ => read.capture,
        },
        ..read
    })
}

/// Finds tracked tasks by what they leave in memory.
struct Index {
    /// Polled tasks whose wakers point to no known cell.
    by_mark: HashMap<u64, usize>,
    /// The same for tasks that were never polled.
    new_by_mark: HashMap<u64, usize>,
    /// All tracked futures of a cell: one task may contain several.
    by_waker: HashMap<u64, Vec<usize>>,
    /// Closures on blocking pools, by the threads that run them: they have left their cells.
    by_thread: HashMap<i32, usize>,
}

impl Index {
    /// Indexes tracked tasks; `cells` are those that existed when the process stood still.
    fn of(tracked: &[Task], cells: &HashSet<u64>) -> Self {
        let mut this = Self {
            by_mark: HashMap::new(),
            new_by_mark: HashMap::new(),
            by_waker: HashMap::new(),
            by_thread: HashMap::new(),
        };
        for (place, task) in tracked.iter().enumerate() {
            let Origin::Tracked(told) = &task.origin else {
                continue;
            };
            // A future that is held back is polled by nobody, although its waker
            // still points to a task.
            let is_part = task.kind == TaskKind::Span || task.state == State::HeldBack;
            if is_part {
                continue;
            }
            // Wakers come first: a mark is also on the stack of whatever polls the task.
            match told.waker_at.filter(|at| cells.contains(at)) {
                Some(cell) => this.by_waker.entry(cell).or_default().push(place),
                None if task.state == State::New => {
                    this.new_by_mark.insert(told.mark, place);
                }
                None => {
                    this.by_mark.insert(told.mark, place);
                }
            }
            // A closure that began since then was still in its cell.
            if task.kind == TaskKind::Blocking
                && !told.has_moved
                && let State::Running { tid: Some(tid) } = task.state
            {
                this.by_thread.insert(tid, place);
            }
        }
        this
    }

    /// Returns the positions of the tracked futures that a task in memory is or contains.
    fn of_found(&self, found: &Task) -> &[usize] {
        let Some(untracked) = found.untracked() else {
            return &[];
        };
        let by_waker = || Some(self.by_waker.get(&untracked.memory.cell?)?.as_slice());
        let by_mark = || {
            let mark = untracked.mark?;
            // A task that was polled is not new itself; it contains the new one.
            let new = || self.new_by_mark.get(&mark).filter(|_| may_be_new(found));
            Some(slice::from_ref(self.by_mark.get(&mark).or_else(new)?))
        };
        let by_thread = || match (found.kind, found.state) {
            (TaskKind::Blocking, State::Running { tid }) => {
                Some(slice::from_ref(self.by_thread.get(&tid?)?))
            }
            _ => None,
        };
        let places = by_waker().or_else(by_mark).or_else(by_thread);
        places.unwrap_or_default()
    }
}

/// Whether a task in memory may never have been polled.
const fn may_be_new(found: &Task) -> bool {
    matches!(found.state, State::Woken | State::Queued | State::Submitted)
}

/// Adds what was read of a task to what its agent reports; `kept` is how many of
/// its wakers the agent keeps.
fn add(task: &mut Task, found: Task, kept: u32) {
    let (Origin::Tracked(told), Origin::Untracked(Untracked { memory, .. })) =
        (&mut task.origin, found.origin)
    else {
        return;
    };
    let is_read = !matches!(memory.found_by, FoundBy::Unresolved(_));
    let was_asked = !task.leaves.is_empty();
    let wakers = wakers_left(task.waker, &memory, kept);
    let waits = matches!(found.state, State::Waiting | State::Never) && memory.cell.is_some();
    let read = match found.state {
        // A task polled since then had been woken by something.
        State::Waiting | State::Never if waits && wakers == 0 && !told.has_moved => State::Never,
        State::Never => State::Waiting,
        read => read,
    };
    task.waker = match read {
        State::Never => WakerState::None,
        State::Woken if told.polls > 0 => WakerState::Held(wakers.saturating_sub(1).max(1)),
        _ if waits && wakers > 0 => WakerState::Held(wakers),
        _ => WakerState::NotKnown,
    };
    task.state = state(task.state, read, told.has_moved);
    told.memory = Some(memory);
    if is_read || !was_asked {
        task.trace = found.trace;
        task.leaves = found.leaves;
    }
}

/// Returns how many wakers a task can have besides those that its agent keeps. Wakers from probes
/// point to the agent's record, which forwards to the task.
fn wakers_left(told: WakerState, memory: &Memory, kept: u32) -> u32 {
    let probes = match told {
        WakerState::Held(wakers) => wakers,
        _ => 0,
    };
    memory.wakers.saturating_sub(kept).saturating_add(probes)
}

/// Returns what a task was doing. For a task polled since then, the agent's answer is too recent.
fn state(told: State, read: State, has_moved: bool) -> State {
    match (told, read) {
        _ if has_moved => read,
        // The agent probed it and it was not polled, or it was never polled at all.
        (State::Starved | State::New, State::Waiting | State::Woken | State::Queued) => told,
        (State::Running { .. }, _) | (_, State::Running { .. } | State::Submitted) => told,
        (_, read) => read,
    }
}

#[cfg(test)]
mod tests;
