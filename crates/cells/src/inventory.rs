//! Surveys the tasks of an image: which there are, and what their polls show.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    panic, thread,
    time::Instant,
};

use rtops_image::{Image, Tid, Unreadable};

use crate::{
    Leaf, Runtime, Shared, State, Task, Trace, Unresolved,
    discover::{self, Cell},
    places::Places,
    polls::Polls,
    shared,
    stacks::{Stack, Stacks},
    version::{self, Version},
    vtable::{self, Vtables},
    words::Words,
};

/// What to find out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether to find out where tasks wait, and not only which there are.
    pub trees: bool,
    /// When to stop polling.
    pub until: Option<Instant>,
    /// How many polls run at the same time; 0 for as many as there are processors.
    pub workers: usize,
    /// How code that polls others inside its own poll says whom it polls.
    pub noted: Option<Noted>,
}

/// How code that polls others inside its own poll says whom it polls.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// Where each thread keeps the word that is noted at each leaf, in bytes from its `fs_base`.
    pub word: i64,
    /// The function whose first argument is noted. Wakers that it clones belong to no leaf.
    pub function: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trees: true,
            until: None,
            workers: 0,
            noted: None,
        }
    }
}

/// The tasks and threads of an image.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Tasks, and closures on blocking pools, that have not ended.
    pub tasks: Vec<Task>,
    /// The distinct stacks where leaves register their wakers: the
    /// function that clones wakers, then return addresses.
    pub leaves: Vec<Vec<u64>>,
    /// The distinct traces of polls.
    pub traces: Vec<Trace>,
    /// The stacks of all threads, in the order of the image.
    pub threads: Vec<Stack>,
    /// What parked threads do when they are resumed: one inside `block_on` polls its future.
    pub resumed: Vec<Resumed>,
    /// The runtimes that have tasks, sorted by copy of tokio, then by number.
    pub runtimes: Vec<Runtime>,
    /// What tasks and threads wait for, and who else has it.
    pub shared: Vec<Shared>,
    /// Tasks that have ended, but whose output a join handle keeps: their number, by the
    /// function that polled them.
    pub kept: Vec<(u64, usize)>,
    /// The number of copies of tokio that have tasks.
    pub copies: usize,
    /// The versions of tokio that the program names, oldest first.
    pub versions: Vec<Version>,
    /// The number of polls that ran.
    pub polls: usize,
    /// Instructions that the interpreter does not know, and how many polls reached each.
    pub unknown_instructions: Vec<(String, usize)>,
}

/// A parked thread that was resumed in the interpreter, as if
/// something had woken it, until it parked again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resumed {
    /// The thread's id in the image.
    pub tid: Tid,
    /// What ran, from the outermost function that it reached, by position in [`Inventory::traces`].
    pub trace: u32,
    /// Where wakers were registered, as in [`Task::leaves`].
    pub leaves: Vec<Leaf>,
    /// As in [`Task::noted`].
    pub noted: Vec<u64>,
}

impl Inventory {
    /// Finds all tasks, and polls those that wait.
    ///
    /// # Errors
    /// If mapped memory can't be read.
    pub fn take<I: Image>(image: &I, options: Options) -> Result<Self, Unreadable> {
        thread::scope(|scope| {
            // This reads all constants, and nothing else needs the result.
            let versions = scope.spawn(|| version::versions(image));
            let mut inventory = Self::without_versions(image, options)?;
            inventory.versions = versions
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic));
            Ok(inventory)
        })
    }

    fn without_versions<I: Image>(image: &I, options: Options) -> Result<Self, Unreadable> {
        let places = Places::of(image);
        let stacks = Stacks::of(image);
        let mut vtables = Vtables::of(image, &places);
        let found = discover::discover(image, &places, &stacks, &mut vtables)?;
        let mut kept: HashMap<u64, usize> = HashMap::new();
        for cell in &found.kept {
            *kept.entry(cell.candidate.vtable.poll).or_default() += 1;
        }
        let mut kept: Vec<(u64, usize)> = kept.into_iter().collect();
        kept.sort_unstable();
        let mut inventory = Self {
            tasks: {
                let mut words = Words::of(image);
                let cells = found.alive.iter();
                let mut boxed = |cell| boxed(&mut words, &places, cell);
                let runners = runners(image, &found.alive, &stacks);
                let cells = cells.zip(runners);
                cells
                    .map(|(cell, runner)| task(cell, runner, boxed(cell)))
                    .collect()
            },
            kept,
            runtimes: runtimes(image, &found.alive, &stacks),
            copies: found.copies,
            ..Self::default()
        };
        if options.trees {
            let noted = options.noted;
            let polls = Polls::new(image, found, &places, &stacks, &mut vtables, noted);
            polls.run(options, &mut inventory);
            inventory.shared =
                shared::find(image, &polls, &places, &stacks, &inventory, options.until);
        }
        inventory.threads = stacks.all;
        Ok(inventory)
    }
}

