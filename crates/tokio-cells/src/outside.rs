//! What can be asked for, and what is found.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed, time::Instant};

use rtops_snapshot::{GiveUp, Plan, Snapshot, Times, Turn};
use rtops_step::{Stepper, Trace};

use crate::{
    Refusal,
    canary::Canaries,
    driver::Driver,
    inside::{self, Setup},
};

/// What to find out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Where tasks wait, and not only which there are.
    pub trees: bool,
    /// Whether samples are stepped, which takes a handler for SIGTRAP in the process.
    pub steps: bool,
    /// When to stop stepping.
    pub step_until: Instant,
}

/// What the caller knows and does.
pub trait Observer {
    /// Addresses that futures and closures hold which something else looks after; sorted.
    fn marks(&self) -> Vec<usize>;
    /// Whether something else looks after the task whose header is there.
    fn is_tracked(&mut self, header: usize) -> bool;
    /// Unwinds a copied stack and gives it a number, the same for the same addresses.
    fn unwind(&mut self, copy: &StackCopy<'_>) -> Option<u32>;
}

/// A stack as it was copied.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
    /// The memory from `sp` on.
    pub bytes: &'a [u8],
    /// The address of a word in the outermost frame that is wanted; none for all of a thread.
    pub base: Option<u64>,
}

/// A task that nothing else looks after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cell {
    /// tokio's number of it.
    pub id: u64,
    /// The address of the function that polls it.
    pub poll: u64,
    /// Where its future is a box: that of the function which polls what is inside; else 0, or
    /// nonsense where the future is something else that begins like a box.
    pub boxed_poll: u64,
    /// What it was doing.
    pub state: CellState,
    /// How many wakers and abort handles there can be at most.
    pub wakers: u32,
    /// Whether there is a `JoinHandle`.
    pub has_join_handle: bool,
    /// What became of the attempt to find out where it waits.
    pub outcome: Outcome,
    pub(crate) vtable: u64,
}

/// What a task was doing when the copy was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CellState {
    /// It waited to be woken.
    Idle,
    /// It was woken, or new, and waited for its turn.
    Woken,
    /// It was inside a poll, on this thread if that is known.
    Running(Option<i32>),
    /// It is a closure on a blocking pool, on this thread if it runs and that is known.
    Blocking(Option<i32>),
}

/// What became of the attempt to find out where a task waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Only which tasks there are was wanted.
    NotAsked,
    /// It was not polled.
    NotPolled,
    /// It was polled, and registered the wakers of its leaves.
    Hooked,
    /// It was polled step by step, too.
    Stepped,
    /// Its poll completed it.
    Ready,
    /// Its poll was given up.
    GivenUp(GiveUp),
    /// It belongs to another copy of tokio, and was not polled.
    Foreign,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// The tasks that nothing else looks after.
    pub cells: Vec<Cell>,
    /// Polls that were stepped, with the position of the task in `cells`.
    pub traces: Vec<(usize, Trace)>,
    /// The stacks of threads that run some of the tasks, as [`Observer::unwind`] numbered them.
    pub threads: HashMap<i32, u32>,
    /// How many tasks something else looks after, without those of blocking pools.
    pub tracked: u64,
    /// How long things took.
    pub times: Times,
    /// Why no poll could be stepped.
    pub no_steps: Option<rtops_step::Refusal>,
    /// Kinds of tasks of which none was stepped, as the time was up.
    pub kinds_not_stepped: usize,
    /// Whether the copy ended before all was done.
    pub is_cut_short: bool,
    /// Sorted by the position of the task.
    pub(crate) leaves: Vec<(u32, u32)>,
}

impl Survey {
    /// Looks at the tasks of this process.
    ///
    /// Blocks until all is found, or the plan's deadline comes. The calling thread should not be a
    /// worker of a runtime; if it has entered one, futures that ask for it find it.
    ///
    /// # Errors
    /// When there is no copy of the process, or its tasks do not look as they should.
    pub fn take(
        plan: &Plan<'_>,
        wanted: Wanted,
        observer: &mut dyn Observer,
    ) -> Result<Self, Refusal> {
        // Dropped last: nobody else is to find the canaries.
        let turn = Turn::wait(plan.deadline)?;
        let canaries = Canaries::new()?;
        let stepper = wanted.steps.then(Stepper::for_copy).transpose();
        let (stepper, no_steps) = match stepper {
            Ok(stepper) => (stepper, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let marks = observer.marks();
        let setup = Setup {
            marks: &marks,
            canaries: canaries.all,
            waker_vtable: canaries.waker_vtable,
            stepper: stepper.as_ref(),
            wants_trees: wanted.trees,
        };
        let polls = canaries.polls.load(Relaxed);
        let snapshot = Snapshot::take(&turn, plan, |copy| inside::run(copy, &setup))?;
        let driver = Driver::new(snapshot, observer, canaries.all, wanted, stepper.is_some());
        let survey = driver.run();
        if canaries.polls.load(Relaxed) != polls {
            return Err(Refusal::UnknownLayout(
                "a poll in the copy reached the process",
            ));
        }
        let survey = survey?;
        Ok(Self { no_steps, ..survey })
    }

    /// The leaves of the task at this position, by the numbers of their stacks.
    pub fn leaves(&self, position: usize) -> impl Iterator<Item = u32> {
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        let start = self.leaves.partition_point(|(task, _)| *task < position);
        let own = self.leaves.get(start..).unwrap_or_default().iter();
        own.take_while(move |(task, _)| *task == position)
            .map(|(_, leaf)| *leaf)
    }

    /// Puts the leaves in order, each once a task.
    pub(crate) fn sort(&mut self) {
        self.leaves.sort_unstable();
        self.leaves.dedup();
    }

    /// The kinds of tasks: those with the same type and the same leaves, which are polled.
    pub(crate) fn kinds(&self) -> HashMap<(u64, u64, Vec<u32>), Vec<usize>> {
        let mut kinds: HashMap<_, Vec<usize>> = HashMap::new();
        for (position, cell) in self.cells.iter().enumerate() {
            if cell.outcome == Outcome::Hooked {
                let kind = (
                    cell.vtable,
                    cell.boxed_poll,
                    self.leaves(position).collect(),
                );
                kinds.entry(kind).or_default().push(position);
            }
        }
        kinds
    }
}

impl Cell {
    /// A thread has its address on the stack. With two of them, it is not known which one runs it.
    pub(crate) fn runs_on(&mut self, tid: i32) {
        if let CellState::Running(thread) | CellState::Blocking(thread) = &mut self.state {
            *thread = match thread {
                None => Some(tid),
                Some(known) if *known == tid => Some(tid),
                Some(_) => Some(0),
            };
        }
    }
}
