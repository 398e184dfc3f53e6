//! Questions to one node's database, and the answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Table, digest, recount, serial};
use crate::id::{BucketId, VersionId};

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

    /// Rows that a peer gets in one answer at most: the longest page that anything asks of other nodes, the references of a
    /// block that is to be purged. Rows have some hundred bytes, and a page of the few larger ones is asked for in smaller pages.
    pub const ROWS_MAX: usize = 10_000;

    /// Whether a peer may ask this: its answer is bounded, and does not grow with the table.
    pub fn is_bounded(&self) -> bool {
        match self {
            Self::Get(keys) => keys.len() <= Self::ROWS_MAX,
            Self::Scan { limit, .. } => *limit <= Self::ROWS_MAX,
            Self::List(list) => list.limit <= Self::ROWS_MAX,
            Self::Compare(question) => question.is_bounded(Self::ROWS_MAX),
            Self::Object { .. } | Self::Count(_) => true,
            Self::Recount(_) => false,
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
