//! Integer arithmetic, logic and comparisons, lane by lane.

use iced_x86::Mnemonic as M;

use super::{Entry, one, three, two, two_immediate};
use crate::lane::{Element, build, map, zip};

pub(super) fn entry(mnemonic: M) -> Option<Entry> {
    logic(mnemonic)
        .or_else(|| sums(mnemonic))
        .or_else(|| products(mnemonic))
        .or_else(|| comparisons(mnemonic))
        .or_else(|| extremes(mnemonic))
        .or_else(|| counts(mnemonic))
        .or_else(|| dot_products(mnemonic))
        .or_else(|| horizontal(mnemonic).map(Entry::whole))
}

fn logic(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pand | M::Vpand | M::Vpandd | M::Andps | M::Vandps => two(4, |a, b| a & b),
        M::Vpandq | M::Andpd | M::Vandpd => two(8, |a, b| a & b),
        M::Por | M::Vpor | M::Vpord | M::Orps | M::Vorps => two(4, |a, b| a | b),
        M::Vporq | M::Orpd | M::Vorpd => two(8, |a, b| a | b),
        M::Pxor | M::Vpxor | M::Vpxord | M::Xorps | M::Vxorps => two(4, |a, b| a ^ b),
        M::Vpxorq | M::Xorpd | M::Vxorpd => two(8, |a, b| a ^ b),
        M::Pandn | M::Vpandn | M::Vpandnd | M::Andnps | M::Vandnps => two(4, |a, b| !a & b),
        M::Vpandnq | M::Andnpd | M::Vandnpd => two(8, |a, b| !a & b),
        M::Vpternlogd => Some(Entry::new(crate::op::Kernel::ThreeImmediate(ternary), 4)),
        M::Vpternlogq => Some(Entry::new(crate::op::Kernel::ThreeImmediate(ternary), 8)),
        _ => None,
    }
}

/// Applies any function of three bits: the immediate is its truth table.
fn ternary(a: u128, b: u128, c: u128, table: u8) -> u128 {
    (0..8)
        .filter(|row| table >> row & 1 != 0)
        .fold(0, |result, row| {
            let a = if row & 4 != 0 { a } else { !a };
            let b = if row & 2 != 0 { b } else { !b };
            let c = if row & 1 != 0 { c } else { !c };
            result | a & b & c
        })
}

