//! What two replicas tell each other to find out where they differ, without sending the rows that they share.
//!
//! For each table and ring position a node keeps a [`Fingerprint`], updated with every change of a row in the row's own
//! transaction. Replicas compare these first. Where two differ, the one that pulls cuts the position's rows into ranges, asks
//! for the ranges' fingerprints, then for the hashes of the rows in ranges that differ, and at last for the rows whose hash it
//! does not have: a search tree over hashes (Merkle, 1987) that is built only where it is looked at.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Snapshot, StoreError, Table, Writer, read};
use crate::{
    id::{Position, VersionId},
    table::{
        self,
        block::BlockRefRow,
        key,
        object::{self, Content, ObjectRow},
        queue::table_number,
        upload::{IntentRow, UploadRow},
    },
};

/// How many rows there are, and the wrapping sum of their hashes: equal for equal sets of rows, in whatever order they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Number of rows.
    #[serde(rename = "n")]
    pub rows: u64,
    /// Sum of [`RowHash`]es modulo 2¹²⁸.
    #[serde(rename = "s")]
    pub sum: RowHash,
}

/// The first 16 bytes of BLAKE3 over a row's key, preceded by its length, and its value; as a little-endian number.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowHash(#[serde(with = "serde_bytes")] [u8; 16]);

impl RowHash {
    /// The hash of a row.
    pub fn of(row_key: &[u8], value: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(row_key.len() as u64).to_le_bytes());
        hasher.update(row_key);
        hasher.update(value);
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(hash)
    }

    fn number(self) -> u128 {
        u128::from_le_bytes(self.0)
    }
}

impl std::fmt::Debug for RowHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Fingerprint {
    /// One row more.
    pub fn add(&mut self, row: RowHash) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = RowHash(self.sum.number().wrapping_add(row.number()).to_le_bytes());
    }

    /// One row less. A fingerprint that has wrapped is that of no rows, and is found out by the next recount.
    pub fn subtract(&mut self, row: RowHash) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = RowHash(self.sum.number().wrapping_sub(row.number()).to_le_bytes());
    }

    /// What is to be added to the other one to get this one.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        let sum = self.sum.number().wrapping_sub(other.sum.number());
        Self { rows: self.rows.wrapping_sub(other.rows), sum: RowHash(sum.to_le_bytes()) }
    }

    /// That of the rows of both, which have none in common.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = self.sum.number().wrapping_add(other.sum.number());
        Self { rows: self.rows.wrapping_add(other.rows), sum: RowHash(sum.to_le_bytes()) }
    }
}

/// The sharded tables whose rows replicas compare, in the order in which they are pulled: what says that other rows are void
/// before those, and what rows rely on before the rows that rely on it.
pub const SHARDED: [Table; 7] = [
    Table::Intent,
    Table::BlockRef,
    Table::BlockList,
    Table::Manifest,
    Table::Part,
    Table::Object,
    Table::Upload,
];

/// The tables of which every node has a copy. Their fingerprints stand at position 0.
pub const FULL_COPY: [Table; 4] =
    [Table::Bucket, Table::Alias, Table::AccessKey, Table::AdminToken];

/// The position whose fingerprint counts a row; `None` for tables that are not compared.
///
/// # Errors
/// [`StoreError::Damaged`] for a sharded row's key that is too short for a position.
pub fn counted_at(table: Table, row_key: &[u8]) -> Result<Option<Position>, StoreError> {
    if SHARDED.contains(&table) {
        read::position_of(table, row_key).map(Some)
    } else if FULL_COPY.contains(&table) {
        Ok(Some(Position(0)))
    } else {
        Ok(None)
    }
}

/// The key in [`Table::Fingerprint`]: the table's number, then the position.
pub fn fingerprint_key(table: Table, position: Position) -> [u8; 3] {
    let [high, low] = position.0.to_be_bytes();
    [table_number(table), high, low]
}

