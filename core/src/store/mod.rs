//! Local metadata: what a transaction is, without the engine under it.
//!
//! The *transaction body*, [`apply`](apply::apply), is a synchronous pure function over [`Writer`]: merge, hooks, counters
//! and queues of one [`Batch`], all inside one transaction of the shell's single writer. The *commit* is an effect: the
//! shell gathers the batches that arrived during the last sync, applies them in one transaction, commits durably once, and
//! only then completes the waiters. Reads ([`read`](read::read)) run on snapshots and never wait for the writer.

pub mod apply;
pub mod digest;
pub mod group;
mod hook;
mod list;
pub mod map;
pub mod read;
pub mod recount;
pub mod redb;
pub mod reserve;
mod serial;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    id::{BucketId, Hash, Position, VersionId},
    time::{Stamp, Timestamp},
};

/// The tables of one node's database. Keys are built by [`crate::table::key`], values by [`crate::table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Table {
    /// Format marker and version, boot counter: a handful of local rows.
    Meta,
    /// Full copy: bucket name → bucket.
    Alias,
    /// Full copy: bucket.
    Bucket,
    /// Full copy: access key and what it may do.
    AccessKey,
    /// Full copy: token of the Admin API.
    AdminToken,
    /// Sharded: the current version of an object; what listings read.
    Object,
    /// Sharded: the payload of a small object, beside its row in partition and transaction.
    Inline,
    /// Sharded: a multipart upload, open or closed.
    Upload,
    /// Sharded: an uploaded part.
    Part,
    /// Sharded: the parts of a completed object, in pages.
    Manifest,
    /// Sharded: data being written; its blocks are dropped if the writer never finishes.
    Intent,
    /// Sharded: the blocks of one version or part, a row each, by offset.
    BlockList,
    /// Sharded by block: who refers to a block.
    BlockRef,
    /// Local: how many references this node knows for a block.
    BlockCount,
    /// Local: objects and bytes of a bucket on this node.
    Counter,
    /// Local: work to be done later, by due time.
    Queue,
    /// Local on each node of a full copy: what it has promised and accepted for a bucket's name.
    Ballot,
    /// Local: blocks to be looked at, and fetched from another node if their file is missing or damaged.
    Fetch,
    /// Local: blocks that could not be fetched, and when they are tried again.
    BlockError,
    /// Local: a fingerprint of the rows of each table and position, kept with every change of one. See [`digest`].
    Fingerprint,
}

impl Table {
    /// Every table, in the order in which an empty database creates them.
    pub const ALL: [Self; 20] = [
        Self::Meta,
        Self::Alias,
        Self::Bucket,
        Self::AccessKey,
        Self::AdminToken,
        Self::Object,
        Self::Inline,
        Self::Upload,
        Self::Part,
        Self::Manifest,
        Self::Intent,
        Self::BlockList,
        Self::BlockRef,
        Self::BlockCount,
        Self::Counter,
        Self::Queue,
        Self::Ballot,
        Self::Fetch,
        Self::BlockError,
        Self::Fingerprint,
    ];

    /// The table's name in the database. Never changed once released.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Alias => "alias",
            Self::Bucket => "bucket",
            Self::AccessKey => "access_key",
            Self::AdminToken => "admin_token",
            Self::Object => "object",
            Self::Inline => "inline",
            Self::Upload => "upload",
            Self::Part => "part",
            Self::Manifest => "manifest",
            Self::Intent => "intent",
            Self::BlockList => "block_list",
            Self::BlockRef => "block_ref",
            Self::BlockCount => "block_count",
            Self::Counter => "counter",
            Self::Queue => "queue",
            Self::Ballot => "ballot",
            Self::Fetch => "fetch",
            Self::BlockError => "block_error",
            Self::Fingerprint => "fingerprint",
        }
    }
}

impl std::convert::From<Table> for u8 {
    fn from(table: Table) -> Self {
        crate::table::queue::table_number(table)
    }
}

impl TryFrom<u8> for Table {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        let table = Self::ALL.get(usize::from(number)).copied();
        table.ok_or_else(|| format!("no table has the number {number}"))
    }
}

/// Key of the row in [`Table::Meta`] that says whose database this is, and in which format: the text `mews 1`.
pub const FORMAT_KEY: &[u8] = b"format";

/// Key of the row in [`Table::Meta`] that counts how often the database was opened: a big-endian `u64`.
pub const BOOT_KEY: &[u8] = b"boot";

