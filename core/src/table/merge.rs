//! How two versions of a row become one: commutative, associative, idempotent, for every schema.
//!
//! Where two rows can only be equal (immutable rows, rows under one unique id) but are not, the greater encoding wins, so
//! that even a bug elsewhere cannot make replicas disagree for ever.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    access::{AccessKeyRow, AliasRow, BucketRow, Lww},
    block::{BlockListRow, BlockRefRow},
    decode, encode,
    object::ObjectRow,
    token::{AdminTokenRow, Scope},
    upload::{IntentRow, ManifestRow, PartRow, UploadRow},
};
use crate::{
    store::{Answer, Entry, Found, Listing, Read, StoreError, Table},
    time::Stamp,
};

/// A row with a schema and a merge.
pub trait Row: Serialize + DeserializeOwned + Clone + PartialEq {
    /// The table of such rows; named in errors.
    const TABLE: Table;

    /// The row that has seen both.
    #[must_use]
    fn merge(self, other: Self) -> Self;
}

fn greater<R: Serialize>(a: R, b: R) -> R {
    if encode(&a) >= encode(&b) { a } else { b }
}

impl Row for ObjectRow {
    const TABLE: Table = Table::Object;

    fn merge(self, other: Self) -> Self {
        match self.version.cmp(&other.version) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal => greater(self, other),
        }
    }
}

impl Row for UploadRow {
    const TABLE: Table = Table::Upload;

    fn merge(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Closed { .. }, Self::Open { .. }) => self,
            (Self::Open { .. }, Self::Closed { .. }) => other,
            // `Some` after `None`: a completed upload stays completed.
            (Self::Closed { etag: a }, Self::Closed { etag: b }) => {
                if a >= b {
                    self
                } else {
                    other
                }
            }
            (Self::Open { .. }, Self::Open { .. }) => greater(self, other),
        }
    }
}

impl Row for PartRow {
    const TABLE: Table = Table::Part;

    fn merge(self, other: Self) -> Self {
        match self.data.cmp(&other.data) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal => greater(self, other),
        }
    }
}

impl Row for ManifestRow {
    const TABLE: Table = Table::Manifest;

    fn merge(self, other: Self) -> Self {
        match self.completion.cmp(&other.completion) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal => greater(self, other),
        }
    }
}

impl Row for IntentRow {
    const TABLE: Table = Table::Intent;

    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dropped, _) | (_, Self::Dropped) => Self::Dropped,
            (Self::Done, _) | (_, Self::Done) => Self::Done,
            (Self::Abandoned, _) | (_, Self::Abandoned) => Self::Abandoned,
            // One writer to an id, so equal.
            (Self::Writing { boot: a, node: m }, Self::Writing { boot: b, node: n }) => {
                Self::Writing { boot: a.max(b), node: m.max(n) }
            }
        }
    }
}

impl Row for BlockListRow {
    const TABLE: Table = Table::BlockList;

    fn merge(self, other: Self) -> Self {
        greater(self, other)
    }
}

impl Row for BlockRefRow {
    const TABLE: Table = Table::BlockRef;

    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dropped, _) | (_, Self::Dropped) => Self::Dropped,
            (Self::Live { owner: a }, Self::Live { owner: b }) => Self::Live { owner: a.max(b) },
        }
    }
}

impl<T: Ord> Lww<T> {
    /// The later of two; of two set at the same stamp, the greater.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if (self.at, &self.value) >= (other.at, &other.value) { self } else { other }
    }
}

fn merge_maps<K: Ord, T: Ord>(
    mut a: BTreeMap<K, Lww<T>>,
    b: BTreeMap<K, Lww<T>>,
) -> BTreeMap<K, Lww<T>> {
    for (key, theirs) in b {
        let merged = match a.remove(&key) {
            Some(ours) => ours.merge(theirs),
            None => theirs,
        };
        a.insert(key, merged);
    }
    a
}

fn later(mut a: BTreeMap<String, Stamp>, b: BTreeMap<String, Stamp>) -> BTreeMap<String, Stamp> {
    for (name, theirs) in b {
        let ours = a.entry(name).or_insert(theirs);
        *ours = theirs.max(*ours);
    }
    a
}

impl Row for AliasRow {
    const TABLE: Table = Table::Alias;

    fn merge(self, other: Self) -> Self {
        Self { bucket: self.bucket.merge(other.bucket) }
    }
}

