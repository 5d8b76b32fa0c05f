//! Finds task handles on the stack where a task waits.
//!
//! A handle that joins a task points to the same memory as the task's wakers. This holds for tokio
//! and async-task; where it does not, nothing is found. The waker of each tracked task is known, so
//! its address can be recognized in the copied stack of another task. Whether the frame that
//! contains it awaits a handle is for the reader to decide, who has symbols.

use std::collections::HashMap;

use rtops_protocol::{HandleSeen, StackId};
use rtops_tasks::{StackCopy, waker_addresses};

/// How far up the stack to search, in words: the frame that awaits a handle is close to the leaf.
const WORDS: usize = 512;
/// More handles than this in one leaf can't be told apart.
const MAX_IN_A_LEAF: usize = 8;

/// The addresses of all tracked tasks' wakers.
pub(super) struct Handles {
    tasks: HashMap<u64, u64>,
    least: u64,
    most: u64,
}

impl Handles {
    /// Collects the addresses of the tasks that exist now.
    pub(super) fn now() -> Self {
        let tasks: HashMap<u64, u64> = waker_addresses()
            .into_iter()
            .map(|(address, task)| (address, task.get()))
            .collect();
        Self {
            least: tasks.keys().copied().min().unwrap_or(u64::MAX),
            most: tasks.keys().copied().max().unwrap_or(0),
            tasks,
        }
    }

    /// Returns the handles in the registers and copied words of a leaf of `task`, whose copy was
    /// unwound to `addresses`, stack `stack` of the dump.
    pub(super) fn seen(
        &self,
        task: u64,
        stack: StackId,
        addresses: &[u64],
        copy: &StackCopy<'_>,
    ) -> Vec<HandleSeen> {
        let mut seen: Vec<HandleSeen> = Vec::new();
        // The return address of entry `n` is where the words of entry `n - 1` end.
        let mut returns = addresses.iter().skip(1).peekable();
        let mut entry = 0;
        let words = copy.stack.bytes.chunks_exact(8).take(WORDS);
        let words = words.map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        for word in copy
            .saved
            .into_iter()
            .chain([copy.stack.registers.bp])
            .chain(words)
        {
            if returns.next_if_eq(&&word).is_some() {
                entry += 1;
                continue;
            }
            let found = self.task(word).filter(|of| *of != task);
            let Some(found) = found.map(|of| HandleSeen {
                task,
                stack,
                entry,
                of,
            }) else {
                continue;
            };
            if seen.len() < MAX_IN_A_LEAF && !seen.contains(&found) {
                seen.push(found);
            }
        }
        seen
    }

    fn task(&self, word: u64) -> Option<u64> {
        if !(self.least..=self.most).contains(&word) {
            return None;
        }
        self.tasks.get(&word).copied()
    }
}

#[cfg(test)]
mod tests {
    use rtops_unwind::{StackRegisters, StackSlice};

    use super::{HandleSeen, Handles, StackCopy, StackId};

    #[test]
    fn a_handle_is_found_with_the_frame_it_lies_in() {
        let handles = Handles {
            tasks: [(0x7000, 7), (0x8000, 8), (0x9000, 9)].into(),
            least: 0x7000,
            most: 0x9000,
        };
        let words: [u64; 7] = [1, 0x9000, 0x111, 0x8001, 0x7000, 0x222, 0x7000];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let copy = StackCopy {
            stack: StackSlice {
                registers: StackRegisters::default(),
                bytes: &bytes,
            },
            saved: [0, 0, 0x8000, 0, 0],
            truncated: false,
            is_own_stack: true,
            owners: &[],
        };
        let seen = handles.seen(9, StackId(2), &[0x100, 0x111, 0x222], &copy);
        let found = |entry, of| HandleSeen {
            task: 9,
            stack: StackId(2),
            entry,
            of,
        };
        assert_eq!(seen, [found(0, 8), found(1, 7), found(2, 7)]);
    }
}
