//! x87 instructions, as compilers use them for `long double` and for returning numbers.
//!
//! Instructions that would raise an unmasked exception, round to less than 64 bits, read an empty
//! register or overflow the stack are not supported.

use std::cmp::Ordering;

use iced_x86::{Code, Instruction, MemorySize, Mnemonic as M, Register};

use crate::{
    machine::{Exit, Machine, Result, Unsupported},
    op::{Handler, Kind, Op, Rounding},
    registers::Registers,
    x87::{Extended, X87},
};

// Binary operations on the destination and the source, in this order.
const ADD: u8 = 0;
const SUB: u8 = 1;
const REVERSED_SUB: u8 = 2;
const MUL: u8 = 3;
const DIV: u8 = 4;
const REVERSED_DIV: u8 = 5;

// Formats in memory.
const SINGLE: u8 = 1;
const DOUBLE: u8 = 2;
const EXTENDED: u8 = 3;
const INTEGER16: u8 = 4;
const INTEGER32: u8 = 5;
const INTEGER64: u8 = 6;

// The condition codes in the status word.
const C0: u16 = 1 << 8;
const C1: u16 = 1 << 9;
const C2: u16 = 1 << 10;
const C3: u16 = 1 << 14;

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    op.from = match instruction.memory_size() {
        MemorySize::Float32 => SINGLE,
        MemorySize::Float64 => DOUBLE,
        MemorySize::Float80 => EXTENDED,
        MemorySize::Int16 => INTEGER16,
        MemorySize::Int32 => INTEGER32,
        MemorySize::Int64 => INTEGER64,
        _ => 0,
    };
    arithmetic(instruction, op)
        .or_else(|| moves(instruction, op))
        .or_else(|| comparisons(instruction, op))
        .or_else(|| {
            Some(match instruction.mnemonic() {
                M::Fchs => change_sign,
                M::Fabs => absolute,
                M::Fsqrt => square_root,
                M::Frndint => round,
                M::Ftst => test,
                M::Fxam => examine,
                M::Fldcw => load_control,
                M::Fnstcw => store_control,
                M::Fnstsw if op.kind[0] == Kind::Memory => store_status,
                M::Fnstsw => status_to_ax,
                M::Fninit => initialize,
                M::Fnclex => clear_exceptions,
                M::Fincstp => rotate::<1>,
                M::Fdecstp => rotate::<7>,
                M::Ffree => free,
                M::Emms => empty_all,
                _ => return None,
            })
        })
}

fn arithmetic(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let (handler, pops): (Handler, u64) = match instruction.mnemonic() {
        M::Fadd | M::Fiadd => (calculate::<ADD>, 0),
        M::Faddp => (calculate::<ADD>, 1),
        M::Fsub | M::Fisub => (calculate::<SUB>, 0),
        M::Fsubp => (calculate::<SUB>, 1),
        M::Fsubr | M::Fisubr => (calculate::<REVERSED_SUB>, 0),
        M::Fsubrp => (calculate::<REVERSED_SUB>, 1),
        M::Fmul | M::Fimul => (calculate::<MUL>, 0),
        M::Fmulp => (calculate::<MUL>, 1),
        M::Fdiv | M::Fidiv => (calculate::<DIV>, 0),
        M::Fdivp => (calculate::<DIV>, 1),
        M::Fdivr | M::Fidivr => (calculate::<REVERSED_DIV>, 0),
        M::Fdivrp => (calculate::<REVERSED_DIV>, 1),
        _ => return None,
    };
    op.immediate = pops;
    Some(handler)
}

fn moves(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    op.immediate = u64::from(matches!(
        instruction.mnemonic(),
        M::Fstp | M::Fistp | M::Fisttp
    ));
    let in_memory = op.kind[0] == Kind::Memory;
    Some(match instruction.mnemonic() {
        M::Fld | M::Fild => load,
        M::Fst | M::Fstp | M::Fist | M::Fistp if in_memory => store::<false>,
        M::Fisttp => store::<true>,
        M::Fst | M::Fstp => copy,
        M::Fxch => exchange,
        M::Fld1 => constant::<0>,
        M::Fldz => constant::<1>,
        M::Fldpi => constant::<2>,
        M::Fldl2e => constant::<3>,
        M::Fldl2t => constant::<4>,
        M::Fldlg2 => constant::<5>,
        M::Fldln2 => constant::<6>,
        M::Fcmovb => conditional::<2>,
        M::Fcmovnb => conditional::<3>,
        M::Fcmove => conditional::<4>,
        M::Fcmovne => conditional::<5>,
        M::Fcmovbe => conditional::<6>,
        M::Fcmovnbe => conditional::<7>,
        M::Fcmovu => conditional::<10>,
        M::Fcmovnu => conditional::<11>,
        _ => return None,
    })
}

