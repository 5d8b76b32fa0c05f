//! Bit instructions: tests, scans, counts, BMI1 and BMI2, CRC32.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use crate::{
    flags::{signed, truncate},
    machine::{Machine, Result},
    op::{Handler, Kind, Op},
};

const TEST: u8 = 0;
const SET: u8 = 1;
const RESET: u8 = 2;
const COMPLEMENT: u8 = 3;

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        M::Bt => bit::<TEST>,
        M::Bts => bit::<SET>,
        M::Btr => bit::<RESET>,
        M::Btc => bit::<COMPLEMENT>,
        M::Bsf => scan::<false>,
        M::Bsr => scan::<true>,
        M::Tzcnt => count_zeros::<false>,
        M::Lzcnt => count_zeros::<true>,
        M::Popcnt => popcnt,
        M::Andn => andn,
        M::Blsr => lowest::<RESET>,
        M::Blsi => lowest::<TEST>,
        M::Blsmsk => lowest::<SET>,
        M::Bextr if op.kind[2] == Kind::Register => bextr,
        M::Bzhi => bzhi,
        M::Pdep => pdep,
        M::Pext => pext,
        M::Crc32 => {
            op.from = match instruction.op1_kind() {
                OpKind::Register => instruction.op1_register().size() as u8 * 8,
                _ => instruction.memory_size().size() as u8 * 8,
            };
            crc32
        }
        _ => return None,
    })
}

fn bit<const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let number = m.operand(op, 1)?;
    let bit = number & u64::from(bits - 1);
    let in_memory = op.kind[0] == Kind::Memory;
    // A bit number in a register may be far outside the operand.
    let far = if in_memory && op.kind[1] == Kind::Register {
        (signed(number, bits) >> bits.trailing_zeros()) * i64::from(bits / 8)
    } else {
        0
    };
    let address = m.offset(op).wrapping_add(far as u64);
    let address = if op.traits.has(crate::op::Traits::ADDRESS32) {
        address & 0xffff_ffff
    } else {
        address
    };
    let address = address.wrapping_add(m.word(op.segment));
    let old = if in_memory {
        m.load(bits, address)?
    } else {
        m.operand(op, 0)?
    };
    let new = match OP {
        SET => old | 1 << bit,
        RESET => old & !(1 << bit),
        COMPLEMENT => old ^ 1 << bit,
        _ => old,
    };
    if OP != TEST {
        if in_memory {
            m.store(bits, address, new)?;
        } else {
            m.set_operand(op, 0, new)?;
        }
    }
    m.flags.carry = old >> bit & 1 != 0;
    Ok(())
}

/// `bsf` and `bsr`. If the source is 0, they leave the destination unchanged, as AMD
/// documents and Intel does.
fn scan<const REVERSE: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let a = m.operand(op, 1)?;
    if a != 0 {
        let place = if REVERSE {
            63 - a.leading_zeros()
        } else {
            a.trailing_zeros()
        };
        m.set_operand(op, 0, u64::from(place))?;
    }
    m.flags.set_zero_only(a == 0);
    Ok(())
}

fn count_zeros<const LEADING: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let a = m.operand(op, 1)?;
    let zeros = if LEADING {
        a.leading_zeros() - (64 - bits)
    } else {
        a.trailing_zeros().min(bits)
    };
    m.set_operand(op, 0, u64::from(zeros))?;
    m.flags.carry = a == 0;
    m.flags.set_zero_only(zeros == 0);
    Ok(())
}

fn popcnt(m: &mut Machine<'_>, op: &Op) -> Result {
    let a = m.operand(op, 1)?;
    m.set_operand(op, 0, u64::from(a.count_ones()))?;
    m.flags.set_comparison(a == 0, false, false);
    Ok(())
}

fn andn(m: &mut Machine<'_>, op: &Op) -> Result {
    let result = !m.operand(op, 1)? & m.operand(op, 2)?;
    m.set_operand(op, 0, result)?;
    m.flags.logic_of(result, u32::from(op.bits));
    Ok(())
}

/// `blsr`, `blsi` and `blsmsk`.
fn lowest<const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let a = m.operand(op, 1)?;
    let result = match OP {
        RESET => a & a.wrapping_sub(1),
        SET => truncate(a ^ a.wrapping_sub(1), bits),
        _ => a & a.wrapping_neg(),
    };
    m.set_operand(op, 0, result)?;
    m.flags.logic_of(result, bits);
    m.flags.carry = (a == 0) != (OP == TEST);
    Ok(())
}

fn bextr(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, control) = (m.operand(op, 1)?, m.operand(op, 2)?);
    let (start, length) = (control as u8, (control >> 8) as u8);
    let result = low_bits(a.checked_shr(start.into()).unwrap_or(0), length);
    m.set_operand(op, 0, result)?;
    m.flags.logic_of(result, u32::from(op.bits));
    Ok(())
}

fn bzhi(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, count) = (m.operand(op, 1)?, m.operand(op, 2)? as u8);
    let result = low_bits(a, count);
    m.set_operand(op, 0, result)?;
    m.flags.logic_of(result, u32::from(op.bits));
    m.flags.carry = count >= op.bits;
    Ok(())
}

fn low_bits(a: u64, count: u8) -> u64 {
    if count < 64 {
        a & ((1 << count) - 1)
    } else {
        a
    }
}

fn pdep(m: &mut Machine<'_>, op: &Op) -> Result {
    let (mut from, mut mask) = (m.operand(op, 1)?, m.operand(op, 2)?);
    let mut result = 0;
    while mask != 0 {
        if from & 1 != 0 {
            result |= mask & mask.wrapping_neg();
        }
        from >>= 1;
        mask &= mask - 1;
    }
    m.set_operand(op, 0, result)
}

fn pext(m: &mut Machine<'_>, op: &Op) -> Result {
    let (from, mut mask) = (m.operand(op, 1)?, m.operand(op, 2)?);
    let (mut result, mut place) = (0, 0);
    while mask != 0 {
        result |= (from >> mask.trailing_zeros() & 1) << place;
        place += 1;
        mask &= mask - 1;
    }
    m.set_operand(op, 0, result)
}

fn crc32(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.from);
    let data = m.sized_operand(op, 1, bits)?;
    let mut crc = m.get(32, op.register[0]);
    for byte in &data.to_le_bytes()[..bits as usize / 8] {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            // The Castagnoli polynomial, reflected.
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    m.set(u32::from(op.bits), op.register[0], crc);
    Ok(())
}
