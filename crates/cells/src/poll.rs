//! A poll of a task in the interpreter.

use std::collections::HashMap;

use rtops_emulate::{
    Access, Breakpoints, Emulator, Flow, Observer, PAGE_SIZE, Registers, Step, Stop, Why,
};
use rtops_image::{Image, Thread};

use crate::{
    Unresolved,
    answers::{self, Answer, MOST_REPEATS},
    discover::Cell,
    layout::{STATE, State, WAKER_WORDS},
    source::Pages,
    symbols::Vdso,
    vtable::WakerVtable,
};

/// Where polls have their stack. No kernel places a mapping of its own accord there: it is far from both
/// ends of the half of the address space that programs have.
const STACK: std::ops::Range<u64> = 0x1000_0000_0000..0x1000_0020_0000;
/// Where the doubles of wakers' vtables are.
const DOUBLES: u64 = 0x1000_1000_0000;
/// Where a poll returns to.
const RETURN: u64 = 0x1000_2000_0000;
/// Where memory is that polls ask for, and what lies between two pieces of it.
const MAPPED: u64 = 0x1100_0000_0000;
const GAP: u64 = 1 << 20;
/// The most memory that all polls together may ask for.
const MOST_MAPPED: u64 = 1 << 30;
/// The most instructions of one poll.
const BUDGET: u64 = 400_000;
/// The same for a thread that goes on: its loop may do more than one poll.
const BUDGET_RESUMED: u64 = 1_000_000;

/// What polls have in common.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The vtables of the wakers of each copy of tokio, with their addresses.
    pub(crate) wakers: Vec<(u64, WakerVtable)>,
    pub(crate) vdso: HashMap<u64, Vdso>,
    /// Where panics begin.
    pub(crate) panics: Vec<u64>,
}

impl Setup {
    /// The vtables of tokio's wakers, and where their doubles are.
    pub(crate) fn doubles(&self) -> Vec<(u64, u64)> {
        let addresses = self.wakers.iter().map(|(address, _)| *address);
        addresses
            .zip((DOUBLES..).step_by(8 * WAKER_WORDS as usize))
            .collect()
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

/// Polls tasks, or calls other functions, each from the same memory.
pub(crate) struct Poller<'a> {
    emulator: Emulator<'a>,
    setup: &'a Setup,
    breakpoints: Breakpoints,
    /// Where the next piece of memory goes.
    next_map: u64,
    /// Whether a run is over once its thread waits in the kernel.
    ends_in_a_park: bool,
    pub(crate) recorder: Recorder,
    /// What made a poll be given up for want of an instruction.
    pub(crate) unknown: HashMap<String, usize>,
}

impl<'a> Poller<'a> {
    pub(crate) fn new<I: Image + Send>(image: &'a I, setup: &'a Setup) -> Self {
        let doubles = setup.doubles();
        let mut emulator = Emulator::new(Pages {
            image,
            doubles: doubles.clone(),
        });
        let memory = emulator.memory();
        memory.map(STACK, Access::READ_WRITE);
        memory.map(RETURN..RETURN + PAGE_SIZE as u64, Access::READ_EXECUTE);
        memory.map(DOUBLES..DOUBLES + PAGE_SIZE as u64, Access::READ_WRITE);
        for ((_, waker), (_, double)) in setup.wakers.iter().zip(&doubles) {
            let words = [waker.clone, waker.wake, waker.wake_by_ref, waker.drop];
            for (word, at) in words.iter().zip((*double..).step_by(8)) {
                // It was mapped just now; if it is not there, no leaf shows itself.
                let _missing = memory.write(at, &word.to_le_bytes());
            }
        }
        memory.commit();
        let stops = [RETURN].into_iter();
        let stops = stops.chain(setup.panics.iter().copied());
        let stops = stops.chain(setup.vdso.keys().copied());
        let clones = setup.wakers.iter().map(|(_, waker)| waker.clone).collect();
        Self {
            emulator,
            setup,
            breakpoints: stops.collect(),
            next_map: MAPPED,
            ends_in_a_park: false,
            recorder: Recorder {
                clones,
                ..Recorder::default()
            },
            unknown: HashMap::new(),
        }
    }

    /// Polls a task as a worker would that takes it out of its queue, and forgets what that wrote. The
    /// recorder has what ran.
    pub(crate) fn poll(&mut self, cell: &Cell, thread: Option<&Thread>) -> Ended {
        let header = cell.candidate.header;
        let queued = cell.candidate.state.queued();
        self.recorder.clear();
        let memory = self.emulator.memory();
        let mut ended = match memory.write(header + STATE, &queued.0.to_le_bytes()) {
            Ok(()) => self.call(cell.candidate.vtable.poll, header, thread),
            Err(_) => Ended::GivenUp(Unresolved::Fault),
        };
        if ended == Ended::Pending {
            let state = self.emulator.memory().read(header + STATE);
            let state = State(state.map_or(0, u64::from_le_bytes));
            if state.is_complete() {
                ended = Ended::Ready;
            }
        }
        self.emulator.memory().revert();
        ended
    }

