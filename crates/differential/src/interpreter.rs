//! The interpreter, with a record of what it did.

use std::ops::Range;

use rtops_cells::Machine;
use rtops_emulate::{Access, Breakpoints, Emulator, Fault, Observer, Registers, Step, Stop};

use crate::{code::Code, compare::Recorded, record::Record};

/// How the interpreter runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pace {
    /// As usual.
    Free,
    /// One instruction at a time, with the registers before each in the record.
    Stepped,
}

/// An interpreter that keeps a record.
pub(crate) struct Interpreter<'s> {
    emulator: Emulator<'s>,
    pace: Pace,
    code: Code,
    record: Record,
    /// The instruction that it reached and did not know.
    pub(crate) unknown: Option<String>,
}

impl<'s> Interpreter<'s> {
    pub(crate) fn new(emulator: Emulator<'s>, pace: Pace) -> Self {
        Self {
            emulator,
            pace,
            code: Code::new(),
            record: Record::default(),
            unknown: None,
        }
    }

    fn end(&mut self) {
        let registers = self.emulator.registers().clone();
        let memory = self.emulator.memory();
        let written = memory.written_pages();
        self.record.end(&registers, written, |address, page| {
            memory.read_slice(address, page).is_ok()
        });
    }

    fn run_stepped(
        &mut self,
        mut budget: u64,
        breakpoints: &Breakpoints,
        observer: &mut impl Observer,
    ) -> Stop {
        let mut is_first = true;
        loop {
            let ip = self.emulator.registers().rip;
            if !is_first && breakpoints.contains(ip) {
                return Stop::Breakpoint(ip);
            }
            is_first = false;
            if budget == 0 {
                return Stop::Budget;
            }
            budget -= 1;
            let stop = self.step(ip, &mut budget, observer);
            if stop != Stop::Budget {
                return stop;
            }
            if budget == 0 && self.emulator.registers().rip == ip {
                return Stop::Budget;
            }
        }
    }

    /// Runs one instruction with all its iterations.
    fn step(&mut self, ip: u64, budget: &mut u64, observer: &mut impl Observer) -> Stop {
        let Self {
            emulator,
            code,
            record,
            ..
        } = self;
        let decoded = code.at(ip, |bytes| {
            let whole = emulator.memory().read_slice(ip, bytes);
            Ok::<_, Fault>(whole.map_or_else(
                |fault| fault.address.wrapping_sub(ip) as usize,
                |()| bytes.len(),
            ))
        });
        let repeated = decoded.ok().filter(|decoded| decoded.repeats().is_some());
        let before = emulator.registers().clone();
        let mut observer = First {
            inner: Some(observer),
            record,
            registers: &before,
        };
        let none = Breakpoints::default();
        loop {
            let left = emulator.registers().general[Registers::RCX];
            // A comparison pays for each element. If it can pay for only one, nothing follows it.
            let price = repeated.as_ref().map_or(0, |decoded| {
                let elements = if decoded.compares() {
                    left.min(1)
                } else {
                    left
                };
                decoded.price(elements)
            });
            // An instruction that it can't pay for is observed but does not begin.
            let paid = if price > *budget { 0 } else { price };
            *budget = budget.saturating_sub(price);
            let stop = emulator.run(1 + paid, &none, &mut observer);
            if paid < price {
                return stop;
            }
            let goes_on = repeated.is_some() && emulator.registers().rip == ip;
            if stop != Stop::Budget || !goes_on {
                return stop;
            }
        }
    }
}

/// Passes on only the first step.
struct First<'o, O> {
    inner: Option<&'o mut O>,
    record: &'o mut Record,
    registers: &'o Registers,
}

impl<O: Observer> Observer for First<'_, O> {
    fn step(&mut self, step: Step) {
        if let Some(inner) = self.inner.take() {
            self.record.note(self.registers);
            inner.step(step);
        }
    }
}

impl Machine for Interpreter<'_> {
    fn registers(&self) -> &Registers {
        self.emulator.registers()
    }

    fn registers_mut(&mut self) -> &mut Registers {
        self.emulator.registers_mut()
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.emulator.memory().read_slice(address, into)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.emulator.memory().write(address, bytes)
    }

    fn map(&mut self, range: Range<u64>, access: Access) {
        self.emulator.memory().map(range, access);
    }

    fn commit(&mut self) {
        self.end();
        self.emulator.memory().commit();
    }

    fn revert(&mut self) {
        self.end();
        self.emulator.memory().revert();
    }

    fn run(
        &mut self,
        budget: u64,
        breakpoints: &Breakpoints,
        observer: &mut impl Observer,
    ) -> Stop {
        let stop = match self.pace {
            Pace::Free => self.emulator.run(budget, breakpoints, observer),
            Pace::Stepped => self.run_stepped(budget, breakpoints, observer),
        };
        if let Stop::UnknownInstruction { .. } = stop {
            self.unknown = Some(stop.to_string());
        }
        stop
    }
}

impl Recorded for Interpreter<'_> {
    fn record(&mut self) -> &mut Record {
        &mut self.record
    }
}