fn comparisons(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let (handler, pops): (Handler, u64) = match instruction.mnemonic() {
        M::Fcom | M::Fucom | M::Ficom => (compare, 0),
        M::Fcomp | M::Fucomp | M::Ficomp => (compare, 1),
        M::Fcompp | M::Fucompp => (compare, 2),
        M::Fcomi | M::Fucomi => (compare_flags, 0),
        M::Fcomip | M::Fucomip => (compare_flags, 1),
        _ => return None,
    };
    // Undocumented duplicates, which other processors need not support.
    if matches!(
        instruction.code(),
        Code::Fcom_st0_sti_DCD0 | Code::Fcomp_st0_sti_DCD8 | Code::Fcomp_st0_sti_DED0
    ) {
        return None;
    }
    if op.kind[0] == Kind::None {
        // `fcompp` compares with `st(1)`.
        op.register[1] = 1;
        op.kind[1] = Kind::Register;
    } else if op.kind[0] == Kind::Register && instruction.op1_register() == Register::None {
        op.register[1] = op.register[0];
        op.kind[1] = Kind::Register;
    }
    op.immediate = pops;
    Some(handler)
}

const UNSUPPORTED: Exit = Exit::Unknown(Unsupported::Operands);

impl X87 {
    fn number(&self, index: u8) -> usize {
        usize::from(self.top.wrapping_add(index) & 7)
    }

    /// Returns `st(index)`; fails if it is empty or has an unsupported encoding.
    fn get(&self, index: u8) -> Result<Extended> {
        let number = self.number(index);
        let value = self.registers[number];
        if self.used >> number & 1 == 0 || !value.is_supported() {
            return Err(UNSUPPORTED);
        }
        Ok(value)
    }

    fn set(&mut self, index: u8, value: Extended) {
        let number = self.number(index);
        self.registers[number] = value;
        self.used |= 1 << number;
    }

    fn push(&mut self, value: Extended) -> Result {
        if self.used >> self.number(7) & 1 != 0 {
            return Err(UNSUPPORTED);
        }
        self.top = self.top.wrapping_sub(1) & 7;
        self.set(0, value);
        self.status &= !C1;
        Ok(())
    }

    fn pop(&mut self, times: u64) {
        for _ in 0..times {
            self.used &= !(1 << self.number(0));
            self.top = (self.top + 1) & 7;
        }
    }

    fn rounding(&self) -> Rounding {
        Rounding::from_bits(u32::from(self.control) >> 10)
    }

    /// Fails unless all exceptions are masked.
    fn check_masked(&self) -> Result {
        if self.control & 0x3f == 0x3f {
            Ok(())
        } else {
            Err(Exit::Unknown(Unsupported::Control))
        }
    }

    /// Fails unless all exceptions are masked and results have 64 bits of precision.
    fn check_control(&self) -> Result {
        self.check_masked()?;
        if self.control >> 8 & 3 == 3 {
            Ok(())
        } else {
            Err(Exit::Unknown(Unsupported::Control))
        }
    }
}

/// Reads the memory operand as a number.
fn memory(m: &mut Machine<'_>, op: &Op) -> Result<Extended> {
    let address = m.address(op);
    Ok(match op.from {
        SINGLE => Extended::from_single(u32::from_le_bytes(m.memory.load(address)?)),
        DOUBLE => Extended::from_double(u64::from_le_bytes(m.memory.load(address)?)),
        EXTENDED => {
            let bytes: [u8; 10] = m.memory.load(address)?;
            let (significand, exponent) = bytes.split_at(8);
            Extended {
                significand: significand
                    .iter()
                    .rev()
                    .fold(0, |all, &byte| all << 8 | u64::from(byte)),
                exponent: u16::from(exponent[0]) | u16::from(exponent[1]) << 8,
            }
        }
        INTEGER16 => Extended::from_integer(i16::from_le_bytes(m.memory.load(address)?).into()),
        INTEGER32 => Extended::from_integer(i32::from_le_bytes(m.memory.load(address)?).into()),
        INTEGER64 => Extended::from_integer(i64::from_le_bytes(m.memory.load(address)?)),
        _ => return Err(UNSUPPORTED),
    })
}

