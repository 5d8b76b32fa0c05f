//! Polls of all tasks that wait, by several workers.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use rtops_emulate::{Emulator, Source, Step};
use rtops_image::{Image, Thread, Tid, Unreadable};

use crate::{
    Leaf, Noted, Options, Registered, Resumed, State, Survey, Trace, Unresolved, VisitOrder,
    answers,
    discover::{self, Cell, Discovery},
    machine::Machine,
    places::{Places, Ranges},
    poll::{Ended, Poller, Setup, finish::Finished, wakers::Cloned},
    scan::{self, InnerWaker, Order, Site},
    siblings,
    source::Pages,
    stacks::Stacks,
    symbols, tree,
    vtable::{Vtables, WakerVtable},
};

/// The most wakers of executors inside of tasks that are called.
const MOST_WAKERS: usize = 20_000;
/// With how much data of one vtable it is tried whether it is a waker's.
const MOST_TRIES: u32 = 4;
/// The most threads that go on.
const MOST_RESUMED: usize = 256;
/// The most threads that go on to the ends of their polls, and the most instructions of all of them.
const MOST_COMPUTING: usize = 64;
const BUDGET_FINISHED: u64 = 1_000_000;
/// How many tasks a worker takes at a time, and for how many it is worth to have one more.
const BATCH: usize = 16;
const WORTH_A_WORKER: usize = 64;

/// All that it takes to poll the tasks of an image, one by one, on any [`Machine`].
///
/// [`Survey::take`] does all of it in the interpreter. This is for those who want to follow a poll: each
/// instruction of it, or on something else than the interpreter.
///
/// ```no_run
/// use rtops_cells::Polls;
/// use rtops_image::Core;
///
/// let core = Core::open("core".as_ref(), &rtops_image::Options::default())?;
/// let polls = Polls::of(&core)?;
/// let mut poller = polls.on(polls.interpreter());
/// for index in polls.waiting() {
///     let Some(polled) = poller.poll(index) else { continue };
///     println!("task {index}: {} instructions, {:?}", polled.steps.len(), polled.unresolved);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Polls<'a> {
    pub(crate) image: &'a dyn Image,
    /// In the order of their addresses.
    pub(crate) cells: Vec<Cell>,
    pub(crate) setup: Setup,
    stacks: Ranges,
    /// Wakers of executors inside of tasks, and of threads inside `block_on`.
    pub(crate) inner: Vec<InnerWaker>,
    /// Where wakers lie.
    pub(crate) sites: Vec<Site>,
    /// The thread that a task is polled as, by the list that owns it.
    threads: HashMap<u64, &'a Thread>,
    /// The same for others.
    pub(crate) any_thread: Option<&'a Thread>,
    /// Threads that wait in the kernel for others.
    parked: Vec<&'a Thread>,
    /// Those that may be inside polls, and compute.
    computing: Vec<Computing<'a>>,
}

/// A thread that may be inside the poll of a task.
struct Computing<'a> {
    /// The task, by its position.
    index: usize,
    thread: &'a Thread,
    /// Where the poll returns to.
    end: u64,
}

/// What came of letting such a thread go on: its task is polled by it, and may wake itself in each poll.
struct Caught {
    index: usize,
    tid: Tid,
    wakes_itself: Option<u32>,
}

/// What came of a poll.
struct Outcome {
    index: usize,
    ended: Ended,
    leaves: Vec<Leaf>,
    noted: Vec<u64>,
    wakes_itself: Option<u32>,
    trace: u32,
}

/// What one worker found.
#[derive(Default)]
struct Found {
    outcomes: Vec<Outcome>,
    resumed: Vec<Resumed>,
    caught: Vec<Caught>,
    kept: Kept,
    unknown: HashMap<String, usize>,
}

impl<'a> Polls<'a> {
    /// Finds the tasks of an image.
    ///
    /// # Errors
    /// When memory that is there can't be read.
    pub fn of(image: &'a impl Image) -> Result<Self, Unreadable> {
        let places = Places::of(image);
        let stacks = Stacks::of(image);
        let mut vtables = Vtables::of(image, &places);
        let found = discover::discover(image, &places, &stacks, &mut vtables)?;
        Ok(Self::new(
            image,
            found,
            &places,
            &stacks,
            &mut vtables,
            None,
        ))
    }

    /// The positions of the tasks that wait, in [`Survey::tasks`].
    pub fn waiting(&self) -> Vec<usize> {
        let waits = |(_, cell): &(usize, &Cell)| {
            cell.candidate.owner != 0 && !cell.candidate.state.is_running()
        };
        let waiting = self.cells.iter().enumerate().filter(waits);
        waiting.map(|(index, _)| index).collect()
    }

