//! Rows about blocks: which blocks a piece of data has, who refers to a block, how many references this node knows.

use serde::{Deserialize, Serialize};

use crate::id::Hash;

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
pub enum BlockRefRow {
    /// The data has this block.
    #[serde(rename = "l")]
    Live,
    /// The data is gone.
    #[serde(rename = "d")]
    Dropped,
}

/// The value of a row in [`Table::BlockCount`](crate::store::Table::BlockCount). Local; kept by the hook of `BlockRef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCountRow {
    /// Live references. At zero the block is queued to be reaped.
    #[serde(rename = "n")]
    pub refs: u64,
}