fn calculate<const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    m.registers.x87.check_control()?;
    let (to, source) = match op.kind[0] {
        Kind::Memory => (0, memory(m, op)?),
        _ => (op.register[0], m.registers.x87.get(op.register[1])?),
    };
    let x87 = &mut m.registers.x87;
    let (a, mode) = (x87.get(to)?, x87.rounding());
    let result = match OP {
        ADD => a.add(source, mode),
        SUB => subtract(a, source, mode),
        REVERSED_SUB => subtract(source, a, mode),
        MUL => a.multiply(source, mode),
        DIV => a.divide(source, mode),
        _ => source.divide(a, mode),
    };
    x87.set(to, result);
    x87.pop(op.immediate);
    Ok(())
}

fn subtract(a: Extended, b: Extended, mode: Rounding) -> Extended {
    // A NaN keeps its sign.
    a.add(if b.is_nan() { b } else { b.negate() }, mode)
}

fn load(m: &mut Machine<'_>, op: &Op) -> Result {
    m.registers.x87.check_masked()?;
    let value = match op.kind[0] {
        Kind::Memory => memory(m, op)?,
        _ => m.registers.x87.get(op.register[0])?,
    };
    m.registers.x87.push(value)
}

fn store<const TRUNCATE: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let x87 = &m.registers.x87;
    x87.check_masked()?;
    let mode = if TRUNCATE {
        Rounding::Zero
    } else {
        x87.rounding()
    };
    let (value, address) = (x87.get(0)?, m.address(op));
    match op.from {
        SINGLE => m
            .memory
            .store(address, value.to_single(mode).to_le_bytes())?,
        DOUBLE => m
            .memory
            .store(address, value.to_double(mode).to_le_bytes())?,
        EXTENDED => {
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&value.significand.to_le_bytes());
            bytes[8..].copy_from_slice(&value.exponent.to_le_bytes());
            m.memory.store(address, bytes)?;
        }
        INTEGER16 => m
            .memory
            .store(address, (value.to_integer(16, mode) as i16).to_le_bytes())?,
        INTEGER32 => m
            .memory
            .store(address, (value.to_integer(32, mode) as i32).to_le_bytes())?,
        INTEGER64 => m
            .memory
            .store(address, value.to_integer(64, mode).to_le_bytes())?,
        _ => return Err(UNSUPPORTED),
    }
    m.registers.x87.pop(op.immediate);
    Ok(())
}

fn copy(m: &mut Machine<'_>, op: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    let value = x87.get(0)?;
    x87.set(op.register[0], value);
    x87.pop(op.immediate);
    Ok(())
}

fn exchange(m: &mut Machine<'_>, op: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    let (a, b) = (x87.get(0)?, x87.get(op.register[1])?);
    x87.set(0, b);
    x87.set(op.register[1], a);
    x87.status &= !C1;
    Ok(())
}

fn constant<const WHICH: usize>(m: &mut Machine<'_>, _: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    // All constants but 0 and 1 depend on the rounding mode; these are rounded to nearest.
    if WHICH > 1 && x87.rounding() != Rounding::Nearest {
        return Err(Exit::Unknown(Unsupported::Control));
    }
    x87.push(match WHICH {
        0 => Extended::ONE,
        1 => Extended::zero(false),
        2 => Extended {
            significand: 0xc90f_daa2_2168_c235,
            exponent: 0x4000,
        },
        3 => Extended {
            significand: 0xb8aa_3b29_5c17_f0bc,
            exponent: 0x3fff,
        },
        4 => Extended {
            significand: 0xd49a_784b_cd1b_8afe,
            exponent: 0x4000,
        },
        5 => Extended {
            significand: 0x9a20_9a84_fbcf_f799,
            exponent: 0x3ffd,
        },
        _ => Extended {
            significand: 0xb172_17f7_d1cf_79ac,
            exponent: 0x3ffe,
        },
    })
}

fn conditional<const CONDITION: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.registers.x87.get(op.register[1])?;
    m.registers.x87.get(0)?;
    if m.flags.holds::<CONDITION>() {
        m.registers.x87.set(0, value);
    }
    Ok(())
}

/// Compares `st(0)` with the other operand.
fn order(m: &mut Machine<'_>, op: &Op) -> Result<Option<Ordering>> {
    m.registers.x87.check_masked()?;
    let other = match op.kind[0] {
        Kind::Memory => memory(m, op)?,
        _ => m.registers.x87.get(op.register[1])?,
    };
    Ok(m.registers.x87.get(0)?.compare(other))
}