/// Key of the row in [`Table::Meta`] that says that every row is in its fingerprint. A database without it was written before
/// there were any, and gets them when it is opened.
pub const FINGERPRINTED_KEY: &[u8] = b"fingerprinted";

/// Key of the row in [`Table::Meta`] that says up to which version of the layout the database has all that this node is to have:
/// a big-endian `u64`. It is there after the first sync; a database without it, of a node that others think has synced, has
/// lost something.
pub const SYNCED_KEY: &[u8] = b"synced";

/// Why the local database could not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreError {
    /// The engine failed to read or write: a full or failing disk. The text is the engine's.
    Engine(String),
    /// A row does not decode: the database is damaged, or newer than this program.
    Damaged {
        /// Where the row stands.
        table: Table,
        /// What is wrong with it.
        reason: String,
    },
    /// The writer has stopped; nothing more will be committed by this process.
    Closed,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(reason) => write!(f, "metadata database: {reason}"),
            Self::Damaged { table, reason } => {
                write!(f, "metadata database: damaged row in table {}: {reason}", table.name())
            }
            Self::Closed => write!(f, "metadata database: closed"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A consistent view of the database.
pub trait Snapshot {
    /// The value at `key`, if there is one.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// A cursor over the rows with `from <= key < until` (to the table's end if `until` is `None`), before the first row.
    fn cursor<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
    ) -> Result<Box<dyn Cursor + 'a>, StoreError>;

    /// How many rows a table has; takes a time that does not depend on that.
    fn count(&self, table: Table) -> Result<u64, StoreError>;
}

/// Steps through rows in key order, without copying them.
pub trait Cursor {
    /// Moves to the next row; false at the end.
    fn advance(&mut self) -> Result<bool, StoreError>;
    /// The current row's key. Only after `advance` has returned true.
    fn key(&self) -> &[u8];
    /// The current row's value. Only after `advance` has returned true.
    fn value(&self) -> &[u8];
}

/// The inside of the one write transaction. Reads see its own writes.
pub trait Writer: Snapshot {
    /// Sets the value at `key`.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes the row at `key`, if there is one.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;
}

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
    /// Corrects a count by the difference that [`Read::Recount`] has found. Only for the own node.
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

/// A question to one node's database, answered from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Read {
    /// Rows by key. Answered by [`Answer::Values`], one for each key, in order.
    Get(#[serde(with = "serial::keys")] Vec<(Table, Vec<u8>)>),
    /// An object row and what a GET needs next: its payload where that is inline, the beginning of its block list where it has
    /// one. Answered by [`Answer::Object`].
    Object {
        /// The object row's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// Whether the payload or the block list is wanted (GET) or not (HEAD).
        payload: bool,
    },
    /// Rows in key order. Answered by [`Answer::Rows`].
    Scan {
        /// The table.
        table: Table,
        /// First key.
        #[serde(with = "serde_bytes")]
        from: Vec<u8>,
        /// First key not wanted.
        #[serde(with = "serde_bytes")]
        until: Option<Vec<u8>>,
        /// At most so many rows.
        limit: usize,
    },
    /// How many rows these tables have, without counting them. Answered by [`Answer::Counts`], in order.
    Count(Vec<Table>),
    /// One page of a bucket's listing, merged over index shards. Answered by [`Answer::Listing`].
    List(List),
    /// Where replicas differ. Answered by [`Answer::Compared`].
    Compare(digest::Question),
    /// Which counts are wrong. Only for the own node: it may read as much as there is of what is counted. Answered by
    /// [`Answer::Recounted`].
    Recount(recount::Recount),
}

impl Read {
    /// Whether it takes microseconds. Others may take a thread for long enough that requests would notice.
    pub fn is_quick(&self) -> bool {
        match self {
            Self::Get(_) | Self::Object { .. } | Self::Count(_) => true,
            Self::Scan { .. } | Self::List(_) | Self::Compare(_) | Self::Recount(_) => false,
        }
    }
}

/// One page of the objects (or open uploads) of a bucket, in key order over all the shards named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// [`Table::Object`] or [`Table::Upload`].
    pub table: Table,
    /// The bucket.
    pub bucket: BucketId,
    /// The index shards to merge.
    pub shards: Vec<u16>,
    /// Only keys that begin with this.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// Keys with this string after the prefix are rolled up into one common prefix, and skipped with a seek.
    #[serde(with = "serde_bytes")]
    pub delimiter: Vec<u8>,
    /// Where to start.
    pub from: From,
    /// At most so many entries, common prefixes included.
    pub limit: usize,
    /// Whether several replicas are asked and their pages merged: then rows that are no longer live are entries too, because one
    /// replica may know of a deletion that another doesn't, and a common prefix names its witnesses.
    pub merged: bool,
}

