//! What each key may hold after a crash: what was acknowledged last, or what was asked for after that and never answered.

/// What an object holds: bytes made from two numbers. Nothing, if it is deleted.
pub type Content = Option<Blob>;

/// Bytes that can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Decides every byte.
    pub seed: u64,
    /// How many.
    pub len: usize,
}

impl Blob {
    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        let mut random = Random::new(self.seed);
        let mut bytes = Vec::with_capacity(self.len + 8);
        while bytes.len() < self.len {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes
    }
}

/// One key, which one writer writes at a time.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What it held when that was last known for certain.
    pub sure: Content,
    /// What it may hold instead, because the daemon died before it answered.
    pub unsure: Vec<Content>,
    /// Whether anything was done to it since it was last read.
    pub touched: bool,
}

impl Key {
    /// A key that was never written.
    pub fn new(name: String) -> Self {
        Self { name, sure: None, unsure: Vec::new(), touched: false }
    }

    /// A write was answered, or was not.
    pub fn wrote(&mut self, content: Content, acknowledged: bool) {
        self.touched = true;
        if acknowledged {
            self.sure = content;
            self.unsure.clear();
        } else {
            self.unsure.push(content);
        }
    }

    /// The key was read: `found` is its body, or nothing if it is not there. Says what is wrong, if that is none of what it may
    /// hold.
    pub fn read(&mut self, found: Option<&[u8]>) -> Result<(), String> {
        let candidates = std::iter::once(self.sure).chain(self.unsure.iter().copied());
        let held = candidates.into_iter().find(|content| match (content, found) {
            (None, None) => true,
            (Some(blob), Some(found)) => blob.len == found.len() && blob.bytes() == found,
            (None, Some(_)) | (Some(_), None) => false,
        });
        let Some(held) = held else {
            return Err(format!(
                "{}: acknowledged {:?}, unanswered {:?}, and there is {:?} bytes",
                self.name,
                self.sure,
                self.unsure,
                found.map(<[u8]>::len)
            ));
        };
        self.sure = held;
        self.unsure.clear();
        self.touched = false;
        Ok(())
    }
}

/// xorshift64* (Vigna, 2014): good enough for choices, and the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source that starts from any number.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero, and neighbours should not begin alike.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from `from` up to and without `until`.
    pub fn within(&mut self, from: u64, until: u64) -> u64 {
        from + self.next() % (until - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Blob = Blob { seed: 1, len: 20 };
    const B: Blob = Blob { seed: 2, len: 20 };

    fn key() -> Key {
        let mut key = Key::new("k".to_owned());
        key.wrote(Some(A), true);
        key
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        assert!(key().read(Some(&A.bytes())).is_ok());
        assert!(key().read(None).is_err());
        assert!(key().read(Some(&B.bytes())).is_err());
        assert!(key().read(Some(&A.bytes()[..19])).is_err());
    }

    #[test]
    fn what_was_never_answered_may_be_there_whole() {
        let mut key = key();
        key.wrote(Some(B), false);
        for held in [A, B] {
            assert!(key.clone().read(Some(&held.bytes())).is_ok());
        }
        let half = [&B.bytes()[..10], &A.bytes()[10..]].concat();
        assert!(key.clone().read(Some(&half)).is_err());
        // Once it is read, it is certain.
        key.read(Some(&B.bytes())).expect("one of the two");
        assert!(key.read(Some(&A.bytes())).is_err());
    }

    #[test]
    fn a_deletion_counts_as_a_write() {
        let mut key = key();
        key.wrote(None, true);
        assert!(key.clone().read(None).is_ok());
        assert!(key.read(Some(&A.bytes())).is_err());
    }
}
