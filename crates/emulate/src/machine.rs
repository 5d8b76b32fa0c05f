//! The state that instructions work on.

use crate::{
    flags::{Flags, truncate},
    memory::{Faulted, Memory},
    op::{FS_BASE, GS_BASE, Kind, Op, Rounding, Traits},
    registers::Registers,
    run::Trap,
    source::{Fault, Wanted, Why},
};

/// Why an instruction did not complete normally. Details are kept
/// elsewhere, which keeps this small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// See [`Memory::take_fault`].
    Fault,
    /// The instruction is not supported, or not in this state.
    Unknown(Unsupported),
    Trap(Trap),
    SystemCall,
    /// A repeated instruction used up the budget before it was done.
    Budget,
}

/// The part of an instruction that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsupported {
    /// The whole instruction.
    Instruction,
    /// The mode that the control register of the unit asks for.
    Control,
    /// These operands.
    Operands,
}

impl From<Faulted> for Exit {
    fn from(_: Faulted) -> Self {
        Self::Fault
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Exit>;

/// The state of a processor, in the form that instructions use.
pub(crate) struct Machine<'s> {
    /// The general registers, then 0, then the bases of `fs` and `gs`; the rest is 0. Every address
    /// is a sum of words: a part that it lacks is word 16, which is 0.
    pub(crate) words: [u64; 32],
    /// The address of the next instruction.
    pub(crate) ip: u64,
    pub(crate) flags: Flags,
    /// The other registers. While instructions run, the fields above hold the general registers,
    /// `rip`, the flags and the segment bases.
    pub(crate) registers: Registers,
    pub(crate) memory: Memory<'s>,
    /// How many more instructions may run.
    pub(crate) budget: u64,
}

/// The handler of instructions that have no other.
pub(crate) fn unknown(_: &mut Machine<'_>, _: &Op) -> Result {
    Err(Exit::Unknown(Unsupported::Instruction))
}

impl<'s> Machine<'s> {
    pub(crate) fn new(memory: Memory<'s>) -> Self {
        Self {
            words: [0; 32],
            ip: 0,
            flags: Flags::new(0),
            registers: Registers::default(),
            memory,
            budget: 0,
        }
    }

    /// Copies the registers to the fields that instructions use.
    pub(crate) fn enter(&mut self) {
        let registers = &self.registers;
        self.words[..16].copy_from_slice(&registers.general);
        self.words[FS_BASE as usize] = registers.fs_base;
        self.words[GS_BASE as usize] = registers.gs_base;
        self.ip = registers.rip;
        self.flags = Flags::new(registers.rflags);
    }

    /// Copies those fields back to the registers.
    pub(crate) fn leave(&mut self) {
        let registers = &mut self.registers;
        registers.general.copy_from_slice(&self.words[..16]);
        registers.fs_base = self.words[FS_BASE as usize];
        registers.gs_base = self.words[GS_BASE as usize];
        registers.rip = self.ip;
        registers.rflags = self.flags.rflags();
    }

    /// Returns a word by its number. The mask avoids a bounds check.
    #[inline]
    pub(crate) fn word(&self, number: u8) -> u64 {
        self.words[usize::from(number & 31)]
    }

    #[inline]
    pub(crate) fn word_mut(&mut self, number: u8) -> &mut u64 {
        &mut self.words[usize::from(number & 15)]
    }

    /// Returns a general register of `bits` bits, zero-extended.
    #[inline]
    pub(crate) fn get(&self, bits: u32, number: u8) -> u64 {
        match bits {
            64 => self.word(number),
            8 if number >= 16 => self.word(number & 15) >> 8 & 0xff,
            _ => truncate(self.word(number), bits),
        }
    }

    /// Sets a general register of `bits` bits. 32 bits clear the upper half; fewer
    /// leave the rest unchanged.
    #[inline]
    pub(crate) fn set(&mut self, bits: u32, number: u8, value: u64) {
        let word = self.word_mut(number);
        match bits {
            64 => *word = value,
            32 => *word = value & 0xffff_ffff,
            16 => *word = *word & !0xffff | value & 0xffff,
            _ if number >= 16 => *word = *word & !0xff00 | (value & 0xff) << 8,
            _ => *word = *word & !0xff | value & 0xff,
        }
    }

    /// Returns the address of the memory operand, without the base of its segment.
    #[inline]
    pub(crate) fn offset(&self, op: &Op) -> u64 {
        let index = self.word(op.index) << (op.scale & 63);
        let address = op
            .displacement
            .wrapping_add(self.word(op.base))
            .wrapping_add(index);
        if op.traits.has(Traits::ADDRESS32) {
            address & 0xffff_ffff
        } else {
            address
        }
    }

