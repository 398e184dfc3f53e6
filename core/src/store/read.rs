//! Questions to one node's database, each answered from one snapshot.

use bytes::Bytes;

use super::{Answer, Found, Read, Rows, Snapshot, StoreError, Table, digest, list, recount};
use crate::{
    id::{Position, VersionId},
    table::{
        self, key,
        object::{Content, ObjectRow},
    },
};

/// Answers `plan` from `snapshot`.
///
/// # Errors
/// What the engine reports, or a row that does not decode.
pub fn read(plan: &Read, snapshot: &dyn Snapshot) -> Result<Answer, StoreError> {
    match plan {
        Read::Get(keys) => {
            let values = keys.iter().map(|(table, key)| snapshot.get(*table, key));
            values.collect::<Result<_, _>>().map(Answer::Values)
        }
        Read::Object { key, payload } => object(key, *payload, snapshot).map(Answer::Object),
        Read::Scan { table, from, until, limit } => {
            let mut rows = Vec::new();
            let mut cursor = snapshot.cursor(*table, from, until.as_deref())?;
            while rows.len() < *limit && cursor.advance()? {
                rows.push((cursor.key().to_vec(), cursor.value().to_vec()));
            }
            Ok(Answer::Rows(rows))
        }
        Read::Count(tables) => {
            let counts = tables.iter().map(|table| snapshot.count(*table));
            counts.collect::<Result<_, _>>().map(Answer::Counts)
        }
        Read::List(plan) => list::list(plan, snapshot).map(Answer::Listing),
        Read::Recount(question) => recount::recount(question, snapshot).map(Answer::Recounted),
        Read::Compare(question) => digest::answer(question, snapshot).map(Answer::Compared),
    }
}

/// Whether any block is counted: then a data directory without its marker has lost something. See
/// [`FilesOptions::used_before`](crate::block::files::FilesOptions::used_before).
///
/// # Errors
/// What the engine reports.
pub fn holds_blocks(snapshot: &dyn Snapshot) -> Result<bool, StoreError> {
    snapshot.cursor(Table::BlockCount, &[], None)?.advance()
}

fn object(
    row_key: &[u8],
    payload: bool,
    snapshot: &dyn Snapshot,
) -> Result<Option<Found>, StoreError> {
    let Some(row) = snapshot.get(Table::Object, row_key)? else { return Ok(None) };
    let mut found = Found { row, inline: None, blocks: Vec::new() };
    if !payload {
        return Ok(Some(found));
    }
    let position = position_of(Table::Object, row_key)?;
    let row: ObjectRow = table::decode(Table::Object, &found.row)?;
    match row.content {
        Content::Inline(_) => {
            let inline = snapshot.get(Table::Inline, &key::inline(position, row.version))?;
            let inline = inline.ok_or_else(|| StoreError::Damaged {
                table: Table::Inline,
                reason: format!("the payload of object version {} is missing", row.version),
            })?;
            found.inline = Some(Bytes::from(inline));
        }
        Content::Blocks(_, data) => found.blocks = blocks(position, data.data, snapshot)?,
        Content::Deleted | Content::Parts(..) => {}
    }
    Ok(Some(found))
}

/// The beginning of a block list.
fn blocks(
    position: Position,
    data: VersionId,
    snapshot: &dyn Snapshot,
) -> Result<Rows, StoreError> {
    let first = key::block_list(position, data, 0);
    let until = key::after_prefix(&first[..first.len() - size_of::<u64>()]);
    let mut rows = Vec::new();
    let mut cursor = snapshot.cursor(Table::BlockList, &first, until.as_deref())?;
    while rows.len() < Found::BLOCKS && cursor.advance()? {
        rows.push((cursor.key().to_vec(), cursor.value().to_vec()));
    }
    Ok(rows)
}

/// The version of the layout up to which the database has all that its node is to have; 0 before its first sync. See
/// [`SYNCED_KEY`](super::SYNCED_KEY).
///
/// # Errors
/// What the engine reports, or a row that is not one.
pub fn synced(snapshot: &dyn Snapshot) -> Result<u64, StoreError> {
    let Some(value) = snapshot.get(Table::Meta, super::SYNCED_KEY)? else { return Ok(0) };
    let version = value.try_into().map(u64::from_be_bytes);
    version.map_err(|value: Vec<u8>| StoreError::Damaged {
        table: Table::Meta,
        reason: format!("{} bytes instead of a layout's version", value.len()),
    })
}

/// Whether the database is known to have lost rows since its last sync, or before its first.
///
/// # Errors
/// As of [`synced`].
pub fn lost(snapshot: &dyn Snapshot) -> Result<bool, StoreError> {
    let known = snapshot.get(Table::Meta, super::SYNCED_KEY)?.is_some();
    Ok(known && synced(snapshot)? == super::LOST)
}

/// The ring position that every key of a sharded table begins with.
pub(super) fn position_of(table: Table, row_key: &[u8]) -> Result<Position, StoreError> {
    match row_key {
        [high, low, ..] => Ok(Position(u16::from_be_bytes([*high, *low]))),
        [] | [_] => Err(StoreError::Damaged {
            table,
            reason: format!("key {} is too short", hex::encode(row_key)),
        }),
    }
}
