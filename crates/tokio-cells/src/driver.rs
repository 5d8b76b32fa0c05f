//! The dialogue with the copy: what it is told to do, and what is made of its records.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use rtops_snapshot::{Failed, GiveUp, Snapshot};
use rtops_step::{End, Step, Trace, VisitOrder};

use crate::{
    Refusal,
    canary::{COUNT, Canary},
    layout::{self, JOIN_INTEREST, RUNNING},
    outside::{Cell, CellState, Observer, Outcome, StackCopy, Survey, Wanted},
    record::{CELL, Order, REASONS, Tag, ended, word, words},
    samples::Samples,
};

/// How many cells the first order to step is about, and one at most. Between two it is looked at the
/// clock, and they are to be so far apart.
const FIRST_STEPPED: usize = 4;
const MOST_STEPPED: usize = 64;
const BETWEEN_ORDERS: Duration = Duration::from_millis(100);

/// What came of a canary.
#[derive(Clone, Copy, Default)]
struct Behaviour {
    leaves: u32,
    waits: bool,
}

/// A dialogue with the copy.
pub(crate) struct Driver<'a> {
    snapshot: Snapshot<'a>,
    observer: &'a mut dyn Observer,
    wanted: Wanted,
    can_step: bool,
    canaries: [Canary; COUNT],
    survey: Survey,
    /// From the copy's number of a cell to its position, and back.
    positions: Vec<Option<usize>>,
    numbers: Vec<u64>,
    /// What came of the canaries, by the copy's numbers of them.
    behaviours: HashMap<u64, Behaviour>,
    /// The vtables of tasks that have wakers of this copy of tokio, and of those that have others.
    own: HashSet<u64>,
    foreign: HashSet<u64>,
    /// Of the poll that is being stepped.
    steps: Vec<Step>,
    /// Polls that were stepped since the last order.
    stepped: Vec<usize>,
    /// Whether the last poll ended in a wait.
    has_waited: bool,
}

impl<'a> Driver<'a> {
    /// Nothing was said yet. Without `can_step`, nothing is stepped.
    pub(crate) fn new(
        snapshot: Snapshot<'a>,
        observer: &'a mut dyn Observer,
        canaries: [Canary; COUNT],
        wanted: Wanted,
        can_step: bool,
    ) -> Self {
        Self {
            snapshot,
            observer,
            wanted,
            can_step,
            canaries,
            survey: Survey::default(),
            positions: Vec::new(),
            numbers: Vec::new(),
            behaviours: HashMap::new(),
            own: HashSet::new(),
            foreign: HashSet::new(),
            steps: Vec::new(),
            stepped: Vec::new(),
            has_waited: false,
        }
    }

    /// Finds out what is wanted, and ends the copy.
    pub(crate) fn run(mut self) -> Result<Survey, Refusal> {
        self.ask()?;
        self.survey.times = self.snapshot.end();
        self.survey.sort();
        Ok(self.survey)
    }

