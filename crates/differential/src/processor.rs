//! The processor, which steps through the code in a process that has the memory of an image.

use std::{collections::BTreeSet, io, mem, ops::Range, rc::Rc};

use iced_x86::{Code as Op, Mnemonic};
use nix::sys::signal::Signal;
use rtops_cells::Machine;
use rtops_emulate::{
    Absent, Access, Breakpoints, Emulator, Fault, Observer, PAGE_SIZE, Page, Registers, Source,
    Step, Stop, Trap, Wanted, Why,
};
use rtops_image::{Contents, Image};

use crate::{
    code::{Code, Decoded},
    compare::Recorded,
    process::{END, Event, Process},
    record::Record,
};

const PAGE: u64 = PAGE_SIZE as u64;
/// The flag that a debugger sets to step.
const TRAP_FLAG: u64 = 1 << 8;
/// The bits of MXCSR that record exceptions. The interpreter never changes them.
const EXCEPTIONS: u32 = 0x3f;
/// The bits of MXCSR that a processor has, and the offset in a saved state at which it reports
/// them. Some processors have one more.
const MXCSR_MASK: u32 = 0xffff;
const MXCSR_MASK_PLACE: u64 = 28;

/// A processor whose memory is that of an image.
///
/// It makes no system calls for the code that it runs. The interpreter provides what a processor
/// says about itself, and its clock.
///
/// # Panics
///
/// [`Machine`] can't report a failure of the process itself, for example that it was killed.
pub(crate) struct Processor {
    /// The state after the last commit. It never runs code of the image.
    base: Process,
    /// The process that runs, a fork of `base`.
    current: Process,
    registers: Registers,
    /// Whether `registers` differ from those of the process.
    are_changed: bool,
    /// The regions of the image, sorted.
    regions: Vec<(Range<u64>, Access)>,
    /// What was mapped since; later mappings hide earlier ones.
    mapped: Vec<(Range<u64>, Access)>,
    committed: usize,
    /// Pages that may differ from those of `base`.
    written: BTreeSet<u64>,
    pub(crate) code: Code,
    record: Record,
}

impl Processor {
    /// Starts a process and fills it with memory.
    pub(crate) fn of(image: &impl Image, memory: &impl Source) -> io::Result<Self> {
        let base = Process::start()?;
        let mut regions = Vec::new();
        let is_known = |region: &&rtops_image::Region| region.contents == Contents::Present;
        for region in image.regions().iter().filter(is_known) {
            let range = region.range.clone();
            if range.end > END {
                continue;
            }
            let access = region.access;
            base.map(range.clone(), Access::READ_WRITE)?;
            let mut page = [0; PAGE_SIZE];
            for address in range.clone().step_by(PAGE_SIZE) {
                match memory.page(address, &mut page) {
                    Ok(_) if page == [0; PAGE_SIZE] => {}
                    Ok(_) => base.write(address, &page)?,
                    Err(_) => base.unmap(address..address + PAGE)?,
                }
            }
            base.protect(range.clone(), access)?;
            regions.push((range, access));
        }
        Ok(Self {
            current: base.fork()?,
            base,
            registers: Registers::default(),
            are_changed: true,
            regions,
            mapped: Vec::new(),
            committed: 0,
            written: BTreeSet::new(),
            code: Code::new(),
            record: Record::default(),
        })
    }

    fn fork(&self) -> Process {
        self.base.fork().expect("a process that can be forked")
    }

    fn access(&self, address: u64) -> Option<Access> {
        let of =
            |(range, access): &(Range<u64>, Access)| range.contains(&address).then_some(*access);
        let mapped = self.mapped.iter().rev().find_map(of);
        let behind = self
            .regions
            .partition_point(|(range, _)| range.start <= address);
        let region = || of(self.regions.get(behind.checked_sub(1)?)?);
        mapped.or_else(region)
    }

