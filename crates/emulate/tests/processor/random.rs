//! Random numbers, with a preference for edge cases.

/// A generator that gives the same numbers in every run: splitmix64, because the tests are built
/// without optimization and need many numbers.
pub struct Random {
    state: u64,
    /// Precomputed lanes to choose from.
    lanes: Vec<u128>,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self {
            state: seed,
            lanes: Vec::new(),
        };
        random.lanes = (0..2048).map(|_| random.new_lane()).collect();
        random
    }

    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.next_u64() as usize % limit
    }

    /// Returns a word, often an edge case or a small number.
    pub fn word(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            u64::MAX,
            1 << 63,
            i64::MAX as u64,
            0x8000_0000,
            0x7fff_ffff,
            0xffff_ffff,
            0x8000,
            0x80,
            0x8080_8080_8080_8080,
            0x7f7f_7f7f_7f7f_7f7f,
        ];
        match self.below(4) {
            0 => EDGES[self.below(EDGES.len())],
            1 => self.next_u64() % 70,
            2 => self.next_u64() >> self.below(64),
            _ => self.next_u64(),
        }
    }

    /// Returns 128 bits: integers, or floating-point numbers of both sizes.
    pub fn lane(&mut self) -> u128 {
        let number = self.below(self.lanes.len());
        self.lanes[number]
    }

    /// Fills `bytes` with consecutive lanes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut number = self.below(self.lanes.len());
        for lane in bytes.as_chunks_mut::<16>().0 {
            number = (number + 1) % self.lanes.len();
            *lane = self.lanes[number].to_le_bytes();
        }
    }

    fn new_lane(&mut self) -> u128 {
        match self.below(3) {
            0 => u128::from(self.word()) << 64 | u128::from(self.word()),
            1 => (0..4).fold(0, |lane, _| {
                lane << 32 | u128::from(self.single().to_bits())
            }),
            _ => (0..2).fold(0, |lane, _| {
                lane << 64 | u128::from(self.double().to_bits())
            }),
        }
    }

    fn single(&mut self) -> f32 {
        const EDGES: [f32; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            2.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MIN_POSITIVE,
            f32::MAX,
            2_147_483_648.0,
            -2_147_483_648.0,
            1e-40,
            8_388_609.0,
        ];
        match self.below(8) {
            0 => f32::from_bits(self.next_u32()),
            1 => f32::from_bits(0x7f80_0000 | self.next_u32() & 0x807f_ffff),
            2 => EDGES[self.below(EDGES.len())],
            3 => self.next_u32() as i32 as f32 / 16.0,
            _ => (self.next_u32() as i32 >> self.below(31)) as f32 / 1024.0,
        }
    }

    fn double(&mut self) -> f64 {
        const EDGES: [f64; 12] = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            f64::MAX,
            9_223_372_036_854_775_808.0,
            2_147_483_647.5,
            5e-324,
            1e-45,
        ];
        match self.below(8) {
            0 => f64::from_bits(self.next_u64()),
            1 => f64::from_bits(0x7ff0_0000_0000_0000 | self.next_u64() & 0x800f_ffff_ffff_ffff),
            2 => EDGES[self.below(EDGES.len())],
            3 => f64::from(self.single()),
            _ => (self.next_u64() as i64 >> self.below(63)) as f64 / 1024.0,
        }
    }

    /// Returns an 80-bit number.
    pub fn extended(&mut self) -> (u64, u16) {
        let exponent = match self.below(4) {
            0 => 16_383 + self.below(64) as u16,
            1 => 16_383 - self.below(64) as u16,
            2 => self.below(0x7fff) as u16,
            _ => 16_383,
        };
        let sign = (self.below(2) as u16) << 15;
        match self.below(12) {
            0 => (0, sign),
            1 => (1 << 63, sign | 0x7fff),
            2 => (3 << 62 | self.next_u64(), sign | 0x7fff),
            3 => (1 << 63, sign | exponent.max(1)),
            _ => (1 << 63 | self.next_u64(), sign | exponent.max(1)),
        }
    }
}
