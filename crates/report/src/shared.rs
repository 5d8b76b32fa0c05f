//! Finds the tasks that wait for something or have its address in memory.

use std::collections::HashMap;

use rtops_protocol::Party;

use crate::{dump::Dump, task::Task};

/// The tasks of a dump, indexed by what identifies a [`Party`].
#[derive(Debug)]
pub struct Parties<'a> {
    /// `None` if the cell has several tracked parts, since it is unknown which one is meant.
    by_cell: HashMap<u64, Option<&'a Task>>,
    inside_block_on: HashMap<i32, &'a Task>,
}

impl<'a> Parties<'a> {
    /// Indexes the tasks of a dump.
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

    /// Returns the task with this cell.
    #[must_use]
    pub fn by_cell(&self, cell: u64) -> Option<&'a Task> {
        self.by_cell.get(&cell).copied().flatten()
    }

    /// Returns the task of a party or its future inside `block_on`, if the dump has it.
    #[must_use]
    pub fn task(&self, party: Party) -> Option<&'a Task> {
        match party {
            Party::Task { cell } => self.by_cell(cell),
            Party::BlockOn { tid } => self.inside_block_on.get(&tid).copied(),
            Party::Thread { .. } => None,
        }
    }

    /// Returns the tasks of all parties; `None` if one of them is not in the dump.
    #[must_use]
    pub fn tasks(&self, parties: &[Party]) -> Option<Vec<&'a Task>> {
        parties.iter().map(|party| self.task(*party)).collect()
    }
}
