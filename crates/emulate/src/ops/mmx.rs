//! MMX: moves and element-wise arithmetic. The registers are the significands of the x87 registers.

use iced_x86::{Instruction, Mnemonic as M, Register};

use super::vector::two_lanes;
use crate::{
    machine::{Exit, Machine, Result, Unsupported},
    op::{Handler, Kernel, Kind, Op},
    x87::Extended,
};

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let is_mm = |operand: u32| {
        operand < instruction.op_count()
            && instruction.op_register(operand) != Register::None
            && instruction.op_register(operand).is_mm()
    };
    if !is_mm(0) && !is_mm(1) {
        return None;
    }
    op.bits = match instruction.mnemonic() {
        M::Movd => 32,
        M::Movq | M::Movntq => 64,
        mnemonic => {
            op.kernel = two_lanes(mnemonic)?;
            if !matches!(op.kernel, Kernel::Two(_)) {
                return None;
            }
            return (is_mm(0) && (is_mm(1) || op.kind[1] == Kind::Memory)).then_some(combine);
        }
    };
    Some(match (is_mm(0), is_mm(1)) {
        (true, true) => copy,
        (true, false) => load,
        _ => store,
    })
}

fn get(m: &Machine<'_>, number: u8) -> u64 {
    m.registers.x87.registers[usize::from(number & 7)].significand
}

/// Sets a register, and its x87 sign and exponent to all ones.
fn set(m: &mut Machine<'_>, number: u8, value: u64) {
    m.registers.x87.registers[usize::from(number & 7)] = Extended {
        significand: value,
        exponent: 0xffff,
    };
    use_as_mmx(m);
}

/// Marks all registers as used and the first as the top of the stack, as each MMX instruction does.
fn use_as_mmx(m: &mut Machine<'_>) {
    m.registers.x87.used = 0xff;
    m.registers.x87.top = 0;
}

fn copy(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = get(m, op.register[1]);
    set(m, op.register[0], value);
    Ok(())
}

fn load(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.operand(op, 1)?;
    set(m, op.register[0], value);
    Ok(())
}

fn store(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = crate::flags::truncate(get(m, op.register[1]), op.bits.into());
    m.set_operand(op, 0, value)?;
    use_as_mmx(m);
    Ok(())
}

fn combine(m: &mut Machine<'_>, op: &Op) -> Result {
    let b = match op.kind[1] {
        Kind::Register => get(m, op.register[1]),
        _ => m.load(64, m.address(op))?,
    };
    let Kernel::Two(f) = op.kernel else {
        return Err(Exit::Unknown(Unsupported::Instruction));
    };
    let result = f(get(m, op.register[0]).into(), b.into());
    set(m, op.register[0], result as u64);
    Ok(())
}
