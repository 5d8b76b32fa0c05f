//! What the threads of a process do during the rest of a look: one look shows where a
//! thread is, but not whether it stays there.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use procfs::process::{Process, Schedstat};
use rtops_cells::{Inventory, State};
use rtops_image::Tid;
use rtops_protocol::Afterwards;

use crate::proc::proc_files;

/// The most threads to watch: each costs a few microseconds.
const MOST_THREADS: usize = 2048;
/// How long to watch a thread that may be stuck in its poll. There rarely is one,
/// and then it is what the user looks for.
const LONG_ENOUGH: Duration = Duration::from_millis(100);
/// A thread that rests for 1/`RESTS` of the time or more is not watched longer.
const RESTS: u64 = 8;

/// Threads that are being watched.
pub struct Watched {
    threads: HashMap<Tid, Schedstat>,
    since: Instant,
}

impl Watched {
    /// Begins as soon as the process goes on.
    pub fn begin(process: &Process) -> Self {
        let since = Instant::now();
        let threads = proc_files::threads(process).into_iter().flatten();
        let threads = threads.take(MOST_THREADS).filter_map(|thread| {
            let before = thread.schedstat().ok()?;
            Some((Tid::new(thread.tid), before))
        });
        Self {
            threads: threads.collect(),
            since,
        }
    }

    /// Ends now, or a little later if a thread may be stuck inside a poll, or a
    /// task keeps asking to be polled again.
    pub fn end(&self, process: &Process, inventory: &Inventory) -> HashMap<Tid, Afterwards> {
        let inside_polls = inventory.tasks.iter().filter_map(|task| match task.state {
            State::Running { tid } => tid,
            _ => None,
        });
        let mut so_far = inside_polls.filter_map(|tid| self.of(process, tid));
        let mut tasks = inventory.tasks.iter();
        if tasks.any(|task| task.wakes_itself.is_some()) || so_far.any(|so_far| is_open(&so_far)) {
            thread::sleep(LONG_ENOUGH.saturating_sub(self.since.elapsed()));
        }
        let threads = self.threads.keys();
        threads
            .filter_map(|tid| Some((*tid, self.of(process, *tid)?)))
            .collect()
    }

    /// Returns `None` if the thread has ended.
    fn of(&self, process: &Process, tid: Tid) -> Option<Afterwards> {
        let before = self.threads.get(&tid)?;
        let thread = process.task_from_tid(tid.as_raw()).ok()?;
        let state = thread.stat().ok()?.state;
        let now = thread.schedstat().ok()?;
        let watched = self.since.elapsed();
        Some(Afterwards {
            watched_ns: u64::try_from(watched.as_nanos()).unwrap_or(u64::MAX),
            ran_ns: now.sum_exec_runtime.checked_sub(before.sum_exec_runtime)?,
            queued_ns: now.run_delay.checked_sub(before.run_delay)?,
            timeslices: now.pcount.checked_sub(before.pcount)?,
            state,
        })
    }
}

/// Whether a thread has done nothing so far, or hardly anything but run.
fn is_open(so_far: &Afterwards) -> bool {
    let rested = so_far
        .watched_ns
        .saturating_sub(so_far.ran_ns.saturating_add(so_far.queued_ns));
    so_far.ran_ns < so_far.watched_ns / 100 || rested < so_far.watched_ns / RESTS
}
