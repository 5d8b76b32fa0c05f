//! What each platform supplies:
//!
//! - `install()`: the handler; `is_in_place()`: whether it is in force; `may_step()`: whether in this
//!   thread, too
//! - `refuse_if_traced()`: whether a debugger is attached
//! - `trap_flag_on()`, `trap_flag_off()`, `thread_pointer()`: the processor
//! - `Code`: where instructions lie, and what each does

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use linux::{
    Code, install, is_in_place, may_step, refuse_if_traced, thread_pointer, trap_flag_off,
    trap_flag_on,
};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) use unsupported::{
    Code, install, is_in_place, may_step, refuse_if_traced, thread_pointer, trap_flag_off,
    trap_flag_on,
};

/// What matters of an instruction that is about to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Instruction {
    /// It can be stepped over.
    Other,
    /// It calls a function.
    Call,
    /// The trap flag must be off when it runs.
    Forbidden,
}
