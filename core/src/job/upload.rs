//! What a multipart upload leaves behind: everything of an aborted one or of a deleted object, the unused parts of a
//! completed one.

use std::collections::BTreeSet;

use super::{PAGE, commit, remove, rest, scan};
use crate::{
    effect::PeerError,
    id::{Position, VersionId},
    store::{Op, Table},
    table::{
        self, key,
        queue::Job,
        upload::{ManifestRow, PartRow},
    },
    task::Cx,
    view::View,
};

/// Manifest pages read at a time: 500 parts each, about 40 KiB.
const MANIFEST_PAGE: usize = 2;

/// Queues the data of every part for dropping, and forgets the parts and the manifest. What is queued and the row that led to
/// it change hands in one transaction.
pub(super) async fn drop_upload(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
) -> Result<(), PeerError> {
    drop_parts(cx, view, position, upload, &BTreeSet::new()).await?;
    loop {
        let began = cx.now().mono;
        let range = range(key::manifest(position, upload, 0));
        let page = scan(cx, view, position, Table::Manifest, range, MANIFEST_PAGE).await?;
        let mut ops = Vec::new();
        for (row_key, value) in page.rows {
            let row = table::decode::<ManifestRow>(Table::Manifest, &value);
            let parts = row.map_err(PeerError::Store)?.parts.into_iter();
            ops.extend(parts.map(|part| drop_data(cx, position, part.part.data)));
            ops.push(remove(Table::Manifest, row_key));
        }
        if !ops.is_empty() {
            commit(cx, view, position, ops).await?;
        }
        if page.next.is_none() {
            return Ok(());
        }
        rest(cx, began, 1).await;
    }
}

/// Queues the data of those parts for dropping that the completed object does not name, and forgets all part rows. The object
/// may have been deleted since: then its manifest is gone or going, and whatever part is left goes too.
pub(super) async fn tidy_upload(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
) -> Result<(), PeerError> {
    // At most 10,000 ids of 16 bytes.
    let mut named = BTreeSet::new();
    let (mut from, until) = range(key::manifest(position, upload, 0));
    loop {
        let range = (from, until.clone());
        let page = scan(cx, view, position, Table::Manifest, range, MANIFEST_PAGE).await?;
        for (_, value) in &page.rows {
            let row = table::decode::<ManifestRow>(Table::Manifest, value);
            named.extend(row.map_err(PeerError::Store)?.parts.iter().map(|part| part.part.data));
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    drop_parts(cx, view, position, upload, &named).await
}

/// Forgets the part rows of an upload, and queues the data of those not in `spared` for dropping.
async fn drop_parts(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
    spared: &BTreeSet<VersionId>,
) -> Result<(), PeerError> {
    loop {
        let began = cx.now().mono;
        let range = range(key::part(position, upload, 0));
        let page = scan(cx, view, position, Table::Part, range, PAGE).await?;
        let mut ops = Vec::with_capacity(2 * page.rows.len());
        for (row_key, value) in page.rows {
            let row = table::decode::<PartRow>(Table::Part, &value).map_err(PeerError::Store)?;
            if !spared.contains(&row.data) {
                ops.push(drop_data(cx, position, row.data));
            }
            ops.push(remove(Table::Part, row_key));
        }
        if !ops.is_empty() {
            commit(cx, view, position, ops).await?;
        }
        if page.next.is_none() {
            return Ok(());
        }
        rest(cx, began, 1).await;
    }
}

/// All rows of an upload, given the key of its first: position and upload, then a number of two bytes.
fn range(mut first: Vec<u8>) -> (Vec<u8>, Option<Vec<u8>>) {
    first.truncate(first.len() - size_of::<u16>());
    let until = key::after_prefix(&first);
    (first, until)
}

fn drop_data(cx: Cx, position: Position, data: VersionId) -> Op {
    Op::Enqueue { due: cx.now().wall, job: Job::DropData { position, data, unless: None } }
}
