//! String instructions, repeated or not.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};

use super::by_size;
use crate::{
    machine::{Exit, Machine, Result},
    op::{FS_BASE, GS_BASE, Handler, NO_REGISTER, Op, Traits},
    registers::Registers,
    run::BYTES_AS_CHEAP,
    source::PAGE_SIZE,
};

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mut bits = None;
    for n in 0..instruction.op_count() {
        match instruction.op_kind(n) {
            OpKind::MemorySegRSI | OpKind::MemoryESRDI => {
                bits = Some(instruction.memory_size().size() as u8 * 8)
            }
            OpKind::Register => {}
            _ => return None,
        }
    }
    op.bits = bits?;
    op.segment = match instruction.segment_prefix() {
        Register::FS => FS_BASE,
        Register::GS => GS_BASE,
        _ => NO_REGISTER,
    };
    if instruction.has_repne_prefix() {
        op.traits.add(Traits::REPEATED_UNEQUAL);
    } else if instruction.has_rep_prefix() {
        op.traits.add(Traits::REPEATED);
    }
    Some(match instruction.mnemonic() {
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => by_size!(op.bits, movs),
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => by_size!(op.bits, stos),
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => by_size!(op.bits, lods),
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => by_size!(op.bits, cmps),
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => by_size!(op.bits, scas),
        _ => return None,
    })
}

fn is_repeated(op: &Op) -> bool {
    op.traits.has(Traits::REPEATED) || op.traits.has(Traits::REPEATED_UNEQUAL)
}

/// Returns what to add to `rsi` and `rdi` after each element.
fn stride<const BITS: u32>(m: &Machine<'_>) -> u64 {
    let size = u64::from(BITS / 8);
    if m.flags.backwards() {
        size.wrapping_neg()
    } else {
        size
    }
}

/// Runs `element` once, or `rcx` times if the instruction is repeated.
fn repeat(
    m: &mut Machine<'_>,
    op: &Op,
    mut element: impl FnMut(&mut Machine<'_>) -> Result,
) -> Result {
    if !is_repeated(op) {
        return element(m);
    }
    while m.words[Registers::RCX] != 0 {
        element(m)?;
        m.words[Registers::RCX] -= 1;
    }
    Ok(())
}

/// Runs `element` once, or if the instruction is repeated, up to `rcx` times while it returns
/// `true`. Each repetition is charged before it runs.
fn compare<const BITS: u32>(
    m: &mut Machine<'_>,
    op: &Op,
    mut element: impl FnMut(&mut Machine<'_>) -> Result<bool>,
) -> Result {
    if !is_repeated(op) {
        element(m)?;
        return Ok(());
    }
    while m.words[Registers::RCX] != 0 {
        charge(m, u64::from(BITS / 8))?;
        let more = element(m)?;
        m.words[Registers::RCX] -= 1;
        if !more {
            break;
        }
    }
    Ok(())
}

/// Charges for everything that a repeated instruction will move. If the budget is too small, the
/// instruction does not begin.
fn pay<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    if !is_repeated(op) {
        return Ok(());
    }
    let bytes = m.words[Registers::RCX].saturating_mul(u64::from(BITS / 8));
    charge(m, bytes / BYTES_AS_CHEAP)
}

fn charge(m: &mut Machine<'_>, instructions: u64) -> Result {
    m.budget = m.budget.checked_sub(instructions).ok_or(Exit::Budget)?;
    Ok(())
}

/// Returns how many elements can be handled at once without leaving the pages of `addresses`, or 0
/// if they must be handled one by one.
fn at_once<const BITS: u32>(m: &Machine<'_>, op: &Op, addresses: &[u64]) -> usize {
    if !is_repeated(op) || m.flags.backwards() {
        return 0;
    }
    let size = u64::from(BITS / 8);
    let in_page = |address: &u64| PAGE_SIZE as u64 - (address & (PAGE_SIZE as u64 - 1));
    let bytes = addresses.iter().map(in_page).min().unwrap_or(0);
    m.words[Registers::RCX].min(bytes / size) as usize
}

fn movs<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    pay::<BITS>(m, op)?;
    let segment = m.word(op.segment);
    loop {
        let (from, to) = (
            m.words[Registers::RSI].wrapping_add(segment),
            m.words[Registers::RDI],
        );
        let elements = at_once::<BITS>(m, op, &[from, to]);
        let size = elements * BITS as usize / 8;
        // The bytes written must not be among those read later.
        if elements < 2 || to.wrapping_sub(from) < size as u64 {
            break;
        }
        let mut bytes = [0; PAGE_SIZE];
        m.memory.load_slice(from, &mut bytes[..size])?;
        m.memory.store_slice(to, &bytes[..size])?;
        m.words[Registers::RSI] = m.words[Registers::RSI].wrapping_add(size as u64);
        m.words[Registers::RDI] = to.wrapping_add(size as u64);
        m.words[Registers::RCX] -= elements as u64;
    }
    let stride = stride::<BITS>(m);
    repeat(m, op, |m| {
        let value = m.load(BITS, m.words[Registers::RSI].wrapping_add(segment))?;
        m.store(BITS, m.words[Registers::RDI], value)?;
        m.words[Registers::RSI] = m.words[Registers::RSI].wrapping_add(stride);
        m.words[Registers::RDI] = m.words[Registers::RDI].wrapping_add(stride);
        Ok(())
    })
}

