//! Stops a process for a moment, makes a copy of it, and lets it continue unharmed.
//!
//! ```no_run
//! rtops_attach::run_helper_if_asked();
//! let pid = rtops_attach::Pid::new(4711);
//! let frozen = rtops_attach::freeze(pid, &rtops_attach::Options::default())?;
//! println!("it stood still for {:?}", frozen.pause);
//! println!("{} threads", frozen.parts.threads.len());
//! # Ok::<(), rtops_attach::Refusal>(())
//! ```
//!
//! # How it works
//!
//! A helper process seizes the threads of the target by ptrace, stops them, and reads their
//! registers. A thread that waits in a system call is made to `clone` the process; then all
//! threads resume. The injected data lies on the unused part of that thread's stack, below
//! what functions may use, where the kernel itself would put a signal frame. Nothing else in
//! the target is written: no code and no heap. The copy never runs an instruction: it stays
//! stopped until it is killed, and is only read.
//!
//! # Rules
//!
//! - **Whatever is set up completes without the helper.** The helper may be killed between any
//!   two instructions. So a thread's work lies in a chain of signal frames, the last of which is
//!   the thread as it was; the copy's chain ends the copy. If you add a step, the tests that kill
//!   at each point must pass for it.
//! - **The helper ends in time.** A kernel timer kills it at the hard limit. What it has stopped
//!   then resumes, as described above.
//! - **No child is left behind.** A go-between makes the copy and ends at once, so no process in
//!   the target is the copy's parent, and no signal reports the copy's end. The first process of a
//!   namespace inherits orphans: there the copy is its child, and is reaped by an injected `wait4`.
//! - **Registers are restored in a stop where the kernel still restarts interrupted calls**, so
//!   sleeping, waiting, and reading continue as if nothing had happened.
//! - **What was read before the stop is read again in the stop** if it is acted on: the process
//!   may run another program by then.
//! - **A thread is used only in a system call**, on its original stack: there it is known what
//!   lies below the stack pointer, and no restartable sequence is interrupted.
//! - **What is not known to be harmless is not done.** A seccomp filter is read and
//!   interpreted beforehand; if that is not possible, nothing is injected unless the user
//!   asks for it. See [`NoCopy`] and [`Refusal`].
//!
//! All `unsafe` code is in `sys`, whose module docs state the rules for it.
//!
//! # What a target may notice
//!
//! - Its threads are stopped for [`Frozen::pause`].
//! - If all threads are stopped, `epoll_wait`, `sigtimedwait`, and `recv` with a timeout return
//!   `EINTR` once, as with any stop. `nanosleep`, `futex`, `poll`, `select`, and `read` do not.
//!   With [`Threads::One`] none does.
//! - A SIGSTOP that arrives in the middle takes effect afterwards.
//! - An `exec` that begins in the middle may wait for the helper, and
//!   the helper for it, until the hard limit.
//! - Until the copy ends, the first write to each page copies it.
//! - If the helper is killed, a sleep may last longer, or return `EINTR` if it was interrupted
//!   before; the first process of a namespace may be left with a zombie child.

mod account;
mod cgroup;
mod code;
mod copy;
mod estimate;
mod filter;
mod frames;
mod freeze;
mod freezer;
mod helper;
mod inject;
mod memory;
mod options;
mod pages;
mod points;
mod preflight;
mod proc;
mod refusal;
mod stop;
mod sys;
mod tracee;
mod watchdog;
mod wire;
mod yielding;

pub use rtops_image::{Pid, Tid};

pub use crate::{
    freeze::{EndedEarly, Frozen, Held, How, freeze},
    helper::{is_helper, run_helper_if_asked},
    options::{Injection, Options, Threads},
    refusal::{NoCopy, Refusal, Step},
    yielding::Yielding,
};
