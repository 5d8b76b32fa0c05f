//! An interpreter for x86_64 user code, over memory that the caller provides.
//!
//! Nothing is executed: instructions are decoded and computed one by one over the pages of a
//! [`Source`], and what they write is kept separately. So a caller can find out what the code
//! of a stopped or dead process would do next, on any kind of processor and without any risk.
//! A run ends at system calls, faults, breakpoints and unknown instructions; the caller
//! decides how to continue.
//!
//! # Supported instructions
//!
//! All integer instructions of user mode, SSE to SSE4.2, AVX, AVX2, FMA, F16C, AES, SHA, most of
//! AVX-512 except approximations, x87 without transcendental functions, and the simpler part of
//! MMX. A snapshot of the tests lists them by name (`tests/processor/snapshots`). Any other
//! instruction stops the run with [`Stop::UnknownInstruction`]; so do these cases of supported
//! instructions:
//!
//! - floating-point arithmetic (not conversions) with a rounding mode other than to nearest, with
//!   denormals taken as zero, or with unmasked exceptions;
//! - x87 with less than 64 bits of precision, empty registers, or a full stack;
//! - results that the manuals leave undefined and in which processors differ, such as `shld` of 16
//!   bits by more than 16.
//!
//! The interpreter differs from a processor in these ways:
//!
//! - Flags that an instruction leaves undefined have an arbitrary value.
//! - The sticky exception bits of MXCSR and of the x87 status word never change.
//! - `cpuid` describes the plainest x86_64 processor, `rdtsc` stands still, and fences and
//!   prefetches do nothing.
//!
//! # Example
//!
//! ```
//! use rtops_emulate::{Absent, Access, Breakpoints, Emulator, Page, Registers, Source, Stop};
//!
//! /// One page of code: `lea rax, [rdi + rdi]`, `ret`.
//! struct Double;
//!
//! impl Source for Double {
//!     fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
//!         if address != 0x1000 {
//!             return Err(Absent::NotMapped);
//!         }
//!         into[..5].copy_from_slice(&[0x48, 0x8d, 0x04, 0x3f, 0xc3]);
//!         Ok(Access::READ_EXECUTE)
//!     }
//! }
//!
//! let mut emulator = Emulator::new(Double);
//! emulator.memory().map(0x8000..0x9000, Access::READ_WRITE);
//! // The function returns to an address at which nothing is: a breakpoint is enough.
//! let end = 0x7000;
//! emulator.memory().write(0x8ff8, &u64::to_le_bytes(end))?;
//! let registers = emulator.registers_mut();
//! registers.general[Registers::RSP] = 0x8ff8;
//! registers.general[Registers::RDI] = 21;
//! registers.rip = 0x1000;
//!
//! let stop = emulator.run(1000, &[end].into_iter().collect(), &mut ());
//! assert_eq!(stop, Stop::Breakpoint(end));
//! assert_eq!(emulator.registers().general[Registers::RAX], 42);
//! # Ok::<(), rtops_emulate::Fault>(())
//! ```
#![forbid(unsafe_code)]

mod block;
mod decode;
mod flags;
mod lane;
mod machine;
mod memory;
mod number;
mod op;
mod ops;
mod registers;
mod run;
mod source;
mod x87;

pub use memory::{Limits, Memory};
pub use op::Flow;
pub use registers::{Registers, Vector};
pub use rtops_types::Access;
pub use run::{BYTES_AS_CHEAP, Breakpoints, Emulator, Observer, Step, Stop, Trap};
pub use source::{Absent, Fault, PAGE_SIZE, Page, Source, Wanted, Why};
pub use x87::{Extended, X87};
