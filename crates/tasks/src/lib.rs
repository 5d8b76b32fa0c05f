//! Track futures and learn where each one waits, on any executor.
//!
//! [`Tracked`] wraps a future. While nobody asks, it costs two clock reads and a few stores per
//! poll. [`probe()`] polls every tracked future once more, with a waker of its own. A future that
//! waits must clone its waker, and it does so at the await point, with the whole chain of callers
//! on the stack. Only a bounded copy of that stack is taken there. The caller of [`probe()`] gets
//! the copies and unwinds them elsewhere.
//!
//! The `tasktrace` crate, the test scheduler of the Zed editor and Mysten's `timeout_trace` use the
//! same idea inside one process.
//!
//! # What runs where
//!
//! These run inside `Waker::clone` and `Waker::wake_by_ref` of a probing waker, possibly while the
//! leaf holds a lock: [`probe::waker`](self), [`probe::capture`](self), [`probe::stacks`](self),
//! [`probe::slots`](self) and [`probe::arch`](self). They allocate nothing, take no lock, format
//! nothing and have no path that panics.

mod blocking;
mod clock;
mod entry;
mod local;
mod probe;
mod registry;
mod scope;
mod tracked;

pub use blocking::{track_blocking, track_blocking_entry};
pub use clock::Monotonic;
pub use entry::{Entry, Kind, Name, RuntimeTag, ScopeId, TaskId};
pub use local::polled_at;
pub use probe::{
    Findings, Owner, Plan, Probed, ProbedState, Shortfall, Sink, StackCopy, Stale, Wakers, probe,
};
pub use registry::{
    Census, EndedSite, abandon, cancelled, census, ended_sites, entries, entries_of, entries_with,
    is_abandoned, set_runtime_probe, task_count, waker_addresses,
};
pub use scope::{Entered, current_task, current_thread};
pub use tracked::{Part, Track, Tracked, Tracker};
