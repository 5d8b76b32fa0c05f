//! Track futures and learn where each one waits, on any executor.
//!
//! [`Tracked`] wraps a future. While nobody asks it costs two clock reads and a few stores a
//! poll. [`probe_all`] has every tracked future polled once more with a waker of its own: a
//! future that waits must clone its waker, and it does so at the await point, with the whole
//! chain of callers on the stack. A bounded copy of that stack is all that is taken there; who
//! called [`probe_all`] gets the copies and unwinds them elsewhere.
//!
//! The same idea was used inside one process by the `tasktrace` crate, by the test scheduler of
//! the Zed editor and by Mysten's `timeout_trace`.
//!
//! # What runs where
//!
//! Inside `Waker::clone` and `Waker::wake_by_ref` of a probing waker, with a lock of the leaf
//! possibly held: [`probe::waker`](self), [`probe::slots`](self) and [`probe::arch`](self). They
//! allocate nothing, take no lock, format nothing and have no path that panics.

mod blocking;
mod clock;
mod entry;
mod local;
mod probe;
mod registry;
mod tracked;

pub use blocking::track_blocking;
pub use clock::Monotonic;
pub use entry::{Entry, Kind, Name, RuntimeTag, TaskId};
pub use probe::{
    Findings, Owner, Probed, ProbedState, Shortfall, Sink, StackCopy, Wakers, probe_all,
};
pub use registry::{Census, abandon, census, set_runtime_probe};
pub use tracked::{Track, Tracked};