fn sums(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Paddb | M::Vpaddb => two(1, |a, b| zip(a, b, u8::wrapping_add)),
        M::Paddw | M::Vpaddw => two(2, |a, b| zip(a, b, u16::wrapping_add)),
        M::Paddd | M::Vpaddd => two(4, |a, b| zip(a, b, u32::wrapping_add)),
        M::Paddq | M::Vpaddq => two(8, |a, b| zip(a, b, u64::wrapping_add)),
        M::Psubb | M::Vpsubb => two(1, |a, b| zip(a, b, u8::wrapping_sub)),
        M::Psubw | M::Vpsubw => two(2, |a, b| zip(a, b, u16::wrapping_sub)),
        M::Psubd | M::Vpsubd => two(4, |a, b| zip(a, b, u32::wrapping_sub)),
        M::Psubq | M::Vpsubq => two(8, |a, b| zip(a, b, u64::wrapping_sub)),
        M::Paddsb | M::Vpaddsb => two(1, |a, b| zip(a, b, i8::saturating_add)),
        M::Paddsw | M::Vpaddsw => two(2, |a, b| zip(a, b, i16::saturating_add)),
        M::Paddusb | M::Vpaddusb => two(1, |a, b| zip(a, b, u8::saturating_add)),
        M::Paddusw | M::Vpaddusw => two(2, |a, b| zip(a, b, u16::saturating_add)),
        M::Psubsb | M::Vpsubsb => two(1, |a, b| zip(a, b, i8::saturating_sub)),
        M::Psubsw | M::Vpsubsw => two(2, |a, b| zip(a, b, i16::saturating_sub)),
        M::Psubusb | M::Vpsubusb => two(1, |a, b| zip(a, b, u8::saturating_sub)),
        M::Psubusw | M::Vpsubusw => two(2, |a, b| zip(a, b, u16::saturating_sub)),
        M::Pavgb | M::Vpavgb => two(1, |a, b| {
            zip(a, b, |a: u8, b| {
                (u16::from(a) + u16::from(b)).div_ceil(2) as u8
            })
        }),
        M::Pavgw | M::Vpavgw => two(2, |a, b| {
            zip(a, b, |a: u16, b| {
                (u32::from(a) + u32::from(b)).div_ceil(2) as u16
            })
        }),
        M::Pabsb | M::Vpabsb => one(1, |a| map(a, i8::wrapping_abs)),
        M::Pabsw | M::Vpabsw => one(2, |a| map(a, i16::wrapping_abs)),
        M::Pabsd | M::Vpabsd => one(4, |a| map(a, i32::wrapping_abs)),
        M::Vpabsq => one(8, |a| map(a, i64::wrapping_abs)),
        M::Psignb | M::Vpsignb => two(1, |a, b| zip(a, b, |a: i8, b| a.wrapping_mul(b.signum()))),
        M::Psignw | M::Vpsignw => two(2, |a, b| zip(a, b, |a: i16, b| a.wrapping_mul(b.signum()))),
        M::Psignd | M::Vpsignd => two(4, |a, b| zip(a, b, |a: i32, b| a.wrapping_mul(b.signum()))),
        _ => None,
    }
}

fn products(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pmullw | M::Vpmullw => two(2, |a, b| zip(a, b, u16::wrapping_mul)),
        M::Pmulld | M::Vpmulld => two(4, |a, b| zip(a, b, u32::wrapping_mul)),
        M::Vpmullq => two(8, |a, b| zip(a, b, u64::wrapping_mul)),
        M::Pmulhw | M::Vpmulhw => two(2, |a, b| {
            zip(a, b, |a: i16, b| {
                ((i32::from(a) * i32::from(b)) >> 16) as i16
            })
        }),
        M::Pmulhuw | M::Vpmulhuw => two(2, |a, b| {
            zip(a, b, |a: u16, b| {
                ((u32::from(a) * u32::from(b)) >> 16) as u16
            })
        }),
        M::Pmulhrsw | M::Vpmulhrsw => two(2, |a, b| {
            zip(a, b, |a: i16, b| {
                ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16
            })
        }),
        M::Pmuludq | M::Vpmuludq => two(8, |a, b| {
            zip(a, b, |a: u64, b| {
                (a & 0xffff_ffff).wrapping_mul(b & 0xffff_ffff)
            })
        }),
        M::Pmuldq | M::Vpmuldq => two(8, |a, b| {
            zip(a, b, |a: i64, b| {
                i64::from(a as i32).wrapping_mul(i64::from(b as i32))
            })
        }),
        M::Vpmadd52luq => three(8, |c, a, b| multiply_52(c, a, b, 0)),
        M::Vpmadd52huq => three(8, |c, a, b| multiply_52(c, a, b, 52)),
        _ => None,
    }
}

/// Multiplies 52-bit numbers, and adds 52 bits of the products.
fn multiply_52(c: u128, a: u128, b: u128, shift: u32) -> u128 {
    const MASK: u64 = (1 << 52) - 1;
    crate::lane::zip3(c, a, b, |c: u64, a, b| {
        let product = u128::from(a & MASK) * u128::from(b & MASK);
        c.wrapping_add((product >> shift) as u64 & MASK)
    })
}

/// Returns all ones if a comparison holds.
fn all_ones(holds: bool) -> u64 {
    if holds { u64::MAX } else { 0 }
}

