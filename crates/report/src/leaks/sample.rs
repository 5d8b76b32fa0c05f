//! What is kept of each dump of a watch: who was where. Comparing needs no names.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use rtops_protocol::{
    FoundBy, Note, SourceLocation, Task, TaskKind, TaskState, Thread, ThreadCapture, Unwrapped,
};

use crate::dump::Dump;

/// Where a task or thread rests: the same in two dumps of one process if nothing has changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place(u64);

/// A place in the source as text: the numbers of texts differ from dump to dump.
pub type Site = (String, u32, u32);

/// One dump, as far as others are compared with it.
#[derive(Debug, Default)]
pub struct Sample {
    /// All tasks, and where those rest that do.
    pub tasks: HashMap<u64, Option<Place>>,
    /// Whether tasks that no wrapper tracks are among them.
    pub has_unwrapped: bool,
    /// All threads.
    pub threads: HashMap<i32, ThreadSample>,
    /// Tasks whose wakers were all dropped unused when the dump began, and how often each of them
    /// had been polled.
    pub lost_wakers: HashMap<u64, u64>,
}

/// A thread in one dump.
#[derive(Clone, Debug)]
pub struct ThreadSample {
    /// Where it is.
    pub place: Option<Place>,
    /// Its name without digits, so that `worker-1` and `worker-2` have the same.
    pub kin: String,
    /// How often it was given a processor.
    pub timeslices: Option<u64>,
}

impl Sample {
    /// What to keep of a dump.
    pub fn of(dump: &Dump) -> Self {
        let runs: HashMap<i32, u64> = dump
            .thread_runs
            .iter()
            .map(|run| (run.tid, run.timeslices))
            .collect();
        let lost: HashSet<u64> = dump
            .notes
            .iter()
            .filter(|note| matches!(note.note, Note::WakersLost))
            .map(|note| note.task)
            .collect();
        let tasks = || dump.tasks.iter();
        Self {
            tasks: tasks()
                .map(|task| (task.id, task_place(dump, task)))
                .collect(),
            has_unwrapped: dump.has_unwrapped(),
            threads: dump
                .threads
                .iter()
                .map(|thread| {
                    let sample = ThreadSample {
                        place: thread_place(dump, thread),
                        kin: kin(&thread.name),
                        timeslices: runs.get(&thread.tid).copied(),
                    };
                    (thread.tid, sample)
                })
                .collect(),
            lost_wakers: tasks()
                .filter(|task| lost.contains(&task.id))
                .map(|task| (task.id, task.polls))
                .collect(),
        }
    }
}

/// The tasks of several dumps, as far as they can be compared: where one dump lacks those that no
/// wrapper tracks, as no copy of the process was made for it, all others show them as new.
pub(super) fn comparable(samples: &[&Sample]) -> Vec<HashMap<u64, Option<Place>>> {
    let all_have = samples.iter().all(|sample| sample.has_unwrapped);
    let samples = samples.iter().map(|sample| {
        let tasks = sample.tasks.iter();
        let tasks = tasks.filter(|(id, _)| all_have || **id < Unwrapped::FIRST);
        tasks.map(|(id, place)| (*id, *place)).collect()
    });
    samples.collect()
}

/// The name of a thread without digits.
pub fn kin(name: &str) -> String {
    name.replace(|c: char| c.is_ascii_digit(), "")
}

/// Where a task rests; `None` for one that runs or was not captured. A task in a wait without a
/// waker has no stack, and rests where it was spawned, or as what it is.
fn task_place(dump: &Dump, task: &Task) -> Option<Place> {
    if !matches!(task.state, TaskState::Suspended { .. }) || task.kind == TaskKind::Span {
        return None;
    }
    let unwrapped = dump.unwrapped(task.id);
    if unwrapped.is_some_and(|task| matches!(task.found_by, FoundBy::Unresolved(_))) {
        return None;
    }
    let polls = unwrapped.map(|unwrapped| (unwrapped.poll, unwrapped.boxed_poll));
    let mut stacks: Vec<&[u64]> = task
        .leaves
        .iter()
        .map(|leaf| dump.stack(leaf.stack))
        .collect();
    stacks.sort_unstable();
    stacks.dedup();
    Some(place(&(
        site(dump, task.site),
        dump.string(task.name),
        polls,
        stacks,
    )))
}

/// Where a thread is; `None` where its stack was not taken.
fn thread_place(dump: &Dump, thread: &Thread) -> Option<Place> {
    let ThreadCapture::Stack(leaf) = thread.capture else {
        return None;
    };
    Some(place(&(kin(&thread.name), dump.stack(leaf.stack))))
}

/// A place in the source that means the same in all dumps of one program.
pub fn site(dump: &Dump, site: SourceLocation) -> Site {
    let file = dump.string(site.file).unwrap_or_default();
    (file.to_owned(), site.line, site.column)
}

fn place(what: &impl Hash) -> Place {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    Place(hasher.finish())
}

/// Dumps of one process, the oldest first, and the time that they span.
#[derive(Debug, Default)]
pub struct Watch {
    /// All but the last dump.
    pub earlier: Vec<Sample>,
    /// From the first to the last.
    pub time: Duration,
    /// The names, without digits, of threads that ended meanwhile, also of those in no dump.
    pub ended_kin: HashSet<String>,
    /// The number of the main thread, as the process sees it.
    pub main_thread: i32,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use super::{Place, Sample, Unwrapped, comparable, kin};

    /// A place with a letter for a name.
    pub fn place(letter: char) -> Place {
        Place(u64::from(u32::from(letter)))
    }

    #[test]
    fn tasks_without_a_wrapper_count_where_all_dumps_have_them() {
        let sample = |has_unwrapped, ids: &[u64]| Sample {
            tasks: ids.iter().map(|id| (*id, Some(place('a')))).collect(),
            has_unwrapped,
            ..Sample::default()
        };
        let counts = |samples: [&Sample; 2]| {
            let samples = comparable(&samples);
            samples.iter().map(HashMap::len).collect::<Vec<_>>()
        };
        let (first, second) = (Unwrapped::FIRST, Unwrapped::FIRST + 1);
        let none = sample(false, &[1]);
        let one = sample(true, &[1, first]);
        let two = sample(true, &[1, first, second]);
        assert_eq!(counts([&one, &two]), [2, 3]);
        assert_eq!(counts([&none, &two]), [1, 1]);
    }

    #[test]
    fn numbered_threads_are_kin() {
        assert_eq!(kin("worker-12"), kin("worker-7"));
        assert_ne!(kin("worker-12"), kin("writer-12"));
    }
}
