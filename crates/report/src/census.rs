//! How many untracked tasks there are of each type.

use std::{cmp::Reverse, collections::HashMap};

use rtops_protocol::TaskKind;

use crate::{dump::Dump, frames::Frames, task::State};

/// The untracked tasks, closures on blocking pools not counted.
#[derive(Debug)]
pub struct Census {
    /// All of them.
    pub tasks: usize,
    /// Those of each type, the commonest first.
    pub by_type: Vec<OfType>,
}

/// Tasks of one type.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// The types of ended tasks that their join handles keep, as they are shown, and how many there are of
/// each, the commonest first.
pub fn kept_by_type(dump: &Dump, frames: &Frames) -> Vec<(String, usize)> {
    let mut by_type: HashMap<String, usize> = HashMap::new();
    for (polls, count) in &dump.kept {
        let future = frames.future(*polls);
        let name = future.map_or_else(String::new, |future| future.name.clone());
        *by_type.entry(name).or_default() += count;
    }
    let mut by_type: Vec<_> = by_type.into_iter().collect();
    by_type.sort_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    by_type
}
