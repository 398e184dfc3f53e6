//! Randomness that comes in as an argument: one seed at the start, everything else derived from it.

/// A deterministic source of random bytes: the extendable output of BLAKE3 keyed with a seed. Good enough for ids and for
/// choices; keys are made from the operating system's randomness by the shell.
#[derive(Clone, Debug)]
pub struct Seed {
    key: [u8; 32],
    drawn: u64,
}

impl Seed {
    /// The source that starts from `key`.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, drawn: 0 }
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        blake3::Hasher::new_keyed(&self.key)
            .update(&self.drawn.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        self.drawn += 1;
        bytes
    }

    /// A number below `bound`, near enough to uniform for choices.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        let wide = u128::from(u64::from_le_bytes(self.bytes())) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An independent source for a child.
    pub fn child(&mut self) -> Self {
        Self::new(self.bytes())
    }
}
