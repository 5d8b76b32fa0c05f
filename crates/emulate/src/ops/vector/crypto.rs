//! AES, carry-less multiplication and SHA.

use iced_x86::Mnemonic as M;

use super::{Entry, one, one_immediate, three, two, two_immediate};
use crate::lane::{Element, build, map};

pub(super) fn entry(mnemonic: M) -> Option<Entry> {
    aes(mnemonic).or_else(|| sha(mnemonic)).map(Entry::whole)
}

fn aes(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Aesenc | M::Vaesenc => two(4, |state, key| {
            mix_columns(substitute(shift_rows(state, 5))) ^ key
        }),
        M::Aesenclast | M::Vaesenclast => {
            two(4, |state, key| substitute(shift_rows(state, 5)) ^ key)
        }
        M::Aesdec | M::Vaesdec => two(4, |state, key| {
            unmix_columns(unsubstitute(shift_rows(state, 13))) ^ key
        }),
        M::Aesdeclast | M::Vaesdeclast => {
            two(4, |state, key| unsubstitute(shift_rows(state, 13)) ^ key)
        }
        M::Aesimc | M::Vaesimc => one(4, unmix_columns),
        M::Aeskeygenassist | M::Vaeskeygenassist => one_immediate(4, |a, constant| {
            let words = u32::split(substitute(a));
            let rotated = |x: u32| x.rotate_right(8) ^ u32::from(constant);
            build(|n| {
                if n % 2 == 0 {
                    words[n | 1]
                } else {
                    rotated(words[n])
                }
            })
        }),
        M::Pclmulqdq | M::Vpclmulqdq => two_immediate(8, |a, b, select| {
            let (a, b) = (u64::split(a), u64::split(b));
            multiply_carryless(a[usize::from(select & 1)], b[usize::from(select >> 4 & 1)])
        }),
        _ => None,
    }
}

fn multiply_carryless(a: u64, b: u64) -> u128 {
    (0..64)
        .filter(|bit| b >> bit & 1 != 0)
        .fold(0, |product, bit| product ^ u128::from(a) << bit)
}

/// Moves the byte at `n * step` to `n`: 5 shifts the rows to the left, 13 to the right.
fn shift_rows(state: u128, step: usize) -> u128 {
    let bytes = u8::split(state);
    build(|n| bytes[n * step % 16])
}

/// Multiplies in the field of AES.
fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

/// Multiplies each column by a polynomial with these coefficients.
fn multiply_columns(state: u128, factors: [u8; 4]) -> u128 {
    let bytes = u8::split(state);
    build(|n| {
        (0..4).fold(0, |sum, k| {
            sum ^ multiply(bytes[n / 4 * 4 + (n + k) % 4], factors[k])
        })
    })
}

fn mix_columns(state: u128) -> u128 {
    multiply_columns(state, [2, 3, 1, 1])
}

fn unmix_columns(state: u128) -> u128 {
    multiply_columns(state, [14, 11, 13, 9])
}

/// The S-box, computed from its definition: the inverse in the field, then an affine map.
const S_BOX: [u8; 256] = {
    let mut table = [0; 256];
    // `power` runs through all elements but 0, as powers of 3, and
    // `inverse` through their inverses.
    let (mut power, mut inverse): (u8, u8) = (1, 1);
    loop {
        power = power ^ power << 1 ^ if power & 0x80 != 0 { 0x1b } else { 0 };
        inverse ^= inverse << 1;
        inverse ^= inverse << 2;
        inverse ^= inverse << 4;
        if inverse & 0x80 != 0 {
            inverse ^= 9;
        }
        let rotated = inverse.rotate_left(1)
            ^ inverse.rotate_left(2)
            ^ inverse.rotate_left(3)
            ^ inverse.rotate_left(4);
        table[power as usize] = inverse ^ rotated ^ 0x63;
        if power == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
};

const INVERSE_S_BOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[S_BOX[n] as usize] = n as u8;
        n += 1;
    }
    table
};

fn substitute(state: u128) -> u128 {
    map(state, |x: u8| S_BOX[usize::from(x)])
}

fn unsubstitute(state: u128) -> u128 {
    map(state, |x: u8| INVERSE_S_BOX[usize::from(x)])
}

fn sha(mnemonic: M) -> Option<Entry> {
    match mnemonic {
        M::Sha1rnds4 => two_immediate(4, sha1_rounds),
        M::Sha1nexte => two(4, |a, b| {
            let (a, mut b) = (u32::split(a), u32::split(b));
            b[3] = b[3].wrapping_add(a[3].rotate_left(30));
            u32::join(b)
        }),
        // Words are numbered from the top.
        M::Sha1msg1 => two(4, |a, b| {
            let (a, b) = (u32::split(a), u32::split(b));
            build(|n| a[n] ^ if n < 2 { b[n + 2] } else { a[n - 2] })
        }),
        M::Sha1msg2 => two(4, |a, b| {
            let (a, b) = (u32::split(a), u32::split(b));
            let w16 = (a[3] ^ b[2]).rotate_left(1);
            let w17 = (a[2] ^ b[1]).rotate_left(1);
            let w18 = (a[1] ^ b[0]).rotate_left(1);
            u32::join([(a[0] ^ w16).rotate_left(1), w18, w17, w16])
        }),
        M::Sha256rnds2 => three(4, sha256_rounds),
        M::Sha256msg1 => two(4, |a, b| {
            let (a, b) = (u32::split(a), u32::split(b));
            let next = |n: usize| if n < 3 { a[n + 1] } else { b[0] };
            let sigma = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
            build(|n| a[n].wrapping_add(sigma(next(n))))
        }),
        M::Sha256msg2 => two(4, |a, b| {
            let (a, b) = (u32::split(a), u32::split(b));
            let sigma = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10;
            let w16 = a[0].wrapping_add(sigma(b[2]));
            let w17 = a[1].wrapping_add(sigma(b[3]));
            u32::join([
                w16,
                w17,
                a[2].wrapping_add(sigma(w16)),
                a[3].wrapping_add(sigma(w17)),
            ])
        }),
        _ => None,
    }
}

fn sha1_rounds(state: u128, words: u128, which: u8) -> u128 {
    let [mut d, mut c, mut b, mut a] = u32::split(state);
    let words = u32::split(words);
    let mut e = 0_u32;
    for word in words.into_iter().rev() {
        let (f, constant) = match which & 3 {
            0 => (b & c ^ !b & d, 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => (b & c ^ b & d ^ c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        // The first word already includes `e`.
        let next = f
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(word)
            .wrapping_add(e)
            .wrapping_add(constant);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    u32::join([d, c, b, a])
}

/// Runs two rounds: `keys` has the words with the constants added, `upper` has a, b, e and f,
/// `lower` has c, d, g and h.
fn sha256_rounds(keys: u128, lower: u128, upper: u128) -> u128 {
    let keys = u32::split(keys);
    let [mut f, mut e, mut b, mut a] = u32::split(upper);
    let [mut h, mut g, mut d, mut c] = u32::split(lower);
    for key in &keys[..2] {
        let choice = e & f ^ !e & g;
        let majority = a & b ^ a & c ^ b & c;
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t = choice.wrapping_add(s1).wrapping_add(*key).wrapping_add(h);
        let next = t.wrapping_add(majority).wrapping_add(s0);
        (h, g, f, e, d, c, b, a) = (g, f, e, t.wrapping_add(d), c, b, a, next);
    }
    u32::join([f, e, b, a])
}
