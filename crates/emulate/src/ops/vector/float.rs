//! Floating-point arithmetic and comparisons.

use iced_x86::{Instruction, Mnemonic as M};

use super::{Entry, destination_is_first_source, one, source, two, two_immediate, write_register};
use crate::{
    lane::{Element, build, element, map, set_element, zip},
    machine::{Machine, Result},
    number::{Float, arithmetic, round},
    op::{Handler, Kind, Op, Rounding, Traits},
};

pub(super) fn entry(instruction: &Instruction) -> Option<Entry> {
    let mnemonic = instruction.mnemonic();
    packed(mnemonic)
        .or_else(|| scalar(mnemonic).map(Entry::scalar))
        .or_else(|| horizontal(mnemonic))
        .or_else(|| compare(mnemonic))
        .map(Entry::float)
}

#[inline]
fn add<F: Float + std::ops::Add<Output = F>>(a: F, b: F) -> F {
    arithmetic(a, b, a + b)
}
#[inline]
fn sub<F: Float + std::ops::Sub<Output = F>>(a: F, b: F) -> F {
    arithmetic(a, b, a - b)
}
#[inline]
fn mul<F: Float + std::ops::Mul<Output = F>>(a: F, b: F) -> F {
    arithmetic(a, b, a * b)
}
#[inline]
fn div<F: Float + std::ops::Div<Output = F>>(a: F, b: F) -> F {
    arithmetic(a, b, a / b)
}
/// Returns the second number if they are equal or unordered.
#[inline]
fn min<F: Float>(a: F, b: F) -> F {
    if a < b { a } else { b }
}
#[inline]
fn max<F: Float>(a: F, b: F) -> F {
    if a > b { a } else { b }
}

fn packed(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Addps | M::Vaddps => two(4, |a, b| zip(a, b, add::<f32>)),
        M::Addpd | M::Vaddpd => two(8, |a, b| zip(a, b, add::<f64>)),
        M::Subps | M::Vsubps => two(4, |a, b| zip(a, b, sub::<f32>)),
        M::Subpd | M::Vsubpd => two(8, |a, b| zip(a, b, sub::<f64>)),
        M::Mulps | M::Vmulps => two(4, |a, b| zip(a, b, mul::<f32>)),
        M::Mulpd | M::Vmulpd => two(8, |a, b| zip(a, b, mul::<f64>)),
        M::Divps | M::Vdivps => two(4, |a, b| zip(a, b, div::<f32>)),
        M::Divpd | M::Vdivpd => two(8, |a, b| zip(a, b, div::<f64>)),
        M::Minps | M::Vminps => two(4, |a, b| zip(a, b, min::<f32>)),
        M::Minpd | M::Vminpd => two(8, |a, b| zip(a, b, min::<f64>)),
        M::Maxps | M::Vmaxps => two(4, |a, b| zip(a, b, max::<f32>)),
        M::Maxpd | M::Vmaxpd => two(8, |a, b| zip(a, b, max::<f64>)),
        M::Sqrtps | M::Vsqrtps => one(4, |a| map(a, |a: f32| arithmetic(a, a, a.sqrt()))),
        M::Sqrtpd | M::Vsqrtpd => one(8, |a| map(a, |a: f64| arithmetic(a, a, a.sqrt()))),
        _ => None,
    }
}

fn scalar(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Addss | M::Vaddss => two(4, |a, b| first(a, b, add::<f32>)),
        M::Addsd | M::Vaddsd => two(8, |a, b| first(a, b, add::<f64>)),
        M::Subss | M::Vsubss => two(4, |a, b| first(a, b, sub::<f32>)),
        M::Subsd | M::Vsubsd => two(8, |a, b| first(a, b, sub::<f64>)),
        M::Mulss | M::Vmulss => two(4, |a, b| first(a, b, mul::<f32>)),
        M::Mulsd | M::Vmulsd => two(8, |a, b| first(a, b, mul::<f64>)),
        M::Divss | M::Vdivss => two(4, |a, b| first(a, b, div::<f32>)),
        M::Divsd | M::Vdivsd => two(8, |a, b| first(a, b, div::<f64>)),
        M::Minss | M::Vminss => two(4, |a, b| first(a, b, min::<f32>)),
        M::Minsd | M::Vminsd => two(8, |a, b| first(a, b, min::<f64>)),
        M::Maxss | M::Vmaxss => two(4, |a, b| first(a, b, max::<f32>)),
        M::Maxsd | M::Vmaxsd => two(8, |a, b| first(a, b, max::<f64>)),
        M::Sqrtss | M::Vsqrtss => two(4, |_, b| {
            first(b, b, |_, b: f32| arithmetic(b, b, b.sqrt()))
        }),
        M::Sqrtsd | M::Vsqrtsd => two(8, |_, b| {
            first(b, b, |_, b: f64| arithmetic(b, b, b.sqrt()))
        }),
        _ => None,
    }
}