fn comparisons(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pcmpeqb | M::Vpcmpeqb => two(1, |a, b| zip(a, b, |a: u8, b| all_ones(a == b) as u8)),
        M::Pcmpeqw | M::Vpcmpeqw => two(2, |a, b| zip(a, b, |a: u16, b| all_ones(a == b) as u16)),
        M::Pcmpeqd | M::Vpcmpeqd => two(4, |a, b| zip(a, b, |a: u32, b| all_ones(a == b) as u32)),
        M::Pcmpeqq | M::Vpcmpeqq => two(8, |a, b| zip(a, b, |a: u64, b| all_ones(a == b))),
        M::Pcmpgtb | M::Vpcmpgtb => two(1, |a, b| zip(a, b, |a: i8, b| all_ones(a > b) as i8)),
        M::Pcmpgtw | M::Vpcmpgtw => two(2, |a, b| zip(a, b, |a: i16, b| all_ones(a > b) as i16)),
        M::Pcmpgtd | M::Vpcmpgtd => two(4, |a, b| zip(a, b, |a: i32, b| all_ones(a > b) as i32)),
        M::Pcmpgtq | M::Vpcmpgtq => two(8, |a, b| zip(a, b, |a: i64, b| all_ones(a > b) as i64)),
        M::Vpcmpb => two_immediate(1, |a, b, which| {
            zip(a, b, |a: i8, b| all_ones(compare(a, b, which)) as i8)
        }),
        M::Vpcmpw => two_immediate(2, |a, b, which| {
            zip(a, b, |a: i16, b| all_ones(compare(a, b, which)) as i16)
        }),
        M::Vpcmpd => two_immediate(4, |a, b, which| {
            zip(a, b, |a: i32, b| all_ones(compare(a, b, which)) as i32)
        }),
        M::Vpcmpq => two_immediate(8, |a, b, which| {
            zip(a, b, |a: i64, b| all_ones(compare(a, b, which)) as i64)
        }),
        M::Vpcmpub => two_immediate(1, |a, b, which| {
            zip(a, b, |a: u8, b| all_ones(compare(a, b, which)) as u8)
        }),
        M::Vpcmpuw => two_immediate(2, |a, b, which| {
            zip(a, b, |a: u16, b| all_ones(compare(a, b, which)) as u16)
        }),
        M::Vpcmpud => two_immediate(4, |a, b, which| {
            zip(a, b, |a: u32, b| all_ones(compare(a, b, which)) as u32)
        }),
        M::Vpcmpuq => two_immediate(8, |a, b, which| {
            zip(a, b, |a: u64, b| all_ones(compare(a, b, which)))
        }),
        M::Vptestmb => two(1, |a, b| zip(a, b, |a: u8, b| all_ones(a & b != 0) as u8)),
        M::Vptestmw => two(2, |a, b| zip(a, b, |a: u16, b| all_ones(a & b != 0) as u16)),
        M::Vptestmd => two(4, |a, b| zip(a, b, |a: u32, b| all_ones(a & b != 0) as u32)),
        M::Vptestmq => two(8, |a, b| zip(a, b, |a: u64, b| all_ones(a & b != 0))),
        M::Vptestnmb => two(1, |a, b| zip(a, b, |a: u8, b| all_ones(a & b == 0) as u8)),
        M::Vptestnmw => two(2, |a, b| zip(a, b, |a: u16, b| all_ones(a & b == 0) as u16)),
        M::Vptestnmd => two(4, |a, b| zip(a, b, |a: u32, b| all_ones(a & b == 0) as u32)),
        M::Vptestnmq => two(8, |a, b| zip(a, b, |a: u64, b| all_ones(a & b == 0))),
        // The sign bits of the elements.
        M::Vpmovb2m => one(1, |a| a),
        M::Vpmovw2m => one(2, |a| a),
        M::Vpmovd2m => one(4, |a| a),
        M::Vpmovq2m => one(8, |a| a),
        _ => None,
    }
}

