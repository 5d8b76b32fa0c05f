//! Drop-in replacements for tokio's ways to spawn, whose tasks are tracked.

use std::{future::Future, panic::Location};

use rtops_tasks::{Kind, Tracked, track_blocking};
use tokio::{
    runtime::{Handle, Runtime},
    task::{self, JoinHandle},
};

use crate::runtimes;

/// As [`tokio::spawn`], and the task is tracked.
///
/// The caller's file and line are kept as its spawn site. For a name, spawn a
/// [`tracked`](crate::Track::tracked) future with tokio's own function.
///
/// # Panics
/// Outside of a runtime, as `tokio::spawn` does.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(task(future, Location::caller()))
}

/// As [`Handle::spawn`], and the task is tracked.
#[track_caller]
pub fn spawn_on<F>(future: F, handle: &Handle) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // A runtime that is stuck from its start on never polls, and is to be known all the same.
    runtimes::notice(handle);
    handle.spawn(task(future, Location::caller()))
}

/// As [`tokio::task::spawn_local`], and the task is tracked.
///
/// # Panics
/// Outside of a `LocalSet` or local runtime, as `spawn_local` does.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    task::spawn_local(task(future, Location::caller()))
}

/// As [`tokio::task::spawn_blocking`], and the closure is listed from now until it has run.
///
/// # Panics
/// Outside of a runtime, as `spawn_blocking` does.
#[track_caller]
pub fn spawn_blocking<F, R>(closure: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    task::spawn_blocking(track_blocking(closure, None, Location::caller()))
}

/// As [`Handle::spawn_blocking`], and the closure is listed from now until it has run.
#[track_caller]
pub fn spawn_blocking_on<F, R>(closure: F, handle: &Handle) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    runtimes::notice(handle);
    handle.spawn_blocking(track_blocking(closure, None, Location::caller()))
}

/// As [`Runtime::block_on`], and the future is tracked, as a task with the name "main": tokio has no
/// task for it, so that nothing else shows where it waits.
///
/// Under `#[tokio::main]`, which has a `block_on` of its own, await a future that is
/// [`tracked`](crate::Track::tracked) instead.
///
/// # Panics
/// Inside of a runtime, as `Runtime::block_on` does, and when the future does.
#[track_caller]
pub fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    runtimes::notice(runtime.handle());
    let site = Location::caller();
    runtime.block_on(Tracked::new(future, Some("main".into()), Kind::Task, site))
}

/// A nameless task.
pub(crate) fn task<F: Future>(future: F, site: &'static Location<'static>) -> Tracked<F> {
    Tracked::new(future, None, Kind::Task, site)
}
