//! What ran of a poll, noted while it runs.

use std::ops::Range;

use rtops_emulate::{Flow, Observer, Step};

/// What ran of a poll.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// The functions that clone wakers, sorted.
    clones: Vec<u64>,
    /// All instructions, with the stack pointers before them.
    pub(crate) steps: Vec<Step>,
    /// Equal for equal steps.
    pub(crate) hash: u64,
    /// Stacks where a waker was cloned: the function that clones it, then the calls on the way there,
    /// as return addresses are looked up.
    pub(crate) leaves: Vec<Vec<u64>>,
    /// Calls that have not returned: the calling instruction, and the stack pointer there.
    open: Vec<(u64, u64)>,
    /// How many instructions ran, since ever.
    pub(crate) count: u64,
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
            ..Self::default()
        }
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.leaves.clear();
        self.open.clear();
        self.hash = 0;
        self.stack = None;
        self.has_left_its_stack = false;
    }

    fn leaf(&mut self, step: Step) {
        let calls = self.open.iter().rev().map(|(site, _)| site + 1);
        self.leaves
            .push([step.ip].into_iter().chain(calls).collect());
    }
}

impl Observer for Recorder {
    fn step(&mut self, step: Step) {
        self.count += 1;
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
        } else if self.clones.binary_search(&step.ip).is_ok() {
            while self.open.pop_if(|(_, sp)| *sp <= step.sp).is_some() {}
            self.leaf(step);
        }
    }
}
