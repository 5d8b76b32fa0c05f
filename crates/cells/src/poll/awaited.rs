//! Finds out whether a task waits at a place for a waker.

use super::{Ended, Poller, STACK};
use crate::machine::Machine;

impl<M: Machine> Poller<'_, M> {
    /// Whether the poll of the task at this position registers exactly one waker, and leaves it
    /// at this place. A waker there may be left over from an earlier wait, and a container of
    /// futures has another one, as has an agent for what it tracks.
    pub(crate) fn waits_at(&mut self, index: usize, place: u64) -> bool {
        let Some(cell) = self.polls.cells.get(index) else {
            return false;
        };
        let mut state = cell.candidate.state;
        let words = |this: &mut Self| [this.word(place), this.word(place + 8)];
        let before = words(self);
        self.recorder.clear();
        self.recorder.stack = Some(STACK);
        let ended = self.poll_once(cell, &mut state, self.polls.thread(cell));
        let is_left_there = words(self) != before;
        let is_only_one = self.recorder.leaves.len() == 1 && self.recorder.noted.is_empty();
        self.revert();
        ended == Ended::Pending && is_only_one && is_left_there
    }
}
