//! The machine that polls run on.

use std::ops::Range;

use rtops_emulate::{Access, Breakpoints, Emulator, Fault, Observer, Registers, Stop};

/// Registers, memory, and a way to run instructions: the interpreter, or the processor,
/// stepping through a process.
///
/// A poll sets it up and, at each [`Stop`], answers what the code asks of the kernel. So a
/// machine must never pass anything on to a kernel.
pub trait Machine {
    /// The registers.
    fn registers(&self) -> &Registers;

    /// The registers, for changing them.
    fn registers_mut(&mut self) -> &mut Registers;

    /// Fills `into` from this address on.
    ///
    /// # Errors
    /// [`Fault`] if the code could not read there.
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Writes all of `bytes`, or nothing.
    ///
    /// # Errors
    /// [`Fault`] if the code could not write there.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Adds memory that reads as zeros, in place of whatever is there.
    fn map(&mut self, range: Range<u64>, access: Access);

    /// Makes the present memory the state that [`revert`](Self::revert) returns to.
    fn commit(&mut self);

    /// Drops what was written and mapped since the last [`commit`](Self::commit).
    fn revert(&mut self);

    /// Runs from `rip` on, and returns why it stopped. It stops at each breakpoint, except one at
    /// the first instruction, and after at most `budget` instructions; each byte that a repeated
    /// string instruction handles counts as one. The observer sees each instruction before it runs.
    fn run(&mut self, budget: u64, breakpoints: &Breakpoints, observer: &mut impl Observer)
    -> Stop;
}

impl Machine for Emulator<'_> {
    fn registers(&self) -> &Registers {
        self.registers()
    }

    fn registers_mut(&mut self) -> &mut Registers {
        self.registers_mut()
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.memory().read_slice(address, into)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.memory().write(address, bytes)
    }

    fn map(&mut self, range: Range<u64>, access: Access) {
        self.memory().map(range, access);
    }

    fn commit(&mut self) {
        self.memory().commit();
    }

    fn revert(&mut self) {
        self.memory().revert();
    }

    fn run(
        &mut self,
        budget: u64,
        breakpoints: &Breakpoints,
        observer: &mut impl Observer,
    ) -> Stop {
        self.run(budget, breakpoints, observer)
    }
}
