//! Takes a dump of this process: the await trees of its tracked tasks and the stacks of its
//! threads, as frames of the protocol.
//!
//! `collect` takes the dump and unwinds copies as they come in. `leaves` keeps which stacks belong
//! to which task. `send` turns the dump into frames, piece by piece, so that a dump of a million
//! tasks is never in memory as records. The agent sends the frames to a client; a leak check in a
//! test reads them in the same process.
#![forbid(unsafe_code)]

mod claims;
mod collect;
mod handles;
mod leaves;
mod send;
mod stack_table;

use std::{sync::Arc, time::Instant};

use rtops_protocol::{Ask, StackParts};
use rtops_tasks::{Entry, Probed, ProbedState, RuntimeTag};
use rtops_threads::Capturer;

use collect::{Collector, Which};
pub use send::Dump;

/// What a dump needs from the process that it is taken of.
pub trait Host {
    /// Returns the name of the process.
    fn name(&self) -> &str;
    /// Whether the tasks may be inspected.
    fn has_tasks(&self) -> bool;
    /// Returns what captures the stacks of threads; `None` if that is switched off or
    /// not supported.
    fn capturer(&self) -> Option<&Capturer>;
    /// Returns the role of a thread that serves dumps; `None` for any other thread.
    fn own_thread(&self, tid: i32) -> Option<OwnThread>;
    /// Returns the name of a runtime.
    fn runtime_name(&self, tag: RuntimeTag) -> Option<String>;
    /// Returns the number of tasks alive on the known runtimes, tracked or not; `None`
    /// if no runtime is known.
    fn alive_tasks(&self) -> Option<u64>;
}

/// A thread that exists only for dumps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OwnThread {
    /// It waits for clients, and is listed.
    Listener,
    /// It serves a client, and is not listed, as it exists only during the dump.
    Client,
}

/// What a dump contains besides stacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// Nothing.
    No,
    /// What has ended, lost wakers, who awaits whom, who holds what others wait for, and
    /// how often threads ran.
    Full,
}

/// What a dump is about.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Tasks, threads or both.
    pub parts: StackParts,
    /// What to find out besides stacks.
    pub evidence: Evidence,
    /// Which tasks and threads to ask where they wait.
    pub ask: Ask,
    /// The part of the process that the dump is about; `None` for all of it.
    pub only: Option<Only>,
}

/// The tasks and threads of this process that a dump is about. No other task is probed, and no
/// other thread is sent a signal except those that poll one of the tasks.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// The tracked futures.
    pub tasks: Vec<Arc<Entry>>,
    /// The kernel's numbers of the threads.
    pub threads: Vec<i32>,
}

/// Takes a dump by the deadline.
///
/// # Errors
/// If everything that is wanted is switched off. The error names it.
pub fn take<'a>(
    host: &'a dyn Host,
    wanted: Wanted,
    deadline: Instant,
) -> Result<Dump<'a>, Disabled> {
    let Wanted {
        parts,
        evidence,
        ask,
        only,
    } = wanted;
    let (only_tasks, only_threads) = only.map(|only| (only.tasks, only.threads)).unzip();
    let wants_tasks = parts != StackParts::Threads;
    let wants_threads = parts != StackParts::Tasks;
    if wants_tasks && !host.has_tasks() && !wants_threads {
        return Err(Disabled("tasks"));
    }
    let interrupts = ask == Ask::TasksAndThreads;
    if wants_threads && interrupts && host.capturer().is_none() && !wants_tasks {
        return Err(Disabled("thread stacks"));
    }
    let mut collector = Collector::new(host, evidence);
    let probed = if wants_tasks && host.has_tasks() {
        collector.tasks(only_tasks, ask, deadline)
    } else {
        Vec::new()
    };
    let alive_on_tokio = host.alive_tasks();
    let polling = running_threads(&probed);
    let threads = match (parts, only_threads) {
        (StackParts::Tasks, _) => Which::These(polling),
        (StackParts::Threads | StackParts::All, Some(only)) => {
            Which::These([only, polling].concat())
        }
        (StackParts::Threads | StackParts::All, None) => Which::All,
    };
    collector.threads(&threads, interrupts, deadline);
    if wants_tasks && !host.has_tasks() {
        collector.gap("this service's agent has tasks switched off");
    }
    Ok(collector.finish(probed, alive_on_tokio))
}

/// The service's author has switched off what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Disabled(pub &'static str);

fn running_threads(probed: &[Probed]) -> Vec<i32> {
    probed
        .iter()
        .filter_map(|task| match task.state {
            ProbedState::Running(tid) => Some(tid),
            _ => None,
        })
        .collect()
}
