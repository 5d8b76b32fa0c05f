//! What tasks wait for according to memory: without an agent, or for locks that it does not know.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Party, Shared, SharedKind, UntrackedLeaf};
use rtops_symbols::WaitReason;

use super::{Edge, Need, Waits, WaitsFor};
use crate::{
    dump::Dump,
    frames::Frames,
    shared::Parties,
    task::{Task, TaskKey},
};

impl<'a> Waits<'a> {
    /// Adds what memory shows about waits. Returns the tasks that wait for nothing else.
    pub(super) fn add_shared(
        &mut self,
        dump: &'a Dump,
        frames: &Frames,
        parties: &Parties<'a>,
    ) -> HashSet<TaskKey> {
        let mut waits: HashMap<TaskKey, Vec<&'a Shared>> = HashMap::new();
        let shared = dump.shared.iter();
        for shared in shared.filter(|shared| shared.kind != SharedKind::Lock) {
            let waiters = shared.waiters.iter();
            for task in waiters.filter_map(|party| parties.task(*party)) {
                waits.entry(task.key).or_default().push(shared);
            }
        }
        let mut explained = HashSet::new();
        for (key, shared) in waits {
            let Some(task) = self.task(key) else { continue };
            let edge = match only_wait(task, frames) {
                Some((reason, is_timed)) => {
                    let Some(shared) = fitting(reason, &shared) else {
                        continue;
                    };
                    self.shared.push((shared, reason, task));
                    let by = who_lets_go(shared, reason, task, parties);
                    let by = by.filter(|_| !is_timed).and_then(|(mut by, need)| {
                        // Who waits at a barrier is not the one that is missing there.
                        if reason == WaitReason::Barrier {
                            by.retain(|other| !self.waits_at_a_barrier(*other, frames));
                        }
                        (!by.is_empty()).then_some((by, need))
                    });
                    by.map(|by| (shared, Some(reason), by))
                }
                None => unknown_wait(task, frames, &shared, parties),
            };
            if let Some((shared, reason, (by, need))) = edge {
                self.edges.entry(key).or_default().push(Edge {
                    what: WaitsFor::Shared(shared, reason),
                    others: Vec::new(),
                    by,
                    need,
                });
                explained.insert(key);
            }
        }
        explained
    }

    fn waits_at_a_barrier(&self, task: TaskKey, frames: &Frames) -> bool {
        let wait = self.task(task).and_then(|task| only_wait(task, frames));
        wait.is_some_and(|(reason, _)| reason == WaitReason::Barrier)
    }
}

/// Returns who can let a task go on whose wait reason is unknown, as in a program without names: if these
/// are all who have what it waits for, the reason does not matter. The task must wait in one place only,
/// apart from handles that it awaits.
#[expect(clippy::type_complexity, reason = "it has one caller")]
fn unknown_wait<'a>(
    task: &Task,
    frames: &Frames,
    shared: &[&'a Shared],
    parties: &Parties,
) -> Option<(&'a Shared, Option<WaitReason>, (Vec<TaskKey>, Need))> {
    let leaves = task.memory().map_or(&[][..], |memory| &memory.leaves);
    let mut leaves = leaves.iter().filter(|leaf| leaf.awaits.is_none());
    let (Some(UntrackedLeaf { leaf, .. }), None, [shared]) = (leaves.next(), leaves.next(), shared)
    else {
        return None;
    };
    let is_unknown = frames.task_wait(frames.stack(leaf.stack)).is_none();
    let by = parties.tasks(&shared.others)?;
    let mut by: Vec<TaskKey> = by.into_iter().map(|task| task.key).collect();
    // The waiter has one of the two ends of a channel or set.
    if shared.kind == SharedKind::Slot && by.iter().any(|other| *other != task.key) {
        by.retain(|other| *other != task.key);
    }
    let are_all = is_unknown && shared.is_complete && !by.is_empty();
    are_all.then_some((*shared, None, (by, Need::Any)))
}

