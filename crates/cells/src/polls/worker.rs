//! A worker, which polls one task after another.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use rtops_emulate::{Emulator, Step};

use super::{
    Computing, Polls,
    found::{Caught, Found, Outcome},
};
use crate::{
    Resumed, Trace, Unresolved, VisitOrder,
    poll::{Ended, Poller, finish::Finished},
    tree,
};

/// The most threads that are resumed.
const MOST_RESUMED: usize = 256;
/// The most instructions of all threads that are resumed to finish their polls.
const BUDGET_FINISHED: u64 = 1_000_000;
/// How many tasks a worker takes at a time.
const BATCH: usize = 16;

/// Polls one task after another.
pub(super) struct Worker<'a> {
    polls: &'a Polls<'a>,
    poller: Poller<'a, Emulator<'a>>,
    /// A poller in whose memory nothing was woken, made when it is needed.
    as_it_is: Option<Poller<'a, Emulator<'a>>>,
    found: Found,
}

impl<'a> Worker<'a> {
    pub(super) fn new(polls: &'a Polls<'a>) -> Self {
        Self {
            polls,
            poller: polls.on(polls.interpreter()),
            as_it_is: None,
            found: Found::default(),
        }
    }

    /// Takes tasks until there are no more, or the time is up.
    pub(super) fn poll(&mut self, waiting: &[usize], next: &AtomicUsize, until: Option<Instant>) {
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        loop {
            let start = next.fetch_add(BATCH, Relaxed);
            let batch = waiting.get(start..).unwrap_or_default();
            if batch.is_empty() || is_late() {
                return;
            }
            for index in batch.iter().take(BATCH) {
                self.poll_one(*index);
            }
        }
    }

    fn poll_one(&mut self, index: usize) {
        let polls = self.polls;
        let Some(cell) = polls.cells.get(index) else {
            return;
        };
        let thread = polls.thread(cell);
        let mut poller = &mut self.poller;
        let mut ended = poller.poll_cell(cell, thread);
        // What was woken as a waker may have been none, however much it looked like one.
        if matches!(ended, Ended::GivenUp(_)) && !polls.inner.is_empty() {
            let as_it_is = || Poller::as_it_is(polls.interpreter(), polls);
            let other = self.as_it_is.get_or_insert_with(as_it_is);
            let again = other.poll_cell(cell, thread);
            if again == Ended::Pending {
                (poller, ended) = (other, again);
            }
        }
        let recorder = &mut poller.recorder;
        // A task that no longer waits goes on from where it was.
        let order = if ended == Ended::Pending && !cell.candidate.state.is_notified() {
            VisitOrder::Last
        } else {
            VisitOrder::First
        };
        let is_whole = !matches!(ended, Ended::GivenUp(_)) && !poller.is_cut;
        let was_woken = cell.candidate.state.is_notified();
        let wakes_itself = was_woken && ended == Ended::Pending && poller.has_woken_itself;
        let wake = recorder.take_wake().filter(|_| wakes_itself);
        let kept = &mut self.found.kept;
        self.found.outcomes.push(Outcome {
            index,
            trace: kept.trace(recorder.hash, order, || {
                trace(&recorder.steps, is_whole, order)
            }),
            leaves: kept.leaves(std::mem::take(&mut recorder.leaves)),
            noted: recorder.take_noted(),
            wakes_itself: wake.map(|stack| kept.stack(stack)),
            ended,
        });
    }

    /// Resumes parked threads.
    pub(super) fn resume(&mut self, until: Option<Instant>) {
        for thread in self.polls.parked.iter().take(MOST_RESUMED) {
            if until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let ended = self.poller.resume_thread(thread);
            let recorder = &mut self.poller.recorder;
            // A thread that polled a future has registered a waker. A
            // future with many children may not come to an end.
            let is_whole = match ended {
                Ended::Pending => true,
                Ended::GivenUp(Unresolved::Endless) => false,
                Ended::Ready | Ended::GivenUp(_) => continue,
            };
            if recorder.leaves.is_empty() {
                continue;
            }
            // The first steps return from where the thread was parked, up to the loop that polls.
            let outermost = recorder.steps.iter().map(|step| step.sp).max();
            let steps = recorder.steps.iter();
            let begin = steps.take_while(|step| Some(step.sp) != outermost).count();
            let steps = recorder.steps.get(begin..).unwrap_or_default();
            let order = VisitOrder::Last;
            let kept = &mut self.found.kept;
            self.found.resumed.push(Resumed {
                tid: thread.tid,
                trace: kept.trace(recorder.hash, order, || trace(steps, is_whole, order)),
                leaves: kept.leaves(std::mem::take(&mut recorder.leaves)),
                noted: recorder.take_noted(),
            });
        }
    }

    /// Resumes threads until the polls that they are inside of end.
    pub(super) fn finish(&mut self, until: Option<Instant>) {
        let begin = self.poller.recorder.count;
        for Computing { index, thread, end } in &self.polls.computing {
            let is_late = until.is_some_and(|until| Instant::now() >= until);
            if is_late || self.poller.recorder.count - begin > BUDGET_FINISHED {
                return;
            }
            let Some(cell) = self.polls.cells.get(*index) else {
                continue;
            };
            if let Finished::Yes { wakes_itself } = self.poller.finish(cell, thread, *end) {
                let kept = &mut self.found.kept;
                self.found.caught.push(Caught {
                    index: *index,
                    tid: thread.tid,
                    wakes_itself: wakes_itself.map(|stack| kept.stack(stack)),
                });
            }
        }
    }

    pub(super) fn end(mut self) -> Found {
        self.found.unknown = std::mem::take(&mut self.poller.unknown);
        self.found
    }
}

fn trace(steps: &[Step], is_whole: bool, order: VisitOrder) -> Trace {
    let (calls, visits) = tree::build(steps, order);
    Trace {
        is_whole,
        order,
        calls,
        visits,
    }
}
