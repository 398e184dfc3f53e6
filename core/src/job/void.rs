//! Dropping data and uploads that several nodes hold.
//!
//! First it is decided: the intent of the id becomes *dropped* on a write quorum, and from there spreads like any row. Each
//! replica that learns of it queues the rest for itself: rows under the id are void there and go, and references to its blocks
//! become tombstones, because who has not heard of it yet would bring them back otherwise.

use std::time::Duration;

use super::{PAGE, commit, commit_local, data, remove, rest, scan, scan_local, upload};
use crate::{
    effect::PeerError,
    id::{Hash, NodeId, Position, VersionId},
    node::pace::Work,
    quorum,
    s3::ingest::{intent_row, unrefer},
    store::{Read, Table},
    table::{
        self,
        block::{BlockListRow, BlockRefRow},
        key,
        object::{Content, ObjectRow},
        upload::IntentRow,
    },
    task::Cx,
    view::View,
};

/// Data or an upload: both are listed at a position, under an id, and have an intent there.
#[derive(Clone, Copy)]
pub(super) struct Listed {
    pub(super) position: Position,
    pub(super) id: VersionId,
}

/// Gives up what is listed under an id, unless the object row of key `unless` names it.
pub(super) async fn drop_listed(
    cx: Cx,
    view: &View,
    listed: Listed,
    unless: Option<&[u8]>,
) -> Result<(), PeerError> {
    if fate(cx, view, listed).await? == Some(IntentRow::Dropped) {
        return clear(cx, view, listed).await;
    }
    if let Some(row_key) = unless
        && is_named(cx, view, listed, row_key).await?
    {
        return Ok(());
    }
    give_up(cx, view, listed).await
}

/// The same where one node decides. What was given up while there were several has an intent that says so, which waits for everything
/// under it to go: parts and manifests too.
pub(super) async fn drop_sole(cx: Cx, view: &View, listed: Listed) -> Result<(), PeerError> {
    if fate(cx, view, listed).await? == Some(IntentRow::Dropped) {
        return clear(cx, view, listed).await;
    }
    data::drop_data(cx, view, listed.position, listed.id).await
}

/// Makes an id dropped on a write quorum; each replica that merges this, this node too, queues the rest. Where nothing is left of it,
/// this has happened long ago, and been forgotten by all: said again, it would have to be forgotten again.
pub(super) async fn give_up(cx: Cx, view: &View, listed: Listed) -> Result<(), PeerError> {
    if !is_known(cx, view, listed).await? {
        return Ok(());
    }
    let Listed { position, id } = listed;
    commit(cx, view, position, vec![intent_row(position, id, IntentRow::Dropped)]).await
}

