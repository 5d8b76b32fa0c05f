//! Polls a task, and polls it again for as long as it wakes itself.

use rtops_image::Thread;

use super::{BUDGET, Ended, Poller, STACK};
use crate::{
    Unresolved,
    discover::Cell,
    layout::{STATE, State},
    machine::Machine,
};

/// How often a task that wakes itself is polled again in any case, if that takes no more
/// than one poll may. A container of futures wakes itself after it has polled one or many
/// of its futures, and leaves the rest for the next time.
const FEW_ROUNDS: u32 = 64;
/// The most instructions of further polls: of one task, all of
/// which are kept in memory, and of all tasks.
const BUDGET_ONE: u64 = 2_000_000;
pub(super) const BUDGET_ALL: u64 = 20_000_000;

impl<M: Machine> Poller<'_, M> {
    /// Polls a task, and polls it again for as long as it wakes itself on behalf of a
    /// container. The recorder has what ran.
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
                // What was seen so far is still true.
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

    /// Whether something that was polled from this leaf on waits in a
    /// container, which has its own wakers. A future that only yields
    /// to others wakes itself, too, but does the same the next time.
    fn is_in_container(&self, first: usize) -> bool {
        let leaves = self.recorder.leaves.get(first..).unwrap_or_default();
        leaves.iter().any(|leaf| {
            let mut inner = self.setup.inner.iter();
            inner.any(|(_, waker)| Some(&waker.clone) == leaf.stack.first())
        })
    }

    /// Polls a task that is in this state, and updates the state.
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
