//! A dump: the await trees of the tracked tasks and the stacks of the threads.
//!
//! `collect` takes it, unwinding copies as they come in; `leaves` keeps which stacks belong to
//! which task; `send` turns it into frames, piece by piece, so that a dump of a million tasks
//! never stands in memory as records.

mod collect;
mod leaves;
mod send;

use std::time::Instant;

use rtops_protocol::StackParts;
use rtops_tasks::{Probed, ProbedState};

use crate::{config::Capability, exchange::Identity, runtimes};

use collect::{Collector, Which};
pub(crate) use send::Dump;

/// The service's author switched off what was asked for.
pub(crate) struct Disabled(pub(crate) &'static str);

/// Takes a dump, by the deadline.
pub(crate) fn take(
    identity: &Identity,
    parts: StackParts,
    deadline: Instant,
) -> Result<Dump, Disabled> {
    let wants_tasks = parts != StackParts::Threads;
    let wants_threads = parts != StackParts::Tasks;
    if wants_tasks && !identity.options.has(Capability::Tasks) && !wants_threads {
        return Err(Disabled("tasks"));
    }
    if wants_threads && identity.capturer.is_none() && !wants_tasks {
        return Err(Disabled("thread stacks"));
    }
    let mut collector = Collector::new();
    let probed = if wants_tasks && identity.options.has(Capability::Tasks) {
        collector.tasks(deadline)
    } else {
        Vec::new()
    };
    let alive_on_tokio = runtimes::alive_tasks();
    let threads = match parts {
        StackParts::Tasks => Which::Polling(running_threads(&probed)),
        StackParts::Threads | StackParts::All => Which::All,
    };
    collector.threads(identity.capturer.as_ref(), &threads, deadline);
    if wants_tasks && !identity.options.has(Capability::Tasks) {
        collector.gap("this service's agent has tasks switched off");
    }
    Ok(collector.finish(identity, probed, alive_on_tokio))
}

fn running_threads(probed: &[Probed]) -> Vec<i32> {
    probed
        .iter()
        .filter_map(|task| match task.state {
            ProbedState::Running(tid) => Some(tid),
            _ => None,
        })
        .collect()
}
