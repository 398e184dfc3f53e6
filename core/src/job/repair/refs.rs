//! Repairs of references: those whose data is gone, and blocks that data lists without referring to them.
//!
//! A reference is taken for garbage if its data is two days old and lists no block at all any more: data is dropped as a whole,
//! its list last. So the check of one reference costs one row, however long the list.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::PAGE, AGE, RepairRow, is_first};
use crate::{
    effect::PeerError,
    flow::Window,
    id::{Hash, Position, VersionId},
    job::{commit, damaged, scan_local},
    quorum,
    s3::ingest::unrefer,
    store::{Op, Read, Table},
    table::{
        self,
        block::{BlockListRow, BlockRefRow},
        key,
        upload::IntentRow,
    },
    task::Cx,
    view::View,
};

/// Questions to other nodes under way at a time.
const WINDOW: usize = 16;

/// Goes on: first over references, then over lists.
pub(super) async fn page(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    if row.pass == 0 {
        if !references(cx, view, row).await? {
            row.pass = 1;
        }
        return Ok(true);
    }
    lists(cx, view, row).await
}

/// Drops those of the next references whose data is gone.
async fn references(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    let from = row.after.clone();
    let page = scan_local(cx, view, Table::BlockRef, from, None, PAGE).await?;
    let mut by_data: BTreeMap<(Position, VersionId), Vec<Hash>> = BTreeMap::new();
    for (row_key, value) in &page.rows {
        let (block, data) = parse(row_key)?;
        let reference = table::decode(Table::BlockRef, value).map_err(PeerError::Store)?;
        let old = data.stamp().wall().after(AGE) < cx.now().wall;
        if let BlockRefRow::Live { owner: Some(owner) } = reference
            && old
            && is_first(view, Position::of_block(block))
        {
            row.checked += 1;
            by_data.entry((owner, data)).or_default().push(block);
        }
    }
    let mut window = Window::new(WINDOW);
    let mut gone = BTreeSet::new();
    for (owner, data) in by_data.keys().copied() {
        if window.is_full() {
            gone.extend(window.next().await.expect("a full window is not empty")?);
        }
        window.push(is_gone(cx, view, owner, data));
    }
    while let Some(found) = window.next().await {
        gone.extend(found?);
    }
    for ((_, data), blocks) in by_data {
        if gone.contains(&data) {
            for block in blocks {
                drop_reference(cx, view, block, data).await?;
                row.repaired += 1;
            }
        }
    }
    Ok(row.go_on(page.next))
}

fn parse(row_key: &[u8]) -> Result<(Hash, VersionId), PeerError> {
    let parts = row_key
        .split_at_checked(32)
        .and_then(|(block, data)| Some((Hash::from_slice(block)?, VersionId::from_slice(data)?)));
    parts.ok_or_else(|| damaged(Table::BlockRef, row_key))
}

/// The data, if it lists nothing and nobody is writing it.
async fn is_gone(
    cx: Cx,
    view: &View,
    owner: Position,
    data: VersionId,
) -> Result<Option<VersionId>, PeerError> {
    let mut from = key::block_list(owner, data, 0);
    from.truncate(from.len() - size_of::<u64>());
    let until = key::after_prefix(&from);
    let read = Read::Scan { table: Table::BlockList, from, until, limit: 1 };
    if !quorum::read(cx, view, owner, read).await?.into_rows().is_empty() {
        return Ok(None);
    }
    let intent = Read::Get(vec![(Table::Intent, key::intent(owner, data))]);
    let intent = quorum::read(cx, view, owner, intent).await?.into_values().pop().flatten();
    let intent = intent.map(|value| table::decode::<IntentRow>(Table::Intent, &value));
    Ok(match intent.transpose().map_err(PeerError::Store)? {
        // Whoever gives it up drops what it has.
        Some(IntentRow::Writing { .. } | IntentRow::Abandoned) => None,
        Some(IntentRow::Done | IntentRow::Dropped) | None => Some(data),
    })
}

async fn drop_reference(
    cx: Cx,
    view: &View,
    block: Hash,
    data: VersionId,
) -> Result<(), PeerError> {
    commit(cx, view, Position::of_block(block), vec![unrefer(view, block, data)]).await
}

fn reference(key: Vec<u8>, row: BlockRefRow) -> Op {
    Op::Merge { table: Table::BlockRef, key, value: table::encode(&row), inline: None }
}

/// Gives the next listed blocks their references back.
async fn lists(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    let from = row.after.clone();
    let page = scan_local(cx, view, Table::BlockList, from, None, PAGE).await?;
    let mut window = Window::new(WINDOW);
    for (row_key, value) in page.rows {
        let listed = table::decode::<BlockListRow>(Table::BlockList, &value);
        let block = listed.map_err(PeerError::Store)?.block;
        let malformed = || damaged(Table::BlockList, &row_key);
        let position = row_key.first_chunk().map(|bytes| Position(u16::from_be_bytes(*bytes)));
        let position = position.ok_or_else(malformed)?;
        let data = row_key.get(2..18).and_then(VersionId::from_slice).ok_or_else(malformed)?;
        let old = data.stamp().wall().after(AGE) < cx.now().wall;
        if !old || !is_first(view, position) {
            continue;
        }
        row.checked += 1;
        if window.is_full() {
            let repaired = window.next().await.expect("a full window is not empty")?;
            row.repaired += u64::from(repaired);
        }
        window.push(refer(cx, view, position, row_key, data, block));
    }
    while let Some(repaired) = window.next().await {
        row.repaired += u64::from(repaired?);
    }
    Ok(row.go_on(page.next))
}

/// Whether a listed block had no reference and has one now.
async fn refer(
    cx: Cx,
    view: &View,
    owner: Position,
    list_key: Vec<u8>,
    data: VersionId,
    block: Hash,
) -> Result<bool, PeerError> {
    let (at, ref_key) = (Position::of_block(block), key::block_ref(block, data));
    let there = Read::Get(vec![(Table::BlockRef, ref_key.clone())]);
    if quorum::read(cx, view, at, there).await?.into_values() != [None] {
        return Ok(false);
    }
    // References are dropped before the list: if it is still there, nobody is dropping it.
    let keys = vec![(Table::BlockList, list_key), (Table::Intent, key::intent(owner, data))];
    let rows = quorum::read(cx, view, owner, Read::Get(keys)).await?.into_values();
    let [Some(_), intent] = &rows[..] else { return Ok(false) };
    let intent = intent.as_ref().map(|value| table::decode::<IntentRow>(Table::Intent, value));
    if let Some(IntentRow::Dropped | IntentRow::Abandoned) =
        intent.transpose().map_err(PeerError::Store)?
    {
        return Ok(false);
    }
    log::warn!("block {block} was listed by data {data} without a reference");
    let row = BlockRefRow::Live { owner: Some(owner) };
    commit(cx, view, at, vec![reference(ref_key, row)]).await?;
    Ok(true)
}
