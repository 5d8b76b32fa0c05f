//! Who it is that waits for something or has it in memory.

use std::collections::HashMap;

use rtops_protocol::Party;

use crate::{dump::Dump, task::Task};

/// The tasks of a dump, as those are known that wait for something or have it.
#[derive(Debug)]
pub struct Parties<'a> {
    /// Of several parts of one task, it is not known which is meant.
    by_cell: HashMap<u64, Option<&'a Task>>,
    inside_block_on: HashMap<i32, &'a Task>,
}

impl<'a> Parties<'a> {
    /// Those of a dump.
    #[must_use]
    pub fn of(dump: &'a Dump) -> Self {
        let mut by_cell: HashMap<u64, Option<&Task>> = HashMap::new();
        for task in &dump.tasks {
            if let Some(cell) = task.memory().and_then(|memory| memory.cell) {
                let known = by_cell.entry(cell);
                known.and_modify(|it| *it = None).or_insert(Some(task));
            }
        }
        let futures = dump.tasks.iter();
        let futures = futures.filter_map(|task| Some((task.block_on()?, task)));
        Self {
            by_cell,
            inside_block_on: futures.collect(),
        }
    }

    /// The task with that cell.
    #[must_use]
    pub fn by_cell(&self, cell: u64) -> Option<&'a Task> {
        self.by_cell.get(&cell).copied().flatten()
    }

    /// The task, if it is one that the dump has, or the future inside `block_on`.
    #[must_use]
    pub fn task(&self, party: Party) -> Option<&'a Task> {
        match party {
            Party::Task { cell } => self.by_cell(cell),
            Party::BlockOn { tid } => self.inside_block_on.get(&tid).copied(),
            Party::Thread { .. } => None,
        }
    }

    /// All of these; `None` where one of them is no task that the dump has.
    #[must_use]
    pub fn tasks(&self, parties: &[Party]) -> Option<Vec<&'a Task>> {
        parties.iter().map(|party| self.task(*party)).collect()
    }
}
