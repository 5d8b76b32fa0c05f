//! What tasks wait for as memory tells: without an agent, and for locks that it does not know.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Party, Shared, SharedKind};
use rtops_symbols::WaitReason;

use super::{Edge, Need, Waits, WaitsFor};
use crate::{
    dump::Dump,
    frames::Frames,
    task::{Task, TaskKey},
};

/// Who the parties of a dump are. Of several parts of one task, which is meant is not known.
#[derive(Debug)]
pub struct Parties<'a> {
    cells: HashMap<u64, Option<&'a Task>>,
    futures: HashMap<i32, &'a Task>,
}

impl<'a> Parties<'a> {
    /// Those of a dump.
    pub fn of(dump: &'a Dump) -> Self {
        let mut this = Self {
            cells: HashMap::new(),
            futures: HashMap::new(),
        };
        for task in &dump.tasks {
            if let Some(cell) = task.memory().and_then(|memory| memory.cell) {
                let known = this.cells.entry(cell);
                known.and_modify(|it| *it = None).or_insert(Some(task));
            }
            if let Some(tid) = task.block_on() {
                this.futures.insert(tid, task);
            }
        }
        this
    }

    /// The task with that cell.
    pub fn by_cell(&self, cell: u64) -> Option<&'a Task> {
        self.cells.get(&cell).copied().flatten()
    }

    /// The task that is a party; `None` for a thread.
    pub fn task(&self, party: Party) -> Option<&'a Task> {
        match party {
            Party::Task { cell } => self.by_cell(cell),
            Party::BlockOn { tid } => self.futures.get(&tid).copied(),
            Party::Thread { .. } => None,
        }
    }

    /// These parties as tasks; `None` where one of them is no known task.
    pub fn tasks(&self, parties: &[Party]) -> Option<Vec<&'a Task>> {
        parties.iter().map(|party| self.task(*party)).collect()
    }
}

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
            let reason = self.task(key).and_then(|task| only_wait(task, frames));
            let (Some(reason), [shared]) = (reason, shared.as_slice()) else {
                continue;
            };
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
        WaitReason::ChannelReceive
            | WaitReason::ChannelSend
            | WaitReason::MutexLock
            | WaitReason::OneshotReceive
            | WaitReason::RwLock
            | WaitReason::RwLockRead
            | WaitReason::RwLockWrite
            | WaitReason::SemaphoreAcquire
    )
    .then_some(reason)
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
