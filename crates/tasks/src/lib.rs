//! Track futures and learn where each one waits, on any executor.
//!
//! [`Tracked`] wraps a future. While nobody asks it costs two clock reads and a few stores a
//! poll. [`probe()`] has every tracked future polled once more with a waker of its own: a
//! future that waits must clone its waker, and it does so at the await point, with the whole
//! chain of callers on the stack. A bounded copy of that stack is all that is taken there; who
//! called [`probe()`] gets the copies and unwinds them elsewhere.
//!
//! The same idea was used inside one process by the `tasktrace` crate, by the test scheduler of
//! the Zed editor and by Mysten's `timeout_trace`.
//!
//! # What runs where
//!
//! Inside `Waker::clone` and `Waker::wake_by_ref` of a probing waker, with a lock of the leaf
//! possibly held: [`probe::waker`](self), [`probe::capture`](self), [`probe::stacks`](self),
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
