//! What polls run on.

use std::ops::Range;

use rtops_emulate::{Access, Breakpoints, Emulator, Fault, Observer, Registers, Stop};

/// Registers, memory, and a way to run instructions: the interpreter, or a processor that somebody holds
/// still.
///
/// A poll sets it up, and answers at each [`Stop`] what the code asks of the kernel. So a machine must
/// never hand anything over to one.
pub trait Machine {
    /// The registers.
    fn registers(&self) -> &Registers;

    /// The registers, to be changed.
    fn registers_mut(&mut self) -> &mut Registers;

    /// Fills `into` from this address on.
    ///
    /// # Errors
    /// [`Fault`] where the code could not read.
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Writes all of `bytes`, or nothing.
    ///
    /// # Errors
    /// [`Fault`] where the code could not write.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Adds memory that reads as zeros, in place of what is there.
    fn map(&mut self, range: Range<u64>, access: Access);

    /// Makes the present memory the one that [`revert`](Self::revert) returns to.
    fn commit(&mut self);

    /// Drops what was written and mapped since the last [`commit`](Self::commit).
    fn revert(&mut self);

    /// Runs from `rip` on, and says why it stopped. It does so at each breakpoint but one at the first
    /// instruction, and after at most `budget` instructions; a byte that a repeated string instruction
    /// handles counts as one. The observer sees each instruction before it runs.
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