fn compare(m: &mut Machine<'_>, op: &Op) -> Result {
    let order = order(m, op)?;
    set_conditions(&mut m.registers.x87, order);
    m.registers.x87.pop(op.immediate);
    Ok(())
}

fn set_conditions(x87: &mut X87, order: Option<Ordering>) {
    let conditions = match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => C0,
        Some(Ordering::Equal) => C3,
        None => C0 | C2 | C3,
    };
    x87.status = x87.status & !(C0 | C1 | C2 | C3) | conditions;
}

fn compare_flags(m: &mut Machine<'_>, op: &Op) -> Result {
    let (zero, parity, carry) = match order(m, op)? {
        Some(order) => (order.is_eq(), false, order.is_lt()),
        None => (true, true, true),
    };
    m.flags.set_comparison(zero, parity, carry);
    m.registers.x87.pop(op.immediate);
    Ok(())
}

fn change_sign(m: &mut Machine<'_>, _: &Op) -> Result {
    let value = m.registers.x87.get(0)?;
    m.registers.x87.set(0, value.negate());
    Ok(())
}

fn absolute(m: &mut Machine<'_>, _: &Op) -> Result {
    let value = m.registers.x87.get(0)?;
    m.registers.x87.set(0, value.absolute());
    Ok(())
}

fn square_root(m: &mut Machine<'_>, _: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    x87.check_control()?;
    let root = x87.get(0)?.square_root(x87.rounding());
    x87.set(0, root);
    Ok(())
}

fn round(m: &mut Machine<'_>, _: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    x87.check_masked()?;
    let rounded = x87.get(0)?.round_to_integer(x87.rounding());
    x87.set(0, rounded);
    Ok(())
}

fn test(m: &mut Machine<'_>, _: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    x87.check_masked()?;
    let order = x87.get(0)?.compare(Extended::zero(false));
    set_conditions(x87, order);
    Ok(())
}

/// Classifies the number in `st(0)`.
fn examine(m: &mut Machine<'_>, _: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    let number = x87.number(0);
    let value = x87.registers[number];
    let kind = if x87.used >> number & 1 == 0 {
        C3 | C0
    } else if !value.is_supported() {
        0
    } else if value.is_nan() {
        C0
    } else if value.is_infinite() {
        C2 | C0
    } else if value.is_zero() {
        C3
    } else if value.is_denormal() {
        C3 | C2
    } else {
        C2
    };
    let sign = if value.is_negative() { C1 } else { 0 };
    x87.status = x87.status & !(C0 | C1 | C2 | C3) | kind | sign;
    Ok(())
}

fn load_control(m: &mut Machine<'_>, op: &Op) -> Result {
    // Bit 6 is always set.
    m.registers.x87.control = m.load(16, m.address(op))? as u16 & 0x1f7f | 0x40;
    Ok(())
}

fn store_control(m: &mut Machine<'_>, op: &Op) -> Result {
    m.store(16, m.address(op), m.registers.x87.control.into())
}

fn status(m: &Machine<'_>) -> u64 {
    let x87 = &m.registers.x87;
    (x87.status & !0x3800 | u16::from(x87.top & 7) << 11).into()
}

fn store_status(m: &mut Machine<'_>, op: &Op) -> Result {
    m.store(16, m.address(op), status(m))
}

fn status_to_ax(m: &mut Machine<'_>, _: &Op) -> Result {
    m.set(16, Registers::RAX as u8, status(m));
    Ok(())
}

fn initialize(m: &mut Machine<'_>, _: &Op) -> Result {
    m.registers.x87 = X87 {
        registers: m.registers.x87.registers,
        ..X87::default()
    };
    Ok(())
}

fn clear_exceptions(m: &mut Machine<'_>, _: &Op) -> Result {
    m.registers.x87.status &= 0x7f00;
    Ok(())
}

fn rotate<const BY: u8>(m: &mut Machine<'_>, _: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    x87.top = x87.top.wrapping_add(BY) & 7;
    x87.status &= !C1;
    Ok(())
}

fn free(m: &mut Machine<'_>, op: &Op) -> Result {
    let x87 = &mut m.registers.x87;
    x87.used &= !(1 << x87.number(op.register[0]));
    Ok(())
}

fn empty_all(m: &mut Machine<'_>, _: &Op) -> Result {
    m.registers.x87.used = 0;
    m.registers.x87.top = 0;
    Ok(())
}
