//! Whether what is on the disks fits together, once a node or a cluster has come to rest: every row is led to, every block is
//! counted and there, every counter equals a recount.

use std::collections::{BTreeMap, BTreeSet};

use mews_core::{
    id::{BucketId, Hash, NodeId, Position, VersionId},
    store::{Snapshot, StoreError, Table},
    table::{
        self, CounterRow,
        block::{BlockCountRow, BlockListRow, BlockRefRow},
        decode, key,
        object::{Content, ObjectRow},
        queue::Job,
        upload::{IntentRow, ManifestRow, PartRow, UploadRow},
    },
    time::Timestamp,
};

use crate::host::Host;

/// A piece of data that something names: its position and id, and how many bytes it should have.
type Named = BTreeMap<(Position, VersionId), u64>;

/// Everything wrong with a node that is alone, at rest. Queued work that is due later (tombstones) is no fault; work that
/// should be done is.
pub fn at_rest(host: &Host) -> Vec<String> {
    let Some((db, _)) = host.stores() else { return vec!["the node is not running".into()] };
    let boot = db.boot();
    let mut wrong = db
        .look(|snapshot| whole(snapshot, &|writer, _| writer == boot))
        .unwrap_or_else(|error| vec![format!("the database does not read: {error}")]);
    wrong.extend(local(host));
    wrong
}

/// Everything wrong with the rows that clients have led to, of one node that is alone or of a whole cluster. `runs` says whether a
/// writer, by the boot of its process and its node, may still be at work.
///
/// # Errors
/// A row that does not decode.
pub fn whole(
    snapshot: &dyn Snapshot,
    runs: &dyn Fn(u64, NodeId) -> bool,
) -> Result<Vec<String>, StoreError> {
    let mut check = Check { snapshot, wrong: Vec::new() };
    let mut named = check.objects(&mut BTreeMap::new())?;
    check.uploads(&mut BTreeMap::new(), &mut named)?;
    check.intents(runs, &mut named)?;
    let listed = check.lists(&named)?;
    check.references(&listed)?;
    Ok(check.wrong)
}

/// Everything wrong with what a node keeps about its own rows: counters, counts and files.
pub fn local(host: &Host) -> Vec<String> {
    let Some((db, files)) = host.stores() else { return vec!["the node is not running".into()] };
    let result = db.look(|snapshot| {
        let mut check = Check { snapshot, wrong: Vec::new() };
        check.counters()?;
        let blocks = check.counts()?;
        for block in &blocks {
            if let Err(error) = files.load(*block) {
                check.wrong.push(format!("block {block:?} is counted, and its file: {error}"));
            }
        }
        check.files_fit(host, &blocks);
        Ok(check.wrong)
    });
    let wrong = result.unwrap_or_else(|error| vec![format!("the database does not read: {error}")]);
    wrong.into_iter().map(|wrong| format!("host {}: {wrong}", host.number)).collect()
}

struct Check<'a> {
    snapshot: &'a dyn Snapshot,
    wrong: Vec<String>,
}

