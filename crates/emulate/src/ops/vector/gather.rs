//! Gathers and scatters: elements at addresses given by a vector of indices.

use iced_x86::{EncodingKind, Instruction, Mnemonic as M};

use super::{register, register_mut};
use crate::{
    flags::signed,
    lane::{element, set_element},
    machine::{Machine, Result},
    op::{Handler, Kind, Op, Traits},
    registers::Vector,
};

pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    // The sizes of an index and of an element.
    let (from, element) = match instruction.mnemonic() {
        M::Vpgatherdd | M::Vgatherdps | M::Vpscatterdd | M::Vscatterdps => (4, 4),
        M::Vpgatherdq | M::Vgatherdpd | M::Vpscatterdq | M::Vscatterdpd => (4, 8),
        M::Vpgatherqd | M::Vgatherqps | M::Vpscatterqd | M::Vscatterqps => (8, 4),
        M::Vpgatherqq | M::Vgatherqpd | M::Vpscatterqq | M::Vscatterqpd => (8, 8),
        _ => return None,
    };
    let (index, scatters) = (instruction.memory_index(), op.kind[0] == Kind::Memory);
    if op.traits.has(Traits::ADDRESS32) || !index.is_vector_register() {
        return None;
    }
    (op.from, op.element) = (from, element);
    op.register[3] = index.number() as u8;
    // As many elements as fit both registers.
    let data = instruction.op_register(if scatters { 1 } else { 0 });
    let count = (index.size() / usize::from(from)).min(data.size() / usize::from(element));
    op.immediate = count as u64;
    Some(match (scatters, instruction.encoding()) {
        (true, _) => scatter,
        (_, EncodingKind::EVEX) => gather_masked,
        _ => gather_signed,
    })
}

/// Returns the address of an element.
fn address(m: &Machine<'_>, op: &Op, indices: &Vector, n: usize) -> u64 {
    let size = usize::from(op.from);
    let index = signed(element(indices, size, n), 8 * size as u32) as u64;
    m.address(op).wrapping_add(index << (op.scale & 3))
}

/// Gathers by a mask register, whose bits are cleared one by one.
fn gather_masked(m: &mut Machine<'_>, op: &Op) -> Result {
    let indices = *register(m, op.register[3]);
    let mask = usize::from(op.mask & 7);
    let count = op.immediate as usize;
    for n in 0..count {
        if m.registers.masks[mask] >> n & 1 != 0 {
            let value = m.load(u32::from(op.element) * 8, address(m, op, &indices, n))?;
            set_element(register_mut(m, op.register[0]), op.element.into(), n, value);
            m.registers.masks[mask] &= !(1 << n);
        }
    }
    m.registers.masks[mask] = 0;
    clear_above(m, op.register[0], count * usize::from(op.element));
    Ok(())
}

/// Gathers by the signs of a vector, which is cleared.
fn gather_signed(m: &mut Machine<'_>, op: &Op) -> Result {
    let indices = *register(m, op.register[3]);
    let (size, count) = (usize::from(op.element), op.immediate as usize);
    for n in 0..count {
        if element(register(m, op.register[2]), size, n) >> (8 * size - 1) != 0 {
            let value = m.load(8 * size as u32, address(m, op, &indices, n))?;
            set_element(register_mut(m, op.register[0]), size, n, value);
            set_element(register_mut(m, op.register[2]), size, n, 0);
        }
    }
    clear_above(m, op.register[0], count * size);
    *register_mut(m, op.register[2]) = [0; 4];
    Ok(())
}

/// Scatters in order: if addresses are equal, the later element wins.
fn scatter(m: &mut Machine<'_>, op: &Op) -> Result {
    let indices = *register(m, op.register[3]);
    let mask = usize::from(op.mask & 7);
    for n in 0..op.immediate as usize {
        if m.registers.masks[mask] >> n & 1 != 0 {
            let value = element(register(m, op.register[1]), op.element.into(), n);
            m.store(
                u32::from(op.element) * 8,
                address(m, op, &indices, n),
                value,
            )?;
            m.registers.masks[mask] &= !(1 << n);
        }
    }
    m.registers.masks[mask] = 0;
    Ok(())
}

/// Clears a register above its first `bytes` bytes.
fn clear_above(m: &mut Machine<'_>, number: u8, bytes: usize) {
    let vector = register_mut(m, number);
    for n in bytes / 4..16 {
        set_element(vector, 4, n, 0);
    }
}
