//! The transaction body: what a batch does to the tables. Synchronous, deterministic, and total for valid batches.

use std::time::Duration;

use super::{
    Applied, Batch, Guard, Op, Outcome, StoreError, Table, Writer,
    digest::{self, Fingerprint, RowHash},
    hook, recount,
};
use crate::{
    id::{BucketId, Hash, VersionId},
    table::{
        self, CounterRow,
        access::{AccessKeyRow, AliasRow, BucketRow},
        ballot::BallotRow,
        block::{BlockCountRow, BlockListRow, BlockRefRow, FetchRow},
        key, merge,
        object::{self, ObjectRow},
        queue::Job,
        token::AdminTokenRow,
        upload::{IntentRow, ManifestRow, PartRow, UploadRow},
    },
    time::Timestamp,
};

/// How long work that a hook queues has to wait before it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// How long an unreferenced block stays on disk.
    pub block: Duration,
    /// How long a tombstone is remembered.
    pub tombstone: Duration,
}

/// Applies a batch: checks its guards against the state before it, then makes its changes in order, hooks included.
///
/// # Errors
/// What the engine reports; or [`StoreError::Damaged`] for a row, stored or brought by the batch, that does not decode. The
/// transaction then holds a part of the batch and must be given up.
pub fn apply(
    batch: &Batch,
    writer: &mut dyn Writer,
    delays: &Delays,
) -> Result<Outcome, StoreError> {
    for (index, guard) in batch.guards.iter().enumerate() {
        if !holds(guard, batch.at, writer)? {
            return Ok(Outcome::Refused { guard: index });
        }
    }
    let (at, stored) = (batch.at, batch.stored);
    let (ops, applied) = (&batch.ops[..], Applied::default());
    let mut body = Body { writer, at, stored, ops, delays: *delays, applied };
    for op in &batch.ops {
        body.op(op)?;
    }
    Ok(Outcome::Applied(body.applied))
}

/// Why a batch is not one that this node can apply.
fn invalid(table: Table, reason: &str) -> StoreError {
    StoreError::Damaged { table, reason: reason.to_owned() }
}

fn holds(guard: &Guard, at: Timestamp, snapshot: &dyn Writer) -> Result<bool, StoreError> {
    match guard {
        Guard::Absent { table, key } => Ok(!is_live(*table, key, snapshot)?),
        Guard::Live { table, key } => is_live(*table, key, snapshot),
        Guard::NotDeleted { table, key } => {
            Ok(is_live(*table, key, snapshot)? || snapshot.get(*table, key)?.is_none())
        }
        Guard::Before { deadline } => Ok(at < *deadline),
        Guard::Unchanged { table, key, value } => {
            Ok(snapshot.get(*table, key)?.as_ref() == Some(value))
        }
        Guard::Empty { bucket } => {
            Ok(counter(*bucket, snapshot)?.is_none_or(|counter| counter.objects == 0))
        }
        Guard::Unsealed { bucket } => match snapshot.get(Table::Bucket, &bucket.0)? {
            Some(value) => {
                table::decode::<BucketRow>(Table::Bucket, &value).map(|row| !row.is_sealed())
            }
            None => Ok(true),
        },
        Guard::Newest { key, version } => match snapshot.get(Table::Object, key)? {
            Some(value) => {
                let row: ObjectRow = table::decode(Table::Object, &value)?;
                Ok(row.version < *version)
            }
            None => Ok(true),
        },
        Guard::Wanted { position, data } => {
            let intent = intent_of(&key::intent(*position, *data), snapshot)?;
            Ok(match intent {
                None | Some(IntentRow::Writing { .. } | IntentRow::Done) => true,
                Some(IntentRow::Abandoned | IntentRow::Dropped) => false,
            })
        }
        Guard::Held { block } => {
            Ok(snapshot.get(Table::BlockCount, &key::block_count(*block))?.is_some())
        }
    }
}

