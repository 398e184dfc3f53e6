//! Streaming digests, and how the parts' digests make the object's.

use std::fmt;

use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::checksum::{Algorithm, Checksum, Scope};

/// Computes one additional checksum, piece by piece.
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

#[derive(Clone)]
enum State {
    Crc(crc_fast::Digest),
    Ring(Context),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha1 => State::Ring(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => State::Ring(Context::new(&SHA256)),
            Algorithm::Crc32 => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc32c => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Crc64Nvme => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
        };
        Self { algorithm, state }
    }

    /// Which checksum this is.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(bytes),
            State::Ring(context) => context.update(bytes),
        }
    }

    /// The checksum of all bytes given.
    pub fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(digest) => crc_bytes(self.algorithm, digest.finalize()),
            State::Ring(context) => context.finish().as_ref().to_vec(),
        };
        Checksum { algorithm: self.algorithm, scope: Scope::FullObject, value }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The checksum of `bytes`.
pub fn checksum(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The MD5 of `bytes`.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&SHA256, bytes))
}

/// The ETag of a multipart object, without quotes: the MD5 of the parts' MD5s, then `-` and their number.
pub fn multipart_etag<'a>(parts: impl IntoIterator<Item = &'a [u8; 16]>) -> String {
    let (mut digest, mut count) = (Md5::new(), 0u32);
    for part in parts {
        digest.update(part);
        count += 1;
    }
    format!("{}-{count}", hex::encode(digest.finalize()))
}

/// The composite checksum of a multipart object: the checksum of the parts' checksums. Nothing if a part's value is not one
/// of this algorithm.
pub fn composite<'a>(
    algorithm: Algorithm,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Checksum> {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        if part.len() != algorithm.width() {
            return None;
        }
        hasher.update(part);
    }
    Some(Checksum { scope: Scope::Composite, ..hasher.finish() })
}

/// The full-object checksum of a multipart object, from each part's checksum and length. Nothing for the algorithms whose
/// values do not combine (SHA-1, SHA-256), or if a part's value is not one of this algorithm.
pub fn full_object<'a>(
    algorithm: Algorithm,
    parts: impl IntoIterator<Item = (&'a [u8], u64)>,
) -> Option<Checksum> {
    let crc = match algorithm {
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Sha1 | Algorithm::Sha256 => return None,
    };
    let mut whole = crc_fast::Digest::new(crc).finalize();
    for (value, len) in parts {
        if value.len() != algorithm.width() {
            return None;
        }
        let part = value.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        whole = crc_fast::checksum_combine(crc, whole, part, len);
    }
    let value = crc_bytes(algorithm, whole);
    Some(Checksum { algorithm, scope: Scope::FullObject, value })
}

fn crc_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.width()..].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_values_of_the_algorithms() {
        let hexadecimal = |algorithm| hex::encode(checksum(algorithm, b"123456789").value);
        assert_eq!(hexadecimal(Algorithm::Crc32), "cbf43926");
        assert_eq!(hexadecimal(Algorithm::Crc32c), "e3069283");
        assert_eq!(hexadecimal(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hexadecimal(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            hexadecimal(Algorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(hex::encode(md5(b"123456789")), "25f9e794323b453885f5181f1b624d0b");
    }

    #[test]
    fn nothing_has_a_checksum_too() {
        assert_eq!(checksum(Algorithm::Crc32, b"").text(None), "AAAAAA==");
        assert_eq!(full_object(Algorithm::Crc32c, []).unwrap(), checksum(Algorithm::Crc32c, b""));
    }

    #[test]
    fn the_etag_of_parts_is_the_md5_of_their_md5s() {
        // printf a | md5sum, printf b | md5sum; then the MD5 of both in binary.
        let parts = [md5(b"a"), md5(b"b")];
        let whole = hex::encode(md5(&parts.concat()));
        assert_eq!(multipart_etag(&parts), format!("{whole}-2"));
    }

    #[test]
    fn composite_checksums_are_those_of_the_parts_checksums() {
        let parts =
            [checksum(Algorithm::Sha256, b"a").value, checksum(Algorithm::Sha256, b"b").value];
        let whole = composite(Algorithm::Sha256, parts.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(whole.scope, Scope::Composite);
        assert_eq!(whole.value, checksum(Algorithm::Sha256, &parts.concat()).value);
        assert!(whole.text(Some(2)).ends_with("=-2"));
        assert_eq!(composite(Algorithm::Sha1, parts.iter().map(Vec::as_slice)), None);
        assert_eq!(full_object(Algorithm::Sha256, [(&parts[0][..], 1)]), None);
        assert_eq!(full_object(Algorithm::Crc32, [(&parts[0][..], 1)]), None);
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_whole(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let sums: Vec<_> = parts.iter().map(|part| (checksum(algorithm, part).value, part.len() as u64)).collect();
                let whole = full_object(algorithm, sums.iter().map(|(value, len)| (value.as_slice(), *len)));
                prop_assert_eq!(whole.unwrap(), checksum(algorithm, &parts.concat()));
            }
        }

        #[test]
        fn pieces_hash_like_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>()) {
            let at = at.index(bytes.len() + 1);
            for algorithm in Algorithm::ALL {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&bytes[..at]);
                hasher.update(&bytes[at..]);
                prop_assert_eq!(hasher.finish(), checksum(algorithm, &bytes));
            }
        }
    }
}
