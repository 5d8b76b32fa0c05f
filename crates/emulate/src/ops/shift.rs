//! Shifts and rotations.

use iced_x86::{Instruction, Mnemonic as M};

use super::by_size;
use crate::{
    flags::{signed, truncate},
    machine::{Exit, Machine, Result, Unsupported},
    op::{Handler, Kind, Op},
};

const SHL: u8 = 0;
const SHR: u8 = 1;
const SAR: u8 = 2;
const ROL: u8 = 3;
const ROR: u8 = 4;
const RCL: u8 = 5;
const RCR: u8 = 6;

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        M::Shl | M::Sal => by_size!(op.bits, shift, SHL),
        M::Shr => by_size!(op.bits, shift, SHR),
        M::Sar => by_size!(op.bits, shift, SAR),
        M::Rol => by_size!(op.bits, shift, ROL),
        M::Ror => by_size!(op.bits, shift, ROR),
        M::Rcl => by_size!(op.bits, shift, RCL),
        M::Rcr => by_size!(op.bits, shift, RCR),
        M::Shld => double::<true>,
        M::Shrd => double::<false>,
        M::Shlx => shift_without_flags::<SHL>,
        M::Shrx => shift_without_flags::<SHR>,
        M::Sarx => shift_without_flags::<SAR>,
        M::Rorx => shift_without_flags::<ROR>,
        _ => return None,
    })
}

/// Returns the shift count: processors use its low 5 bits, or 6 for 64-bit operands.
fn count(m: &Machine<'_>, op: &Op, operand: usize, bits: u32) -> u32 {
    let count = match op.kind[operand] {
        Kind::Register => m.word(op.register[operand]),
        _ => op.immediate,
    };
    (count & if bits == 64 { 63 } else { 31 }) as u32
}

fn shift<const BITS: u32, const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let a = m.operand(op, 0)?;
    let count = count(m, op, 1, BITS);
    if count == 0 {
        // The value does not change, but 32-bit registers are zero-extended, and
        // memory must be writable.
        return m.set_operand(op, 0, a);
    }
    let mut flags = m.flags;
    let top = |value: u64, below: u32| value >> (BITS - 1 - below) & 1 != 0;
    let result = match OP {
        SHL => {
            let wide = u128::from(a) << count;
            flags.carry = wide >> BITS & 1 != 0;
            let result = truncate(wide as u64, BITS);
            flags.overflow = top(result, 0) != flags.carry;
            flags.set_result::<BITS>(result);
            result
        }
        SHR => {
            flags.carry = a >> (count - 1) & 1 != 0;
            flags.overflow = top(a, 0);
            let result = a.checked_shr(count).unwrap_or(0);
            flags.set_result::<BITS>(result);
            result
        }
        SAR => {
            let a = signed(a, BITS);
            flags.carry = a >> (count - 1) & 1 != 0;
            flags.overflow = false;
            let result = truncate((a >> count) as u64, BITS);
            flags.set_result::<BITS>(result);
            result
        }
        ROL => {
            let result = rotate_left(a, count, BITS);
            flags.carry = result & 1 != 0;
            flags.overflow = top(result, 0) != flags.carry;
            result
        }
        ROR => {
            let result = rotate_left(a, BITS - count % BITS, BITS);
            flags.carry = top(result, 0);
            flags.overflow = top(result, 0) != top(result, 1);
            result
        }
        _ => {
            // Rotates a number that has the carry as its highest bit.
            let size = BITS + 1;
            let wide = u128::from(a) | u128::from(flags.carry) << BITS;
            let left = if OP == RCL {
                count % size
            } else {
                size - count % size
            };
            let wide = wide << left | wide >> (size - left);
            let result = truncate(wide as u64, BITS);
            flags.carry = wide >> BITS & 1 != 0;
            flags.overflow = if OP == RCL {
                top(result, 0) != flags.carry
            } else {
                top(result, 0) != top(result, 1)
            };
            result
        }
    };
    m.set_operand(op, 0, result)?;
    m.flags = flags;
    Ok(())
}

fn rotate_left(a: u64, count: u32, bits: u32) -> u64 {
    let count = count % bits;
    if count == 0 {
        a
    } else {
        truncate(a << count | a >> (bits - count), bits)
    }
}

/// `shld` and `shrd`.
fn double<const LEFT: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let (a, b) = (m.operand(op, 0)?, m.operand(op, 1)?);
    let count = count(m, op, 2, bits);
    if count == 0 {
        return m.set_operand(op, 0, a);
    }
    if count > bits {
        // Possible only with 16-bit operands; processors differ.
        return Err(Exit::Unknown(Unsupported::Operands));
    }
    let (result, carry) = if LEFT {
        let shifted = (u128::from(a) << bits | u128::from(b)) >> (bits - count);
        (truncate(shifted as u64, bits), shifted >> bits & 1 != 0)
    } else {
        let wide = u128::from(b) << bits | u128::from(a);
        (
            truncate((wide >> count) as u64, bits),
            wide >> (count - 1) & 1 != 0,
        )
    };
    m.set_operand(op, 0, result)?;
    m.flags.set_result_of(result, bits);
    m.flags.carry = carry;
    m.flags.overflow = (a ^ result) >> (bits - 1) & 1 != 0;
    Ok(())
}

fn shift_without_flags<const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let a = m.operand(op, 1)?;
    let count = count(m, op, 2, bits);
    let result = match OP {
        SHL => truncate(a << count, bits),
        SHR => a >> count,
        SAR => truncate((signed(a, bits) >> count) as u64, bits),
        _ => rotate_left(a, bits - count, bits),
    };
    m.set_operand(op, 0, result)
}
