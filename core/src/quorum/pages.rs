//! Several replicas' pages of one listing as one page. Pure.
//!
//! A page that was cut says nothing of what comes after its last entry, so the merged page ends where the first of these does.
//! Up to there, each row is the merge of what a read quorum has of it, tombstones included. A common prefix is certain if a read
//! quorum names the same live row under it; otherwise it may be there because one replica has missed a deletion.

use std::collections::BTreeMap;

use crate::{
    id::VersionId,
    store::{Entry, From, List, Listing, StoreError, Table, Witness},
    table::{self, merge, object, upload::UploadRow},
};

/// Where an entry stands in a listing: key or prefix, and in listings of uploads the upload.
type Place = (Vec<u8>, Option<VersionId>);

/// A page, merged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Live rows and prefixes, in order.
    pub entries: Vec<Line>,
    /// Where the next page begins, if there may be more.
    pub next: Option<From>,
}

/// An entry of a merged page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub entry: Entry,
    /// Whether a read quorum agrees on it.
    pub certain: bool,
}

/// What is known of one place.
enum Slot {
    Row(Vec<u8>),
    Prefix(BTreeMap<(u16, u64), usize>),
}

fn place(entry: &Entry) -> Place {
    match entry {
        Entry::Row { key, upload, .. } => (key.clone(), *upload),
        Entry::CommonPrefix { prefix, .. } => (prefix.clone(), None),
    }
}

/// Merges `pages`, each of which covers some of the shards. `need` says how many replicas make a read quorum of a shard.
pub(super) fn merge(
    list: &List,
    pages: Vec<Listing>,
    need: impl Fn(u16) -> usize,
) -> Result<Merged, StoreError> {
    let cut = pages.iter().filter(|page| page.truncated);
    let bound = cut.filter_map(|page| page.entries.last().map(place)).min();
    let mut slots: BTreeMap<Place, Slot> = BTreeMap::new();
    for entry in pages.into_iter().flat_map(|page| page.entries) {
        let at = place(&entry);
        if bound.as_ref().is_some_and(|bound| at > *bound) {
            continue;
        }
        let slot = match (entry, slots.remove(&at)) {
            (Entry::Row { value, .. }, Some(Slot::Row(other))) => {
                Slot::Row(merge::encoded(list.table, other, value)?)
            }
            (Entry::Row { value, .. }, Some(Slot::Prefix(_)) | None) => Slot::Row(value),
            (Entry::CommonPrefix { witnesses, .. }, other) => {
                let mut seen = match other {
                    Some(Slot::Prefix(seen)) => seen,
                    Some(Slot::Row(_)) | None => BTreeMap::new(),
                };
                for Witness { shard, mark } in witnesses {
                    *seen.entry((shard, mark)).or_insert(0) += 1;
                }
                Slot::Prefix(seen)
            }
        };
        slots.insert(at, slot);
    }
    let mut entries = Vec::with_capacity(slots.len());
    for ((key, upload), slot) in slots {
        match slot {
            Slot::Row(value) if is_live(list.table, &value)? => {
                entries.push(Line { entry: Entry::Row { key, upload, value }, certain: true });
            }
            Slot::Row(_) => {}
            Slot::Prefix(seen) => {
                let certain = seen.into_iter().any(|((shard, _), times)| times >= need(shard));
                let entry = Entry::CommonPrefix { prefix: key, witnesses: Vec::new() };
                entries.push(Line { entry, certain });
            }
        }
    }
    let next = bound.map(|(key, upload)| match upload {
        Some(upload) => From::AfterUpload(key, upload),
        None => From::After(key),
    });
    Ok(Merged { entries, next })
}

fn is_live(table: Table, value: &[u8]) -> Result<bool, StoreError> {
    if table == Table::Upload {
        return Ok(table::decode::<UploadRow>(table, value)?.is_open());
    }
    object::is_live(value)
}
