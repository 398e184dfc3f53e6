//! How much a bucket holds. Each node counts what it holds of it; no node need hold all.

use std::collections::BTreeMap;

use super::graver;
use crate::{
    effect::PeerError,
    id::{BucketId, NodeId, Position},
    store::{Answer, Read, Table},
    table::{self, CounterRow},
    task::Cx,
    view::View,
};

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Open multipart uploads.
    pub uploads: u64,
}

/// What one node counts, and how many of the bucket's index shards it counts.
#[derive(Clone, Copy, Debug)]
struct Counted {
    shards: usize,
    row: CounterRow,
}

/// How many of a bucket's index shards each node holds.
fn holders(view: &View, bucket: BucketId, shards: u16) -> BTreeMap<NodeId, usize> {
    let mut holders = BTreeMap::new();
    for shard in 0..shards {
        for node in view.ring.replicas(Position::of_shard(bucket, shard)).nodes {
            *holders.entry(*node).or_default() += 1;
        }
    }
    holders
}

/// What a bucket of so many shards holds, asked of everybody who holds any of it. It is exact where all have answered and have the
/// same; of what a node lags behind by, it is off.
///
/// # Errors
/// [`PeerError`] if nobody answers.
pub async fn usage(cx: Cx, view: &View, bucket: BucketId, shards: u16) -> Result<Usage, PeerError> {
    let holders = holders(view, bucket, shards);
    let is_up =
        |node: &NodeId| *node == view.node || view.peers.get(node).is_some_and(|peer| peer.up);
    let asked = holders.iter().filter(|(node, _)| is_up(node));
    let asked: Vec<_> =
        asked.map(|(node, held)| (*held, cx.read(*node, question(bucket)))).collect();
    let (mut counts, mut failure) = (Vec::new(), None);
    for (held, asked) in asked {
        match asked.await.and_then(counted) {
            Ok(row) => counts.push(Counted { shards: held, row }),
            Err(error) => failure = Some(graver(failure.take(), error)),
        }
    }
    sum(&counts, usize::from(shards)).ok_or_else(|| failure.unwrap_or(PeerError::Unreachable))
}

/// The same for somebody who is in a hurry: as this node counts it, if it holds all.
///
/// # Errors
/// As [`usage`]'s.
pub async fn usage_near(
    cx: Cx,
    view: &View,
    bucket: BucketId,
    shards: u16,
) -> Result<Usage, PeerError> {
    let here = holders(view, bucket, shards).get(&view.node).copied();
    if here != Some(usize::from(shards)) || view.recovering {
        return usage(cx, view, bucket, shards).await;
    }
    let row = counted(cx.read(view.node, question(bucket)).await?)?;
    Ok(Usage { objects: row.objects, bytes: row.bytes, uploads: row.uploads })
}

fn question(bucket: BucketId) -> Read {
    Read::Get(vec![(Table::Counter, bucket.0.to_vec())])
}

fn counted(answer: Answer) -> Result<CounterRow, PeerError> {
    let answer = super::read::fitting(&question(BucketId::default()), answer)?;
    let Some(value) = answer.into_values().pop().flatten() else {
        return Ok(CounterRow::default());
    };
    table::decode(Table::Counter, &value).map_err(PeerError::Store)
}

/// What all hold, from what some count. Whoever counts all shards is believed, and the greatest of several: the others lag behind.
/// Otherwise the shards that are counted stand for those that are not, as keys fall into shards evenly.
fn sum(counts: &[Counted], shards: usize) -> Option<Usage> {
    let whole = counts.iter().filter(|counted| counted.shards == shards);
    let whole = whole.map(|counted| counted.row).reduce(|a, b| CounterRow {
        objects: a.objects.max(b.objects),
        bytes: a.bytes.max(b.bytes),
        uploads: a.uploads.max(b.uploads),
    });
    if let Some(CounterRow { objects, bytes, uploads }) = whole {
        return Some(Usage { objects, bytes, uploads });
    }
    let copies = counts.iter().map(|counted| counted.shards as u128).sum::<u128>();
    if copies == 0 {
        return None;
    }
    let scaled = |of: fn(&CounterRow) -> u64| {
        let sum = counts.iter().map(|counted| u128::from(of(&counted.row))).sum::<u128>();
        u64::try_from((sum * shards as u128).div_ceil(copies)).unwrap_or(u64::MAX)
    };
    Some(Usage {
        objects: scaled(|row| row.objects),
        bytes: scaled(|row| row.bytes),
        uploads: scaled(|row| row.uploads),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(usize, u64)]) -> Vec<Counted> {
        let counted = |(shards, objects): &(usize, u64)| {
            let row = CounterRow { objects: *objects, bytes: objects * 10, uploads: 1 };
            Counted { shards: *shards, row }
        };
        all.iter().map(counted).collect()
    }

    #[test]
    fn who_counts_all_is_believed() {
        let usage = sum(&counts(&[(4, 7), (4, 9), (2, 100)]), 4).expect("counted");
        assert_eq!((usage.objects, usage.bytes, usage.uploads), (9, 90, 1));
    }

    #[test]
    fn each_object_is_counted_once() {
        // Four shards of five objects each, in two copies, on three nodes.
        let usage = sum(&counts(&[(3, 15), (3, 15), (2, 10)]), 4).expect("counted");
        assert_eq!((usage.objects, usage.bytes), (20, 200));
    }

    #[test]
    fn shards_that_nobody_counts_are_taken_for_average() {
        assert_eq!(sum(&counts(&[(1, 5), (2, 10)]), 4).map(|usage| usage.objects), Some(20));
        assert_eq!(sum(&[], 4), None);
    }
}
