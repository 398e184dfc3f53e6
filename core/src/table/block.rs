//! Rows about blocks: which blocks a piece of data has, who refers to a block, how many references this node knows.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Hash, Position},
    time::Timestamp,
};

/// The value of a row in [`Table::BlockList`](crate::store::Table::BlockList), keyed by (data id, offset). Immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockListRow {
    /// The block.
    #[serde(rename = "h")]
    pub block: Hash,
    /// Its length in plain bytes.
    #[serde(rename = "l")]
    pub len: u32,
}

/// The value of a row in [`Table::BlockRef`](crate::store::Table::BlockRef), keyed by (block, data id). Dropped absorbs live: a data id, once
/// dropped, never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BlockRefForm", into = "BlockRefForm")]
pub enum BlockRefRow {
    /// The data has this block.
    Live {
        /// The ring position at which the data's blocks are listed. Not in rows of the time when there was but one node.
        owner: Option<Position>,
    },
    /// The data is gone.
    Dropped,
}

impl BlockRefRow {
    /// Whether it keeps its block.
    pub fn is_live(self) -> bool {
        match self {
            Self::Live { .. } => true,
            Self::Dropped => false,
        }
    }
}

/// A [`BlockRefRow`] as it is encoded: the form without an owner is older.
#[derive(Serialize, Deserialize)]
enum BlockRefForm {
    #[serde(rename = "l")]
    Live,
    #[serde(rename = "o")]
    Owned(Position),
    #[serde(rename = "d")]
    Dropped,
}

impl From<BlockRefForm> for BlockRefRow {
    fn from(form: BlockRefForm) -> Self {
        match form {
            BlockRefForm::Live => Self::Live { owner: None },
            BlockRefForm::Owned(owner) => Self::Live { owner: Some(owner) },
            BlockRefForm::Dropped => Self::Dropped,
        }
    }
}

impl From<BlockRefRow> for BlockRefForm {
    fn from(row: BlockRefRow) -> Self {
        match row {
            BlockRefRow::Live { owner: None } => Self::Live,
            BlockRefRow::Live { owner: Some(owner) } => Self::Owned(owner),
            BlockRefRow::Dropped => Self::Dropped,
        }
    }
}

/// The value of a row in [`Table::BlockCount`](crate::store::Table::BlockCount). Local; kept by the hook of `BlockRef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCountRow {
    /// Live references. At zero the block is queued to be reaped.
    #[serde(rename = "n")]
    pub refs: u64,
    /// At zero, since when. Not in rows of the time when there were no snapshots of the metadata.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Timestamp>,
}

/// The value of a row in [`Table::Fetch`](crate::store::Table::Fetch), keyed by block. Local; whoever finds a block missing or damaged writes it
/// anew, so that a job that has looked at the file before that does not take the row for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRow {
    /// When it was queued.
    #[serde(rename = "t")]
    pub queued: Timestamp,
}

/// The value of a row in [`Table::BlockError`](crate::store::Table::BlockError), keyed by block. Local.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockErrorRow {
    /// How often in a row the block could not be fetched.
    #[serde(rename = "n")]
    pub errors: u32,
    /// When that was first.
    #[serde(rename = "f")]
    pub first: Timestamp,
    /// When that was last.
    #[serde(rename = "l")]
    pub last: Timestamp,
    /// When it is tried again.
    #[serde(rename = "x")]
    pub next: Timestamp,
    /// Why, for people.
    #[serde(rename = "r")]
    pub reason: String,
}
