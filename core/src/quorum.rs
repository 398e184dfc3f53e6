//! Table and block operations as handlers use them: on a replica set, by quorum. With one member, a quorum is one call.

use crate::{
    block::Payload,
    effect::PeerError,
    flow,
    id::{Hash, Position},
    store::{Answer, Batch, Guard, Op, Outcome, Read, Table},
    table::{self, key, queue::Job},
    task::Cx,
    view::View,
};

/// Asks the own node, which has a full copy of the tables that are not sharded.
pub async fn read_local(cx: Cx, view: &View, read: Read) -> Result<Answer, PeerError> {
    cx.read(view.node, read).await
}

/// The rows at these keys of the full-copy tables, in order.
pub async fn get_local(
    cx: Cx,
    view: &View,
    keys: Vec<(Table, Vec<u8>)>,
) -> Result<Vec<Option<Vec<u8>>>, PeerError> {
    Ok(read_local(cx, view, Read::Get(keys)).await?.into_values())
}

/// Asks a read quorum of `position` and merges what it says, row by row.
pub async fn read(
    cx: Cx,
    view: &View,
    position: Position,
    read: Read,
) -> Result<Answer, PeerError> {
    let replicas = view.ring.replicas(position);
    let calls = replicas.nodes.iter().map(|node| cx.read(*node, read.clone())).collect();
    let answers = flow::quorum(calls, replicas.read_quorum()).await?;
    let mut answers = answers.into_iter();
    let first = answers.next().expect("a quorum has at least one answer");
    answers
        .try_fold(first, |merged, answer| table::merge::answers(&read, merged, answer))
        .map_err(PeerError::Store)
}

/// Applies a batch on a write quorum of `position`. Refused if any member of the quorum refuses.
pub async fn write(
    cx: Cx,
    view: &View,
    position: Position,
    batch: Batch,
) -> Result<Outcome, PeerError> {
    let replicas = view.ring.replicas(position);
    let calls = replicas.nodes.iter().map(|node| cx.commit(*node, batch.clone())).collect();
    Ok(worst(flow::quorum(calls, replicas.write_quorum()).await?))
}

/// Applies a batch to the full-copy tables.
pub async fn write_full_copy(cx: Cx, view: &View, batch: Batch) -> Result<Outcome, PeerError> {
    // Every node is a replica; with one node any position names it.
    write(cx, view, Position::default(), batch).await
}

/// Stores a block on a write quorum of its position, and with it the rows of `then`, which must belong to the same
/// replica set (ask [`same_replicas`]).
pub async fn store_block(
    cx: Cx,
    view: &View,
    block: Payload,
    then: Batch,
) -> Result<Outcome, PeerError> {
    let replicas = view.ring.replicas(Position::of_block(block.hash()));
    let calls = replicas.nodes.iter();
    let calls = calls.map(|node| cx.store_block(*node, block.clone(), then.clone())).collect();
    Ok(worst(flow::quorum(calls, replicas.write_quorum()).await?))
}

/// Whether rows of these two positions may travel in one batch.
pub fn same_replicas(view: &View, a: Position, b: Position) -> bool {
    view.ring.replicas(a) == view.ring.replicas(b)
}

/// Fetches a block from the nearest replica that has it whole.
pub async fn load_block(cx: Cx, view: &View, hash: Hash) -> Result<Payload, PeerError> {
    let replicas = view.ring.replicas(Position::of_block(hash));
    let mut last = PeerError::Unreachable;
    for node in replicas.nodes {
        match cx.load_block(*node, hash).await {
            Ok(block) => return Ok(block),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn worst(outcomes: Vec<Outcome>) -> Outcome {
    let mut merged = crate::store::Applied::default();
    for outcome in outcomes {
        match outcome {
            Outcome::Refused { guard } => return Outcome::Refused { guard },
            Outcome::Applied(applied) => {
                merged.superseded_by = merged.superseded_by.max(applied.superseded_by);
                merged.reaped.extend(applied.reaped);
            }
        }
    }
    Outcome::Applied(merged)
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
