//! How many tasks there are of each type, of those that no wrapper tracks.

use std::{cmp::Reverse, collections::HashMap};

use rtops_protocol::{TaskKind, UnwrappedState};

use crate::{dump::Dump, frames::Frames};

/// The tasks that no wrapper tracks, closures on blocking pools not counted.
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
            let Some(unwrapped) = dump.unwrapped(task.id) else {
                continue;
            };
            let Some(future) = frames.future(unwrapped) else {
                continue;
            };
            let of_type = by_type.entry(&future.name).or_insert_with(|| OfType {
                future_type: future.name.clone(),
                count: 0,
                running: 0,
                idle: 0,
            });
            of_type.count += 1;
            match unwrapped.state {
                UnwrappedState::Running { .. } => of_type.running += 1,
                UnwrappedState::Idle => of_type.idle += 1,
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
