//! The additional checksums of S3: which there are, and how an object carries one.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use base64::{Engine, engine::general_purpose::STANDARD};
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

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Its name in `x-amz-checksum-algorithm` and `ChecksumAlgorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm of that name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|each| name.eq_ignore_ascii_case(each.name().as_bytes()))
    }

    /// The header or trailer that carries its value.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The algorithm whose value this header or trailer carries. `name` in lower case.
    pub fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.header() == name)
    }

    /// The element of XML documents that carries its value.
    pub fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// How many bytes a value has.
    pub fn width(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Whether multipart uploads may ask for this scope: CRC-64/NVME is only ever of the full object, hashes are only ever
    /// composite.
    pub fn allows(self, scope: Scope) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c => true,
            Self::Crc64Nvme => scope == Scope::FullObject,
            Self::Sha1 | Self::Sha256 => scope == Scope::Composite,
        }
    }

    /// The scope of a multipart upload that names the algorithm and nothing more.
    pub fn default_scope(self) -> Scope {
        match self {
            Self::Crc32 | Self::Crc32c | Self::Sha1 | Self::Sha256 => Scope::Composite,
            Self::Crc64Nvme => Scope::FullObject,
        }
    }

    /// The value in this Base64 text, if it is one of this algorithm's length.
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok().filter(|value| value.len() == self.width())
    }
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

impl Scope {
    /// Its name in `x-amz-checksum-type` and `ChecksumType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The scope of that name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|each| name.eq_ignore_ascii_case(each.name().as_bytes()))
    }
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

impl Checksum {
    /// The value in Base64, as headers and documents carry it. A composite one of `parts` parts ends with their number.
    pub fn text(&self, parts: Option<u16>) -> String {
        let value = STANDARD.encode(&self.value);
        match (self.scope, parts) {
            (Scope::Composite, Some(parts)) => format!("{value}-{parts}"),
            (Scope::Composite, None) | (Scope::FullObject, _) => value,
        }
    }
}
