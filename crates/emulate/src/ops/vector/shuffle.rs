//! Reordering of elements, lane by lane.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use super::{Entry, one, one_immediate, three, two, two_immediate};
use crate::lane::{Element, build, zip3};

pub(super) fn entry(instruction: &Instruction) -> Option<Entry> {
    let mnemonic = instruction.mnemonic();
    interleave(mnemonic)
        .or_else(|| pack(mnemonic))
        .or_else(|| by_immediate(instruction))
        .or_else(|| blend(mnemonic))
        .or_else(|| by_vector(mnemonic))
        .map(Entry::whole)
}

/// Interleaves the elements of the lower or the upper halves.
fn unpack<T: Element>(a: u128, b: u128, upper: bool) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let (a, b) = (a.as_ref(), b.as_ref());
    let first = if upper { a.len() / 2 } else { 0 };
    build(|n| {
        if n % 2 == 0 {
            a[first + n / 2]
        } else {
            b[first + n / 2]
        }
    })
}

fn interleave(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Punpcklbw | M::Vpunpcklbw => two(1, |a, b| unpack::<u8>(a, b, false)),
        M::Punpcklwd | M::Vpunpcklwd => two(2, |a, b| unpack::<u16>(a, b, false)),
        M::Punpckldq | M::Vpunpckldq | M::Unpcklps | M::Vunpcklps => {
            two(4, |a, b| unpack::<u32>(a, b, false))
        }
        M::Punpcklqdq | M::Vpunpcklqdq | M::Unpcklpd | M::Vunpcklpd => {
            two(8, |a, b| unpack::<u64>(a, b, false))
        }
        M::Punpckhbw | M::Vpunpckhbw => two(1, |a, b| unpack::<u8>(a, b, true)),
        M::Punpckhwd | M::Vpunpckhwd => two(2, |a, b| unpack::<u16>(a, b, true)),
        M::Punpckhdq | M::Vpunpckhdq | M::Unpckhps | M::Vunpckhps => {
            two(4, |a, b| unpack::<u32>(a, b, true))
        }
        M::Punpckhqdq | M::Vpunpckhqdq | M::Unpckhpd | M::Vunpckhpd => {
            two(8, |a, b| unpack::<u64>(a, b, true))
        }
        M::Movsldup | M::Vmovsldup => one(4, |a| {
            let a = u32::split(a);
            build(|n| a[n & !1])
        }),
        M::Movshdup | M::Vmovshdup => one(4, |a| {
            let a = u32::split(a);
            build(|n| a[n | 1])
        }),
        M::Movddup | M::Vmovddup => one(8, |a| unpack::<u64>(a, a, false)),
        _ => None,
    }
}

/// Looks up the packing of both sources into elements of half the size, with saturation.
fn pack(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Packsswb | M::Vpacksswb => two(1, |a, b| {
            let (a, b) = (i16::split(a), i16::split(b));
            build(|n| {
                (if n < 8 { a[n] } else { b[n - 8] }).clamp(i8::MIN.into(), i8::MAX.into()) as i8
            })
        }),
        M::Packuswb | M::Vpackuswb => two(1, |a, b| {
            let (a, b) = (i16::split(a), i16::split(b));
            build(|n| (if n < 8 { a[n] } else { b[n - 8] }).clamp(0, u8::MAX.into()) as u8)
        }),
        M::Packssdw | M::Vpackssdw => two(2, |a, b| {
            let (a, b) = (i32::split(a), i32::split(b));
            build(|n| {
                (if n < 4 { a[n] } else { b[n - 4] }).clamp(i16::MIN.into(), i16::MAX.into()) as i16
            })
        }),
        M::Packusdw | M::Vpackusdw => two(2, |a, b| {
            let (a, b) = (i32::split(a), i32::split(b));
            build(|n| (if n < 4 { a[n] } else { b[n - 4] }).clamp(0, u16::MAX.into()) as u16)
        }),
        _ => None,
    }
}

fn four(a: u128, select: u8) -> u128 {
    let a = u32::split(a);
    build(|n| a[usize::from(select >> (2 * n) & 3)])
}

fn two_of(a: u128, b: u128, select: u8) -> u128 {
    let (a, b) = (u64::split(a), u64::split(b));
    build(|n| {
        if n == 0 {
            a[usize::from(select & 1)]
        } else {
            b[usize::from(select >> 1 & 1)]
        }
    })
}

/// Reorders the four words of one half; the other half stays unchanged.
fn words(a: u128, select: u8, first: usize) -> u128 {
    let a = u16::split(a);
    build(|n| {
        if n / 4 * 4 == first {
            a[first + usize::from(select >> (2 * (n - first)) & 3)]
        } else {
            a[n]
        }
    })
}

