//! Takes a dump of this process: the await trees of its tracked tasks and the stacks of its
//! threads, as frames of the protocol.
//!
//! `collect` takes it, unwinding copies as they come in; `leaves` keeps which stacks belong to
//! which task; `steps` chooses whose polls are stepped; `send` turns it into frames, piece by piece, so that a dump of a million tasks
//! never stands in memory as records. The agent sends them to a client; a leak check in a test
//! reads them in the same process.
#![forbid(unsafe_code)]

mod collect;
mod handles;
mod leaves;
mod send;
mod steps;

use std::time::Instant;

use rtops_protocol::{StackParts, Steps};
use rtops_tasks::{Probed, ProbedState, RuntimeTag};
use rtops_threads::Capturer;

use collect::{Collector, Which};
pub use send::Dump;

/// What a dump asks the process that it is taken of.
pub trait Host {
    /// The name that the process goes by.
    fn name(&self) -> &str;
    /// Whether the tasks may be looked at.
    fn has_tasks(&self) -> bool;
    /// What takes the stacks of threads; `None` where that is switched off or not supported.
    fn capturer(&self) -> Option<&Capturer>;
    /// Whether the thread is one of those that serve the dump.
    fn own_thread(&self, tid: i32) -> Option<OwnThread>;
    /// The name of a runtime.
    fn runtime_name(&self, tag: RuntimeTag) -> Option<String>;
    /// Tasks alive on the runtimes that are known, tracked or not.
    fn alive_tasks(&self) -> u64;
}

/// A thread that is there for the sake of dumps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OwnThread {
    /// It waits for clients, and is listed.
    Listener,
    /// It serves a client, and is not listed: it is there only for the time of the dump.
    Client,
}

/// What a dump is to hold beside stacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// Nothing.
    No,
    /// What has ended, lost wakers, and who awaits whom.
    Full,
    /// The same, and stepped polls of some tasks.
    Stepped(Steps),
}

/// Takes a dump, by the deadline.
///
/// # Errors
/// When everything that is wanted is switched off: the name of what that is.
pub fn take<'a>(
    host: &'a dyn Host,
    parts: StackParts,
    evidence: Evidence,
    deadline: Instant,
) -> Result<Dump<'a>, Disabled> {
    let wants_tasks = parts != StackParts::Threads;
    let wants_threads = parts != StackParts::Tasks;
    if wants_tasks && !host.has_tasks() && !wants_threads {
        return Err(Disabled("tasks"));
    }
    if wants_threads && host.capturer().is_none() && !wants_tasks {
        return Err(Disabled("thread stacks"));
    }
    let mut collector = Collector::new(host, evidence);
    let probed = if wants_tasks && host.has_tasks() {
        collector.tasks(deadline)
    } else {
        Vec::new()
    };
    let alive_on_tokio = host.alive_tasks();
    let threads = match parts {
        StackParts::Tasks => Which::Polling(running_threads(&probed)),
        StackParts::Threads | StackParts::All => Which::All,
    };
    collector.threads(&threads, deadline);
    if wants_tasks && !host.has_tasks() {
        collector.gap("this service's agent has tasks switched off");
    }
    Ok(collector.finish(probed, alive_on_tokio))
}

/// The service's author switched off what was asked for.
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
