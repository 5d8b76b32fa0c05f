//! The x87 unit: its registers, and the arithmetic of its 80-bit numbers.
//!
//! All results are exact or rounded once, in each of the four modes. The significand of an
//! intermediate result is a `u128` with bit 127 set: the upper half becomes the significand, the
//! lower half decides the rounding.

use std::cmp::Ordering;

use crate::op::Rounding;

/// An 80-bit floating-point number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    /// The significand, with its integer bit.
    pub significand: u64,
    /// The exponent, with the sign in bit 15.
    pub exponent: u16,
}

/// The registers of the x87 unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X87 {
    /// `r0` to `r7`: `st(i)` is register `top + i`, modulo 8. The significands are `mm0` to `mm7`.
    pub registers: [Extended; 8],
    /// Which registers are in use, one bit each.
    pub used: u8,
    /// The number of the register that is `st(0)`, 0 to 7.
    pub top: u8,
    /// The control word.
    pub control: u16,
    /// The status word, without `top`. The exception bits never change: no instruction sets them.
    pub status: u16,
}

impl Default for X87 {
    /// Returns the state after `fninit`.
    fn default() -> Self {
        Self {
            registers: [Extended::default(); 8],
            used: 0,
            top: 0,
            control: 0x37f,
            status: 0,
        }
    }
}

const SIGN: u16 = 0x8000;
const EXPONENT: u16 = 0x7fff;
const BIAS: i32 = 16_383;
const INTEGER_BIT: u64 = 1 << 63;
const QUIET_BIT: u64 = 1 << 62;

/// A finite number other than 0: `significand / 2^63 * 2^exponent`, with bit 63 set.
#[derive(Clone, Copy)]
struct Finite {
    negative: bool,
    exponent: i32,
    significand: u64,
}

impl Extended {
    /// The NaN that invalid operations return.
    pub(crate) const DEFAULT_NAN: Self = Self {
        significand: INTEGER_BIT | QUIET_BIT,
        exponent: 0xffff,
    };
    pub(crate) const ONE: Self = Self {
        significand: INTEGER_BIT,
        exponent: BIAS as u16,
    };

    pub(crate) fn zero(negative: bool) -> Self {
        Self {
            significand: 0,
            exponent: if negative { SIGN } else { 0 },
        }
    }

    fn infinity(negative: bool) -> Self {
        Self {
            significand: INTEGER_BIT,
            exponent: EXPONENT | if negative { SIGN } else { 0 },
        }
    }

    pub(crate) fn is_negative(self) -> bool {
        self.exponent & SIGN != 0
    }

    pub(crate) fn negate(self) -> Self {
        Self {
            exponent: self.exponent ^ SIGN,
            ..self
        }
    }

