//! The tables that every node has a full copy of: read at home, written everywhere, settled by a majority.

use std::time::Duration;

use super::{
    ask::{Plan, gather, order},
    is_sole_copy,
    read::{fitting, merged},
    repair,
    write::{reach, to_all, to_sets},
};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    store::{Answer, Batch, Op, Outcome, Read, Rows, Table},
    task::Cx,
    view::View,
};

/// Rows that are asked of others in one message. A bucket's row has some 260 KiB at most, with all the settings that there may be, and
/// what its names take: twice as many fit into a message ([`MESSAGE_MAX`](crate::wire::limits::MESSAGE_MAX)).
pub const FULL_COPY_PAGE: usize = 128;

/// Asks the own node, which has a full copy of the tables that are not sharded. It may lag behind: before somebody is told that
/// something is not there, ask [`confirm`].
pub async fn read_local(cx: Cx, view: &View, read: Read) -> Result<Answer, PeerError> {
    cx.read(view.node, read).await
}

/// The rows at these keys of the full-copy tables, in order, as the own node has them.
pub async fn get_local(
    cx: Cx,
    view: &View,
    keys: Vec<(Table, Vec<u8>)>,
) -> Result<Vec<Option<Vec<u8>>>, PeerError> {
    Ok(read_local(cx, view, Read::Get(keys)).await?.into_values())
}

/// The same as a quorum of all nodes has them. What the own node lacks of it, it gets.
///
/// # Errors
/// [`PeerError`] if too few nodes answer.
pub async fn confirm(
    cx: Cx,
    view: &View,
    keys: Vec<(Table, Vec<u8>)>,
) -> Result<Vec<Option<Vec<u8>>>, PeerError> {
    if is_sole_copy(view) {
        return get_local(cx, view, keys).await;
    }
    let mut values = Vec::with_capacity(keys.len());
    for some in keys.chunks(FULL_COPY_PAGE) {
        values.extend(confirm_page(cx, view, some.to_vec()).await?);
    }
    Ok(values)
}

async fn confirm_page(
    cx: Cx,
    view: &View,
    keys: Vec<(Table, Vec<u8>)>,
) -> Result<Vec<Option<Vec<u8>>>, PeerError> {
    let read = Read::Get(keys);
    let answers = from_quorum(cx, view, &read).await?;
    let merged = merged(&read, &answers)?;
    repair::full_copy(cx, view, &read, &answers, &merged).await?;
    let values = merged.into_values();
    let Read::Get(keys) = read else { unreachable!("it was a Get a moment ago") };
    learn(cx, view, keys, &values);
    Ok(values)
}

/// The rows of a full-copy table from this key on, at most `limit`, as a quorum of all nodes has them.
///
/// # Errors
/// [`PeerError`] if too few nodes answer.
pub async fn scan_confirmed(
    cx: Cx,
    view: &View,
    table: Table,
    from: Vec<u8>,
    limit: usize,
) -> Result<Rows, PeerError> {
    let read = Read::Scan { table, from, until: None, limit };
    if is_sole_copy(view) {
        return Ok(read_local(cx, view, read).await?.into_rows());
    }
    let answers = from_quorum(cx, view, &read).await?;
    Ok(merged(&read, &answers)?.into_rows())
}

async fn from_quorum(cx: Cx, view: &View, read: &Read) -> Result<Vec<Answer>, PeerError> {
    let replicas = view.ring.full_copy();
    let plan = Plan {
        order: order(view, replicas.nodes),
        need: replicas.read_quorum(),
        most: replicas.nodes.len(),
        extra: Duration::ZERO,
    };
    let answers = gather(cx, view, plan, |node| cx.read(node, read.clone()), |_, _| {}).await?;
    answers.into_iter().map(|(_, answer)| fitting(read, answer)).collect()
}

/// Gives the own node what the others have; nobody waits for that. It may be a gateway, which no quorum counts.
fn learn(cx: Cx, view: &View, keys: Vec<(Table, Vec<u8>)>, values: &[Option<Vec<u8>>]) {
    let rows = keys.into_iter().zip(values);
    let ops: Vec<Op> = rows
        .filter_map(|((table, key), value)| {
            let value = value.clone()?;
            Some(Op::Merge { table, key, value, inline: None })
        })
        .collect();
    if !ops.is_empty() && !view.ring.full_copy().nodes.contains(&view.node) {
        cx.commit(view.node, Batch::new(cx.now().wall, ops)).detach();
    }
}

/// Applies a batch to the full-copy tables: on every node that has a role, done when a majority of those that store has it, in
/// each layout in force. Outcome and errors as in [`write`](super::write()).
pub async fn write_full_copy(cx: Cx, view: &View, batch: Batch) -> Result<Outcome, PeerError> {
    let sets = view.ring.full_copy_write_sets();
    to_sets(&sets, view.ring.everyone(), |node| cx.commit(node, batch.clone())).await
}

/// [`write_full_copy`], done when also everybody else has applied it or cannot be reached: what takes something away from somebody is
/// in force by then wherever he may ask.
pub async fn write_full_copy_everywhere(
    cx: Cx,
    view: &View,
    batch: Batch,
) -> Result<Outcome, PeerError> {
    let sets = view.ring.full_copy_write_sets();
    to_all(&sets, view.ring.everyone(), |node| cx.commit(node, batch.clone())).await
}

/// [`write_full_copy`], done when also a write quorum of each of `positions` has it: from then on no write of one of them gets past a guard
/// that these rows make fail. Gives the nodes that have applied it by then, those quorums among them. For batches without guards.
pub async fn write_full_copy_at(
    cx: Cx,
    view: &View,
    positions: &[Position],
    batch: Batch,
) -> Result<Vec<NodeId>, PeerError> {
    let mut sets = view.ring.full_copy_write_sets();
    for position in positions {
        for set in view.ring.write_sets(*position) {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    let mut reached = Vec::new();
    let call = |node| cx.commit(node, batch.clone());
    match reach(&sets, view.ring.everyone(), call, &mut reached).await? {
        Outcome::Applied(_) => Ok(reached),
        Outcome::Refused { guard } => panic!("guard {guard} of a batch without guards"),
    }
}