impl Check<'_> {
    fn each<R>(
        &self,
        table: Table,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<R, StoreError>,
    ) -> Result<Vec<R>, StoreError> {
        let mut cursor = self.snapshot.cursor(table, &[], None)?;
        let mut rows = Vec::new();
        while cursor.advance()? {
            rows.push(row(cursor.key(), cursor.value())?);
        }
        Ok(rows)
    }

    /// Object rows, their payloads and manifests.
    fn objects(
        &mut self,
        counters: &mut BTreeMap<BucketId, CounterRow>,
    ) -> Result<Named, StoreError> {
        let rows = self.each(Table::Object, |key, value| {
            Ok((key.to_vec(), decode::<ObjectRow>(Table::Object, value)?))
        })?;
        let mut named = Named::new();
        let mut inline = BTreeMap::new();
        let mut manifests = BTreeMap::new();
        for (row_key, row) in rows {
            let position = position(&row_key);
            let what = format!("object {}", String::from_utf8_lossy(key::object_key(&row_key)));
            if let Some(meta) = row.content.meta() {
                let bucket = BucketId::from_slice(&row_key[2..18]).unwrap_or_default();
                let counter = counters.entry(bucket).or_default();
                counter.objects += 1;
                counter.bytes += meta.size;
            }
            match &row.content {
                Content::Deleted => {}
                Content::Inline(meta) => {
                    inline.insert(key::inline(position, row.version), (what, meta.size));
                }
                Content::Blocks(meta, data) => {
                    if named.insert((position, data.data), meta.size).is_some() {
                        self.wrong.push(format!("{what}: its data is another's too"));
                    }
                }
                Content::Parts(meta, parts) => {
                    manifests.insert((position, parts.upload), (what, meta.size));
                }
            }
        }
        let payloads = self.each(Table::Inline, |key, value| Ok((key.to_vec(), value.len())))?;
        for (row_key, len) in payloads {
            match inline.remove(&row_key) {
                Some((_, size)) if size == len as u64 => {}
                Some((what, size)) => {
                    self.wrong.push(format!("{what}: {size} bytes, and its payload has {len}"));
                }
                None => self.wrong.push(format!("payload {} is nobody's", hex::encode(row_key))),
            }
        }
        for (what, _) in inline.into_values() {
            self.wrong.push(format!("{what}: its payload is missing"));
        }
        self.manifests(&mut manifests, &mut named)?;
        Ok(named)
    }

    fn manifests(
        &mut self,
        objects: &mut BTreeMap<(Position, VersionId), (String, u64)>,
        named: &mut Named,
    ) -> Result<(), StoreError> {
        let pages = self.each(Table::Manifest, |key, value| {
            Ok((key.to_vec(), decode::<ManifestRow>(Table::Manifest, value)?))
        })?;
        let mut sizes: BTreeMap<(Position, VersionId), u64> = BTreeMap::new();
        for (row_key, page) in pages {
            let of =
                (position(&row_key), VersionId::from_slice(&row_key[2..18]).unwrap_or_default());
            if !objects.contains_key(&of) {
                self.wrong.push(format!("manifest of {:?} is nobody's", of.1));
            }
            for part in page.parts {
                let size = sizes.entry(of).or_default();
                if part.offset != *size {
                    self.wrong
                        .push(format!("manifest of {:?}: part {} is misplaced", of.1, part.number));
                }
                *size += part.part.size;
                named.insert((of.0, part.part.data), part.part.size);
            }
        }
        for (of, (what, size)) in std::mem::take(objects) {
            let found = sizes.get(&of).copied().unwrap_or(0);
            if found != size {
                self.wrong.push(format!("{what}: {size} bytes, and its parts have {found}"));
            }
        }
        Ok(())
    }

    /// Open uploads and their parts.
    fn uploads(
        &mut self,
        counters: &mut BTreeMap<BucketId, CounterRow>,
        named: &mut Named,
    ) -> Result<(), StoreError> {
        let rows = self.each(Table::Upload, |key, value| {
            Ok((key.to_vec(), decode::<UploadRow>(Table::Upload, value)?))
        })?;
        let mut open = BTreeSet::new();
        for (row_key, row) in rows {
            if row.is_open() {
                let bucket = BucketId::from_slice(&row_key[2..18]).unwrap_or_default();
                counters.entry(bucket).or_default().uploads += 1;
                open.extend(key::upload_parts(&row_key).map(|(_, id)| (position(&row_key), id)));
            }
        }
        let parts = self.each(Table::Part, |key, value| {
            Ok((key.to_vec(), decode::<PartRow>(Table::Part, value)?))
        })?;
        for (row_key, part) in parts {
            let of =
                (position(&row_key), VersionId::from_slice(&row_key[2..18]).unwrap_or_default());
            if !open.contains(&of) {
                self.wrong.push(format!("part of {:?}, which is not open", of.1));
            }
            named.insert((of.0, part.data), part.size);
        }
        for (_, job) in queued(self.snapshot)? {
            if let Job::DropPart { position, upload, data, .. } = job
                && open.contains(&(position, upload))
            {
                // A part that was sent again: a completion that is still to come may name it. How long it was, nobody knows.
                named.insert((position, data), u64::MAX);
            }
        }
        Ok(())
    }

    fn intents(
        &mut self,
        runs: &dyn Fn(u64, NodeId) -> bool,
        named: &mut Named,
    ) -> Result<(), StoreError> {
        let rows = self.each(Table::Intent, |key, value| {
            Ok((key.to_vec(), decode::<IntentRow>(Table::Intent, value)?))
        })?;
        for (row_key, row) in rows {
            if let IntentRow::Writing { boot: writer, node } = row {
                let id = VersionId::from_slice(&row_key[2..18]).unwrap_or_default();
                if runs(writer, node) {
                    // Somebody may still be writing; how much, nobody knows.
                    named.insert((position(&row_key), id), u64::MAX);
                } else {
                    self.wrong.push(format!("intent {id:?} of boot {writer} still stands"));
                }
            }
        }
        Ok(())
    }

    /// Counters are those of a recount of this node's rows.
    fn counters(&mut self) -> Result<(), StoreError> {
        let mut recount = Check { snapshot: self.snapshot, wrong: Vec::new() };
        let mut counted = BTreeMap::new();
        let mut named = recount.objects(&mut counted)?;
        recount.uploads(&mut counted, &mut named)?;
        let rows = self.each(Table::Counter, |key, value| {
            let bucket = BucketId::from_slice(key).unwrap_or_default();
            Ok((bucket, decode::<CounterRow>(Table::Counter, value)?))
        })?;
        let stored: BTreeMap<BucketId, CounterRow> = rows.into_iter().collect();
        if stored != counted {
            self.wrong.push(format!("counters say {stored:?}, a recount {counted:?}"));
        }
        Ok(())
    }

    /// Block lists: whole for everything that is named, and none besides. Gives who lists which block.
    fn lists(&mut self, named: &Named) -> Result<BTreeSet<(Hash, VersionId)>, StoreError> {
        let rows = self.each(Table::BlockList, |key, value| {
            Ok((key.to_vec(), decode::<BlockListRow>(Table::BlockList, value)?))
        })?;
        let mut listed = BTreeSet::new();
        let mut sizes: BTreeMap<(Position, VersionId), u64> = BTreeMap::new();
        for (row_key, row) in rows {
            let id = VersionId::from_slice(&row_key[2..18]).unwrap_or_default();
            let of = (position(&row_key), id);
            listed.insert((row.block, id));
            if !named.contains_key(&of) {
                self.wrong.push(format!("block list of {id:?} is nobody's"));
            }
            let size = sizes.entry(of).or_default();
            if key::block_list_offset(&row_key) != Some(*size) && named.get(&of) != Some(&u64::MAX)
            {
                self.wrong.push(format!("block list of {id:?} has a hole at {size}"));
            }
            *size += u64::from(row.len);
        }
        for (of, size) in named {
            let found = sizes.get(of).copied().unwrap_or(0);
            if found != *size && *size != u64::MAX {
                self.wrong
                    .push(format!("data {:?}: {size} bytes, and its blocks have {found}", of.1));
            }
        }
        Ok(listed)
    }

    /// The live references, as (block, data).
    fn live(&self) -> Result<BTreeSet<(Hash, VersionId)>, StoreError> {
        let rows = self.each(Table::BlockRef, |key, value| {
            Ok((key.to_vec(), decode::<BlockRefRow>(Table::BlockRef, value)?))
        })?;
        let mut live = BTreeSet::new();
        for (row_key, row) in rows {
            let block = Hash::from_slice(&row_key[..32]).unwrap_or_default();
            let data = VersionId::from_slice(&row_key[32..]).unwrap_or_default();
            if row.is_live() {
                live.insert((block, data));
            }
        }
        Ok(live)
    }

    /// References are those of the block lists.
    fn references(&mut self, listed: &BTreeSet<(Hash, VersionId)>) -> Result<(), StoreError> {
        let live = self.live()?;
        for (block, data) in listed.difference(&live) {
            self.wrong.push(format!("{data:?} lists block {block:?} without a reference"));
        }
        for (block, data) in live.difference(listed) {
            self.wrong.push(format!("{data:?} refers to block {block:?} and does not list it"));
        }
        Ok(())
    }

    /// Blocks are counted as often as they are referred to here. Gives the blocks counted.
    fn counts(&mut self) -> Result<BTreeSet<Hash>, StoreError> {
        let mut counts: BTreeMap<Hash, u64> = BTreeMap::new();
        for (block, _) in self.live()? {
            *counts.entry(block).or_default() += 1;
        }
        let rows = self.each(Table::BlockCount, |key, value| {
            let block = Hash::from_slice(key).unwrap_or_default();
            Ok((block, decode::<BlockCountRow>(Table::BlockCount, value)?.refs))
        })?;
        let stored: BTreeMap<Hash, u64> = rows.into_iter().collect();
        if stored != counts {
            self.wrong.push(format!("blocks are counted {stored:?}, a recount gives {counts:?}"));
        }
        Ok(stored.into_keys().collect())
    }

    /// Files are those of the blocks counted, and nothing else is left in the data directory.
    fn files_fit(&mut self, host: &Host, blocks: &BTreeSet<Hash>) {
        let mut found = BTreeSet::new();
        for path in host.disk().mem.files() {
            let name = path.rsplit('/').next().unwrap_or_default();
            match Hash::from_hex(name.trim_end_matches(".zst")) {
                Some(block) if path.contains("/blocks/") => drop(found.insert(block)),
                Some(_) | None if path.contains("/blocks/") || path.contains("/tmp/") => {
                    self.wrong.push(format!("{path} is left over"));
                }
                Some(_) | None => {}
            }
        }
        for block in found.difference(blocks) {
            self.wrong.push(format!("the file of block {block:?} is nobody's"));
        }
        for block in blocks.difference(&found) {
            self.wrong.push(format!("block {block:?} has no file"));
        }
    }
}

