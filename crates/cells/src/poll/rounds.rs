//! A poll of a task, and further ones for as long as it wakes itself.

use rtops_image::Thread;

use super::{BUDGET, Ended, Poller, STACK};
use crate::{
    Unresolved,
    discover::Cell,
    layout::{STATE, State},
    machine::Machine,
};

/// How often any task is polled that wakes itself, if that does not take more than one poll may. A container of
/// futures does so that has polled one, or many, and leaves the rest for the next time.
const FEW_ROUNDS: u32 = 64;
/// The most instructions of further polls: of one task, all of which are kept in memory, and of all.
const BUDGET_ONE: u64 = 2_000_000;
pub(super) const BUDGET_ALL: u64 = 20_000_000;

impl<M: Machine> Poller<'_, M> {
    /// Polls a task, and again as long as it wakes itself for the sake of a container. The recorder has what
    /// ran.
    pub(crate) fn poll_cell(&mut self, cell: &Cell, thread: Option<&Thread>) -> Ended {
        self.recorder.clear();
        self.recorder.stack = Some(STACK);
        let begin = self.recorder.count;
        let mut state = cell.candidate.state;
        let mut ended = self.poll_once(cell, &mut state, thread);
        let mut seen = 0;
        let mut rounds = 0;
        let waits = !cell.candidate.state.is_notified();
        self.is_cut = false;
        while ended == Ended::Pending
            && waits
            && self.has_woken_itself
            && self.is_in_container(seen)
        {
            let before = self.recorder.count;
            let is_further = rounds >= FEW_ROUNDS || before - begin > BUDGET;
            if is_further && (before - begin > BUDGET_ONE || self.left_for_rounds == 0) {
                self.is_cut = true;
                break;
            }
            seen = self.recorder.leaves.len();
            let again = self.poll_once(cell, &mut state, thread);
            rounds += 1;
            if is_further {
                let ran = self.recorder.count - before;
                self.left_for_rounds = self.left_for_rounds.saturating_sub(ran);
                // What was seen so far is true all the same.
                if matches!(again, Ended::GivenUp(_)) {
                    self.is_cut = true;
                    break;
                }
            }
            ended = again;
        }
        self.revert();
        if ended == Ended::Pending && self.recorder.has_left_its_stack {
            return Ended::GivenUp(Unresolved::OtherStack);
        }
        ended
    }

    /// Whether something that was polled from this leaf on waits in a container, which has wakers of its own: a
    /// future that only gives others a turn wakes itself, too, and does the same the next time.
    fn is_in_container(&self, first: usize) -> bool {
        let leaves = self.recorder.leaves.get(first..).unwrap_or_default();
        leaves.iter().any(|leaf| {
            let mut inner = self.setup.inner.iter();
            inner.any(|(_, waker)| Some(&waker.clone) == leaf.stack.first())
        })
    }

    /// Polls a task that is in this state, which becomes the one that it is in afterwards.
    pub(super) fn poll_once(
        &mut self,
        cell: &Cell,
        state: &mut State,
        thread: Option<&Thread>,
    ) -> Ended {
        let header = cell.candidate.header;
        self.polled = header;
        self.has_woken_itself = false;
        if self
            .machine
            .write(header + STATE, &state.queued().0.to_le_bytes())
            .is_err()
        {
            return Ended::GivenUp(Unresolved::Fault);
        }
        let ended = self.call(cell.candidate.vtable.poll, header, thread);
        *state = self.word(header + STATE).map_or(State(0), State);
        match ended {
            Ended::Pending if state.is_complete() => Ended::Ready,
            ended => ended,
        }
    }
}
