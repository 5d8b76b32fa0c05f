//! Polls of all tasks that wait, by several workers.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use rtops_emulate::{Flow, Step};
use rtops_image::{Image, Thread};
use rtops_step::{End, VisitOrder};

use crate::{
    Options, Resumed, Survey, Trace, Unresolved, answers,
    discover::{Cell, Discovery},
    poll::{Ended, Poller, Setup},
    scan,
    stacks::Stacks,
    symbols,
    vtable::{Vtables, WakerVtable},
};

/// The most wakers of executors inside of tasks that are called.
const MOST_WAKERS: usize = 20_000;
/// The most threads that go on.
const MOST_RESUMED: usize = 256;
/// How many tasks a worker takes at a time, and for how many it is worth to have one more.
const BATCH: usize = 16;
const WORTH_A_WORKER: usize = 64;

/// All that polls need.
pub(crate) struct Polls<'a> {
    cells: &'a [Cell],
    setup: Setup,
    inner: Vec<(WakerVtable, u64)>,
    /// The thread that a task is polled as, by the list that owns it.
    threads: HashMap<u64, &'a Thread>,
    /// The same for others.
    any_thread: Option<&'a Thread>,
    /// Threads that wait in the kernel for others.
    parked: Vec<&'a Thread>,
}

/// What came of a poll.
struct Outcome {
    index: usize,
    ended: Ended,
    leaves: Vec<u32>,
    trace: u32,
}

/// What one worker found.
#[derive(Default)]
struct Found {
    outcomes: Vec<Outcome>,
    resumed: Vec<Resumed>,
    kept: Kept,
    unknown: HashMap<String, usize>,
}

impl<'a> Polls<'a> {
    pub(crate) fn new<I: Image>(
        image: &'a I,
        found: &'a Discovery,
        stacks: &Stacks,
        vtables: &mut Vtables<'_, I>,
    ) -> Self {
        let addresses = found.waker_vtables.iter();
        let wakers = addresses.filter_map(|address| Some((*address, vtables.waker(*address)?)));
        let own: HashSet<u64> = found.waker_vtables.iter().copied().collect();
        let setup = Setup {
            wakers: wakers.collect(),
            vdso: symbols::vdso(image),
            panics: symbols::panics(image),
        };
        let mut inner = scan::inner_wakers(&found.references, vtables, &own);
        inner.truncate(MOST_WAKERS);
        let is_parked = |thread: &&Thread| {
            let registers = &thread.registers;
            answers::is_park(registers.orig_rax, registers.rsi)
        };
        Self {
            cells: &found.alive,
            setup,
            inner,
            threads: threads(image, &found.alive, stacks),
            any_thread: image.threads().first(),
            parked: image.threads().iter().filter(is_parked).collect(),
        }
    }

    /// Polls what waits, and adds to the survey what that shows.
    pub(crate) fn run<I: Image + Send>(&self, image: &I, options: Options, survey: &mut Survey) {
        let waits = |(_, cell): &(usize, &Cell)| {
            cell.candidate.owner != 0 && !cell.candidate.state.is_running()
        };
        let waiting = self.cells.iter().enumerate().filter(waits);
        let waiting: Vec<usize> = waiting.map(|(index, _)| index).collect();
        for index in &waiting {
            if let Some(task) = survey.tasks.get_mut(*index) {
                // Unless an outcome says something else.
                task.unresolved = Some(Unresolved::NoTime);
            }
        }
        let workers = match options.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let workers = workers.clamp(1, waiting.len() / WORTH_A_WORKER + 1);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut worker = Worker::new(self, image);
            worker.poll(&waiting, &next, options.until);
            worker
        };
        let found: Vec<Found> = thread::scope(|scope| {
            let work_and_end = || work().end();
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(work_and_end)).collect();
            let mut own = work();
            own.resume(options.until);
            let others = others.into_iter().filter_map(|other| other.join().ok());
            [own.end()].into_iter().chain(others).collect()
        });
        add(found, survey);
    }
}

/// Polls one task after the other.
struct Worker<'a> {
    polls: &'a Polls<'a>,
    poller: Poller<'a>,
    found: Found,
}

impl<'a> Worker<'a> {
    fn new<I: Image + Send>(polls: &'a Polls<'a>, image: &'a I) -> Self {
        let mut poller = Poller::new(image, &polls.setup);
        poller.wake(&polls.inner, polls.any_thread);
        Self {
            polls,
            poller,
            found: Found::default(),
        }
    }

    /// Takes tasks until there are no more, or the time is up.
    fn poll(&mut self, waiting: &[usize], next: &AtomicUsize, until: Option<Instant>) {
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
        let thread = polls.threads.get(&cell.candidate.owner).copied();
        let ended = self.poller.poll(cell, thread.or(polls.any_thread));
        let recorder = &mut self.poller.recorder;
        // Whoever waits no longer goes on from where it stands.
        let order = if ended == Ended::Pending && !cell.candidate.state.is_notified() {
            VisitOrder::Last
        } else {
            VisitOrder::First
        };
        let end = match ended {
            Ended::GivenUp(_) => End::TooLong,
            Ended::Pending | Ended::Ready => End::Whole,
        };
        let kept = &mut self.found.kept;
        self.found.outcomes.push(Outcome {
            index,
            trace: kept.trace(recorder.hash, order, || trace(&recorder.steps, end, order)),
            leaves: kept.leaves(std::mem::take(&mut recorder.leaves)),
            ended,
        });
    }