    /// Calls the wakers of executors inside of tasks, so that they poll all their children. Each call is
    /// kept if it returns, and undone if not. tokio's own wakers do nothing meanwhile.
    pub(crate) fn wake(&mut self, wakers: &[(WakerVtable, u64)], thread: Option<&Thread>) {
        let own = self.setup.wakers.iter();
        let own = own.flat_map(|(_, waker)| [waker.wake, waker.wake_by_ref, waker.drop]);
        let usual = self.breakpoints.clone();
        for stop in own.collect::<Vec<_>>() {
            self.breakpoints.insert(stop);
        }
        self.recorder.is_off = true;
        for (waker, data) in wakers {
            match self.call(waker.wake_by_ref, *data, thread) {
                Ended::Pending => self.emulator.memory().commit(),
                _ => self.emulator.memory().revert(),
            }
        }
        self.recorder.is_off = false;
        self.breakpoints = usual;
    }

    /// Lets a parked thread go on until it parks again, as if something had woken it, and forgets what that
    /// wrote.
    pub(crate) fn resume(&mut self, thread: &Thread) -> Ended {
        self.recorder.clear();
        *self.emulator.registers_mut() = registers(thread);
        self.ends_in_a_park = true;
        let ended = self.run(BUDGET_RESUMED, Some(thread));
        self.ends_in_a_park = false;
        self.emulator.memory().revert();
        ended
    }

    /// Calls a function with one argument.
    fn call(&mut self, function: u64, argument: u64, thread: Option<&Thread>) -> Ended {
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
        *self.emulator.registers_mut() = registers;
        if self
            .emulator
            .memory()
            .write(sp, &RETURN.to_le_bytes())
            .is_err()
        {
            return Ended::GivenUp(Unresolved::Fault);
        }
        self.run(BUDGET, thread)
    }

    fn run(&mut self, mut budget: u64, thread: Option<&Thread>) -> Ended {
        let mut repeats = Repeats::default();
        loop {
            let before = self.recorder.count;
            let stop = self
                .emulator
                .run(budget, &self.breakpoints, &mut self.recorder);
            budget = budget.saturating_sub(self.recorder.count - before);
            let ended = match stop {
                Stop::Breakpoint(RETURN) => return Ended::Pending,
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

    /// At a function that is not run.
    fn at_breakpoint(&mut self, at: u64) -> Result<(), Unresolved> {
        if self.setup.panics.contains(&at) {
            return Err(Unresolved::Panic);
        }
        if let Some(function) = self.setup.vdso.get(&at) {
            let registers = self.emulator.registers();
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
        let sp = general(self.emulator.registers(), Registers::RSP);
        let back = self.emulator.memory().read(sp);
        let back = u64::from_le_bytes(back.map_err(|_| Unresolved::Fault)?);
        let registers = self.emulator.registers_mut();
        registers.rip = back;
        set(registers, Registers::RSP, sp.wrapping_add(8));
        set(registers, Registers::RAX, value);
        Ok(())
    }

    /// Whether a thread is about to wait in the kernel.
    fn is_park(&self) -> bool {
        let registers = self.emulator.registers();
        let [number, operation] =
            [Registers::RAX, Registers::RSI].map(|register| general(registers, register));
        answers::is_park(number, operation)
    }

    fn system_call(
        &mut self,
        repeats: &mut Repeats,
        thread: Option<&Thread>,
    ) -> Result<(), Unresolved> {
        let registers = self.emulator.registers();
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
                thread.map_or(0, |thread| i64::from(thread.tid))
            }
            Answer::Value(value) => value,
            Answer::Memory(length) => self.map(length),
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
        let registers = self.emulator.registers_mut();
        set(registers, Registers::RAX, value.cast_unsigned());
        Ok(())
    }

    /// New memory, which lasts as long as the poller.
    fn map(&mut self, length: u64) -> i64 {
        let length = length.checked_next_multiple_of(PAGE_SIZE as u64);
        let end = length.and_then(|length| self.next_map.checked_add(length));
        let end = end.filter(|end| end - MAPPED <= MOST_MAPPED && *end > self.next_map);
        let Some(end) = end else {
            return -i64::from(libc::ENOMEM);
        };
        let start = std::mem::replace(&mut self.next_map, end + GAP);
        self.emulator.memory().map(start..end, Access::READ_WRITE);
        i64::try_from(start).unwrap_or(0)
    }

    /// Writes where a caller wants it, if it does.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Unresolved> {
        if at == 0 {
            return Ok(());
        }
        let written = self.emulator.memory().write(at, bytes);
        written.map_err(|_| Unresolved::Fault)
    }
}

/// The registers of a thread behind the system call that it is in, which has returned 0.
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

/// A system call that is made again and again from the same place.
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

/// What ran of a poll.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// The functions that clone tokio's wakers.
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
    count: u64,
    is_off: bool,
}

impl Recorder {
    fn clear(&mut self) {
        self.steps.clear();
        self.leaves.clear();
        self.open.clear();
        self.hash = 0;
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
        self.steps.push(step);
        let word = step.ip ^ step.sp << 24;
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        if step.flow == Flow::Call {
            while self.open.pop_if(|(_, sp)| *sp <= step.sp).is_some() {}
            self.open.push((step.ip, step.sp));
        } else if self.clones.contains(&step.ip) {
            while self.open.pop_if(|(_, sp)| *sp <= step.sp).is_some() {}
            self.leaf(step);
        }
    }
}
