//! What ran of a poll, noted while it runs.

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

/// A call: its instruction, and the stack pointer there.
type Call = (u64, u64);

/// A call by its place among those that are open.
#[derive(Clone, Copy, Debug)]
struct Open {
    place: usize,
    call: Call,
}

/// What ran of a poll.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The functions that clone wakers, sorted.
    clones: Vec<u64>,
    /// All instructions, with the stack pointers before them.
    pub(crate) steps: Vec<Step>,
    /// Equal for equal steps.
    pub(crate) hash: u64,
    pub(crate) leaves: Vec<Registered>,
    /// The call that last asked for the output of a task, and the task's cell.
    join: Option<(Open, u64)>,
    /// The last call that notes for whom it was made, and clones wakers for itself.
    noting: Option<Open>,
    /// With what such calls were made.
    pub(crate) noted: Vec<u64>,
    /// What is to be noted of the next instruction, if that clones a waker.
    pub(crate) note: Option<u64>,
    /// The stack where the task that is polled was last woken by its poll, as of a leaf.
    wake: Option<Vec<u64>>,
    /// Calls that have not returned.
    open: Vec<Call>,
    /// How many instructions ran, since ever.
    pub(crate) count: u64,
    /// What the last one did: no function begins behind one that leads to the next.
    before: Flow,
    /// Whether what runs is not of interest.
    pub(crate) is_off: bool,
    /// The stack that a poll begins on; none for a thread, which has its own.
    pub(crate) stack: Option<Range<u64>>,
    /// Whether it went on on another one, as what is polled on a coroutine does. Which calls led to there, its
    /// stack pointer does not tell, so that nothing is noted of it.
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

    /// The functions that clone wakers, sorted.
    pub(crate) fn cloning(&self) -> &[u64] {
        &self.clones
    }

    /// Whether a waker is cloned there.
    pub(crate) fn clones(&self, at: u64) -> bool {
        self.clones.binary_search(&at).is_ok()
    }

    /// At a function that was called for the output of a task.
    pub(crate) fn joins(&mut self, cell: u64) {
        if !self.is_off {
            self.join = self.innermost().map(|open| (open, cell));
        }
    }

    /// At a function that notes for whom it was called.
    pub(crate) fn notes(&mut self, whom: u64) {
        if !self.is_off {
            self.noting = self.innermost();
            self.noted.push(whom);
        }
    }

    /// At a function that wakes the task which is polled.
    pub(crate) fn wakes(&mut self, ip: u64, sp: u64) {
        if !self.is_off {
            while self.open.pop_if(|(_, at)| *at <= sp).is_some() {}
            self.wake = Some(self.stack_at(ip));
        }
    }

    /// Where that was; it is forgotten.
    pub(crate) fn take_wake(&mut self) -> Option<Vec<u64>> {
        self.wake.take()
    }

    /// With what functions were called that note for whom, each once.
    pub(crate) fn take_noted(&mut self) -> Vec<u64> {
        let mut noted = mem::take(&mut self.noted);
        noted.sort_unstable();
        noted.dedup();
        noted
    }

    /// An instruction and the calls that led to it.
    fn stack_at(&self, ip: u64) -> Vec<u64> {
        // Return addresses are looked up by the calls before them.
        let calls = self.open.iter().rev().map(|(site, _)| site + 1);
        [ip].into_iter().chain(calls).collect()
    }

    /// The first of the calls that have not returned: its instruction, and the stack pointer there.
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
