//! A decoded instruction, ready to run.

use iced_x86::{Code, Instruction, OpKind, Register};

use crate::machine::{Machine, Result};

/// Runs one instruction.
pub(crate) type Handler = for<'s> fn(&mut Machine<'s>, &Op) -> Result;

/// What a vector instruction computes from its lanes or elements.
#[derive(Clone, Copy)]
pub(crate) enum Kernel {
    None,
    /// From one lane.
    One(fn(u128) -> u128),
    /// From one lane and the immediate.
    OneImmediate(fn(u128, u8) -> u128),
    /// From two lanes.
    Two(fn(u128, u128) -> u128),
    /// From two lanes and the immediate.
    TwoImmediate(fn(u128, u128, u8) -> u128),
    /// From three lanes, the first from the destination.
    Three(fn(u128, u128, u128) -> u128),
    /// From three lanes as above, and the immediate.
    ThreeImmediate(fn(u128, u128, u128, u8) -> u128),
    /// From an element to an element of another size.
    Element(fn(u64) -> u64),
    /// From an element to another, if the rounding mode matters.
    Rounded(fn(u64, Rounding) -> u64),
}

/// How a result is rounded, numbered as in MXCSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    Zero,
}

impl Rounding {
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// The kind of an explicit operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Register,
    Memory,
    Immediate,
}

/// The effect of an instruction on the flow of control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next instruction follows.
    Next,
    /// A jump, conditional or not.
    Jump,
    /// A call.
    Call,
    /// A return from a call.
    Return,
}

/// A set of properties of an [`Op`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traits(u16);

impl Traits {
    /// The bits of the destination register above the result stay unchanged, as in all
    /// encodings but VEX and EVEX.
    pub(crate) const LEGACY: Self = Self(1);
    /// Masked elements become zero.
    pub(crate) const ZEROING: Self = Self(1 << 1);
    /// The memory operand is one element, used for all.
    pub(crate) const BROADCAST: Self = Self(1 << 2);
    /// Only the lowest element is computed.
    pub(crate) const SCALAR: Self = Self(1 << 3);
    /// Rounds and raises exceptions as MXCSR says.
    pub(crate) const FLOAT: Self = Self(1 << 4);
    /// The memory operand must be aligned to its size.
    pub(crate) const ALIGNED: Self = Self(1 << 5);
    /// Addresses have 32 bits.
    pub(crate) const ADDRESS32: Self = Self(1 << 6);
    /// Repeated; comparisons are repeated while equal.
    pub(crate) const REPEATED: Self = Self(1 << 7);
    /// Repeated while not equal.
    pub(crate) const REPEATED_UNEQUAL: Self = Self(1 << 8);
    /// The whole memory operand is read, whatever the mask: results depend on other elements.
    pub(crate) const WHOLE: Self = Self(1 << 10);
    /// All lanes use the lowest lane of the second source.
    pub(crate) const UNIFORM: Self = Self(1 << 9);

    #[inline]
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// A decoded instruction: its handler and its operands, resolved as far as they do
/// not depend on registers.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    pub(crate) run: Handler,
    pub(crate) kernel: Kernel,
    /// Added to the registers of an address; if relative to `rip`, it is the address.
    pub(crate) displacement: u64,
    pub(crate) immediate: u64,
    /// Numbers of registers in [`Machine::words`].
    pub(crate) base: u8,
    pub(crate) index: u8,
    pub(crate) segment: u8,
    /// The index is shifted left by this number of bits.
    pub(crate) scale: u8,
    /// The register of each operand: its number, plus 16 for `ah`, `ch`, `dh` and `bh`.
    pub(crate) register: [u8; 4],
    pub(crate) kind: [Kind; 4],
    /// The size of the operation, in bits: that of the first operand.
    pub(crate) bits: u8,
    /// The size of the memory operand, in bytes, or 0.
    pub(crate) memory_size: u16,
    /// The number of 128-bit lanes.
    pub(crate) lanes: u8,
    /// The size of an element of the destination, in bytes.
    pub(crate) element: u8,
    /// The size of an element of the source, in bytes.
    pub(crate) from: u8,
    /// The number of bits of the immediate that each lane uses up.
    pub(crate) immediate_bits: u8,
    /// The number of the mask register, or 0 for none.
    pub(crate) mask: u8,
    /// The rounding mode that the instruction itself asks for: 1 to 4, or 0 for none.
    pub(crate) rounding: u8,
    pub(crate) traits: Traits,
    pub(crate) flow: Flow,
    pub(crate) length: u8,
    pub(crate) code: Code,
}

