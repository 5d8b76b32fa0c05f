//! The agent that a Rust service links so that `rtops` can look inside it.
//!
//! ```no_run
//! rtops_agent::start().expect("the agent starts once");
//! ```
//!
//! From then on a thread of the service sleeps on a Unix socket. `rtops` lists the process,
//! `rtops stats` asks for its counters and `rtops stack` for the stacks of its threads and the
//! await trees of its tasks on tokio, however they were spawned. Of *tracked* tasks it also knows name,
//! spawn site, age and who spawned them, and those may run on any executor:
//!
//! ```no_run
//! # async fn serve(_: u32) {}
//! # async fn example() {
#![cfg_attr(
    feature = "tokio",
    doc = "// A task on tokio: where it was spawned is kept."
)]
#![cfg_attr(feature = "tokio", doc = "rtops_agent::spawn(serve(1));")]
//! // A task on any executor, or a part of a task, with a name.
//! use rtops_agent::Track;
//! serve(2).tracked("second connection").await;
//! # }
//! ```
//!
#![cfg_attr(
    feature = "tokio",
    doc = "Locks from [`sync`], used in place of tokio's, tell who holds them: `rtops stack` prints"
)]
#![cfg_attr(feature = "tokio", doc = "that under each task that waits for one.\n")]
//! # What it does to the service
//!
//! - While nobody asks: nothing. No thread wakes, no timer runs; a tracked future costs some ten
//!   nanoseconds a poll.
//! - `rtops` looks at the process from outside where it may, as a debugger does: the process stands still
//!   for about a millisecond, while a copy of it is made, which is only read. The agent has no part in that
//!   but to allow it to a client that may ask, by `prctl(PR_SET_PTRACER)`, for as long as the conversation
//!   lasts: by default, Yama allows it to nobody but root. A tracer that the service had allowed itself is
//!   to be allowed anew then. [`Capability::Attach`] switches it off.
//! - Where `rtops` may not do so, a dump has every tracked task polled once more, and sends each thread one signal
//!   for its stack, SIGURG by default. Tasks on other executors than tokio's are polled in any case.
//!   [`rtops_threads`] tells which system calls can return `EINTR` then.
//! - `rtops memstats` asks allocators, which lock their heaps meanwhile: for some milliseconds, as a
//!   large heap of glibc is not walked through unless somebody says so. `rtops trim` has them give back
//!   free memory, which can hold up threads that allocate for a second or more where the heap is large.
//!   [`Capability::Memory`] and [`Capability::Trim`] switch them off. [`alloc::Counting`] counts
//!   blocks, at some nanoseconds each.
//! - The agent answers its own user and root. It never panics on what a client sends, and serves
//!   a bounded number of clients.
//! - After `fork` the child has no agent.
//! - A service that closes descriptors which it does not know ends the agent, which leaves alone what has
//!   their numbers then. [`start()`] starts it anew.
//! - It runs on Linux. On x86_64 it shows all of this; on other processors neither the stacks of threads
//!   nor where a task waits. On other systems the crate builds, without the feature `profile`, and [`start()`] returns
//!   [`StartError::Unsupported`].
#![cfg_attr(
    feature = "profile",
    doc = "\n[`profile`] gives a service the profile of its tasks itself, for Go's tools."
)]
// Nobody asks an agent for what is noted where there is none.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

pub mod alloc;
mod config;
#[cfg(feature = "tokio")]
mod join_set;
#[cfg(all(feature = "profile", target_os = "linux"))]
pub mod profile;
mod runtimes;
#[cfg(feature = "tokio")]
mod spawn;
#[cfg(feature = "tokio")]
pub mod sync;

#[cfg(target_os = "linux")]
mod descriptor;
#[cfg(target_os = "linux")]
mod exchange;
#[cfg(target_os = "linux")]
mod fork;
#[cfg(target_os = "linux")]
mod listener;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod stats;
#[cfg(target_os = "linux")]
mod tracer;
#[cfg(not(target_os = "linux"))]
mod unsupported;

pub use config::{Capability, Options, StartError};
#[cfg(feature = "tokio")]
pub use join_set::JoinSet;
pub use rtops_tasks::{Track, Tracked};
pub use rtops_threads::Signal;
#[cfg(feature = "tokio")]
pub use runtimes::register_runtime;
#[cfg(feature = "tokio")]
pub use spawn::{block_on, spawn, spawn_blocking, spawn_blocking_on, spawn_local, spawn_on};
#[cfg(target_os = "linux")]
pub use start::{start, stop};
#[cfg(target_os = "linux")]
pub use stats::task_count;
#[cfg(not(target_os = "linux"))]
pub use unsupported::{start, stop, task_count};
