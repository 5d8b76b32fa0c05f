//! Drops the future inside `block_on` by a panic, to find out what becomes of what it holds.
//!
//! Such a future is part of its thread's stack, and no known function drops it. But a program that
//! unwinds on a panic has landing pads that do. So the thread continues, as if something had woken
//! it, up to the call that polls the future. There the program's own unwinder is called with a
//! foreign exception, as if the poll had panicked, and runs the landing pads.

use std::mem;

use rtops_emulate::Registers;
use rtops_image::Thread;

use super::{Ended, Poller, general, set};
use crate::{Unresolved, machine::Machine};

/// The most instructions until a waker is registered, and then for unwinding and dropping.
const BUDGET_TO_A_WAKER: u64 = 200_000;
const BUDGET: u64 = 1_500_000;
/// The words of an exception: its class, which must not be Rust's, a cleanup function that is never
/// called, and two words for the unwinder.
const EXCEPTION: [u64; 4] = [u64::from_be_bytes(*b"RTOPS\0\0\0"), 0, 0, 0];

/// The call that polls a thread's future: its address, and the stack pointer there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollCall {
    ip: u64,
    sp: u64,
}

impl<M: Machine> Poller<'_, M> {
    /// Returns the call with which a parked thread polls its future when it continues: the outermost
    /// of the calls that are open when the future registers a waker.
    pub(crate) fn poll_call(&mut self, thread: &Thread) -> Option<PollCall> {
        let clones = self.recorder.cloning().to_vec();
        self.recorder.clear();
        self.go_on(thread, BUDGET_TO_A_WAKER, &clones);
        let is_there = clones.contains(&self.machine.registers().rip);
        self.revert();
        let (ip, sp) = self.recorder.outermost().filter(|_| is_there)?;
        Some(PollCall { ip, sp })
    }

    /// Makes the future that a parked thread polls panic, with memory for an exception at
    /// `exception`. Returns how that ended and which tasks it woke. What it wrote stays until the
    /// next revert.
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

    /// Calls the unwinder as if the function that the thread has just entered had panicked.
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
        // After the future, main may drop its runtime with all tasks. The unwinder returns if nothing
        // catches the panic.
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
                // This call is made from elsewhere, too.
                false if is_back && ended == Ended::Pending => {}
                _ => break ended,
            }
        };
        self.ends_in_a_park = false;
        match ended {
            // Rust code that catches a foreign exception aborts the process.
            Ended::GivenUp(Unresolved::Exit) => Ok(Ended::Pending),
            ended => Ok(ended),
        }
    }
}