fn by_immediate(instruction: &Instruction) -> Option<Entry> {
    let last = instruction.op_count().checked_sub(1)?;
    if instruction.op_kind(last) != OpKind::Immediate8 {
        return None;
    }
    match instruction.mnemonic() {
        M::Pshufd | M::Vpshufd | M::Vpermilps => one_immediate(4, four),
        M::Pshuflw | M::Vpshuflw => one_immediate(2, |a, select| words(a, select, 0)),
        M::Pshufhw | M::Vpshufhw => one_immediate(2, |a, select| words(a, select, 4)),
        M::Vpermilpd => {
            one_immediate(8, |a, select| two_of(a, a, select)).map(|entry| entry.immediate_bits(2))
        }
        M::Shufpd | M::Vshufpd => two_immediate(8, two_of).map(|entry| entry.immediate_bits(2)),
        M::Shufps | M::Vshufps => two_immediate(4, |a, b, select| {
            let (a, b) = (u32::split(a), u32::split(b));
            build(|n| (if n < 2 { a } else { b })[usize::from(select >> (2 * n) & 3)])
        }),
        M::Palignr | M::Vpalignr => two_immediate(1, |a, b, count| {
            let both: [u8; 32] = std::array::from_fn(|n| {
                if n < 16 {
                    b.to_le_bytes()[n]
                } else {
                    a.to_le_bytes()[n - 16]
                }
            });
            build(|n| both.get(n + usize::from(count)).copied().unwrap_or(0))
        }),
        M::Vdbpsadbw => two_immediate(2, |a, b, select| {
            let (a, b) = (u8::split(a), u8::split(four(b, select)));
            // Of eight words, 0, 1, 4 and 5 start with the first byte of a quadword of `a`, the
            // others with the fifth.
            build(|n| {
                let from = n / 4 * 8 + n / 2 % 2 * 4;
                let with = n / 4 * 8 + n % 4;
                (0..4)
                    .map(|k| u16::from(a[from + k].abs_diff(b[with + k])))
                    .sum::<u16>()
            })
        }),
        _ => None,
    }
}

fn blend(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pblendw | M::Vpblendw => two_immediate(2, |a, b, select| {
            let (a, b) = (u16::split(a), u16::split(b));
            build(|n| if select >> n & 1 != 0 { b[n] } else { a[n] })
        }),
        M::Blendps | M::Vblendps | M::Vpblendd => two_immediate(4, |a, b, select| {
            let (a, b) = (u32::split(a), u32::split(b));
            build(|n| if select >> n & 1 != 0 { b[n] } else { a[n] })
        })
        .map(|entry| entry.immediate_bits(4)),
        M::Blendpd | M::Vblendpd => two_immediate(8, |a, b, select| {
            let (a, b) = (u64::split(a), u64::split(b));
            build(|n| if select >> n & 1 != 0 { b[n] } else { a[n] })
        })
        .map(|entry| entry.immediate_bits(2)),
        M::Pblendvb | M::Vpblendvb => three(1, |mask, a, b| {
            zip3(mask, a, b, |mask: i8, a, b| if mask < 0 { b } else { a })
        }),
        M::Blendvps | M::Vblendvps => three(4, |mask, a, b| {
            zip3(mask, a, b, |mask: i32, a, b| if mask < 0 { b } else { a })
        }),
        M::Blendvpd | M::Vblendvpd => three(8, |mask, a, b| {
            zip3(mask, a, b, |mask: i64, a, b| if mask < 0 { b } else { a })
        }),
        _ => None,
    }
}

fn by_vector(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pshufb | M::Vpshufb => two(1, |a, select| {
            let (a, select) = (u8::split(a), u8::split(select));
            build(|n| {
                if select[n] & 0x80 != 0 {
                    0
                } else {
                    a[usize::from(select[n] & 15)]
                }
            })
        }),
        M::Vpermilps => two(4, |a, select| {
            let (a, select) = (u32::split(a), u32::split(select));
            build(|n| a[select[n] as usize & 3])
        }),
        M::Vpermilpd => two(8, |a, select| {
            let (a, select) = (u64::split(a), u64::split(select));
            build(|n| a[select[n] as usize >> 1 & 1])
        }),
        M::Vpmultishiftqb => two(1, |select, a| {
            let (select, a) = (u8::split(select), u64::split(a));
            build(|n| a[n / 8].rotate_right(u32::from(select[n] & 63)) as u8)
        }),
        _ => None,
    }
}
