//! Numbers, in all sizes, and their text.

use std::hint::black_box;

use crate::Spawner;

pub(crate) fn spawn(tasks: &Spawner) {
    tasks.work(integers);
    tasks.work(wide_integers);
    tasks.work(bits);
    tasks.work(floats);
    tasks.work(conversions);
    tasks.work(mathematics);
    tasks.work(formatting);
    tasks.work(parsing);
}

const WORDS: [u64; 5] = [
    0,
    0x7f,
    0x8000_0000_0000_0000,
    0x0123_4567_89ab_cdef,
    u64::MAX,
];

fn pairs() -> impl Iterator<Item = (u64, u64)> {
    let words = black_box(WORDS);
    words
        .into_iter()
        .flat_map(move |a| words.into_iter().map(move |b| (a, b)))
}

fn integers() {
    for (a, b) in pairs() {
        black_box(a.wrapping_mul(b).wrapping_add(a ^ b));
        black_box(a.checked_div(b).zip(a.checked_rem(b)));
        black_box((a as i64).checked_div(b as i64));
        black_box((a as i32).checked_rem(b as i32));
        black_box((a as i16).checked_div(b as i16));
        black_box((a as u8).checked_div(b as u8));
        black_box((a as i64).checked_mul(b as i64));
        black_box(a.checked_add(b).or(a.checked_sub(b)));
        black_box((a as i8).saturating_sub(b as i8));
        black_box((a as i32).overflowing_add(b as i32));
        black_box(a.abs_diff(b).max(a.min(b)));
        black_box((a as i64 >> (b & 63), a << (b & 63), a >> (b & 63)));
        black_box((a as u16).cmp(&(b as u16)));
        black_box(a.isqrt() + (b & 7).pow(3));
    }
}

fn wide_integers() {
    for (a, b) in pairs() {
        let [c, d] = [u128::from(a) << 64 | u128::from(b), u128::from(b) + 3];
        black_box(c.wrapping_mul(d));
        black_box(c / d);
        black_box(c % d);
        black_box((c as i128) / -(d as i128));
        black_box(c.checked_add(d << 64));
        black_box(c << (a & 127) | d >> (b & 127));
        black_box(c.leading_zeros() + d.count_ones());
    }
}

fn bits() {
    for (a, b) in pairs() {
        black_box(a.leading_zeros() + (b as u32).trailing_zeros());
        black_box(a.count_ones() + (b as u16).leading_zeros());
        black_box(a.rotate_left(b as u32 & 63) ^ b.rotate_right(7));
        black_box((a as u32).rotate_left(b as u32 & 31));
        black_box((a as u8).rotate_right(b as u32 & 7));
        black_box(a.swap_bytes() ^ (b as u32).reverse_bits() as u64);
        black_box(a & !b | a & b.wrapping_neg());
        black_box(a & (1 << (b & 63)) != 0);
        black_box(
            a.checked_next_power_of_two()
                .unwrap_or(a & a.wrapping_sub(1)),
        );
        black_box(a.wrapping_shl(b as u32));
    }
}

const FLOATS: [f64; 6] = [
    -0.0,
    1e-310,
    std::f64::consts::PI,
    f64::INFINITY,
    f64::NAN,
    -1e19,
];

fn float_pairs() -> impl Iterator<Item = (f64, f64)> {
    let floats = black_box(FLOATS);
    floats
        .into_iter()
        .flat_map(move |a| floats.into_iter().map(move |b| (a, b)))
}

fn floats() {
    for (a, b) in float_pairs() {
        black_box((a + b, a - b, a * b, a / b));
        black_box((a as f32 + b as f32, a as f32 / b as f32));
        black_box((a.sqrt(), (b as f32).sqrt()));
        black_box((a.min(b), a.max(b), a.clamp(-1.0, 1.0)));
        black_box((a < b, a == b, a.partial_cmp(&b), a.total_cmp(&b)));
        black_box((a.abs(), -b, a.copysign(b), a.signum()));
        black_box((a.floor(), b.ceil(), a.round(), b.trunc(), a.fract()));
        black_box(a.mul_add(b, a));
        black_box(a % b);
    }
}

fn conversions() {
    for (a, b) in float_pairs() {
        black_box((a as i64, a as u64, a as i32, a as u8, b as i128));
        black_box((a as f32, (b as f32) as u32, (b as f32) as f64));
        black_box((a.to_bits(), f64::from_bits(b.to_bits() ^ 1)));
    }
    for (a, b) in pairs() {
        black_box((a as f64, a as i64 as f64, b as f32, b as i32 as f32));
        black_box((u128::from(a) << 40) as f64);
    }
}

fn mathematics() {
    for (a, b) in float_pairs() {
        black_box((a.sin(), b.cos(), a.tan(), a.atan2(b)));
        black_box((a.exp(), a.ln(), b.log2(), a.powf(b), a.powi(3)));
        black_box(((a as f32).sin(), (b as f32).exp(), a.hypot(b), a.cbrt()));
    }
}

fn formatting() {
    let (a, b) = black_box((1234.5678_f64, -9.87e-12_f64));
    black_box(format!("{a} {b} {a:.3} {b:e} {a:>12.1} {:?}", a as f32));
    let (c, d) = black_box((0xdead_beef_u64, u128::MAX / 3));
    black_box(format!("{c} {c:#x} {c:#b} {d} {d:o} {:+05}", c as i16));
    let text = black_box("Grüße, \u{1f980}\t\"quoted\"\0");
    black_box(format!("{text:?} {:<20}|{:^9.3}|", text, text));
    black_box(format!("{:#?}", (c, text, Some(a), [d; 2])));
}

fn parsing() {
    for text in black_box([
        "3.14159265358979",
        "1e-300",
        "-0.1e5",
        "nan",
        "1.7976931348623157e308",
    ]) {
        black_box((text.parse::<f64>().ok(), text.parse::<f32>().ok()));
    }
    for text in black_box(["42", "-17", "99999999999999999999", "x", ""]) {
        black_box((text.parse::<i64>().ok(), text.parse::<u128>().ok()));
        black_box(u32::from_str_radix(text, 36).ok());
    }
    black_box(
        black_box("127.0.0.1:8080")
            .parse::<std::net::SocketAddr>()
            .ok(),
    );
    black_box(black_box("[::1]:443").parse::<std::net::SocketAddr>().ok());
}
