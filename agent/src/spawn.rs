//! Drop-in replacements for tokio's spawn functions that track the task.

use std::{future::Future, panic::Location};

use rtops_tasks::{Kind, Tracked, track_blocking};
use tokio::{
    runtime::{Handle, Runtime},
    task::{self, JoinHandle},
};

use crate::runtimes;

/// Spawns a tracked task, like [`tokio::spawn`].
///
/// The caller's file and line are its spawn site. To give it a name, spawn a
/// [`tracked`](crate::Track::tracked) future with tokio's own function.
///
/// # Panics
/// If called outside of a runtime, like `tokio::spawn`.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(task(future, Location::caller()))
}

/// Spawns a tracked task on a runtime, like [`Handle::spawn`].
#[track_caller]
pub fn spawn_on<F>(future: F, handle: &Handle) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // A runtime that is stuck from the start never polls, but must be known all the same.
    runtimes::notice(handle);
    handle.spawn(task(future, Location::caller()))
}

/// Spawns a tracked task, like [`tokio::task::spawn_local`].
///
/// # Panics
/// If called outside of a `LocalSet` or local runtime, like `spawn_local`.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    task::spawn_local(task(future, Location::caller()))
}

/// Runs a closure on the blocking pool, like [`tokio::task::spawn_blocking`], and lists it from
/// now until it has run.
///
/// # Panics
/// If called outside of a runtime, like `spawn_blocking`.
#[track_caller]
pub fn spawn_blocking<F, R>(closure: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    task::spawn_blocking(track_blocking(closure, None, Location::caller()))
}

/// Runs a closure on a runtime's blocking pool, like [`Handle::spawn_blocking`], and lists it from
/// now until it has run.
#[track_caller]
pub fn spawn_blocking_on<F, R>(closure: F, handle: &Handle) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    runtimes::notice(handle);
    handle.spawn_blocking(track_blocking(closure, None, Location::caller()))
}

/// Runs a future, like [`Runtime::block_on`], and tracks it as a task named "main". tokio has no
/// task for it, so nothing else shows where it waits.
///
/// `#[tokio::main]` has a `block_on` of its own: in there, await a
/// [`tracked`](crate::Track::tracked) future instead.
///
/// # Panics
/// If called inside a runtime, like `Runtime::block_on`, or if the future panics.
#[track_caller]
pub fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    runtimes::notice(runtime.handle());
    let site = Location::caller();
    runtime.block_on(Tracked::new(future, Some("main".into()), Kind::Task, site))
}

/// Tracks a future as a task without a name.
pub(crate) fn task<F: Future>(future: F, site: &'static Location<'static>) -> Tracked<F> {
    Tracked::new(future, None, Kind::Task, site)
}
