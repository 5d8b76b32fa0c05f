//! What is asked of the copy, and what is made of its answers.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use rtops_snapshot::{Failed, GiveUp, Plan, Snapshot, Times};
use rtops_step::{End, Step, Stepper, Trace};

use crate::{
    Refusal,
    canary::Canaries,
    inside::{self, Setup},
    layout::{self, JOIN_INTEREST, RUNNING},
    record::{CELL, Order, REASONS, Tag, ended, word, words},
    samples::Samples,
};

/// How many cells the first order to step is about, and one at most. Between two it is looked at the
/// clock, and they are to be so far apart.
const FIRST_STEPPED: usize = 4;
const MOST_STEPPED: usize = 64;
const BETWEEN_ORDERS: Duration = Duration::from_millis(100);

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
    vtable: u64,
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
    leaves: Vec<(u32, u32)>,
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
        let snapshot = Snapshot::take(plan, |copy| inside::run(copy, &setup))?;
        let mut driver = Driver {
            snapshot,
            observer,
            survey: Self::default(),
            positions: Vec::new(),
            numbers: Vec::new(),
            canaries: HashMap::new(),
            own: HashSet::new(),
            foreign: HashSet::new(),
            steps: Vec::new(),
            stepped: Vec::new(),
            unpolled: match wanted.trees {
                true => Outcome::NotPolled,
                false => Outcome::NotAsked,
            },
            has_waited: false,
        };
        let result = driver.run(wanted, &canaries, stepper.is_some());
        if canaries.polls.load(Relaxed) != polls {
            return Err(Refusal::UnknownLayout(
                "a poll in the copy reached the process",
            ));
        }
        let Driver {
            snapshot,
            mut survey,
            ..
        } = driver;
        survey.times = snapshot.end();
        survey.no_steps = no_steps;
        survey.leaves.sort_unstable();
        survey.leaves.dedup();
        result.map(|()| survey)
    }

    /// The leaves of the task at this position, by the numbers of their stacks.
    pub fn leaves(&self, position: usize) -> impl Iterator<Item = u32> {
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        let start = self.leaves.partition_point(|(task, _)| *task < position);
        let own = self.leaves.get(start..).unwrap_or_default().iter();
        own.take_while(move |(task, _)| *task == position)
            .map(|(_, leaf)| *leaf)
    }

    /// The kinds of tasks: those with the same type and the same leaves, which are polled.
    fn kinds(&self) -> HashMap<(u64, u64, Vec<u32>), Vec<usize>> {
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

/// What came of a canary.
#[derive(Clone, Copy, Default)]
struct Behaviour {
    leaves: u32,
    waits: bool,
}

/// A dialogue with the copy.
struct Driver<'a> {
    snapshot: Snapshot,
    observer: &'a mut dyn Observer,
    survey: Survey,
    /// From the copy's number of a cell to its position, and back.
    positions: Vec<Option<usize>>,
    numbers: Vec<u64>,
    canaries: HashMap<u64, Behaviour>,
    /// The vtables of tasks that have wakers of this copy of tokio, and of those that have others.
    own: HashSet<u64>,
    foreign: HashSet<u64>,
    /// Of the poll that is being stepped.
    steps: Vec<Step>,
    /// Polls that were stepped since the last order.
    stepped: Vec<usize>,
    /// What is said of tasks before they are polled.
    unpolled: Outcome,
    /// Whether the last poll ended in a wait.
    has_waited: bool,
}

