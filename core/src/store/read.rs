//! Questions to one node's database, each answered from one snapshot.

use bytes::Bytes;

use super::{Answer, Read, Snapshot, StoreError, Table, list};
use crate::{
    id::Position,
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
        Read::List(plan) => list::list(plan, snapshot).map(Answer::Listing),
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

type ObjectAndPayload = Option<(Vec<u8>, Option<Bytes>)>;

fn object(
    row_key: &[u8],
    payload: bool,
    snapshot: &dyn Snapshot,
) -> Result<ObjectAndPayload, StoreError> {
    let Some(value) = snapshot.get(Table::Object, row_key)? else { return Ok(None) };
    if !payload {
        return Ok(Some((value, None)));
    }
    let row: ObjectRow = table::decode(Table::Object, &value)?;
    match row.content {
        Content::Inline(_) => {
            let position = position_of(Table::Object, row_key)?;
            let inline = snapshot.get(Table::Inline, &key::inline(position, row.version))?;
            let inline = inline.ok_or_else(|| StoreError::Damaged {
                table: Table::Inline,
                reason: format!("the payload of object version {} is missing", row.version),
            })?;
            Ok(Some((value, Some(Bytes::from(inline)))))
        }
        Content::Deleted | Content::Blocks(..) | Content::Parts(..) => Ok(Some((value, None))),
    }
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