fn stos<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    pay::<BITS>(m, op)?;
    let value = m.words[Registers::RAX];
    loop {
        let to = m.words[Registers::RDI];
        let elements = at_once::<BITS>(m, op, &[to]);
        if elements < 2 {
            break;
        }
        let mut bytes = [0; PAGE_SIZE];
        let bytes = &mut bytes[..elements * BITS as usize / 8];
        for element in bytes.chunks_exact_mut(BITS as usize / 8) {
            element.copy_from_slice(&value.to_le_bytes()[..BITS as usize / 8]);
        }
        m.memory.store_slice(to, bytes)?;
        m.words[Registers::RDI] = to.wrapping_add(bytes.len() as u64);
        m.words[Registers::RCX] -= elements as u64;
    }
    let stride = stride::<BITS>(m);
    repeat(m, op, |m| {
        m.store(BITS, m.words[Registers::RDI], value)?;
        m.words[Registers::RDI] = m.words[Registers::RDI].wrapping_add(stride);
        Ok(())
    })
}

fn lods<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    pay::<BITS>(m, op)?;
    let (stride, segment) = (stride::<BITS>(m), m.word(op.segment));
    repeat(m, op, |m| {
        let value = m.load(BITS, m.words[Registers::RSI].wrapping_add(segment))?;
        m.set(BITS, Registers::RAX as u8, value);
        m.words[Registers::RSI] = m.words[Registers::RSI].wrapping_add(stride);
        Ok(())
    })
}

fn cmps<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    let (stride, segment) = (stride::<BITS>(m), m.word(op.segment));
    let until_equal = op.traits.has(Traits::REPEATED_UNEQUAL);
    compare::<BITS>(m, op, |m| {
        let a = m.load(BITS, m.words[Registers::RSI].wrapping_add(segment))?;
        let b = m.load(BITS, m.words[Registers::RDI])?;
        m.flags.sub::<BITS>(a, b, false);
        m.words[Registers::RSI] = m.words[Registers::RSI].wrapping_add(stride);
        m.words[Registers::RDI] = m.words[Registers::RDI].wrapping_add(stride);
        Ok((a == b) != until_equal)
    })
}

fn scas<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    let stride = stride::<BITS>(m);
    let until_equal = op.traits.has(Traits::REPEATED_UNEQUAL);
    compare::<BITS>(m, op, |m| {
        let a = m.get(BITS, Registers::RAX as u8);
        let b = m.load(BITS, m.words[Registers::RDI])?;
        m.flags.sub::<BITS>(a, b, false);
        m.words[Registers::RDI] = m.words[Registers::RDI].wrapping_add(stride);
        Ok((a == b) != until_equal)
    })
}
