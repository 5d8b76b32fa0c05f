//! Moves of whole vectors, of parts of them, and between them and general registers.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use super::{destination_is_first_source, load, register, set_lane, source, store, write_register};
use crate::{
    lane::{element, set_element, to_bytes},
    machine::{Machine, Result},
    op::{Handler, Kind, Op, Traits},
    registers::Registers,
    source::Wanted,
};

pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    whole(instruction, op)
        .or_else(|| low(instruction, op))
        .or_else(|| halves(instruction, op))
        .or_else(|| insert_extract(instruction, op))
        .or_else(|| others(instruction, op))
}

/// Looks up moves of all lanes.
fn whole(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    op.element = match instruction.mnemonic() {
        M::Movaps | M::Movups | M::Movapd | M::Movupd | M::Movdqa | M::Movdqu | M::Lddqu => 4,
        M::Movntps | M::Movntpd | M::Movntdq | M::Movntdqa => 4,
        M::Vmovdqu8 => 1,
        M::Vmovdqu16 => 2,
        M::Vmovaps
        | M::Vmovups
        | M::Vmovdqa
        | M::Vmovdqu
        | M::Vlddqu
        | M::Vmovdqa32
        | M::Vmovdqu32 => 4,
        M::Vmovntps | M::Vmovntdq | M::Vmovntdqa => 4,
        M::Vmovapd | M::Vmovupd | M::Vmovdqa64 | M::Vmovdqu64 | M::Vmovntpd => 8,
        _ => return None,
    };
    let unaligned = matches!(
        instruction.mnemonic(),
        M::Movups
            | M::Movupd
            | M::Movdqu
            | M::Lddqu
            | M::Vlddqu
            | M::Vmovups
            | M::Vmovupd
            | M::Vmovdqu
    ) || matches!(
        instruction.mnemonic(),
        M::Vmovdqu8 | M::Vmovdqu16 | M::Vmovdqu32 | M::Vmovdqu64
    );
    if !unaligned {
        op.traits.add(Traits::ALIGNED);
    }
    let plain = op.mask == 0 && op.lanes == 1;
    Some(match (op.kind[0], op.kind[1]) {
        (Kind::Register, Kind::Memory) if plain => load_lane,
        (Kind::Memory, Kind::Register) if plain => store_lane,
        (Kind::Register, Kind::Register) if plain => copy_lane,
        (Kind::Register, _) => move_to_register,
        _ => move_to_memory,
    })
}

fn load_lane(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.address(op);
    if op.traits.has(Traits::ALIGNED) {
        m.check_aligned(address, 16, Wanted::Read)?;
    }
    let lane = u128::from_le_bytes(m.memory.load(address)?);
    set_lane(m, op, lane);
    Ok(())
}

fn copy_lane(m: &mut Machine<'_>, op: &Op) -> Result {
    let lane = register(m, op.register[1])[0];
    set_lane(m, op, lane);
    Ok(())
}

fn store_lane(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.address(op);
    if op.traits.has(Traits::ALIGNED) {
        m.check_aligned(address, 16, Wanted::Write)?;
    }
    let lane = register(m, op.register[1])[0];
    m.memory.store(address, lane.to_le_bytes())?;
    Ok(())
}

fn move_to_register(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = source(m, op, 1)?;
    write_register(m, op, &value);
    Ok(())
}

fn move_to_memory(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = *register(m, op.register[1]);
    store(m, op, &value, usize::from(op.memory_size))
}

/// Looks up moves of the lowest element.
fn low(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    match mnemonic {
        M::Movss | M::Vmovss => op.element = 4,
        M::Movsd | M::Vmovsd => op.element = 8,
        M::Movd | M::Vmovd => op.element = 4,
        M::Movq | M::Vmovq => op.element = 8,
        _ => return None,
    }
    let between_vectors = matches!(mnemonic, M::Movss | M::Vmovss | M::Movsd | M::Vmovsd);
    op.lanes = 1;
    if op.kind[0] == Kind::Memory {
        op.traits.add(Traits::SCALAR);
        return Some(if instruction.op1_register().is_vector_register() {
            store_low
        } else {
            return None;
        });
    }
    if !instruction.op0_register().is_vector_register() {
        // A move to a general register of the size of the element.
        op.bits = op.element * 8;
        return Some(extract_low);
    }
    Some(match op.kind[1] {
        Kind::Memory => {
            op.traits.add(Traits::SCALAR);
            load_low
        }
        _ if between_vectors => {
            op.traits.add(Traits::SCALAR);
            if op.kind[2] == Kind::None {
                destination_is_first_source(op);
            }
            merge_low
        }
        _ if instruction.op1_register().is_vector_register() => copy_low,
        _ => insert_low,
    })
}

