//! Records: sealed in the output buffer and opened in the input buffer, without a copy.
//!
//! This is the transport phase of Noise (§5.1, §12.3, §12.4): an AEAD with a counter for a nonce and no associated data. snow
//! has one too, but only from one buffer into another.

use bytes::BytesMut;
use ring::aead::{
    AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey,
};

use super::{
    WireError,
    limits::{LENGTH, REKEY_EVERY},
    noise::Cipher,
};

/// The tag at the end of what is sealed.
pub(super) const TAG: usize = MAX_TAG_LEN;

/// A key with its cipher.
pub(super) struct Key {
    cipher: Cipher,
    key: LessSafeKey,
}

impl Key {
    pub fn new(cipher: Cipher, key: &[u8; 32]) -> Self {
        let algorithm = match cipher {
            Cipher::ChaChaPoly => &CHACHA20_POLY1305,
            Cipher::AesGcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("both ciphers have keys of 32 bytes");
        Self { cipher, key: LessSafeKey::new(key) }
    }

    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    fn nonce(&self, count: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        // Noise §12.3 and §12.4: the one little-endian, the other big-endian.
        nonce[4..].copy_from_slice(&match self.cipher {
            Cipher::ChaChaPoly => count.to_le_bytes(),
            Cipher::AesGcm => count.to_be_bytes(),
        });
        Nonce::assume_unique_for_key(nonce)
    }

    pub fn seal(&self, count: u64, ad: &[u8], bytes: &mut [u8]) -> [u8; TAG] {
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(count), Aad::from(ad), bytes);
        let tag = sealed.expect("a record is shorter than any cipher's limit");
        tag.as_ref().try_into().expect("both ciphers have tags of 16 bytes")
    }

    /// How many plain bytes stand at the beginning of `bytes` now; None if they were not sealed with this key and count.
    pub fn open(&self, count: u64, ad: &[u8], bytes: &mut [u8]) -> Option<usize> {
        let plain = self.key.open_in_place(self.nonce(count), Aad::from(ad), bytes);
        plain.ok().map(|plain| plain.len())
    }

    /// The key after this one (Noise §4.2).
    fn next(&self) -> Self {
        let mut key = [0; 32];
        self.seal(u64::MAX, &[], &mut key);
        Self::new(self.cipher, &key)
    }
}

/// One direction of a session.
pub(super) struct Half {
    key: Key,
    count: u64,
    rekey_every: u64,
}

impl Half {
    pub fn new(key: Key) -> Self {
        Self { key, count: 0, rekey_every: REKEY_EVERY }
    }

    pub fn cipher(&self) -> Cipher {
        self.key.cipher()
    }

    /// Seals the record whose length field is at `start` and whose plain bytes are the rest of `out`.
    pub fn seal(&mut self, out: &mut BytesMut, start: usize) {
        let count = self.advance();
        let tag = self.key.seal(count, &[], &mut out[start + LENGTH..]);
        out.extend_from_slice(&tag);
        let len = u16::try_from(out.len() - start - LENGTH).expect("records are below 64 KiB");
        out[start..start + LENGTH].copy_from_slice(&len.to_be_bytes());
    }

    /// Opens a record, without its length field, and gives its plain bytes.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a [u8], WireError> {
        let count = self.advance();
        let plain = self.key.open(count, &[], record).ok_or(WireError::Damaged)?;
        Ok(&record[..plain])
    }

    /// The next record's number, with the key made ready for it. Both ends count alike, so nothing needs to be said. The count
    /// goes on under a new key (Noise §11.3); 2⁶⁴ records do not happen.
    fn advance(&mut self) -> u64 {
        let count = self.count;
        if count > 0 && count.is_multiple_of(self.rekey_every) {
            self.key = self.key.next();
        }
        self.count += 1;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(cipher: Cipher, rekey_every: u64) -> (Half, Half) {
        let half = || Half { rekey_every, ..Half::new(Key::new(cipher, &[7; 32])) };
        (half(), half())
    }

    fn sealed(half: &mut Half, plain: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::from(&b"before"[..]);
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        out.extend_from_slice(plain);
        half.seal(&mut out, start);
        assert_eq!(&out[..start], b"before");
        assert_eq!(out[start..start + LENGTH], u16::to_be_bytes((plain.len() + TAG) as u16));
        out[start + LENGTH..].to_vec()
    }

    #[test]
    fn keys_change_on_both_ends_at_the_same_record() {
        for cipher in [Cipher::ChaChaPoly, Cipher::AesGcm] {
            let (mut ours, mut theirs) = halves(cipher, 3);
            let (mut fixed, _) = halves(cipher, u64::MAX);
            for record in 0..10u8 {
                let plain = [record; 40];
                let mut bytes = sealed(&mut ours, &plain);
                assert_eq!(bytes == sealed(&mut fixed, &plain), record < 3, "record {record}");
                assert_eq!(theirs.open(&mut bytes), Ok(&plain[..]), "record {record}");
            }
        }
    }

    #[test]
    fn repeated_and_reordered_records_do_not_open() {
        let (mut ours, mut theirs) = halves(Cipher::AesGcm, 100);
        let (first, second) = (sealed(&mut ours, b"first"), sealed(&mut ours, b"second"));
        assert!(theirs.open(&mut second.clone()).is_err());
        let (mut ours, mut theirs) = halves(Cipher::AesGcm, 100);
        assert_eq!(sealed(&mut ours, b"first"), first);
        assert!(theirs.open(&mut first.clone()).is_ok());
        assert!(theirs.open(&mut first.clone()).is_err());
    }
}
