//! Polls tasks on a machine.

mod awaited;
mod drops;
pub(crate) mod finish;
mod rounds;
pub(crate) mod unwind;
pub(crate) mod wakers;

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use rtops_emulate::{Access, Breakpoints, PAGE_SIZE, Registers, Step, Stop, Why};
use rtops_image::Thread;

use crate::{
    Noted, Unresolved,
    answers::{self, Answer, MOST_REPEATS},
    machine::Machine,
    places::is_reserved,
    polls::Polls,
    recorder::{Recorder, Registered},
    source::{DOUBLES_EACH, VTABLE_BYTES},
    symbols::Vdso,
    vtable::WakerVtable,
};

/// Where the stack of polls is. No kernel places a mapping there on its own: it is far from
/// both ends of the half of the address space that programs have.
const STACK: std::ops::Range<u64> = 0x1000_0000_0000..0x1000_0020_0000;
/// Where the doubles of wakers' vtables are.
const DOUBLES: u64 = 0x1000_1000_0000;
/// Where a poll returns to.
const RETURN: u64 = 0x1000_2000_0000;
/// Where the memory that polls ask for is, and the gap between two pieces of it.
const MAPPED: u64 = 0x1100_0000_0000;
const GAP: u64 = 1 << 20;
/// The most memory that a poll may ask for.
const MOST_MAPPED: u64 = 1 << 30;
/// The most instructions that one poll may run.
const BUDGET: u64 = 400_000;
/// The most instructions that a resumed thread may run: its loop may do more than one poll.
const BUDGET_RESUMED: u64 = 1_000_000;

/// What all polls share.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The vtables of tokio's wakers, for each copy of tokio, with their addresses.
    pub(crate) wakers: Vec<(u64, WakerVtable)>,
    /// The vtables of other executors' wakers, with their addresses.
    pub(crate) inner: Vec<(u64, WakerVtable)>,
    pub(crate) vdso: HashMap<u64, Vdso>,
    /// Where panics begin.
    pub(crate) panics: Vec<u64>,
    /// The functions that poll tasks.
    pub(crate) tasks: HashSet<u64>,
    /// The functions that are called for a task's output.
    pub(crate) joins: HashSet<u64>,
    /// How code that polls others inside its own poll says whom it polls.
    pub(crate) noted: Option<Noted>,
}

impl Setup {
    /// Returns all vtables of wakers, with their addresses.
    fn all_wakers(&self) -> impl Iterator<Item = &(u64, WakerVtable)> {
        self.wakers.iter().chain(&self.inner)
    }

    /// Returns the addresses of all vtables of wakers, sorted, each
    /// with the address of its first double.
    pub(crate) fn doubles(&self) -> Vec<(u64, u64)> {
        let addresses = self.all_wakers().map(|(address, _)| *address);
        let doubles = addresses.zip((DOUBLES..).step_by((DOUBLES_EACH * VTABLE_BYTES) as usize));
        let mut doubles: Vec<(u64, u64)> = doubles.collect();
        doubles.sort_unstable();
        doubles
    }
}

/// How a poll ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// The future waits.
    Pending,
    /// The future has returned.
    Ready,
    /// The poll was given up.
    GivenUp(Unresolved),
}

impl Ended {
    pub(crate) fn unresolved(&self) -> Option<Unresolved> {
        match self {
            Self::Pending => None,
            Self::Ready => Some(Unresolved::Ready),
            Self::GivenUp(why) => Some(*why),
        }
    }
}

