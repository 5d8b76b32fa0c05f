//! Floating-point numbers as processors treat them: NaNs, and conversions in all rounding modes.
//!
//! Numbers are passed as bits, in the lower part of a `u64`.

use crate::op::Rounding;

/// The properties of a number type that arithmetic needs.
pub(crate) trait Float: Copy + PartialOrd {
    /// The NaN that invalid operations return.
    const DEFAULT_NAN: Self;

    fn is_nan(self) -> bool;
    /// Returns the quiet NaN with the same payload.
    fn quiet(self) -> Self;
    fn multiply_add(self, b: Self, c: Self) -> Self;
    fn negate(self) -> Self;
}

macro_rules! float {
    ($type:ident, $default:literal, $quiet:literal) => {
        impl Float for $type {
            const DEFAULT_NAN: Self = Self::from_bits($default);

            fn is_nan(self) -> bool {
                self.is_nan()
            }
            fn quiet(self) -> Self {
                Self::from_bits(self.to_bits() | $quiet)
            }
            fn multiply_add(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            fn negate(self) -> Self {
                // A NaN keeps its sign.
                if self.is_nan() { self } else { -self }
            }
        }
    };
}

float!(f32, 0xffc0_0000, 0x40_0000);
float!(f64, 0xfff8_0000_0000_0000, 0x8_0000_0000_0000);

/// Returns the result of an operation on two numbers, either of which may be a NaN.
#[inline]
pub(crate) fn arithmetic<F: Float>(a: F, b: F, result: F) -> F {
    if !result.is_nan() {
        result
    } else if a.is_nan() {
        a.quiet()
    } else if b.is_nan() {
        b.quiet()
    } else {
        F::DEFAULT_NAN
    }
}

/// Converts `f32` to `f64`.
pub(crate) fn widen(x: u64) -> u64 {
    let x = f32::from_bits(x as u32);
    if x.is_nan() {
        let bits = u64::from(x.quiet().to_bits());
        return (bits & 0x8000_0000) << 32 | 0x7ff0_0000_0000_0000 | (bits & 0x7f_ffff) << 29;
    }
    f64::from(x).to_bits()
}

/// Converts `f64` to `f32`.
pub(crate) fn narrow(x: u64, mode: Rounding) -> u64 {
    let x = f64::from_bits(x);
    if x.is_nan() {
        let bits = x.quiet().to_bits();
        return (bits >> 32 & 0x8000_0000) | 0x7f80_0000 | (bits >> 29 & 0x7f_ffff);
    }
    let nearest = x as f32;
    let error = f64::from(nearest).partial_cmp(&x);
    let rounded = match (mode, error) {
        (Rounding::Down, Some(std::cmp::Ordering::Greater)) => nearest.next_down(),
        (Rounding::Up, Some(std::cmp::Ordering::Less)) => nearest.next_up(),
        (Rounding::Zero, Some(std::cmp::Ordering::Greater)) if x > 0.0 => nearest.next_down(),
        (Rounding::Zero, Some(std::cmp::Ordering::Less)) if x < 0.0 => nearest.next_up(),
        _ => nearest,
    };
    u64::from(rounded.to_bits())
}

/// Rounds a number to an integer.
pub(crate) fn round(x: f64, mode: Rounding) -> f64 {
    match mode {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
        Rounding::Zero => x.trunc(),
    }
}

/// Converts `f64` to a signed integer of `bits` bits; values that do not fit become the minimum.
pub(crate) fn to_signed(x: u64, bits: u32, mode: Rounding) -> u64 {
    let x = round(f64::from_bits(x), mode);
    let limit = 2_f64.powi(bits as i32 - 1);
    if x >= -limit && x < limit {
        x as i64 as u64
    } else {
        1 << (bits - 1)
    }
}

/// Converts `f64` to an unsigned integer of `bits` bits; values that do not fit become the maximum.
pub(crate) fn to_unsigned(x: u64, bits: u32, mode: Rounding) -> u64 {
    let x = round(f64::from_bits(x), mode);
    if x >= 0.0 && x < 2_f64.powi(bits as i32) {
        x as u64
    } else {
        u64::MAX >> (64 - bits)
    }
}

/// Converts a signed integer to `f32` or `f64`, depending on `BITS`.
pub(crate) fn from_signed<const BITS: u32>(x: i64, mode: Rounding) -> u64 {
    from_integer::<BITS>(x.into(), mode)
}

/// Converts an unsigned integer to `f32` or `f64`, depending on `BITS`.
pub(crate) fn from_unsigned<const BITS: u32>(x: u64, mode: Rounding) -> u64 {
    from_integer::<BITS>(x.into(), mode)
}

fn from_integer<const BITS: u32>(x: i128, mode: Rounding) -> u64 {
    // Both types are far from overflow, so the conversion back is exact.
    let correct = |back: i128| match mode {
        Rounding::Nearest => 0,
        Rounding::Down => -i32::from(back > x),
        Rounding::Up => i32::from(back < x),
        Rounding::Zero if x > 0 => -i32::from(back > x),
        Rounding::Zero => i32::from(back < x),
    };
    if BITS == 32 {
        let nearest = x as f32;
        let rounded = match correct(nearest as i128) {
            0 => nearest,
            1 => nearest.next_up(),
            _ => nearest.next_down(),
        };
        u64::from(rounded.to_bits())
    } else {
        let nearest = x as f64;
        let rounded = match correct(nearest as i128) {
            0 => nearest,
            1 => nearest.next_up(),
            _ => nearest.next_down(),
        };
        rounded.to_bits()
    }
}

/// Converts a 16-bit float to `f32`.
pub(crate) fn from_half(x: u64) -> u64 {
    let (sign, exponent, fraction) = ((x & 0x8000) << 16, x >> 10 & 31, x & 0x3ff);
    sign | match (exponent, fraction) {
        (31, 0) => 0x7f80_0000,
        (31, _) => 0x7fc0_0000 | fraction << 13,
        (0, _) => u64::from((fraction as f32 / 16_777_216.0).to_bits()),
        _ => (exponent + 112) << 23 | fraction << 13,
    }
}

/// Converts `f32` to a 16-bit float.
pub(crate) fn to_half(x: u64, mode: Rounding) -> u64 {
    let (sign, exponent, fraction) = ((x >> 16) & 0x8000, (x >> 23 & 0xff) as i32, x & 0x7f_ffff);
    if exponent == 255 {
        return sign
            | 0x7c00
            | if fraction != 0 {
                0x200 | fraction >> 13
            } else {
                0
            };
    }
    let significand = if exponent == 0 {
        fraction
    } else {
        fraction | 0x80_0000
    };
    // The last bit of a half is worth at least 2^-24; that of a float is worth 2^(exponent - 150).
    let half_exponent = (exponent - 112).max(1);
    let shift = (13 + half_exponent - (exponent.max(1) - 112)).clamp(0, 40) as u32;
    let (quotient, rest, middle) = (
        significand >> shift,
        significand & ((1 << shift) - 1),
        1 << (shift - 1),
    );
    let up = match mode {
        Rounding::Nearest => rest > middle || rest == middle && quotient & 1 != 0,
        Rounding::Down => rest != 0 && sign != 0,
        Rounding::Up => rest != 0 && sign == 0,
        Rounding::Zero => false,
    };
    // A carry out of the fraction correctly goes into the exponent.
    let exponent_part = ((half_exponent - 1) as u64) << 10;
    let result = exponent_part + quotient + u64::from(up);
    if result < 0x7c00 {
        return sign | result;
    }
    let to_infinity = match mode {
        Rounding::Nearest => true,
        Rounding::Down => sign != 0,
        Rounding::Up => sign == 0,
        Rounding::Zero => false,
    };
    sign | if to_infinity { 0x7c00 } else { 0x7bff }
}