/// Makes all fingerprints anew, in a database whose rows are older than its fingerprints. Says how many rows it has counted.
///
/// # Errors
/// What the engine reports.
pub(super) fn rebuild(writer: &mut dyn Writer) -> Result<u64, StoreError> {
    // At most 65,536 positions of each sharded table, of 43 bytes.
    let mut found: BTreeMap<[u8; 3], Fingerprint> = BTreeMap::new();
    let mut rows = 0;
    for table in SHARDED.into_iter().chain(FULL_COPY) {
        let mut cursor = writer.cursor(table, &[], None)?;
        while cursor.advance()? {
            match counted_at(table, cursor.key()) {
                Ok(Some(position)) => {
                    let fingerprint = found.entry(fingerprint_key(table, position)).or_default();
                    fingerprint.add(RowHash::of(cursor.key(), cursor.value()));
                    rows += 1;
                }
                Ok(None) => {}
                // It is not compared, whoever counts.
                Err(error) => log::error!("{error}"),
            }
        }
    }
    let mut stale = Vec::new();
    let mut cursor = writer.cursor(Table::Fingerprint, &[], None)?;
    while cursor.advance()? {
        stale.push(cursor.key().to_vec());
    }
    drop(cursor);
    for key in stale {
        writer.delete(Table::Fingerprint, &key)?;
    }
    for (key, fingerprint) in found {
        writer.put(Table::Fingerprint, &key, &table::encode(&fingerprint))?;
    }
    Ok(rows)
}

/// A question about rows of the tables that are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// The fingerprint of each of these ranges of positions, both ends included. Answered by [`Findings::Fingerprints`].
    Positions(Vec<(Table, Position, Position)>),
    /// The fingerprint of each of these ranges of rows; a range without an end goes to the table's. Answered by
    /// [`Findings::Fingerprints`].
    Ranges {
        /// The table.
        table: Table,
        /// First key, and first key not wanted.
        ranges: Vec<KeyRange>,
    },
    /// A range of rows cut into smaller ones of so many rows each; only for the own node. Answered by [`Findings::Cut`].
    Cut {
        /// The table.
        table: Table,
        /// What is to be cut.
        range: KeyRange,
        /// Rows to a range.
        rows: u64,
    },
    /// Keys and hashes of rows, in key order. Answered by [`Findings::Hashes`].
    Hashes {
        /// The table.
        table: Table,
        /// Which.
        range: KeyRange,
        /// At most so many.
        limit: usize,
    },
    /// For each of these rows, whether exactly it stands here. Answered by [`Findings::Flags`].
    Same {
        /// The table.
        table: Table,
        /// Keys and hashes.
        rows: Vec<(RowKey, RowHash)>,
    },
    /// These rows, with the payloads of inline objects. Answered by [`Findings::Rows`].
    Rows {
        /// The table.
        table: Table,
        /// Their keys.
        keys: Vec<RowKey>,
        /// No more rows once so many bytes have come together.
        bytes: usize,
    },
    /// For each of these tombstones, whether exactly this row stands here and everything that it voids is gone from here.
    /// Answered by [`Findings::Flags`].
    Forgettable(Vec<(Table, RowKey, RowHash)>),
}

impl Question {
    /// Bytes of rows in one answer to a peer at most: a full message has as much again for the last of them.
    const BYTES_MAX: usize = 2 << 20;

    /// Whether the answer has no more than so many rows, or what is said of each, and does not grow with the table.
    pub fn is_bounded(&self, rows: usize) -> bool {
        match self {
            Self::Hashes { limit, .. } => *limit <= rows,
            Self::Rows { bytes, .. } => *bytes <= Self::BYTES_MAX,
            Self::Cut { .. } => false,
            Self::Positions(_) | Self::Ranges { .. } | Self::Same { .. } | Self::Forgettable(_) => {
                true
            }
        }
    }
}

/// A row's key.
pub type RowKey = serde_bytes::ByteBuf;

/// First key, and first key not wanted.
pub type KeyRange = (RowKey, Option<RowKey>);

/// A row's value, and the payload of an inline object.
pub type FullRow = (RowKey, Option<serde_bytes::ByteBuf>);

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Findings {
    /// One for each range.
    Fingerprints(Vec<Fingerprint>),
    /// For each range in turn the first key that is not in it (none for the last, if the range to be cut has no end), and its
    /// fingerprint.
    Cut(Vec<(Option<RowKey>, Fingerprint)>),
    /// Keys and hashes.
    Hashes(Vec<(RowKey, RowHash)>),
    /// One for each key asked for, in order, `None` where there is no such row; fewer, but at least one, if they are too many
    /// bytes.
    Rows(Vec<Option<FullRow>>),
    /// One for each row or tombstone.
    Flags(Vec<bool>),
}

impl Findings {
    /// [`Findings::Fingerprints`], if it is that.
    pub fn fingerprints(self) -> Option<Vec<Fingerprint>> {
        if let Self::Fingerprints(each) = self { Some(each) } else { None }
    }

