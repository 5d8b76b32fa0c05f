//! Mask registers `k0` to `k7`: operations on them, and moves to and from other registers.

use iced_x86::{Instruction, Mnemonic as M, Register};

use super::{mask_bits, register, source, write_register};
use crate::{
    lane::{element, set_element},
    machine::{Machine, Result},
    op::{Handler, Kind, Op},
};

const AND: u8 = 0;
const ANDN: u8 = 1;
const OR: u8 = 2;
const XOR: u8 = 3;
const XNOR: u8 = 4;
const ADD: u8 = 5;
const UNPACK: u8 = 6;

pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    if let Some((bits, handler)) = between_masks(mnemonic) {
        op.bits = bits;
        if matches!(mnemonic, M::Kmovb | M::Kmovw | M::Kmovd | M::Kmovq) {
            return Some(
                match (
                    is_general(instruction.op0_register()),
                    is_general(instruction.op1_register()),
                ) {
                    (true, _) => to_general,
                    (_, true) => from_general,
                    _ => mov,
                },
            );
        }
        return Some(handler);
    }
    match mnemonic {
        M::Vpmovm2b => op.element = 1,
        M::Vpmovm2w => op.element = 2,
        M::Vpmovm2d => op.element = 4,
        M::Vpmovm2q => op.element = 8,
        M::Vpblendmb => op.element = 1,
        M::Vpblendmw => op.element = 2,
        M::Vpblendmd | M::Vblendmps => op.element = 4,
        M::Vpblendmq | M::Vblendmpd => op.element = 8,
        _ => return None,
    }
    let spread = instruction.op1_register() != Register::None && instruction.op1_register().is_k();
    Some(if spread { to_vector } else { blend })
}

fn between_masks(mnemonic: M) -> Option<(u8, Handler)> {
    Some(match mnemonic {
        M::Kmovb => (8, mov),
        M::Kmovw => (16, mov),
        M::Kmovd => (32, mov),
        M::Kmovq => (64, mov),
        M::Kandb => (8, binary::<AND>),
        M::Kandw => (16, binary::<AND>),
        M::Kandd => (32, binary::<AND>),
        M::Kandq => (64, binary::<AND>),
        M::Kandnb => (8, binary::<ANDN>),
        M::Kandnw => (16, binary::<ANDN>),
        M::Kandnd => (32, binary::<ANDN>),
        M::Kandnq => (64, binary::<ANDN>),
        M::Korb => (8, binary::<OR>),
        M::Korw => (16, binary::<OR>),
        M::Kord => (32, binary::<OR>),
        M::Korq => (64, binary::<OR>),
        M::Kxorb => (8, binary::<XOR>),
        M::Kxorw => (16, binary::<XOR>),
        M::Kxord => (32, binary::<XOR>),
        M::Kxorq => (64, binary::<XOR>),
        M::Kxnorb => (8, binary::<XNOR>),
        M::Kxnorw => (16, binary::<XNOR>),
        M::Kxnord => (32, binary::<XNOR>),
        M::Kxnorq => (64, binary::<XNOR>),
        M::Kaddb => (8, binary::<ADD>),
        M::Kaddw => (16, binary::<ADD>),
        M::Kaddd => (32, binary::<ADD>),
        M::Kaddq => (64, binary::<ADD>),
        M::Kunpckbw => (16, binary::<UNPACK>),
        M::Kunpckwd => (32, binary::<UNPACK>),
        M::Kunpckdq => (64, binary::<UNPACK>),
        M::Knotb => (8, not),
        M::Knotw => (16, not),
        M::Knotd => (32, not),
        M::Knotq => (64, not),
        M::Kshiftlb => (8, shift::<true>),
        M::Kshiftlw => (16, shift::<true>),
        M::Kshiftld => (32, shift::<true>),
        M::Kshiftlq => (64, shift::<true>),
        M::Kshiftrb => (8, shift::<false>),
        M::Kshiftrw => (16, shift::<false>),
        M::Kshiftrd => (32, shift::<false>),
        M::Kshiftrq => (64, shift::<false>),
        M::Kortestb => (8, test::<OR>),
        M::Kortestw => (16, test::<OR>),
        M::Kortestd => (32, test::<OR>),
        M::Kortestq => (64, test::<OR>),
        M::Ktestb => (8, test::<AND>),
        M::Ktestw => (16, test::<AND>),
        M::Ktestd => (32, test::<AND>),
        M::Ktestq => (64, test::<AND>),
        _ => return None,
    })
}

