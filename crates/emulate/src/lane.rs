//! Vector registers as numbers: conversions between 128-bit lanes and arrays of elements.

use std::array;

use crate::registers::Vector;

/// A type of element that a lane may consist of.
pub(crate) trait Element: Copy {
    /// All elements of a lane, the lowest first.
    type Elements: AsRef<[Self]> + AsMut<[Self]>;

    fn split(lane: u128) -> Self::Elements;
    fn join(elements: Self::Elements) -> u128;
}

macro_rules! elements {
    ($($type:ty, $bits:ty, $count:literal, $to:expr, $from:expr;)*) => { $(
        impl Element for $type {
            type Elements = [Self; $count];

            #[inline]
            fn split(lane: u128) -> Self::Elements {
                let bytes = lane.to_le_bytes();
                let (chunks, _) = bytes.as_chunks::<{ 16 / $count }>();
                array::from_fn(|n| $from(<$bits>::from_le_bytes(chunks[n])))
            }

            #[inline]
            fn join(elements: Self::Elements) -> u128 {
                let mut bytes = [0; 16];
                let (chunks, _) = bytes.as_chunks_mut::<{ 16 / $count }>();
                for (chunk, element) in chunks.iter_mut().zip(elements) {
                    *chunk = $to(element).to_le_bytes();
                }
                u128::from_le_bytes(bytes)
            }
        }
    )* };
}

elements! {
    u8, u8, 16, |x: u8| x, |x: u8| x;
    u16, u16, 8, |x: u16| x, |x: u16| x;
    u32, u32, 4, |x: u32| x, |x: u32| x;
    u64, u64, 2, |x: u64| x, |x: u64| x;
    i8, u8, 16, i8::cast_unsigned, u8::cast_signed;
    i16, u16, 8, i16::cast_unsigned, u16::cast_signed;
    i32, u32, 4, i32::cast_unsigned, u32::cast_signed;
    i64, u64, 2, i64::cast_unsigned, u64::cast_signed;
    f32, u32, 4, f32::to_bits, f32::from_bits;
    f64, u64, 2, f64::to_bits, f64::from_bits;
}

/// Applies `f` to each element.
#[inline]
pub(crate) fn map<T: Element>(a: u128, f: impl Fn(T) -> T) -> u128 {
    let mut elements = T::split(a);
    for a in elements.as_mut() {
        *a = f(*a);
    }
    T::join(elements)
}

/// Applies `f` to each pair of elements.
#[inline]
pub(crate) fn zip<T: Element>(a: u128, b: u128, f: impl Fn(T, T) -> T) -> u128 {
    let (mut elements, b) = (T::split(a), T::split(b));
    for (a, b) in elements.as_mut().iter_mut().zip(b.as_ref()) {
        *a = f(*a, *b);
    }
    T::join(elements)
}

/// Applies `f` to the elements with the same number in three lanes.
#[inline]
pub(crate) fn zip3<T: Element>(a: u128, b: u128, c: u128, f: impl Fn(T, T, T) -> T) -> u128 {
    let (mut elements, b, c) = (T::split(a), T::split(b), T::split(c));
    for ((a, b), c) in elements.as_mut().iter_mut().zip(b.as_ref()).zip(c.as_ref()) {
        *a = f(*a, *b, *c);
    }
    T::join(elements)
}

/// Builds a lane by applying `f` to the number of each element.
#[inline]
pub(crate) fn build<T: Element>(f: impl Fn(usize) -> T) -> u128 {
    let mut elements = T::split(0);
    for (n, element) in elements.as_mut().iter_mut().enumerate() {
        *element = f(n);
    }
    T::join(elements)
}

/// Returns an element of `size` bytes.
#[inline]
pub(crate) fn element(vector: &Vector, size: usize, number: usize) -> u64 {
    let byte = number * size;
    let lane = vector[byte / 16 % 4] >> (byte % 16 * 8);
    lane as u64 & (u64::MAX >> (64 - 8 * size))
}

/// Sets an element of `size` bytes.
#[inline]
pub(crate) fn set_element(vector: &mut Vector, size: usize, number: usize, value: u64) {
    let byte = number * size;
    let shift = byte % 16 * 8;
    let mask = u128::from(u64::MAX >> (64 - 8 * size)) << shift;
    let lane = &mut vector[byte / 16 % 4];
    *lane = *lane & !mask | u128::from(value) << shift & mask;
}

/// Returns the bytes of a vector.
#[inline]
pub(crate) fn to_bytes(vector: &Vector) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (chunk, lane) in bytes.chunks_exact_mut(16).zip(vector) {
        chunk.copy_from_slice(&lane.to_le_bytes());
    }
    bytes
}

/// Builds a vector from its bytes.
#[inline]
pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Vector {
    let (lanes, _) = bytes.as_chunks::<16>();
    array::from_fn(|n| u128::from_le_bytes(lanes[n]))
}