    /// [`Findings::Cut`], if it is that.
    pub fn cut(self) -> Option<Vec<(Option<RowKey>, Fingerprint)>> {
        if let Self::Cut(pieces) = self { Some(pieces) } else { None }
    }

    /// [`Findings::Hashes`], if it is that.
    pub fn hashes(self) -> Option<Vec<(RowKey, RowHash)>> {
        if let Self::Hashes(hashes) = self { Some(hashes) } else { None }
    }

    /// [`Findings::Rows`], if it is that.
    pub fn rows(self) -> Option<Vec<Option<FullRow>>> {
        if let Self::Rows(rows) = self { Some(rows) } else { None }
    }

    /// [`Findings::Flags`], if it is that.
    pub fn flags(self) -> Option<Vec<bool>> {
        if let Self::Flags(flags) = self { Some(flags) } else { None }
    }
}

/// Answers a question from `snapshot`.
///
/// # Errors
/// What the engine reports, or a row that does not decode.
pub fn answer(question: &Question, snapshot: &dyn Snapshot) -> Result<Findings, StoreError> {
    match question {
        Question::Positions(ranges) => {
            let each = ranges.iter().map(|(table, from, last)| {
                let until = fingerprint_key(*table, *last);
                positions(snapshot, fingerprint_key(*table, *from), until)
            });
            each.collect::<Result<_, _>>().map(Findings::Fingerprints)
        }
        Question::Ranges { table, ranges } => {
            let each = ranges.iter().map(|range| recount(snapshot, *table, range));
            each.collect::<Result<_, _>>().map(Findings::Fingerprints)
        }
        Question::Cut { table, range, rows } => {
            cut(snapshot, *table, range, *rows).map(Findings::Cut)
        }
        Question::Hashes { table, range: (from, until), limit } => {
            let mut hashes = Vec::new();
            let mut cursor = snapshot.cursor(*table, from, until.as_ref().map(|key| &key[..]))?;
            while hashes.len() < *limit && cursor.advance()? {
                let hash = RowHash::of(cursor.key(), cursor.value());
                hashes.push((RowKey::from(cursor.key()), hash));
            }
            Ok(Findings::Hashes(hashes))
        }
        Question::Rows { table, keys, bytes } => {
            full_rows(snapshot, *table, keys, *bytes).map(Findings::Rows)
        }
        Question::Same { table, rows } => {
            let same = |(row_key, hash): &(RowKey, RowHash)| {
                let value = snapshot.get(*table, row_key)?;
                Ok(value.is_some_and(|value| RowHash::of(row_key, &value) == *hash))
            };
            rows.iter().map(same).collect::<Result<_, _>>().map(Findings::Flags)
        }
        Question::Forgettable(tombstones) => {
            let each = tombstones
                .iter()
                .map(|(table, row_key, hash)| forgettable(snapshot, *table, row_key, *hash));
            each.collect::<Result<_, _>>().map(Findings::Flags)
        }
    }
}

/// The sum of stored fingerprints, both ends included.
fn positions(
    snapshot: &dyn Snapshot,
    from: [u8; 3],
    last: [u8; 3],
) -> Result<Fingerprint, StoreError> {
    // The least key greater than the last.
    let until = [&last[..], &[0]].concat();
    let mut sum = Fingerprint::default();
    let mut cursor = snapshot.cursor(Table::Fingerprint, &from, Some(&until))?;
    while cursor.advance()? {
        sum = sum.and(table::decode(Table::Fingerprint, cursor.value())?);
    }
    Ok(sum)
}

/// The fingerprint of a range of rows, counted from the rows themselves.
///
/// # Errors
/// What the engine reports.
pub fn recount(
    snapshot: &dyn Snapshot,
    table: Table,
    (from, until): &KeyRange,
) -> Result<Fingerprint, StoreError> {
    let mut sum = Fingerprint::default();
    let mut cursor = snapshot.cursor(table, from, until.as_ref().map(|key| &key[..]))?;
    while cursor.advance()? {
        sum.add(RowHash::of(cursor.key(), cursor.value()));
    }
    Ok(sum)
}

fn cut(
    snapshot: &dyn Snapshot,
    table: Table,
    (from, until): &KeyRange,
    rows: u64,
) -> Result<Vec<(Option<RowKey>, Fingerprint)>, StoreError> {
    let mut pieces = Vec::new();
    let mut piece = Fingerprint::default();
    let mut cursor = snapshot.cursor(table, from, until.as_ref().map(|key| &key[..]))?;
    while cursor.advance()? {
        if piece.rows >= rows.max(1) {
            pieces.push((Some(RowKey::from(cursor.key())), std::mem::take(&mut piece)));
        }
        piece.add(RowHash::of(cursor.key(), cursor.value()));
    }
    pieces.push((until.clone(), piece));
    Ok(pieces)
}

