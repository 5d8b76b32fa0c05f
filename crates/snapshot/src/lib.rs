//! A frozen, harmless, short-lived copy of this process, in which code can run that would change
//! the process itself.
//!
//! [`Snapshot::take`] stops the threads of the process for a moment, clones it, and lets the threads
//! go on. In the clone one function runs: the *inside*. It sees all of the process's memory as it was
//! at that instant, and may write to it and call the process's own code through
//! [`Poller::guarded`]; nothing of that reaches the process. The two sides talk through a buffer
//! that they share: [`Copy::send`] and [`Snapshot::receive`] one way, [`Snapshot::order`] and
//! [`Copy::next_order`] the other.
//!
//! # What makes the copy harmless
//!
//! - It is made by `clone` and not by `fork`: no handler of the process runs, and its end raises no
//!   SIGCHLD. It shares the table of descriptors, so that it keeps nothing open that the process
//!   closes, and closes nothing itself.
//! - Writable shared mappings become read-only in it, and those of devices inaccessible.
//! - A seccomp filter traps every system call but those that this crate's own code makes and a few
//!   that concern the copy's private memory. A trapped call is answered without being made, and ends
//!   the guarded call where it would block, or end the process.
//! - Faults, panics, endless loops and attempts to exit end the guarded call, not more.
//! - Signals of the process do not reach it, except SIGKILL. It ends with the thread that made it,
//!   at the end of [`Snapshot`], and at its deadline, whichever is first.
//! - The memory of the copy counts as the first to be reclaimed when memory is short.
//!
//! Where one of these can't be had, or the process would suffer otherwise, [`Snapshot::take`] says why
//! and makes no copy; see [`Refusal`].
//!
//! # What the process notices
//!
//! Its threads are interrupted by the signal of [`rtops_threads`] and wait for the time of a `clone`:
//! some 0.4 ms in a small process, and some 20 ms more for each GiB of private memory. As long as
//! the copy lives, the first write to each page costs a fault. Another process with the same
//! command line is there for that time, which a `waitpid` with `__WALL` or `__WCLONE` would see.
//!
//! Only Linux on x86_64 is supported.

mod cgroup;
mod environment;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod inside;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod outside;
mod refusal;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod shared;

pub use crate::{
    environment::{Environment, Mapping, Use},
    refusal::Refusal,
};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use crate::{
    inside::{Copy, Ended, GiveUp, Patience, Poller},
    outside::{Failed, Plan, Snapshot, Times, Turn},
};

/// Whether there is code for this platform.
pub const SUPPORTED: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));
