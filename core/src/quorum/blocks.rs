//! Blocks: stored on a write quorum of their position, loaded from wherever a good copy is.

use std::time::Duration;

use super::{
    ask::{Plan, gather, order},
    get_local,
    write::to_sets,
};
use crate::{
    block::Payload,
    effect::PeerError,
    id::{Hash, Position},
    store::{Batch, Guard, Op, Outcome, Table},
    table::{key, queue::Job},
    task::Cx,
    view::View,
};

/// Sources that are asked for one block at a time: one, and another beside it when it is slow. More would only hold memory.
const LOADS: usize = 2;

/// How long a block may take to come, beside its round trips: 1 MiB over a line of 80 Mbit/s. A slower line is helped by asking
/// elsewhere only if it is slow by accident, and the first to come is taken.
const TRANSFER: Duration = Duration::from_millis(100);

/// Stores a block on a write quorum of its position, and with it the rows of `then`, which must belong to the same
/// replica set (ask [`same_replicas`](super::same_replicas)). Outcome and errors as in [`write`](super::write()).
pub async fn store_block(
    cx: Cx,
    view: &View,
    block: Payload,
    then: Batch,
) -> Result<Outcome, PeerError> {
    let sets = view.ring.write_sets(Position::of_block(block.hash()));
    to_sets(&sets, &[], |node| cx.store_block(node, block.clone(), then.clone())).await
}

/// Fetches a block from the nearest node that has it whole: a replica of any layout in force, or one that had to have it in the
/// past. A source that fails is followed by the next, a slow one is joined by it.
///
/// # Errors
/// [`PeerError`] of the sources, once every one has failed; one that may pass before one that stays.
pub async fn load_block(cx: Cx, view: &View, hash: Hash) -> Result<Payload, PeerError> {
    let mut sources = view.ring.sources(Position::of_block(hash));
    if let [node] = sources[..] {
        return cx.load_block(node, hash).await;
    }
    // A node that is fetching its metadata may well have the file.
    let fetching = sources.contains(&view.node) && view.recovering;
    sources = order(view, &sources);
    if fetching {
        sources.push(view.node);
    }
    let plan = Plan { order: sources, need: 1, most: LOADS, extra: TRANSFER };
    let mut lost_here = false;
    let loaded = gather(
        cx,
        view,
        plan,
        |node| cx.load_block(node, hash),
        |node, error| {
            lost_here |= node == view.node && is_lost(error);
        },
    )
    .await;
    if lost_here {
        look_at(cx, view, hash).await;
    }
    let (_, block) = loaded?.pop().expect("one was needed");
    Ok(block)
}

/// Whether a node that has failed so needs the block from somebody else.
fn is_lost(error: &PeerError) -> bool {
    matches!(error, PeerError::Missing | PeerError::Corrupt | PeerError::Disk(_))
}

/// Has a block looked at whose file the own node could not read, and fetched from another node if it is needed: to be called where
/// the own node's [`Effect::LoadBlock`](crate::effect::Effect::LoadBlock) gave [`PeerError::Missing`], [`PeerError::Corrupt`] or
/// [`PeerError::Disk`]. Asked again while it is queued or waits after a failure, it does nothing.
pub async fn look_at(cx: Cx, view: &View, block: Hash) {
    let rows = [Table::Fetch, Table::BlockError].map(|table| (table, key::block_count(block)));
    let queued = get_local(cx, view, rows.to_vec()).await;
    if queued.is_ok_and(|rows| rows.iter().all(Option::is_none)) {
        let due = cx.now().wall;
        let batch = Batch::new(due, vec![Op::Enqueue { due, job: Job::Fetch { block } }]);
        let committed = cx.commit(view.node, batch.guarded(Guard::Held { block })).await;
        if let Err(error) = committed {
            log::error!("block {block} cannot be queued to be fetched: {error}");
        }
    }
}
