//! One page of a bucket's listing, merged over its index shards in key order.
//!
//! Each shard has one cursor; the smallest head is taken next. Under a delimiter, keys are not stepped through but sought
//! past. Memory is one head a shard and the page.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{Cursor, Entry, From, List, Listing, Snapshot, StoreError, Table, Witness};
use crate::{
    id::VersionId,
    table::{self, key, object, upload::UploadRow},
};

/// Answers a [`List`].
pub(super) fn list(plan: &List, snapshot: &dyn Snapshot) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    if plan.limit == 0 {
        return Ok(listing);
    }
    let Some(start) = start(plan) else { return Ok(listing) };
    let mut merge = Merge::open(plan, snapshot, &start)?;
    while let Some(mut head) = merge.heads.pop().map(|Reverse(head)| head) {
        if listing.entries.len() == plan.limit {
            listing.truncated = true;
            break;
        }
        match common_prefix(plan, &head.key) {
            Some(prefix) => {
                let witnesses = merge.skip(&prefix, head)?;
                listing.entries.push(Entry::CommonPrefix { prefix, witnesses });
            }
            None => {
                let value = std::mem::take(&mut head.value);
                let key = merge.refill(head)?;
                listing.entries.push(Entry::Row { key: key.0, upload: key.1, value });
            }
        }
    }
    Ok(listing)
}

/// What of a key is rolled up: up to and with the first delimiter after the prefix.
pub(crate) fn common_prefix(plan: &List, key: &[u8]) -> Option<Vec<u8>> {
    let delimiter = &plan.delimiter[..];
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(&plan.prefix[..])?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(key[..plan.prefix.len() + at + delimiter.len()].to_vec())
}

/// How an S3 key stands in a row key, after the shard's prefix: for uploads escaped, without its end mark.
fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    if table == Table::Upload {
        let mut escaped = key::escape(key);
        escaped.truncate(escaped.len() - 2);
        escaped
    } else {
        key.to_vec()
    }
}

/// The first row key wanted, after the shard's prefix; `None` if there can be none.
fn start(plan: &List) -> Option<Vec<u8>> {
    let first = row_key(plan.table, &plan.prefix);
    let after = match &plan.from {
        From::Start => return Some(first),
        From::After(key) if common_prefix(plan, key).as_ref() == Some(key) => {
            key::after_prefix(&row_key(plan.table, key))?
        }
        // Past the end mark and all that follows it, which is the uploads of the key.
        From::After(key) if plan.table == Table::Upload => key::after_prefix(&key::escape(key))?,
        From::After(key) => successor(key.clone()),
        From::AfterUpload(key, upload) => {
            let mut last = key::escape(key);
            last.extend_from_slice(&upload.0);
            successor(last)
        }
    };
    Some(after.max(first))
}

/// The least key greater than this one.
fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The next row of a shard: a live one, unless the listing is to be merged with others. Ordered by key, and for uploads of one key by id.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Vec<u8>,
    upload: Option<VersionId>,
    shard: usize,
    value: Vec<u8>,
}

impl Head {
    fn witness(&self, plan: &List) -> Witness {
        let mut hasher = blake3::Hasher::new();
        // The key's length first, so that no byte may belong to two of the three.
        hasher.update(&(self.key.len() as u64).to_be_bytes()).update(&self.key);
        hasher.update(&self.upload.unwrap_or_default().0).update(&self.value);
        let mut mark = [0; 8];
        hasher.finalize_xof().fill(&mut mark);
        Witness { shard: plan.shards[self.shard], mark: u64::from_be_bytes(mark) }
    }
}

struct Merge<'a> {
    plan: &'a List,
    snapshot: &'a dyn Snapshot,
    shards: Vec<Shard<'a>>,
    heads: BinaryHeap<Reverse<Head>>,
}

struct Shard<'a> {
    prefix: Vec<u8>,
    until: Option<Vec<u8>>,
    cursor: Box<dyn Cursor + 'a>,
}