    fn ask(&mut self) -> Result<(), Refusal> {
        self.receive()?;
        if self.behaviours.len() != self.canaries.len() {
            return Err(Refusal::UnknownLayout(REASONS[0]));
        }
        self.sort_out();
        if !self.wanted.trees {
            return Ok(());
        }
        let canaries: Vec<u64> = self.behaviours.keys().copied().collect();
        self.order(Order::Hook, &canaries);
        self.receive()?;
        let mut behaviours = self.behaviours.values();
        if behaviours.any(|canary| !canary.waits || canary.leaves != 1) {
            return Err(Refusal::UnknownLayout(
                "a task of its own was not seen to wait",
            ));
        }
        match self.polls() {
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
        let is_ownerless = |cell: &Cell| matches!(cell.state, CellState::Blocking(_));
        let owned = self.survey.cells.iter().filter(|cell| !is_ownerless(cell));
        let owned: HashSet<u64> = owned.map(|cell| cell.id).collect();
        let own = std::mem::take(&mut self.survey.cells).into_iter();
        for (mut cell, number) in own.zip(std::mem::take(&mut self.numbers)) {
            // What lies beside a pointer to a task may look like a vtable: one true waker outweighs it.
            let is_own = self.own.contains(&cell.vtable);
            if !is_own && self.foreign.contains(&cell.vtable) {
                cell.outcome = Outcome::Foreign;
            }
            let key = (cell.outcome == Outcome::Foreign, cell.id);
            // What has no owner is such a rest, if a task of an owner has the same number.
            let is_rest = is_ownerless(&cell) && owned.contains(&cell.id);
            let is_new = !is_rest && known.insert(key);
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

    fn polls(&mut self) -> Result<(), Refusal> {
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
            self.receive()?;
        }
        self.survey.sort();
        if self.can_step {
            self.step()?;
        }
        self.order(Order::End, &[]);
        Ok(())
    }

    /// Steps samples, until all kinds have enough or the time is up.
    fn step(&mut self) -> Result<(), Refusal> {
        let mut samples = Samples::new(self.survey.kinds());
        let mut at_once = FIRST_STEPPED;
        loop {
            let begun = Instant::now();
            if begun >= self.wanted.step_until {
                self.survey.kinds_not_stepped = samples.untouched();
                break;
            }
            let chosen = samples.next(at_once);
            if chosen.is_empty() {
                break;
            }
            self.step_some(Order::WakeAndStep, &chosen)?;
            // Waking may have left a lock taken.
            let failed: Vec<usize> = chosen
                .iter()
                .copied()
                .filter(|position| !self.stepped.contains(position))
                .collect();
            samples.add(&self.survey.traces);
            if !failed.is_empty() {
                self.step_some(Order::Step, &failed)?;
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

    fn step_some(&mut self, order: Order, positions: &[usize]) -> Result<(), Refusal> {
        let numbers = positions
            .iter()
            .filter_map(|at| self.numbers.get(*at).copied());
        let numbers: Vec<u64> = numbers.collect();
        self.stepped.clear();
        self.order(order, &numbers);
        self.receive()
    }

    fn order(&mut self, order: Order, cells: &[u64]) {
        let words: Vec<u64> = [order as u64]
            .into_iter()
            .chain(cells.iter().copied())
            .collect();
        self.snapshot.order(&words);
    }

    /// Takes records until an order is carried out.
    fn receive(&mut self) -> Result<(), Refusal> {
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
                _ => self.take(tag, rest).ok_or(Failed::Lost)?,
            }
        }
    }

    /// Takes a record in; `None` if it is none.
    fn take(&mut self, tag: Tag, rest: &[u8]) -> Option<()> {
        match tag {
            Tag::Cells => {
                let mut rest = rest;
                while !rest.is_empty() {
                    let (cell, behind) = words::<CELL>(rest)?;
                    self.cell(cell);
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

    fn cell(&mut self, words: [u64; CELL]) {
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
        if self
            .canaries
            .iter()
            .any(|own| own.header == header && own.id == id)
        {
            self.behaviours.insert(number, Behaviour::default());
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
            outcome: if self.wanted.trees {
                Outcome::NotPolled
            } else {
                Outcome::NotAsked
            },
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
        if let Some(canary) = self.behaviours.get_mut(&number) {
            canary.leaves += u32::from(stack.is_some());
        } else if let (Some(position), Some(stack)) = (self.position(number), stack) {
            self.survey
                .leaves
                .push((u32::try_from(position).ok()?, stack));
        }
        Some(())
    }

    fn polled(&mut self, number: u64, how: u64) {
        if let Some(canary) = self.behaviours.get_mut(&number) {
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
            how => Outcome::GivenUp(GiveUp::from_code(how.wrapping_sub(ended::GIVEN_UP))),
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
        let trace = Trace::from_steps(tag, end, VisitOrder::Last, steps.into_iter());
        if let Some(cell) = self.survey.cells.get_mut(position) {
            cell.outcome = Outcome::Stepped;
            self.survey.traces.push((position, trace));
            self.stepped.push(position);
        }
    }
}
