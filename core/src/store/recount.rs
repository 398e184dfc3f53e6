//! What is counted as rows change, counted anew: the differences, all of one snapshot.
//!
//! A difference stays right while rows go on changing, because every change adds to the count as it is: so it can be applied later,
//! in a transaction of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Snapshot, StoreError, Table,
    apply::Body,
    digest::{Fingerprint, RowHash, SHARDED, counted_at, fingerprint_key},
    hook::change_references,
};
use crate::{
    id::{BucketId, Hash, Position},
    table::{
        self, CounterRow,
        block::{BlockCountRow, BlockRefRow},
        key,
        object::ObjectRow,
        queue::Job,
        upload::UploadRow,
    },
};

/// What is to be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recount {
    /// The references of the first so many blocks from this key of [`Table::BlockRef`] or [`Table::BlockCount`] on.
    Blocks {
        /// Where to begin.
        #[serde(with = "serde_bytes")]
        from: Vec<u8>,
        /// At most so many blocks.
        limit: usize,
    },
    /// The objects and uploads of a bucket with so many index shards.
    Bucket {
        /// Which.
        bucket: BucketId,
        /// Its index shards.
        shards: u16,
    },
    /// The rows of every table that is compared, at one position.
    Position(Position),
}

/// A count that is wrong, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Correction {
    /// A bucket's counters.
    Bucket {
        /// Which.
        bucket: BucketId,
        /// Objects more than are counted.
        objects: i64,
        /// Bytes more.
        bytes: i128,
        /// Open uploads more.
        uploads: i64,
    },
    /// A block's references.
    Block {
        /// Which.
        block: Hash,
        /// Live references more than are counted.
        refs: i64,
    },
    /// The fingerprint of a table at a position.
    Fingerprint {
        /// The table.
        table: Table,
        /// The position.
        position: Position,
        /// What is to be added.
        by: Fingerprint,
    },
}

/// What a recount has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recounted {
    /// What is wrong.
    pub corrections: Vec<Correction>,
    /// How many counts were looked at.
    pub counts: u64,
    /// Of blocks: where the next ones begin, if there may be any.
    pub next: Option<Vec<u8>>,
}

/// Counts anew.
///
/// # Errors
/// What the engine reports, or a row that does not decode.
pub fn recount(question: &Recount, snapshot: &dyn Snapshot) -> Result<Recounted, StoreError> {
    match question {
        Recount::Blocks { from, limit } => blocks(snapshot, from, *limit),
        Recount::Bucket { bucket, shards } => self::bucket(snapshot, *bucket, *shards),
        Recount::Position(at) => position(snapshot, *at),
    }
}

fn difference(found: u64, counted: u64) -> i64 {
    // Both count rows of one disk.
    i64::try_from(i128::from(found) - i128::from(counted)).expect("less than 2 to the 63rd rows")
}

fn blocks(snapshot: &dyn Snapshot, from: &[u8], limit: usize) -> Result<Recounted, StoreError> {
    let mut found: BTreeMap<Hash, u64> = BTreeMap::new();
    let block_of = |table, row_key: &[u8]| {
        let block = row_key.get(..32).and_then(Hash::from_slice);
        let short = || StoreError::Damaged { table, reason: "key too short".to_owned() };
        block.ok_or_else(short)
    };
    // First which blocks: those of both tables, in order.
    for table in [Table::BlockRef, Table::BlockCount] {
        let mut from = from.to_vec();
        let mut blocks = 0;
        while blocks < limit {
            let mut cursor = snapshot.cursor(table, &from, None)?;
            if !cursor.advance()? {
                break;
            }
            let block = block_of(table, cursor.key())?;
            found.insert(block, 0);
            blocks += 1;
            match key::after_prefix(&block.0) {
                Some(next) => from = next,
                None => break,
            }
        }
    }
    let mut result = Recounted::default();
    if found.len() > limit {
        let first_left = found.keys().nth(limit).copied().expect("there are more");
        found.split_off(&first_left);
    }
    if found.len() == limit {
        let last = found.keys().next_back().expect("the limit is not zero");
        result.next = key::after_prefix(&last.0);
    }
    for block in found.into_keys() {
        let mut refs = 0;
        let until = key::after_prefix(&block.0);
        let mut cursor = snapshot.cursor(Table::BlockRef, &block.0, until.as_deref())?;
        while cursor.advance()? {
            let row: BlockRefRow = table::decode(Table::BlockRef, cursor.value())?;
            refs += u64::from(row.is_live());
        }
        let counted = match snapshot.get(Table::BlockCount, &key::block_count(block))? {
            Some(value) => table::decode::<BlockCountRow>(Table::BlockCount, &value)?.refs,
            None => 0,
        };
        result.counts += 1;
        if refs != counted {
            let refs = difference(refs, counted);
            result.corrections.push(Correction::Block { block, refs });
        }
    }
    Ok(result)
}