    /// Checks whether code may access all of these bytes in this way.
    fn check(&self, address: u64, length: usize, wanted: Wanted) -> Result<(), Fault> {
        let end = address.saturating_add(length as u64);
        let mut at = address;
        while at < end {
            let allowed = self.access(at).is_some_and(|access| match wanted {
                Wanted::Read => access.read,
                Wanted::Write => access.write,
                Wanted::Execute => access.execute,
            });
            if !allowed {
                return Err(Fault {
                    address: at,
                    wanted,
                    why: Why::NotAllowed,
                });
            }
            at = (at / PAGE + 1) * PAGE;
        }
        Ok(())
    }

    /// Decodes the instruction at `ip`, which runs next.
    fn decode(&mut self, ip: u64) -> Result<Rc<Decoded>, Fault> {
        self.check(ip, 1, Wanted::Execute)?;
        let read = |bytes: &mut [u8]| {
            self.current.read_some(ip, bytes).map_err(|_| Fault {
                address: ip,
                wanted: Wanted::Execute,
                why: Why::NotPresent,
            })
        };
        self.code.at(ip, read)
    }

    fn go(
        &mut self,
        mut budget: u64,
        breakpoints: &Breakpoints,
        observer: &mut impl Observer,
    ) -> io::Result<Stop> {
        let mut is_first = true;
        loop {
            let ip = self.registers.rip;
            let decoded = match self.decode(ip) {
                Ok(decoded) => decoded,
                Err(fault) => return Ok(Stop::Fault { fault, at: ip }),
            };
            if !is_first && breakpoints.contains(ip) {
                return Ok(Stop::Breakpoint(ip));
            }
            is_first = false;
            if budget == 0 {
                return Ok(Stop::Budget);
            }
            budget -= 1;
            self.record.note(&self.registers);
            observer.step(Step {
                ip,
                sp: self.registers.general[Registers::RSP],
                flow: decoded.flow(),
            });
            let left = self.registers.general[Registers::RCX];
            let price = decoded.price(left);
            if price > budget && !decoded.compares() {
                return Ok(Stop::Budget);
            }
            if let Some(stop) = self.step(&decoded)? {
                return Ok(stop);
            }
            let price = match decoded.compares() {
                true => decoded.price(left.wrapping_sub(self.registers.general[Registers::RCX])),
                false => price,
            };
            budget = budget.saturating_sub(price);
        }
    }

    /// Runs an instruction; returns the reason if it did not end normally.
    fn step(&mut self, decoded: &Decoded) -> io::Result<Option<Stop>> {
        let instruction = &decoded.instruction;
        let at = instruction.ip();
        let trap = |trap| Ok(Some(Stop::Trap { at, trap }));
        match instruction.mnemonic() {
            Mnemonic::Syscall => {
                let registers = self.registers_mut();
                registers.rip = instruction.next_ip();
                registers.general[Registers::RCX] = instruction.next_ip();
                registers.general[Registers::R11] = registers.rflags;
                return Ok(Some(Stop::SystemCall));
            }
            Mnemonic::Int => return trap(Trap::Interrupt(instruction.immediate8())),
            Mnemonic::Int1 => return trap(Trap::Undefined),
            Mnemonic::Int3 => return trap(Trap::Breakpoint),
            Mnemonic::Sysenter => return trap(Trap::OldSystemCall),
            _ if instruction.is_privileged() => return trap(Trap::Privileged),
            Mnemonic::Cpuid
            | Mnemonic::Rdtsc
            | Mnemonic::Rdtscp
            | Mnemonic::Rdpid
            | Mnemonic::Xgetbv => {
                self.ask_the_interpreter(decoded);
                return Ok(None);
            }
            _ => {}
        }
        let exceptions = self.registers.mxcsr & EXCEPTIONS;
        // Code that looks at them must find what the interpreter has.
        self.are_changed |= decoded.stores_mxcsr();
        if mem::take(&mut self.are_changed) {
            self.current.set_registers(&self.registers)?;
        }
        self.written.extend(decoded.pages(&self.registers));
        let saves_to = decoded.saves_to(&self.registers);
        let event = if decoded.repeats().is_some() {
            self.current.run_to(instruction.next_ip())?
        } else {
            self.current.step()?
        };
        let registers = &mut self.registers;
        self.current.update(registers, decoded.has_vectors)?;
        if !decoded.loads_mxcsr() {
            registers.mxcsr = registers.mxcsr & !EXCEPTIONS | exceptions;
        }
        if let Event::Signal(signal, address) = event {
            return Ok(Some(stop(signal, address, at)));
        }
        if let Some(at) = saves_to {
            let mask = at + MXCSR_MASK_PLACE;
            self.current.write(mask, &MXCSR_MASK.to_le_bytes())?;
        }
        if matches!(instruction.code(), Op::Pushfq | Op::Pushfw) {
            self.hide_trap_flag()?;
        }
        Ok(None)
    }