    /// The threads that wait in the kernel for others.
    pub fn parked(&self) -> &[&'a Thread] {
        &self.parked
    }

    /// The memory of the image, as a poll has to find it: where wakers are stored, they are others than the
    /// one that a poll brings, so that it is registered anew.
    pub fn memory(&self) -> impl Source + use<'a> {
        Pages {
            image: self.image,
            doubles: self.setup.doubles(),
            stacks: self.stacks.clone(),
        }
    }

    /// An interpreter over this memory.
    pub fn interpreter(&self) -> Emulator<'a> {
        Emulator::new(self.memory())
    }

    /// Prepares a machine, which must have [`memory`](Self::memory), for polls.
    pub fn on<M: Machine>(&self, machine: M) -> Poller<'_, M> {
        Poller::new(machine, self)
    }

    /// The thread that a task is polled as.
    pub(crate) fn thread(&self, cell: &Cell) -> Option<&'a Thread> {
        let own = self.threads.get(&cell.candidate.owner);
        own.copied().or(self.any_thread)
    }

    pub(crate) fn new<I: Image>(
        image: &'a I,
        found: Discovery,
        places: &Places,
        stacks: &Stacks,
        vtables: &mut Vtables<'_, I>,
        noted: Option<Noted>,
    ) -> Self {
        let addresses = found.waker_vtables.iter();
        let wakers = addresses.filter_map(|address| Some((*address, vtables.waker(*address)?)));
        let setup = Setup {
            wakers: wakers.collect(),
            inner: Vec::new(),
            vdso: symbols::vdso(image),
            panics: symbols::panics(image),
            tasks: found
                .alive
                .iter()
                .map(|cell| cell.candidate.vtable.poll)
                .collect(),
            joins: found
                .alive
                .iter()
                .map(|cell| cell.candidate.vtable.join)
                .collect(),
            noted,
        };
        let is_parked = |thread: &&Thread| {
            let registers = &thread.registers;
            answers::is_park(registers.orig_rax, registers.rsi)
        };
        let mut this = Self {
            image,
            setup,
            stacks: places.stacks.clone(),
            inner: Vec::new(),
            sites: Vec::new(),
            threads: threads(image, &found.alive, stacks),
            computing: computing(image, &found.alive, stacks),
            cells: found.alive,
            any_thread: image.threads().first(),
            parked: image.threads().iter().filter(is_parked).collect(),
        };
        let order = this.retain_tokios();
        let own: HashSet<u64> = this.setup.wakers.iter().map(|(own, _)| *own).collect();
        this.add_inner(scan::inner_wakers(&found.references, vtables, &own, order));
        let inner = this.inner.iter();
        let inner: HashSet<(u64, u64)> = inner.map(|one| (one.address, one.data)).collect();
        this.sites = found.references.sites;
        this.sites.retain(|site| {
            let is_ordered = order.is_none_or(|order| site.order == order);
            let is_known = own.contains(&site.vtable) || inner.contains(&(site.vtable, site.data));
            is_ordered && is_known
        });
        let left = MOST_WAKERS.saturating_sub(this.inner.len());
        let mut siblings = siblings::siblings(image, places, &this.inner, left);
        let mut poller = this.on(this.interpreter());
        siblings.retain(|waker| poller.is_waker(waker));
        drop(poller);
        this.inner.extend(siblings);
        this
    }

    /// Keeps what is a waker of tokio's of those that lie beside pointers to tasks: its clone is one more
    /// reference to the task. Returns in which order that has its two words.
    fn retain_tokios(&mut self) -> Option<Order> {
        let mut poller = self.on(self.interpreter());
        let mut known = HashSet::new();
        let mut order = None;
        for (address, vtable) in &self.setup.wakers {
            for cell in self.cells.iter().take(MOST_TRIES as usize) {
                if let Cloned::Waker { order: shown } = poller.clone_of(vtable, cell) {
                    known.insert(*address);
                    order = order.or(shown);
                    break;
                }
            }
        }
        drop(poller);
        self.setup
            .wakers
            .retain(|(address, _)| known.contains(address));
        order
    }

    /// Keeps what is a waker of those that look like one. Functions that several times were none are not
    /// called again.
    fn add_inner(&mut self, mut inner: Vec<InnerWaker>) {
        let mut poller = self.on(self.interpreter());
        let mut refused: HashMap<u64, u32> = HashMap::new();
        let mut known: BTreeMap<u64, WakerVtable> = BTreeMap::new();
        inner.retain(|waker| {
            let is_known = known.contains_key(&waker.address);
            let refused = refused.entry(waker.address).or_default();
            let is_waker = (is_known || *refused < MOST_TRIES) && poller.is_waker(waker);
            if is_waker {
                known.insert(waker.address, waker.vtable);
            } else {
                *refused += 1;
            }
            is_waker
        });
        drop(poller);
        inner.truncate(MOST_WAKERS);
        self.setup.inner = known.into_iter().collect();
        self.inner = inner;
    }

    /// Polls what waits, and adds to the survey what that shows.
    pub(crate) fn run(&self, options: Options, survey: &mut Survey) {
        let waiting = self.waiting();
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
            let mut worker = Worker::new(self);
            worker.poll(&waiting, &next, options.until);
            worker
        };
        let found: Vec<Found> = thread::scope(|scope| {
            let work_and_end = || work().end();
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(work_and_end)).collect();
            let mut own = work();
            own.resume(options.until);
            own.finish(options.until);
            let others = others.into_iter().filter_map(|other| other.join().ok());
            [own.end()].into_iter().chain(others).collect()
        });
        add(found, survey);
    }
}