fn is_live(table: Table, key: &[u8], snapshot: &dyn Writer) -> Result<bool, StoreError> {
    let Some(value) = snapshot.get(table, key)? else { return Ok(false) };
    match table {
        Table::Alias => {
            table::decode::<AliasRow>(table, &value).map(|row| row.bucket.value.is_some())
        }
        Table::Bucket => table::decode::<BucketRow>(table, &value).map(|row| !row.deleted),
        Table::AccessKey => table::decode::<AccessKeyRow>(table, &value).map(|row| !row.deleted),
        Table::AdminToken => table::decode::<AdminTokenRow>(table, &value).map(|row| !row.deleted),
        Table::Object => object::is_live(&value),
        Table::Upload => {
            let row: UploadRow = table::decode(table, &value)?;
            // Closed elsewhere, and that it is void has come before the row that says why.
            let (position, upload) = hook::upload_of(key)?;
            let intent = intent_of(&key::intent(position, upload), snapshot)?;
            Ok(row.is_open() && !voids(Table::Part, intent))
        }
        Table::Meta
        | Table::Inline
        | Table::Part
        | Table::Manifest
        | Table::Intent
        | Table::BlockList
        | Table::BlockRef
        | Table::BlockCount
        | Table::Counter
        | Table::Queue
        | Table::Ballot
        | Table::Fetch
        | Table::BlockError
        | Table::Fingerprint => Ok(true),
    }
}

/// What becomes of the data of an intent's key.
fn intent_of(intent_key: &[u8], snapshot: &dyn Writer) -> Result<Option<IntentRow>, StoreError> {
    let value = snapshot.get(Table::Intent, intent_key)?;
    value.map(|value| table::decode(Table::Intent, &value)).transpose()
}

/// Whether rows of `table` under an id with this intent are void: they stay away, whoever brings them.
fn voids(table: Table, intent: Option<IntentRow>) -> bool {
    match intent {
        None | Some(IntentRow::Writing { .. } | IntentRow::Abandoned) => false,
        Some(IntentRow::Done) => table == Table::Part,
        Some(IntentRow::Dropped) => true,
    }
}

fn counter(bucket: BucketId, snapshot: &dyn Writer) -> Result<Option<CounterRow>, StoreError> {
    let value = snapshot.get(Table::Counter, &bucket.0)?;
    value.map(|value| table::decode(Table::Counter, &value)).transpose()
}

/// One batch on its way into the tables.
pub(super) struct Body<'a> {
    pub(super) writer: &'a mut dyn Writer,
    /// The batch's time.
    pub(super) at: Timestamp,
    /// The block whose file is known to be here.
    pub(super) stored: Option<Hash>,
    /// All changes of the batch.
    ops: &'a [Op],
    pub(super) delays: Delays,
    pub(super) applied: Applied,
}

