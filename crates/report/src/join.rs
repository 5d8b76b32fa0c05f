//! One picture of what an agent tells of a process and of what was read of it from outside.
//!
//! The process stood still first; the agent was asked a moment later. What was read shows all tasks of
//! tokio's at one instant. What an agent tells of one of them, its name, its age and who made it, belongs to
//! the task in whose memory the agent's own record is, or to which its waker leads.

use std::{
    collections::{HashMap, HashSet},
    slice,
    time::Duration,
};

use rtops_protocol::{CLIENT_THREAD, FoundBy, TaskKind, Thread, ThreadCapture};

use crate::task::{Origin, State, Task, Untracked};

/// The tracked tasks, with what was read of them, then those that are not tracked. The agent told what it knows
/// so long after the process stood still.
pub(crate) fn tasks(all: Vec<Task>, told_after: Duration) -> Vec<Task> {
    let (mut tracked, found): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|task| task.tracked().is_some());
    for task in &mut tracked {
        if let Origin::Tracked(told) = &mut task.origin {
            told.has_moved = told.since < told_after;
        }
    }
    let cells = found.iter().filter_map(|task| task.memory()?.cell);
    let index = Index::of(&tracked, &cells.collect(), told_after);
    let mut others = Vec::new();
    for found in found {
        match index.of_found(&found) {
            [] => others.push(found),
            [place] => {
                if let Some(task) = tracked.get_mut(*place) {
                    add(task, found);
                }
            }
            // Which part of the task's poll is whose, its trace does not tell.
            _ => {}
        }
    }
    tracked.extend(others);
    tracked
}

/// The thread with what an agent tells of it; `None` for one that serves the agent's clients.
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
        capture: match told.capture {
            ThreadCapture::Agent => ThreadCapture::Agent,
            _ => read.capture,
        },
        ..read
    })
}

/// By what tracked tasks are found.
struct Index {
    /// Those whose wakers lead to no cell.
    by_mark: HashMap<u64, usize>,
    /// Those of them that never were polled.
    new_by_mark: HashMap<u64, usize>,
    /// Several tracked futures may be parts of one task.
    by_waker: HashMap<u64, Vec<usize>>,
    /// Closures on blocking pools, by the threads that run them: they have left their cells.
    by_thread: HashMap<i32, usize>,
}

impl Index {
    /// Of those that were there when the process stood still and had these cells.
    fn of(tracked: &[Task], cells: &HashSet<u64>, told_after: Duration) -> Self {
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
            // What is held back is polled by nobody, whoever is polled by its waker.
            let is_part = task.kind == TaskKind::Span || task.state == State::HeldBack;
            if is_part || told.age < told_after {
                continue;
            }
            // A mark is on the stack of whoever polls the task, too.
            match told.waker_at.filter(|at| cells.contains(at)) {
                Some(cell) => this.by_waker.entry(cell).or_default().push(place),
                None if task.state == State::New => {
                    this.new_by_mark.insert(told.mark, place);
                }
                None => {
                    this.by_mark.insert(told.mark, place);
                }
            }
            // One that began since was in its cell still.
            if task.kind == TaskKind::Blocking
                && !told.has_moved
                && let State::Running { tid: Some(tid) } = task.state
            {
                this.by_thread.insert(tid, place);
            }
        }
        this
    }

    /// The tracked ones that a task in memory is, or consists of.
    fn of_found(&self, found: &Task) -> &[usize] {
        let Some(untracked) = found.untracked() else {
            return &[];
        };
        let by_waker = || Some(self.by_waker.get(&untracked.memory.cell?)?.as_slice());
        let by_mark = || {
            let mark = untracked.mark?;
            // A task that was polled and holds one that never was is around it.
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

/// Adds what was read of a task to what its agent tells.
fn add(task: &mut Task, found: Task) {
    let (Origin::Tracked(told), Origin::Untracked(Untracked { memory, .. })) =
        (&mut task.origin, found.origin)
    else {
        return;
    };
    let is_read = !matches!(memory.found_by, FoundBy::Unresolved(_));
    let is_probed = !task.leaves.is_empty();
    told.memory = Some(memory);
    // Where it waits now is not where it waited then.
    if told.has_moved {
        return;
    }
    task.state = state(task.state, found.state);
    if is_read || !is_probed {
        task.trace = found.trace;
    }
}

/// What a task was doing that has not been polled since.
fn state(told: State, read: State) -> State {
    match (told, read) {
        // It was asked by the agent, and nobody polled it; or it never was polled.
        (State::Starved | State::New, State::Waiting | State::Woken | State::Queued) => told,
        (State::Running { .. }, _) => told,
        (_, State::Running { .. } | State::Submitted) => told,
        // The agent's record keeps a waker, which is not told from others by a count of references.
        (State::Never, State::Waiting) => told,
        (_, read) => read,
    }
}

#[cfg(test)]
mod tests;
