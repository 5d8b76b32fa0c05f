//! The emulator: registers, memory and decoded code, and the loop that runs it.

use std::fmt;

use iced_x86::{Code, Mnemonic};

use crate::{
    block::Blocks,
    machine::{Exit, Machine, Unsupported},
    memory::{Limits, Memory},
    op::Flow,
    registers::Registers,
    source::{Fault, Source, Wanted, Why},
};

/// Why a run ended. `rip` is the address of the instruction that did not run, except after
/// [`SystemCall`](Self::SystemCall).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// At a breakpoint: the instruction at this address would be next.
    Breakpoint(u64),
    /// At `syscall`. The registers are as the kernel finds them: the number in `rax`, `rip` after
    /// the instruction, `rcx` and `r11` set. To continue, put the answer into `rax` and run again.
    SystemCall,
    /// At a memory access that failed.
    Fault {
        /// The access.
        fault: Fault,
        /// The address of the instruction.
        at: u64,
    },
    /// At an instruction that the interpreter does not support, or not in this state.
    UnknownInstruction {
        /// Its address.
        at: u64,
        /// Its name, and which part of it is not supported.
        mnemonic: String,
    },
    /// At an instruction that a processor would not have finished either.
    Trap {
        /// Its address.
        at: u64,
        /// What the processor would have raised.
        trap: Trap,
    },
    /// The budget is used up. Run again to continue.
    Budget,
}

/// An exception of the processor that does not concern memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trap {
    /// Division by zero, or a quotient that does not fit.
    Divide,
    /// `int3`.
    Breakpoint,
    /// `ud2` and its variants: compilers put them where the program must never arrive.
    Undefined,
    /// `hlt`, `in`, `cli` and others that only the kernel may run.
    Privileged,
    /// `int` with this number.
    Interrupt(u8),
    /// The 32-bit counterparts of `syscall`.
    OldSystemCall,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breakpoint(at) => write!(f, "breakpoint at {at:#x}"),
            Self::SystemCall => write!(f, "system call"),
            Self::Fault { fault, at } => write!(f, "{fault}, at {at:#x}"),
            Self::UnknownInstruction { at, mnemonic } => {
                write!(f, "unknown instruction {mnemonic} at {at:#x}")
            }
            Self::Trap { at, trap } => write!(f, "{trap} at {at:#x}"),
            Self::Budget => write!(f, "no end within the number of instructions allowed"),
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divide => write!(f, "division by zero or overflow"),
            Self::Breakpoint => write!(f, "int3"),
            Self::Undefined => write!(f, "undefined instruction"),
            Self::Privileged => write!(f, "privileged instruction"),
            Self::Interrupt(number) => write!(f, "int {number:#x}"),
            Self::OldSystemCall => write!(f, "sysenter"),
        }
    }
}

/// An instruction that is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its address.
    pub ip: u64,
    /// The stack pointer before it.
    pub sp: u64,
    /// Its effect on the flow of control.
    pub flow: Flow,
}

/// Sees every instruction before it runs.
///
/// The steps are those of a debugger that steps through the code, with one difference: a repeated
/// string instruction is one step, plus one for each run that continues it after the budget ended.
pub trait Observer {
    /// Called before an instruction runs. The instruction may still fail.
    #[inline]
    fn step(&mut self, step: Step) {
        let _ = step;
    }
}

/// Ignores all steps.
impl Observer for () {}

/// Addresses to stop at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakpoints(Vec<u64>);

impl Breakpoints {
    /// Adds an address.
    pub fn insert(&mut self, address: u64) {
        if let Err(place) = self.0.binary_search(&address) {
            self.0.insert(place, address);
        }
    }

    /// Returns whether there is a breakpoint at this address.
    pub fn contains(&self, address: u64) -> bool {
        self.0.binary_search(&address).is_ok()
    }

    /// Returns the addresses that are in only one of the two.
    pub(crate) fn difference(&self, other: &Self) -> Vec<u64> {
        let only = |a: &Self, b: &Self| {
            a.0.iter()
                .copied()
                .filter(|&x| !b.contains(x))
                .collect::<Vec<_>>()
        };
        [only(self, other), only(other, self)].concat()
    }
}

impl FromIterator<u64> for Breakpoints {
    fn from_iter<T: IntoIterator<Item = u64>>(addresses: T) -> Self {
        let mut all: Vec<u64> = addresses.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }
}

/// The number of bytes that a repeated string instruction moves for the price of one instruction.
pub const BYTES_AS_CHEAP: u64 = 64;

