//! The steps of one closure: written by the handler, read by whoever takes the trace.

use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::{
    End, Refusal,
    sys::{Code, Instruction},
};

/// After so many steps a closure goes on at full speed.
pub const MAX_STEPS: usize = 20_000;

/// The stack pointer moves down by no more than this at one instruction, or it is another stack
/// that it moves to. Larger frames are made page by page.
const LARGEST_FRAME: u64 = 256 << 10;

/// Marks a call in the instruction pointer, whose uppermost bits are 0 in user space.
const CALL: u64 = 1 << 63;

const FREE: u8 = 0;
const RUNNING: u8 = 1;
const ENDING: u8 = 2;
const FULL: u8 = 3;

/// In place of an [`End`]: no trap has seen one. If it stays, the trap flag was lost on the way.
const NOT_SEEN: u8 = u8::MAX;

pub(crate) struct Recording {
    steps: Box<[Slot]>,
    /// How many of them are set.
    count: AtomicUsize,
    state: AtomicU8,
    end: AtomicU8,
    tag: AtomicU32,
    /// The stack pointer at the first step: the closure never gets above it.
    base: AtomicU64,
    code: Code,
}

#[derive(Default)]
struct Slot {
    ip: AtomicU64,
    sp: AtomicU64,
}

/// What a trap shows of the processor, before the instruction at `ip` is run.
pub(crate) struct Machine {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    /// The number of a system call, should that be next.
    pub(crate) number: u64,
}

/// What the handler is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    GoOn,
    Stop,
}

/// An instruction that ran.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// Where it is.
    pub ip: u64,
    /// The stack pointer before it.
    pub sp: u64,
    /// Whether it is one that calls.
    pub is_call: bool,
}

impl Recording {
    pub(crate) fn new(code: Code) -> Result<Self, Refusal> {
        let mut steps = Vec::new();
        steps
            .try_reserve_exact(MAX_STEPS)
            .map_err(|_| Refusal::NoMemory)?;
        // Writes to all of it, so that no step is the first to touch a page.
        steps.resize_with(MAX_STEPS, Slot::default);
        Ok(Self {
            steps: steps.into_boxed_slice(),
            count: AtomicUsize::new(0),
            state: AtomicU8::new(FREE),
            end: AtomicU8::new(NOT_SEEN),
            tag: AtomicU32::new(0),
            base: AtomicU64::new(u64::MAX),
            code,
        })
    }

    /// Whether it was free; now it is the caller's.
    pub(crate) fn begin(&self, tag: u32) -> bool {
        let was_free = self
            .state
            .compare_exchange(FREE, RUNNING, AcqRel, Relaxed)
            .is_ok();
        if was_free {
            self.count.store(0, Relaxed);
            self.end.store(NOT_SEEN, Relaxed);
            self.base.store(u64::MAX, Relaxed);
            self.tag.store(tag, Relaxed);
        }
        was_free
    }

    /// Whether it is the caller's of [`begin`](Self::begin), and more steps may come.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Acquire) == RUNNING && self.end.load(Relaxed) == NOT_SEEN
    }

    /// Nothing was stepped after all.
    pub(crate) fn give_back(&self) {
        self.state.store(FREE, Release);
    }

    /// The closure is over: the next trap is the last one.
    #[inline(always)]
    pub(crate) fn end(&self) {
        self.state.store(ENDING, Release);
    }

    /// The steps are there to be taken.
    pub(crate) fn publish(&self) {
        self.state.store(FULL, Release);
    }

    /// Hands the steps to `read`, with the tag and the end, and makes room.
    pub(crate) fn take<R>(
        &self,
        read: impl FnOnce(&mut dyn Iterator<Item = Step>) -> R,
    ) -> Option<(u32, End, R)> {
        if self.state.load(Acquire) != FULL {
            return None;
        }
        let end = self.end_of_last();
        let count = self.count.load(Relaxed);
        let mut steps = self.steps.iter().take(count).map(Slot::step);
        let result = (self.tag.load(Relaxed), end, read(&mut steps));
        self.state.store(FREE, Release);
        Some(result)
    }

    /// How the last recording ended.
    pub(crate) fn end_of_last(&self) -> End {
        match self.end.load(Relaxed) {
            end if end == End::Whole as u8 => End::Whole,
            end if end == End::TooLong as u8 => End::TooLong,
            _ => End::Unsafe,
        }
    }

    /// Notes a step. Runs in the signal handler.
    pub(crate) fn note(&self, machine: &Machine) -> Next {
        if self.state.load(Relaxed) != RUNNING {
            return self.stop(End::Whole);
        }
        let is_call = match self.code.instruction(machine.ip, machine.number) {
            Some(Instruction::Call) => true,
            Some(Instruction::Other) => false,
            Some(Instruction::Forbidden) | None => return self.stop(End::Unsafe),
        };
        if self.leaves_the_stack(machine.sp) {
            return self.stop(End::Unsafe);
        }
        let count = self.count.load(Relaxed);
        let Some(slot) = self.steps.get(count) else {
            return self.stop(End::TooLong);
        };
        let mark = if is_call { CALL } else { 0 };
        slot.ip.store(machine.ip | mark, Relaxed);
        slot.sp.store(machine.sp, Relaxed);
        self.count.store(count + 1, Relaxed);
        Next::GoOn
    }

    fn leaves_the_stack(&self, sp: u64) -> bool {
        let last = self.count.load(Relaxed).checked_sub(1);
        match last.and_then(|last| self.steps.get(last)) {
            None => {
                self.base.store(sp, Relaxed);
                false
            }
            Some(last) => {
                let lowest = last.sp.load(Relaxed).saturating_sub(LARGEST_FRAME);
                !(lowest..=self.base.load(Relaxed)).contains(&sp)
            }
        }
    }

    fn stop(&self, end: End) -> Next {
        self.end.store(end as u8, Relaxed);
        Next::Stop
    }
}

impl Slot {
    fn step(&self) -> Step {
        let ip = self.ip.load(Relaxed);
        Step {
            ip: ip & !CALL,
            sp: self.sp.load(Relaxed),
            is_call: ip & CALL != 0,
        }
    }
}
