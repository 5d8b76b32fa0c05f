//! The functions that each platform supplies:
//!
//! - `generation()`: a value that changes when a module is loaded or unloaded; `None` if unknown
//! - `loaded()`: every module of this process
//! - `signal_trampoline()`: the address that signal handlers return to; `None` if unknown

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use linux::{generation, loaded, signal_trampoline};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) use unsupported::{generation, loaded, signal_trampoline};

/// How often modules were added to and removed from this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) added: u64,
    pub(crate) removed: u64,
}
