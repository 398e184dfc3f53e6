//! What follows from a change of a row, in the same transaction: counters, payload rows, queued work.

use super::{StoreError, Table, apply::Body, read::position_of};
use crate::{
    id::{BucketId, Hash, Position, VersionId},
    table::{
        self,
        block::{BlockCountRow, BlockRefRow},
        key,
        merge::Merged,
        object::{Content, ObjectRow},
        queue::{Job, table_number},
        upload::{IntentRow, PartRow, UploadRow},
    },
};

fn short_key(table: Table, row_key: &[u8]) -> StoreError {
    StoreError::Damaged { table, reason: format!("key {} is too short", hex::encode(row_key)) }
}

/// The bucket in a key that begins with an index shard's prefix.
fn bucket_of(table: Table, row_key: &[u8]) -> Result<BucketId, StoreError> {
    let bucket = row_key.get(2..18).and_then(BucketId::from_slice);
    bucket.ok_or_else(|| short_key(table, row_key))
}

/// Objects and bytes that a row counts for.
fn weight(row: Option<&ObjectRow>) -> (i64, i128) {
    row.and_then(|row| row.content.meta()).map_or((0, 0), |meta| (1, i128::from(meta.size)))
}

/// After an object row was merged.
pub(super) fn object(
    body: &mut Body<'_>,
    row_key: &[u8],
    merged: &Merged<ObjectRow>,
    inline: Option<&[u8]>,
) -> Result<(), StoreError> {
    let Merged { before, incoming, after, write } = merged;
    let position = position_of(Table::Object, row_key)?;
    if let Some(before) = before {
        if before.version > incoming.version {
            let stamp = Some(before.version.stamp());
            body.applied.superseded_by = body.applied.superseded_by.max(stamp);
            drop_content(body, row_key, position, incoming, Some(after))?;
        } else if before.version < incoming.version {
            drop_content(body, row_key, position, before, Some(after))?;
        }
    }
    if after != incoming || before.as_ref() == Some(after) {
        // It lost, or it was there before and all this has happened already.
        return Ok(());
    }
    match (&after.content, inline) {
        (Content::Inline(_), Some(payload)) => {
            body.writer.put(Table::Inline, &key::inline(position, after.version), payload)?;
        }
        (Content::Inline(_), None) => {
            return Err(StoreError::Damaged {
                table: Table::Object,
                reason: "an inline object came without its payload".to_owned(),
            });
        }
        (Content::Deleted, None) => {
            let tombstone = write.as_ref().expect("a row that won is written");
            collect(body, Table::Object, row_key, tombstone)?;
        }
        (Content::Blocks(..) | Content::Parts(..), None) => {}
        (Content::Deleted | Content::Blocks(..) | Content::Parts(..), Some(_)) => {
            return Err(StoreError::Damaged {
                table: Table::Object,
                reason: "a payload came with an object that is not inline".to_owned(),
            });
        }
    }
    let (objects_before, bytes_before) = weight(before.as_ref());
    let (objects, bytes) = weight(Some(after));
    let bucket = bucket_of(Table::Object, row_key)?;
    body.count(bucket, objects - objects_before, bytes - bytes_before, 0)
}

/// Before an object row is removed: a collected tombstone, as a rule.
pub(super) fn object_removed(
    body: &mut Body<'_>,
    row_key: &[u8],
    row: &ObjectRow,
) -> Result<(), StoreError> {
    let position = position_of(Table::Object, row_key)?;
    drop_content(body, row_key, position, row, None)?;
    let (objects, bytes) = weight(Some(row));
    body.count(bucket_of(Table::Object, row_key)?, -objects, -bytes, 0)
}

/// What the loser of two rows had is garbage, unless the winner has it too. Blocks and parts stay listed for as long as an
/// unreferenced block stays on disk: a GET that has read the losing row goes on reading their lists, page by page.
fn drop_content(
    body: &mut Body<'_>,
    row_key: &[u8],
    position: Position,
    loser: &ObjectRow,
    winner: Option<&ObjectRow>,
) -> Result<(), StoreError> {
    let due = body.at.after(body.delays.block);
    match (&loser.content, winner.map(|row| &row.content)) {
        (Content::Deleted, _) => Ok(()),
        (Content::Inline(_), _) => {
            body.writer.delete(Table::Inline, &key::inline(position, loser.version))
        }
        (Content::Blocks(_, lost), Some(Content::Blocks(_, kept))) if lost.data == kept.data => {
            Ok(())
        }
        (Content::Parts(_, lost), Some(Content::Parts(_, kept))) if lost.upload == kept.upload => {
            Ok(())
        }
        (Content::Blocks(_, lost), _) => {
            let unless = Some(row_key.to_vec());
            body.enqueue(due, &Job::DropData { position, data: lost.data, unless })
        }
        (Content::Parts(_, lost), _) => {
            let unless = Some(row_key.to_vec());
            body.enqueue(due, &Job::DropUpload { position, upload: lost.upload, unless })
        }
    }
}