    /// Lets parked threads go on.
    fn resume(&mut self, until: Option<Instant>) {
        for thread in self.polls.parked.iter().take(MOST_RESUMED) {
            if until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            if self.poller.resume(thread) != Ended::Pending {
                continue;
            }
            let recorder = &mut self.poller.recorder;
            // It returned from where it was parked, up to the loop that polls.
            let outermost = recorder.steps.iter().map(|step| step.sp).max();
            let steps = recorder.steps.iter();
            let begin = steps.take_while(|step| Some(step.sp) != outermost).count();
            let steps = recorder.steps.get(begin..).unwrap_or_default();
            let (end, order) = (End::Whole, VisitOrder::Last);
            let kept = &mut self.found.kept;
            self.found.resumed.push(Resumed {
                tid: thread.tid,
                trace: kept.trace(recorder.hash, order, || trace(steps, end, order)),
                leaves: kept.leaves(std::mem::take(&mut recorder.leaves)),
            });
        }
    }

    fn end(mut self) -> Found {
        self.found.unknown = std::mem::take(&mut self.poller.unknown);
        self.found
    }
}

fn trace(steps: &[Step], end: End, order: VisitOrder) -> Trace {
    let steps = steps.iter().map(|step| rtops_step::Step {
        ip: step.ip,
        sp: step.sp,
        is_call: step.flow == Flow::Call,
    });
    let made = rtops_step::Trace::from_steps(0, end, order, steps);
    Trace {
        end,
        order,
        calls: made.calls,
        visits: made.visits,
    }
}

/// The thread for each owner: one that refers to the scheduler of its tasks, best one that is in a system
/// call, so that a poll finds what it finds on a worker.
fn threads<'a>(image: &'a impl Image, cells: &[Cell], stacks: &Stacks) -> HashMap<u64, &'a Thread> {
    let mut threads = HashMap::new();
    for cell in cells {
        let candidate = &cell.candidate;
        if candidate.owner == 0 || threads.contains_key(&candidate.owner) {
            continue;
        }
        let Some(offset) = candidate.vtable.scheduler else {
            continue;
        };
        let Ok(scheduler) = image.read_u64(candidate.header + offset) else {
            continue;
        };
        let holders = stacks.holders(scheduler);
        let holders = holders.filter_map(|index| image.threads().get(index));
        let best = holders.max_by_key(|thread| thread.registers.orig_rax != u64::MAX);
        if let Some(thread) = best {
            threads.insert(candidate.owner, thread);
        }
    }
    threads
}

/// Traces and leaves, each once.
#[derive(Default)]
struct Kept {
    traces: Vec<((u64, VisitOrder), Trace)>,
    numbers: HashMap<(u64, VisitOrder), u32>,
    leaves: Vec<Vec<u64>>,
    leaf_numbers: HashMap<Vec<u64>, u32>,
}

impl Kept {
    /// The number of the trace of steps with this hash.
    fn trace(&mut self, hash: u64, order: VisitOrder, make: impl FnOnce() -> Trace) -> u32 {
        let key = (hash, order);
        *self.numbers.entry(key).or_insert_with(|| {
            self.traces.push((key, make()));
            number(self.traces.len())
        })
    }

    /// The numbers of stacks, sorted, each once.
    fn leaves(&mut self, leaves: Vec<Vec<u64>>) -> Vec<u32> {
        let leaves = leaves.into_iter().map(|leaf| {
            *self.leaf_numbers.entry(leaf).or_insert_with_key(|leaf| {
                self.leaves.push(leaf.clone());
                number(self.leaves.len())
            })
        });
        let mut leaves: Vec<u32> = leaves.collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }
}

/// The number of what was added last.
fn number(count: usize) -> u32 {
    u32::try_from(count - 1).unwrap_or(u32::MAX)
}

/// Puts what the workers found together.
fn add(found: Vec<Found>, survey: &mut Survey) {
    let mut all = Kept::default();
    let mut unknown: HashMap<String, usize> = HashMap::new();
    for Found {
        outcomes,
        resumed,
        kept,
        unknown: own,
    } in found
    {
        let traces = kept.traces.into_iter();
        let traces: Vec<u32> = traces
            .map(|((hash, order), trace)| all.trace(hash, order, || trace))
            .collect();
        let leaves = kept.leaves.into_iter();
        let leaves: Vec<u32> = leaves.flat_map(|leaf| all.leaves(vec![leaf])).collect();
        let renumbered = |numbers: Vec<u32>| -> Vec<u32> {
            let numbers = numbers.into_iter();
            numbers.filter_map(|number| at(&leaves, number)).collect()
        };
        survey.polls += outcomes.len();
        for outcome in outcomes {
            let Some(task) = survey.tasks.get_mut(outcome.index) else {
                continue;
            };
            task.trace = at(&traces, outcome.trace);
            task.leaves = renumbered(outcome.leaves);
            task.unresolved = match outcome.ended {
                Ended::Pending => None,
                Ended::Ready => Some(Unresolved::Ready),
                Ended::GivenUp(why) => Some(why),
            };
        }
        survey.resumed.extend(resumed.into_iter().filter_map(|one| {
            Some(Resumed {
                trace: at(&traces, one.trace)?,
                leaves: renumbered(one.leaves),
                ..one
            })
        }));
        for (what, count) in own {
            *unknown.entry(what).or_default() += count;
        }
    }
    survey.traces = all.traces.into_iter().map(|(_, trace)| trace).collect();
    survey.leaves = all.leaves;
    survey.unknown_instructions = unknown.into_iter().collect();
    survey.unknown_instructions.sort_unstable();
}

fn at(numbers: &[u32], number: u32) -> Option<u32> {
    let index = usize::try_from(number).ok()?;
    numbers.get(index).copied()
}
