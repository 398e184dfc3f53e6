//! Object rows: the current version of a key. Last writer wins by (timestamp, version id).

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};

use crate::{
    checksum::Checksum,
    id::VersionId,
    store::{StoreError, Table},
};

/// The value of a row in [`Table::Object`].
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
    /// Bytes in the row beside this one, in [`Table::Inline`].
    #[serde(rename = "i")]
    Inline(Meta),
    /// Blocks, listed in [`Table::BlockList`].
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
    /// Which completion of the upload it is of, as its pages say: the version that this made. `None` of a release that did not tell.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<VersionId>,
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

/// Whether an encoded row is that of an object, not a tombstone; reads no more of it than that takes.
///
/// # Errors
/// [`StoreError::Damaged`] if the row does not decode.
pub fn is_live(encoded: &[u8]) -> Result<bool, StoreError> {
    super::decode(Table::Object, encoded).map(|Peek { content: Kind(live) }| live)
}

/// An [`ObjectRow`] of which only the kind of its content is wanted.
#[derive(Deserialize)]
struct Peek {
    #[serde(rename = "c")]
    content: Kind,
}

/// Whether the content is live. A variant without fields is encoded as its name, the others as a map from it.
struct Kind(bool);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the content of an object")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Kind, E> {
        match name {
            "d" => Ok(Kind(false)),
            other => Err(E::unknown_variant(other, &["d"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kind(true))
    }
}