/// Polls tasks on a machine, each from the same memory.
pub struct Poller<'a, M> {
    machine: M,
    polls: &'a Polls<'a>,
    setup: &'a Setup,
    breakpoints: Breakpoints,
    /// Where the next piece of memory goes.
    next_map: u64,
    /// Where the next piece of memory goes after a revert.
    committed_map: u64,
    /// Whether a run ends when its thread is about to wait in the kernel.
    ends_in_a_park: bool,
    /// Further addresses at which a run ends.
    ends: Vec<u64>,
    /// The task that is polled, and whether it has woken itself.
    polled: u64,
    pub(crate) has_woken_itself: bool,
    /// Whether it would have gone on beyond the limits.
    pub(crate) is_cut: bool,
    /// How many instructions are left for further polls.
    left_for_rounds: u64,
    /// Whether a future is being dropped, and the tasks that this has woken.
    is_dropping: bool,
    woken: Vec<u64>,
    pub(crate) recorder: Recorder,
    /// How many polls were given up for each unknown instruction, by mnemonic.
    pub(crate) unknown: HashMap<String, usize>,
}

/// The result of a poll.
#[derive(Clone, Copy, Debug)]
pub struct Polled<'a> {
    /// Why it does not show where the task waits; `None` if the future waits.
    pub unresolved: Option<Unresolved>,
    /// The instructions that ran, each with the stack pointer before it.
    pub steps: &'a [Step],
    /// Where wakers were registered.
    pub leaves: &'a [Registered],
}

impl<'a, M: Machine> Poller<'a, M> {
    /// Prepares a machine that has the memory of the image, and wakes the executors inside
    /// tasks, so that they poll all their children.
    pub(crate) fn new(machine: M, polls: &'a Polls<'a>) -> Self {
        let mut poller = Self::as_it_is(machine, polls);
        poller.wake(&polls.inner, polls.any_thread);
        poller
    }

    /// Prepares a machine in whose memory nothing is woken.
    pub(crate) fn as_it_is(mut machine: M, polls: &'a Polls<'a>) -> Self {
        let setup = &polls.setup;
        let doubles: HashMap<u64, u64> = setup.doubles().into_iter().collect();
        let length = doubles.len().max(1) as u64 * DOUBLES_EACH * VTABLE_BYTES;
        let length = length.next_multiple_of(PAGE_SIZE as u64);
        machine.map(STACK, Access::READ_WRITE);
        machine.map(RETURN..RETURN + PAGE_SIZE as u64, Access::READ_EXECUTE);
        machine.map(DOUBLES..DOUBLES + length, Access::READ_WRITE);
        let words_each = (DOUBLES_EACH * VTABLE_BYTES / 8) as usize;
        for (address, waker) in setup.all_wakers() {
            let first = doubles.get(address).copied().unwrap_or(DOUBLES);
            let words = waker.words();
            let words = words.iter().cycle().zip((first..).step_by(8));
            for (word, at) in words.take(words_each) {
                // This was mapped above; if it is missing, no leaf shows itself.
                let _missing = machine.write(at, &word.to_le_bytes());
            }
        }
        machine.commit();
        let stops = [RETURN].into_iter();
        let stops = stops.chain(setup.panics.iter().copied());
        let stops = stops.chain(setup.vdso.keys().copied());
        let own = setup.wakers.iter();
        let stops = stops.chain(own.flat_map(|(_, waker)| [waker.wake, waker.wake_by_ref]));
        let stops = stops.chain(setup.joins.iter().copied());
        let clones: Vec<u64> = setup.all_wakers().map(|(_, waker)| waker.clone).collect();
        let stops = stops.chain(clones.iter().copied().filter(|_| setup.noted.is_some()));
        let stops = stops.chain(setup.noted.map(|noted| noted.function));
        Self {
            machine,
            polls,
            setup,
            breakpoints: stops.collect(),
            next_map: MAPPED,
            committed_map: MAPPED,
            ends_in_a_park: false,
            ends: Vec::new(),
            polled: 0,
            has_woken_itself: false,
            is_cut: false,
            left_for_rounds: rounds::BUDGET_ALL,
            is_dropping: false,
            woken: Vec::new(),
            recorder: Recorder::new(clones),
            unknown: HashMap::new(),
        }
    }

