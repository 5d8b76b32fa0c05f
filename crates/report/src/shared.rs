//! Who it is that waits for something or has it in memory.

use std::collections::HashMap;

use rtops_protocol::Party;

use crate::{
    dump::Dump,
    task::{Task, TaskKey},
};

/// The tasks of a dump, as those are known that wait for something or have it.
#[derive(Debug)]
pub struct Parties {
    by_cell: HashMap<u64, TaskKey>,
    inside_block_on: HashMap<i32, TaskKey>,
}

impl Parties {
    /// Those of a dump.
    #[must_use]
    pub fn of(dump: &Dump) -> Self {
        let tasks = || dump.tasks.iter();
        let by_cell = |task: &Task| Some((task.memory()?.cell?, task.key));
        Self {
            by_cell: tasks().filter_map(by_cell).collect(),
            inside_block_on: tasks()
                .filter_map(|task| Some((task.block_on()?, task.key)))
                .collect(),
        }
    }

    /// The task, if it is one that the dump has, or the future inside `block_on`.
    #[must_use]
    pub fn task(&self, party: Party) -> Option<TaskKey> {
        match party {
            Party::Task { cell } => self.by_cell.get(&cell).copied(),
            Party::BlockOn { tid } => self.inside_block_on.get(&tid).copied(),
            Party::Thread { .. } => None,
        }
    }
}
