//! What is asked of the writer: changes and their conditions, and what became of them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Table, recount};
use crate::{
    id::{BucketId, Hash, Position, VersionId},
    time::{Stamp, Timestamp},
};

/// A set of changes that become visible and durable together, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Which database file, of those that share this node's rows, the batch belongs to. Derived from the ring position of
    /// its rows; with one file, always 0.
    pub shard: u16,
    /// The wall clock where the batch was made; due times of queued work count from it.
    pub at: Timestamp,
    /// What must hold, or nothing of the batch happens.
    pub guards: Vec<Guard>,
    /// The changes, in order.
    pub ops: Vec<Op>,
    /// The block whose file has been made durable here for this batch: its first reference need not look for it. Set where
    /// [`Effect::StoreBlock`](crate::effect::Effect::StoreBlock) turns into a commit, and nowhere else.
    #[serde(skip)]
    pub stored: Option<Hash>,
}

impl Batch {
    /// An unconditional batch for the one database file.
    pub fn new(at: Timestamp, ops: Vec<Op>) -> Self {
        Self { shard: 0, at, guards: Vec::new(), ops, stored: None }
    }

    /// The batch as it is committed after this block's file was stored.
    #[must_use]
    pub fn with_stored(mut self, block: Hash) -> Self {
        self.stored = Some(block);
        self
    }

    /// Adds a condition.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Merges an encoded row into the table by its schema, and runs the schema's hook.
    Merge {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// The row as [`crate::table::encode`] gives it.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        /// For an object row with [`crate::table::object::Content::Inline`], its payload: kept for as long as that version is the
        /// current one.
        inline: Option<Bytes>,
    },
    /// Removes a row and runs the schema's hook as for a deletion. Only for rows that every replica has agreed to forget:
    /// collected tombstones, block lists and references of dropped data, finished queue entries.
    Remove {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// Removes a sharded row whose position this node no longer holds. Nothing follows from it elsewhere: unlike with
    /// [`Op::Remove`], no data is dropped, because the row lives on with its new holders; only what is counted here changes.
    Forget {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// Removes a tombstone that every replica has, if this is the row that stands here and all that it voids is gone from here.
    /// Otherwise nothing happens.
    Collect {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// The encoded tombstone.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
    },
    /// Corrects a count by the difference that [`Read::Recount`](super::Read::Recount) has found. Only for the own node.
    Correct(recount::Correction),
    /// Puts a job into the local queue.
    Enqueue {
        /// Not before this time.
        due: Timestamp,
        /// What to do.
        job: crate::table::queue::Job,
    },
    /// Forgets a block that nothing refers to. If it is still unreferenced when the batch is applied, its count row goes and
    /// its hash is named in [`Applied::reaped`]; the shell unlinks the file after the commit, on the writer's thread.
    Reap {
        /// The block.
        block: Hash,
    },
}

/// A condition checked inside the writer's transaction, before any change of its batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// There is no live row here.
    Absent {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// There is a live row here: a bucket that is not deleted, an upload that is open.
    Live {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// Nobody has ended here what this row stands for: it is live, or has not arrived. What a writer among several replicas asks
    /// of a bucket or an upload that it has itself found live: a replica that lags behind is no reason to refuse.
    NotDeleted {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// The batch comes in time: before this moment, by [`Batch::at`], which a node that takes a batch from another sets to its
    /// own clock. What has been given up by then stays given up.
    Before {
        /// The first moment that is too late.
        deadline: Timestamp,
    },
    /// The stored row is this, byte for byte.
    Unchanged {
        /// The table.
        table: Table,
        /// The row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// The value as it was read.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
    },
    /// The bucket has no objects (here).
    Empty {
        /// The bucket.
        bucket: BucketId,
    },
    /// Nobody is about to delete the bucket, as far as is known here. Asked for by the batch that makes an object, because whoever
    /// deletes the bucket seals it and then looks whether there are any.
    Unsealed {
        /// The bucket.
        bucket: BucketId,
    },
    /// No object row stands here with this version or a greater one: the batch's own row will win. Asked for by rows whose
    /// data lives in rows of its own (blocks, parts), because a row that loses has its data dropped, and a writer that goes
    /// round again under a later version keeps its data. For the same reason a row replaced by one with the same data drops
    /// nothing.
    Newest {
        /// The object row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// The version about to be written.
        version: VersionId,
    },
    /// Nobody has given up the data: its intent is not abandoned and not dropped. Asked for by the batch that names the data.
    Wanted {
        /// The ring position of its block list.
        position: Position,
        /// The data.
        data: VersionId,
    },
    /// The block is known here: a reference made now will keep it.
    Held {
        /// The block.
        block: Hash,
    },
}

/// What became of a committed batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was applied and is durable.
    Applied(Applied),
    /// The guard at this index did not hold; nothing changed.
    Refused {
        /// Index into [`Batch::guards`].
        guard: usize,
    },
}

/// What the transaction body found out on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The batch held an object row, and a row with a greater version was already there and stays. A writer that must come
    /// last goes round again with a stamp past this one.
    pub superseded_by: Option<Stamp>,
    /// Blocks that are now forgotten, for the shell to unlink.
    pub reaped: Vec<Hash>,
}