impl Body<'_> {
    fn op(&mut self, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Merge { table, key, value, inline } => {
                if inline.is_some() && *table != Table::Object {
                    return Err(invalid(*table, "only object rows carry a payload"));
                }
                self.merge(*table, key, value, inline.as_deref())
            }
            Op::Remove { table, key } => self.remove(*table, key),
            Op::Forget { table, key } => hook::forget(self, *table, key),
            Op::Correct(correction) => recount::correct(self, correction),
            Op::Collect { table, key, value } => self.collect(*table, key, value),
            Op::Enqueue { due, job } => self.enqueue(*due, job),
            Op::Reap { block } => self.reap(*block),
        }
    }

    fn merge(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        inline: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if self.is_void(table, key)? {
            return self.comes_too_late(table, key, value);
        }
        match table {
            Table::Object => {
                let merged = self.merge_row::<ObjectRow>(key, value)?;
                hook::object(self, key, &merged, inline)
            }
            Table::Upload => {
                let merged = self.merge_row::<UploadRow>(key, value)?;
                hook::upload(self, key, &merged)
            }
            Table::Part => {
                let merged = self.merge_row::<PartRow>(key, value)?;
                hook::part(self, key, &merged)
            }
            Table::Intent => {
                let merged = self.merge_row::<IntentRow>(key, value)?;
                hook::intent(self, key, &merged)
            }
            Table::BlockRef => {
                let merged = self.merge_row::<BlockRefRow>(key, value)?;
                hook::block_ref(self, key, merged.before, Some(merged.after))?;
                hook::dropped_ref(self, key, &merged)
            }
            Table::Alias => self.merge_row::<AliasRow>(key, value).map(drop),
            Table::Bucket => self.merge_row::<BucketRow>(key, value).map(drop),
            Table::AccessKey => self.merge_row::<AccessKeyRow>(key, value).map(drop),
            Table::AdminToken => self.merge_row::<AdminTokenRow>(key, value).map(drop),
            Table::Manifest => self.merge_row::<ManifestRow>(key, value).map(drop),
            Table::BlockList => self.merge_row::<BlockListRow>(key, value).map(drop),
            // A local register: whoever writes it last is right. The format marker is not for batches to change.
            Table::Meta if key == super::FORMAT_KEY || key == super::BOOT_KEY => {
                Err(invalid(table, "the format marker and the boot counter are set at open only"))
            }
            Table::Meta | Table::BlockError => self.writer.put(table, key, value),
            Table::Ballot => {
                // A local register too; whoever changes it guards it with what was there.
                table::decode::<BallotRow>(table, value)?;
                self.writer.put(table, key, value)
            }
            Table::Inline
            | Table::BlockCount
            | Table::Counter
            | Table::Queue
            | Table::Fetch
            | Table::Fingerprint => {
                Err(invalid(table, "rows of this kind are kept by hooks, not merged"))
            }
        }
    }

    /// Whether a row's data or upload has been dropped, so that the row must not come back.
    fn is_void(&self, table: Table, row_key: &[u8]) -> Result<bool, StoreError> {
        if !matches!(table, Table::Part | Table::Manifest | Table::BlockList) {
            return Ok(false);
        }
        // Such keys begin with that of the intent: position and id.
        let intent_key = row_key.get(..18).ok_or_else(|| invalid(table, "key too short"))?;
        Ok(voids(table, intent_of(intent_key, self.writer)?))
    }

    /// A part that comes in when its upload has ended is nobody's, though its writer closes the intent of its data with it: the data goes,
    /// unless the object is made of it after all. A replica that brings such a part later brings no intent with it.
    fn comes_too_late(
        &mut self,
        table: Table,
        row_key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        if table != Table::Part {
            return Ok(());
        }
        let data = table::decode::<PartRow>(table, value)?.data;
        let position = super::read::position_of(table, row_key)?;
        let intent = key::intent(position, data);
        let closes =
            |op: &Op| matches!(op, Op::Merge { table: Table::Intent, key, .. } if *key == intent);
        if !self.ops.iter().any(closes) {
            return Ok(());
        }
        let upload = row_key.get(2..18).and_then(VersionId::from_slice);
        let upload = upload.ok_or_else(|| invalid(table, "key too short"))?;
        self.enqueue(self.at, &Job::DropPart { position, upload, data, since: None })
    }

    /// Replaces a row's value, or removes the row, and keeps the fingerprint that counts it.
    fn replace(
        &mut self,
        table: Table,
        row_key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        match after {
            Some(value) => self.writer.put(table, row_key, value)?,
            None => self.writer.delete(table, row_key)?,
        }
        let Some(position) = digest::counted_at(table, row_key)? else { return Ok(()) };
        if before == after {
            return Ok(());
        }
        let key = digest::fingerprint_key(table, position);
        let mut fingerprint = match self.writer.get(Table::Fingerprint, &key)? {
            Some(value) => table::decode(Table::Fingerprint, &value)?,
            None => Fingerprint::default(),
        };
        if let Some(value) = before {
            fingerprint.subtract(RowHash::of(row_key, value));
        }
        if let Some(value) = after {
            fingerprint.add(RowHash::of(row_key, value));
        }
        if fingerprint == Fingerprint::default() {
            self.writer.delete(Table::Fingerprint, &key)
        } else {
            self.writer.put(Table::Fingerprint, &key, &table::encode(&fingerprint))
        }
    }

    pub(super) fn delete(&mut self, table: Table, row_key: &[u8]) -> Result<(), StoreError> {
        let before = self.writer.get(table, row_key)?;
        match before {
            Some(before) => self.replace(table, row_key, Some(&before), None),
            None => Ok(()),
        }
    }

    fn merge_row<R: merge::Row>(
        &mut self,
        key: &[u8],
        value: &[u8],
    ) -> Result<merge::Merged<R>, StoreError> {
        let stored = self.writer.get(R::TABLE, key)?;
        let merged = merge::rows::<R>(stored.as_deref(), value)?;
        if let Some(bytes) = &merged.write {
            self.replace(R::TABLE, key, stored.as_deref(), Some(bytes))?;
        }
        Ok(merged)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        match table {
            Table::Object => {
                if let Some(value) = self.writer.get(table, key)? {
                    hook::object_removed(self, key, &table::decode(table, &value)?)?;
                }
            }
            Table::Upload => {
                if let Some(value) = self.writer.get(table, key)? {
                    hook::upload_removed(self, key, &table::decode(table, &value)?)?;
                }
            }
            Table::BlockRef => {
                if let Some(value) = self.writer.get(table, key)? {
                    let before: BlockRefRow = table::decode(table, &value)?;
                    hook::block_ref(self, key, Some(before), None)?;
                }
            }
            Table::Meta if key == super::FORMAT_KEY || key == super::BOOT_KEY => {
                return Err(invalid(table, "the format marker and the boot counter stay"));
            }
            Table::Inline | Table::BlockCount | Table::Counter | Table::Fingerprint => {
                return Err(invalid(table, "rows of this kind are kept by hooks, not removed"));
            }
            // No hook: what these rows stand for is dropped by the job that removes them.
            Table::Meta
            | Table::Alias
            | Table::Bucket
            | Table::AccessKey
            | Table::AdminToken
            | Table::Part
            | Table::Manifest
            | Table::Intent
            | Table::BlockList
            | Table::Queue
            | Table::Ballot
            | Table::Fetch
            | Table::BlockError => {}
        }
        self.delete(table, key)
    }

    fn collect(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if !digest::is_tombstone(table, value)? {
            return Err(invalid(table, "only tombstones are collected"));
        }
        if self.writer.get(table, key)?.as_deref() == Some(value)
            && digest::is_spent(&*self.writer, table, key, value)?
        {
            self.replace(table, key, Some(value), None)?;
            let count = self.writer.get(Table::Meta, super::COLLECTED_KEY)?;
            let count = count.and_then(|count| Some(u64::from_be_bytes(count.try_into().ok()?)));
            let count = count.unwrap_or(0) + 1;
            self.writer.put(Table::Meta, super::COLLECTED_KEY, &count.to_be_bytes())?;
        }
        Ok(())
    }

    /// Puts a job into the queue, not before `due`. One that is queued for the same time already may be under way, and have looked
    /// before this change: it is another row, a millisecond later.
    pub(super) fn enqueue(&mut self, due: Timestamp, job: &Job) -> Result<(), StoreError> {
        if let Job::Fetch { block } = job {
            let row = FetchRow { queued: due };
            return self.writer.put(Table::Fetch, &key::block_count(*block), &table::encode(&row));
        }
        let value = table::encode(job);
        let hash = blake3::hash(&value);
        let mut due = due.0;
        loop {
            let mut key = due.to_be_bytes().to_vec();
            key.extend_from_slice(&hash.as_bytes()[..8]);
            if self.writer.get(Table::Queue, &key)?.is_none() {
                return self.writer.put(Table::Queue, &key, &value);
            }
            due = due.saturating_add(1);
        }
    }

    fn reap(&mut self, block: Hash) -> Result<(), StoreError> {
        let key = key::block_count(block);
        let Some(value) = self.writer.get(Table::BlockCount, &key)? else { return Ok(()) };
        let row: BlockCountRow = table::decode(Table::BlockCount, &value)?;
        if row.refs == 0 {
            for table in [Table::BlockCount, Table::Fetch, Table::BlockError] {
                self.writer.delete(table, &key)?;
            }
            self.applied.reaped.push(block);
        }
        Ok(())
    }

    /// Changes a bucket's counters by the differences given. A row of zeros is no row.
    pub(super) fn count(
        &mut self,
        bucket: BucketId,
        objects: i64,
        bytes: i128,
        uploads: i64,
    ) -> Result<(), StoreError> {
        if (objects, bytes, uploads) == (0, 0, 0) {
            return Ok(());
        }
        let mut row = counter(bucket, self.writer)?.unwrap_or_default();
        let changed = (|| {
            row.objects = row.objects.checked_add_signed(objects)?;
            row.bytes = u64::try_from(i128::from(row.bytes).checked_add(bytes)?).ok()?;
            row.uploads = row.uploads.checked_add_signed(uploads)?;
            Some(())
        })();
        changed.ok_or_else(|| StoreError::Damaged {
            table: Table::Counter,
            reason: format!(
                "bucket {bucket}: {row:?} cannot change by {objects} objects, {bytes} bytes, {uploads} uploads"
            ),
        })?;
        if row == CounterRow::default() {
            self.writer.delete(Table::Counter, &bucket.0)
        } else {
            self.writer.put(Table::Counter, &bucket.0, &table::encode(&row))
        }
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
