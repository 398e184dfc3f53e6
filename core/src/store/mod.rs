//! Local metadata: what a transaction is, without the engine under it.
//!
//! The *transaction body*, [`apply`](apply::apply), is a synchronous pure function over [`Writer`]: merge, hooks, counters
//! and queues of one [`Batch`], all inside one transaction of the shell's single writer. The *commit* is an effect: the
//! shell gathers the batches that arrived during the last sync, applies them in one transaction, commits durably once, and
//! only then completes the waiters. Reads ([`read`](read::read)) run on snapshots and never wait for the writer.

mod answer;
pub mod apply;
mod batch;
pub mod copy;
pub mod digest;
pub mod group;
mod hook;
pub mod journal;
mod list;
pub mod map;
pub mod read;
pub mod recount;
pub mod redb;
pub mod reserve;
mod serial;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, Entry, Found, From, List, Listing, Read, Rows, Witness};
pub use batch::{Applied, Batch, Guard, Op, Outcome};

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

/// The version in the row of [`SYNCED_KEY`] that stands for a database that is known to have lost rows.
pub const LOST: u64 = 0;

/// Key of the row in [`Table::Meta`] that counts the tombstones that were collected here: a big-endian `u64`. Whoever merges rows that
/// another node had a moment ago makes sure that none was collected meanwhile: it may have been what kept such a row from coming back.
pub const COLLECTED_KEY: &[u8] = b"collected";

/// Key of the row in [`Table::Meta`] that says up to which record of the [`journal`] its changes are in the database: a big-endian
/// `u64`. It is there once there has been a journal.
pub const JOURNAL_KEY: &[u8] = b"journal";

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