fn runtimes(image: &impl Image, cells: &[Cell], stacks: &Stacks) -> Vec<Runtime> {
    let mut schedulers: BTreeMap<(u32, u64), Option<u64>> = BTreeMap::new();
    for Cell {
        candidate, copy, ..
    } in cells.iter().filter(|cell| cell.candidate.owner != 0)
    {
        let scheduler = schedulers.entry((*copy, candidate.owner)).or_default();
        *scheduler = scheduler.or_else(|| candidate.scheduler(image));
    }
    let runtimes = schedulers.into_iter();
    let runtimes = runtimes.map(|((copy, owner), scheduler)| {
        let holders = scheduler.map(|scheduler| stacks.holders(scheduler));
        let threads = holders.into_iter().flatten();
        Runtime {
            copy,
            owner,
            threads: threads
                .filter_map(|index| Some(stacks.all.get(index)?.tid))
                .collect(),
        }
    });
    runtimes.collect()
}

/// Returns the thread that runs each of these, if one does and it is known which. Leftovers
/// of earlier calls on a stack may name a task that another thread runs: a thread is inside
/// the poll of only one task of a type.
fn runners(image: &impl Image, cells: &[Cell], stacks: &Stacks) -> Vec<Option<Tid>> {
    let mut candidates: Vec<Vec<Tid>> = cells
        .iter()
        .map(
            |Cell { candidate, .. }| match candidate.state.is_running() {
                true => stacks.runners(image, candidate.vtable.poll, candidate.header),
                false => Vec::new(),
            },
        )
        .collect();
    loop {
        let polls = || cells.iter().map(|cell| cell.candidate.vtable.poll);
        let known = polls()
            .zip(&candidates)
            .filter_map(|(poll, tids)| match tids[..] {
                [only] => Some((poll, only)),
                _ => None,
            });
        let known: HashSet<(u64, Tid)> = known.collect();
        let mut has_changed = false;
        for (poll, tids) in polls().zip(&mut candidates) {
            if tids.len() > 1 {
                let before = tids.len();
                tids.retain(|tid| !known.contains(&(poll, *tid)));
                has_changed |= tids.len() < before;
            }
        }
        if !has_changed {
            break;
        }
    }
    let only = candidates.iter().map(|tids| match tids[..] {
        [only] => Some(only),
        _ => None,
    });
    only.collect()
}

fn task(cell: &Cell, runner: Option<Tid>, boxed: Option<Boxed>) -> Task {
    let Cell {
        candidate,
        copy,
        number,
    } = *cell;
    let state = candidate.state;
    let what = match (candidate.owner, state.is_running()) {
        (0, true) => State::Blocking { tid: runner },
        (0, false) => State::Queued,
        (_, true) => State::Running { tid: runner },
        _ if state.is_notified() => State::Woken,
        _ => State::Idle,
    };
    Task {
        cell: candidate.header,
        copy,
        number,
        owner: candidate.owner,
        poll: candidate.vtable.poll,
        future: boxed
            .as_ref()
            .map_or_else(|| future(cell), |boxed| boxed.future.clone()),
        boxed_poll: boxed.map(|boxed| boxed.poll),
        state: what,
        references: state.references(),
        wakers: state.wakers(),
        has_join_handle: state.has_join_handle(),
        leaves: Vec::new(),
        noted: Vec::new(),
        wakes_itself: None,
        trace: None,
        unresolved: match what {
            State::Running { tid: None } | State::Blocking { tid: None } => {
                Some(Unresolved::NoThread)
            }
            _ => None,
        },
    }
}

/// The parts of a future that looks like a box of a trait object.
struct Boxed {
    /// The function that polls the content.
    poll: u64,
    /// Where the content is.
    future: Range<u64>,
}

fn boxed(words: &mut Words<'_, impl Image>, places: &Places, cell: &Cell) -> Option<Boxed> {
    let stage = future(cell).start;
    if stage == 0 {
        return None;
    }
    // The first word of the stage may say what the stage holds.
    [stage + 8, stage].into_iter().find_map(|at| {
        let [data, vtable] = [words.at(at)?, words.at(at + 8)?];
        if !places.own.contains(data) {
            return None;
        }
        let object = vtable::object(words, places, vtable)?;
        places.code.contains(object.method).then(|| Boxed {
            poll: object.method,
            future: data..data.saturating_add(object.size),
        })
    })
}

/// Returns the part of a cell between its number and its trailer; empty if these are not known.
pub(crate) fn future(cell: &Cell) -> Range<u64> {
    let Cell { candidate, .. } = cell;
    let (header, vtable) = (candidate.header, candidate.vtable);
    match (vtable.number, vtable.trailer) {
        (Some(number), Some(trailer)) => header + number + 8..header + trailer,
        _ => 0..0,
    }
}
