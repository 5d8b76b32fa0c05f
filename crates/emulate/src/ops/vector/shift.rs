//! Shifts and rotations of integers, lane by lane.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use super::{Entry, one_immediate, three, two, two_immediate};
use crate::lane::{map, zip, zip3};

pub(super) fn entry(instruction: &Instruction) -> Option<Entry> {
    let last = instruction.op_count().checked_sub(1)?;
    if instruction.op_kind(last) == OpKind::Immediate8 {
        by_immediate(instruction.mnemonic())
    } else {
        by_lowest(instruction.mnemonic())
            .map(Entry::uniform)
            .or_else(|| by_element(instruction.mnemonic()))
    }
}

// Shifting by the size of the element or more gives 0.
fn shl16(a: u16, n: u64) -> u16 {
    if n < 16 { a << n } else { 0 }
}
fn shl32(a: u32, n: u64) -> u32 {
    if n < 32 { a << n } else { 0 }
}
fn shl64(a: u64, n: u64) -> u64 {
    if n < 64 { a << n } else { 0 }
}
fn shr16(a: u16, n: u64) -> u16 {
    if n < 16 { a >> n } else { 0 }
}
fn shr32(a: u32, n: u64) -> u32 {
    if n < 32 { a >> n } else { 0 }
}
fn shr64(a: u64, n: u64) -> u64 {
    if n < 64 { a >> n } else { 0 }
}
fn sar16(a: i16, n: u64) -> i16 {
    a >> n.min(15)
}
fn sar32(a: i32, n: u64) -> i32 {
    a >> n.min(31)
}
fn sar64(a: i64, n: u64) -> i64 {
    a >> n.min(63)
}

fn by_immediate(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Psllw | M::Vpsllw => one_immediate(2, |a, n| map(a, |a| shl16(a, n.into()))),
        M::Pslld | M::Vpslld => one_immediate(4, |a, n| map(a, |a| shl32(a, n.into()))),
        M::Psllq | M::Vpsllq => one_immediate(8, |a, n| map(a, |a| shl64(a, n.into()))),
        M::Psrlw | M::Vpsrlw => one_immediate(2, |a, n| map(a, |a| shr16(a, n.into()))),
        M::Psrld | M::Vpsrld => one_immediate(4, |a, n| map(a, |a| shr32(a, n.into()))),
        M::Psrlq | M::Vpsrlq => one_immediate(8, |a, n| map(a, |a| shr64(a, n.into()))),
        M::Psraw | M::Vpsraw => one_immediate(2, |a, n| map(a, |a| sar16(a, n.into()))),
        M::Psrad | M::Vpsrad => one_immediate(4, |a, n| map(a, |a| sar32(a, n.into()))),
        M::Vpsraq => one_immediate(8, |a, n| map(a, |a| sar64(a, n.into()))),
        M::Pslldq | M::Vpslldq => {
            one_immediate(1, |a, n| a.checked_shl(u32::from(n) * 8).unwrap_or(0))
        }
        M::Psrldq | M::Vpsrldq => {
            one_immediate(1, |a, n| a.checked_shr(u32::from(n) * 8).unwrap_or(0))
        }
        M::Vprold => one_immediate(4, |a, n| map(a, |a: u32| a.rotate_left(n.into()))),
        M::Vprolq => one_immediate(8, |a, n| map(a, |a: u64| a.rotate_left(n.into()))),
        M::Vprord => one_immediate(4, |a, n| map(a, |a: u32| a.rotate_right(n.into()))),
        M::Vprorq => one_immediate(8, |a, n| map(a, |a: u64| a.rotate_right(n.into()))),
        M::Vpshldw => two_immediate(2, |a, b, n| zip(a, b, |a, b| left16(a, b, n.into()))),
        M::Vpshldd => two_immediate(4, |a, b, n| zip(a, b, |a, b| left32(a, b, n.into()))),
        M::Vpshldq => two_immediate(8, |a, b, n| zip(a, b, |a, b| left64(a, b, n.into()))),
        M::Vpshrdw => two_immediate(2, |a, b, n| zip(a, b, |a, b| right16(a, b, n.into()))),
        M::Vpshrdd => two_immediate(4, |a, b, n| zip(a, b, |a, b| right32(a, b, n.into()))),
        M::Vpshrdq => two_immediate(8, |a, b, n| zip(a, b, |a, b| right64(a, b, n.into()))),
        _ => None,
    }
}

