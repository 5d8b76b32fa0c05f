//! Instructions that move elements across lanes.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use super::{mask_bits, register, source, store, write_elements, write_register};
use crate::{
    lane::{element, set_element},
    machine::{Exit, Machine, Result, Unsupported},
    op::{Handler, Kind, Op, Traits},
    registers::Vector,
};

pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    broadcast(instruction, op)
        .or_else(|| part(instruction, op))
        .or_else(|| permute(instruction, op))
        .or_else(|| dense(instruction, op))
        .inspect(|_| op.traits.add(Traits::WHOLE))
}

/// Returns the number of elements.
fn count(op: &Op) -> usize {
    usize::from(op.lanes) * 16 / usize::from(op.element).max(1)
}

/// Builds a result from its elements.
fn from_elements(op: &Op, f: impl Fn(usize) -> u64) -> Vector {
    let mut result = [0; 4];
    for n in 0..count(op) {
        set_element(&mut result, op.element.into(), n, f(n));
    }
    result
}

/// Looks up broadcasts of one element, or of several.
fn broadcast(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    // The size of an element, and of the part that is repeated.
    let (element, period) = match instruction.mnemonic() {
        M::Vpbroadcastb => (1, 1),
        M::Vpbroadcastw => (2, 2),
        M::Vpbroadcastd | M::Vbroadcastss => (4, 4),
        M::Vpbroadcastq | M::Vbroadcastsd => (8, 8),
        M::Vbroadcasti32x2 | M::Vbroadcastf32x2 => (4, 8),
        M::Vbroadcastf128 | M::Vbroadcasti128 | M::Vbroadcasti32x4 | M::Vbroadcastf32x4 => (4, 16),
        M::Vbroadcasti64x2 | M::Vbroadcastf64x2 => (8, 16),
        M::Vbroadcasti32x8 | M::Vbroadcastf32x8 => (4, 32),
        M::Vbroadcasti64x4 | M::Vbroadcastf64x4 => (8, 32),
        _ => return None,
    };
    (op.element, op.from) = (element, period);
    if instruction.op1_kind() == OpKind::Register && instruction.op1_register().is_gpr() {
        return Some(broadcast_general);
    }
    Some(broadcast_elements)
}

fn broadcast_general(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.word(op.register[1]);
    let result = from_elements(op, |_| value);
    write_register(m, op, &result);
    Ok(())
}

fn broadcast_elements(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = source(m, op, 1)?;
    let period = usize::from(op.from / op.element).max(1);
    let result = from_elements(op, |n| element(&value, op.element.into(), n % period));
    write_register(m, op, &result);
    Ok(())
}

/// Looks up moves of parts of a vector by their number.
fn part(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    // The size of an element in bytes, and of the part in lanes.
    let (element, lanes) = match instruction.mnemonic() {
        M::Vinserti128 | M::Vinsertf128 | M::Vinserti32x4 | M::Vinsertf32x4 => (4, 1),
        M::Vextracti128 | M::Vextractf128 | M::Vextracti32x4 | M::Vextractf32x4 => (4, 1),
        M::Vinserti64x2 | M::Vinsertf64x2 | M::Vextracti64x2 | M::Vextractf64x2 => (8, 1),
        M::Vinserti32x8 | M::Vinsertf32x8 | M::Vextracti32x8 | M::Vextractf32x8 => (4, 2),
        M::Vinserti64x4 | M::Vinsertf64x4 | M::Vextracti64x4 | M::Vextractf64x4 => (8, 2),
        _ => return None,
    };
    op.element = element;
    op.from = lanes;
    Some(if op.kind[2] == Kind::Immediate {
        extract_part
    } else {
        insert_part
    })
}

fn insert_part(m: &mut Machine<'_>, op: &Op) -> Result {
    let part = source(m, op, 2)?;
    let lanes = usize::from(op.from);
    let first = op.immediate as usize % (usize::from(op.lanes) / lanes).max(1) * lanes;
    let mut result = *register(m, op.register[1]);
    result[first..first + lanes].copy_from_slice(&part[..lanes]);
    write_register(m, op, &result);
    Ok(())
}

fn extract_part(m: &mut Machine<'_>, op: &Op) -> Result {
    let lanes = usize::from(op.from);
    let first = op.immediate as usize % (usize::from(op.lanes) / lanes).max(1) * lanes;
    let from = register(m, op.register[1]);
    let mut result = [0; 4];
    result[..lanes].copy_from_slice(&from[first..first + lanes]);
    if op.writes_register() {
        write_elements(m, op, &result, lanes, 64);
        return Ok(());
    }
    store(m, op, &result, lanes * 16)
}

fn permute(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let by_immediate =
        (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Immediate8);
    let (element, handler): (u8, Handler) = match instruction.mnemonic() {
        M::Vpermq | M::Vpermpd if by_immediate => (8, permute_immediate),
        M::Vpermb => (1, permute_vector),
        M::Vpermw => (2, permute_vector),
        M::Vpermd | M::Vpermps => (4, permute_vector),
        M::Vpermq | M::Vpermpd => (8, permute_vector),
        M::Vpermt2b => (1, permute_two::<false>),
        M::Vpermt2w => (2, permute_two::<false>),
        M::Vpermt2d | M::Vpermt2ps => (4, permute_two::<false>),
        M::Vpermt2q | M::Vpermt2pd => (8, permute_two::<false>),
        M::Vpermi2b => (1, permute_two::<true>),
        M::Vpermi2w => (2, permute_two::<true>),
        M::Vpermi2d | M::Vpermi2ps => (4, permute_two::<true>),
        M::Vpermi2q | M::Vpermi2pd => (8, permute_two::<true>),
        M::Vperm2i128 | M::Vperm2f128 => (8, permute_lanes),
        M::Vshufi32x4 | M::Vshuff32x4 => (4, shuffle_lanes),
        M::Vshufi64x2 | M::Vshuff64x2 => (8, shuffle_lanes),
        M::Valignd => (4, align),
        M::Valignq => (8, align),
        M::Vpconflictd => (4, conflicts),
        M::Vpconflictq => (8, conflicts),
        _ => return None,
    };
    op.element = element;
    Some(handler)
}

