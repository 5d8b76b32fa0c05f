//! The counters that an agent answers with.

use rtops_protocol::{Stats, Summary};
use rtops_tasks::Monotonic;

use crate::{exchange::Identity, runtimes};

/// One line of the list.
pub(crate) fn summary(identity: &Identity) -> Summary {
    Summary {
        name: identity.name.clone(),
        tracked_tasks: rtops_tasks::census().tasks,
        alive_tasks: runtimes::alive_tasks(),
    }
}

/// All counters.
pub(crate) fn stats(identity: &Identity) -> Stats {
    let census = rtops_tasks::census();
    Stats {
        name: identity.name.clone(),
        tracked_tasks: census.tasks,
        tracked_spans: census.spans,
        running: census.running,
        longest_poll_ns: u64::try_from(census.longest_poll.as_nanos()).unwrap_or(u64::MAX),
        spawned: census.spawned,
        finished: census.finished,
        polls: census.polls,
        clock_ns: Monotonic::now().as_nanos(),
        runtimes: runtimes::figures(),
    }
}
