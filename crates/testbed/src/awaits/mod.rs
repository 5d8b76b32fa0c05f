//! One task for each way to wait. Each is named after its way and waits on the lines that end in
//! `// AWAIT <name>`, by which the test finds them. Lines that end in `// MAYBE <name>` may be
//! shown as well: those of a macro around the awaits, or inside a hand-written poll.

mod channels;
mod combinators;
mod manual;
mod net;
mod process;
mod sync;
mod tasks;
mod time;

use std::{
    future::{Future, pending},
    io, thread,
};

use rtops_agent::Track;
use tokio::{
    runtime::Builder,
    task::{LocalSet, spawn_local},
};

use crate::{
    Never,
    control::Control,
    settle::{Pending, settled, settlement},
    unwrapped,
};

/// Spawns tasks on one kind of executor.
pub(crate) struct Spawner {
    wrapping: Wrapping,
    executor: Executor,
    pending: Pending,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Wrapping {
    /// Tracked and named.
    Tracked,
    /// Spawned as by a service that knows nothing of rtops.
    Plain,
}

#[derive(Clone, Copy)]
enum Executor {
    Runtime,
    LocalSet,
}

impl Spawner {
    #[track_caller]
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        match self.wrapping {
            Wrapping::Tracked => self.spawn_as_it_is(future.tracked(name)),
            Wrapping::Plain => self.spawn_as_it_is(future),
        }
    }

    #[track_caller]
    fn spawn_as_it_is(&self, future: impl Future<Output = ()> + Send + 'static) {
        let task = settled(future, self.pending.clone());
        match self.executor {
            Executor::Runtime => drop(tokio::spawn(task)),
            Executor::LocalSet => drop(spawn_local(task)),
        }
    }

    fn spawn_all(&self) {
        time::spawn(self);
        channels::spawn(self);
        sync::spawn(self);
        tasks::spawn(self);
        net::spawn(self);
        process::spawn(self);
        combinators::spawn(self);
        manual::spawn(self);
        match self.wrapping {
            Wrapping::Tracked => combinators::spawn_tracked(self),
            Wrapping::Plain => unwrapped::spawn(self),
        }
    }
}

/// `multi`, `current` or `local`: a runtime with two workers, one without, or a `LocalSet`.
pub(crate) fn run(control: Control, executor: Option<&str>) -> Result<Never, String> {
    run_with(Wrapping::Tracked, control, executor)
}

/// Like `run`, with more ways to wait, and without any wrappers.
pub(crate) fn run_plain(control: Control, executor: Option<&str>) -> Result<Never, String> {
    run_with(Wrapping::Plain, control, executor)
}

fn run_with(wrapping: Wrapping, control: Control, executor: Option<&str>) -> Result<Never, String> {
    let (executor, body): (_, fn(Spawner) -> io::Result<()>) = match executor {
        Some("multi") => (Executor::Runtime, on_workers),
        Some("current") => (Executor::Runtime, on_this_thread),
        Some("local") => (Executor::LocalSet, in_local_set),
        other => return Err(format!("no executor is called {other:?}")),
    };
    let (pending, settlement) = settlement();
    let spawner = Spawner {
        wrapping,
        executor,
        pending,
    };
    thread::spawn(move || body(spawner));
    settlement.wait();
    control.serve(|| 0)
}

fn on_workers(spawner: Spawner) -> io::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(keep(spawner))
}

fn on_this_thread(spawner: Spawner) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(keep(spawner))
}

fn in_local_set(spawner: Spawner) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, keep(spawner))
}

async fn keep(spawner: Spawner) -> io::Result<()> {
    spawner.spawn_all();
    drop(spawner);
    pending().await
}

/// Prints the error of a task. The test misses tasks that end, and its output then shows why.
#[expect(clippy::print_stderr, reason = "for the log of the test")]
pub(crate) async fn complain(task: impl Future<Output = io::Result<()>>) {
    if let Err(error) = task.await {
        eprintln!("testbed: {error}");
    }
}
