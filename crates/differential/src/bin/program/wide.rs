//! Loops that the compiler turns into vector instructions, of each kind that the processor has.

use std::hint::black_box;

use crate::Spawner;

pub(crate) fn spawn(tasks: &Spawner) {
    tasks.work(baseline);
    if is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has these features.
        #[expect(unsafe_code, reason = "code for processors of one kind")]
        tasks.work(|| unsafe { sse4() });
    }
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
    {
        // SAFETY: the processor has these features.
        #[expect(unsafe_code, reason = "code for processors of one kind")]
        tasks.work(|| unsafe { avx2() });
    }
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512cd")
    {
        // SAFETY: the processor has these features.
        #[expect(unsafe_code, reason = "code for processors of one kind")]
        tasks.work(|| unsafe { avx512() });
    }
}

fn baseline() {
    loops();
}

#[target_feature(enable = "sse4.2,popcnt")]
fn sse4() {
    loops();
}

#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx2() {
    loops();
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,popcnt"
)]
fn avx512() {
    loops();
}

/// Not a multiple of any vector length, so that a remainder is handled, too.
const LENGTH: usize = 77;

#[inline(always)]
fn loops() {
    let bytes: [u8; LENGTH] = black_box(std::array::from_fn(|n| (n * 37 + 11) as u8));
    let shorts: [i16; LENGTH] = black_box(std::array::from_fn(|n| (n * 9973) as i16));
    let ints: [i32; LENGTH] = black_box(std::array::from_fn(|n| (n as i32 - 40) * 0x0135_7911));
    let longs: [u64; LENGTH] = black_box(std::array::from_fn(|n| (n as u64) << (n % 60)));
    let singles: [f32; LENGTH] = black_box(std::array::from_fn(|n| n as f32 * 1.7 - 30.0));
    let doubles: [f64; LENGTH] = black_box(std::array::from_fn(|n| n as f64 / 3.0 - 11.0));
    small(&bytes, &shorts);
    whole(&ints, &longs);
    floating(&singles, &doubles, &ints);
    mixed(&bytes, &shorts, &ints);
}

#[inline(always)]
fn small(bytes: &[u8; LENGTH], shorts: &[i16; LENGTH]) {
    black_box(bytes.iter().map(|b| u32::from(*b)).sum::<u32>());
    black_box(bytes.iter().filter(|b| **b == 48).count());
    black_box(bytes.iter().copied().max().zip(bytes.iter().copied().min()));
    black_box(bytes.map(|b| b.saturating_add(100).wrapping_mul(3)));
    black_box(bytes.map(|b| b.to_ascii_uppercase()));
    black_box(bytes.map(|b| b.count_ones() as u8));
    black_box(bytes.map(|b| b >> 3 | b << 2));
    black_box(bytes.iter().rev().fold(0_u8, |all, b| all ^ b));
    black_box(shorts.map(|s| s.saturating_sub(20_000)));
    black_box(shorts.map(i16::unsigned_abs));
    black_box(
        shorts
            .iter()
            .zip(bytes)
            .map(|(s, b)| i32::from(*s) * i32::from(*b))
            .sum::<i32>(),
    );
    black_box(shorts.iter().map(|s| i64::from(*s)).sum::<i64>());
    black_box(shorts.map(|s| ((i32::from(s) * 19_000) >> 16) as i16));
}

#[inline(always)]
fn whole(ints: &[i32; LENGTH], longs: &[u64; LENGTH]) {
    black_box(ints.iter().fold(0_i32, |all, n| all.wrapping_add(*n)));
    black_box(ints.map(|n| n.wrapping_mul(n) >> 3));
    black_box(ints.map(|n| n.rotate_left(7) ^ n.abs()));
    black_box(ints.map(|n| if n > 1000 { n } else { -n }));
    black_box(ints.iter().copied().max());
    black_box(ints.iter().position(|n| *n == 0x7fff));
    black_box(ints.map(|n| (n as u32).leading_zeros()));
    black_box(ints.map(|n| 1_i32.wrapping_shl(n as u32)));
    black_box(longs.iter().fold(0_u64, |all, n| all.wrapping_add(*n)));
    black_box(longs.map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)));
    black_box(longs.map(|n| n.min(1 << 40)));
    black_box(longs.map(u64::count_ones));
    black_box(longs.map(|n| n as i64 >> 5));
    black_box(longs.map(|n| n as u32));
    black_box(longs.contains(&5));
}

#[inline(always)]
fn floating(singles: &[f32; LENGTH], doubles: &[f64; LENGTH], ints: &[i32; LENGTH]) {
    black_box(singles.iter().sum::<f32>());
    black_box(singles.map(|x| x * x + 1.0));
    black_box(singles.map(|x| x.mul_add(2.5, -1.0)));
    black_box(singles.map(|x| x.abs().sqrt()));
    black_box(singles.map(|x| x as i32));
    black_box(singles.map(f64::from));
    black_box(singles.map(|x| if x < 3.0 { 3.0 } else { x }));
    black_box(
        doubles
            .iter()
            .zip(doubles.iter().rev())
            .map(|(a, b)| a * b)
            .sum::<f64>(),
    );
    black_box(doubles.map(|x| x.floor() / (x.abs() + 1.0)));
    black_box(doubles.map(|x| x.clamp(0.5, 9.0)));
    black_box(doubles.map(|x| x as f32));
    black_box(doubles.map(|x| x as i64));
    black_box(doubles.map(|x| -x).iter().filter(|x| **x > 1.0).count());
    black_box(ints.map(|n| n as f32));
    black_box(ints.map(|n| f64::from(n) * 0.5));
}

#[inline(always)]
fn mixed(bytes: &[u8; LENGTH], shorts: &[i16; LENGTH], ints: &[i32; LENGTH]) {
    black_box(bytes.map(u16::from));
    black_box(bytes.map(u64::from));
    black_box(bytes.map(|b| i32::from(b as i8)));
    black_box(shorts.map(|s| s as u8));
    black_box(shorts.map(i64::from));
    black_box(ints.map(|n| n as u16));
    black_box(ints.map(|n| n.clamp(-128, 127) as i8));
    black_box(ints.map(|n| ints[n.unsigned_abs() as usize % LENGTH]));
    black_box(
        bytes
            .iter()
            .zip(shorts)
            .map(|(b, s)| if *b > 99 { i32::from(*s) } else { 0 })
            .sum::<i32>(),
    );
    let mut sorted = *ints;
    sorted.sort_unstable();
    sorted.reverse();
    black_box(sorted);
    let mut swapped = *bytes;
    swapped
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .for_each(|chunk| chunk.reverse());
    black_box(swapped);
}