impl<'a> Merge<'a> {
    fn open(plan: &'a List, snapshot: &'a dyn Snapshot, start: &[u8]) -> Result<Self, StoreError> {
        let mut shards = Vec::with_capacity(plan.shards.len());
        for shard in &plan.shards {
            let prefix = key::shard_prefix(plan.bucket, *shard);
            let until =
                key::after_prefix(&[&prefix[..], &row_key(plan.table, &plan.prefix)].concat());
            let from = [&prefix[..], start].concat();
            let cursor = snapshot.cursor(plan.table, &from, until.as_deref())?;
            shards.push(Shard { prefix, until, cursor });
        }
        let heads = BinaryHeap::with_capacity(shards.len());
        let mut merge = Self { plan, snapshot, shards, heads };
        for shard in 0..merge.shards.len() {
            if let Some(head) = merge.next(shard)? {
                merge.heads.push(Reverse(head));
            }
        }
        Ok(merge)
    }

    /// The next row of a shard that counts.
    fn next(&mut self, shard: usize) -> Result<Option<Head>, StoreError> {
        let (plan, table) = (self.plan, self.plan.table);
        // A deletion matters to other replicas' pages, but not under a prefix, which only live rows show.
        let dead_counts = |key: &[u8]| plan.merged && common_prefix(plan, key).is_none();
        let cursor = &mut self.shards[shard].cursor;
        while cursor.advance()? {
            let (row_key, value) = (cursor.key(), cursor.value());
            if table == Table::Upload {
                let open = table::decode::<UploadRow>(table, value)?.is_open();
                if !open && !plan.merged {
                    continue;
                }
                let (key, id) = key::upload_parts(row_key).ok_or_else(|| StoreError::Damaged {
                    table,
                    reason: format!("key {} is not that of an upload", hex::encode(row_key)),
                })?;
                if !open && !dead_counts(&key) {
                    continue;
                }
                return Ok(Some(Head { key, upload: Some(id), shard, value: value.to_vec() }));
            }
            let key = key::object_key(row_key);
            if object::is_live(value)? || dead_counts(key) {
                let key = key.to_vec();
                return Ok(Some(Head { key, upload: None, shard, value: value.to_vec() }));
            }
        }
        Ok(None)
    }

    /// Puts the next head of `taken`'s shard in its place, and gives back the key that was taken.
    fn refill(&mut self, taken: Head) -> Result<(Vec<u8>, Option<VersionId>), StoreError> {
        if let Some(head) = self.next(taken.shard)? {
            self.heads.push(Reverse(head));
        }
        Ok((taken.key, taken.upload))
    }

    /// Moves every shard past the keys that begin with `prefix`, the first of which was just taken. Gives the witnesses of the
    /// prefix, if they are asked for.
    fn skip(&mut self, prefix: &[u8], taken: Head) -> Result<Vec<Witness>, StoreError> {
        let mut witnesses = Vec::new();
        let mut under = vec![taken.shard];
        if self.plan.merged {
            witnesses.push(taken.witness(self.plan));
        }
        while let Some(Reverse(head)) = self.heads.peek()
            && head.key.starts_with(prefix)
        {
            under.push(head.shard);
            if self.plan.merged {
                witnesses.push(head.witness(self.plan));
            }
            self.heads.pop();
        }
        for shard in under {
            // Often there is just one such key in the shard, and a step is cheaper than a seek.
            let mut head = self.next(shard)?;
            if head.as_ref().is_some_and(|head| head.key.starts_with(prefix)) {
                head = match key::after_prefix(&row_key(self.plan.table, prefix)) {
                    Some(after) => {
                        let Shard { prefix, until, cursor } = &mut self.shards[shard];
                        let from = [&prefix[..], &after].concat();
                        *cursor = self.snapshot.cursor(self.plan.table, &from, until.as_deref())?;
                        self.next(shard)?
                    }
                    None => None,
                };
            }
            self.heads.extend(head.map(Reverse));
        }
        witnesses.sort_unstable_by_key(|witness| witness.shard);
        witnesses.truncate(Witness::MAX);
        Ok(witnesses)
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
