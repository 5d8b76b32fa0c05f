//! Random changes, the same in each run.

/// Numbers that a reader may not be prepared for.
const ODD: [u64; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// Random numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or(0)
    }
}

/// Changes a few places of a file; some of the changes may come from another file.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let place = random.below(bytes.len());
        let Some(rest) = bytes.get_mut(place..) else {
            return;
        };
        match random.below(8) {
            0 | 1 => {
                if let Some(byte) = rest.first_mut() {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = rest.first_mut() {
                    *byte = u8::try_from(random.below(256)).unwrap_or(0);
                }
            }
            3 | 4 => {
                let size = 1 << random.below(4);
                let odd = ODD.get(random.below(ODD.len())).copied().unwrap_or(0);
                for (to, from) in rest.iter_mut().take(size).zip(odd.to_le_bytes()) {
                    *to = from;
                }
            }
            5 => {
                let from = random.below(other.len());
                let length = random.below(64);
                let from = other.get(from..).unwrap_or_default().iter();
                for (to, from) in rest.iter_mut().take(length).zip(from) {
                    *to = *from;
                }
            }
            6 => {
                let end = place + random.below(16).min(rest.len());
                bytes.drain(place..end);
            }
            _ => {
                let length = random.below(32);
                let from = other.get(random.below(other.len())..).unwrap_or_default();
                let from = from.iter().copied().take(length);
                bytes.splice(place..place, from);
            }
        }
    }
}
