//! Futures inside `block_on` that panic where they wait, to find out what becomes of what they have.
//!
//! No function is known that drops such a future: it is a part of the stack of its thread. But a program that unwinds
//! when it panics drops it then. So the thread goes on, as if something had woken it, until it polls the future. As if
//! that poll panicked, the unwinder of the program is called, with an exception that nobody knows, and runs the landing
//! pads, which drop the future.

use std::mem;

use rtops_emulate::Registers;
use rtops_image::Thread;

use super::{Ended, Poller, general, set};
use crate::{Unresolved, machine::Machine};

/// The most instructions up to a waker, and those of the unwinder and of all that is dropped.
const BUDGET_TO_A_WAKER: u64 = 200_000;
const BUDGET: u64 = 1_500_000;
/// The words of an exception: its class, which must not be that of Rust, a function that nobody calls, and what the
/// unwinder keeps.
const EXCEPTION: [u64; 4] = [u64::from_be_bytes(*b"RTOPS\0\0\0"), 0, 0, 0];

/// The call with which a thread polls its future: its address, and the stack pointer there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollCall {
    ip: u64,
    sp: u64,
}

impl<M: Machine> Poller<'_, M> {
    /// The call with which a parked thread polls its future once it goes on: the first of those that lead to where
    /// that registers a waker.
    pub(crate) fn poll_call(&mut self, thread: &Thread) -> Option<PollCall> {
        let clones = self.recorder.cloning().to_vec();
        self.recorder.clear();
        self.go_on(thread, BUDGET_TO_A_WAKER, &clones);
        let is_there = clones.contains(&self.machine.registers().rip);
        self.revert();
        let (ip, sp) = self.recorder.outermost().filter(|_| is_there)?;
        Some(PollCall { ip, sp })
    }

    /// Has the future that a parked thread polls panic as it is polled, with memory for an exception at `exception`.
    /// Returns how that ended and which tasks it woke. What was written stays until the next revert.
    pub(crate) fn unwind_future(
        &mut self,
        thread: &Thread,
        poll: PollCall,
        exception: u64,
    ) -> (Ended, Vec<u64>) {
        self.recorder.is_off = true;
        self.is_dropping = true;
        let ended = self.raise_at(thread, poll, exception);
        self.is_dropping = false;
        self.recorder.is_off = false;
        let ended = ended.unwrap_or_else(Ended::GivenUp);
        (ended, mem::take(&mut self.woken))
    }

    fn raise_at(
        &mut self,
        thread: &Thread,
        poll: PollCall,
        exception: u64,
    ) -> Result<Ended, Unresolved> {
        self.go_on(thread, BUDGET_TO_A_WAKER, &[poll.ip]);
        let registers = self.machine.registers();
        if (registers.rip, general(registers, Registers::RSP)) != (poll.ip, poll.sp) {
            return Err(Unresolved::Locked);
        }
        self.run_to(&[], 1, Some(thread));
        self.woken.clear();
        self.raise(thread, exception)
    }

    /// Calls the unwinder as if the function did that at which the thread stands.
    fn raise(&mut self, thread: &Thread, exception: u64) -> Result<Ended, Unresolved> {
        let unwinder = self.setup.panics.first();
        let unwinder = *unwinder.ok_or(Unresolved::Panic)?;
        for (at, word) in (exception..).step_by(8).zip(EXCEPTION) {
            self.set_word(at, word).ok_or(Unresolved::Fault)?;
        }
        let sp = general(self.machine.registers(), Registers::RSP);
        let returns = self.word(sp).ok_or(Unresolved::Fault)?;
        let registers = self.machine.registers_mut();
        registers.rip = unwinder;
        set(registers, Registers::RDI, exception);
        // Behind the future, main may drop its runtime with all tasks. The unwinder returns if nobody would catch the
        // panic.
        let cells = self.polls.cells.iter();
        let shutdowns = cells.map(|cell| cell.candidate.vtable.shutdown);
        let mut ends: Vec<u64> = shutdowns.chain([returns]).collect();
        ends.sort_unstable();
        ends.dedup();
        let begin = self.recorder.count;
        self.ends_in_a_park = true;
        let ended = loop {
            let budget = BUDGET.saturating_sub(self.recorder.count - begin);
            let ended = self.run_to(&ends, budget, Some(thread));
            let registers = self.machine.registers();
            let is_back = registers.rip == returns;
            match general(registers, Registers::RSP) == sp + 8 {
                true if is_back => break Ended::GivenUp(Unresolved::Panic),
                // Others call from there, too.
                false if is_back && ended == Ended::Pending => {}
                _ => break ended,
            }
        };
        self.ends_in_a_park = false;
        match ended {
            // Who catches what is no panic of Rust ends the process.
            Ended::GivenUp(Unresolved::Exit) => Ok(Ended::Pending),
            ended => Ok(ended),
        }
    }
}
