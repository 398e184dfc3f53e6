//! Forgetting tombstones.
//!
//! A tombstone may go once every node that holds its position, in any layout in force, has exactly this row, and nothing left
//! that it voids: then nobody can bring back what it stands for. One node finds that out and tells all; the others, who have
//! queued the same, find it done. Who was away keeps everybody's tombstone waiting, and nothing else.

use std::{collections::BTreeMap, time::Duration};

use super::{commit_local, damaged, queue, remove};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    store::{
        Batch, Op, Read, Table,
        digest::{Question, RowHash, RowKey},
    },
    table::queue::Job,
    task::Cx,
    time::Timestamp,
    view::View,
};

/// A tombstone that waits for somebody is looked at again after a day at the latest: while a node is away for weeks, a million of
/// them cost some ten rows a second.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(24 * 3600);

/// A queued [`Job::Collect`].
#[derive(Clone)]
pub(super) struct Tombstone {
    pub(super) table: u8,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Since when it has waited for somebody to have it.
    pub(super) since: Option<Timestamp>,
    /// The key of its row in the queue.
    pub(super) queued: Vec<u8>,
}

impl Tombstone {
    fn table(&self) -> Result<Table, PeerError> {
        let table = Table::ALL.get(usize::from(self.table));
        table.copied().ok_or_else(|| damaged(Table::Queue, &self.queued))
    }

    fn position(&self) -> Result<Position, PeerError> {
        let first = self.key.first_chunk().ok_or_else(|| damaged(Table::Queue, &self.queued))?;
        Ok(Position(u16::from_be_bytes(*first)))
    }

    fn hash(&self) -> RowHash {
        RowHash::of(&self.key, &self.value)
    }

    /// The job for later.
    pub(super) fn job(self) -> Job {
        let Self { table, key, value, since, .. } = self;
        Job::Collect { table, key, value, since }
    }

    fn op(&self) -> Result<Op, PeerError> {
        let (key, value) = (self.key.clone(), self.value.clone());
        Ok(Op::Collect { table: self.table()?, key, value })
    }
}

/// Forgets those of a page of tombstones that everybody has, strikes off those that have been replaced since, and puts off the
/// rest. An error is one of the own database.
pub(super) async fn collect(
    cx: Cx,
    view: &View,
    tombstones: Vec<Tombstone>,
) -> Result<(), PeerError> {
    let mut groups: BTreeMap<Vec<NodeId>, Vec<Tombstone>> = BTreeMap::new();
    let mut ops = Vec::new();
    for tombstone in tombstones {
        match (tombstone.table(), tombstone.position()) {
            (Ok(_), Ok(position)) => {
                groups.entry(view.ring.holders(position)).or_default().push(tombstone);
            }
            (Err(error), _) | (_, Err(error)) => {
                log::error!("a queued tombstone is dropped: {error}");
                ops.push(remove(Table::Queue, tombstone.queued));
            }
        }
    }
    for (holders, tombstones) in groups {
        ops.extend(group(cx, view, &holders, tombstones).await?);
    }
    if ops.is_empty() { Ok(()) } else { commit_local(cx, view, ops).await }
}

/// The same for tombstones of the same holders. What is to be changed here.
async fn group(
    cx: Cx,
    view: &View,
    holders: &[NodeId],
    tombstones: Vec<Tombstone>,
) -> Result<Vec<Op>, PeerError> {
    let here = same(cx, view, &tombstones).await?;
    let (tombstones, gone): (Vec<_>, Vec<_>) =
        tombstones.into_iter().zip(here).partition(|(_, here)| *here);
    let mut ops: Vec<Op> =
        gone.into_iter().map(|(gone, _)| remove(Table::Queue, gone.queued)).collect();
    let mut open: Vec<Tombstone> = tombstones.into_iter().map(|(tombstone, _)| tombstone).collect();
    let mut waiting = Vec::new();
    let others = holders.iter().filter(|node| **node != view.node);
    let is_down = |node: &NodeId| view.peers.get(node).is_some_and(|peer| !peer.up);
    if others.clone().any(is_down) {
        // The others need not be asked.
        waiting.append(&mut open);
    }
    // This node last: what it has not struck off, it comes back to.
    for node in others.clone().chain([&view.node]) {
        let (spent, rest) = split(cx, view, *node, open).await?;
        open = spent;
        waiting.extend(rest);
    }
    for node in others {
        if open.is_empty() {
            break;
        }
        let forget: Vec<Op> = open.iter().map(Tombstone::op).collect::<Result<_, _>>()?;
        if let Err(error) = cx.commit(*node, Batch::new(cx.now().wall, forget)).await {
            // It keeps them, and comes to collect them itself; who has forgotten them gets them back from it, and waits again.
            log::debug!("{node} keeps {} tombstones: {error}", open.len());
            waiting.append(&mut open);
        }
    }
    for tombstone in open {
        ops.extend([tombstone.op()?, remove(Table::Queue, tombstone.queued)]);
    }
    let now = cx.now().wall;
    for mut tombstone in waiting {
        let since = *tombstone.since.get_or_insert(now);
        let due = now.after(queue::patience(now, since, RETRY_MAX));
        ops.push(remove(Table::Queue, tombstone.queued.clone()));
        ops.push(Op::Enqueue { due, job: tombstone.job() });
    }
    Ok(ops)
}

/// Those tombstones that `node` would forget, and those that it would not, or does not say.
async fn split(
    cx: Cx,
    view: &View,
    node: NodeId,
    tombstones: Vec<Tombstone>,
) -> Result<(Vec<Tombstone>, Vec<Tombstone>), PeerError> {
    if tombstones.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let rows = tombstones
        .iter()
        .map(|each| Ok((each.table()?, RowKey::from(each.key.clone()), each.hash())));
    let question = Question::Forgettable(rows.collect::<Result<_, _>>()?);
    let flags = match cx.read(node, Read::Compare(question)).await {
        Ok(answer) => {
            let flags = answer.into_compared().flags();
            flags.filter(|flags| flags.len() == tombstones.len()).unwrap_or_else(|| {
                log::error!("{node} was asked about tombstones and tells of something else");
                vec![false; tombstones.len()]
            })
        }
        Err(error) if node == view.node => return Err(error),
        Err(error) => {
            log::debug!("tombstones wait for {node}: {error}");
            vec![false; tombstones.len()]
        }
    };
    let (spent, rest): (Vec<_>, Vec<_>) =
        tombstones.into_iter().zip(flags).partition(|(_, flag)| *flag);
    let bare = |pairs: Vec<(Tombstone, bool)>| pairs.into_iter().map(|(each, _)| each).collect();
    Ok((bare(spent), bare(rest)))
}

/// For each tombstone, whether it still is what stands here.
async fn same(cx: Cx, view: &View, tombstones: &[Tombstone]) -> Result<Vec<bool>, PeerError> {
    let keys = tombstones.iter().map(|each| Ok((each.table()?, each.key.clone())));
    let keys = keys.collect::<Result<Vec<_>, PeerError>>()?;
    let values = crate::quorum::get_local(cx, view, keys).await?;
    let pairs = tombstones.iter().zip(values);
    Ok(pairs.map(|(each, value)| value.as_ref() == Some(&each.value)).collect())
}
