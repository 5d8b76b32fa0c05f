//! The string comparisons of SSE4.2.

use iced_x86::{Instruction, Mnemonic as M};

use super::{register, register_mut, source};
use crate::{
    machine::{Machine, Result},
    op::{Handler, Op, Traits},
    registers::{Registers, Vector},
};

pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    // The lengths have 64 bits only if the instruction says so.
    let wide = matches!(
        instruction.mnemonic(),
        M::Pcmpestri64 | M::Pcmpestrm64 | M::Vpcmpestri64 | M::Vpcmpestrm64
    );
    op.bits = if wide { 64 } else { 32 };
    Some(match instruction.mnemonic() {
        M::Pcmpestri | M::Vpcmpestri | M::Pcmpestri64 | M::Vpcmpestri64 => explicit::<false>,
        M::Pcmpestrm | M::Vpcmpestrm | M::Pcmpestrm64 | M::Vpcmpestrm64 => explicit::<true>,
        M::Pcmpistri | M::Vpcmpistri => implicit::<false>,
        M::Pcmpistrm | M::Vpcmpistrm => implicit::<true>,
        _ => return None,
    })
}

/// Two strings of bytes or words, as numbers.
struct Strings {
    a: Vec<i32>,
    b: Vec<i32>,
    /// How many elements of each are valid.
    lengths: (usize, usize),
}

fn elements(vector: &Vector, control: u8) -> Vec<i32> {
    let bytes = vector[0].to_le_bytes();
    let words = || bytes.as_chunks::<2>().0.iter();
    match control & 3 {
        0 => bytes.iter().map(|&x| x.into()).collect(),
        1 => words().map(|&x| u16::from_le_bytes(x).into()).collect(),
        2 => bytes.iter().map(|&x| x.cast_signed().into()).collect(),
        _ => words().map(|&x| i16::from_le_bytes(x).into()).collect(),
    }
}

fn explicit<const MASK: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let control = op.immediate as u8;
    let (a, b) = (
        elements(&source(m, op, 0)?, control),
        elements(&source(m, op, 1)?, control),
    );
    let length = |register: usize| {
        let length = crate::flags::signed(m.words[register], op.bits.into());
        length.unsigned_abs().min(a.len() as u64) as usize
    };
    let lengths = (length(Registers::RAX), length(Registers::RDX));
    finish::<MASK>(m, op, &Strings { a, b, lengths });
    Ok(())
}

fn implicit<const MASK: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let control = op.immediate as u8;
    let (a, b) = (
        elements(&source(m, op, 0)?, control),
        elements(&source(m, op, 1)?, control),
    );
    let length = |text: &[i32]| text.iter().position(|&x| x == 0).unwrap_or(text.len());
    let lengths = (length(&a), length(&b));
    finish::<MASK>(m, op, &Strings { a, b, lengths });
    Ok(())
}

/// Makes the comparison that the control byte names; returns a bit for each element of `b`.
fn compare(strings: &Strings, control: u8) -> u32 {
    let Strings { a, b, lengths } = strings;
    let count = a.len();
    let valid_a = |n: usize| n < lengths.0;
    let valid_b = |n: usize| n < lengths.1;
    let holds = |j: usize| match control >> 2 & 3 {
        // Equal to any of the characters of `a`.
        0 => valid_b(j) && (0..lengths.0).any(|i| a[i] == b[j]),
        // In one of the ranges of `a`.
        1 => valid_b(j) && (0..lengths.0 / 2).any(|i| a[2 * i] <= b[j] && b[j] <= a[2 * i + 1]),
        // Equal, or both beyond the end.
        2 => match (valid_a(j), valid_b(j)) {
            (true, true) => a[j] == b[j],
            (false, false) => true,
            _ => false,
        },
        // `a` begins here.
        _ => (0..count - j).all(|i| !valid_a(i) || valid_b(i + j) && a[i] == b[i + j]),
    };
    let found = (0..count)
        .filter(|&j| holds(j))
        .fold(0, |bits, j| bits | 1 << j);
    let all = (1 << count) - 1;
    match control >> 4 & 3 {
        1 => found ^ all,
        3 => found ^ ((1 << lengths.1) - 1),
        _ => found,
    }
}

fn finish<const MASK: bool>(m: &mut Machine<'_>, op: &Op, strings: &Strings) {
    let control = op.immediate as u8;
    let count = strings.a.len();
    let found = compare(strings, control);
    let upper = control & 0x40 != 0;
    if MASK {
        let size = 16 / count;
        let mut result = [u128::from(found), 0, 0, 0];
        if upper {
            result[0] = 0;
            for n in (0..count).filter(|n| found >> n & 1 != 0) {
                crate::lane::set_element(&mut result, size, n, u64::MAX >> (64 - 8 * size));
            }
        }
        let legacy = op.traits.has(Traits::LEGACY);
        let mut to = *register(m, 0);
        to[0] = result[0];
        if !legacy {
            to[1..].fill(0);
        }
        *register_mut(m, 0) = to;
    } else {
        let index = match (found, upper) {
            (0, _) => count as u32,
            (_, true) => 31 - found.leading_zeros(),
            _ => found.trailing_zeros(),
        };
        m.words[Registers::RCX] = index.into();
    }
    m.flags
        .set_comparison(strings.lengths.1 < count, false, found != 0);
    m.flags
        .set_sign_and_overflow(strings.lengths.0 < count, found & 1 != 0);
}
