//! The simulator's own chance: a quick generator, because every event draws from it.

/// SplitMix64 (Steele, Lea and Flood, 2014). The core gets its randomness from [`Seed`](mews_core::seed::Seed) instead.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x6d65_7773_2064_6963)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, near enough to uniform.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        let wide = u128::from(self.draw()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into something of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True once in so many times on average; never, if that is 0.
    pub fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.below(many) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// An independent generator.
    pub fn child(&mut self) -> Self {
        Self::new(self.draw())
    }

    /// A seed for something of the core's.
    pub fn seed(&mut self) -> mews_core::seed::Seed {
        let mut bytes = [0; 32];
        for eight in bytes.chunks_exact_mut(8) {
            eight.copy_from_slice(&self.draw().to_le_bytes());
        }
        mews_core::seed::Seed::new(bytes)
    }
}