fn truncate(op: &Op, value: u64) -> u64 {
    crate::flags::truncate(value, op.bits.into())
}

fn mask(m: &Machine<'_>, op: &Op, operand: usize) -> u64 {
    truncate(op, m.registers.masks[usize::from(op.register[operand] & 7)])
}

fn set_mask(m: &mut Machine<'_>, op: &Op, value: u64) {
    m.registers.masks[usize::from(op.register[0] & 7)] = truncate(op, value);
}

fn is_general(register: Register) -> bool {
    register != Register::None && register.is_gpr()
}

fn to_general(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = mask(m, op, 1);
    m.set(64, op.register[0], value);
    Ok(())
}

fn from_general(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.get(op.bits.into(), op.register[1]);
    set_mask(m, op, value);
    Ok(())
}

/// Moves between masks, and from and to memory.
fn mov(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = match op.kind[1] {
        Kind::Register => mask(m, op, 1),
        _ => m.load(op.bits.into(), m.address(op))?,
    };
    if op.writes_register() {
        set_mask(m, op, value);
        return Ok(());
    }
    m.store(op.bits.into(), m.address(op), value)
}

fn binary<const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (mask(m, op, 1), mask(m, op, 2));
    let half = u32::from(op.bits) / 2;
    let result = match OP {
        AND => a & b,
        ANDN => !a & b,
        OR => a | b,
        XOR => a ^ b,
        XNOR => !(a ^ b),
        ADD => a.wrapping_add(b),
        _ => a << half | b & (u64::MAX >> (64 - half)),
    };
    set_mask(m, op, result);
    Ok(())
}

fn not(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = !mask(m, op, 1);
    set_mask(m, op, value);
    Ok(())
}

fn shift<const LEFT: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let (value, count) = (mask(m, op, 1), op.immediate as u32 & 0xff);
    let result = if LEFT {
        value.checked_shl(count)
    } else {
        value.checked_shr(count)
    };
    set_mask(m, op, result.unwrap_or(0));
    Ok(())
}

fn test<const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (mask(m, op, 0), mask(m, op, 1));
    let (zero, carry) = match OP {
        OR => (a | b == 0, a | b == truncate(op, u64::MAX)),
        _ => (a & b == 0, !a & b == 0),
    };
    m.flags.set_comparison(zero, false, carry);
    Ok(())
}

/// `vpmovm2b` and its variants: all ones where the mask has a bit.
fn to_vector(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = m.registers.masks[usize::from(op.register[1] & 7)];
    let size = usize::from(op.element);
    let mut result = [0; 4];
    for n in (0..usize::from(op.lanes) * 16 / size).filter(|n| bits >> n & 1 != 0) {
        set_element(&mut result, size, n, u64::MAX >> (64 - 8 * size));
    }
    write_register(m, op, &result);
    Ok(())
}

/// `vpblendmb` and its variants: the second source where the mask has a bit, else the first, or 0.
fn blend(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = mask_bits(m, op);
    let size = usize::from(op.element);
    let second = source(m, op, 2)?;
    let mut result = *register(m, op.register[1]);
    for n in (0..usize::from(op.lanes) * 16 / size).filter(|n| bits >> n & 1 != 0) {
        set_element(&mut result, size, n, element(&second, size, n));
    }
    let zeroing = op.traits.has(crate::op::Traits::ZEROING);
    let unmasked = Op {
        mask: if zeroing { op.mask } else { 0 },
        ..*op
    };
    write_register(m, &unmasked, &result);
    Ok(())
}
