//! What tasks wait for as memory tells: without an agent, and for locks that it does not know.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Shared, SharedKind};
use rtops_symbols::WaitReason;

use super::{Edge, Need, Waits, WaitsFor};
use crate::{
    dump::Dump,
    frames::Frames,
    shared::Parties,
    task::{Task, TaskKey},
};

impl<'a> Waits<'a> {
    /// Takes in what memory tells of what tasks wait for. Returns those of which that is all they wait for.
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
            let Some(reason) = only_wait(task, frames) else {
                continue;
            };
            let Some(shared) = fitting(reason, &shared) else {
                continue;
            };
            self.shared.push((shared, reason, task));
            if let Some(by) = who_lets_go(shared, reason, parties) {
                self.edges.entry(key).or_default().push(Edge {
                    what: WaitsFor::Shared(shared, reason),
                    others: Vec::new(),
                    by,
                    need: Need::Any,
                });
                explained.insert(key);
            }
        }
        explained
    }
}

/// What a task waits for that waits in one place only, if others can end that.
fn only_wait(task: &Task, frames: &Frames) -> Option<WaitReason> {
    let [leaf] = task.leaves.as_slice() else {
        return None;
    };
    let reason = frames.task_wait(frames.stack(leaf.stack))?;
    matches!(
        reason,
        WaitReason::BroadcastReceive
            | WaitReason::ChannelReceive
            | WaitReason::ChannelSend
            | WaitReason::MutexLock
            | WaitReason::Notify
            | WaitReason::OneshotReceive
            | WaitReason::RwLock
            | WaitReason::RwLockRead
            | WaitReason::RwLockWrite
            | WaitReason::SemaphoreAcquire
            | WaitReason::ServiceReady
            | WaitReason::PoolConnection
            | WaitReason::WatchChanged
    )
    .then_some(reason)
}

/// The one of these that a task with this reason waits for. What keeps the waker of a tracked task is a place for
/// one, too.
fn fitting<'a>(reason: WaitReason, shared: &[&'a Shared]) -> Option<&'a Shared> {
    let is_slot = matches!(
        reason,
        WaitReason::ChannelReceive | WaitReason::OneshotReceive
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

/// The tasks one of which has to go on before a wait can end; `None` where somebody else may end it.
fn who_lets_go(shared: &Shared, reason: WaitReason, parties: &Parties) -> Option<Vec<TaskKey>> {
    // A mutex has one holder. Of all else there may be more than those of which it is proven.
    let is_only_one = reason == WaitReason::MutexLock && shared.holders.len() == 1;
    let by = match (is_only_one, shared.is_complete) {
        (true, _) => parties.tasks(&shared.holders)?,
        (false, true) => parties.tasks(&shared.others)?,
        (false, false) => return None,
    };
    (!by.is_empty()).then(|| by.iter().map(|task| task.key).collect())
}
