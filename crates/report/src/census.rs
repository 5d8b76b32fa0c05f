//! Counts the tasks of each type.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use rtops_protocol::TaskKind;
use serde::Serialize;

use crate::{
    dump::Dump,
    format,
    frames::Frames,
    group::{TaskGroup, is_hidden},
    task::{Origin, State, Task, Untracked},
    words,
};

/// The tasks of a process, by what they are called.
#[derive(Clone, Debug)]
pub struct Census {
    /// How many there are of each kind.
    pub count: Count,
    /// How many of the tasks, not counting closures on blocking pools, are untracked.
    pub untracked: usize,
    /// Tasks with the same title, most common first.
    pub by_type: Vec<OfType>,
}

/// Tasks with the same title.
#[derive(Clone, Debug, Serialize)]
pub struct OfType {
    /// The title of the tasks, as in the headings of groups.
    pub title: String,
    /// The kind of task.
    #[serde(serialize_with = "words::serialize_kind")]
    pub kind: TaskKind,
    /// The type of their future, or else the address of its poll function. `None` if
    /// several types share the title.
    pub future_type: Option<String>,
    /// The number of tasks. Those that are neither running nor idle have been woken or are new.
    pub count: usize,
    /// How many are inside a poll.
    pub running: usize,
    /// How many wait to be woken.
    pub idle: usize,
    /// The identities of the tasks; `None` if one of them is unknown.
    #[serde(skip)]
    ids: Option<HashSet<TaskId>>,
}

/// Identifies a task among all that its process ever had.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum TaskId {
    /// The agent's number for it.
    Tracked(u64),
    /// The copy of tokio in the program, and its number for the task.
    Tokio(u32, u64),
}

impl TaskId {
    fn of(task: &Task) -> Option<Self> {
        match &task.origin {
            Origin::Tracked(tracked) => Some(Self::Tracked(tracked.id)),
            Origin::Untracked(Untracked { memory, .. }) => {
                Some(Self::Tokio(memory.tokio, memory.number?))
            }
        }
    }
}

impl Census {
    /// Counts the tasks of these groups, which have to be all groups of a dump.
    #[must_use]
    pub fn of(groups: &[TaskGroup]) -> Self {
        let mut by_type: HashMap<(String, TaskKind), OfType> = HashMap::new();
        for group in groups {
            let key = (words::called(group), group.look.kind);
            let future_type = group.look.future_type.as_deref();
            by_type
                .entry(key.clone())
                .or_insert_with(|| OfType {
                    title: key.0,
                    kind: key.1,
                    future_type: future_type.map(str::to_owned),
                    count: 0,
                    running: 0,
                    idle: 0,
                    ids: Some(HashSet::new()),
                })
                .add(group);
        }
        let mut by_type: Vec<OfType> = by_type.into_values().collect();
        by_type.sort_by(|a, b| (Reverse(a.count), &a.title).cmp(&(Reverse(b.count), &b.title)));
        let tasks = || groups.iter().flat_map(|group| group.tasks.iter().copied());
        let is_untracked = |task: &&Task| task.kind == TaskKind::Task && task.tracked().is_none();
        Self {
            count: Count::of_tasks(tasks()),
            untracked: tasks().filter(is_untracked).count(),
            by_type,
        }
    }

    /// Returns what came and went since an earlier look, by type, the types with
    /// the most tasks now first.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<Moved> {
        let key = |of_type: &OfType| (of_type.title.clone(), of_type.kind);
        let mut before: HashMap<_, _> = earlier.by_type.iter().map(|it| (key(it), it)).collect();
        let mut moved: Vec<Moved> = Vec::new();
        for now in &self.by_type {
            moved.push(Moved::between(before.remove(&key(now)), Some(now)));
        }
        let mut gone: Vec<&OfType> = before.into_values().collect();
        gone.sort_by(|a, b| (Reverse(a.count), &a.title).cmp(&(Reverse(b.count), &b.title)));
        moved.extend(gone.into_iter().map(|it| Moved::between(Some(it), None)));
        moved
    }
}

impl OfType {
    fn add(&mut self, group: &TaskGroup) {
        let tasks = group.tasks.len();
        self.count += tasks;
        match group.look.state {
            State::Running { .. } => self.running += tasks,
            state if state.is_suspended() || state == State::Ready => self.idle += tasks,
            _ => {}
        }
        if self.future_type.as_deref() != group.look.future_type.as_deref() {
            self.future_type = None;
        }
        for task in &group.tasks {
            match (&mut self.ids, TaskId::of(task)) {
                (Some(ids), Some(id)) => {
                    ids.insert(id);
                }
                (ids, _) => *ids = None,
            }
        }
    }
}

