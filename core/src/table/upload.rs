//! Rows of multipart uploads: the upload, its parts, the manifest of a completed one; and the intents of data being written.

use serde::{Deserialize, Serialize};

use crate::{
    checksum::{Checksum, ChecksumKind},
    id::{NodeId, VersionId},
};

/// The value of a row in [`Table::Upload`](crate::store::Table::Upload). Closed absorbs open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadRow {
    /// Parts may be added.
    #[serde(rename = "o")]
    Open {
        /// Stored header fields of the object to be, as in [`super::object::Meta`].
        #[serde(rename = "h")]
        headers: Vec<(String, serde_bytes::ByteBuf)>,
        /// The checksum that was asked for.
        #[serde(rename = "k")]
        checksum: Option<ChecksumKind>,
        /// The access key that began it.
        #[serde(rename = "a")]
        initiator: String,
    },
    /// Completed or aborted.
    #[serde(rename = "c")]
    Closed {
        /// If completed: the entity tag, for a client that asks again because the answer got lost.
        #[serde(rename = "e")]
        etag: Option<String>,
    },
}

impl UploadRow {
    /// Whether parts may be added.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// The value of a row in [`Table::Part`](crate::store::Table::Part). The greatest data id wins, so a part sent again replaces the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// The id under which its blocks are listed.
    #[serde(rename = "d")]
    pub data: VersionId,
    /// Length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// Length in bytes of the longest block, as in [`super::object::Data`]; 0 for an empty part.
    #[serde(rename = "m")]
    pub block_max: u32,
    /// MD5 of the bytes, in hexadecimal.
    #[serde(rename = "e")]
    pub etag: String,
    /// The additional checksum.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

/// One page of a completed object's parts, in order: a row of [`Table::Manifest`](crate::store::Table::Manifest).
///
/// A completion that was never answered may have been applied on some replicas, and be repeated with other parts. Of two, the later
/// version wins, as it does in the object's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// The parts of this page, at most [`ManifestRow::PAGE`].
    #[serde(rename = "p")]
    pub parts: Vec<ManifestPart>,
    /// The version that this completion of the upload made. `None` of a release that did not tell.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<VersionId>,
}

impl ManifestRow {
    /// Parts to a page: 10,000 parts make 20 pages of about 40 KiB.
    pub const PAGE: usize = 500;
}

/// One part in a [`ManifestRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// The number the client gave it.
    #[serde(rename = "n")]
    pub number: u16,
    /// Where it begins in the object.
    #[serde(rename = "o")]
    pub offset: u64,
    /// The part as it was uploaded.
    #[serde(rename = "r")]
    pub part: PartRow,
}

/// The value of a row in [`Table::Intent`](crate::store::Table::Intent): what becomes of the data of an id (of blocks listed, or of an upload's
/// parts). The later in the order of the variants absorbs the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntentRow {
    /// Blocks are being written by the process of this boot number; if that is over, they are nobody's.
    #[serde(rename = "w")]
    Writing {
        /// See [`crate::view::View::boot`].
        #[serde(rename = "b")]
        boot: u64,
        /// The node that writes. Zeros in rows of the time when there was but one.
        #[serde(rename = "n", default, skip_serializing_if = "is_nobody")]
        node: NodeId,
    },
    /// The writer is gone. No batch that names the data is accepted any more; whether one was before is being found out.
    #[serde(rename = "a")]
    Abandoned,
    /// The rows that name the data are committed. Of an upload: it is complete, and rows of its parts are void.
    #[serde(rename = "d")]
    Done,
    /// The data is garbage: what is listed under its id is void, wherever it turns up.
    #[serde(rename = "v")]
    Dropped,
}

/// Whether an intent is of the time before there were several nodes.
fn is_nobody(node: &NodeId) -> bool {
    *node == NodeId::default()
}