/// Returns what a task waits for that waits in one place only, if others can end the wait, and whether
/// the wait has a timeout. A task that joins a set waits for the set and, in the same place, for each of
/// its tasks.
fn only_wait(task: &Task, frames: &Frames) -> Option<(WaitReason, bool)> {
    let waits = task.leaves.iter();
    let waits = waits.map(|leaf| frames.task_wait(frames.stack(leaf.stack)));
    let mut waits: Vec<WaitReason> = waits.collect::<Option<_>>()?;
    let is_timed = waits.contains(&WaitReason::Timeout);
    waits.retain(|wait| *wait != WaitReason::Timeout);
    let (reason, others) = waits.split_first()?;
    let is_set = *reason == WaitReason::Join && others.iter().all(|wait| wait == reason);
    if !others.is_empty() && !is_set {
        return None;
    }
    matches!(
        reason,
        WaitReason::Barrier
            | WaitReason::BroadcastReceive
            | WaitReason::ChannelReceive
            | WaitReason::ChannelSend
            | WaitReason::Join
            | WaitReason::MutexLock
            | WaitReason::Notify
            | WaitReason::OnceCell
            | WaitReason::OneshotReceive
            | WaitReason::RwLock
            | WaitReason::RwLockRead
            | WaitReason::RwLockWrite
            | WaitReason::SemaphoreAcquire
            | WaitReason::ServiceReady
            | WaitReason::PoolConnection
            | WaitReason::WatchChanged
    )
    .then_some((*reason, is_timed))
}

/// Returns the only one of these that a task with this reason can wait for. The agent's record that
/// keeps the waker of a tracked task is a slot, too.
fn fitting<'a>(reason: WaitReason, shared: &[&'a Shared]) -> Option<&'a Shared> {
    let is_slot = matches!(
        reason,
        WaitReason::ChannelReceive | WaitReason::Join | WaitReason::OneshotReceive
    );
    let kind = if is_slot {
        SharedKind::Slot
    } else {
        SharedKind::Queue
    };
    let mut fitting: Vec<_> = shared.iter().filter(|shared| shared.kind == kind).collect();
    if is_slot && fitting.len() > 1 {
        fitting.retain(|shared| shared.others != shared.waiters);
    }
    match fitting.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// Returns tasks, at least one of which has to go on before a wait can end;
/// `None` if others may end it.
fn who_lets_go(
    shared: &Shared,
    reason: WaitReason,
    task: &Task,
    parties: &Parties,
) -> Option<(Vec<TaskKey>, Need)> {
    let keys = |parties: Option<Vec<&Task>>| -> Option<Vec<TaskKey>> {
        let keys = parties?.into_iter().map(|task| task.key);
        Some(keys.collect())
    };
    let all = |list: &[Party]| keys(parties.tasks(list));
    let is_it = |party: &Party| parties.task(*party).is_some_and(|it| it.key == task.key);
    let place = shared.waiters.iter().position(is_it)?;
    let before = place.checked_sub(1).and_then(|at| shared.waiters.get(at));
    let is_rwlock = matches!(reason, WaitReason::RwLockRead | WaitReason::RwLockWrite);
    let by = match (shared.holders.as_slice(), reason) {
        // Nobody overtakes another waiter in the queue.
        _ if is_rwlock && let Some(before) = before => (all(&[*before])?, Need::Any),
        // A writer waits for every other holder, known or not.
        (holders @ [_, ..], WaitReason::RwLockWrite) => {
            let known = holders.iter().filter_map(|holder| parties.task(*holder));
            (known.map(|task| task.key).collect(), Need::All)
        }
        // These have one holder. Anything else may have more holders than are proven.
        (holder @ [_], WaitReason::MutexLock | WaitReason::OnceCell | WaitReason::RwLockRead) => {
            (all(holder)?, Need::Any)
        }
        // The task that joins a set is among those who have the set, but none of its members.
        (_, WaitReason::Join) if shared.is_complete => {
            let others: Vec<Party> = shared
                .others
                .iter()
                .filter(|it| !is_it(it))
                .copied()
                .collect();
            (all(&others)?, Need::Any)
        }
        _ if shared.is_complete => (all(&shared.others)?, Need::Any),
        _ => return None,
    };
    (!by.0.is_empty()).then_some(by)
}
