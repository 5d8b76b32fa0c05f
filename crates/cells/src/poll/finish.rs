//! Finishes polls that threads were inside of: the thread goes on in the interpreter until
//! the poll ends, and then the task can be polled once more.

use rtops_emulate::Registers;
use rtops_image::Thread;

use super::{Ended, Poller, STACK, registers, set};
use crate::{
    discover::Cell,
    layout::{STATE, State},
    machine::Machine,
};

/// The most instructions that the rest of a poll may run. A poll that computes does not end soon.
const BUDGET: u64 = 200_000;

/// The result of finishing a poll.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Finished {
    /// It did not end, or this thread did not poll the task: it may
    /// have been one of several candidates.
    No,
    /// It ended.
    Yes {
        /// Where the next poll wakes the task, if this poll and the next one both ask for that.
        wakes_itself: Option<Vec<u64>>,
    },
}

impl<M: Machine> Poller<'_, M> {
    /// Resumes a thread that may be inside a poll of the task, until the poll returns to `end`.
    pub(crate) fn finish(&mut self, cell: &Cell, thread: &Thread, end: u64) -> Finished {
        let header = cell.candidate.header;
        self.recorder.clear();
        let mut own = registers(thread);
        set(&mut own, Registers::RAX, thread.registers.rax);
        *self.machine.registers_mut() = own;
        self.polled = header;
        self.has_woken_itself = false;
        self.recorder.is_off = true;
        let ended = self.run_to(&[end], BUDGET, Some(thread));
        self.recorder.is_off = false;
        let state = self.word(header + STATE).map(State);
        let finished = match state {
            Some(state) if ended == Ended::Pending && !state.is_running() => Finished::Yes {
                wakes_itself: self.wakes_itself(cell, state, thread),
            },
            _ => Finished::No,
        };
        self.revert();
        finished
    }

    /// Returns where a task wakes itself in its next poll, if the one before asked for that.
    fn wakes_itself(&mut self, cell: &Cell, mut state: State, thread: &Thread) -> Option<Vec<u64>> {
        let asked = self.has_woken_itself || state.is_notified();
        if !asked || state.is_complete() {
            return None;
        }
        self.recorder.stack = Some(STACK);
        let ended = self.poll_once(cell, &mut state, Some(thread));
        let wakes = ended == Ended::Pending && self.has_woken_itself;
        self.recorder.take_wake().filter(|_| wakes)
    }
}
