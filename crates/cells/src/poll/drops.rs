//! Drops futures, to find out what becomes of what they have.

use super::{Ended, Poller, STACK};
use crate::{layout::STATE, machine::Machine};

/// The most words of scratch memory.
const MOST_SCRATCH: u64 = 1 << 13;

impl<M: Machine> Poller<'_, M> {
    /// Drops the future of the task at this position, as its runtime does on shutdown, and
    /// returns the tasks that this woke. What was written stays until the next revert.
    pub(crate) fn drop_future(&mut self, index: usize) -> (Ended, Vec<u64>) {
        let Some(cell) = self.polls.cells.get(index) else {
            return (Ended::Ready, Vec::new());
        };
        let header = cell.candidate.header;
        let state = cell.candidate.state.kept();
        if self.set_word(header + STATE, state.0).is_none() {
            return (Ended::Ready, Vec::new());
        }
        self.is_dropping = true;
        self.recorder.is_off = true;
        let ended = self.call(
            cell.candidate.vtable.shutdown,
            header,
            self.polls.thread(cell),
        );
        self.recorder.is_off = false;
        self.is_dropping = false;
        (ended, std::mem::take(&mut self.woken))
    }

    /// Returns the header of the task at this position; 0 if there is none.
    pub(crate) fn header(&self, index: usize) -> u64 {
        let cell = self.polls.cells.get(index);
        cell.map_or(0, |cell| cell.candidate.header)
    }

    /// Writes a word, until the next revert.
    pub(crate) fn set_word(&mut self, at: u64, word: u64) -> Option<()> {
        self.machine.write(at, &word.to_le_bytes()).ok()
    }

    /// Returns the address of a piece of scratch memory of this many words, by its number. It
    /// is at the end of the stack that no poll reaches.
    pub(crate) fn scratch(&self, number: usize, words: usize) -> Option<u64> {
        let begin = u64::try_from(number.checked_mul(words)?).ok()?;
        (begin + words as u64 <= MOST_SCRATCH).then_some(STACK.start + 8 * begin)
    }
}