fn position(row_key: &[u8]) -> Position {
    Position(u16::from_be_bytes([row_key[0], row_key[1]]))
}

/// The queued work of a node, or of several together, and when it is due.
fn queued(snapshot: &dyn Snapshot) -> Result<Vec<(Timestamp, Job)>, StoreError> {
    let mut jobs = Vec::new();
    let mut cursor = snapshot.cursor(Table::Queue, &[], None)?;
    while cursor.advance()? {
        let due = cursor.key().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        jobs.push((Timestamp(due), table::decode(Table::Queue, cursor.value())?));
    }
    Ok(jobs)
}

/// Whether a host that runs has work queued.
pub fn has_work(host: &Host) -> bool {
    let look = |snapshot: &dyn Snapshot| snapshot.cursor(Table::Queue, &[], None)?.advance();
    host.stores().is_some_and(|(db, _)| db.look(look).unwrap_or(true))
}

/// The work that is queued on a host: how many jobs, and the first in words.
/// `None` if there is none.
pub fn to_do(host: &Host) -> Result<Option<String>, String> {
    let Some((db, _)) = host.stores() else { return Err("the node is not running".into()) };
    let jobs = db.look(queued).map_err(|error| error.to_string())?;
    let first = jobs.first().map(|(due, job)| {
        let job: String = format!("{job:?}").chars().take(120).collect();
        format!("{} jobs queued, the first due at {}: {job}", jobs.len(), due.0)
    });
    Ok(first)
}
