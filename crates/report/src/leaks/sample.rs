//! What is kept of each dump of a watch: what was where. Comparing samples needs no names.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use rtops_protocol::{FoundBy, SourceLocation, TaskKind, Thread};

use crate::{
    dump::{Dump, leaf_of},
    task::{Origin, Polls, Task, TaskKey, Untracked},
};

/// Where a task or thread rests; equal in two dumps of one process if nothing has changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place(u64);

/// Identifies a task across dumps of one process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Identity {
    /// By the agent's number for it.
    Tracked(u64),
    /// By its copy of tokio and tokio's number for it.
    Untracked(u32, u64),
    /// By the address of its cell, which another task may have later.
    Cell(u64),
}

impl Identity {
    /// Returns `None` if nothing identifies the task.
    pub(super) fn of(task: &Task) -> Option<Self> {
        match &task.origin {
            Origin::Tracked(tracked) => Some(Self::Tracked(tracked.id)),
            Origin::Untracked(Untracked { memory, .. }) => match memory.number {
                Some(number) => Some(Self::Untracked(memory.tokio, number)),
                None => memory.cell.map(Self::Cell),
            },
        }
    }
}

/// The type of an untracked task; equal in two dumps of one process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Kin(Polls);

impl Kin {
    /// Returns `None` for anything but tasks, and for tracked tasks, which have better evidence.
    pub(super) fn of(task: &Task) -> Option<Self> {
        let untracked = task.untracked().filter(|_| task.kind == TaskKind::Task)?;
        Some(Self(untracked.polls))
    }
}

impl Identity {
    /// Returns all identities of a task, most reliable first.
    pub(crate) fn all_of(task: &Task) -> impl Iterator<Item = Self> {
        let number = task.memory().and_then(|memory| {
            let number = memory.number?;
            Some(Self::Untracked(memory.tokio, number))
        });
        Self::of(task).into_iter().chain(number)
    }
}

/// A place in the source as text; the numbers of texts differ from dump to dump.
pub type Site = (String, u32, u32);

/// One dump, reduced to what is compared.
#[derive(Debug, Default)]
pub struct Sample {
    /// All tasks, with the places of those that rest.
    pub tasks: HashMap<Identity, Option<Place>>,
    /// Whether untracked tasks are included.
    pub has_untracked: bool,
    /// The types of the untracked tasks.
    pub kin: HashMap<Identity, Kin>,
    /// How many ended tasks are kept by their handles, by type.
    pub kept: HashMap<Polls, usize>,
    /// All threads.
    pub threads: HashMap<i32, ThreadSample>,
    /// Tasks whose wakers had all been dropped unused when the dump began, and how
    /// often each had been polled.
    pub lost_wakers: HashMap<TaskKey, u64>,
}

/// A thread in one dump.
#[derive(Clone, Debug)]
pub struct ThreadSample {
    /// Where it was.
    pub place: Option<Place>,
    /// Its name without digits, so that `worker-1` and `worker-2` have the same.
    pub kin: String,
    /// How many times it was scheduled onto a processor.
    pub timeslices: Option<u64>,
}

impl Sample {
    /// Takes from a dump what is compared.
    pub fn of(dump: &Dump) -> Self {
        let tasks = || dump.tasks.iter();
        Self {
            tasks: tasks()
                .filter_map(|task| Some((Identity::of(task)?, task_place(dump, task))))
                .collect(),
            has_untracked: dump.is_image(),
            kin: tasks()
                .filter_map(|task| Some((Identity::of(task)?, Kin::of(task)?)))
                .collect(),
            kept: dump.kept.clone(),
            threads: dump
                .threads
                .iter()
                .map(|thread| {
                    let sample = ThreadSample {
                        place: thread_place(dump, thread),
                        kin: kin(thread.name.as_deref().unwrap_or_default()),
                        timeslices: thread.timeslices,
                    };
                    (thread.tid, sample)
                })
                .collect(),
            lost_wakers: tasks()
                .filter(|task| task.tracked().is_some_and(|tracked| tracked.lost_wakers))
                .filter_map(|task| Some((task.key, task.tracked()?.polls)))
                .collect(),
        }
    }
}

