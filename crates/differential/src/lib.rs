//! Polls in the interpreter and on the processor, compared instruction by instruction.
//!
//! [`rtops_cells`] polls the tasks of an image in an interpreter. An instruction that is interpreted wrongly
//! may show a wrong line, and nobody would notice. Here each poll also runs on the processor: in a process
//! that has the memory of the image and nothing else, stepped by ptrace, from a fresh fork each time. The
//! process makes no system call; it gets the same answers as the interpreter, from the same code.
//!
//! Compared are, before each instruction, `rip`, `rsp` and all other registers, but for flags that the
//! processor's manual leaves undefined; at the end, the pages that were written, how the poll ended and where
//! wakers were registered. So a wrong instruction is found where it is, with its inputs:
//!
//! ```console
//! $ rtops-differential core
//! core: 65 tasks polled, 3 threads resumed, 24138 instructions, no difference
//! ```
//!
//! # What it can't see
//!
//! - What the image was made with decides which code runs: a core of a machine with AVX-512 wants a processor
//!   with it.
//! - `cpuid`, `rdtsc` and their like are answered by the interpreter in both.
//! - The exception flags of MXCSR and of x87 are not compared: the interpreter does not keep them.
//!
//! Polls of one thread at a time are compared, so what a weaker order of memory accesses would show is not.

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
