//! The additional checksums of S3: which there are, and how an object carries one.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use serde::{Deserialize, Serialize};

/// An algorithm of `x-amz-checksum-algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// CRC-32 (ISO-HDLC).
    #[serde(rename = "crc32")]
    Crc32,
    /// CRC-32C (Castagnoli).
    #[serde(rename = "crc32c")]
    Crc32c,
    /// CRC-64/NVME.
    #[serde(rename = "crc64nvme")]
    Crc64Nvme,
    /// SHA-1.
    #[serde(rename = "sha1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "sha256")]
    Sha256,
}

/// What a multipart object's checksum covers: `x-amz-checksum-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// The bytes of the whole object.
    #[serde(rename = "full")]
    FullObject,
    /// The checksums of the parts.
    #[serde(rename = "comp")]
    Composite,
}

/// The kind of checksum that an upload asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChecksumKind {
    /// The algorithm.
    #[serde(rename = "a")]
    pub algorithm: Algorithm,
    /// What it covers.
    #[serde(rename = "s")]
    pub scope: Scope,
}

/// A checksum with its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// The algorithm.
    #[serde(rename = "a")]
    pub algorithm: Algorithm,
    /// What it covers.
    #[serde(rename = "s")]
    pub scope: Scope,
    /// The value, big-endian, not yet in Base64.
    #[serde(rename = "v", with = "serde_bytes")]
    pub value: Vec<u8>,
}
