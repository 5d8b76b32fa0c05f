//! How many untracked tasks there are of each type.

use std::{cmp::Reverse, collections::HashMap};

use rtops_protocol::TaskKind;
use serde::Serialize;

use crate::{
    dump::Dump,
    format,
    frames::Frames,
    group::is_hidden,
    task::{State, Task},
    words,
};

/// The untracked tasks, closures on blocking pools not counted.
#[derive(Debug, Serialize)]
pub struct Census {
    /// All of them.
    pub tasks: usize,
    /// Those of each type, the commonest first.
    pub by_type: Vec<OfType>,
}

/// Tasks of one type.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct OfType {
    /// The type of their future; where that is not known, where its poll function is.
    pub future_type: String,
    /// How many there are. Those that neither run nor idle have been woken, or are new.
    pub count: usize,
    /// Those inside a poll.
    pub running: usize,
    /// Those that wait to be woken.
    pub idle: usize,
}

impl Census {
    /// Counts the tasks of a dump.
    pub fn of(dump: &Dump, frames: &Frames) -> Self {
        let mut by_type: HashMap<&str, OfType> = HashMap::new();
        for task in dump.tasks.iter().filter(|task| task.kind == TaskKind::Task) {
            let future = task
                .untracked()
                .map(|untracked| frames.future(untracked.polls));
            let Some(future) = future.flatten() else {
                continue;
            };
            let of_type = by_type.entry(&future.name).or_insert_with(|| OfType {
                future_type: future.name.clone(),
                count: 0,
                running: 0,
                idle: 0,
            });
            of_type.count += 1;
            match task.state {
                State::Running { .. } => of_type.running += 1,
                state if state.is_suspended() || state == State::Ready => of_type.idle += 1,
                _ => {}
            }
        }
        let mut by_type: Vec<OfType> = by_type.into_values().collect();
        by_type.sort_by(|a, b| {
            (Reverse(a.count), &a.future_type).cmp(&(Reverse(b.count), &b.future_type))
        });
        Self {
            tasks: by_type.iter().map(|of_type| of_type.count).sum(),
            by_type,
        }
    }
}

/// How many there are of each kind of task. Spans belong to their tasks, and tokio's own threads, which are
/// closures on its blocking pool, too, are nobody's work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Futures that an executor polls.
    pub tasks: usize,
    /// Closures on blocking pools.
    pub blocking: usize,
    /// Futures that threads poll themselves, inside `block_on`.
    pub block_on: usize,
}

impl Count {
    /// Counts the tasks of a dump.
    pub fn of(dump: &Dump, frames: &Frames) -> Self {
        let tasks = dump.tasks.iter();
        Self::of_tasks(tasks.filter(|task| !is_hidden(dump, frames, task)))
    }

    /// Counts these.
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

    /// All of them.
    pub const fn total(self) -> usize {
        self.tasks + self.blocking + self.block_on
    }

    /// `44 tasks` and `1 block_on future`, where `task` is what tasks are called.
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

    /// The same as one text.
    pub fn words(self, task: &str) -> String {
        format::list(self.parts(task))
    }

    /// `1 of 44 tasks`: how many these are of all.
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

/// Ended tasks of one type that their join handles keep.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// The type of their future; where that is not known, where its poll function is.
    pub future_type: String,
    /// How many there are.
    pub count: usize,
}

/// The ended tasks that their join handles keep, the commonest type first.
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
