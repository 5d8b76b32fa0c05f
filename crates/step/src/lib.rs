//! Run a closure instruction by instruction on the calling thread, and keep which calls it made
//! and which instructions ran in each.
//!
//! A future that registers no waker can't be caught in the act, as [`rtops-tasks`] catches those
//! that do. One stepped poll shows where it waits: the trap flag of the processor is set, a SIGTRAP
//! handler notes the instruction pointer and the stack pointer of each instruction, and the calls
//! are put together from that later, on another thread. Only Linux on x86_64 is supported; elsewhere
//! [`Stepper::new`] says so.
//!
//! [`rtops-tasks`]: https://docs.rs/rtops-tasks
//!
//! # What the host notices
//!
//! - A handler for SIGTRAP is installed the first time that somebody steps, and stays. Traps that
//!   are not ours go to what was there before, and have the effect that they would have had.
//! - A stepped closure is slower by some microseconds an instruction. After [`MAX_STEPS`] of them
//!   the rest runs at full speed. So does a restartable sequence (rseq) or a transaction, which starts
//!   anew at each trap until then.
//! - Stepping ends before an instruction that must not be stepped over: one that starts a process
//!   or a thread, which would inherit the trap flag, that changes signal masks or handlers, or that
//!   a debugger has put there. The closure goes on at full speed, and the trace says so.
//! - Where stepping would do harm it is refused, and the closure runs as if nothing had been asked:
//!   while a debugger is attached, which gets SIGTRAP first, in a thread that blocks the signal,
//!   which would end the process, or where somebody else has taken SIGTRAP over.
//! - A SIGTRAP that somebody sends, rather than raises, to a thread that is being stepped may be lost:
//!   the kernel merges it with a step.
//! - A debugger that is attached in the middle of a stepped closure sees its traps.
//! - After `fork`, the child calls [`reset_after_fork`] before it steps anything.

mod active;
mod recording;
mod sys;
mod tree;

use std::fmt;

pub use crate::{
    active::reset_after_fork,
    recording::{MAX_STEPS, Step},
    tree::{Call, Visit, VisitOrder},
};

use crate::{
    active::Claim,
    recording::{Machine, Recording},
};

/// Whether there is code for this platform.
pub const SUPPORTED: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// Room for the trace of one closure at a time, from whichever thread.
pub struct Stepper {
    recording: Recording,
}

/// What ran of a closure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    /// The number that [`Stepper::step`] was given.
    pub tag: u32,
    /// Whether all of it was stepped.
    pub end: End,
    /// How many steps it took.
    pub steps: usize,
    /// The calls that were made, in order. The first is the closure itself.
    pub calls: Vec<Call>,
    /// The instructions that ran, each once a call; of a stepped closure in the order in which they last
    /// did.
    pub visits: Vec<Visit>,
}

/// Whether a whole closure was stepped.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// Yes.
    Whole,
    /// It took more than [`MAX_STEPS`].
    TooLong,
    /// It came to something that can't be stepped over safely.
    Unsafe,
}

/// Why nothing was stepped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Not on this platform.
    Unsupported,
    /// There is no memory for a trace.
    NoMemory,
    /// A debugger or tracer is attached to a thread of this process.
    Traced,
    /// The thread blocks SIGTRAP.
    SignalBlocked,
    /// Another part of the process took SIGTRAP over after us.
    HandlerReplaced,
    /// Something else is being stepped, or the last trace was not taken yet.
    Busy,
    /// The system refused something that is needed; an errno.
    System(i32),
}

impl Stepper {
    /// Installs the handler, if that was not done before, and allocates all that stepping needs.
    ///
    /// Reads /proc. Make one shortly before it is used: code that is loaded later is not stepped
    /// through, and a debugger may come at any time.
    ///
    /// # Errors
    /// When nothing can be stepped in this process now.
    pub fn new() -> Result<Self, Refusal> {
        sys::refuse_if_traced()?;
        sys::install()?;
        Ok(Self {
            recording: Recording::new(sys::Code::read()?)?,
        })
    }

