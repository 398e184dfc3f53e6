//! Object rows: the current version of a key. Last writer wins by (timestamp, version id).

use serde::{Deserialize, Serialize};

use crate::{id::VersionId, s3::checksum::Checksum};

/// The value of a row in [`Table::Object`](crate::store::Table::Object).
///
/// Small however large the object: payload, block list and part list are rows of their own. A ballot for conditional
/// writes by consensus will be a row beside this one, so that plain writes stay leaderless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Which version this is; the greatest wins.
    #[serde(rename = "v")]
    pub version: VersionId,
    /// What it is.
    #[serde(rename = "c")]
    pub content: Content,
}

/// What a version of an object consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Nothing: a tombstone.
    #[serde(rename = "d")]
    Deleted,
    /// Bytes in the row beside this one, in [`Table::Inline`](crate::store::Table::Inline).
    #[serde(rename = "i")]
    Inline(Meta),
    /// Blocks, listed in [`Table::BlockList`](crate::store::Table::BlockList).
    #[serde(rename = "b")]
    Blocks(Meta, Data),
    /// Parts, listed in the manifest of the upload that made them.
    #[serde(rename = "p")]
    Parts(Meta, Parts),
}

/// What S3 tells of an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// The entity tag, without quotes.
    #[serde(rename = "e")]
    pub etag: String,
    /// Stored header fields, `x-amz-meta-*` among them: names in lower case, values as sent.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, serde_bytes::ByteBuf)>,
    /// The additional checksum, where one was asked for or computed.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

/// Where an object's blocks are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The id that they are listed under. Not the row's version: a writer that finds a newer row takes a new version and keeps
    /// its blocks.
    #[serde(rename = "d")]
    pub data: VersionId,
    /// Length in bytes of the longest block: the block that holds an offset begins less than this before it.
    #[serde(rename = "m")]
    pub block_max: u32,
}

/// Where a multipart object's parts are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The upload whose manifest it is.
    #[serde(rename = "u")]
    pub upload: VersionId,
    /// How many parts there are.
    #[serde(rename = "n")]
    pub count: u16,
    /// The offset in the object at which each page of the manifest begins.
    #[serde(rename = "o")]
    pub pages: Vec<u64>,
}

impl Content {
    /// What S3 tells of it, unless it is a tombstone.
    pub fn meta(&self) -> Option<&Meta> {
        match self {
            Self::Deleted => None,
            Self::Inline(meta) | Self::Blocks(meta, _) | Self::Parts(meta, _) => Some(meta),
        }
    }
}
