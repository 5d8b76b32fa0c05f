//! Takes a bounded copy of the stack of every OS thread of this process.
//!
//! [`list()`] reads /proc. [`install`] installs a signal handler once. [`Capturer::capture`] then
//! signals threads, whose handlers copy their registers and stack memory into static slots, and
//! passes the copies to its caller. Unwinding them is the caller's work, in normal context.
//!
//! # What the host notices
//!
//! - A signal, SIGURG by default, is caught. Signals that are not ours go to the handler that was
//!   there before, with its signal mask. Others use SIGURG too (a Go runtime in the process,
//!   out-of-band TCP data): a handler installed *after* ours is respected, and every capture then
//!   reports [`Missing::HandlerReplaced`].
//! - `epoll_wait`, `poll`, `nanosleep`, and socket calls with a time-out return EINTR if a thread
//!   is captured inside them; the handler has SA_RESTART, but that doesn't apply to those calls.
//! - The handler runs on the thread's alternate signal stack if there is one. A former handler
//!   that needs more than Rust's 8 KiB is then called on that small stack.
//! - Threads that block the signal, are stopped, or sleep uninterruptibly in the kernel can't be
//!   captured, and are reported as such.
//! - After `fork`, the child must call [`reset_after_fork`] before it captures anything.

// The handler's code is unused on platforms that have no handler.
#![cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code)
)]

mod capture;
mod list;
mod slot;
mod sys;
mod turn;

pub use capture::{Capturer, InstallError, Missing, Signal, Slice, install};
pub use list::{ThreadInfo, list};
pub use rtops_types::Tid;

/// Makes captures possible again in a child process that was forked during one.
///
/// Async-signal-safe: it performs a few atomic operations. Only the
/// child may call it, while it has no other thread.
pub fn reset_after_fork() {
    slot::reset();
    turn::reset();
}
