//! Polls all tasks that wait, with several workers.

mod found;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::atomic::AtomicUsize,
    thread,
};

use rtops_emulate::{Emulator, Source};
use rtops_image::{Image, Thread, Unreadable};

use self::{
    found::{Found, add},
    worker::Worker,
};
use crate::{
    Inventory, Noted, Options, Unresolved, answers,
    discover::{self, Cell, Discovery},
    machine::Machine,
    places::{Places, Ranges},
    poll::{
        Poller, Setup,
        wakers::{Cloned, Tried},
    },
    scan::{self, InnerWaker, Order, Site},
    siblings,
    source::Pages,
    stacks::Stacks,
    symbols,
    vtable::{Vtables, WakerVtable},
};

/// The most wakers of executors inside tasks that are called.
const MOST_WAKERS: usize = 20_000;
/// How many data pointers are tried with a vtable to find out whether it is a waker's.
const MOST_TRIES: u32 = 4;
/// The most threads that are resumed to finish their polls.
const MOST_COMPUTING: usize = 64;
/// For how many tasks one more worker is worthwhile.
const WORTH_A_WORKER: usize = 64;

/// Everything needed to poll the tasks of an image, one by one, on any [`Machine`].
///
/// [`Inventory::take`] does all of that in the interpreter. Use this to follow each
/// instruction of a poll, or to poll on something other than the interpreter.
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
    /// Wakers of executors inside tasks, and of threads inside `block_on`.
    pub(crate) inner: Vec<InnerWaker>,
    /// Where wakers are.
    pub(crate) sites: Vec<Site>,
    /// The thread that a task is polled as, by the list that owns the task.
    threads: HashMap<u64, &'a Thread>,
    /// The thread that all other tasks are polled as.
    pub(crate) any_thread: Option<&'a Thread>,
    /// Threads that wait in the kernel for others.
    parked: Vec<&'a Thread>,
    /// Threads that may be inside polls, and are in no system call.
    computing: Vec<Computing<'a>>,
}

/// A thread that may be inside the poll of a task.
struct Computing<'a> {
    /// The position of the task.
    index: usize,
    thread: &'a Thread,
    /// Where the poll returns to.
    end: u64,
}

impl<'a> Polls<'a> {
    /// Finds the tasks of an image.
    ///
    /// # Errors
    /// If mapped memory can't be read.
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

    /// Returns the positions of the tasks that wait, in [`Inventory::tasks`].
    pub fn waiting(&self) -> Vec<usize> {
        let waits = |(_, cell): &(usize, &Cell)| {
            cell.candidate.owner != 0 && !cell.candidate.state.is_running()
        };
        let waiting = self.cells.iter().enumerate().filter(waits);
        waiting.map(|(index, _)| index).collect()
    }

    /// Returns the threads that wait in the kernel for others.
    pub fn parked(&self) -> &[&'a Thread] {
        &self.parked
    }

    /// Returns the memory of the image as a poll must find it: stored wakers differ from the
    /// one that a poll brings, so that it is registered anew.
    pub fn memory(&self) -> impl Source + use<'a> {
        Pages {
            image: self.image,
            doubles: self.setup.doubles(),
            stacks: self.stacks.clone(),
        }
    }

    /// Returns an interpreter over this memory.
    pub fn interpreter(&self) -> Emulator<'a> {
        Emulator::new(self.memory())
    }

    /// Prepares a machine, which must have [`memory`](Self::memory), for polls.
    pub fn on<M: Machine>(&self, machine: M) -> Poller<'_, M> {
        Poller::new(machine, self)
    }

    /// Returns the thread that a task is polled as.
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
        siblings.retain(|waker| poller.try_waker(waker) == Tried::Waker);
        drop(poller);
        this.inner.extend(siblings);
        this
    }

    /// Of the vtables next to pointers to tasks, keeps those of tokio's wakers, whose clone is
    /// one more reference to the task. Returns the order of a waker's two words, if that shows.
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

    /// Of what looks like a waker, keeps what is one. Functions
    /// that failed several times are not called again.
    fn add_inner(&mut self, mut inner: Vec<InnerWaker>) {
        let mut poller = self.on(self.interpreter());
        let mut refused: HashMap<u64, u32> = HashMap::new();
        let mut known: BTreeMap<u64, WakerVtable> = BTreeMap::new();
        inner.retain(|waker| {
            let is_known = known.contains_key(&waker.address);
            let refused = refused.entry(waker.address).or_default();
            if !is_known && *refused >= MOST_TRIES {
                return false;
            }
            let tried = poller.try_waker(waker);
            match tried {
                Tried::Waker => drop(known.insert(waker.address, waker.vtable)),
                Tried::NoWaker => *refused += 1,
                Tried::NoClone => *refused = MOST_TRIES,
            }
            tried == Tried::Waker
        });
        drop(poller);
        inner.truncate(MOST_WAKERS);
        self.setup.inner = known.into_iter().collect();
        self.inner = inner;
    }

    /// Polls the tasks that wait, and adds the results to the inventory.
    pub(crate) fn run(&self, options: Options, inventory: &mut Inventory) {
        let waiting = self.waiting();
        for index in &waiting {
            if let Some(task) = inventory.tasks.get_mut(*index) {
                // Holds unless an outcome replaces it.
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
        add(found, inventory);
    }
}

impl fmt::Debug for Polls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polls")
            .field("tasks", &self.cells.len())
            .finish_non_exhaustive()
    }
}

/// Returns the threads that may be inside polls of tasks, and are in no system call.
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

/// Returns a thread for each owner: one that refers to the scheduler of its tasks, so that
/// a poll finds what it would find on a worker. Preferred is one that is in a system call
/// and inside no task, as a task's budget may be used up.
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