impl Driver<'_> {
    fn run(&mut self, wanted: Wanted, canaries: &Canaries, can_step: bool) -> Result<(), Refusal> {
        self.receive(canaries)?;
        if self.canaries.len() != canaries.all.len() {
            return Err(Refusal::UnknownLayout(REASONS[0]));
        }
        self.sort_out();
        if !wanted.trees {
            return Ok(());
        }
        self.order(
            Order::Hook,
            &self.canaries.keys().copied().collect::<Vec<_>>(),
        );
        self.receive(canaries)?;
        if self
            .canaries
            .values()
            .any(|canary| !canary.waits || canary.leaves != 1)
        {
            return Err(Refusal::UnknownLayout(
                "a task of its own was not seen to wait",
            ));
        }
        match self.polls(wanted, canaries, can_step) {
            Err(Refusal::Failed(_)) => {
                // What came until then is right.
                self.survey.is_cut_short = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Marks tasks of another copy of tokio, which numbers them on its own, and drops what is there twice:
    /// what is left of a cell that was moved while it was made looks like one.
    fn sort_out(&mut self) {
        let mut numbers = Vec::with_capacity(self.numbers.len());
        let mut cells = Vec::with_capacity(self.survey.cells.len());
        let mut known = HashSet::new();
        let own = std::mem::take(&mut self.survey.cells).into_iter();
        for (mut cell, number) in own.zip(std::mem::take(&mut self.numbers)) {
            // What lies beside a pointer to a task may look like a vtable: one true waker outweighs it.
            let is_own = self.own.contains(&cell.vtable);
            if !is_own && self.foreign.contains(&cell.vtable) {
                cell.outcome = Outcome::Foreign;
            }
            let is_new = known.insert((cell.outcome == Outcome::Foreign, cell.id));
            let place = usize::try_from(number).ok();
            if let Some(place) = place.and_then(|place| self.positions.get_mut(place)) {
                *place = is_new.then_some(cells.len());
            }
            if is_new {
                cells.push(cell);
                numbers.push(number);
            }
        }
        (self.survey.cells, self.numbers) = (cells, numbers);
    }

    fn polls(
        &mut self,
        wanted: Wanted,
        canaries: &Canaries,
        can_step: bool,
    ) -> Result<(), Refusal> {
        let is_idle = |position: &usize| {
            let cell = self.survey.cells.get(*position);
            cell.is_some_and(|cell| {
                cell.state == CellState::Idle && cell.outcome == Outcome::NotPolled
            })
        };
        let idle = (0..self.survey.cells.len()).filter(is_idle);
        let idle: Vec<u64> = idle
            .filter_map(|at| self.numbers.get(at).copied())
            .collect();
        for cells in idle.chunks(Snapshot::MAX_ORDER - 1) {
            self.order(Order::Hook, cells);
            self.receive(canaries)?;
        }
        self.survey.leaves.sort_unstable();
        self.survey.leaves.dedup();
        if can_step {
            self.step(wanted.step_until, canaries)?;
        }
        self.order(Order::End, &[]);
        Ok(())
    }

    /// Steps samples, until all kinds have enough or the time is up.
    fn step(&mut self, until: Instant, canaries: &Canaries) -> Result<(), Refusal> {
        let mut samples = Samples::new(self.survey.kinds());
        let mut at_once = FIRST_STEPPED;
        loop {
            let begun = Instant::now();
            if begun >= until {
                self.survey.kinds_not_stepped = samples.untouched();
                break;
            }
            let chosen = samples.next(at_once);
            if chosen.is_empty() {
                break;
            }
            self.step_some(Order::WakeAndStep, &chosen, canaries)?;
            // Waking may have left a lock taken.
            let failed: Vec<usize> = chosen
                .iter()
                .copied()
                .filter(|position| !self.stepped.contains(position))
                .collect();
            samples.add(&self.survey.traces);
            if !failed.is_empty() {
                self.step_some(Order::Step, &failed, canaries)?;
                samples.add(&self.survey.traces);
            }
            let each = begun.elapsed() / u32::try_from(chosen.len()).unwrap_or(1);
            let fit = BETWEEN_ORDERS.as_nanos() / each.as_nanos().max(1);
            at_once = usize::try_from(fit)
                .unwrap_or(MOST_STEPPED)
                .clamp(1, MOST_STEPPED);
        }
        Ok(())
    }

    fn step_some(
        &mut self,
        order: Order,
        positions: &[usize],
        canaries: &Canaries,
    ) -> Result<(), Refusal> {
        let numbers = positions
            .iter()
            .filter_map(|at| self.numbers.get(*at).copied());
        let numbers: Vec<u64> = numbers.collect();
        self.stepped.clear();
        self.order(order, &numbers);
        self.receive(canaries)
    }

    fn order(&mut self, order: Order, cells: &[u64]) {
        let words: Vec<u64> = [order as u64]
            .into_iter()
            .chain(cells.iter().copied())
            .collect();
        self.snapshot.order(&words);
    }

    /// Takes records until an order is carried out.
    fn receive(&mut self, canaries: &Canaries) -> Result<(), Refusal> {
        let mut record = Vec::new();
        loop {
            let Some(next) = self.snapshot.receive()? else {
                return Err(Failed::Lost.into());
            };
            record.clear();
            record.extend_from_slice(next);
            let (tag, rest) = Tag::split(&record).ok_or(Failed::Lost)?;
            match tag {
                Tag::Done => return Ok(()),
                Tag::Unknown => {
                    let reason = word(rest).and_then(|(reason, _)| usize::try_from(reason).ok());
                    let reason = reason.and_then(|reason| REASONS.get(reason));
                    return Err(Refusal::UnknownLayout(
                        reason.copied().unwrap_or(REASONS[0]),
                    ));
                }
                _ => self.take(tag, rest, canaries).ok_or(Failed::Lost)?,
            }
        }
    }

    /// Takes a record in; `None` if it is none.
    fn take(&mut self, tag: Tag, rest: &[u8], canaries: &Canaries) -> Option<()> {
        match tag {
            Tag::Cells => {
                let mut rest = rest;
                while !rest.is_empty() {
                    let (cell, behind) = words::<CELL>(rest)?;
                    self.cell(cell, canaries);
                    rest = behind;
                }
            }
            Tag::Running => {
                let ([number, tid], _) = words(rest)?;
                let tid = i32::try_from(tid).ok()?;
                if let Some(cell) = self.cell_mut(number) {
                    cell.runs_on(tid);
                }
            }
            Tag::Thread => {
                let ([tid, ip, sp, bp], bytes) = words(rest)?;
                let copy = StackCopy {
                    ip,
                    sp,
                    bp,
                    bytes,
                    base: None,
                };
                if let Some(stack) = self.observer.unwind(&copy) {
                    self.survey.threads.insert(i32::try_from(tid).ok()?, stack);
                }
            }
            Tag::Own => {
                self.own.insert(word(rest)?.0);
            }
            Tag::Foreign => {
                self.foreign.insert(word(rest)?.0);
            }
            Tag::Leaf => self.leaf(rest)?,
            Tag::Polled => {
                let ([number, how], _) = words(rest)?;
                self.polled(number, how);
            }
            Tag::Steps => {
                let (_, mut rest) = word(rest)?;
                while !rest.is_empty() {
                    let ([ip, sp], behind) = words(rest)?;
                    self.steps.push(Step {
                        ip: ip & !(1 << 63),
                        sp,
                        is_call: ip >> 63 != 0,
                    });
                    rest = behind;
                }
            }
            Tag::StepsEnd => {
                let ([number, end], _) = words(rest)?;
                self.steps_end(number, end);
            }
            Tag::Done | Tag::Unknown => {}
        }
        Some(())
    }

    fn cell(&mut self, words: [u64; CELL], canaries: &Canaries) {
        let [
            header,
            id,
            state,
            vtable,
            poll,
            boxed_poll,
            owner,
            holds_mark,
        ] = words;
        let number = self.positions.len() as u64;
        let header = usize::try_from(header).unwrap_or(0);
        if canaries
            .all
            .iter()
            .any(|own| own.header == header && own.id == id)
        {
            self.canaries.insert(number, Behaviour::default());
            return self.positions.push(None);
        }
        if holds_mark != 0 || self.observer.is_tracked(header) {
            self.survey.tracked += u64::from(owner != 0);
            return self.positions.push(None);
        }
        let state = usize::try_from(state).unwrap_or(0);
        self.positions.push(Some(self.survey.cells.len()));
        self.numbers.push(number);
        self.survey.cells.push(Cell {
            id,
            poll,
            boxed_poll,
            state: match state {
                _ if owner == 0 => CellState::Blocking(None),
                state if state & RUNNING != 0 => CellState::Running(None),
                state if layout::is_idle(state) => CellState::Idle,
                _ => CellState::Woken,
            },
            wakers: u32::try_from(layout::wakers(state)).unwrap_or(u32::MAX),
            has_join_handle: state & JOIN_INTEREST != 0,
            outcome: self.unpolled,
            vtable,
        });
    }

    /// The position of the cell with this number in the copy.
    fn position(&self, number: u64) -> Option<usize> {
        *self.positions.get(usize::try_from(number).ok()?)?
    }

    fn cell_mut(&mut self, number: u64) -> Option<&mut Cell> {
        let position = self.position(number)?;
        self.survey.cells.get_mut(position)
    }

    fn leaf(&mut self, rest: &[u8]) -> Option<()> {
        let ([number, ip, sp, bp, base], bytes) = words(rest)?;
        let copy = StackCopy {
            ip,
            sp,
            bp,
            bytes,
            // The frame that polled is not wanted: it is that of the copy's own code.
            base: Some(base.checked_sub(1)?),
        };
        let stack = self.observer.unwind(&copy);
        if let Some(canary) = self.canaries.get_mut(&number) {
            canary.leaves += u32::from(stack.is_some());
        } else if let (Some(position), Some(stack)) = (self.position(number), stack) {
            self.survey
                .leaves
                .push((u32::try_from(position).ok()?, stack));
        }
        Some(())
    }

    fn polled(&mut self, number: u64, how: u64) {
        if let Some(canary) = self.canaries.get_mut(&number) {
            canary.waits = how == ended::PENDING;
            return;
        }
        let Some(cell) = self.cell_mut(number) else {
            return;
        };
        let outcome = match how {
            ended::PENDING => Outcome::Hooked,
            ended::READY => Outcome::Ready,
            ended::LOST => Outcome::GivenUp(GiveUp::Fault),
            how => Outcome::GivenUp(give_up(how.wrapping_sub(ended::GIVEN_UP))),
        };
        // What the first poll has shown stays true if a stepped one does not come to its end.
        if !matches!(cell.outcome, Outcome::Hooked | Outcome::Stepped) {
            cell.outcome = outcome;
        }
        self.has_waited = outcome == Outcome::Hooked;
    }

    fn steps_end(&mut self, number: u64, end: u64) {
        let steps = std::mem::take(&mut self.steps);
        let end = match end {
            end if end == End::Whole as u64 => End::Whole,
            end if end == End::TooLong as u64 => End::TooLong,
            _ => End::Unsafe,
        };
        let Some(position) = self.position(number).filter(|_| self.has_waited) else {
            return;
        };
        let tag = u32::try_from(number).unwrap_or(u32::MAX);
        let trace = Trace::from_steps(tag, end, steps.into_iter());
        if let Some(cell) = self.survey.cells.get_mut(position) {
            cell.outcome = Outcome::Stepped;
            self.survey.traces.push((position, trace));
            self.stepped.push(position);
        }
    }
}

impl Cell {
    /// A thread has its address on the stack. With two of them, it is not known which one runs it.
    fn runs_on(&mut self, tid: i32) {
        if let CellState::Running(thread) | CellState::Blocking(thread) = &mut self.state {
            *thread = match thread {
                None => Some(tid),
                Some(known) if *known == tid => Some(tid),
                Some(_) => Some(0),
            };
        }
    }
}

const fn give_up(reason: u64) -> GiveUp {
    match reason {
        1 => GiveUp::Locked,
        3 => GiveUp::Endless,
        4 => GiveUp::Exit,
        5 => GiveUp::Panic,
        6 => GiveUp::SystemCall,
        _ => GiveUp::Fault,
    }
}
