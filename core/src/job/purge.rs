//! Gives up a block that is lost for good, and with it every object and open upload that has it.

use std::collections::{BTreeMap, BTreeSet};

use super::{PAGE, damaged, scan};
use crate::{
    effect::PeerError,
    id::{Hash, Position, VersionId},
    quorum,
    store::{Batch, Guard, Op, Outcome, Read, Table},
    table::{
        self,
        block::BlockRefRow,
        key,
        object::{Content, ObjectRow},
        upload::{ManifestRow, PartRow, UploadRow},
    },
    task::Cx,
    view::View,
};

/// References that one purge follows: 16 bytes each. Whoever has more runs it again.
pub const REFS_MAX: usize = 10_000;

/// Manifest pages read at a time: 500 parts each, about 40 KiB.
const MANIFEST_PAGE: usize = 2;

/// What was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Objects that were deleted.
    pub objects: u64,
    /// Open uploads that were aborted.
    pub uploads: u64,
    /// References that do not say where their data is: of before there were several nodes.
    pub unknown: u64,
    /// Whether there are more references than one purge follows.
    pub more: bool,
}

/// Deletes every object that has this block, and aborts every open upload that has it. Reads all index rows of the shards that these
/// are in.
///
/// # Errors
/// What a quorum of replicas reports. What was given up before that stays given up; the purge may be run again.
pub async fn purge(cx: Cx, view: &View, block: Hash) -> Result<Purged, PeerError> {
    let from = key::block_count(block);
    let until = key::after_prefix(&from);
    let read = Read::Scan { table: Table::BlockRef, from, until, limit: REFS_MAX };
    let rows = quorum::read(cx, view, Position::of_block(block), read).await?.into_rows();
    let mut purged = Purged { more: rows.len() >= REFS_MAX, ..Purged::default() };
    let mut by_owner: BTreeMap<Position, BTreeSet<VersionId>> = BTreeMap::new();
    for (row_key, value) in rows {
        let data = row_key.get(32..).and_then(VersionId::from_slice);
        let data = data.ok_or_else(|| damaged(Table::BlockRef, &row_key))?;
        match table::decode(Table::BlockRef, &value).map_err(PeerError::Store)? {
            BlockRefRow::Live { owner: Some(owner) } => {
                by_owner.entry(owner).or_default().insert(data);
            }
            BlockRefRow::Live { owner: None } => purged.unknown += 1,
            BlockRefRow::Dropped => {}
        }
    }
    for (position, data) in by_owner {
        at_position(cx, view, position, &data, &mut purged).await?;
    }
    Ok(purged)
}

async fn at_position(
    cx: Cx,
    view: &View,
    position: Position,
    data: &BTreeSet<VersionId>,
    purged: &mut Purged,
) -> Result<(), PeerError> {
    let mut uploads = BTreeSet::new();
    for table in [Table::Manifest, Table::Part] {
        let mut rows = Rows::new(position, table);
        while let Some(page) = rows.next(cx, view).await? {
            for (row_key, value) in page {
                if has_any(table, &value, data)? {
                    let upload = row_key.get(2..18).and_then(VersionId::from_slice);
                    uploads.insert(upload.ok_or_else(|| damaged(table, &row_key))?);
                }
            }
        }
    }
    let mut rows = Rows::new(position, Table::Object);
    while let Some(page) = rows.next(cx, view).await? {
        for (row_key, value) in page {
            let row: ObjectRow = table::decode(Table::Object, &value).map_err(PeerError::Store)?;
            let gone = match &row.content {
                Content::Blocks(_, listed) => data.contains(&listed.data),
                Content::Parts(_, parts) => uploads.contains(&parts.upload),
                Content::Deleted | Content::Inline(_) => false,
            };
            if gone {
                let version = cx.version_past(row.version.stamp());
                let tombstone = table::encode(&ObjectRow { version, content: Content::Deleted });
                let changed = replace(cx, view, position, Table::Object, row_key, value, tombstone);
                purged.objects += u64::from(changed.await?);
            }
        }
    }
    let mut rows = Rows::new(position, Table::Upload);
    while let Some(page) = rows.next(cx, view).await? {
        for (row_key, value) in page {
            let row: UploadRow = table::decode(Table::Upload, &value).map_err(PeerError::Store)?;
            let parts = key::upload_parts(&row_key);
            let (_, upload) = parts.ok_or_else(|| damaged(Table::Upload, &row_key))?;
            if row.is_open() && uploads.contains(&upload) {
                let closed = table::encode(&UploadRow::Closed { etag: None });
                let changed = replace(cx, view, position, Table::Upload, row_key, value, closed);
                purged.uploads += u64::from(changed.await?);
            }
        }
    }
    Ok(())
}

/// Whether a part, or one of a manifest's, is of this data.
fn has_any(table: Table, value: &[u8], data: &BTreeSet<VersionId>) -> Result<bool, PeerError> {
    let found = if table == Table::Part {
        table::decode::<PartRow>(table, value).map(|row| data.contains(&row.data))
    } else {
        table::decode::<ManifestRow>(table, value)
            .map(|row| row.parts.iter().any(|part| data.contains(&part.part.data)))
    };
    found.map_err(PeerError::Store)
}

/// Writes a row where it is as it was read: what has been written since has another block.
async fn replace(
    cx: Cx,
    view: &View,
    position: Position,
    table: Table,
    key: Vec<u8>,
    before: Vec<u8>,
    value: Vec<u8>,
) -> Result<bool, PeerError> {
    let unchanged = Guard::Unchanged { table, key: key.clone(), value: before };
    let op = Op::Merge { table, key, value, inline: None };
    let batch = Batch::new(cx.now().wall, vec![op]).guarded(unchanged);
    let outcome = quorum::write(cx, view, position, batch).await?;
    Ok(matches!(outcome, Outcome::Applied(_)))
}

/// All rows of a position, for a quorum of its replicas, page by page.
struct Rows {
    position: Position,
    table: Table,
    from: Option<Vec<u8>>,
}

impl Rows {
    fn new(position: Position, table: Table) -> Self {
        Self { position, table, from: Some(position.0.to_be_bytes().to_vec()) }
    }

    async fn next(
        &mut self,
        cx: Cx,
        view: &View,
    ) -> Result<Option<Vec<(Vec<u8>, Vec<u8>)>>, PeerError> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let range = (from, key::after_prefix(&self.position.0.to_be_bytes()));
        let limit = if self.table == Table::Manifest { MANIFEST_PAGE } else { PAGE };
        let page = scan(cx, view, self.position, self.table, range, limit).await?;
        self.from = page.next;
        Ok(Some(page.rows))
    }
}
