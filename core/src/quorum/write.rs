//! Writes: to every member of every replica set in force, done when each set has its quorum.

use super::{ask::Open, graver};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    store::{Applied, Batch, Outcome},
    task::{Cx, Wait},
    view::{Replicas, View},
};

/// A commit under way.
pub(super) type Commit = Wait<Result<Outcome, PeerError>>;

/// Applies a batch on a write quorum of `position`, in each layout in force; the other replicas get it too, and nobody waits for
/// them.
///
/// `Refused` means that a guard refused it somewhere and that it has no quorum: it may still have been applied on fewer
/// replicas. A refusal beside a quorum that has applied the batch changes nothing, because whatever could forbid the batch for
/// good would have a quorum of its own, and the two would meet.
///
/// # Errors
/// [`PeerError`] if too few replicas have answered. The batch may or may not have been applied anywhere.
pub async fn write(
    cx: Cx,
    view: &View,
    position: Position,
    batch: Batch,
) -> Result<Outcome, PeerError> {
    let sets = view.ring.write_sets(position);
    to_sets(&sets, &[], |node| cx.commit(node, batch.clone())).await
}

/// How far one replica set has got.
struct Tally<'a> {
    set: Replicas<'a>,
    applied: usize,
    failed: usize,
}

impl Tally<'_> {
    fn is_reached(&self) -> bool {
        self.applied >= self.set.write_quorum()
    }

    fn is_lost(&self) -> bool {
        self.set.nodes.len() - self.failed < self.set.write_quorum()
    }
}

/// Makes one call to every node of `sets` and of `also`. Those of `also` do not count.
pub(super) async fn to_sets(
    sets: &[Replicas<'_>],
    also: &[NodeId],
    call: impl Fn(NodeId) -> Commit,
) -> Result<Outcome, PeerError> {
    reach(sets, also, call, &mut Vec::new()).await
}

/// [`to_sets`], and who has applied it by then.
pub(super) async fn reach(
    sets: &[Replicas<'_>],
    also: &[NodeId],
    call: impl Fn(NodeId) -> Commit,
    reached: &mut Vec<NodeId>,
) -> Result<Outcome, PeerError> {
    let mut nodes: Vec<NodeId> = Vec::new();
    for node in sets.iter().flat_map(|set| set.nodes).chain(also) {
        if !nodes.contains(node) {
            nodes.push(*node);
        }
    }
    let mut open = Open::new();
    for node in nodes {
        open.push(node, call(node));
    }
    let mut tallies: Vec<Tally<'_>> =
        sets.iter().map(|set| Tally { set: *set, applied: 0, failed: 0 }).collect();
    let mut merged = Applied::default();
    let (mut refused, mut failure) = (None, None);
    while !tallies.iter().all(Tally::is_reached) {
        if tallies.iter().any(Tally::is_lost) {
            return match refused {
                Some(guard) => Ok(Outcome::Refused { guard }),
                None => Err(failure.unwrap_or(PeerError::Unreachable)),
            };
        }
        let (node, answer) = open.next().await;
        let applied = matches!(answer, Ok(Outcome::Applied(_)));
        match answer {
            Ok(Outcome::Applied(applied)) => {
                merged.superseded_by = merged.superseded_by.max(applied.superseded_by);
                merged.reaped.extend(applied.reaped);
                reached.push(node);
            }
            Ok(Outcome::Refused { guard }) => {
                refused.get_or_insert(guard);
            }
            Err(error) => failure = Some(graver(failure.take(), error)),
        }
        for tally in tallies.iter_mut().filter(|tally| tally.set.nodes.contains(&node)) {
            tally.applied += usize::from(applied);
            tally.failed += usize::from(!applied);
        }
    }
    open.into_calls().for_each(Wait::detach);
    Ok(Outcome::Applied(merged))
}