impl Row for BucketRow {
    const TABLE: Table = Table::Bucket;

    fn merge(self, other: Self) -> Self {
        Self {
            created: self.created.min(other.created),
            // Fixed at creation, so equal.
            shards: self.shards.max(other.shards),
            deleted: self.deleted || other.deleted,
            aliases: merge_maps(self.aliases, other.aliases),
            seals: later(self.seals, other.seals),
            quotas: self.quotas.merge(other.quotas),
            website: self.website.merge(other.website),
            public_read: self.public_read.merge(other.public_read),
            cors: self.cors.merge(other.cors),
        }
    }
}

impl Row for AccessKeyRow {
    const TABLE: Table = Table::AccessKey;

    fn merge(self, other: Self) -> Self {
        Self {
            created: self.created.min(other.created),
            // Never changed, so equal.
            secret: self.secret.max(other.secret),
            name: self.name.merge(other.name),
            deleted: self.deleted || other.deleted,
            create_bucket: self.create_bucket.merge(other.create_bucket),
            buckets: merge_maps(self.buckets, other.buckets),
            expiration: self.expiration.merge(other.expiration),
            aliases: merge_maps(self.aliases, other.aliases),
        }
    }
}

impl Row for AdminTokenRow {
    const TABLE: Table = Table::AdminToken;

    fn merge(self, other: Self) -> Self {
        Self {
            created: self.created.min(other.created),
            // Never changed, so equal.
            hash: self.hash.max(other.hash),
            deleted: self.deleted || other.deleted,
            name: self.name.merge(other.name),
            // Of two set at once, what admits to less.
            expires: later_or_both(self.expires, other.expires, |a, b| match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }),
            scope: later_or_both(self.scope, other.scope, Scope::and),
        }
    }
}

/// The later of two; of two set at the same stamp, what `both` makes of them.
fn later_or_both<T>(a: Lww<T>, b: Lww<T>, both: impl Fn(T, T) -> T) -> Lww<T> {
    match a.at.cmp(&b.at) {
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Equal => Lww { at: a.at, value: both(a.value, b.value) },
    }
}

/// The outcome of merging an incoming row into the stored one.
#[derive(Debug)]
pub struct Merged<R> {
    /// The stored row, if there was one.
    pub before: Option<R>,
    /// The row that came.
    pub incoming: R,
    /// The row that is stored from now on.
    pub after: R,
    /// Its bytes, unless they stand there already. A merge that takes one side whole takes its bytes as they are, so that
    /// replicas carry the same bytes; only a real mixture is encoded anew.
    pub write: Option<Vec<u8>>,
}

/// Merges `incoming` into `stored`, both encoded.
pub fn rows<R: Row>(stored: Option<&[u8]>, incoming: &[u8]) -> Result<Merged<R>, StoreError> {
    let new: R = decode(R::TABLE, incoming)?;
    let Some(stored) = stored else {
        let write = Some(incoming.to_vec());
        return Ok(Merged { before: None, incoming: new.clone(), after: new, write });
    };
    let old: R = decode(R::TABLE, stored)?;
    let after = old.clone().merge(new.clone());
    let write = match (after == old, after == new) {
        // One row, perhaps in two encodings of it: every replica keeps the greater.
        (true, true) => (incoming > stored).then(|| incoming.to_vec()),
        (true, false) => None,
        (false, true) => Some(incoming.to_vec()),
        (false, false) => Some(encode(&after)),
    };
    Ok(Merged { before: Some(old), incoming: new, after, write })
}

