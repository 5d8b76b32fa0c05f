//! The counters in an agent's answers.

use rtops_protocol::{Stats, Summary};
use rtops_tasks::Monotonic;

use crate::{exchange::Identity, fork, runtimes};

/// Returns the number of tracked tasks that are alive, as Go's `runtime.NumGoroutine()` does for
/// goroutines. Useful for a gauge, or for shedding load.
///
/// It takes sixteen short locks, however many tasks there are, and works without
/// [`start`](crate::start()). Closures on a blocking pool count; spans inside a task do not. In a
/// forked child of a process with an agent, nothing is tracked, and it returns 0.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let before = rtops_agent::task_count();
/// let task = rtops_agent::spawn(std::future::pending::<()>());
/// assert_eq!(rtops_agent::task_count(), before + 1);
/// # drop(task);
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[must_use]
pub fn task_count() -> u64 {
    // A thread of the parent may hold a lock forever.
    if fork::is_forked_child() {
        return 0;
    }
    rtops_tasks::task_count()
}

/// Returns the figures for one line of the list.
pub(crate) fn summary(identity: &Identity) -> Summary {
    Summary {
        name: identity.name.clone(),
        tracked_tasks: rtops_tasks::task_count(),
        alive_tasks: runtimes::alive_tasks().unwrap_or_default(),
    }
}

/// Returns all counters.
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
