//! What a multipart upload leaves behind: everything of an aborted one or of a deleted object, the unused parts of a
//! completed one.

use std::collections::BTreeSet;

use super::{
    PAGE, Page, commit, commit_local, remove, rest, scan, scan_local,
    void::{self, Listed, Proof},
};
use crate::{
    effect::PeerError,
    id::{Position, VersionId},
    node::pace::Work,
    quorum,
    s3::ingest::intent_row,
    store::{Op, Read, Table},
    table::{
        self, key,
        queue::Job,
        upload::{IntentRow, ManifestRow, PartRow},
    },
    task::Cx,
    view::View,
};

/// Manifest pages read at a time: 500 parts each, about 40 KiB.
const MANIFEST_PAGE: usize = 2;

/// Drops an upload of one replica: queues the data of every part for dropping, and forgets the parts and the manifest. What is queued and the row that led to
/// it change hands in one transaction.
pub(super) async fn drop_upload(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
) -> Result<(), PeerError> {
    let whose = Whose { cx, view, position, own: false };
    whose.drop_parts(upload, &BTreeSet::new()).await?;
    whose.drop_manifest(upload).await
}

/// Removes what this node has of an upload that is dropped.
pub(super) async fn clear(cx: Cx, view: &View, listed: Listed) -> Result<(), PeerError> {
    let Listed { position, id } = listed;
    let whose = Whose { cx, view, position, own: true };
    whose.drop_parts(id, &BTreeSet::new()).await?;
    whose.drop_manifest(id).await
}

/// Queues the data of those parts for dropping that the completed object does not name, and forgets all part rows. The object
/// may have been deleted since: then its manifest is gone or going, and whatever part is left goes too. False if that is to be
/// looked at again later.
pub(super) async fn tidy_upload(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
) -> Result<bool, PeerError> {
    if !view.ring.holds(view.node, position) {
        // It is others' now. They have heard of the completion themselves, and rows that are left here are offloaded. Until
        // then a further layout may give the position back to this node, with these rows.
        let (from, until) = range(key::part(position, upload, 0));
        let left = scan_local(cx, view, Table::Part, from, until, 1).await?;
        return Ok(left.rows.is_empty());
    }
    let mut named = named(cx, view, position, upload).await?;
    let listed = Listed { position, id: upload };
    let own = !quorum::is_sole(view, position);
    if own {
        let fate = void::fate(cx, view, listed).await?;
        if fate == Some(IntentRow::Dropped) {
            // The object is gone already, and so is the upload.
            return Ok(true);
        }
        if named.is_empty() || has_others(cx, view, listed, &named).await? {
            // A completion may have been applied where nobody was asked.
            named = named_anywhere(cx, view, listed).await?;
        }
        if named.is_empty() {
            return drop_unnamed(cx, view, listed).await.map(|()| true);
        }
        if fate != Some(IntentRow::Done) {
            // From now on rows of parts are void, whoever brings them.
            commit(cx, view, position, vec![intent_row(position, upload, IntentRow::Done)]).await?;
        }
    }
    Whose { cx, view, position, own }.drop_parts(upload, &named).await.map(|()| true)
}

/// Ends what is left of an upload that was completed, as is said here, and that nobody knows an object of: the object has been
/// deleted, and what was remembered of that is forgotten, or its only copy is lost. What is done about an aborted upload is
/// right for it too: if there is an object after all, it is kept.
async fn drop_unnamed(cx: Cx, view: &View, listed: Listed) -> Result<(), PeerError> {
    if void::abandon(cx, view, listed, Proof::Manifest).await? {
        log::debug!("upload {:?}: its object is gone", listed.id);
        Ok(())
    } else {
        Err(PeerError::Syncing)
    }
}

/// Whether this node has a part whose data is not among those.
async fn has_others(
    cx: Cx,
    view: &View,
    Listed { position, id }: Listed,
    named: &BTreeSet<VersionId>,
) -> Result<bool, PeerError> {
    let (mut from, until) = range(key::part(position, id, 0));
    loop {
        let page = scan_local(cx, view, Table::Part, from, until.clone(), PAGE).await?;
        for (_, value) in &page.rows {
            let row = table::decode::<PartRow>(Table::Part, value).map_err(PeerError::Store)?;
            if !named.contains(&row.data) {
                return Ok(true);
            }
        }
        match page.next {
            Some(next) => from = next,
            None => return Ok(false),
        }
    }
}

/// The data that the completed object is made of; nothing if there is no such object.
async fn named(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
) -> Result<BTreeSet<VersionId>, PeerError> {
    // At most 10,000 ids of 16 bytes.
    let mut named = BTreeSet::new();
    let (mut from, until) = range(key::manifest(position, upload, 0));
    loop {
        let range = (from, until.clone());
        let page = scan(cx, view, position, Table::Manifest, range, MANIFEST_PAGE).await?;
        add_named(&mut named, &page)?;
        match page.next {
            Some(next) => from = next,
            None => return Ok(named),
        }
    }
}

