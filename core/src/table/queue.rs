//! The local queue: work that hooks leave behind inside the transaction that made it necessary, so that a crash cannot
//! forget it. A job may run twice; each is idempotent.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Hash, Position, VersionId},
    store::Table,
    time::Timestamp,
};

/// A piece of queued work: the value of a row in [`Table::Queue`], keyed by (due time, hash of the job).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Drop the references and the block list of a piece of data.
    #[serde(rename = "data")]
    DropData {
        /// The ring position of its block list.
        #[serde(rename = "p")]
        position: Position,
        /// The data.
        #[serde(rename = "d")]
        data: VersionId,
        /// The key of the object row that may have come to name the data again since: then it is kept. See
        /// [`Guard::Newest`](crate::store::Guard::Newest).
        #[serde(
            rename = "o",
            with = "serde_bytes",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        unless: Option<Vec<u8>>,
    },
    /// Drop every part of an upload and its manifest.
    #[serde(rename = "upload")]
    DropUpload {
        /// The ring position of the object it was for.
        #[serde(rename = "p")]
        position: Position,
        /// The upload.
        #[serde(rename = "u")]
        upload: VersionId,
        /// The key of the object row that may have come to name the upload again since: then it is kept.
        #[serde(
            rename = "o",
            with = "serde_bytes",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        unless: Option<Vec<u8>>,
    },
    /// Drop the data of a part that was sent again, unless the completed object is made of it.
    #[serde(rename = "part")]
    DropPart {
        /// The ring position of the object.
        #[serde(rename = "p")]
        position: Position,
        /// The upload.
        #[serde(rename = "u")]
        upload: VersionId,
        /// The data.
        #[serde(rename = "d")]
        data: VersionId,
        /// Since when it has been known that the upload is open.
        #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// After completion: drop the parts that the manifest does not name, and the part rows of all.
    #[serde(rename = "tidy")]
    TidyUpload {
        /// The ring position of the object.
        #[serde(rename = "p")]
        position: Position,
        /// The upload.
        #[serde(rename = "u")]
        upload: VersionId,
    },
    /// Forget a tombstone that every replica has by now, unless the row has changed since.
    #[serde(rename = "tombstone")]
    Collect {
        /// Index of the table in [`Table::ALL`].
        #[serde(rename = "t")]
        table: u8,
        /// The row's key.
        #[serde(rename = "k", with = "serde_bytes")]
        key: Vec<u8>,
        /// The encoded tombstone.
        #[serde(rename = "v", with = "serde_bytes")]
        value: Vec<u8>,
        /// Since when it has waited for somebody to have it.
        #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// Delete a block that nothing refers to any more.
    #[serde(rename = "reap")]
    Reap {
        /// The block.
        #[serde(rename = "h")]
        block: Hash,
    },
    /// Look at a block's file, and fetch the block from another node if it is missing or damaged. Kept in a table of its own,
    /// [`Table::Fetch`], so that deletes do not wait behind what may be terabytes; due at once.
    #[serde(rename = "fetch")]
    Fetch {
        /// The block.
        #[serde(rename = "h")]
        block: Hash,
    },
}

/// The number under which [`Job::Collect`] names a table; the inverse of indexing [`Table::ALL`].
pub fn table_number(table: Table) -> u8 {
    let index = Table::ALL.iter().position(|t| *t == table);
    index.and_then(|index| u8::try_from(index).ok()).expect("every table is in Table::ALL")
}
