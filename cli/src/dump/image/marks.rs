//! Finds which tasks in memory an agent tracks, by where the agent's own record of each one is.

use std::collections::HashSet;

use rtops_cells::{Task, first_word};
use rtops_image::{Image, Tid};
use rtops_protocol::{Reply, TaskKind};

/// How much of a stack to search, in bytes from the stack pointer on.
const STACK: u64 = 256 << 10;

/// The marks of an agent's records in memory.
#[derive(Default)]
pub struct Marks {
    all: HashSet<u64>,
    /// The cells that wakers of tracked tasks lead to: these tasks need no other mark.
    cells: HashSet<u64>,
}

impl Marks {
    /// Collects the marks of the tasks that an agent reports. A span is part of its task.
    pub fn of(replies: &[Reply]) -> Self {
        let mut this = Self::default();
        for reply in replies {
            let Reply::Tasks(tasks) = reply else {
                continue;
            };
            for task in tasks.iter().filter(|task| task.kind != TaskKind::Span) {
                this.all.insert(task.mark);
                this.cells.extend(task.cell);
            }
        }
        this
    }

    /// Returns the mark in the future of a task.
    pub fn of_task(&self, image: &impl Image, task: &Task) -> Option<u64> {
        if self.all.is_empty() || self.cells.contains(&task.cell) {
            return None;
        }
        first_word(image, task.future.clone(), &self.all)
    }

    /// Returns the mark of the future that a thread polls on its stack.
    pub fn of_thread(&self, image: &impl Image, tid: Tid) -> Option<u64> {
        if self.all.is_empty() {
            return None;
        }
        let thread = image.threads().iter().find(|thread| thread.tid == tid)?;
        let from = thread.registers.rsp;
        first_word(image, from..from.saturating_add(STACK), &self.all)
    }
}
