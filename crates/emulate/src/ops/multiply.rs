//! Multiplication and division.

use iced_x86::{Instruction, Mnemonic as M};

use crate::{
    flags::{signed, truncate},
    machine::{Exit, Machine, Result},
    op::{Handler, Kind, Op},
    registers::Registers,
    run::Trap,
};

const RAX: u8 = Registers::RAX as u8;
const RDX: u8 = Registers::RDX as u8;

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        M::Mul => mul::<false>,
        M::Imul if op.kind[1] == Kind::None => mul::<true>,
        M::Imul => imul,
        M::Mulx => mulx,
        M::Div => div,
        M::Idiv => idiv,
        _ => return None,
    })
}

/// Multiplies `rax` by the operand; the product has twice their size.
fn mul<const SIGNED: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let (a, b) = (m.get(bits, RAX), m.operand(op, 0)?);
    let (product, low_is_all) = if SIGNED {
        let product = i128::from(signed(a, bits)) * i128::from(signed(b, bits));
        (
            product as u128,
            i128::from(signed(product as u64, bits)) == product,
        )
    } else {
        let product = u128::from(a) * u128::from(b);
        (product, product >> bits == 0)
    };
    set_pair(m, bits, product as u64, (product >> bits) as u64);
    m.flags.carry = !low_is_all;
    m.flags.overflow = !low_is_all;
    Ok(())
}

/// Sets `rdx:rax`, or `ah:al` for 8 bits.
fn set_pair(m: &mut Machine<'_>, bits: u32, low: u64, high: u64) {
    if bits == 8 {
        m.set(16, RAX, low & 0xff | (high & 0xff) << 8);
    } else {
        m.set(bits, RAX, low);
        m.set(bits, RDX, high);
    }
}

/// `imul` with two or three operands.
fn imul(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let factors = if op.kind[2] == Kind::None {
        (0, 1)
    } else {
        (1, 2)
    };
    let (a, b) = (m.operand(op, factors.0)?, m.operand(op, factors.1)?);
    let product = i128::from(signed(a, bits)) * i128::from(signed(b, bits));
    let fits = i128::from(signed(product as u64, bits)) == product;
    m.set(bits, op.register[0], product as u64);
    m.flags.carry = !fits;
    m.flags.overflow = !fits;
    Ok(())
}

fn mulx(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let product = u128::from(m.get(bits, RDX)) * u128::from(m.operand(op, 2)?);
    m.set(bits, op.register[1], product as u64);
    m.set(bits, op.register[0], (product >> bits) as u64);
    Ok(())
}

/// Returns `rdx:rax`, or `ax` for 8 bits.
fn dividend(m: &Machine<'_>, bits: u32) -> u128 {
    if bits == 8 {
        return u128::from(m.get(16, RAX));
    }
    u128::from(m.get(bits, RDX)) << bits | u128::from(m.get(bits, RAX))
}

fn div(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let divisor = u128::from(m.operand(op, 0)?);
    let dividend = dividend(m, bits);
    let (quotient, remainder) = match (u64::try_from(dividend), divisor) {
        (_, 0) => return Err(Exit::Trap(Trap::Divide)),
        // A 128-bit division costs ten times as much.
        (Ok(dividend), _) => (
            u128::from(dividend / divisor as u64),
            dividend % divisor as u64,
        ),
        (Err(_), _) => (dividend / divisor, (dividend % divisor) as u64),
    };
    if quotient >> bits != 0 {
        return Err(Exit::Trap(Trap::Divide));
    }
    set_pair(m, bits, quotient as u64, remainder);
    Ok(())
}

fn idiv(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let divisor = i128::from(signed(m.operand(op, 0)?, bits));
    let unused = 128 - 2 * bits;
    let dividend = (dividend(m, bits) << unused) as i128 >> unused;
    let quotient = dividend
        .checked_div(divisor)
        .ok_or(Exit::Trap(Trap::Divide))?;
    let remainder = dividend
        .checked_rem(divisor)
        .ok_or(Exit::Trap(Trap::Divide))?;
    if i128::from(signed(quotient as u64, bits)) != quotient {
        return Err(Exit::Trap(Trap::Divide));
    }
    set_pair(
        m,
        bits,
        truncate(quotient as u64, bits),
        truncate(remainder as u64, bits),
    );
    Ok(())
}