    /// Runs an instruction whose result depends on where and when it runs,
    /// as the interpreter would.
    fn ask_the_interpreter(&mut self, decoded: &Decoded) {
        let mut emulator = Emulator::new(Single(decoded));
        *emulator.registers_mut() = self.registers.clone();
        emulator.run(1, &Breakpoints::default(), &mut ());
        *self.registers_mut() = emulator.registers().clone();
    }

    /// Removes the flag that makes it step from flags that it has pushed.
    fn hide_trap_flag(&mut self) -> io::Result<()> {
        let at = self.registers.general[Registers::RSP];
        let mut flags = [0; 2];
        self.current.read(at, &mut flags)?;
        let flags = u16::from_le_bytes(flags) & !(TRAP_FLAG as u16);
        self.current.write(at, &flags.to_le_bytes())
    }

    fn end(&mut self) {
        self.record.watched.append(&mut self.written);
        let written = self.record.watched.len();
        self.record.end(&self.registers, written, |address, page| {
            self.current.read(address, page).is_ok()
        });
    }
}

/// Returns the end of a run that a signal stopped.
fn stop(signal: Signal, address: u64, at: u64) -> Stop {
    let trap = |trap| Stop::Trap { at, trap };
    match signal {
        Signal::SIGSEGV | Signal::SIGBUS => Stop::Fault {
            fault: Fault {
                address,
                wanted: Wanted::Read,
                why: Why::NotAllowed,
            },
            at,
        },
        Signal::SIGFPE => trap(Trap::Divide),
        Signal::SIGILL => trap(Trap::Undefined),
        other => panic!("the traced process got {other} at {at:#x}"),
    }
}

/// The memory of one instruction.
struct Single<'d>(&'d Decoded);

impl Source for Single<'_> {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        let start = self.0.instruction.ip();
        for (byte, at) in self.0.bytes.iter().zip(start..) {
            if let Some(place) = at
                .checked_sub(address)
                .and_then(|n| into.get_mut(n as usize))
            {
                *place = *byte;
            }
        }
        Ok(Access::READ_EXECUTE)
    }
}

impl Machine for Processor {
    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn registers_mut(&mut self) -> &mut Registers {
        self.are_changed = true;
        &mut self.registers
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.check(address, into.len(), Wanted::Read)?;
        self.current.read(address, into).map_err(|_| Fault {
            address,
            wanted: Wanted::Read,
            why: Why::NotPresent,
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.check(address, bytes.len(), Wanted::Write)?;
        let last = address + bytes.len().saturating_sub(1) as u64;
        let pages = (address / PAGE..=last / PAGE).map(|number| number * PAGE);
        self.written.extend(pages);
        self.current.write(address, bytes).map_err(|_| Fault {
            address,
            wanted: Wanted::Write,
            why: Why::NotPresent,
        })
    }

    fn map(&mut self, range: Range<u64>, access: Access) {
        self.current
            .map(range.clone(), access)
            .expect("memory of the traced process");
        self.mapped.push((range, access));
    }

    fn commit(&mut self) {
        self.end();
        mem::swap(&mut self.base, &mut self.current);
        self.current = self.fork();
        self.committed = self.mapped.len();
        self.are_changed = true;
    }

    fn revert(&mut self) {
        self.end();
        self.current = self.fork();
        self.mapped.truncate(self.committed);
        self.are_changed = true;
    }

    fn run(
        &mut self,
        budget: u64,
        breakpoints: &Breakpoints,
        observer: &mut impl Observer,
    ) -> Stop {
        self.go(budget, breakpoints, observer)
            .expect("a traced process that obeys")
    }
}

impl Recorded for Processor {
    fn record(&mut self) -> &mut Record {
        &mut self.record
    }
}
