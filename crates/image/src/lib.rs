//! The memory, modules, and threads of a process at one instant.
//!
//! The readers of tasks and stacks use [`Image`] and need not know where the bytes come from.
//! [`Live`](live::Live) is the image of a stopped process, and [`Core`] the image in a core file,
//! written by the kernel or by `gcore`:
//!
//! ```no_run
//! use rtops_image::{Core, Image, Options};
//!
//! let core = Core::open("core".as_ref(), &Options::default())?;
//! println!("{}", core.head().program);
//! for gap in core.gaps() {
//!     eprintln!("{gap}");
//! }
//! for thread in core.threads() {
//!     let top = core.read_u64(thread.registers.rsp);
//!     println!("thread {}: rip {:#x}, top of stack {top:x?}", thread.tid, thread.registers.rip);
//! }
//! # Ok::<(), rtops_image::Error>(())
//! ```
//!
//! A core file does not hold all memory: the kernel leaves out pages of the executable and the
//! libraries. Those pages are read from the files if they are still the same build. Everything that
//! stays unknown is [`Absent`](Contents::Absent) with a reason, and never zeros.
//!
//! Cores that systemd-coredump has compressed are unpacked into an unnamed
//! temporary file; [`find`] finds them by PID or name.
//!
//! Nothing is mapped into this process and nothing is read ahead: each read is a `pread` of what
//! was asked for. All input is treated as hostile: a core file or a process that lies leads to an
//! error or to an image with [gaps](Gap), in bounded time and memory.
#![forbid(unsafe_code)]

mod assemble;
mod auxv;
mod core;
mod file;
mod files;
pub mod find;
mod gap;
pub mod live;
mod loaded;
mod mapped;
mod memory;
mod module;
mod notes;
mod parts;
mod space;
mod thread;
mod xstate;

pub use rtops_types::{Access, FileOffset, ModuleKind, Pid, Tid};

pub use crate::{
    core::{Core, CoreHead, Error, Options, Origin, Signal, Writer},
    file::Refused,
    gap::Gap,
    memory::{Absence, Backing, Contents, Image, MAX_CHUNK, Region, Sharing, Unreadable},
    module::{ImageModule, ModuleFile, NoFile, TlsSegment},
    thread::{Avx512, GeneralRegisters, Thread, Vectors, X87},
    xstate::{XstateComponent, XstateLayout},
};
