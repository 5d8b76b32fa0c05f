//! Locks for which threads wait inside polls, and the tasks that hold them.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Party, Shared};

use super::facts::Facts;
use crate::task::{Task, TaskKey};

/// The locks that tasks' threads wait for, each with the tasks that may hold it, where these are all.
pub(super) struct Locks<'a> {
    /// By the address of the lock.
    holders: HashMap<u64, Vec<&'a Task>>,
    /// Which lock a task's thread waits for.
    waits: HashMap<TaskKey, u64>,
    stuck: HashSet<u64>,
}

impl<'a> Locks<'a> {
    pub(super) fn of(facts: &Facts<'_, 'a>) -> Self {
        let (mut holders, mut waits) = (HashMap::new(), HashMap::new());
        for task in &facts.dump.tasks {
            if let Some(lock) = task.state.thread().and_then(|tid| facts.lock_of(tid)) {
                waits.insert(task.key, lock.address);
                let known = holders.entry(lock.address);
                known.or_insert_with(|| holders_of(facts, lock));
            }
        }
        let known = holders.iter().filter(|(_, holders)| !holders.is_empty());
        let mut stuck: HashSet<u64> = known.map(|(lock, _)| *lock).collect();
        // What somebody outside of the circle may let go of is not in it.
        loop {
            let rest = stuck.clone();
            stuck.retain(|lock| {
                let mut holders = holders.get(lock).into_iter().flatten();
                holders.all(|holder| {
                    waits
                        .get(&holder.key)
                        .is_some_and(|lock| rest.contains(lock))
                })
            });
            if stuck.len() == rest.len() {
                break;
            }
        }
        Self {
            holders,
            waits,
            stuck,
        }
    }

    /// The tasks one of which holds the lock that a task's thread waits for; none where there may be others.
    pub(super) fn holders(&self, task: &Task) -> &[&'a Task] {
        let lock = self.waits.get(&task.key);
        lock.and_then(|lock| self.holders.get(lock))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether each task that may hold it waits for a lock that such a task holds, as in a circle.
    pub(super) fn is_stuck(&self, task: &Task) -> bool {
        let lock = self.waits.get(&task.key);
        lock.is_some_and(|lock| self.stuck.contains(lock))
    }
}

/// Whoever waits for a lock has it in memory, too: it is one of the holders only if nobody else is.
fn holders_of<'a>(facts: &Facts<'_, 'a>, lock: &'a Shared) -> Vec<&'a Task> {
    let waiters: HashSet<Party> = lock.waiters.iter().copied().collect();
    let holders = facts.holders(lock).unwrap_or_default();
    let (waiting, others): (Vec<&Task>, Vec<&Task>) = holders.into_iter().partition(|task| {
        let thread = task.state.thread();
        thread.is_some_and(|tid| waiters.contains(&Party::Thread { tid }))
    });
    if others.is_empty() { waiting } else { others }
}
