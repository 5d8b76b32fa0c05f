//! Records what a poll runs, while it runs.

use std::{mem, ops::Range};

use rtops_emulate::{Flow, Observer, Step};

/// Where a waker was cloned, which is where a future waits.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Registered {
    /// The function that clones wakers, then return addresses.
    pub stack: Vec<u64>,
    /// The cell of the task whose handle is awaited there.
    pub awaits: Option<u64>,
    /// The word that [`Options::noted`](crate::Options::noted) names.
    pub note: Option<u64>,
}

/// A call: the address of its instruction, and the stack pointer there.
type Call = (u64, u64);

/// An open call, and its place among the open calls.
#[derive(Clone, Copy, Debug)]
struct Open {
    place: usize,
    call: Call,
}

/// The record of a poll.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The functions that clone wakers, sorted.
    clones: Vec<u64>,
    /// All instructions, each with the stack pointer before it.
    pub(crate) steps: Vec<Step>,
    /// A hash of the steps.
    pub(crate) hash: u64,
    pub(crate) leaves: Vec<Registered>,
    /// The last call that asked for the output of a task, and the task's cell.
    join: Option<(Open, u64)>,
    /// The last call that notes for whom it was made; the wakers that it clones are its own.
    noting: Option<Open>,
    /// The arguments of such calls.
    pub(crate) noted: Vec<u64>,
    /// The note for the next instruction, if that clones a waker.
    pub(crate) note: Option<u64>,
    /// The stack where the poll last woke its own task, in the form of a leaf's.
    wake: Option<Vec<u64>>,
    /// Calls that have not returned.
    open: Vec<Call>,
    /// The number of instructions that ran since this recorder was made.
    pub(crate) count: u64,
    /// What the last instruction did: no function begins after one that leads to the next.
    before: Flow,
    /// Whether recording is off.
    pub(crate) is_off: bool,
    /// The stack that a poll begins on; `None` for a thread, which has its own.
    pub(crate) stack: Option<Range<u64>>,
    /// Whether the poll moved to another stack, as one on a coroutine does. The stack pointer
    /// there does not show which calls led to it, so nothing is recorded of it.
    pub(crate) has_left_its_stack: bool,
}

impl Recorder {
    pub(crate) fn new(mut clones: Vec<u64>) -> Self {
        clones.sort_unstable();
        Self {
            clones,
            steps: Vec::new(),
            hash: 0,
            leaves: Vec::new(),
            join: None,
            noting: None,
            noted: Vec::new(),
            note: None,
            wake: None,
            open: Vec::new(),
            count: 0,
            before: Flow::Call,
            is_off: false,
            stack: None,
            has_left_its_stack: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.leaves.clear();
        self.open.clear();
        self.join = None;
        self.noting = None;
        self.noted.clear();
        self.note = None;
        self.wake = None;
        self.hash = 0;
        self.stack = None;
        self.has_left_its_stack = false;
    }

    /// Returns the functions that clone wakers, sorted.
    pub(crate) fn cloning(&self) -> &[u64] {
        &self.clones
    }

    /// Whether a waker is cloned there.
    pub(crate) fn clones(&self, at: u64) -> bool {
        self.clones.binary_search(&at).is_ok()
    }

    /// Records a call for the output of a task.
    pub(crate) fn joins(&mut self, cell: u64) {
        if !self.is_off {
            self.join = self.innermost().map(|open| (open, cell));
        }
    }

    /// Records a call that notes for whom it was made.
    pub(crate) fn notes(&mut self, whom: u64) {
        if !self.is_off {
            self.noting = self.innermost();
            self.noted.push(whom);
        }
    }

    /// Records a call that wakes the polled task.
    pub(crate) fn wakes(&mut self, ip: u64, sp: u64) {
        if !self.is_off {
            while self.open.pop_if(|(_, at)| *at <= sp).is_some() {}
            self.wake = Some(self.stack_at(ip));
        }
    }

    /// Takes the stack of the last such call.
    pub(crate) fn take_wake(&mut self) -> Option<Vec<u64>> {
        self.wake.take()
    }

    /// Takes the arguments of calls that note for whom they were made, sorted, each once.
    pub(crate) fn take_noted(&mut self) -> Vec<u64> {
        let mut noted = mem::take(&mut self.noted);
        noted.sort_unstable();
        noted.dedup();
        noted
    }

    /// Returns an instruction, and the calls that led to it.
    fn stack_at(&self, ip: u64) -> Vec<u64> {
        // A return address is looked up one byte lower, in its call.
        let calls = self.open.iter().rev().map(|(site, _)| site + 1);
        [ip].into_iter().chain(calls).collect()
    }

    /// Returns the outermost call that has not returned: its instruction, and the stack pointer there.
    pub(crate) fn outermost(&self) -> Option<(u64, u64)> {
        self.open.first().copied()
    }

    fn innermost(&self) -> Option<Open> {
        let place = self.open.len().checked_sub(1)?;
        let call = *self.open.get(place)?;
        Some(Open { place, call })
    }

    fn leaf(&mut self, step: Step) {
        let is_open = |open: &Open| self.open.get(open.place) == Some(&open.call);
        let note = self.note.take();
        if self.noting.as_ref().is_some_and(is_open) {
            return;
        }
        self.leaves.push(Registered {
            stack: self.stack_at(step.ip),
            awaits: (self.join.filter(|(open, _)| is_open(open))).map(|(_, cell)| cell),
            note,
        });
    }
}

impl Observer for Recorder {
    fn step(&mut self, step: Step) {
        self.count += 1;
        let before = mem::replace(&mut self.before, step.flow);
        if self.is_off {
            return;
        }
        let stack = self.stack.as_ref();
        if stack.is_some_and(|stack| !stack.contains(&step.sp)) {
            self.has_left_its_stack = true;
            return;
        }
        self.steps.push(step);
        let word = step.ip ^ step.sp << 24;
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        if step.flow == Flow::Call {
            while self.open.pop_if(|(_, sp)| *sp <= step.sp).is_some() {}
            self.open.push((step.ip, step.sp));
        } else if before != Flow::Next && self.clones(step.ip) {
            while self.open.pop_if(|(_, sp)| *sp <= step.sp).is_some() {}
            self.leaf(step);
        }
    }
}