/// Returns whether a predicate of `vpcmp` holds.
fn compare<T: Ord>(a: T, b: T, which: u8) -> bool {
    match which & 7 {
        0 => a == b,
        1 => a < b,
        2 => a <= b,
        3 => false,
        4 => a != b,
        5 => a >= b,
        6 => a > b,
        _ => true,
    }
}

fn extremes(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pminub | M::Vpminub => two(1, |a, b| zip(a, b, u8::min)),
        M::Pminuw | M::Vpminuw => two(2, |a, b| zip(a, b, u16::min)),
        M::Pminud | M::Vpminud => two(4, |a, b| zip(a, b, u32::min)),
        M::Vpminuq => two(8, |a, b| zip(a, b, u64::min)),
        M::Pminsb | M::Vpminsb => two(1, |a, b| zip(a, b, i8::min)),
        M::Pminsw | M::Vpminsw => two(2, |a, b| zip(a, b, i16::min)),
        M::Pminsd | M::Vpminsd => two(4, |a, b| zip(a, b, i32::min)),
        M::Vpminsq => two(8, |a, b| zip(a, b, i64::min)),
        M::Pmaxub | M::Vpmaxub => two(1, |a, b| zip(a, b, u8::max)),
        M::Pmaxuw | M::Vpmaxuw => two(2, |a, b| zip(a, b, u16::max)),
        M::Pmaxud | M::Vpmaxud => two(4, |a, b| zip(a, b, u32::max)),
        M::Vpmaxuq => two(8, |a, b| zip(a, b, u64::max)),
        M::Pmaxsb | M::Vpmaxsb => two(1, |a, b| zip(a, b, i8::max)),
        M::Pmaxsw | M::Vpmaxsw => two(2, |a, b| zip(a, b, i16::max)),
        M::Pmaxsd | M::Vpmaxsd => two(4, |a, b| zip(a, b, i32::max)),
        M::Vpmaxsq => two(8, |a, b| zip(a, b, i64::max)),
        _ => None,
    }
}

fn counts(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Vpopcntb => one(1, |a| map(a, |a: u8| a.count_ones() as u8)),
        M::Vpopcntw => one(2, |a| map(a, |a: u16| a.count_ones() as u16)),
        M::Vpopcntd => one(4, |a| map(a, |a: u32| a.count_ones())),
        M::Vpopcntq => one(8, |a| map(a, |a: u64| a.count_ones().into())),
        M::Vplzcntd => one(4, |a| map(a, |a: u32| a.leading_zeros())),
        M::Vplzcntq => one(8, |a| map(a, |a: u64| a.leading_zeros().into())),
        _ => None,
    }
}