/// Looks up shifts of all elements by the lowest 64 bits of the second source.
fn by_lowest(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Psllw | M::Vpsllw => two(2, |a, n| map(a, |a| shl16(a, n as u64))),
        M::Pslld | M::Vpslld => two(4, |a, n| map(a, |a| shl32(a, n as u64))),
        M::Psllq | M::Vpsllq => two(8, |a, n| map(a, |a| shl64(a, n as u64))),
        M::Psrlw | M::Vpsrlw => two(2, |a, n| map(a, |a| shr16(a, n as u64))),
        M::Psrld | M::Vpsrld => two(4, |a, n| map(a, |a| shr32(a, n as u64))),
        M::Psrlq | M::Vpsrlq => two(8, |a, n| map(a, |a| shr64(a, n as u64))),
        M::Psraw | M::Vpsraw => two(2, |a, n| map(a, |a| sar16(a, n as u64))),
        M::Psrad | M::Vpsrad => two(4, |a, n| map(a, |a| sar32(a, n as u64))),
        M::Vpsraq => two(8, |a, n| map(a, |a| sar64(a, n as u64))),
        _ => None,
    }
}

fn by_element(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Vpsllvw => two(2, |a, n| zip(a, n, |a, n| shl16(a, n.into()))),
        M::Vpsllvd => two(4, |a, n| zip(a, n, |a, n| shl32(a, n.into()))),
        M::Vpsllvq => two(8, |a, n| zip(a, n, shl64)),
        M::Vpsrlvw => two(2, |a, n| zip(a, n, |a, n| shr16(a, n.into()))),
        M::Vpsrlvd => two(4, |a, n| zip(a, n, |a, n| shr32(a, n.into()))),
        M::Vpsrlvq => two(8, |a, n| zip(a, n, shr64)),
        M::Vpsravw => two(2, |a, n| {
            zip(a, n, |a, n: i16| sar16(a, n.cast_unsigned().into()))
        }),
        M::Vpsravd => two(4, |a, n| {
            zip(a, n, |a, n: i32| sar32(a, n.cast_unsigned().into()))
        }),
        M::Vpsravq => two(8, |a, n| zip(a, n, |a, n: i64| sar64(a, n.cast_unsigned()))),
        M::Vprolvd => two(4, |a, n| zip(a, n, u32::rotate_left)),
        M::Vprolvq => two(8, |a, n| {
            zip(a, n, |a: u64, n| a.rotate_left(n as u32 & 63))
        }),
        M::Vprorvd => two(4, |a, n| zip(a, n, u32::rotate_right)),
        M::Vprorvq => two(8, |a, n| {
            zip(a, n, |a: u64, n| a.rotate_right(n as u32 & 63))
        }),
        M::Vpshldvw => three(2, |a, b, n| {
            zip3(a, b, n, |a, b, n: u16| left16(a, b, n.into()))
        }),
        M::Vpshldvd => three(4, |a, b, n| zip3(a, b, n, left32)),
        M::Vpshldvq => three(8, |a, b, n| zip3(a, b, n, |a, b, n| left64(a, b, n as u32))),
        M::Vpshrdvw => three(2, |a, b, n| {
            zip3(a, b, n, |a, b, n: u16| right16(a, b, n.into()))
        }),
        M::Vpshrdvd => three(4, |a, b, n| zip3(a, b, n, right32)),
        M::Vpshrdvq => three(8, |a, b, n| {
            zip3(a, b, n, |a, b, n| right64(a, b, n as u32))
        }),
        _ => None,
    }
}

// Shifts of two elements as one number: the upper half of `a:b` to the left, the lower half of
// `b:a` to the right.
fn left16(a: u16, b: u16, n: u32) -> u16 {
    (((u32::from(a) << 16 | u32::from(b)) << (n & 15)) >> 16) as u16
}
fn left32(a: u32, b: u32, n: u32) -> u32 {
    (((u64::from(a) << 32 | u64::from(b)) << (n & 31)) >> 32) as u32
}
fn left64(a: u64, b: u64, n: u32) -> u64 {
    (((u128::from(a) << 64 | u128::from(b)) << (n & 63)) >> 64) as u64
}
fn right16(a: u16, b: u16, n: u32) -> u16 {
    ((u32::from(b) << 16 | u32::from(a)) >> (n & 15)) as u16
}
fn right32(a: u32, b: u32, n: u32) -> u32 {
    ((u64::from(b) << 32 | u64::from(a)) >> (n & 31)) as u32
}
fn right64(a: u64, b: u64, n: u32) -> u64 {
    ((u128::from(b) << 64 | u128::from(a)) >> (n & 63)) as u64
}