/// Queues the collection of a tombstone.
fn collect(
    body: &mut Body<'_>,
    table: Table,
    row_key: &[u8],
    tombstone: &[u8],
) -> Result<(), StoreError> {
    let due = body.at.after(body.delays.tombstone);
    let (key, value) = (row_key.to_vec(), tombstone.to_vec());
    body.enqueue(due, &Job::Collect { table: table_number(table), key, value, since: None })
}

pub(super) fn upload_of(row_key: &[u8]) -> Result<(Position, VersionId), StoreError> {
    let parts = key::upload_parts(row_key).ok_or_else(|| short_key(Table::Upload, row_key))?;
    Ok((position_of(Table::Upload, row_key)?, parts.1))
}

/// After an upload row was merged.
pub(super) fn upload(
    body: &mut Body<'_>,
    row_key: &[u8],
    merged: &Merged<UploadRow>,
) -> Result<(), StoreError> {
    let Merged { before, after, incoming: _, write } = merged;
    if before.as_ref() == Some(after) {
        return Ok(());
    }
    let (position, upload) = upload_of(row_key)?;
    let opened = i64::from(after.is_open());
    if let UploadRow::Closed { etag } = after {
        let job = match etag {
            Some(_) => Job::TidyUpload { position, upload },
            None => Job::DropUpload { position, upload, unless: None },
        };
        body.enqueue(body.at, &job)?;
        let tombstone = write.as_ref().expect("a row that changed is written");
        collect(body, Table::Upload, row_key, tombstone)?;
    }
    let was_open = i64::from(before.as_ref().is_some_and(UploadRow::is_open));
    body.count(bucket_of(Table::Upload, row_key)?, 0, 0, opened - was_open)
}

/// Before an upload row is removed: closed long ago, as a rule.
pub(super) fn upload_removed(
    body: &mut Body<'_>,
    row_key: &[u8],
    row: &UploadRow,
) -> Result<(), StoreError> {
    if !row.is_open() {
        return Ok(());
    }
    let (position, upload) = upload_of(row_key)?;
    body.enqueue(body.at, &Job::DropUpload { position, upload, unless: None })?;
    body.count(bucket_of(Table::Upload, row_key)?, 0, 0, -1)
}

/// After a part row was merged: of two uploads of one part, the blocks of the earlier are dropped.
pub(super) fn part(
    body: &mut Body<'_>,
    row_key: &[u8],
    merged: &Merged<PartRow>,
) -> Result<(), StoreError> {
    let Some(before) = &merged.before else { return Ok(()) };
    let position = position_of(Table::Part, row_key)?;
    let upload = row_key.get(2..18).and_then(VersionId::from_slice);
    let upload = upload.ok_or_else(|| short_key(Table::Part, row_key))?;
    let at = body.at;
    for lost in [before.data, merged.incoming.data] {
        if lost != merged.after.data {
            body.enqueue(at, &Job::DropPart { position, upload, data: lost, since: None })?;
        }
    }
    Ok(())
}

/// After an intent was merged.
pub(super) fn intent(
    body: &mut Body<'_>,
    row_key: &[u8],
    merged: &Merged<IntentRow>,
) -> Result<(), StoreError> {
    let Some(written) = &merged.write else { return Ok(()) };
    match merged.after {
        IntentRow::Writing { .. } | IntentRow::Abandoned => Ok(()),
        IntentRow::Done => collect(body, Table::Intent, row_key, written),
        IntentRow::Dropped => {
            let position = position_of(Table::Intent, row_key)?;
            let data = row_key.get(2..).and_then(VersionId::from_slice);
            let data = data.ok_or_else(|| short_key(Table::Intent, row_key))?;
            body.enqueue(body.at, &Job::DropData { position, data, unless: None })?;
            collect(body, Table::Intent, row_key, written)
        }
    }
}

