//! Calls the functions of wakers, to find out whether they are
//! wakers, and to have all children polled.

use rtops_emulate::Registers;
use rtops_image::Thread;

use super::{Ended, Poller, general};
use crate::{
    Unresolved,
    discover::Cell,
    layout::STATE,
    machine::Machine,
    scan::{InnerWaker, Order},
    vtable::WakerVtable,
};

/// How far around a waker's data its reference counts are searched for, in bytes. The counts
/// of an `Arc` are that far before content that is aligned to one or two cache lines.
const BEFORE: u64 = 256;
const BEHIND: u64 = 1024;
const PIECE: usize = 64;
/// The most instructions of a clone, which counts up or allocates. What is no waker may loop.
const CLONE_BUDGET: u64 = 4_000;
/// More references than anything has.
const MOST_REFERENCES: u32 = 1 << 24;

/// The result of trying whether something is a waker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tried {
    Waker,
    NoWaker,
    /// Its function does more than any clone does, whatever it is called with.
    NoClone,
}

/// What the clone function of a vtable returns for a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cloned {
    /// A waker of the task, and the order of its two words if that shows.
    Waker { order: Option<Order> },
    /// Nothing that counts as a reference to the task.
    NoWaker,
}

impl<M: Machine> Poller<'_, M> {
    /// Calls the clone function of a vtable for a task.
    pub(crate) fn clone_of(&mut self, waker: &WakerVtable, cell: &Cell) -> Cloned {
        let header = cell.candidate.header;
        let ended = self.call_clone(waker, header);
        let state = self.word(header + STATE);
        let order = self.returned_waker(waker);
        self.revert();
        let is_one_more = state == Some(cell.candidate.state.with_one_more().0);
        if ended == Ended::Pending && is_one_more {
            Cloned::Waker { order }
        } else {
            Cloned::NoWaker
        }
    }

    fn call_clone(&mut self, waker: &WakerVtable, data: u64) -> Ended {
        self.recorder.is_off = true;
        let thread = self.polls.any_thread;
        let ended = self.call_within(CLONE_BUDGET, waker.clone, data, thread);
        self.recorder.is_off = false;
        ended
    }

    /// Returns the order of the two words of a waker with these functions, if one was returned:
    /// its first word is in the first register. The functions are compared because the compiler
    /// may have made several vtables of them.
    fn returned_waker(&mut self, waker: &WakerVtable) -> Option<Order> {
        let registers = self.machine.registers();
        let returned = [
            (Registers::RAX, Order::VtableFirst),
            (Registers::RDX, Order::DataFirst),
        ];
        let returned = returned.map(|(register, order)| (general(registers, register), order));
        let functions = waker.words();
        let mut is_same = |vtable: u64| {
            let mut words = functions.iter().zip((vtable..).step_by(8));
            words.all(|(function, at)| self.word(at) == Some(*function))
        };
        let mut returned = returned.into_iter();
        let found = returned.find(|(vtable, _)| is_same(*vtable));
        found.map(|(_, order)| order)
    }

    /// Tries whether what looks like a waker is one: its clone must have the same functions,
    /// and be one more reference to something that had one.
    pub(crate) fn try_waker(&mut self, waker: &InnerWaker) -> Tried {
        let before = self.object(waker.data);
        let ended = self.call_clone(&waker.vtable, waker.data);
        let after = self.object(waker.data);
        let is_waker = ended == Ended::Pending
            && self.returned_waker(&waker.vtable).is_some()
            && is_one_more(&before, &after);
        self.revert();
        match ended {
            _ if is_waker => Tried::Waker,
            Ended::GivenUp(Unresolved::Endless) => Tried::NoClone,
            _ => Tried::NoWaker,
        }
    }

    /// Reads what is around a waker's data, in half words.
    fn object(&mut self, data: u64) -> Vec<u32> {
        let from = data.saturating_sub(BEFORE);
        let mut bytes = [0; (BEFORE + BEHIND) as usize];
        for (piece, at) in bytes.chunks_mut(PIECE).zip((from..).step_by(PIECE)) {
            // What can't be read can't hold a count, either.
            let _missing = self.machine.read(at, piece);
        }
        let halves = bytes.as_chunks().0.iter();
        halves.map(|half| u32::from_le_bytes(*half)).collect()
    }

    /// Calls the wakers of executors inside tasks, so that they poll all their children. The
    /// effects of a call are kept if it returns, and undone if not.
    pub(super) fn wake(&mut self, wakers: &[InnerWaker], thread: Option<&Thread>) {
        let usual = self.breakpoints.clone();
        for (_, waker) in &self.setup.wakers {
            self.breakpoints.insert(waker.drop);
        }
        self.recorder.is_off = true;
        for waker in wakers {
            match self.call(waker.vtable.wake_by_ref, waker.data, thread) {
                Ended::Pending => self.commit(),
                _ => self.revert(),
            }
        }
        self.recorder.is_off = false;
        self.breakpoints = usual;
    }
}

/// Whether every word that the clone counted up was a reference count before; there may be
/// none. In freed memory, or at data that only seems to belong to the functions of a waker
/// next to it, what is counted up is a zero or a pointer.
fn is_one_more(before: &[u32], after: &[u32]) -> bool {
    let mut halves = before.iter().zip(after);
    halves.all(|(before, after)| {
        before.wrapping_add(1) != *after || (1..MOST_REFERENCES).contains(before)
    })
}