/// The same by what any holder says. Each has to answer: the one that does not may be the one that knows.
async fn named_anywhere(
    cx: Cx,
    view: &View,
    Listed { position, id }: Listed,
) -> Result<BTreeSet<VersionId>, PeerError> {
    let mut named = BTreeSet::new();
    for node in view.ring.holders(position) {
        let (mut from, until) = range(key::manifest(position, id, 0));
        loop {
            let (table, limit) = (Table::Manifest, MANIFEST_PAGE);
            let read = Read::Scan { table, from, until: until.clone(), limit };
            let page = Page::new(cx.read(node, read).await?.into_rows(), limit);
            add_named(&mut named, &page)?;
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
    }
    Ok(named)
}

fn add_named(named: &mut BTreeSet<VersionId>, page: &Page) -> Result<(), PeerError> {
    for (_, value) in &page.rows {
        let row = table::decode::<ManifestRow>(Table::Manifest, value);
        named.extend(row.map_err(PeerError::Store)?.parts.iter().map(|part| part.part.data));
    }
    Ok(())
}

/// Drops the data of a part that was sent again, where several nodes hold it. False if the upload is still open: until it is
/// closed, a completion that has read the earlier part may yet make the object of it.
pub(super) async fn drop_part(
    cx: Cx,
    view: &View,
    position: Position,
    upload: VersionId,
    data: VersionId,
) -> Result<bool, PeerError> {
    let intent = Read::Get(vec![(Table::Intent, key::intent(position, upload))]);
    let value = quorum::read(cx, view, position, intent).await?.into_values().into_iter().flatten();
    let fate = value.map(|value| table::decode(Table::Intent, &value)).next().transpose();
    let fate: Option<IntentRow> = fate.map_err(PeerError::Store)?;
    match fate {
        Some(IntentRow::Dropped) => {}
        Some(IntentRow::Done) => {
            if is_named(cx, view, Listed { position, id: upload }, data).await? {
                return Ok(true);
            }
        }
        None | Some(IntentRow::Writing { .. } | IntentRow::Abandoned) => {
            // An open upload has a part of this number at least. Without, all that was remembered of its end is forgotten.
            let parts = range(key::part(position, upload, 0));
            let open = !scan(cx, view, position, Table::Part, parts, 1).await?.rows.is_empty();
            // In this order: whoever removes the last part has read the manifest before.
            if open {
                return Ok(false);
            }
            if is_named(cx, view, Listed { position, id: upload }, data).await? {
                return Ok(true);
            }
        }
    }
    void::give_up(cx, view, Listed { position, id: data }).await?;
    Ok(true)
}

/// Whether the object that has come of an upload is made of this data, as far as any holder knows.
async fn is_named(cx: Cx, view: &View, upload: Listed, data: VersionId) -> Result<bool, PeerError> {
    Ok(named(cx, view, upload.position, upload.id).await?.contains(&data)
        || named_anywhere(cx, view, upload).await?.contains(&data))
}

/// Whose rows of an upload go: those of all replicas, or this node's own.
struct Whose<'a> {
    cx: Cx,
    view: &'a View,
    position: Position,
    own: bool,
}

impl Whose<'_> {
    async fn scan(&self, table: Table, range: KeyRange, limit: usize) -> Result<Page, PeerError> {
        if self.own {
            scan_local(self.cx, self.view, table, range.0, range.1, limit).await
        } else {
            scan(self.cx, self.view, self.position, table, range, limit).await
        }
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<(), PeerError> {
        if ops.is_empty() {
            Ok(())
        } else if self.own {
            commit_local(self.cx, self.view, ops).await
        } else {
            commit(self.cx, self.view, self.position, ops).await
        }
    }

    /// Forgets the part rows of an upload, and queues the data of those not in `spared` for dropping.
    async fn drop_parts(
        &self,
        upload: VersionId,
        spared: &BTreeSet<VersionId>,
    ) -> Result<(), PeerError> {
        loop {
            let began = self.cx.now().mono;
            let range = range(key::part(self.position, upload, 0));
            let page = self.scan(Table::Part, range, PAGE).await?;
            let mut ops = Vec::with_capacity(2 * page.rows.len());
            for (row_key, value) in page.rows {
                let row = table::decode::<PartRow>(Table::Part, &value);
                let data = row.map_err(PeerError::Store)?.data;
                if !spared.contains(&data) {
                    ops.push(drop_data(self.cx, self.position, data));
                }
                ops.push(remove(Table::Part, row_key));
            }
            self.commit(ops).await?;
            if page.next.is_none() {
                return Ok(());
            }
            rest(self.cx, Work::Owed, began, 1).await;
        }
    }

    /// Forgets the manifest of an upload, and queues the data of all its parts for dropping.
    async fn drop_manifest(&self, upload: VersionId) -> Result<(), PeerError> {
        loop {
            let began = self.cx.now().mono;
            let range = range(key::manifest(self.position, upload, 0));
            let page = self.scan(Table::Manifest, range, MANIFEST_PAGE).await?;
            let mut ops = Vec::new();
            for (row_key, value) in page.rows {
                let row = table::decode::<ManifestRow>(Table::Manifest, &value);
                let parts = row.map_err(PeerError::Store)?.parts.into_iter();
                ops.extend(parts.map(|part| drop_data(self.cx, self.position, part.part.data)));
                ops.push(remove(Table::Manifest, row_key));
            }
            self.commit(ops).await?;
            if page.next.is_none() {
                return Ok(());
            }
            rest(self.cx, Work::Owed, began, 1).await;
        }
    }
}

/// First key, and first key not wanted.
type KeyRange = (Vec<u8>, Option<Vec<u8>>);

/// All rows of an upload, given the key of its first: position and upload, then a number of two bytes.
fn range(mut first: Vec<u8>) -> (Vec<u8>, Option<Vec<u8>>) {
    first.truncate(first.len() - size_of::<u16>());
    let until = key::after_prefix(&first);
    (first, until)
}

fn drop_data(cx: Cx, position: Position, data: VersionId) -> Op {
    Op::Enqueue { due: cx.now().wall, job: Job::DropData { position, data, unless: None } }
}