fn store_low(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = register(m, op.register[1])[0];
    if op.mask == 0 {
        return m.store(u32::from(op.element) * 8, m.address(op), value as u64);
    }
    store(m, op, &[value, 0, 0, 0], op.element.into())
}

fn load_low(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = load(m, op)?;
    write_low(m, op, value[0]);
    Ok(())
}

/// Writes the lowest element. The elements above become 0; the lanes above follow the encoding.
fn write_low(m: &mut Machine<'_>, op: &Op, value: u128) {
    write_register(m, op, &[value, 0, 0, 0]);
}

fn merge_low(m: &mut Machine<'_>, op: &Op) -> Result {
    let mut result = [register(m, op.register[1])[0], 0, 0, 0];
    let size = op.element.into();
    set_element(
        &mut result,
        size,
        0,
        element(register(m, op.register[2]), size, 0),
    );
    write_register(m, op, &result);
    Ok(())
}

/// `movq` between vectors.
fn copy_low(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = register(m, op.register[1])[0] as u64;
    write_low(m, op, value.into());
    Ok(())
}

fn insert_low(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.get(u32::from(op.element) * 8, op.register[1]);
    write_low(m, op, value.into());
    Ok(())
}

fn extract_low(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = register(m, op.register[1])[0];
    m.set(op.bits.into(), op.register[0], value as u64);
    Ok(())
}

/// Looks up moves of the lower or the upper 64 bits of a lane.
fn halves(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    // The half of the source, and the half of the destination.
    let (from, to) = match mnemonic {
        M::Movlps | M::Movlpd | M::Vmovlps | M::Vmovlpd => (0, 0),
        M::Movhps | M::Movhpd | M::Vmovhps | M::Vmovhpd => (0, 1),
        M::Movhlps | M::Vmovhlps => (1, 0),
        M::Movlhps | M::Vmovlhps => (0, 1),
        _ => return None,
    };
    op.lanes = 1;
    if op.kind[0] == Kind::Memory {
        return Some(if to == 1 {
            store_half::<1>
        } else {
            store_half::<0>
        });
    }
    if op.kind[2] == Kind::None {
        destination_is_first_source(op);
    }
    Some(match (from, to) {
        (0, 0) => set_half::<0, 0>,
        (0, _) => set_half::<0, 1>,
        _ => set_half::<1, 0>,
    })
}

fn store_half<const HALF: usize>(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = element(register(m, op.register[1]), 8, HALF);
    m.store(64, m.address(op), value)
}

fn set_half<const FROM: usize, const TO: usize>(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = element(&source(m, op, 2)?, 8, FROM);
    let mut result = [register(m, op.register[1])[0], 0, 0, 0];
    set_element(&mut result, 8, TO, value);
    write_register(m, op, &result);
    Ok(())
}

/// Looks up moves of an element by its number.
fn insert_extract(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    op.element = match mnemonic {
        M::Pinsrb | M::Vpinsrb | M::Pextrb | M::Vpextrb => 1,
        M::Pinsrw | M::Vpinsrw | M::Pextrw | M::Vpextrw => 2,
        M::Pinsrd | M::Vpinsrd | M::Pextrd | M::Vpextrd => 4,
        M::Pinsrq | M::Vpinsrq | M::Pextrq | M::Vpextrq => 8,
        M::Extractps | M::Vextractps | M::Insertps | M::Vinsertps => 4,
        _ => return None,
    };
    op.lanes = 1;
    let three = op.kind[3] != Kind::None;
    match mnemonic {
        M::Pextrb | M::Pextrw | M::Pextrd | M::Pextrq | M::Extractps => Some(extract),
        M::Vpextrb | M::Vpextrw | M::Vpextrd | M::Vpextrq | M::Vextractps => Some(extract),
        _ => {
            if !three {
                destination_is_first_source(op);
            }
            Some(if matches!(mnemonic, M::Insertps | M::Vinsertps) {
                insertps
            } else {
                insert
            })
        }
    }
}

fn extract(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let number = op.immediate as usize % (16 / size);
    let value = element(register(m, op.register[1]), size, number);
    if op.writes_register() {
        m.set(64, op.register[0], value);
        return Ok(());
    }
    m.store(u32::from(op.element) * 8, m.address(op), value)
}

fn insert(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let value = m.sized_operand(op, 2, u32::from(op.element) * 8)?;
    let mut result = [register(m, op.register[1])[0], 0, 0, 0];
    set_element(
        &mut result,
        size,
        op.immediate as usize % (16 / size),
        value,
    );
    write_register(m, op, &result);
    Ok(())
}

fn insertps(m: &mut Machine<'_>, op: &Op) -> Result {
    let select = op.immediate as usize;
    let from = if op.kind[2] == Kind::Memory {
        0
    } else {
        select >> 6 & 3
    };
    let value = element(&source(m, op, 2)?, 4, from);
    let mut result = [register(m, op.register[1])[0], 0, 0, 0];
    set_element(&mut result, 4, select >> 4 & 3, value);
    for n in (0..4).filter(|n| select >> n & 1 != 0) {
        set_element(&mut result, 4, n, 0);
    }
    write_register(m, op, &result);
    Ok(())
}

