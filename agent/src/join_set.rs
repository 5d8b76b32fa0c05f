//! A join set whose tasks are tracked.

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    panic::{Location, resume_unwind},
};

use rtops_sync::Members;
use rtops_tasks::{Tracked, track_blocking_entry};
use tokio::{
    runtime::Handle,
    task::{self, AbortHandle, Id, JoinError, LocalSet},
};

use crate::{runtimes, spawn::task};

/// Like [`tokio::task::JoinSet`], but the tasks spawned on it are tracked.
///
/// While a task waits in one of its methods, `rtops` knows which tasks of the set it waits for:
/// those that have not ended.
///
/// All other methods are tokio's, through `Deref`. With tokio's own type,
/// `set.spawn(future.tracked("name"))` does the same and gives the task a name.
#[derive(Debug)]
pub struct JoinSet<T> {
    tasks: task::JoinSet<T>,
    members: Members,
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        Self {
            tasks: task::JoinSet::new(),
            members: Members::new::<T>(),
        }
    }

    /// Returns the set as tokio's own type.
    #[must_use]
    pub fn into_inner(self) -> task::JoinSet<T> {
        self.tasks
    }
}

impl<T: 'static> JoinSet<T> {
    /// Like [`tokio::task::JoinSet::join_next`], with the same cancel safety.
    #[track_caller]
    pub fn join_next(&mut self) -> impl Future<Output = Option<Result<T, JoinError>>> {
        let site = Location::caller();
        self.members.waiting(self.tasks.join_next(), site)
    }

    /// Like [`tokio::task::JoinSet::join_next_with_id`], with the same cancel safety.
    #[track_caller]
    pub fn join_next_with_id(
        &mut self,
    ) -> impl Future<Output = Option<Result<(Id, T), JoinError>>> {
        let site = Location::caller();
        self.members.waiting(self.tasks.join_next_with_id(), site)
    }

    /// Like [`tokio::task::JoinSet::join_all`].
    ///
    /// # Panics
    /// If one of the tasks panicked, with the same payload, or was aborted.
    #[track_caller]
    pub fn join_all(mut self) -> impl Future<Output = Vec<T>> {
        let site = Location::caller();
        async move {
            let mut outputs = Vec::with_capacity(self.tasks.len());
            let Self { tasks, members } = &mut self;
            let all = async {
                while let Some(joined) = tasks.join_next().await {
                    match joined {
                        Ok(output) => outputs.push(output),
                        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            members.waiting(all, site).await;
            outputs
        }
    }

    /// Like [`tokio::task::JoinSet::shutdown`].
    #[track_caller]
    pub fn shutdown(&mut self) -> impl Future<Output = ()> {
        let site = Location::caller();
        self.members.waiting(self.tasks.shutdown(), site)
    }

    /// Like [`tokio::task::JoinSet::detach_all`].
    pub fn detach_all(&mut self) {
        self.tasks.detach_all();
        self.members.clear();
    }

    fn member<F: Future>(&self, future: F, site: &'static Location<'static>) -> Tracked<F> {
        let future = task(future, site);
        self.members.add(future.entry());
        future
    }

    fn blocking_member<F: FnOnce() -> T>(
        &self,
        closure: F,
        site: &'static Location<'static>,
    ) -> impl FnOnce() -> T + use<F, T> {
        let (entry, closure) = track_blocking_entry(closure, None, site);
        self.members.add(&entry);
        closure
    }

    /// Like [`tokio::task::JoinSet::spawn`], but tracks the task.
    ///
    /// # Panics
    /// If called outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        let future = self.member(future, Location::caller());
        self.tasks.spawn(future)
    }

    /// Like [`tokio::task::JoinSet::spawn_on`], but tracks the task.
    #[track_caller]
    pub fn spawn_on<F>(&mut self, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        runtimes::notice(handle);
        let future = self.member(future, Location::caller());
        self.tasks.spawn_on(future, handle)
    }

    /// Like [`tokio::task::JoinSet::spawn_local`], but tracks the task.
    ///
    /// # Panics
    /// If called outside of a `LocalSet` or local runtime.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        let future = self.member(future, Location::caller());
        self.tasks.spawn_local(future)
    }

    /// Like [`tokio::task::JoinSet::spawn_local_on`], but tracks the task.
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, future: F, local_set: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        let future = self.member(future, Location::caller());
        self.tasks.spawn_local_on(future, local_set)
    }

    /// Like [`tokio::task::JoinSet::spawn_blocking`], but tracks the closure.
    ///
    /// # Panics
    /// If called outside of a runtime.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, closure: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        let closure = self.blocking_member(closure, Location::caller());
        self.tasks.spawn_blocking(closure)
    }

    /// Like [`tokio::task::JoinSet::spawn_blocking_on`], but tracks the closure.
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, closure: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        runtimes::notice(handle);
        let closure = self.blocking_member(closure, Location::caller());
        self.tasks.spawn_blocking_on(closure, handle)
    }
}

impl<T> Default for JoinSet<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for JoinSet<T> {
    type Target = task::JoinSet<T>;

    fn deref(&self) -> &Self::Target {
        &self.tasks
    }
}

impl<T> DerefMut for JoinSet<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tasks
    }
}
