//! Streaming digests, and how the parts' digests make the object's.

use std::fmt;

use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::s3::checksum::{Algorithm, Checksum, Scope};

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
        if part.len() != algorithm.len() {
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
        if value.len() != algorithm.len() {
            return None;
        }
        let part = value.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        whole = crc_fast::checksum_combine(crc, whole, part, len);
    }
    let value = crc_bytes(algorithm, whole);
    Some(Checksum { algorithm, scope: Scope::FullObject, value })
}

fn crc_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.len()..].to_vec()
}