/// The number in [`Machine::words`] of a word that is always 0.
pub(crate) const NO_REGISTER: u8 = 16;
/// The number in [`Machine::words`] of the base of `fs`.
pub(crate) const FS_BASE: u8 = 17;
/// The number in [`Machine::words`] of the base of `gs`.
pub(crate) const GS_BASE: u8 = 18;

impl Op {
    /// Resolves the operands. The instruction has no handler yet, so it counts as unknown.
    pub(crate) fn new(instruction: &Instruction) -> Self {
        let mut op = Self {
            run: crate::machine::unknown,
            kernel: Kernel::None,
            displacement: 0,
            immediate: 0,
            base: NO_REGISTER,
            index: NO_REGISTER,
            segment: NO_REGISTER,
            scale: 0,
            register: [0; 4],
            kind: [Kind::None; 4],
            bits: 0,
            memory_size: 0,
            lanes: 1,
            element: 0,
            from: 0,
            immediate_bits: 0,
            mask: 0,
            rounding: 0,
            traits: Traits::default(),
            flow: Flow::Next,
            length: instruction.len() as u8,
            code: instruction.code(),
        };
        for operand in 0..instruction.op_count().min(4) {
            op.set_operand(instruction, operand);
        }
        op.set_bits(instruction);
        op
    }

    fn set_operand(&mut self, instruction: &Instruction, operand: u32) {
        let at = operand as usize;
        match instruction.op_kind(operand) {
            OpKind::Register => {
                self.kind[at] = Kind::Register;
                self.register[at] = register_number(instruction.op_register(operand));
            }
            OpKind::Memory => {
                self.kind[at] = Kind::Memory;
                self.set_address(instruction);
            }
            OpKind::NearBranch64 => {
                self.kind[at] = Kind::Immediate;
                self.immediate = instruction.near_branch64();
            }
            _ => {
                if let Ok(immediate) = instruction.try_immediate(operand) {
                    self.kind[at] = Kind::Immediate;
                    self.immediate = immediate;
                }
            }
        }
    }

    fn set_address(&mut self, instruction: &Instruction) {
        self.displacement = instruction.memory_displacement64();
        let base = instruction.memory_base();
        if base.is_gpr() {
            self.base = base.number() as u8;
        }
        let index = instruction.memory_index();
        if index.is_gpr() {
            self.index = index.number() as u8;
        }
        self.scale = instruction.memory_index_scale().trailing_zeros() as u8;
        self.segment = match instruction.segment_prefix() {
            Register::FS => FS_BASE,
            Register::GS => GS_BASE,
            _ => NO_REGISTER,
        };
        let narrow = |register: Register| register.is_gpr32() || register == Register::EIP;
        // Without a register, the displacement is the whole address: iced
        // extends it as the prefix asks.
        if narrow(base) || narrow(index) {
            self.traits.add(Traits::ADDRESS32);
        }
        self.memory_size = instruction.memory_size().size() as u16;
    }

    fn set_bits(&mut self, instruction: &Instruction) {
        let of = |operand: u32| match instruction.op_kind(operand) {
            OpKind::Register => instruction.op_register(operand).size(),
            _ => instruction.memory_size().size(),
        };
        if instruction.op_count() > 0 {
            self.bits = (of(0) * 8).min(64) as u8;
        }
        if self.bits == 0 {
            self.bits = 64;
        }
    }

    /// Returns whether the first operand is a register.
    pub(crate) fn writes_register(&self) -> bool {
        self.kind[0] == Kind::Register
    }
}

fn register_number(register: Register) -> u8 {
    if register.is_gpr8() {
        let number = register as u8 - Register::AL as u8;
        // iced's order: al … bl, ah … bh, spl, bpl, sil, dil, r8b …
        return match number {
            0..4 => number,
            4..8 => number - 4 + 16,
            _ => number - 4,
        };
    }
    register.number() as u8
}
