//! Compares polls in the interpreter and on the processor, instruction by instruction.
//!
//! [`rtops_cells`] polls the tasks of an image in an interpreter. A wrongly interpreted instruction
//! may lead to a wrong line, and nobody would notice. Here each poll also runs on the processor: in
//! a process that has the memory of the image and nothing else, stepped by ptrace, from a fresh
//! fork each time. The process makes no system calls; it gets the same answers as the interpreter,
//! from the same code.
//!
//! Before each instruction, `rip`, `rsp` and all other registers are compared, except flags that
//! the processor's manual leaves undefined. At the end, the comparison covers the pages that were
//! written, how the poll ended, and where wakers were registered. So a wrong instruction is found
//! where it is, with its inputs:
//!
//! ```console
//! $ rtops-differential core
//! core: 65 tasks polled, 3 threads resumed, 24138 instructions, no difference
//! ```
//!
//! # What it can't see
//!
//! - The machine that the image comes from decides which code runs: a core from a machine with
//!   AVX-512 needs a processor that has it.
//! - In both, the interpreter answers `cpuid`, `rdtsc` and similar instructions.
//! - The exception flags of MXCSR and of x87 are not compared: the interpreter does not keep them.
//!
//! Only one thread runs at a time, so effects of a weaker memory order are not seen.

mod code;
mod compare;
mod describe;
mod interpreter;
mod process;
mod processor;
mod record;
mod sys;
mod xstate;

pub use crate::{
    compare::{Comparison, compare, compare_with},
    describe::Difference,
};