/// Merges two encoded rows of a table by its schema. Local tables have none; of their rows the greater encoding is given.
pub fn encoded(table: Table, a: Vec<u8>, b: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    fn typed<R: Row>(a: Vec<u8>, b: &[u8]) -> Result<Vec<u8>, StoreError> {
        let merged: Merged<R> = rows(Some(&a), b)?;
        Ok(merged.write.unwrap_or(a))
    }
    match table {
        Table::Alias => typed::<AliasRow>(a, &b),
        Table::Bucket => typed::<BucketRow>(a, &b),
        Table::AccessKey => typed::<AccessKeyRow>(a, &b),
        Table::AdminToken => typed::<AdminTokenRow>(a, &b),
        Table::Object => typed::<ObjectRow>(a, &b),
        Table::Upload => typed::<UploadRow>(a, &b),
        Table::Part => typed::<PartRow>(a, &b),
        Table::Manifest => typed::<ManifestRow>(a, &b),
        Table::Intent => typed::<IntentRow>(a, &b),
        Table::BlockList => typed::<BlockListRow>(a, &b),
        Table::BlockRef => typed::<BlockRefRow>(a, &b),
        Table::Meta
        | Table::Inline
        | Table::BlockCount
        | Table::Counter
        | Table::Queue
        | Table::Ballot
        | Table::Fetch
        | Table::BlockError
        | Table::Fingerprint => Ok(a.max(b)),
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn merge_pairs(table: Table, a: Pairs, b: Pairs) -> Result<Pairs, StoreError> {
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = a.into_iter().collect();
    for (key, theirs) in b {
        let merged = match rows.remove(&key) {
            Some(ours) => encoded(table, ours, theirs)?,
            None => theirs,
        };
        rows.insert(key, merged);
    }
    Ok(rows.into_iter().collect())
}

/// Merges two replicas' answers to `read`, row by row. A page cut short by its limit is only as good as the shorter of the
/// two: the merged page keeps at most the limit.
pub fn answers(read: &Read, a: Answer, b: Answer) -> Result<Answer, StoreError> {
    match (read, a, b) {
        (Read::Get(keys), Answer::Values(a), Answer::Values(b)) => {
            let pairs = keys.iter().zip(a.into_iter().zip(b));
            let merged = pairs.map(|((table, _), (a, b))| match (a, b) {
                (Some(a), Some(b)) => encoded(*table, a, b).map(Some),
                (a, b) => Ok(a.or(b)),
            });
            merged.collect::<Result<_, _>>().map(Answer::Values)
        }
        (Read::Object { .. }, Answer::Object(a), Answer::Object(b)) => {
            Ok(Answer::Object(match (a, b) {
                (Some(a), Some(b)) => Some(found(a, b)?),
                (a, b) => a.or(b),
            }))
        }
        (Read::Scan { table, limit, .. }, Answer::Rows(a), Answer::Rows(b)) => {
            let mut rows = merge_pairs(*table, a, b)?;
            rows.truncate(*limit);
            Ok(Answer::Rows(rows))
        }
        (Read::List(list), Answer::Listing(a), Answer::Listing(b)) => {
            listings(list.table, list.limit, a, b).map(Answer::Listing)
        }
        (_, a, b) => panic!("two answers {a:?} and {b:?} that do not fit the question {read:?}"),
    }
}

/// What two replicas have of an object. Payload and blocks belong to the row that wins; of one row, two replicas may each have
/// blocks that the other lacks.
fn found(a: Found, b: Found) -> Result<Found, StoreError> {
    let row = encoded(Table::Object, a.row.clone(), b.row.clone())?;
    Ok(match (row == a.row, row == b.row) {
        (true, true) => {
            let mut blocks = merge_pairs(Table::BlockList, a.blocks, b.blocks)?;
            blocks.truncate(Found::BLOCKS);
            Found { row, inline: a.inline.or(b.inline), blocks }
        }
        (true, false) => a,
        // Object rows are never mixtures: one of the two has won.
        (false, _) => b,
    })
}

/// Pages hold live rows only, so a deletion that just one replica knows does not show here: reads by more than one replica
/// will ask for tombstones too, which joins with placement.
fn listings(table: Table, limit: usize, a: Listing, b: Listing) -> Result<Listing, StoreError> {
    let mut truncated = a.truncated || b.truncated;
    let mut entries = BTreeMap::new();
    for entry in a.entries.into_iter().chain(b.entries) {
        match entry {
            Entry::CommonPrefix { prefix, .. } => {
                entries.insert((prefix, None), None);
            }
            Entry::Row { key, upload, value } => {
                let merged = match entries.remove(&(key.clone(), upload)).flatten() {
                    Some(ours) => encoded(table, ours, value)?,
                    None => value,
                };
                entries.insert((key, upload), Some(merged));
            }
        }
    }
    truncated |= entries.len() > limit;
    let entries = entries.into_iter().take(limit).map(|((key, upload), value)| match value {
        Some(value) => Entry::Row { key, upload, value },
        None => Entry::CommonPrefix { prefix: key, witnesses: Vec::new() },
    });
    Ok(Listing { entries: entries.collect(), truncated })
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