fn full_rows(
    snapshot: &dyn Snapshot,
    table: Table,
    keys: &[RowKey],
    bytes: usize,
) -> Result<Vec<Option<FullRow>>, StoreError> {
    let mut rows = Vec::new();
    let mut size = 0;
    for row_key in keys {
        if size >= bytes && !rows.is_empty() {
            break;
        }
        let row = full_row(snapshot, table, row_key)?;
        if let Some((value, inline)) = &row {
            size += row_key.len() + value.len() + inline.as_ref().map_or(0, |bytes| bytes.len());
        }
        rows.push(row);
    }
    Ok(rows)
}

fn full_row(
    snapshot: &dyn Snapshot,
    table: Table,
    row_key: &[u8],
) -> Result<Option<FullRow>, StoreError> {
    let Some(value) = snapshot.get(table, row_key)? else { return Ok(None) };
    if table != Table::Object {
        return Ok(Some((RowKey::from(value), None)));
    }
    let row: ObjectRow = table::decode(table, &value)?;
    let payload = match row.content {
        Content::Inline(_) => {
            let position = read::position_of(table, row_key)?;
            Some(inline(snapshot, position, row.version)?)
        }
        Content::Deleted | Content::Blocks(..) | Content::Parts(..) => None,
    };
    Ok(Some((RowKey::from(value), payload.map(RowKey::from))))
}

fn inline(
    snapshot: &dyn Snapshot,
    position: Position,
    version: VersionId,
) -> Result<Vec<u8>, StoreError> {
    let payload = snapshot.get(Table::Inline, &key::inline(position, version))?;
    payload.ok_or_else(|| StoreError::Damaged {
        table: Table::Inline,
        reason: format!("the payload of object version {version} is missing"),
    })
}

fn forgettable(
    snapshot: &dyn Snapshot,
    table: Table,
    row_key: &[u8],
    hash: RowHash,
) -> Result<bool, StoreError> {
    match snapshot.get(table, row_key)? {
        Some(value) if RowHash::of(row_key, &value) == hash => {
            is_spent(snapshot, table, row_key, &value)
        }
        Some(_) | None => Ok(false),
    }
}

/// Whether a row says that something is gone, and nothing else.
pub(super) fn is_tombstone(table: Table, value: &[u8]) -> Result<bool, StoreError> {
    match table {
        Table::Object => object::is_live(value).map(|live| !live),
        Table::Upload => table::decode::<UploadRow>(table, value).map(|row| !row.is_open()),
        Table::BlockRef => table::decode::<BlockRefRow>(table, value).map(|row| !row.is_live()),
        Table::Intent => table::decode(table, value).map(|row| match row {
            IntentRow::Done | IntentRow::Dropped => true,
            IntentRow::Writing { .. } | IntentRow::Abandoned => false,
        }),
        Table::Meta
        | Table::Alias
        | Table::Bucket
        | Table::AccessKey
        | Table::AdminToken
        | Table::Inline
        | Table::Part
        | Table::Manifest
        | Table::BlockList
        | Table::BlockCount
        | Table::Counter
        | Table::Queue
        | Table::Ballot
        | Table::Fetch
        | Table::BlockError
        | Table::Fingerprint => Ok(false),
    }
}

/// Whether a tombstone has nothing left to void here.
pub(super) fn is_spent(
    snapshot: &dyn Snapshot,
    table: Table,
    row_key: &[u8],
    value: &[u8],
) -> Result<bool, StoreError> {
    if table != Table::Intent {
        return Ok(true);
    }
    let voided: &[Table] = match table::decode(table, value)? {
        // Of an upload: its parts are tidied away. Of other data: there are no parts under this id.
        IntentRow::Done => &[Table::Part],
        IntentRow::Dropped => &[Table::Part, Table::Manifest, Table::BlockList],
        IntentRow::Writing { .. } | IntentRow::Abandoned => return Ok(false),
    };
    let until = key::after_prefix(row_key);
    for table in voided {
        if snapshot.cursor(*table, row_key, until.as_deref())?.advance()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A payload as a batch carries it.
pub fn payload(inline: Option<serde_bytes::ByteBuf>) -> Option<Bytes> {
    inline.map(|bytes| Bytes::from(bytes.into_vec()))
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
