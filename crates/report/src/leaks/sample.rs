//! What is kept of each dump of a watch: who was where. Comparing needs no names.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use rtops_protocol::{Note, SourceLocation, Task, TaskKind, TaskState, Thread, ThreadCapture};

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

/// The name of a thread without digits.
pub fn kin(name: &str) -> String {
    name.replace(|c: char| c.is_ascii_digit(), "")
}

/// Where a task rests; `None` for one that runs or was not captured. A task in a wait without a
/// waker has no stack, and rests where it was spawned.
fn task_place(dump: &Dump, task: &Task) -> Option<Place> {
    if !matches!(task.state, TaskState::Suspended { .. }) || task.kind == TaskKind::Span {
        return None;
    }
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
    use super::{Place, kin};

    /// A place with a letter for a name.
    pub fn place(letter: char) -> Place {
        Place(u64::from(u32::from(letter)))
    }

    #[test]
    fn numbered_threads_are_kin() {
        assert_eq!(kin("worker-12"), kin("worker-7"));
        assert_ne!(kin("worker-12"), kin("writer-12"));
    }
}