/// Whether there is anything under an id: here, or with a read quorum.
async fn is_known(cx: Cx, view: &View, listed: Listed) -> Result<bool, PeerError> {
    let Listed { position, id } = listed;
    let from = key::intent(position, id);
    let until = key::after_prefix(&from);
    for table in [Table::Intent, Table::BlockList, Table::Part, Table::Manifest] {
        let range = (from.clone(), until.clone());
        let here = scan_local(cx, view, table, from.clone(), until.clone(), 1).await?;
        if !here.rows.is_empty()
            || !scan(cx, view, position, table, range, 1).await?.rows.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives up an upload that was aborted here, unless it was completed elsewhere: of the two that happen at once, on different
/// replicas, completion wins, as it does in the upload's row.
pub(super) async fn drop_aborted(cx: Cx, view: &View, listed: Listed) -> Result<(), PeerError> {
    match fate(cx, view, listed).await? {
        Some(IntentRow::Dropped) => clear(cx, view, listed).await,
        // The row that says so queues what is left to do.
        Some(IntentRow::Done) => Ok(()),
        None | Some(IntentRow::Writing { .. } | IntentRow::Abandoned) => {
            if !abandon(cx, view, listed, Proof::Manifest).await? {
                log::info!(
                    "upload {:?} was aborted and completed at once: it is complete",
                    listed.id
                );
            }
            Ok(())
        }
    }
}

/// What this node knows of an id's fate.
pub(super) async fn fate(
    cx: Cx,
    view: &View,
    listed: Listed,
) -> Result<Option<IntentRow>, PeerError> {
    let key = key::intent(listed.position, listed.id);
    let values = quorum::get_local(cx, view, vec![(Table::Intent, key)]).await?;
    let row = values.into_iter().flatten().next();
    row.map(|value| table::decode(Table::Intent, &value)).transpose().map_err(PeerError::Store)
}

/// Whether the object's current version is made of this after all: its writer went round again under a later version.
async fn is_named(cx: Cx, view: &View, listed: Listed, row_key: &[u8]) -> Result<bool, PeerError> {
    // As a client reads it: what stands in its place is on a write quorum then, and nobody is shown this version any more. It may
    // have been known here alone.
    let read = Read::Object { key: row_key.to_vec(), payload: false };
    let found = quorum::read(cx, view, listed.position, read).await?.into_object();
    let Some(found) = found else { return Ok(false) };
    let row: ObjectRow = table::decode(Table::Object, &found.row).map_err(PeerError::Store)?;
    Ok(match row.content {
        Content::Blocks(_, data) => data.data == listed.id,
        Content::Parts(_, parts) => parts.upload == listed.id,
        Content::Deleted | Content::Inline(_) => false,
    })
}

/// Removes what this node has under an id that is dropped.
async fn clear(cx: Cx, view: &View, listed: Listed) -> Result<(), PeerError> {
    upload::clear(cx, view, listed).await?;
    let Listed { position, id } = listed;
    let mut first = key::block_list(position, id, 0);
    first.truncate(first.len() - size_of::<u64>());
    let until = key::after_prefix(&first);
    loop {
        let began = cx.now().mono;
        let page =
            scan_local(cx, view, Table::BlockList, first.clone(), until.clone(), PAGE).await?;
        let mut blocks = Vec::with_capacity(page.rows.len());
        let mut ops = Vec::with_capacity(page.rows.len());
        for (row_key, value) in page.rows {
            let row = table::decode::<BlockListRow>(Table::BlockList, &value);
            blocks.push(row.map_err(PeerError::Store)?.block);
            ops.push(remove(Table::BlockList, row_key));
        }
        drop_references(cx, view, id, blocks).await?;
        if !ops.is_empty() {
            commit_local(cx, view, ops).await?;
        }
        if page.next.is_none() {
            return Ok(());
        }
        rest(cx, Work::Owed, began, 1).await;
    }
}

/// Drops the references of data to these blocks, in a batch for each replica set. The other replicas of the list do the same:
/// whoever comes late finds it done.
async fn drop_references(
    cx: Cx,
    view: &View,
    data: VersionId,
    blocks: Vec<Hash>,
) -> Result<(), PeerError> {
    // Not more groups than a page has rows.
    let mut groups: Vec<(Position, Vec<Hash>)> = Vec::new();
    for block in blocks {
        let at = Position::of_block(block);
        match groups.iter_mut().find(|(first, _)| quorum::same_replicas(view, *first, at)) {
            Some((_, blocks)) => blocks.push(block),
            None => groups.push((at, vec![block])),
        }
    }
    for (at, blocks) in groups {
        let keys = blocks.iter().map(|block| (Table::BlockRef, key::block_ref(*block, data)));
        let rows = quorum::read(cx, view, at, Read::Get(keys.collect())).await?.into_values();
        let mut ops = Vec::new();
        for (block, value) in blocks.into_iter().zip(rows) {
            let row = value.map(|value| table::decode::<BlockRefRow>(Table::BlockRef, &value));
            let is_dropped =
                row.transpose().map_err(PeerError::Store)? == Some(BlockRefRow::Dropped);
            if !is_dropped {
                ops.push(unrefer(view, block, data));
            }
        }
        if !ops.is_empty() {
            commit(cx, view, at, ops).await?;
        }
    }
    Ok(())
}

/// An intent of another node is not looked at before its data is this old: then its writer may not name it any more, and cannot
/// be disturbed. See [`Guard::Before`](crate::store::Guard::Before); an hour is for clocks that differ.
pub(super) fn foreign(view: &View) -> Duration {
    view.config.tombstone_delay + Duration::from_secs(3600)
}

/// What shows that an id was named, or completed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its intent is done, or it has a manifest.
    Any,
    /// It has a manifest: it is an upload. That its intent is done comes in the same batch, but may have come here without the
    /// rest and be all that is left of it.
    Manifest,
}

/// Drops the data of an intent whose writer is gone, or an upload that was aborted, unless some replica knows that it was named,
/// or completed. False if so.
///
/// First every replica is told that it is abandoned, so that a batch that names it and is still under way is refused
/// wherever it has not been applied yet. Then each is asked whether it was applied there. A replica that does not answer may be
/// the one that knows, so all have to.
pub(super) async fn abandon(
    cx: Cx,
    view: &View,
    listed: Listed,
    proof: Proof,
) -> Result<bool, PeerError> {
    let Listed { position, id } = listed;
    let holders = view.ring.holders(position);
    for node in &holders {
        let ops = vec![intent_row(position, id, IntentRow::Abandoned)];
        cx.commit(*node, crate::store::Batch::new(cx.now().wall, ops)).await?;
    }
    let mut verdict = IntentRow::Dropped;
    for node in holders {
        if is_proven(cx, node, listed, proof).await? {
            verdict = IntentRow::Done;
        }
    }
    commit(cx, view, position, vec![intent_row(position, id, verdict)]).await?;
    Ok(verdict == IntentRow::Dropped)
}

async fn is_proven(
    cx: Cx,
    node: NodeId,
    Listed { position, id }: Listed,
    proof: Proof,
) -> Result<bool, PeerError> {
    let from = key::manifest(position, id, 0);
    let until = Some(key::manifest(position, id, u16::MAX));
    let manifest = Read::Scan { table: Table::Manifest, from, until, limit: 1 };
    if !cx.read(node, manifest).await?.into_rows().is_empty() {
        return Ok(true);
    }
    match proof {
        Proof::Any => {
            let read = Read::Get(vec![(Table::Intent, key::intent(position, id))]);
            let value = cx.read(node, read).await?.into_values().into_iter().flatten().next();
            let row = value.map(|value| table::decode(Table::Intent, &value)).transpose();
            Ok(row.map_err(PeerError::Store)? == Some(IntentRow::Done))
        }
        Proof::Manifest => Ok(false),
    }
}
