//! Locks that threads wait for inside polls, and the tasks that hold them.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Party, Shared};

use super::facts::Facts;
use crate::task::{Task, TaskKey};

/// The locks that threads polling tasks wait for, each with all tasks that may
/// hold it, if these are known.
pub(super) struct Locks<'a> {
    /// The possible holders, by the address of the lock.
    holders: HashMap<u64, Vec<&'a Task>>,
    /// The lock that a task's thread waits for.
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
        // A lock that a task outside of the circle may release is not stuck.
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

    /// Returns the tasks that may hold the lock that a task's thread waits for;
    /// empty if there may be others.
    pub(super) fn holders(&self, task: &Task) -> &[&'a Task] {
        let lock = self.waits.get(&task.key);
        lock.and_then(|lock| self.holders.get(lock))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether each task that may hold the lock waits for another such lock, as in a circle.
    pub(super) fn is_stuck(&self, task: &Task) -> bool {
        let lock = self.waits.get(&task.key);
        lock.is_some_and(|lock| self.stuck.contains(lock))
    }
}

/// A thread that waits for a lock also has its address in memory, so its task counts as a
/// holder only if there is no other.
fn holders_of<'a>(facts: &Facts<'_, 'a>, lock: &'a Shared) -> Vec<&'a Task> {
    let waiters: HashSet<Party> = lock.waiters.iter().copied().collect();
    let holders = facts.holders(lock).unwrap_or_default();
    let (waiting, others): (Vec<&Task>, Vec<&Task>) = holders.into_iter().partition(|task| {
        let thread = task.state.thread();
        thread.is_some_and(|tid| waiters.contains(&Party::Thread { tid }))
    });
    if others.is_empty() { waiting } else { others }
}