/// Returns the tasks of several dumps that can be compared. If one dump lacks untracked
/// tasks, because the process was not inspected from outside, they would look new in
/// all others, so they are dropped.
pub(super) fn comparable(samples: &[&Sample]) -> Vec<HashMap<Identity, Option<Place>>> {
    let all_have = samples.iter().all(|sample| sample.has_untracked);
    let samples = samples.iter().map(|sample| {
        let tasks = sample.tasks.iter();
        let tasks = tasks.filter(|(task, _)| all_have || matches!(task, Identity::Tracked(_)));
        tasks.map(|(task, place)| (*task, *place)).collect()
    });
    samples.collect()
}

/// Returns the name of a thread without digits.
pub fn kin(name: &str) -> String {
    name.replace(|c: char| c.is_ascii_digit(), "")
}

/// Returns where a task rests; `None` if it runs or was not captured. A task that waits without a
/// waker has no stack; its place is its spawn site or its type.
fn task_place(dump: &Dump, task: &Task) -> Option<Place> {
    let rests = task.state.is_suspended() && task.kind != TaskKind::Span;
    rests.then(|| place_of(dump, task)).flatten()
}

/// Returns where a task is or resumes.
pub(super) fn place_of(dump: &Dump, task: &Task) -> Option<Place> {
    let made = match &task.origin {
        Origin::Tracked(tracked) => Ok((site(dump, tracked.site), dump.string(tracked.name))),
        Origin::Untracked(untracked) => match untracked.memory.found_by {
            FoundBy::Unresolved(_) => return None,
            _ => Err(untracked.polls),
        },
    };
    let mut stacks: Vec<&[u64]> = task
        .leaves
        .iter()
        .map(|leaf| dump.stack(leaf.stack))
        .collect();
    stacks.sort_unstable();
    stacks.dedup();
    Some(place(&(made, stacks)))
}

/// Returns where a thread is; `None` if its stack was not taken.
fn thread_place(dump: &Dump, thread: &Thread) -> Option<Place> {
    let leaf = leaf_of(thread)?;
    let kin = thread.name.as_deref().map(kin);
    Some(place(&(kin, dump.stack(leaf.stack))))
}

/// Returns a place in the source in a form that is the same in all dumps of one program.
pub fn site(dump: &Dump, site: SourceLocation) -> Site {
    let file = dump.string(site.file).unwrap_or_default();
    (file.to_owned(), site.line, site.column)
}

fn place(what: &impl Hash) -> Place {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    Place(hasher.finish())
}

/// Dumps of one process, oldest first, and the time that they span.
#[derive(Debug, Default)]
pub struct Watch {
    /// Every dump but the last.
    pub earlier: Vec<Sample>,
    /// The time from the first dump to the last.
    pub time: Duration,
    /// The names, without digits, of threads that ended meanwhile, including
    /// threads that are in no dump.
    pub ended_kin: HashSet<String>,
    /// The number of the main thread as seen by the process.
    pub main_thread: i32,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use super::{Identity, Place, Sample, comparable, kin};

    /// Makes a place from a letter.
    pub fn place(letter: char) -> Place {
        Place(u64::from(u32::from(letter)))
    }

    #[test]
    fn untracked_tasks_count_where_all_dumps_have_them() {
        let sample = |has_untracked, tasks: &[Identity]| Sample {
            tasks: tasks.iter().map(|task| (*task, Some(place('a')))).collect(),
            has_untracked,
            ..Sample::default()
        };
        let counts = |samples: [&Sample; 2]| {
            let samples = comparable(&samples);
            samples.iter().map(HashMap::len).collect::<Vec<_>>()
        };
        // Each copy of tokio counts separately, and so does the agent.
        let [tracked, first, second] = [
            Identity::Tracked(1),
            Identity::Untracked(0, 1),
            Identity::Untracked(1, 1),
        ];
        let none = sample(false, &[tracked]);
        let one = sample(true, &[tracked, first]);
        let two = sample(true, &[tracked, first, second]);
        assert_eq!(counts([&one, &two]), [2, 3]);
        assert_eq!(counts([&none, &two]), [1, 1]);
    }

    #[test]
    fn numbered_threads_are_kin() {
        assert_eq!(kin("worker-12"), kin("worker-7"));
        assert_ne!(kin("worker-12"), kin("writer-12"));
    }
}