/// Applies `f` to the lowest elements.
#[inline]
fn first<T: Element>(a: u128, b: u128, f: impl Fn(T, T) -> T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let mut result = T::split(0);
    result.as_mut()[0] = f(a.as_ref()[0], b.as_ref()[0]);
    T::join(result)
}

/// Applies `f` to neighbours: the results of `a` are in the lower half, those of `b` in the upper.
fn pairs<T: Element>(a: u128, b: u128, f: impl Fn(T, T) -> T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let (a, b) = (a.as_ref(), b.as_ref());
    let half = a.len() / 2;
    build(|n| {
        let from = if n < half { a } else { b };
        f(from[n % half * 2], from[n % half * 2 + 1])
    })
}

/// Applies `even` to the elements with even numbers, and `odd` to the others.
fn alternate<T: Element>(
    a: u128,
    b: u128,
    even: impl Fn(T, T) -> T,
    odd: impl Fn(T, T) -> T,
) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let (a, b) = (a.as_ref(), b.as_ref());
    build(|n| {
        if n % 2 == 0 {
            even(a[n], b[n])
        } else {
            odd(a[n], b[n])
        }
    })
}

fn horizontal(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Haddps | M::Vhaddps => two(4, |a, b| pairs(a, b, add::<f32>)),
        M::Haddpd | M::Vhaddpd => two(8, |a, b| pairs(a, b, add::<f64>)),
        M::Hsubps | M::Vhsubps => two(4, |a, b| pairs(a, b, sub::<f32>)),
        M::Hsubpd | M::Vhsubpd => two(8, |a, b| pairs(a, b, sub::<f64>)),
        M::Dpps | M::Vdpps => two_immediate(4, dot),
        M::Dppd | M::Vdppd => two_immediate(8, |a, b, select| {
            let products = products(a, b, select, mul::<f64>, 0.0);
            let [x, y] = f64::split(products);
            let sum = add(x, y);
            build(|n| if select >> n & 1 != 0 { sum } else { 0.0 })
        }),
        M::Addsubps | M::Vaddsubps => two(4, |a, b| alternate(a, b, sub::<f32>, add::<f32>)),
        M::Addsubpd | M::Vaddsubpd => two(8, |a, b| alternate(a, b, sub::<f64>, add::<f64>)),
        _ => None,
    }
}

/// Returns the products that the upper half of `select` asks for, and zeros for the others.
fn products<T: Element>(a: u128, b: u128, select: u8, mul: impl Fn(T, T) -> T, zero: T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    build(|n| {
        if select >> (n + 4) & 1 != 0 {
            mul(a.as_ref()[n], b.as_ref()[n])
        } else {
            zero
        }
    })
}

fn dot(a: u128, b: u128, select: u8) -> u128 {
    let [x, y, z, w] = f32::split(products(a, b, select, mul::<f32>, 0.0));
    let sum = add(add(x, y), add(z, w));
    build(|n| if select >> n & 1 != 0 { sum } else { 0.0 })
}

/// Returns whether one of the 32 predicates of AVX holds; SSE has the first 8.
fn holds<F: Float>(a: F, b: F, predicate: u8) -> bool {
    let unordered = a.is_nan() || b.is_nan();
    // Bit 4 changes only whether a quiet NaN raises an exception.
    match predicate & 15 {
        0 => a == b,
        1 => a < b,
        2 => a <= b,
        3 => unordered,
        4 => unordered || a != b,
        5 => unordered || a >= b,
        6 => unordered || a > b,
        7 => !unordered,
        8 => unordered || a == b,
        9 => unordered || a < b,
        10 => unordered || a <= b,
        11 => false,
        12 => !unordered && a != b,
        13 => a >= b,
        14 => a > b,
        _ => true,
    }
}

fn compare32(a: f32, b: f32, predicate: u8) -> f32 {
    f32::from_bits(if holds(a, b, predicate) { u32::MAX } else { 0 })
}

fn compare64(a: f64, b: f64, predicate: u8) -> f64 {
    f64::from_bits(if holds(a, b, predicate) { u64::MAX } else { 0 })
}

