//! The state of the x87 unit.

/// A number of 80 bits.
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
    /// `r0` to `r7`: `st(i)` is the one with number `top + i`, modulo 8. The significands are `mm0` to
    /// `mm7`.
    pub registers: [Extended; 8],
    /// Which of them are in use, a bit for each.
    pub used: u8,
    /// The number of the register that is `st(0)`, 0 to 7.
    pub top: u8,
    /// The control word.
    pub control: u16,
    /// The status word, without `top`.
    pub status: u16,
}

impl Default for X87 {
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
