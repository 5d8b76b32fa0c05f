//! Which tasks in memory are those that an agent tracks: where the agent's own record of one is.

use std::collections::HashSet;

use rtops_cells::{Task, first_word};
use rtops_image::{Image, Tid};
use rtops_protocol::{Reply, TaskKind};

/// How much of a stack is looked at, from where it is on.
const STACK: u64 = 256 << 10;

/// What an agent's records have in memory.
#[derive(Default)]
pub struct Marks {
    all: HashSet<u64>,
    /// The cells to which wakers of tracked tasks lead: these need no other mark.
    cells: HashSet<u64>,
}

impl Marks {
    /// Those of the tasks that an agent tells of. A span is a part of its task.
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

    /// That in the future of a task.
    pub fn of_task(&self, image: &impl Image, task: &Task) -> Option<u64> {
        if self.all.is_empty() || self.cells.contains(&task.cell) {
            return None;
        }
        first_word(image, task.future.clone(), &self.all)
    }

    /// That of the future which a thread polls on its stack.
    pub fn of_thread(&self, image: &impl Image, tid: Tid) -> Option<u64> {
        if self.all.is_empty() {
            return None;
        }
        let thread = image.threads().iter().find(|thread| thread.tid == tid)?;
        let from = thread.registers.rsp;
        first_word(image, from..from.saturating_add(STACK), &self.all)
    }
}