    /// Returns the address of the memory operand.
    #[inline]
    pub(crate) fn address(&self, op: &Op) -> u64 {
        self.offset(op).wrapping_add(self.word(op.segment))
    }

    /// Reads a number of `bits` bits, zero-extended.
    #[inline]
    pub(crate) fn load(&mut self, bits: u32, address: u64) -> Result<u64> {
        Ok(match bits {
            64 => u64::from_le_bytes(self.memory.load(address)?),
            32 => u64::from(u32::from_le_bytes(self.memory.load(address)?)),
            16 => u64::from(u16::from_le_bytes(self.memory.load(address)?)),
            _ => u64::from(u8::from_le_bytes(self.memory.load(address)?)),
        })
    }

    #[inline]
    pub(crate) fn store(&mut self, bits: u32, address: u64, value: u64) -> Result {
        match bits {
            64 => self.memory.store(address, value.to_le_bytes())?,
            32 => self.memory.store(address, (value as u32).to_le_bytes())?,
            16 => self.memory.store(address, (value as u16).to_le_bytes())?,
            _ => self.memory.store(address, (value as u8).to_le_bytes())?,
        }
        Ok(())
    }

    /// Returns the value of an operand, in the size of the operation.
    #[inline]
    pub(crate) fn operand(&mut self, op: &Op, operand: usize) -> Result<u64> {
        self.sized_operand(op, operand, u32::from(op.bits))
    }

    /// Returns the value of an operand of `bits` bits.
    #[inline]
    pub(crate) fn sized_operand(&mut self, op: &Op, operand: usize, bits: u32) -> Result<u64> {
        match op.kind[operand & 3] {
            Kind::Register => Ok(self.get(bits, op.register[operand & 3])),
            Kind::Memory => self.load(bits, self.address(op)),
            Kind::Immediate => Ok(truncate(op.immediate, bits)),
            Kind::None => Err(Exit::Unknown(Unsupported::Operands)),
        }
    }

    /// Sets an operand, in the size of the operation.
    #[inline]
    pub(crate) fn set_operand(&mut self, op: &Op, operand: usize, value: u64) -> Result {
        let bits = u32::from(op.bits);
        match op.kind[operand & 3] {
            Kind::Register => {
                self.set(bits, op.register[operand & 3], value);
                Ok(())
            }
            Kind::Memory => self.store(bits, self.address(op), value),
            Kind::Immediate | Kind::None => Err(Exit::Unknown(Unsupported::Operands)),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, bits: u32, value: u64) -> Result {
        let sp = self.words[Registers::RSP].wrapping_sub(u64::from(bits / 8));
        self.store(bits, sp, value)?;
        self.words[Registers::RSP] = sp;
        Ok(())
    }

    #[inline]
    pub(crate) fn pop(&mut self, bits: u32) -> Result<u64> {
        let sp = self.words[Registers::RSP];
        let value = self.load(bits, sp)?;
        self.words[Registers::RSP] = sp.wrapping_add(u64::from(bits / 8));
        Ok(value)
    }

    /// Fails if the address is not a multiple of `alignment`, a power of two.
    #[inline]
    pub(crate) fn check_aligned(&mut self, address: u64, alignment: u64, wanted: Wanted) -> Result {
        if address & (alignment - 1) == 0 {
            return Ok(());
        }
        Err(self
            .memory
            .fail(Fault {
                address,
                wanted,
                why: Why::Misaligned,
            })
            .into())
    }

    /// Fails unless MXCSR has the default modes: round to nearest, all
    /// exceptions masked, denormals kept.
    #[inline]
    pub(crate) fn check_default_floats(&self) -> Result {
        if self.registers.mxcsr & 0xffc0 == 0x1f80 {
            Ok(())
        } else {
            Err(Exit::Unknown(Unsupported::Control))
        }
    }

    /// Returns the rounding mode of conversions; fails unless MXCSR has the default modes for
    /// denormals and exceptions.
    pub(crate) fn rounding(&self, op: &Op) -> Result<Rounding> {
        if self.registers.mxcsr & 0x9fc0 != 0x1f80 {
            return Err(Exit::Unknown(Unsupported::Control));
        }
        Ok(match op.rounding {
            0 => Rounding::from_bits(self.registers.mxcsr >> 13),
            own => Rounding::from_bits(u32::from(own) - 1),
        })
    }
}
