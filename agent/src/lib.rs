//! The agent that a Rust service links so that `rtops` can look inside it.
//!
//! ```no_run
//! rtops_agent::start().expect("the agent starts once");
//! ```
//!
//! From then on, a thread of the service sleeps on a Unix socket. `rtops` lists the process,
//! `rtops stats` shows its counters, and `rtops stack` shows the stacks of its threads and the
//! await trees of its tokio tasks, however they were spawned. For *tracked* tasks, which may run on
//! any executor, it also shows the name, the spawn site, the age and the task that spawned them:
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
//! - While nobody asks, it does nothing: no thread wakes and no timer runs. A tracked future costs
//!   about ten nanoseconds per poll.
//! - Where the system allows it, `rtops` looks at the process from outside, as a debugger does. The
//!   process is stopped for about a millisecond while a copy is made; after that only the copy is
//!   read. The agent's only part is to allow this to a client that may ask, with
//!   `prctl(PR_SET_PTRACER)`, for as long as the conversation lasts, because by default Yama allows
//!   it only to root. If the service itself had allowed another tracer, it has to do so again
//!   afterwards. [`Capability::Attach`] switches this off.
//! - Otherwise, a dump polls every tracked task once more and sends each thread one signal for its
//!   stack, SIGURG by default. Tasks on executors other than tokio's are polled in any case.
//!   [`rtops_threads`] lists the system calls that can then return `EINTR`.
//! - `rtops memstats` asks the allocators, which lock their heaps meanwhile. This takes a few
//!   milliseconds, as a large glibc heap is walked only on request. `rtops trim` makes them give
//!   back free memory. If the heap is large, this can hold up threads that allocate for a second or
//!   more. [`Capability::Memory`] and [`Capability::Trim`] switch these off. [`alloc::Counting`]
//!   counts blocks, at a few nanoseconds each.
//! - By default, the agent answers only its own user and root. It never panics on what a client
//!   sends, and serves a bounded number of clients.
//! - After `fork`, the child has no agent.
//! - A service that closes descriptors that it does not know ends the agent. The agent does not
//!   touch what later gets their numbers. [`start()`] starts it again.
//! - It runs on Linux. On x86_64 it shows all of this; on other processors, neither the stacks of
//!   threads nor where a task waits. On other systems the crate builds, without the feature
//!   `profile`, and [`start()`] returns [`StartError::Unsupported`].
#![cfg_attr(
    feature = "profile",
    doc = "\n[`profile`] gives a service the profile of its tasks itself, for Go's tools."
)]
// Without an agent, nobody asks for what is tracked.
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