    /// The same for [`step_in_copy`](Self::step_in_copy).
    ///
    /// # Errors
    /// When nothing can be stepped in this process now.
    pub fn for_copy() -> Result<Self, Refusal> {
        sys::refuse_if_traced()?;
        sys::install()?;
        sys::is_in_place()?;
        Ok(Self {
            recording: Recording::new(sys::Code::read_for_copy()?)?,
        })
    }

    /// Runs a closure step by step in a copy of this process that has one thread, blocks no signals and
    /// traps its system calls, as `rtops-snapshot` makes it.
    ///
    /// Makes no system call, allocates nothing. Where the closure is left by a signal handler that goes
    /// on behind it, that handler must clear the trap flag.
    pub fn step_in_copy<R>(
        &self,
        tag: u32,
        closure: impl FnOnce() -> R,
    ) -> (R, Result<(), Refusal>) {
        let stepping = Stepping::begin(&self.recording, tag, Checks::None);
        if stepping.is_ok() {
            sys::trap_flag_on();
        }
        let result = closure();
        (result, stepping.map(drop))
    }

    /// The steps of a closure that has run, which makes room for the next one. Allocates nothing.
    pub fn take_steps(&self, read: impl FnOnce(End, &mut dyn Iterator<Item = Step>)) {
        let end = self.recording.end_of_last();
        self.recording.take(|steps| read(end, steps));
    }

    /// Runs a closure, step by step if that can be done safely, and says whether it was.
    ///
    /// Never blocks and allocates nothing. When it has run stepped, or has panicked, its trace is
    /// there to be [taken](Self::take), from any thread.
    pub fn step<R>(&self, tag: u32, closure: impl FnOnce() -> R) -> (R, Result<(), Refusal>) {
        let stepping = Stepping::begin(&self.recording, tag, Checks::All);
        if stepping.is_ok() {
            sys::trap_flag_on();
        }
        let result = closure();
        (result, stepping.map(drop))
    }

    /// Whether a closure is being stepped now: not one that goes on at full speed.
    pub fn is_stepping(&self) -> bool {
        self.recording.is_open()
    }

    /// The trace of a closure that has run, which makes room for the next one.
    pub fn take(&self) -> Option<Trace> {
        let (tag, end, steps) = self
            .recording
            .take(|steps| tree::build(steps, VisitOrder::Last))?;
        Some(Trace::new(tag, end, steps))
    }
}

impl Trace {
    /// Puts steps that were taken elsewhere together.
    pub fn from_steps(
        tag: u32,
        end: End,
        order: VisitOrder,
        mut steps: impl Iterator<Item = Step>,
    ) -> Self {
        Self::new(tag, end, tree::build(&mut steps, order))
    }

    fn new(tag: u32, end: End, (calls, visits, steps): (Vec<Call>, Vec<Visit>, usize)) -> Self {
        Self {
            tag,
            end,
            steps,
            calls,
            visits,
        }
    }
}

impl fmt::Debug for Stepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper").finish_non_exhaustive()
    }
}

/// What is looked at before a closure is stepped.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Checks {
    /// Whether the handler is in force and the signal unblocked.
    All,
    /// Nothing: it was looked at before the copy was made.
    None,
}

/// A closure that is being stepped. The trap flag is off once this is dropped, also by a panic.
struct Stepping<'a> {
    recording: &'a Recording,
    claim: Option<Claim>,
}

impl<'a> Stepping<'a> {
    fn begin(recording: &'a Recording, tag: u32, checks: Checks) -> Result<Self, Refusal> {
        if !recording.begin(tag) {
            return Err(Refusal::Busy);
        }
        // From here on, dropping gives the recording back.
        let mut stepping = Self {
            recording,
            claim: None,
        };
        let claim = Claim::new(sys::thread_pointer(), recording).ok_or(Refusal::Busy)?;
        if checks == Checks::All {
            sys::may_step()?;
        }
        stepping.claim = Some(claim);
        Ok(stepping)
    }
}

impl Drop for Stepping<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.claim.take() {
            Some(claim) => {
                // The next trap finds this and clears the flag; the instructions behind it see to
                // it that the flag is off in any case.
                self.recording.end();
                sys::trap_flag_off();
                drop(claim);
                self.recording.publish();
            }
            None => self.recording.give_back(),
        }
    }
}
