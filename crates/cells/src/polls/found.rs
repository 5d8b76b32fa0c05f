//! Puts together the results of polls that the workers found.

use std::collections::HashMap;

use rtops_image::Tid;

use crate::{Inventory, Leaf, Registered, Resumed, State, Trace, VisitOrder, poll::Ended};

/// The result of resuming a thread inside a poll: the thread polls this task, which may
/// wake itself in each poll.
pub(super) struct Caught {
    pub(super) index: usize,
    pub(super) tid: Tid,
    pub(super) wakes_itself: Option<u32>,
}

/// The result of a poll.
pub(super) struct Outcome {
    pub(super) index: usize,
    pub(super) ended: Ended,
    pub(super) leaves: Vec<Leaf>,
    pub(super) noted: Vec<u64>,
    pub(super) wakes_itself: Option<u32>,
    pub(super) trace: u32,
}

/// What one worker found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) resumed: Vec<Resumed>,
    pub(super) caught: Vec<Caught>,
    pub(super) kept: Kept,
    pub(super) unknown: HashMap<String, usize>,
}

/// Distinct traces and stacks of leaves.
#[derive(Default)]
pub(super) struct Kept {
    traces: Vec<((u64, VisitOrder), Trace)>,
    numbers: HashMap<(u64, VisitOrder), u32>,
    stacks: Vec<Vec<u64>>,
    stack_numbers: HashMap<Vec<u64>, u32>,
}

impl Kept {
    /// Returns the number of the trace of the steps with this hash.
    pub(super) fn trace(
        &mut self,
        hash: u64,
        order: VisitOrder,
        make: impl FnOnce() -> Trace,
    ) -> u32 {
        let key = (hash, order);
        *self.numbers.entry(key).or_insert_with(|| {
            self.traces.push((key, make()));
            number(self.traces.len())
        })
    }

    /// Returns the number of a stack.
    pub(super) fn stack(&mut self, stack: Vec<u64>) -> u32 {
        *self.stack_numbers.entry(stack).or_insert_with_key(|stack| {
            self.stacks.push(stack.clone());
            number(self.stacks.len())
        })
    }

    /// Returns the leaves with the numbers of their stacks, sorted;
    /// children of a container may have equal ones.
    pub(super) fn leaves(&mut self, leaves: Vec<Registered>) -> Vec<Leaf> {
        let leaves = leaves.into_iter().map(|leaf| Leaf {
            stack: self.stack(leaf.stack),
            awaits: leaf.awaits,
            note: leaf.note,
        });
        let mut leaves: Vec<Leaf> = leaves.collect();
        leaves.sort_unstable();
        leaves
    }
}

/// Returns the number of the last entry.
fn number(count: usize) -> u32 {
    u32::try_from(count - 1).unwrap_or(u32::MAX)
}

/// Adds what the workers found to the inventory.
pub(super) fn add(found: Vec<Found>, inventory: &mut Inventory) {
    let mut all = Kept::default();
    let mut unknown: HashMap<String, usize> = HashMap::new();
    for Found {
        outcomes,
        resumed,
        caught,
        kept,
        unknown: own,
    } in found
    {
        let traces = kept.traces.into_iter();
        let traces: Vec<u32> = traces
            .map(|((hash, order), trace)| all.trace(hash, order, || trace))
            .collect();
        let stacks = kept.stacks.into_iter();
        let stacks: Vec<u32> = stacks.map(|stack| all.stack(stack)).collect();
        let renumbered = |leaves: Vec<Leaf>| -> Vec<Leaf> {
            let leaves = leaves.into_iter();
            let leaves = leaves.filter_map(|leaf| {
                let stack = at(&stacks, leaf.stack)?;
                Some(Leaf { stack, ..leaf })
            });
            leaves.collect()
        };
        inventory.polls += outcomes.len();
        for outcome in outcomes {
            let Some(task) = inventory.tasks.get_mut(outcome.index) else {
                continue;
            };
            task.trace = at(&traces, outcome.trace);
            task.leaves = renumbered(outcome.leaves);
            task.noted = outcome.noted;
            task.wakes_itself = outcome.wakes_itself.and_then(|stack| at(&stacks, stack));
            task.unresolved = outcome.ended.unresolved();
        }
        inventory
            .resumed
            .extend(resumed.into_iter().filter_map(|one| {
                Some(Resumed {
                    trace: at(&traces, one.trace)?,
                    leaves: renumbered(one.leaves),
                    ..one
                })
            }));
        for one in caught {
            let Some(task) = inventory.tasks.get_mut(one.index) else {
                continue;
            };
            task.wakes_itself = one.wakes_itself.and_then(|stack| at(&stacks, stack));
            if task.state == (State::Running { tid: None }) {
                task.state = State::Running { tid: Some(one.tid) };
                task.unresolved = None;
            }
        }
        for (what, count) in own {
            *unknown.entry(what).or_default() += count;
        }
    }
    inventory.traces = all.traces.into_iter().map(|(_, trace)| trace).collect();
    inventory.leaves = all.stacks;
    inventory.unknown_instructions = unknown.into_iter().collect();
    inventory.unknown_instructions.sort_unstable();
}

fn at(numbers: &[u32], number: u32) -> Option<u32> {
    let index = usize::try_from(number).ok()?;
    numbers.get(index).copied()
}