fn bucket(snapshot: &dyn Snapshot, bucket: BucketId, shards: u16) -> Result<Recounted, StoreError> {
    let mut found = CounterRow::default();
    for shard in 0..shards {
        let prefix = key::shard_prefix(bucket, shard);
        let until = key::after_prefix(&prefix);
        let mut cursor = snapshot.cursor(Table::Object, &prefix, until.as_deref())?;
        while cursor.advance()? {
            let row: ObjectRow = table::decode(Table::Object, cursor.value())?;
            if let Some(meta) = row.content.meta() {
                found.objects += 1;
                found.bytes = found.bytes.saturating_add(meta.size);
            }
        }
        let mut cursor = snapshot.cursor(Table::Upload, &prefix, until.as_deref())?;
        while cursor.advance()? {
            let row: UploadRow = table::decode(Table::Upload, cursor.value())?;
            found.uploads += u64::from(row.is_open());
        }
    }
    let counted = match snapshot.get(Table::Counter, &bucket.0)? {
        Some(value) => table::decode(Table::Counter, &value)?,
        None => CounterRow::default(),
    };
    let mut result = Recounted { counts: 1, ..Recounted::default() };
    if found != counted {
        result.corrections.push(Correction::Bucket {
            bucket,
            objects: difference(found.objects, counted.objects),
            bytes: i128::from(found.bytes) - i128::from(counted.bytes),
            uploads: difference(found.uploads, counted.uploads),
        });
    }
    Ok(result)
}

fn position(snapshot: &dyn Snapshot, at: Position) -> Result<Recounted, StoreError> {
    let mut result = Recounted::default();
    let first = at.0.to_be_bytes();
    let until = key::after_prefix(&first);
    for table in SHARDED {
        let mut found = Fingerprint::default();
        let mut cursor = snapshot.cursor(table, &first, until.as_deref())?;
        while cursor.advance()? {
            found.add(RowHash::of(cursor.key(), cursor.value()));
        }
        let counted = match snapshot.get(Table::Fingerprint, &fingerprint_key(table, at))? {
            Some(value) => table::decode(Table::Fingerprint, &value)?,
            None => Fingerprint::default(),
        };
        result.counts += 1;
        if found != counted {
            let by = found.less(counted);
            result.corrections.push(Correction::Fingerprint { table, position: at, by });
        }
    }
    Ok(result)
}

/// Corrects a count.
pub(super) fn correct(body: &mut Body<'_>, correction: &Correction) -> Result<(), StoreError> {
    match correction {
        Correction::Bucket { bucket, objects, bytes, uploads } => {
            body.count(*bucket, *objects, *bytes, *uploads)
        }
        Correction::Block { block, refs } => correct_block(body, *block, *refs),
        Correction::Fingerprint { table, position, by } => {
            if counted_at(*table, &position.0.to_be_bytes())? != Some(*position) {
                let reason = "rows of this kind have no fingerprint there".to_owned();
                return Err(StoreError::Damaged { table: *table, reason });
            }
            let key = fingerprint_key(*table, *position);
            let counted = match body.writer.get(Table::Fingerprint, &key)? {
                Some(value) => table::decode(Table::Fingerprint, &value)?,
                None => Fingerprint::default(),
            };
            let corrected = counted.and(*by);
            if corrected == Fingerprint::default() {
                body.writer.delete(Table::Fingerprint, &key)
            } else {
                body.writer.put(Table::Fingerprint, &key, &table::encode(&corrected))
            }
        }
    }
}

fn correct_block(body: &mut Body<'_>, block: Hash, by: i64) -> Result<(), StoreError> {
    match change_references(body, block, by)? {
        0 => Ok(()),
        _ => body.enqueue(body.at, &Job::Fetch { block }),
    }
}