/// How the tasks with one title changed between two looks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Moved {
    /// The title of the tasks.
    pub title: String,
    /// The kind of task.
    #[serde(serialize_with = "words::serialize_kind")]
    pub kind: TaskKind,
    /// The number of tasks now.
    pub count: usize,
    /// How many of these are new; `None` if tasks can't be told apart.
    pub came: Option<usize>,
    /// How many of the earlier ones are gone; `None` likewise.
    pub went: Option<usize>,
}

impl Moved {
    /// Compares one type; it may have no tasks at one of the two times.
    fn between(before: Option<&OfType>, now: Option<&OfType>) -> Self {
        let none = HashSet::new();
        let ids = |of_type: Option<&'_ OfType>| match of_type {
            Some(of_type) => of_type.ids.clone(),
            None => Some(none.clone()),
        };
        let (earlier, later) = (ids(before), ids(now));
        let moved = earlier.zip(later).map(|(earlier, later)| {
            let came = later.difference(&earlier).count();
            (came, earlier.difference(&later).count())
        });
        let named = now.or(before);
        Self {
            title: named.map_or_else(String::new, |named| named.title.clone()),
            kind: named.map_or(TaskKind::Task, |named| named.kind),
            count: now.map_or(0, |now| now.count),
            came: moved.map(|(came, _)| came),
            went: moved.map(|(_, went)| went),
        }
    }
}

/// The number of tasks of each kind. Spans count with their tasks. tokio's own threads, which are
/// also closures on its blocking pool, do no work of the service and are not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Futures that an executor polls.
    pub tasks: usize,
    /// Closures on blocking pools.
    pub blocking: usize,
    /// Futures that threads poll inside `block_on`.
    pub block_on: usize,
}

impl Count {
    /// Counts the tasks of a dump.
    pub fn of(dump: &Dump, frames: &Frames) -> Self {
        let tasks = dump.tasks.iter();
        Self::of_tasks(tasks.filter(|task| !is_hidden(dump, frames, task)))
    }

    /// Counts these tasks.
    pub fn of_tasks<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        let mut count = Self::default();
        for task in tasks {
            match task.kind {
                TaskKind::Task => count.tasks += 1,
                TaskKind::Blocking => count.blocking += 1,
                TaskKind::BlockOn => count.block_on += 1,
                TaskKind::Span => {}
            }
        }
        count
    }

    /// Returns the total.
    pub const fn total(self) -> usize {
        self.tasks + self.blocking + self.block_on
    }

    /// Returns `44 tasks` and `1 block_on future`, with `task` as the noun for tasks.
    pub fn parts(self, task: &str) -> Vec<String> {
        if self.total() == 0 {
            return vec![format::count(0, task)];
        }
        let kinds = self.kinds(task).into_iter();
        let there = kinds.filter(|(count, _)| *count > 0);
        there
            .map(|(count, noun)| format::count(count, noun))
            .collect()
    }

    /// Returns the same as one text.
    pub fn words(self, task: &str) -> String {
        format::list(self.parts(task))
    }

    /// Returns `1 of 44 tasks`: how many these are of `all`.
    pub fn of_all(self, all: Self, task: &str) -> String {
        if self == all {
            return all.words(task);
        }
        if self.total() == 0 {
            return format!("0 of {}", all.words(task));
        }
        let pairs = self.kinds(task).into_iter().zip(all.kinds(task));
        let pairs = pairs.filter(|((count, _), _)| *count > 0);
        let parts = pairs.map(|((count, noun), (all, _))| {
            let all = format::count(all, noun);
            format!("{count} of {all}")
        });
        format::list(parts.collect())
    }

    const fn kinds(self, task: &str) -> [(usize, &str); 3] {
        [
            (self.tasks, task),
            (self.blocking, words::noun(TaskKind::Blocking)),
            (self.block_on, words::noun(TaskKind::BlockOn)),
        ]
    }
}

/// Ended tasks of one type that are kept by their join handles.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// The type of their future, or else the address of its poll function.
    pub future_type: String,
    /// The number of tasks.
    pub count: usize,
}

/// Returns the ended tasks that their join handles keep, most common type first.
pub fn kept_by_type(dump: &Dump, frames: &Frames) -> Vec<Kept> {
    let types = dump.kept.iter().map(|(polls, count)| {
        let future = frames.future(*polls);
        let name = future.map_or_else(String::new, |future| future.name.clone());
        (name, *count)
    });
    let kept = format::commonest(types).into_iter();
    kept.map(|(future_type, count)| Kept { future_type, count })
        .collect()
}
