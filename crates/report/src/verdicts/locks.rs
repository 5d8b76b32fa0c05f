//! Locks for which threads wait inside polls, and the tasks that hold them.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Party, Shared};

use super::facts::Facts;
use crate::task::{Task, TaskKey};

/// The tasks whose threads wait for locks, each with those that may hold what it waits for, where these are all.
pub(super) struct Locks<'a> {
    holders: HashMap<TaskKey, Vec<&'a Task>>,
    stuck: HashSet<TaskKey>,
}

impl<'a> Locks<'a> {
    pub(super) fn of(facts: &Facts<'_, 'a>) -> Self {
        let tasks = facts.dump.tasks.iter();
        let holders = tasks.filter_map(|task| {
            let lock = facts.lock_of(task.state.thread()?)?;
            Some((task.key, holders(facts, lock)))
        });
        let holders: HashMap<TaskKey, Vec<&Task>> = holders.collect();
        let known = holders.iter().filter(|(_, holders)| !holders.is_empty());
        let mut stuck: HashSet<TaskKey> = known.map(|(key, _)| *key).collect();
        // Who may get the lock from somebody outside of the circle is not in it.
        loop {
            let before = stuck.len();
            let rest = stuck.clone();
            stuck.retain(|key| {
                let mut holders = holders.get(key).into_iter().flatten();
                holders.all(|holder| rest.contains(&holder.key))
            });
            if stuck.len() == before {
                break;
            }
        }
        Self { holders, stuck }
    }

    /// The tasks one of which holds the lock that a task's thread waits for; none where there may be others.
    pub(super) fn holders(&self, task: &Task) -> &[&'a Task] {
        self.holders.get(&task.key).map_or(&[], Vec::as_slice)
    }

    /// Whether each task that may hold it waits for a lock that such a task holds, as in a circle.
    pub(super) fn are_stuck(&self, task: &Task) -> bool {
        self.stuck.contains(&task.key)
    }
}

/// Whoever waits for a lock has it in memory, too: it is one of the holders only if nobody else is.
fn holders<'a>(facts: &Facts<'_, 'a>, lock: &'a Shared) -> Vec<&'a Task> {
    let holders = facts.holders(lock).unwrap_or_default();
    let waits = |task: &&Task| {
        let thread = task.state.thread();
        thread.is_some_and(|tid| lock.waiters.contains(&Party::Thread { tid }))
    };
    let others: Vec<&Task> = holders
        .iter()
        .copied()
        .filter(|task| !waits(task))
        .collect();
    if others.is_empty() { holders } else { others }
}