fn compare(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Cmpps | M::Vcmpps => {
            two_immediate(4, |a, b, which| zip(a, b, |a, b| compare32(a, b, which)))
        }
        M::Cmppd | M::Vcmppd => {
            two_immediate(8, |a, b, which| zip(a, b, |a, b| compare64(a, b, which)))
        }
        M::Cmpss | M::Vcmpss => {
            two_immediate(4, |a, b, which| first(a, b, |a, b| compare32(a, b, which)))
                .map(Entry::scalar)
        }
        M::Cmpsd | M::Vcmpsd => {
            two_immediate(8, |a, b, which| first(a, b, |a, b| compare64(a, b, which)))
                .map(Entry::scalar)
        }
        _ => None,
    }
}

/// Handles what does not fit the table: comparisons into flags, and rounding to integers.
pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    match mnemonic {
        M::Comiss | M::Ucomiss | M::Vcomiss | M::Vucomiss => {
            op.element = 4;
            return Some(compare_flags);
        }
        M::Comisd | M::Ucomisd | M::Vcomisd | M::Vucomisd => {
            op.element = 8;
            return Some(compare_flags);
        }
        M::Roundps | M::Vroundps | M::Vrndscaleps | M::Roundss | M::Vroundss | M::Vrndscaless => {
            op.element = 4
        }
        M::Roundpd | M::Vroundpd | M::Vrndscalepd | M::Roundsd | M::Vroundsd | M::Vrndscalesd => {
            op.element = 8
        }
        _ => return None,
    }
    // Compilers do not use `vrndscale` with a fraction.
    if matches!(
        mnemonic,
        M::Vrndscaleps | M::Vrndscalepd | M::Vrndscaless | M::Vrndscalesd
    ) && op.immediate >> 4 != 0
    {
        return None;
    }
    let scalar = matches!(
        mnemonic,
        M::Roundss | M::Vroundss | M::Vrndscaless | M::Roundsd | M::Vroundsd | M::Vrndscalesd
    );
    if !scalar {
        return Some(round_packed);
    }
    op.lanes = 1;
    op.traits.add(Traits::SCALAR);
    if op.kind[3] == Kind::None {
        destination_is_first_source(op);
    }
    Some(round_scalar)
}

fn compare_flags(m: &mut Machine<'_>, op: &Op) -> Result {
    m.check_default_floats()?;
    let size = op.element.into();
    let (a, b) = (
        element(&source(m, op, 0)?, size, 0),
        element(&source(m, op, 1)?, size, 0),
    );
    let order = if size == 4 {
        f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32))
    } else {
        f64::from_bits(a).partial_cmp(&f64::from_bits(b))
    };
    let (zero, carry) = match order {
        None => (true, true),
        Some(order) => (order.is_eq(), order.is_lt()),
    };
    m.flags.set_comparison(zero, order.is_none(), carry);
    Ok(())
}

/// Returns the mode that the immediate of a rounding instruction asks for.
fn mode(m: &Machine<'_>, op: &Op) -> Result<Rounding> {
    let from_mxcsr = m.rounding(op)?;
    Ok(if op.immediate & 4 != 0 {
        from_mxcsr
    } else {
        Rounding::from_bits(op.immediate as u32)
    })
}

fn round_bits(bits: u64, size: usize, mode: Rounding) -> u64 {
    if size == 4 {
        let x = f32::from_bits(bits as u32);
        let rounded = if x.is_nan() {
            x.quiet()
        } else {
            round(x.into(), mode) as f32
        };
        rounded.to_bits().into()
    } else {
        let x = f64::from_bits(bits);
        let rounded = if x.is_nan() {
            x.quiet()
        } else {
            round(x, mode)
        };
        rounded.to_bits()
    }
}

fn round_packed(m: &mut Machine<'_>, op: &Op) -> Result {
    let (mode, size) = (mode(m, op)?, usize::from(op.element));
    let mut value = source(m, op, 1)?;
    for n in 0..usize::from(op.lanes) * 16 / size {
        let rounded = round_bits(element(&value, size, n), size, mode);
        set_element(&mut value, size, n, rounded);
    }
    write_register(m, op, &value);
    Ok(())
}

fn round_scalar(m: &mut Machine<'_>, op: &Op) -> Result {
    let (mode, size) = (mode(m, op)?, usize::from(op.element));
    let rounded = round_bits(element(&source(m, op, 2)?, size, 0), size, mode);
    let mut result = source(m, op, 1)?;
    set_element(&mut result, size, 0, rounded);
    write_register(m, op, &result);
    Ok(())
}