    pub(crate) fn absolute(self) -> Self {
        Self {
            exponent: self.exponent & !SIGN,
            ..self
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.significand == 0 && self.exponent & EXPONENT == 0
    }

    pub(crate) fn is_infinite(self) -> bool {
        self.exponent & EXPONENT == EXPONENT && self.significand == INTEGER_BIT
    }

    pub(crate) fn is_nan(self) -> bool {
        self.exponent & EXPONENT == EXPONENT && self.significand > INTEGER_BIT
    }

    pub(crate) fn is_denormal(self) -> bool {
        self.exponent & EXPONENT == 0 && self.significand != 0
    }

    /// Returns whether processors since the 387 support this encoding; the unsupported
    /// ones lack the integer bit.
    pub(crate) fn is_supported(self) -> bool {
        self.exponent & EXPONENT == 0 || self.significand & INTEGER_BIT != 0
    }

    fn quiet(self) -> Self {
        Self {
            significand: self.significand | QUIET_BIT,
            ..self
        }
    }

    /// Splits a number that is neither 0 nor special into its parts.
    fn finite(self) -> Finite {
        // Denormals have the exponent of the smallest normal number.
        let exponent = i32::from((self.exponent & EXPONENT).max(1)) - BIAS;
        let shift = self.significand.leading_zeros().min(63);
        Finite {
            negative: self.is_negative(),
            exponent: exponent - shift as i32,
            significand: self.significand << shift,
        }
    }

    /// Rounds `significand / 2^127 * 2^exponent`; bit 127 of the significand must be set.
    fn round(negative: bool, exponent: i32, significand: u128, mode: Rounding) -> Self {
        let mut biased = exponent + BIAS;
        let mut wide = significand;
        if biased < 1 {
            wide = shift_right(wide, (1 - biased) as u32);
            biased = 0;
        }
        let (mut kept, rest) = ((wide >> 64) as u64, wide as u64);
        if rounds_up(negative, kept & 1 != 0, rest, INTEGER_BIT, mode) {
            let (sum, carry) = kept.overflowing_add(1);
            kept = sum;
            if carry {
                kept = INTEGER_BIT;
                biased += 1;
            }
        }
        if biased == 0 && kept & INTEGER_BIT != 0 {
            biased = 1;
        }
        if biased >= i32::from(EXPONENT) {
            let to_infinity = rounds_up(negative, true, INTEGER_BIT, INTEGER_BIT, mode);
            return if to_infinity {
                Self::infinity(negative)
            } else {
                Self {
                    significand: u64::MAX,
                    exponent: (EXPONENT - 1) | if negative { SIGN } else { 0 },
                }
            };
        }
        Self {
            significand: kept,
            exponent: biased as u16 | if negative { SIGN } else { 0 },
        }
    }

    /// Like [`round`](Self::round), for any significand but 0.
    fn normalize(negative: bool, exponent: i32, significand: u128, mode: Rounding) -> Self {
        let shift = significand.leading_zeros();
        Self::round(
            negative,
            exponent - shift as i32,
            significand << shift,
            mode,
        )
    }

    pub(crate) fn add(self, other: Self, mode: Rounding) -> Self {
        if let Some(nan) = nan_of(self, other) {
            return nan;
        }
        match (self.is_infinite(), other.is_infinite()) {
            (true, true) if self.is_negative() != other.is_negative() => return Self::DEFAULT_NAN,
            (true, _) => return self,
            (_, true) => return other,
            _ => {}
        }
        match (self.is_zero(), other.is_zero()) {
            (true, true) if self.is_negative() == other.is_negative() => return self,
            (true, true) => return Self::zero(mode == Rounding::Down),
            (true, false) => return other,
            (false, true) => return self,
            _ => {}
        }
        let (mut a, mut b) = (self.finite(), other.finite());
        if (a.exponent, a.significand) < (b.exponent, b.significand) {
            (a, b) = (b, a);
        }
        // Leaves one bit of room for the carry.
        let larger = u128::from(a.significand) << 63;
        let smaller = shift_right(
            u128::from(b.significand) << 63,
            (a.exponent - b.exponent) as u32,
        );
        let sum = if a.negative == b.negative {
            larger + smaller
        } else {
            larger - smaller
        };
        if sum == 0 {
            return Self::zero(mode == Rounding::Down);
        }
        Self::normalize(a.negative, a.exponent + 1, sum, mode)
    }

    pub(crate) fn multiply(self, other: Self, mode: Rounding) -> Self {
        if let Some(nan) = nan_of(self, other) {
            return nan;
        }
        let negative = self.is_negative() != other.is_negative();
        match (
            self.is_infinite() || other.is_infinite(),
            self.is_zero() || other.is_zero(),
        ) {
            (true, true) => return Self::DEFAULT_NAN,
            (true, _) => return Self::infinity(negative),
            (_, true) => return Self::zero(negative),
            _ => {}
        }
        let (a, b) = (self.finite(), other.finite());
        let product = u128::from(a.significand) * u128::from(b.significand);
        Self::normalize(negative, a.exponent + b.exponent + 1, product, mode)
    }

    pub(crate) fn divide(self, other: Self, mode: Rounding) -> Self {
        if let Some(nan) = nan_of(self, other) {
            return nan;
        }
        let negative = self.is_negative() != other.is_negative();
        match (
            self.is_infinite(),
            other.is_infinite(),
            self.is_zero(),
            other.is_zero(),
        ) {
            (true, true, ..) | (.., true, true) => return Self::DEFAULT_NAN,
            (true, ..) | (.., true) => return Self::infinity(negative),
            (_, true, ..) | (_, _, true, _) => return Self::zero(negative),
            _ => {}
        }
        let (a, b) = (self.finite(), other.finite());
        let divisor = u128::from(b.significand);
        let dividend = u128::from(a.significand) << 64;
        // Two more bits of the quotient, and one that says whether there is a remainder.
        let (first, rest) = (dividend / divisor, dividend % divisor);
        let (second, rest) = ((rest << 2) / divisor, (rest << 2) % divisor);
        let quotient = (first << 2 | second) << 1 | u128::from(rest != 0);
        Self::normalize(negative, a.exponent - b.exponent + 60, quotient, mode)
    }

    pub(crate) fn square_root(self, mode: Rounding) -> Self {
        if self.is_nan() {
            return self.quiet();
        }
        if self.is_zero() {
            return self;
        }
        if self.is_negative() {
            return Self::DEFAULT_NAN;
        }
        if self.is_infinite() {
            return self;
        }
        let a = self.finite();
        let odd = a.exponent.rem_euclid(2);
        let square = u128::from(a.significand) << (63 + odd);
        let root = square.isqrt();
        let rest = square - root * root;
        // There are no ties: (root + 1/2)^2 is not an integer.
        let below = if rest > root {
            3 << 62
        } else {
            u128::from(rest != 0)
        };
        Self::normalize(false, a.exponent.div_euclid(2), root << 64 | below, mode)
    }

    /// Rounds to an integer.
    pub(crate) fn round_to_integer(self, mode: Rounding) -> Self {
        if self.is_nan() {
            return self.quiet();
        }
        if self.is_infinite() || self.is_zero() || self.finite().exponent >= 63 {
            return self;
        }
        let (negative, magnitude) = (self.is_negative(), self.magnitude(mode));
        if magnitude == 0 {
            return Self::zero(negative);
        }
        Self::normalize(negative, 127, u128::from(magnitude), Rounding::Nearest)
    }

    /// Returns the absolute value, rounded to an integer; it must be below 2^63.
    fn magnitude(self, mode: Rounding) -> u64 {
        let a = self.finite();
        let wide = shift_right(u128::from(a.significand) << 64, (63 - a.exponent) as u32);
        let (kept, rest) = ((wide >> 64) as u64, wide as u64);
        kept + u64::from(rounds_up(
            a.negative,
            kept & 1 != 0,
            rest,
            INTEGER_BIT,
            mode,
        ))
    }

    /// Converts to a signed integer of `bits` bits; values that do not fit become the minimum.
    pub(crate) fn to_integer(self, bits: u32, mode: Rounding) -> i64 {
        let least = i64::MIN >> (64 - bits);
        if self.is_zero() {
            return 0;
        }
        if self.exponent & EXPONENT == EXPONENT || self.finite().exponent >= 63 {
            return least;
        }
        let magnitude = i128::from(self.magnitude(mode));
        let value = if self.is_negative() {
            -magnitude
        } else {
            magnitude
        };
        match i64::try_from(value) {
            Ok(value) if value >= least && value <= !least => value,
            _ => least,
        }
    }

    pub(crate) fn from_integer(value: i64) -> Self {
        if value == 0 {
            return Self::zero(false);
        }
        Self::normalize(
            value < 0,
            127,
            value.unsigned_abs().into(),
            Rounding::Nearest,
        )
    }

    pub(crate) fn from_double(bits: u64) -> Self {
        Self::from_format(bits, 52, 11)
    }

    pub(crate) fn from_single(bits: u32) -> Self {
        Self::from_format(bits.into(), 23, 8)
    }

    fn from_format(bits: u64, fraction_bits: u32, exponent_bits: u32) -> Self {
        let negative = bits >> (fraction_bits + exponent_bits) & 1 != 0;
        let special = (1 << exponent_bits) - 1;
        let exponent = (bits >> fraction_bits) & special;
        let fraction = bits & ((1 << fraction_bits) - 1);
        let bias = (special / 2) as i32;
        let aligned = fraction << (63 - fraction_bits);
        if exponent == special {
            let mut number = Self::infinity(negative);
            if fraction != 0 {
                number.significand |= aligned | QUIET_BIT;
            }
            return number;
        }
        match (exponent, fraction) {
            (0, 0) => Self::zero(negative),
            (0, _) => Self::normalize(
                negative,
                1 - bias,
                u128::from(aligned) << 64,
                Rounding::Nearest,
            ),
            _ => {
                let wide = u128::from(aligned | INTEGER_BIT) << 64;
                Self::normalize(negative, exponent as i32 - bias, wide, Rounding::Nearest)
            }
        }
    }

    pub(crate) fn to_double(self, mode: Rounding) -> u64 {
        self.to_format(52, 11, mode)
    }

    pub(crate) fn to_single(self, mode: Rounding) -> u32 {
        self.to_format(23, 8, mode) as u32
    }

    fn to_format(self, fraction_bits: u32, exponent_bits: u32, mode: Rounding) -> u64 {
        let sign = u64::from(self.is_negative()) << (fraction_bits + exponent_bits);
        let special = (1_u64 << exponent_bits) - 1;
        let infinity = special << fraction_bits;
        if self.is_nan() {
            let fraction = self.quiet().significand << 1 >> (64 - fraction_bits);
            return sign | infinity | fraction;
        }
        if self.is_infinite() {
            return sign | infinity;
        }
        if self.is_zero() {
            return sign;
        }
        let a = self.finite();
        let biased = a.exponent + (special / 2) as i32;
        if biased > special as i32 {
            let to_infinity = rounds_up(a.negative, true, INTEGER_BIT, INTEGER_BIT, mode);
            return sign | if to_infinity { infinity } else { infinity - 1 };
        }
        // A denormal loses one bit for each step by which its exponent is too small.
        let lost = 63 - fraction_bits + if biased < 1 { (1 - biased) as u32 } else { 0 };
        let wide = shift_right(u128::from(a.significand) << 64, lost);
        let (kept, rest) = ((wide >> 64) as u64, wide as u64);
        let up = rounds_up(a.negative, kept & 1 != 0, rest, INTEGER_BIT, mode);
        // The integer bit and a carry both go into the exponent.
        let exponent_part = ((biased.max(1) - 1) as u64) << fraction_bits;
        let result = exponent_part + kept + u64::from(up);
        if result < infinity {
            return sign | result;
        }
        let to_infinity = rounds_up(a.negative, true, INTEGER_BIT, INTEGER_BIT, mode);
        sign | if to_infinity { infinity } else { infinity - 1 }
    }

    /// Returns the order, or `None` if either number is a NaN.
    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        if self.is_nan() || other.is_nan() {
            return None;
        }
        // Denormals and the smallest normal numbers share an exponent.
        let key = |x: Self| {
            let exponent = if x.significand == 0 {
                0
            } else {
                (x.exponent & EXPONENT).max(1)
            };
            let magnitude = i128::from(exponent) << 64 | i128::from(x.significand);
            if x.is_negative() {
                -magnitude
            } else {
                magnitude
            }
        };
        Some(key(self).cmp(&key(other)))
    }
}

