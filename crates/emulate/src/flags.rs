//! The arithmetic flags, in the form in which instructions leave them.
//!
//! ZF, SF, PF and AF are derived from a result on demand, because most results are never tested.

pub(crate) const CF: u64 = 1;
pub(crate) const PF: u64 = 1 << 2;
pub(crate) const AF: u64 = 1 << 4;
pub(crate) const ZF: u64 = 1 << 6;
pub(crate) const SF: u64 = 1 << 7;
pub(crate) const DF: u64 = 1 << 10;
pub(crate) const OF: u64 = 1 << 11;
/// The flags that arithmetic changes.
const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
/// Always set.
const RESERVED: u64 = 1 << 1;
/// The flags that `popf` may change in user mode: the above, TF, DF, NT, AC and ID.
const WRITABLE: u64 = ARITHMETIC | 1 << 8 | DF | 1 << 14 | 1 << 18 | 1 << 21;

/// The flags of a [`Machine`](crate::machine::Machine).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    /// ZF is set if this is 0.
    zero: u64,
    /// SF is set if this is negative.
    sign: i64,
    /// PF is set if this has an even number of ones.
    parity: u8,
    /// AF is bit 4 of this.
    adjust: u8,
    pub(crate) carry: bool,
    pub(crate) overflow: bool,
    /// All other flags.
    other: u64,
}

/// Returns the lower `bits` bits of `value`.
#[inline]
pub(crate) fn truncate(value: u64, bits: u32) -> u64 {
    value & (u64::MAX >> (64 - bits))
}

/// Returns `value` as a signed number of `bits` bits.
#[inline]
pub(crate) fn signed(value: u64, bits: u32) -> i64 {
    let unused = 64 - bits;
    (value << unused) as i64 >> unused
}

impl Flags {
    pub(crate) fn new(rflags: u64) -> Self {
        Self {
            zero: !rflags & ZF,
            sign: if rflags & SF == 0 { 0 } else { -1 },
            parity: u8::from(rflags & PF == 0),
            adjust: (rflags & AF) as u8,
            carry: rflags & CF != 0,
            overflow: rflags & OF != 0,
            other: rflags & !ARITHMETIC | RESERVED,
        }
    }

    pub(crate) fn rflags(&self) -> u64 {
        let flag = |flag: u64, on: bool| if on { flag } else { 0 };
        self.other
            | flag(CF, self.carry)
            | flag(PF, self.parity())
            | u64::from(self.adjust) & AF
            | flag(ZF, self.zero())
            | flag(SF, self.sign())
            | flag(OF, self.overflow)
    }

    /// Sets the flags that user code may set.
    pub(crate) fn pop(&mut self, value: u64, bits: u32) {
        let writable = truncate(WRITABLE, bits);
        *self = Self::new(self.rflags() & !writable | value & writable);
    }

    #[inline]
    pub(crate) fn zero(&self) -> bool {
        self.zero == 0
    }

    #[inline]
    pub(crate) fn sign(&self) -> bool {
        self.sign < 0
    }

    #[inline]
    pub(crate) fn parity(&self) -> bool {
        self.parity.count_ones().is_multiple_of(2)
    }

    pub(crate) fn backwards(&self) -> bool {
        self.other & DF != 0
    }

    pub(crate) fn set_backwards(&mut self, on: bool) {
        self.other = self.other & !DF | if on { DF } else { 0 };
    }

    /// Sets only ZF.
    pub(crate) fn set_zero_only(&mut self, on: bool) {
        self.zero = u64::from(!on);
    }

    /// Sets ZF, PF and CF as comparisons do, and clears the others.
    pub(crate) fn set_comparison(&mut self, zero: bool, parity: bool, carry: bool) {
        let flag = |flag: u64, on: bool| if on { flag } else { 0 };
        *self = Self::new(self.other | flag(ZF, zero) | flag(PF, parity) | flag(CF, carry));
    }

    /// Sets only SF and OF.
    pub(crate) fn set_sign_and_overflow(&mut self, sign: bool, overflow: bool) {
        self.sign = if sign { -1 } else { 0 };
        self.overflow = overflow;
    }

    /// Sets ZF, SF and PF for this result.
    #[inline]
    pub(crate) fn set_result<const BITS: u32>(&mut self, result: u64) {
        self.zero = result;
        self.sign = signed(result, BITS);
        self.parity = result as u8;
    }

    /// Like [`set_result`](Self::set_result), for a size that is not a constant.
    pub(crate) fn set_result_of(&mut self, result: u64, bits: u32) {
        self.zero = truncate(result, bits);
        self.sign = signed(result, bits);
        self.parity = result as u8;
    }

    #[inline]
    pub(crate) fn logic<const BITS: u32>(&mut self, result: u64) -> u64 {
        self.set_result::<BITS>(result);
        self.carry = false;
        self.overflow = false;
        self.adjust = 0;
        result
    }

    pub(crate) fn logic_of(&mut self, result: u64, bits: u32) {
        self.set_result_of(result, bits);
        self.carry = false;
        self.overflow = false;
        self.adjust = 0;
    }

    #[inline]
    pub(crate) fn add<const BITS: u32>(&mut self, a: u64, b: u64, carry: bool) -> u64 {
        let result = truncate(a.wrapping_add(b).wrapping_add(u64::from(carry)), BITS);
        let carries = a & b | (a | b) & !result;
        self.set_sum::<BITS>(a, b, result, carries);
        result
    }

    #[inline]
    pub(crate) fn sub<const BITS: u32>(&mut self, a: u64, b: u64, borrow: bool) -> u64 {
        let result = truncate(a.wrapping_sub(b).wrapping_sub(u64::from(borrow)), BITS);
        let borrows = !a & b | (!a | b) & result;
        self.set_sum::<BITS>(a, b, result, borrows);
        result
    }

    /// Sets the flags of a sum; `carries` has the carry out of each bit.
    #[inline]
    fn set_sum<const BITS: u32>(&mut self, a: u64, b: u64, result: u64, carries: u64) {
        self.set_result::<BITS>(result);
        self.carry = carries >> (BITS - 1) & 1 != 0;
        self.overflow = (carries >> (BITS - 1) ^ carries >> (BITS - 2)) & 1 != 0;
        self.adjust = (a ^ b ^ result) as u8;
    }

    /// Returns whether a condition holds. Conditions are numbered as in the encodings of `jcc`,
    /// `setcc` and `cmovcc`.
    #[inline]
    pub(crate) fn holds<const CONDITION: u8>(&self) -> bool {
        let holds = match CONDITION >> 1 {
            0 => self.overflow,
            1 => self.carry,
            2 => self.zero(),
            3 => self.carry || self.zero(),
            4 => self.sign(),
            5 => self.parity(),
            6 => self.sign() != self.overflow,
            _ => self.zero() || self.sign() != self.overflow,
        };
        holds != (CONDITION & 1 != 0)
    }
}