/// Selects four quadwords of each half, by the immediate.
fn permute_immediate(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = source(m, op, 1)?;
    let result = from_elements(op, |n| {
        element(
            &value,
            8,
            n / 4 * 4 + (op.immediate >> (n % 4 * 2) & 3) as usize,
        )
    });
    write_register(m, op, &result);
    Ok(())
}

fn permute_vector(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let value = source(m, op, 2)?;
    let select = *register(m, op.register[1]);
    let result = from_elements(op, |n| {
        element(&value, size, element(&select, size, n) as usize % count(op))
    });
    write_register(m, op, &result);
    Ok(())
}

/// Selects elements of two vectors. The destination holds the selection, or the first vector.
fn permute_two<const SELECT_IS_DESTINATION: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let (old, middle) = (*register(m, op.register[0]), *register(m, op.register[1]));
    let second = source(m, op, 2)?;
    let (first, select) = if SELECT_IS_DESTINATION {
        (middle, old)
    } else {
        (old, middle)
    };
    let result = from_elements(op, |n| {
        let place = element(&select, size, n) as usize % (2 * count(op));
        let from = if place < count(op) { &first } else { &second };
        element(from, size, place % count(op))
    });
    write_register(m, op, &result);
    Ok(())
}

fn permute_lanes(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (source(m, op, 1)?, source(m, op, 2)?);
    let lane = |select: u64| match select & 11 {
        0 => a[0],
        1 => a[1],
        2 => b[0],
        3 => b[1],
        _ => 0,
    };
    write_register(m, op, &[lane(op.immediate), lane(op.immediate >> 4), 0, 0]);
    Ok(())
}

/// Takes the lower half of the lanes from the first source, the upper half from the second.
fn shuffle_lanes(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (source(m, op, 1)?, source(m, op, 2)?);
    let lanes = usize::from(op.lanes);
    let bits = lanes.trailing_zeros() as usize;
    let mut result = [0; 4];
    for (n, lane) in result.iter_mut().take(lanes).enumerate() {
        let from = if n < lanes / 2 { &a } else { &b };
        *lane = from[(op.immediate >> (n * bits)) as usize % lanes];
    }
    write_register(m, op, &result);
    Ok(())
}

/// Shifts both vectors as one, by elements.
fn align(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let (upper, lower) = (source(m, op, 1)?, source(m, op, 2)?);
    let shift = op.immediate as usize % count(op);
    let result = from_elements(op, |n| {
        let place = n + shift;
        if place < count(op) {
            element(&lower, size, place)
        } else {
            element(&upper, size, place - count(op))
        }
    });
    write_register(m, op, &result);
    Ok(())
}

/// Finds, for each element, which of the elements before it are equal.
fn conflicts(m: &mut Machine<'_>, op: &Op) -> Result {
    let size = usize::from(op.element);
    let value = source(m, op, 1)?;
    let equal = |n: usize, k: &usize| element(&value, size, n) == element(&value, size, *k);
    let result = from_elements(op, |n| {
        (0..n)
            .filter(|k| equal(n, k))
            .fold(0, |bits, k| bits | 1 << k)
    });
    write_register(m, op, &result);
    Ok(())
}

/// Looks up moves between masked elements and elements without gaps.
fn dense(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let (element, compress): (u8, bool) = match instruction.mnemonic() {
        M::Vpcompressb => (1, true),
        M::Vpcompressw => (2, true),
        M::Vpcompressd | M::Vcompressps => (4, true),
        M::Vpcompressq | M::Vcompresspd => (8, true),
        M::Vpexpandb => (1, false),
        M::Vpexpandw => (2, false),
        M::Vpexpandd | M::Vexpandps => (4, false),
        M::Vpexpandq | M::Vexpandpd => (8, false),
        _ => return None,
    };
    op.element = element;
    Some(if compress { run_compress } else { run_expand })
}

fn run_compress(m: &mut Machine<'_>, op: &Op) -> Result {
    let (size, bits) = (usize::from(op.element), mask_bits(m, op));
    let from = *register(m, op.register[1]);
    let mut result = [0; 4];
    let mut selected = 0;
    for n in (0..count(op)).filter(|n| bits >> n & 1 != 0) {
        set_element(&mut result, size, selected, element(&from, size, n));
        selected += 1;
    }
    if !op.writes_register() {
        return store(m, &Op { mask: 0, ..*op }, &result, selected * size);
    }
    if !op.traits.has(Traits::ZEROING) {
        let old = *register(m, op.register[0]);
        for n in selected..count(op) {
            set_element(&mut result, size, n, element(&old, size, n));
        }
    }
    write_register(m, &Op { mask: 0, ..*op }, &result);
    Ok(())
}

fn run_expand(m: &mut Machine<'_>, op: &Op) -> Result {
    if op.kind[1] != Kind::Register {
        // How much is read depends on the mask; no user of this form is known.
        return Err(Exit::Unknown(Unsupported::Operands));
    }
    let (size, bits) = (usize::from(op.element), mask_bits(m, op));
    let from = *register(m, op.register[1]);
    let mut result = [0; 4];
    for (place, n) in (0..count(op)).filter(|n| bits >> n & 1 != 0).enumerate() {
        set_element(&mut result, size, n, element(&from, size, place));
    }
    write_register(m, op, &result);
    Ok(())
}
