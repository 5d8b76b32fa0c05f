//! Lists the modules of this process, and turns stack slices into return addresses.
//!
//! This runs in the target, on the agent's thread, in normal context: it allocates, so nothing here
//! may be called from a signal handler or a waker. It reads either memory that this process mapped
//! and keeps (the main executable) or a private copy, so a `dlclose` at any moment does no harm.
//! Stack contents are bytes that were copied before and are treated as hostile.
//!
//! [`Unwinder::of_another`] does the same for the stacks of another process, or of one that has
//! ended: its unwind tables are copies too.
//!
//! ```
//! use rtops_unwind::{Outcome, StackRegisters, StackSlice, Unwinder};
//!
//! let mut unwinder = Unwinder::new();
//! unwinder.refresh();
//! let slice = StackSlice { registers: StackRegisters { ip: 0, sp: 4096, bp: 0 }, bytes: &[] };
//! let mut addresses = Vec::new();
//! assert_eq!(unwinder.unwind(&slice, None, &mut addresses), Outcome::Lost);
//! assert_eq!(addresses, [0]);
//! ```

mod arch;
mod modules;
mod sys;
mod unwind;

pub use modules::{Foreign, Table};
pub use rtops_types::{Module, ModuleKind, StackRegisters, StackSlice};
pub use unwind::{IsTrampoline, MAX_FRAMES, Outcome, Unwinder};