    /// Returns the machine, as it is between two polls.
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Polls the task at this position of [`Inventory::tasks`](crate::Inventory::tasks) like a worker
    /// that takes it out of its queue, and drops what that wrote. `None` if there is no such task.
    pub fn poll(&mut self, index: usize) -> Option<Polled<'_>> {
        let cell = self.polls.cells.get(index)?;
        let ended = self.poll_cell(cell, self.polls.thread(cell));
        Some(self.polled(&ended))
    }

    /// Resumes a thread that waits in the kernel, as if something had woken it, until it waits
    /// again, and drops what that wrote.
    pub fn resume(&mut self, thread: &Thread) -> Polled<'_> {
        let ended = self.resume_thread(thread);
        self.polled(&ended)
    }

    fn polled(&self, ended: &Ended) -> Polled<'_> {
        Polled {
            unresolved: ended.unresolved(),
            steps: &self.recorder.steps,
            leaves: &self.recorder.leaves,
        }
    }

    /// Resumes a parked thread. Tasks that it would run are skipped: only the future that it
    /// polls itself is of interest. The recorder has what ran.
    pub(crate) fn resume_thread(&mut self, thread: &Thread) -> Ended {
        self.recorder.clear();
        let ended = self.go_on(thread, BUDGET_RESUMED, &[]);
        self.revert();
        ended
    }

    /// Continues a thread until it waits in the kernel or reaches one of these addresses.
    fn go_on(&mut self, thread: &Thread, budget: u64, ends: &[u64]) -> Ended {
        *self.machine.registers_mut() = registers(thread);
        let usual = self.breakpoints.clone();
        for poll in &self.setup.tasks {
            self.breakpoints.insert(*poll);
        }
        self.ends_in_a_park = true;
        let ended = self.run_to(ends, budget, Some(thread));
        self.ends_in_a_park = false;
        self.breakpoints = usual;
        ended
    }

    /// Runs on, at most up to one of these addresses.
    fn run_to(&mut self, ends: &[u64], budget: u64, thread: Option<&Thread>) -> Ended {
        let usual = self.breakpoints.clone();
        for end in ends {
            self.breakpoints.insert(*end);
        }
        self.ends = ends.to_vec();
        let ended = self.run(budget, thread);
        self.ends.clear();
        self.breakpoints = usual;
        ended
    }

    fn commit(&mut self) {
        self.machine.commit();
        self.committed_map = self.next_map;
    }

    pub(crate) fn revert(&mut self) {
        self.machine.revert();
        self.next_map = self.committed_map;
    }

    /// Calls a function with one argument.
    fn call(&mut self, function: u64, argument: u64, thread: Option<&Thread>) -> Ended {
        self.call_within(BUDGET, function, argument, thread)
    }

    /// Calls a function with one argument, for at most `budget` instructions.
    fn call_within(
        &mut self,
        budget: u64,
        function: u64,
        argument: u64,
        thread: Option<&Thread>,
    ) -> Ended {
        let mut registers = Registers {
            rip: function,
            ..Registers::default()
        };
        // The stack of a function is aligned to 16 bytes before the return address.
        let sp = STACK.end - 0x100 - 8;
        set(&mut registers, Registers::RDI, argument);
        set(&mut registers, Registers::RSP, sp);
        if let Some(thread) = thread {
            registers.fs_base = thread.registers.fs_base;
            registers.gs_base = thread.registers.gs_base;
        }
        *self.machine.registers_mut() = registers;
        if self.machine.write(sp, &RETURN.to_le_bytes()).is_err() {
            return Ended::GivenUp(Unresolved::Fault);
        }
        self.run(budget, thread)
    }

    fn run(&mut self, mut budget: u64, thread: Option<&Thread>) -> Ended {
        let mut repeats = Repeats::default();
        loop {
            let before = self.recorder.count;
            let stop = self
                .machine
                .run(budget, &self.breakpoints, &mut self.recorder);
            budget = budget.saturating_sub(self.recorder.count - before);
            let ended = match stop {
                Stop::Breakpoint(RETURN) => return Ended::Pending,
                Stop::Breakpoint(at) if self.ends.contains(&at) => return Ended::Pending,
                Stop::Breakpoint(at) => self.at_breakpoint(at),
                Stop::SystemCall if self.ends_in_a_park && self.is_park() => {
                    return Ended::Pending;
                }
                Stop::SystemCall => self.system_call(&mut repeats, thread),
                Stop::Budget => Err(Unresolved::Endless),
                Stop::Fault { fault, .. } => Err(match fault.why {
                    Why::TooManyWritten => Unresolved::Endless,
                    _ => Unresolved::Fault,
                }),
                Stop::UnknownInstruction { mnemonic, .. } => {
                    *self.unknown.entry(mnemonic).or_default() += 1;
                    Err(Unresolved::UnknownInstruction)
                }
                Stop::Trap { .. } => Err(Unresolved::Exit),
                _ => Err(Unresolved::Fault),
            };
            if let Err(why) = ended {
                return Ended::GivenUp(why);
            }
        }
    }

    /// Handles a breakpoint: records for whom a function was called, or skips it. Functions that
    /// wake tasks are skipped: whom a poll wakes makes no difference, except for the task itself.
    fn at_breakpoint(&mut self, at: u64) -> Result<(), Unresolved> {
        let woken = general(self.machine.registers(), Registers::RDI);
        if self.setup.joins.contains(&at) {
            let cells = &self.polls.cells;
            if (cells.binary_search_by_key(&woken, |cell| cell.candidate.header)).is_ok() {
                self.recorder.joins(woken);
            }
            return Ok(());
        }
        if let Some(Noted { word, function }) = self.setup.noted {
            if at == function {
                self.recorder.notes(woken);
                return Ok(());
            }
            if self.recorder.clones(at) {
                let base = self.machine.registers().fs_base;
                self.recorder.note = self.word(base.wrapping_add_signed(word));
                return Ok(());
            }
        }
        if woken == self.polled {
            self.has_woken_itself = true;
            let sp = general(self.machine.registers(), Registers::RSP);
            self.recorder.wakes(at, sp);
        }
        if self.is_dropping {
            self.woken.push(woken);
        }
        if self.setup.panics.contains(&at) {
            return Err(Unresolved::Panic);
        }
        if let Some(function) = self.setup.vdso.get(&at) {
            let registers = self.machine.registers();
            let [a, b] = [Registers::RDI, Registers::RSI].map(|n| general(registers, n));
            match function {
                Vdso::ClockGettime | Vdso::ClockGetres => self.write(b, &answers::time(a))?,
                Vdso::GetTimeOfDay => self.write(a, &answers::time(0))?,
                Vdso::GetCpu => {
                    self.write(a, &[0; 4])?;
                    self.write(b, &[0; 4])?;
                }
                Vdso::Time | Vdso::GetRandom => {}
            }
        }
        self.give_back(0)
    }

    /// Returns from a function at its first instruction.
    fn give_back(&mut self, value: u64) -> Result<(), Unresolved> {
        let sp = general(self.machine.registers(), Registers::RSP);
        let back = self.word(sp).ok_or(Unresolved::Fault)?;
        let registers = self.machine.registers_mut();
        registers.rip = back;
        set(registers, Registers::RSP, sp.wrapping_add(8));
        set(registers, Registers::RAX, value);
        Ok(())
    }

    /// Whether a thread is about to wait in the kernel.
    fn is_park(&self) -> bool {
        let registers = self.machine.registers();
        let [number, operation] =
            [Registers::RAX, Registers::RSI].map(|register| general(registers, register));
        answers::is_park(number, operation)
    }

    fn system_call(
        &mut self,
        repeats: &mut Repeats,
        thread: Option<&Thread>,
    ) -> Result<(), Unresolved> {
        let registers = self.machine.registers();
        let number = general(registers, Registers::RAX);
        repeats.count(number, registers.rip)?;
        let arguments = [
            Registers::RDI,
            Registers::RSI,
            Registers::RDX,
            Registers::R10,
            Registers::R8,
            Registers::R9,
        ];
        let arguments = arguments.map(|argument| general(registers, argument));
        let value = match answers::answer(number, arguments) {
            _ if i64::try_from(number) == Ok(libc::SYS_gettid) => {
                thread.map_or(0, |thread| i64::from(thread.tid.as_raw()))
            }
            Answer::Value(value) => value,
            Answer::Memory(length) => self.map(length),
            Answer::Usable { at, length } => {
                self.use_reserved(at, length);
                0
            }
            Answer::Time { clock, at } => {
                self.write(at, &answers::time(clock))?;
                0
            }
            Answer::Random { at, length } => {
                let length = length.min(256);
                self.write(at, &vec![7; usize::try_from(length).unwrap_or(0)])?;
                i64::try_from(length).unwrap_or(0)
            }
            Answer::None(why) => return Err(why),
        };
        let registers = self.machine.registers_mut();
        set(registers, Registers::RAX, value.cast_unsigned());
        Ok(())
    }

    /// Maps new memory, which lasts until the next revert.
    fn map(&mut self, length: u64) -> i64 {
        let length = length.checked_next_multiple_of(PAGE_SIZE as u64);
        let end = length.and_then(|length| self.next_map.checked_add(length));
        let end = end.filter(|end| end - MAPPED <= MOST_MAPPED && *end > self.next_map);
        let Some(end) = end else {
            return -i64::from(libc::ENOMEM);
        };
        let start = std::mem::replace(&mut self.next_map, end + GAP);
        self.machine.map(start..end, Access::READ_WRITE);
        i64::try_from(start).unwrap_or(0)
    }

    /// Maps memory that an allocator has reserved and never used.
    fn use_reserved(&mut self, at: u64, length: u64) {
        let page = PAGE_SIZE as u64;
        let Some(end) = at.checked_add(length) else {
            return;
        };
        if !at.is_multiple_of(page) || !length.is_multiple_of(page) {
            return;
        }
        let image = self.polls.image;
        let mut next = at;
        while next < end {
            match image.region_of(next) {
                Some(region) if is_reserved(region) => next = region.range.end,
                // Any other memory keeps its bytes.
                _ => return,
            }
        }
        self.machine.map(at..end, Access::READ_WRITE);
    }

    /// Writes to the address that a caller passed, unless it is 0.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Unresolved> {
        if at == 0 {
            return Ok(());
        }
        let written = self.machine.write(at, bytes);
        written.map_err(|_| Unresolved::Fault)
    }

    pub(crate) fn word(&mut self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.machine.read(at, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

impl<M> fmt::Debug for Poller<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

/// Returns the registers of a thread after its system call, which has returned 0.
fn registers(thread: &Thread) -> Registers {
    let from = &thread.registers;
    let general = [
        0, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi, from.r8, from.r9,
        from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
    ];
    let mut registers = Registers {
        general,
        rip: from.rip,
        rflags: from.rflags,
        fs_base: from.fs_base,
        gs_base: from.gs_base,
        ..Registers::default()
    };
    if let Some(vectors) = &thread.vectors {
        registers.mxcsr = vectors.mxcsr;
        for (to, from) in registers.vectors.iter_mut().zip(&vectors.ymm) {
            for (lane, bytes) in to.iter_mut().zip(from.as_chunks().0) {
                *lane = u128::from_le_bytes(*bytes);
            }
        }
    }
    registers
}

fn general(registers: &Registers, number: usize) -> u64 {
    registers.general.get(number).copied().unwrap_or(0)
}

fn set(registers: &mut Registers, number: usize, value: u64) {
    if let Some(register) = registers.general.get_mut(number) {
        *register = value;
    }
}

/// A system call that is repeated from the same place.
#[derive(Default)]
struct Repeats {
    call: (u64, u64),
    count: u32,
}

impl Repeats {
    fn count(&mut self, number: u64, from: u64) -> Result<(), Unresolved> {
        if self.call != (number, from) {
            *self = Self {
                call: (number, from),
                count: 0,
            };
        }
        self.count += 1;
        if self.count > MOST_REPEATS {
            return Err(Unresolved::SystemCall);
        }
        Ok(())
    }
}