/// Where a listing begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// At the first key.
    Start,
    /// After this key (and all its uploads), and past the common prefix that it falls in, if the listing has a delimiter and
    /// the key ends with that common prefix.
    After(#[serde(with = "serde_bytes")] Vec<u8>),
    /// In a listing of uploads: after this upload of this key.
    AfterUpload(#[serde(with = "serde_bytes")] Vec<u8>, VersionId),
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Keys and common prefixes, in byte order of the key.
    pub entries: Vec<Entry>,
    /// Whether there is more after the last entry.
    pub truncated: bool,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A row: the S3 key and the encoded row. Live, unless [`List::merged`] asks for all.
    Row {
        /// The object's key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// In a listing of uploads: which.
        upload: Option<VersionId>,
        /// The encoded row.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
    },
    /// Keys rolled up under a delimiter.
    CommonPrefix {
        /// What they begin with, the delimiter included.
        #[serde(with = "serde_bytes")]
        prefix: Vec<u8>,
        /// Live rows that show it, if [`List::merged`] asks for them: the first of each index shard, in order of shards, at most
        /// [`Witness::MAX`]. Two replicas with one witness in common agree on the prefix.
        witnesses: Vec<Witness>,
    },
}

/// A live row under a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The index shard it is in.
    pub shard: u16,
    /// Tells this row and version from every other: the beginning of a hash of the row's key and value.
    pub mark: u64,
}

impl Witness {
    /// Witnesses that an entry names: replicas that were asked for different shards still have one of these in common, as a rule.
    pub const MAX: usize = 4;
}

/// Rows of a table as they are stored: keys, and encoded values.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// An object as one replica knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The encoded row.
    #[serde(with = "serde_bytes")]
    pub row: Vec<u8>,
    /// Its inline payload, if there is one and it was wanted.
    pub inline: Option<Bytes>,
    /// The first rows of its block list, keys and values, if there are any and they were wanted: at most [`Found::BLOCKS`].
    #[serde(with = "serial::rows")]
    pub blocks: Rows,
}

impl Found {
    /// Rows of a block list that come with an object: 64 MiB of it in about 5 KiB.
    pub const BLOCKS: usize = 64;
}

/// The answer to a [`Read`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Read::Get`].
    Values(#[serde(with = "serial::values")] Vec<Option<Vec<u8>>>),
    /// To [`Read::Object`].
    Object(Option<Found>),
    /// To [`Read::Scan`]: keys and encoded rows.
    Rows(#[serde(with = "serial::rows")] Rows),
    /// To [`Read::Count`]: rows in each table.
    Counts(Vec<u64>),
    /// To [`Read::List`].
    Listing(Listing),
    /// To [`Read::Compare`].
    Compared(digest::Findings),
    /// To [`Read::Recount`].
    Recounted(recount::Recounted),
}

impl Answer {
    /// The answer to a [`Read::Get`]. Any other is a bug of ours, here and below.
    pub fn into_values(self) -> Vec<Option<Vec<u8>>> {
        let Self::Values(values) = self else { self.unasked("a Get") };
        values
    }

    /// The answer to a [`Read::Object`].
    pub fn into_object(self) -> Option<Found> {
        let Self::Object(object) = self else { self.unasked("a read of an object") };
        object
    }

    /// The answer to a [`Read::Scan`].
    pub fn into_rows(self) -> Rows {
        let Self::Rows(rows) = self else { self.unasked("a Scan") };
        rows
    }

    /// The answer to a [`Read::Count`].
    pub fn into_counts(self) -> Vec<u64> {
        let Self::Counts(counts) = self else { self.unasked("a Count") };
        counts
    }

    /// The answer to a [`Read::List`].
    pub fn into_listing(self) -> Listing {
        let Self::Listing(listing) = self else { self.unasked("a List") };
        listing
    }

    /// The answer to a [`Read::Compare`].
    pub fn into_compared(self) -> digest::Findings {
        let Self::Compared(findings) = self else { self.unasked("a Compare") };
        findings
    }

    /// The answer to a [`Read::Recount`].
    pub fn into_recounted(self) -> recount::Recounted {
        let Self::Recounted(recounted) = self else { self.unasked("a Recount") };
        recounted
    }

    fn unasked(&self, question: &str) -> ! {
        panic!("the store answered {question} with {self:?}")
    }
}
