//! Repairs of data and uploads that nothing names any more.
//!
//! Position by position: the ids that have rows there are gathered, a bounded number at a time; those that an object, a part or a
//! manifest names are taken out; what is left, and is old enough that nobody can still be writing it, is queued to be dropped.

use std::collections::BTreeSet;

use super::{super::PAGE, AGE, RepairRow, is_first};
use crate::{
    effect::PeerError,
    id::{Position, VersionId},
    job::{commit_local, damaged, scan, scan_local},
    quorum,
    store::{Op, Read, Table},
    table::{
        self, key,
        object::{Content, ObjectRow},
        queue::Job,
        upload::{IntentRow, ManifestRow, PartRow},
    },
    task::Cx,
    view::View,
};

/// Ids gathered at a time, 16 bytes each. For each so many, the rows of the position are read once.
const IDS: usize = 4096;

/// Manifest pages read at a time: 500 parts each, about 40 KiB.
const MANIFEST_PAGE: usize = 2;

/// Queues the next data to be dropped that nothing names.
pub(super) async fn versions(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    let Some((position, mut ids)) = gather(cx, view, Table::BlockList, row).await? else {
        return Ok(false);
    };
    for table in [Table::Object, Table::Part, Table::Manifest] {
        take_named(cx, view, position, table, &mut ids, false).await?;
    }
    let mut ops = Vec::new();
    for data in ids {
        if !is_being_written(cx, view, position, data).await? {
            log::warn!("data {data} has blocks, and nothing names it");
            let job = Job::DropData { position, data, unless: None };
            ops.push(Op::Enqueue { due: cx.now().wall, job });
        }
    }
    queue(cx, view, row, ops).await
}

/// Queues the next uploads to be dropped that have parts or a manifest, and that nothing names.
pub(super) async fn uploads(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    let table = if row.pass == 0 { Table::Part } else { Table::Manifest };
    let Some((position, mut ids)) = gather(cx, view, table, row).await? else {
        let more = row.pass == 0;
        row.pass = 1;
        row.after.clear();
        return Ok(more);
    };
    for table in [Table::Upload, Table::Object] {
        take_named(cx, view, position, table, &mut ids, true).await?;
    }
    let mut ops = Vec::new();
    for upload in ids {
        log::warn!("upload {upload} has rows, and nothing names it");
        let job = Job::DropUpload { position, upload, unless: None };
        ops.push(Op::Enqueue { due: cx.now().wall, job });
    }
    queue(cx, view, row, ops).await
}

async fn queue(cx: Cx, view: &View, row: &mut RepairRow, ops: Vec<Op>) -> Result<bool, PeerError> {
    row.repaired += ops.len() as u64;
    if !ops.is_empty() {
        commit_local(cx, view, ops).await?;
    }
    Ok(true)
}

/// The next ids that have rows in a table: of one position, old enough, at most [`IDS`]. `None` after the last.
async fn gather(
    cx: Cx,
    view: &View,
    table: Table,
    row: &mut RepairRow,
) -> Result<Option<(Position, BTreeSet<VersionId>)>, PeerError> {
    let mut ids = BTreeSet::new();
    let mut at = None;
    while ids.len() < IDS {
        // One row for each id: the rest of its rows are passed over with a seek.
        let until = at.and_then(end_of);
        let page = scan_local(cx, view, table, row.after.clone(), until, 1).await?;
        let Some((row_key, _)) = page.rows.first() else { break };
        let malformed = || damaged(table, row_key);
        let position = row_key.first_chunk().map(|bytes| Position(u16::from_be_bytes(*bytes)));
        let position = position.ok_or_else(malformed)?;
        if !is_first(view, position) {
            let Some(end) = end_of(position) else { break };
            row.after = end;
            continue;
        }
        at = Some(position);
        let id = row_key.get(2..18).and_then(VersionId::from_slice).ok_or_else(malformed)?;
        row.checked += 1;
        if id.stamp().wall().after(AGE) < cx.now().wall {
            ids.insert(id);
        }
        // After the greatest id there is nothing.
        row.after = key::after_prefix(&row_key[..18]).unwrap_or_else(|| vec![0xff; 64]);
    }
    Ok(at.map(|position| (position, ids)))
}

/// The first key after all of a position's.
fn end_of(position: Position) -> Option<Vec<u8>> {
    key::after_prefix(&position.0.to_be_bytes())
}

/// Takes those ids out that the rows of a table name, at this position and for a quorum of its replicas.
async fn take_named(
    cx: Cx,
    view: &View,
    position: Position,
    table: Table,
    ids: &mut BTreeSet<VersionId>,
    uploads: bool,
) -> Result<(), PeerError> {
    let limit = if table == Table::Manifest { MANIFEST_PAGE } else { PAGE };
    let mut from = position.0.to_be_bytes().to_vec();
    while !ids.is_empty() {
        let range = (from, end_of(position));
        let page = scan(cx, view, position, table, range, limit).await?;
        for (row_key, value) in &page.rows {
            for id in named(table, row_key, value, uploads)? {
                ids.remove(&id);
            }
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(())
}

/// The data, or the uploads, that a row names.
fn named(
    table: Table,
    row_key: &[u8],
    value: &[u8],
    uploads: bool,
) -> Result<Vec<VersionId>, PeerError> {
    let named = match table {
        Table::Object => match table::decode::<ObjectRow>(table, value).map(|row| row.content) {
            Ok(Content::Parts(_, parts)) if uploads => Ok(vec![parts.upload]),
            Ok(Content::Blocks(_, data)) if !uploads => Ok(vec![data.data]),
            Ok(
                Content::Deleted | Content::Inline(_) | Content::Blocks(..) | Content::Parts(..),
            ) => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        Table::Part => table::decode::<PartRow>(table, value).map(|row| vec![row.data]),
        Table::Manifest => table::decode::<ManifestRow>(table, value)
            .map(|row| row.parts.iter().map(|part| part.part.data).collect()),
        Table::Upload => {
            let parts = key::upload_parts(row_key).ok_or_else(|| damaged(table, row_key))?;
            Ok(vec![parts.1])
        }
        Table::Meta
        | Table::Alias
        | Table::Bucket
        | Table::AccessKey
        | Table::AdminToken
        | Table::Inline
        | Table::Intent
        | Table::BlockList
        | Table::BlockRef
        | Table::BlockCount
        | Table::Counter
        | Table::Queue
        | Table::Ballot
        | Table::Fingerprint
        | Table::Fetch
        | Table::BlockError => panic!("rows of {table:?} name no data"),
    };
    named.map_err(PeerError::Store)
}

async fn is_being_written(
    cx: Cx,
    view: &View,
    position: Position,
    data: VersionId,
) -> Result<bool, PeerError> {
    let read = Read::Get(vec![(Table::Intent, key::intent(position, data))]);
    let intent = quorum::read(cx, view, position, read).await?.into_values().pop().flatten();
    let intent = intent.map(|value| table::decode::<IntentRow>(Table::Intent, &value));
    Ok(match intent.transpose().map_err(PeerError::Store)? {
        // Whoever gives it up drops what it has.
        Some(IntentRow::Writing { .. } | IntentRow::Abandoned) => true,
        Some(IntentRow::Done | IntentRow::Dropped) | None => false,
    })
}