/// After a reference was merged, or before it is removed (`after` is then `None`): counts the block's live references.
pub(super) fn block_ref(
    body: &mut Body<'_>,
    row_key: &[u8],
    before: Option<BlockRefRow>,
    after: Option<BlockRefRow>,
) -> Result<(), StoreError> {
    let malformed = || short_key(Table::BlockRef, row_key);
    let (hash, data) = row_key.split_at_checked(32).ok_or_else(malformed)?;
    let block = Hash::from_slice(hash).ok_or_else(malformed)?;
    VersionId::from_slice(data).ok_or_else(malformed)?;
    let live = |row: Option<BlockRefRow>| i64::from(row.is_some_and(BlockRefRow::is_live));
    let change = live(after) - live(before);
    if change == 0 {
        return Ok(());
    }
    let refs = change_references(body, block, change)?;
    if change > 0 && refs == 1 && body.stored != Some(block) {
        // Somebody needs the block, and nobody has brought it: its file may not be here.
        body.enqueue(body.at, &Job::Fetch { block })?;
    }
    Ok(())
}

/// So many more references to a block, or fewer; how many there are now. Without any, its file is due.
pub(super) fn change_references(
    body: &mut Body<'_>,
    block: Hash,
    by: i64,
) -> Result<u64, StoreError> {
    let key = key::block_count(block);
    let counted = match body.writer.get(Table::BlockCount, &key)? {
        Some(value) => table::decode::<BlockCountRow>(Table::BlockCount, &value)?.refs,
        None => 0,
    };
    let refs = counted.checked_add_signed(by).ok_or_else(|| StoreError::Damaged {
        table: Table::BlockCount,
        reason: format!("block {block}: {counted} references cannot change by {by}"),
    })?;
    let dropped = (refs == 0).then_some(body.at);
    let row = BlockCountRow { refs, dropped };
    body.writer.put(Table::BlockCount, &key, &table::encode(&row))?;
    if refs == 0 {
        let due = body.at.after(body.delays.block);
        body.enqueue(due, &Job::Reap { block })?;
    }
    Ok(refs)
}

/// Removes a row that this node no longer holds, and what is counted for it here.
pub(super) fn forget(body: &mut Body<'_>, table: Table, row_key: &[u8]) -> Result<(), StoreError> {
    let Some(value) = body.writer.get(table, row_key)? else { return Ok(()) };
    match table {
        Table::Object => {
            let row: ObjectRow = table::decode(table, &value)?;
            if matches!(row.content, Content::Inline(_)) {
                let position = position_of(table, row_key)?;
                body.writer.delete(Table::Inline, &key::inline(position, row.version))?;
            }
            let (objects, bytes) = weight(Some(&row));
            body.count(bucket_of(table, row_key)?, -objects, -bytes, 0)?;
        }
        Table::Upload => {
            let row: UploadRow = table::decode(table, &value)?;
            body.count(bucket_of(table, row_key)?, 0, 0, -i64::from(row.is_open()))?;
        }
        Table::BlockRef => block_ref(body, row_key, Some(table::decode(table, &value)?), None)?,
        Table::Part | Table::Manifest | Table::Intent | Table::BlockList => {}
        Table::Meta
        | Table::Alias
        | Table::Bucket
        | Table::AccessKey
        | Table::AdminToken
        | Table::Inline
        | Table::BlockCount
        | Table::Counter
        | Table::Queue
        | Table::Ballot
        | Table::Fetch
        | Table::BlockError
        | Table::Fingerprint => {
            let reason = "only sharded rows are forgotten".to_owned();
            return Err(StoreError::Damaged { table, reason });
        }
    }
    body.delete(table, row_key)
}

/// After a reference was merged: that it was dropped is remembered until every replica knows.
pub(super) fn dropped_ref(
    body: &mut Body<'_>,
    row_key: &[u8],
    merged: &Merged<BlockRefRow>,
) -> Result<(), StoreError> {
    match (merged.after, &merged.write) {
        (BlockRefRow::Dropped, Some(tombstone)) => {
            collect(body, Table::BlockRef, row_key, tombstone)
        }
        (BlockRefRow::Dropped, None) | (BlockRefRow::Live { .. }, _) => Ok(()),
    }
}