fn horizontal(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Pmaddwd | M::Vpmaddwd => two(4, |a, b| {
            let (a, b) = (i16::split(a), i16::split(b));
            let product = |n: usize| i32::from(a[n]) * i32::from(b[n]);
            build(|n| product(2 * n).wrapping_add(product(2 * n + 1)))
        }),
        M::Pmaddubsw | M::Vpmaddubsw => two(2, |a, b| {
            let (a, b) = (u8::split(a), i8::split(b));
            let product = |n: usize| i16::from(a[n]) * i16::from(b[n]);
            build(|n| product(2 * n).saturating_add(product(2 * n + 1)))
        }),
        M::Phaddw | M::Vphaddw => two(2, |a, b| pairs16(a, b, i16::wrapping_add)),
        M::Phsubw | M::Vphsubw => two(2, |a, b| pairs16(a, b, i16::wrapping_sub)),
        M::Phaddsw | M::Vphaddsw => two(2, |a, b| pairs16(a, b, i16::saturating_add)),
        M::Phsubsw | M::Vphsubsw => two(2, |a, b| pairs16(a, b, i16::saturating_sub)),
        M::Phaddd | M::Vphaddd => two(4, |a, b| pairs32(a, b, i32::wrapping_add)),
        M::Phsubd | M::Vphsubd => two(4, |a, b| pairs32(a, b, i32::wrapping_sub)),
        M::Psadbw | M::Vpsadbw => two(8, |a, b| {
            let (a, b) = (u8::split(a), u8::split(b));
            build(|half| {
                (8 * half..8 * half + 8)
                    .map(|n| u64::from(a[n].abs_diff(b[n])))
                    .sum::<u64>()
            })
        }),
        M::Mpsadbw | M::Vmpsadbw => two_immediate(2, |a, b, select| {
            let (a, b) = (u8::split(a), u8::split(b));
            let (from, with) = (
                usize::from(select >> 2 & 1) * 4,
                usize::from(select & 3) * 4,
            );
            build(|n| {
                (0..4)
                    .map(|k| u16::from(a[from + n + k].abs_diff(b[with + k])))
                    .sum::<u16>()
            })
        })
        .map(|entry| entry.immediate_bits(3)),
        M::Phminposuw | M::Vphminposuw => one(2, |a| {
            let elements = u16::split(a);
            let (place, least) = elements
                .iter()
                .enumerate()
                .min_by_key(|&(n, x)| (*x, n))
                .unwrap_or((0, &0));
            u128::from(*least) | (place as u128) << 16
        }),
        _ => None,
    }
}

fn pairs16(a: u128, b: u128, f: impl Fn(i16, i16) -> i16) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    build(|n| {
        let from = if n < 4 { a } else { b };
        f(from[n % 4 * 2], from[n % 4 * 2 + 1])
    })
}

fn pairs32(a: u128, b: u128, f: impl Fn(i32, i32) -> i32) -> u128 {
    let (a, b) = (i32::split(a), i32::split(b));
    build(|n| {
        let from = if n < 2 { a } else { b };
        f(from[n % 2 * 2], from[n % 2 * 2 + 1])
    })
}

/// Looks up sums of products of small integers, added to the destination.
fn dot_products(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Vpdpwssd => three(4, |c, a, b| accumulate_words(c, a, b, i32::wrapping_add)),
        M::Vpdpwssds => three(4, |c, a, b| accumulate_words(c, a, b, i32::saturating_add)),
        M::Vpdpbusd => three(4, |c, a, b| accumulate_bytes(c, a, b, i32::wrapping_add)),
        M::Vpdpbusds => three(4, |c, a, b| accumulate_bytes(c, a, b, i32::saturating_add)),
        _ => None,
    }
}

fn accumulate_words(c: u128, a: u128, b: u128, add: impl Fn(i32, i32) -> i32) -> u128 {
    let (c, a, b) = (i32::split(c), i16::split(a), i16::split(b));
    let product = |n: usize| i64::from(a[n]) * i64::from(b[n]);
    // Only the sum of two squares of the smallest number does not fit, and
    // it saturates the same way.
    build(|n| {
        let sum = product(2 * n) + product(2 * n + 1);
        match i32::try_from(sum) {
            Ok(sum) => add(c[n], sum),
            Err(_) => wide_add(c[n], sum, &add),
        }
    })
}

/// Adds in 64 bits, and saturates if `add` does.
fn wide_add(c: i32, sum: i64, add: impl Fn(i32, i32) -> i32) -> i32 {
    let total = i64::from(c) + sum;
    if add(i32::MAX, 1) == i32::MAX {
        total.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    } else {
        total as i32
    }
}

fn accumulate_bytes(c: u128, a: u128, b: u128, add: impl Fn(i32, i32) -> i32) -> u128 {
    let (c, a, b) = (i32::split(c), u8::split(a), i8::split(b));
    build(|n| {
        let sum = (4 * n..4 * n + 4)
            .map(|k| i32::from(a[k]) * i32::from(b[k]))
            .sum();
        add(c[n], sum)
    })
}
