//! A join set whose tasks are tracked.

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    panic::Location,
};

use rtops_tasks::track_blocking;
use tokio::{
    runtime::Handle,
    task::{self, AbortHandle, LocalSet},
};

use crate::{runtimes, spawn::task};

/// As [`tokio::task::JoinSet`], and the tasks spawned on it are tracked.
///
/// All other methods are those of tokio's, through `Deref`. With tokio's own type,
/// `set.spawn(future.tracked("name"))` does the same with a name.
#[derive(Debug)]
pub struct JoinSet<T>(task::JoinSet<T>);

impl<T> JoinSet<T> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self(task::JoinSet::new())
    }

    /// The set as tokio's own type.
    #[must_use]
    pub fn into_inner(self) -> task::JoinSet<T> {
        self.0
    }
}

impl<T: 'static> JoinSet<T> {
    /// As [`tokio::task::JoinSet::spawn`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.0.spawn(task(future, Location::caller()))
    }

    /// As [`tokio::task::JoinSet::spawn_on`].
    #[track_caller]
    pub fn spawn_on<F>(&mut self, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        runtimes::notice(handle);
        self.0.spawn_on(task(future, Location::caller()), handle)
    }

    /// As [`tokio::task::JoinSet::spawn_local`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or local runtime.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.0.spawn_local(task(future, Location::caller()))
    }

    /// As [`tokio::task::JoinSet::spawn_local_on`].
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, future: F, local_set: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.0
            .spawn_local_on(task(future, Location::caller()), local_set)
    }

    /// As [`tokio::task::JoinSet::spawn_blocking`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, closure: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.0
            .spawn_blocking(track_blocking(closure, None, Location::caller()))
    }

    /// As [`tokio::task::JoinSet::spawn_blocking_on`].
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, closure: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        runtimes::notice(handle);
        self.0
            .spawn_blocking_on(track_blocking(closure, None, Location::caller()), handle)
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for JoinSet<T> {
    type Target = task::JoinSet<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for JoinSet<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