fn others(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    Some(match mnemonic {
        M::Pmovmskb | M::Vpmovmskb => {
            op.element = 1;
            signs
        }
        M::Movmskps | M::Vmovmskps => {
            op.element = 4;
            signs
        }
        M::Movmskpd | M::Vmovmskpd => {
            op.element = 8;
            signs
        }
        M::Ptest | M::Vptest => {
            op.element = 0;
            test
        }
        M::Vtestps => {
            op.element = 4;
            test
        }
        M::Vtestpd => {
            op.element = 8;
            test
        }
        M::Vmaskmovps | M::Vpmaskmovd => {
            op.element = 4;
            masked_move(op)
        }
        M::Vmaskmovpd | M::Vpmaskmovq => {
            op.element = 8;
            masked_move(op)
        }
        M::Maskmovdqu | M::Vmaskmovdqu if instruction.op_kind(0) == OpKind::MemorySegRDI => {
            maskmovdqu
        }
        M::Vzeroupper => zero_upper,
        M::Vzeroall => zero_all,
        M::Ldmxcsr | M::Vldmxcsr => ldmxcsr,
        M::Stmxcsr | M::Vstmxcsr => stmxcsr,
        _ => return None,
    })
}

/// Copies the sign bits of all elements to a general register.
fn signs(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let from = register(m, op.register[1]);
    let mut bits = 0;
    for n in 0..usize::from(op.lanes) * 16 / size {
        bits |= (element(from, size, n) >> (8 * size - 1)) << n;
    }
    m.set(64, op.register[0], bits);
    Ok(())
}

/// `ptest`, and `vtestps` and `vtestpd`, which test only signs.
fn test(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (source(m, op, 0)?, source(m, op, 1)?);
    let look_at = match op.element {
        4 => 0x8000_0000_8000_0000_8000_0000_8000_0000,
        8 => 0x8000_0000_0000_0000_8000_0000_0000_0000,
        _ => u128::MAX,
    };
    let lanes = || a.iter().zip(&b).take(op.lanes.into());
    let zero = lanes().all(|(a, b)| a & b & look_at == 0);
    let carry = lanes().all(|(a, b)| !a & b & look_at == 0);
    m.flags.set_comparison(zero, false, carry);
    Ok(())
}

fn masked_move(op: &mut Op) -> Handler {
    // The mask is the second operand: an element is moved if its sign is set there.
    op.traits.remove(Traits::ALIGNED);
    if op.kind[0] == Kind::Memory {
        store_signed
    } else {
        load_signed
    }
}

fn load_signed(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let (mask, address) = (*register(m, op.register[1]), m.address(op));
    let mut result = [0; 4];
    for n in 0..usize::from(op.lanes) * 16 / size {
        if element(&mask, size, n) >> (8 * size - 1) != 0 {
            let value = m.load(8 * size as u32, address.wrapping_add((n * size) as u64))?;
            set_element(&mut result, size, n, value);
        }
    }
    write_register(m, op, &result);
    Ok(())
}

fn store_signed(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let (mask, value) = (*register(m, op.register[1]), *register(m, op.register[2]));
    let address = m.address(op);
    for n in 0..usize::from(op.lanes) * 16 / size {
        if element(&mask, size, n) >> (8 * size - 1) != 0 {
            let value = element(&value, size, n);
            m.store(
                8 * size as u32,
                address.wrapping_add((n * size) as u64),
                value,
            )?;
        }
    }
    Ok(())
}

fn maskmovdqu(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = to_bytes(register(m, op.register[1]));
    let mask = to_bytes(register(m, op.register[2]));
    let address = m.words[Registers::RDI].wrapping_add(m.word(op.segment));
    for n in (0..16).filter(|&n| mask[n] & 0x80 != 0) {
        m.store(8, address.wrapping_add(n as u64), value[n].into())?;
    }
    Ok(())
}

fn zero_upper(m: &mut Machine<'_>, _: &Op) -> Result {
    for vector in &mut m.registers.vectors[..16] {
        vector[1..].fill(0);
    }
    Ok(())
}

fn zero_all(m: &mut Machine<'_>, _: &Op) -> Result {
    m.registers.vectors[..16].fill([0; 4]);
    Ok(())
}

fn ldmxcsr(m: &mut Machine<'_>, op: &Op) -> Result {
    m.registers.mxcsr = m.sized_operand(op, 0, 32)? as u32;
    Ok(())
}

fn stmxcsr(m: &mut Machine<'_>, op: &Op) -> Result {
    m.store(32, m.address(op), m.registers.mxcsr.into())
}
