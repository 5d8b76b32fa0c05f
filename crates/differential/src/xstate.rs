//! Vector and x87 registers, in the layout of `xsave` on this processor.

use rtops_emulate::{Extended, Registers};
use rtops_image::{XstateComponent as Component, XstateLayout};

const LEGACY: usize = 512;
const ST: usize = 32;
const XMM: usize = 160;
/// The offset of the bits for the components that the processor has, as the kernel reports them.
const FEATURES: usize = 464;
/// The offset of the bits for the components that are not in their initial state.
const IN_USE: usize = 512;

/// The component of x87, which is in the legacy part.
const X87: u32 = 0;
/// The components that [`Registers`] has: x87, SSE, AVX, and the three of AVX-512.
const KNOWN: u64 = 0b1110_0111;

/// The places of the components that follow the legacy part.
#[derive(Clone, Debug)]
pub(crate) struct Layout(XstateLayout);

impl Layout {
    /// Returns the layout of this processor.
    pub(crate) fn native() -> Self {
        Self(XstateLayout::native())
    }

    /// Returns the bytes of a component, if the processor has it and this state is long enough.
    fn part<'s>(&self, component: Component, state: &'s [u8]) -> Option<&'s [u8]> {
        state.get(self.0.range(component, state.len())?)
    }

    fn part_mut<'s>(&self, component: Component, state: &'s mut [u8]) -> Option<&'s mut [u8]> {
        let range = self.0.range(component, state.len())?;
        state.get_mut(range)
    }

    /// Reads the registers from a state.
    pub(crate) fn get(&self, state: &[u8], registers: &mut Registers) {
        let in_use = word(state, IN_USE);
        let part = |component: Component| {
            let is_in_use = in_use >> component as u32 & 1 == 1;
            self.part(component, state).filter(|_| is_in_use)
        };
        registers.mxcsr = word(state, 24) as u32;
        registers.vectors = [[0; 4]; 32];
        registers.masks = [0; 8];
        for (index, vector) in registers.vectors.iter_mut().take(16).enumerate() {
            vector[0] = lane(&state[XMM..], index);
            vector[1] = part(Component::Avx).map_or(0, |upper| lane(upper, index));
            if let Some(upper) = part(Component::Upper) {
                vector[2] = lane(upper, 2 * index);
                vector[3] = lane(upper, 2 * index + 1);
            }
        }
        if let Some(more) = part(Component::More) {
            for (index, vector) in registers.vectors.iter_mut().skip(16).enumerate() {
                *vector = std::array::from_fn(|n| lane(more, 4 * index + n));
            }
        }
        if let Some(masks) = part(Component::Masks) {
            registers.masks = std::array::from_fn(|index| word(masks, 8 * index));
        }
        let x87 = &mut registers.x87;
        let status = word(state, 2) as u16;
        x87.control = word(state, 0) as u16;
        x87.top = (status >> 11 & 7) as u8;
        x87.status = status & !0x3800;
        x87.used = state[4];
        for index in 0..8 {
            let at = ST + 16 * index;
            x87.registers[(index + usize::from(x87.top)) % 8] = Extended {
                significand: word(state, at),
                exponent: word(state, at + 8) as u16,
            };
        }
        if in_use >> X87 & 1 == 0 {
            *x87 = Default::default();
        }
    }

    /// Writes the registers to a state.
    pub(crate) fn set(&self, registers: &Registers, state: &mut [u8]) {
        let features = word(state, FEATURES);
        put(state, IN_USE, &(features & KNOWN).to_le_bytes());
        let x87 = &registers.x87;
        let status = x87.status | u16::from(x87.top) << 11;
        put(state, 0, &x87.control.to_le_bytes());
        put(state, 2, &status.to_le_bytes());
        put(state, 4, &[x87.used]);
        for index in 0..8 {
            let register = x87.registers[(index + usize::from(x87.top)) % 8];
            let at = ST + 16 * index;
            put(state, at, &register.significand.to_le_bytes());
            put(state, at + 8, &register.exponent.to_le_bytes());
        }
        put(state, 24, &registers.mxcsr.to_le_bytes());
        let vectors = || registers.vectors.iter();
        let low = vectors().take(16).map(|vector| vector[0]);
        put_lanes(&mut state[XMM..LEGACY], low);
        if let Some(upper) = self.part_mut(Component::Avx, state) {
            put_lanes(upper, vectors().take(16).map(|vector| vector[1]));
        }
        if let Some(upper) = self.part_mut(Component::Upper, state) {
            let lanes = vectors().take(16).flat_map(|vector| [vector[2], vector[3]]);
            put_lanes(upper, lanes);
        }
        if let Some(more) = self.part_mut(Component::More, state) {
            put_lanes(more, vectors().skip(16).flatten().copied());
        }
        if let Some(masks) = self.part_mut(Component::Masks, state) {
            for (index, mask) in registers.masks.iter().enumerate() {
                put(masks, 8 * index, &mask.to_le_bytes());
            }
        }
    }
}

/// Returns eight bytes as a number, with zeros after the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

/// Returns sixteen bytes as a number.
fn lane(bytes: &[u8], index: usize) -> u128 {
    let at = 16 * index;
    u128::from(word(bytes, at)) | u128::from(word(bytes, at + 8)) << 64
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = into.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn put_lanes(into: &mut [u8], lanes: impl Iterator<Item = u128>) {
    for (place, lane) in into.chunks_exact_mut(16).zip(lanes) {
        place.copy_from_slice(&lane.to_le_bytes());
    }
}