/// An interpreter of code, with its registers and memory.
///
/// Creating one costs a few microseconds and 100 KiB. It is `Send`, and many may share a source.
pub struct Emulator<'s> {
    machine: Machine<'s>,
    blocks: Blocks,
}

impl<'s> Emulator<'s> {
    /// Creates an emulator over this memory, with the default [`Limits`].
    pub fn new(source: impl Source + 's) -> Self {
        Self::with_limits(source, Limits::default())
    }

    /// Creates an emulator over this memory, with these limits.
    pub fn with_limits(source: impl Source + 's, limits: Limits) -> Self {
        Self {
            machine: Machine::new(Memory::new(source, limits)),
            blocks: Blocks::new(limits.decoded_instructions),
        }
    }

    /// Returns the registers.
    pub fn registers(&self) -> &Registers {
        &self.machine.registers
    }

    /// Returns a mutable reference to the registers.
    pub fn registers_mut(&mut self) -> &mut Registers {
        &mut self.machine.registers
    }

    /// Returns the memory. Reading changes which pages are cached, so this takes `&mut self`.
    pub fn memory(&mut self) -> &mut Memory<'s> {
        &mut self.machine.memory
    }

    /// Runs at most `budget` instructions, starting at `rip`. For a repeated instruction,
    /// every [`BYTES_AS_CHEAP`] bytes that it would move count as one more, and so does
    /// each byte that it compares.
    ///
    /// A breakpoint at the first instruction is ignored, so that a run can be resumed from one.
    pub fn run(
        &mut self,
        budget: u64,
        breakpoints: &Breakpoints,
        observer: &mut impl Observer,
    ) -> Stop {
        self.blocks.set_breakpoints(breakpoints);
        self.machine.enter();
        self.machine.budget = budget;
        let stop = self.run_blocks(observer);
        self.machine.leave();
        stop
    }

    fn run_blocks(&mut self, observer: &mut impl Observer) -> Stop {
        let Self { machine, blocks } = self;
        let mut resumed = true;
        loop {
            if machine.memory.has_stale_code() {
                blocks.forget_pages(&machine.memory.take_stale_code());
            }
            let block = match blocks.at(machine.ip, &mut machine.memory) {
                Ok(block) => block,
                Err(fault) => {
                    return Stop::Fault {
                        fault,
                        at: machine.ip,
                    };
                }
            };
            // A breakpoint may be at an address that is not mapped.
            if block.breakpoint && (!resumed || block.ops.is_empty()) {
                return Stop::Breakpoint(machine.ip);
            }
            resumed = false;
            for op in block.ops {
                if machine.budget == 0 {
                    return Stop::Budget;
                }
                machine.budget -= 1;
                let ip = machine.ip;
                observer.step(Step {
                    ip,
                    sp: machine.words[Registers::RSP],
                    flow: op.flow,
                });
                machine.ip = ip.wrapping_add(u64::from(op.length));
                if let Err(exit) = (op.run)(machine, op) {
                    return stop(machine, exit, ip, op.code);
                }
                if machine.memory.has_stale_code() {
                    break;
                }
            }
        }
    }
}

impl fmt::Debug for Emulator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("rip", &self.machine.registers.rip)
            .field("memory", &self.machine.memory)
            .finish_non_exhaustive()
    }
}

#[cold]
fn stop(machine: &mut Machine<'_>, exit: Exit, at: u64, code: Code) -> Stop {
    if exit == Exit::SystemCall {
        return Stop::SystemCall;
    }
    machine.ip = at;
    match exit {
        Exit::SystemCall | Exit::Budget => Stop::Budget,
        Exit::Fault => {
            let unknown = Fault {
                address: at,
                wanted: Wanted::Read,
                why: Why::NotMapped,
            };
            Stop::Fault {
                fault: machine.memory.take_fault().unwrap_or(unknown),
                at,
            }
        }
        Exit::Trap(trap) => Stop::Trap { at, trap },
        Exit::Unknown(what) => Stop::UnknownInstruction {
            at,
            mnemonic: name(code, what),
        },
    }
}

fn name(code: Code, what: Unsupported) -> String {
    let mnemonic = match code.mnemonic() {
        Mnemonic::INVALID => "(not an instruction)".to_owned(),
        mnemonic => format!("{mnemonic:?}").to_lowercase(),
    };
    match what {
        Unsupported::Instruction => mnemonic,
        Unsupported::Control => format!("{mnemonic} (with this control word)"),
        Unsupported::Operands => format!("{mnemonic} (with these operands)"),
    }
}
