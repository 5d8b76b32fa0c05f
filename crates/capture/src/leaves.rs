//! Which stacks belong to which task, in twelve bytes per leaf.

use std::collections::HashMap;

use rtops_protocol::Leaf;

/// The leaves of a dump's tasks, while they come in.
#[derive(Default)]
pub(super) struct Leaves {
    all: Vec<(u32, Leaf)>,
    /// For each task that was probed again, the position before which its leaves are void.
    void_before: HashMap<u32, usize>,
}

impl Leaves {
    /// Adds a leaf of the task with this number in the dump.
    pub(super) fn add(&mut self, index: usize, leaf: Leaf) {
        if let Ok(index) = u32::try_from(index) {
            self.all.push((index, leaf));
        }
    }

    /// Discards all leaves of a task so far.
    pub(super) fn discard(&mut self, index: usize) {
        if let Ok(index) = u32::try_from(index) {
            self.void_before.insert(index, self.all.len());
        }
    }

    /// Returns the leaves sorted by task. Those of one task stay in the order in which they came.
    pub(super) fn sorted(self) -> SortedLeaves {
        let mut position = 0;
        let mut all = self.all;
        all.retain(|(index, _)| {
            position += 1;
            self.void_before
                .get(index)
                .is_none_or(|void| position > *void)
        });
        all.sort_by_key(|(index, _)| *index);
        SortedLeaves(all)
    }
}

/// The leaves of a dump's tasks, once all have come in.
#[derive(Default)]
pub(super) struct SortedLeaves(Vec<(u32, Leaf)>);

impl SortedLeaves {
    /// Returns the leaves of the task with this number in the dump.
    pub(super) fn of(&self, index: usize) -> Vec<Leaf> {
        let Ok(index) = u32::try_from(index) else {
            return Vec::new();
        };
        let start = self.0.partition_point(|(task, _)| *task < index);
        let own = self.0.get(start..).unwrap_or_default().iter();
        own.take_while(|(task, _)| *task == index)
            .map(|(_, leaf)| *leaf)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rtops_protocol::{LeafEnd, StackId};

    use super::{Leaf, Leaves};

    #[test]
    fn leaves_come_back_by_task_and_without_the_discarded() {
        let leaf = |stack| Leaf {
            stack: StackId(stack),
            end: LeafEnd::Complete,
        };
        let mut leaves = Leaves::default();
        for (index, stack) in [(2, 20), (1, 10), (2, 21), (1, 11)] {
            leaves.add(index, leaf(stack));
        }
        leaves.discard(2);
        leaves.add(2, leaf(22));
        let leaves = leaves.sorted();
        assert_eq!(leaves.of(0), []);
        assert_eq!(leaves.of(1), [leaf(10), leaf(11)]);
        assert_eq!(leaves.of(2), [leaf(22)]);
    }
}
