//! Stops a process for a moment, has it copied, and lets it go unharmed.
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
//! # What is done
//!
//! A helper process seizes the threads of the target by ptrace, stops them and takes their registers. One that
//! waits in a system call is made to `clone` the process; then all go on. What is injected lies on that thread's
//! dead stack, below what functions may use, where the kernel itself would put a signal frame. Nothing else of
//! the target is written: no code, no heap. The copy has not run an instruction, and never does: it stands still
//! until it is killed, and is only read.
//!
//! # Rules
//!
//! - **Whatever is set up completes by itself.** The helper may be killed between any two instructions. So what a
//!   thread is to do lies in a chain of signal frames, of which the last one is the thread as it was; the copy's
//!   is the end of the copy. Where a step is added, the tests that kill at each point must pass for it.
//! - **The helper ends in time.** A timer of the kernel kills it at the hard limit. What it has
//!   stopped then goes on, as said above.
//! - **Nobody is there before nor after.** The copy is made by a go-between that ends at once, so that it is nobody's
//!   child in the target, and no signal tells of its end. The first process of a namespace takes care of orphans
//!   itself: there the copy is its child, and is reaped by an injected `wait4`.
//! - **Registers are set back in a stop where the kernel still sees to calls that are to be repeated**, so that
//!   sleeping, waiting and reading go on as if nothing had been.
//! - **What was read before the stop is read again in the stop**, if it is acted on: the process may run another
//!   program by then.
//! - **A thread is used only in a system call**, on the stack that it was born with: there it is known what lies
//!   below the stack pointer, and no restartable sequence is broken off.
//! - **What is not known to be harmless is not done.** A seccomp filter is read and run on paper; where that is not
//!   possible, there is no injection unless it is asked for. See [`NoCopy`] and [`Refusal`].
//!
//! All `unsafe` is in `sys`, whose files begin with the rules for it.
//!
//! # What a target may notice
//!
//! - Its threads stand still for [`Frozen::pause`].
//! - Where all threads are stopped, `epoll_wait`, `sigtimedwait`, and `recv` with a timeout return `EINTR` once,
//!   as with any stop. `nanosleep`, `futex`, `poll`, `select` and `read` do not. With [`Threads::One`] none does.
//! - A SIGSTOP that comes in the middle takes effect afterwards.
//! - An exec that begins in the middle may wait for the helper, and the helper for it: until the hard limit.
//! - Until the copy ends, the first write to each page copies it.
//! - If the helper is killed, a sleep may last longer, or return `EINTR` if it was interrupted before; a process that
//!   is the first of its namespace may be left a child that has ended.

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