impl fmt::Debug for Polls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polls")
            .field("tasks", &self.cells.len())
            .finish_non_exhaustive()
    }
}

/// Polls one task after the other.
struct Worker<'a> {
    polls: &'a Polls<'a>,
    poller: Poller<'a, Emulator<'a>>,
    /// One in whose memory nobody was woken, once it is needed.
    as_it_is: Option<Poller<'a, Emulator<'a>>>,
    found: Found,
}

impl<'a> Worker<'a> {
    fn new(polls: &'a Polls<'a>) -> Self {
        Self {
            polls,
            poller: polls.on(polls.interpreter()),
            as_it_is: None,
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
        let thread = polls.thread(cell);
        let mut poller = &mut self.poller;
        let mut ended = poller.poll_cell(cell, thread);
        // What was taken for a waker and woken may have been none, however much it looked like one.
        if matches!(ended, Ended::GivenUp(_)) && !polls.inner.is_empty() {
            let as_it_is = || Poller::as_it_is(polls.interpreter(), polls);
            let other = self.as_it_is.get_or_insert_with(as_it_is);
            let again = other.poll_cell(cell, thread);
            if again == Ended::Pending {
                (poller, ended) = (other, again);
            }
        }
        let recorder = &mut poller.recorder;
        // Whoever waits no longer goes on from where it stands.
        let order = if ended == Ended::Pending && !cell.candidate.state.is_notified() {
            VisitOrder::Last
        } else {
            VisitOrder::First
        };
        let is_whole = !matches!(ended, Ended::GivenUp(_));
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

    /// Lets parked threads go on.
    fn resume(&mut self, until: Option<Instant>) {
        for thread in self.polls.parked.iter().take(MOST_RESUMED) {
            if until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let ended = self.poller.resume_thread(thread);
            let recorder = &mut self.poller.recorder;
            // Whoever polled a future has registered a waker.
            if ended != Ended::Pending || recorder.leaves.is_empty() {
                continue;
            }
            // It returned from where it was parked, up to the loop that polls.
            let outermost = recorder.steps.iter().map(|step| step.sp).max();
            let steps = recorder.steps.iter();
            let begin = steps.take_while(|step| Some(step.sp) != outermost).count();
            let steps = recorder.steps.get(begin..).unwrap_or_default();
            let order = VisitOrder::Last;
            let kept = &mut self.found.kept;
            self.found.resumed.push(Resumed {
                tid: thread.tid,
                trace: kept.trace(recorder.hash, order, || trace(steps, true, order)),
                leaves: kept.leaves(std::mem::take(&mut recorder.leaves)),
                noted: recorder.take_noted(),
            });
        }
    }

    /// Lets threads go on to the ends of the polls that they are inside of.
    fn finish(&mut self, until: Option<Instant>) {
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

    fn end(mut self) -> Found {
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

/// The threads that may be inside polls of tasks, and in no system call.
fn computing<'a>(image: &'a impl Image, cells: &[Cell], stacks: &Stacks) -> Vec<Computing<'a>> {
    let polled = cells.iter().enumerate().filter(|(_, cell)| {
        let candidate = &cell.candidate;
        candidate.owner != 0 && candidate.state.is_running()
    });
    let computing = polled.flat_map(|(index, cell)| {
        let candidate = &cell.candidate;
        let inside = stacks.inside(image, candidate.vtable.poll, candidate.header);
        inside.filter_map(move |(at, end)| {
            let thread = image.threads().get(at)?;
            let computes = thread.registers.orig_rax == u64::MAX;
            computes.then_some(Computing { index, thread, end })
        })
    });
    computing.take(MOST_COMPUTING).collect()
}

/// The thread for each owner: one that refers to the scheduler of its tasks, so that a poll finds what it
/// finds on a worker. Best one that is inside no task, whose budget may be used up, and in a system call.
fn threads<'a>(image: &'a impl Image, cells: &[Cell], stacks: &Stacks) -> HashMap<u64, &'a Thread> {
    let running = cells
        .iter()
        .filter(|cell| cell.candidate.state.is_running());
    let busy: HashSet<usize> = running
        .flat_map(|cell| stacks.holders(cell.candidate.header))
        .collect();
    let mut threads = HashMap::new();
    for cell in cells {
        let candidate = &cell.candidate;
        if candidate.owner == 0 || threads.contains_key(&candidate.owner) {
            continue;
        }
        let Some(scheduler) = candidate.scheduler(image) else {
            continue;
        };
        let holders = stacks.holders(scheduler);
        let holders = holders.filter_map(|index| Some((index, image.threads().get(index)?)));
        let best = holders.max_by_key(|(index, thread)| {
            let is_in_call = thread.registers.orig_rax != u64::MAX;
            (!busy.contains(index), is_in_call)
        });
        if let Some((_, thread)) = best {
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
    stacks: Vec<Vec<u64>>,
    stack_numbers: HashMap<Vec<u64>, u32>,
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

    /// The number of a stack.
    fn stack(&mut self, stack: Vec<u64>) -> u32 {
        *self.stack_numbers.entry(stack).or_insert_with_key(|stack| {
            self.stacks.push(stack.clone());
            number(self.stacks.len())
        })
    }

    /// The leaves with the numbers of their stacks, sorted; children of a container may have the same.
    fn leaves(&mut self, leaves: Vec<Registered>) -> Vec<Leaf> {
        let leaves = leaves.into_iter().map(|leaf| Leaf {
            stack: self.stack(leaf.stack),
            awaits: leaf.awaits,
            note: leaf.note,
        });
        let mut leaves: Vec<Leaf> = leaves.collect();
        leaves.sort_unstable();
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
        caught,
        kept,
        unknown: own,
    } in found
    {
        let traces = kept.traces.into_iter();
        let traces: Vec<u32> = traces
            .map(|((hash, order), trace)| all.trace(hash, order, || trace))
            .collect();
        let stacks = kept.stacks.into_iter();
        let stacks: Vec<u32> = stacks.map(|stack| all.stack(stack)).collect();
        let renumbered = |leaves: Vec<Leaf>| -> Vec<Leaf> {
            let leaves = leaves.into_iter();
            let leaves = leaves.filter_map(|leaf| {
                let stack = at(&stacks, leaf.stack)?;
                Some(Leaf { stack, ..leaf })
            });
            leaves.collect()
        };
        survey.polls += outcomes.len();
        for outcome in outcomes {
            let Some(task) = survey.tasks.get_mut(outcome.index) else {
                continue;
            };
            task.trace = at(&traces, outcome.trace);
            task.leaves = renumbered(outcome.leaves);
            task.noted = outcome.noted;
            task.wakes_itself = outcome.wakes_itself.and_then(|stack| at(&stacks, stack));
            task.unresolved = outcome.ended.unresolved();
        }
        survey.resumed.extend(resumed.into_iter().filter_map(|one| {
            Some(Resumed {
                trace: at(&traces, one.trace)?,
                leaves: renumbered(one.leaves),
                ..one
            })
        }));
        for one in caught {
            let Some(task) = survey.tasks.get_mut(one.index) else {
                continue;
            };
            task.wakes_itself = one.wakes_itself.and_then(|stack| at(&stacks, stack));
            if task.state == (State::Running { tid: None }) {
                task.state = State::Running { tid: Some(one.tid) };
                task.unresolved = None;
            }
        }
        for (what, count) in own {
            *unknown.entry(what).or_default() += count;
        }
    }
    survey.traces = all.traces.into_iter().map(|(_, trace)| trace).collect();
    survey.leaves = all.stacks;
    survey.unknown_instructions = unknown.into_iter().collect();
    survey.unknown_instructions.sort_unstable();
}

fn at(numbers: &[u32], number: u32) -> Option<u32> {
    let index = usize::try_from(number).ok()?;
    numbers.get(index).copied()
}