/// Returns the NaN that results if an operand is one: a quiet one rather than a signalling one,
/// then the one with the larger significand.
fn nan_of(a: Extended, b: Extended) -> Option<Extended> {
    let nan = match (a.is_nan(), b.is_nan()) {
        (false, false) => return None,
        (true, false) => a,
        (false, true) => b,
        (true, true) => {
            let signals = |x: Extended| x.significand & QUIET_BIT == 0;
            match (signals(a), signals(b), a.significand.cmp(&b.significand)) {
                (true, false, _) => b,
                (false, true, _) => a,
                (.., Ordering::Greater) => a,
                (.., Ordering::Less) => b,
                _ if a.is_negative() => b,
                _ => a,
            }
        }
    };
    Some(nan.quiet())
}

/// Shifts right, and sets the lowest bit if a bit was lost.
fn shift_right(value: u128, count: u32) -> u128 {
    match count {
        0 => value,
        1..128 => value >> count | u128::from(value << (128 - count) != 0),
        _ => u128::from(value != 0),
    }
}

/// Returns whether to round away from 0; `rest` is the part cut off, `half`
/// is half of the last place.
fn rounds_up(negative: bool, odd: bool, rest: u64, half: u64, mode: Rounding) -> bool {
    match mode {
        Rounding::Nearest => rest > half || rest == half && odd,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::Zero => false,
    }
}
