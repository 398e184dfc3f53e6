//! Writes: to every member of every replica set in force, done when each set has its quorum.

use super::{ask::Open, graver};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    store::{Applied, Batch, Outcome},
    task::{Cx, Wait},
    time::Stamp,
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

/// What became of a write that is to come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It stands, and comes after all that was acknowledged before it began.
    Done,
    /// Something later stands in its way on a write quorum, so nobody has seen it, and nobody will. It may be tried again as later than
    /// this.
    Superseded(Stamp),
    /// Neither can be told: it stands on some replicas, something later does on others, and too few have answered.
    Doubtful,
    /// As in [`write()`].
    Refused {
        /// Which guard.
        guard: usize,
    },
}

/// [`write()`] of one object row, for a writer that goes round again if it does not come last. It must not if the row may have been seen:
/// somebody may have seen it and written something else since, which a second round would replace. A version that one replica
/// alone has from a writer that was never answered is no reason to go round; it may come later, as it may anyhow.
///
/// # Errors
/// As [`write()`]'s.
pub async fn write_last(
    cx: Cx,
    view: &View,
    position: Position,
    batch: Batch,
) -> Result<Last, PeerError> {
    let sets = view.ring.write_sets(position);
    let call = |node| cx.commit(node, batch.clone());
    let is_clear = |tallies: &[Tally<'_>]| {
        tallies.iter().all(Tally::is_last) || tallies.iter().all(Tally::is_superseded)
    };
    let (outcome, tallies) = tally(&sets, &[], call, is_clear, &mut Vec::new()).await?;
    Ok(match outcome {
        Outcome::Refused { guard } => Last::Refused { guard },
        Outcome::Applied(_) if tallies.iter().all(Tally::is_last) => Last::Done,
        Outcome::Applied(Applied { superseded_by: Some(stamp), .. })
            if tallies.iter().all(Tally::is_superseded) =>
        {
            Last::Superseded(stamp)
        }
        Outcome::Applied(_) => Last::Doubtful,
    })
}

/// How far one replica set has got.
struct Tally<'a> {
    set: Replicas<'a>,
    applied: usize,
    /// Of those, where something later stood already.
    superseded: usize,
    failed: usize,
}

impl Tally<'_> {
    fn is_reached(&self) -> bool {
        self.applied >= self.set.write_quorum()
    }

    /// Whether it came last on so many that nothing later can have been acknowledged before.
    fn is_last(&self) -> bool {
        let overlap = self.set.sync_quorum().min(self.set.write_quorum());
        self.is_reached() && self.applied - self.superseded >= overlap
    }

    /// Whether something later stands on so many that no read shows this.
    fn is_superseded(&self) -> bool {
        self.is_reached() && self.superseded >= self.set.write_quorum()
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

/// [`to_sets`], which then waits for the answers of all the others.
pub(super) async fn to_all(
    sets: &[Replicas<'_>],
    also: &[NodeId],
    call: impl Fn(NodeId) -> Commit,
) -> Result<Outcome, PeerError> {
    tally(sets, also, call, |_| false, &mut Vec::new()).await.map(|(outcome, _)| outcome)
}

/// [`to_sets`], and who has applied it by then.
pub(super) async fn reach(
    sets: &[Replicas<'_>],
    also: &[NodeId],
    call: impl Fn(NodeId) -> Commit,
    reached: &mut Vec<NodeId>,
) -> Result<Outcome, PeerError> {
    tally(sets, also, call, |_| true, reached).await.map(|(outcome, _)| outcome)
}

/// [`reach`], which then waits until it `is_clear` what has become of it, or all have answered.
async fn tally<'a>(
    sets: &[Replicas<'a>],
    also: &[NodeId],
    call: impl Fn(NodeId) -> Commit,
    is_clear: impl Fn(&[Tally<'a>]) -> bool,
    reached: &mut Vec<NodeId>,
) -> Result<(Outcome, Vec<Tally<'a>>), PeerError> {
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
    let none = |set: &Replicas<'a>| Tally { set: *set, applied: 0, superseded: 0, failed: 0 };
    let mut tallies: Vec<Tally<'a>> = sets.iter().map(none).collect();
    let mut merged = Applied::default();
    let (mut refused, mut failure) = (None, None);
    while !tallies.iter().all(Tally::is_reached) || !(is_clear(&tallies) || open.is_empty()) {
        if tallies.iter().any(Tally::is_lost) {
            return match refused {
                Some(guard) => Ok((Outcome::Refused { guard }, tallies)),
                None => Err(failure.unwrap_or(PeerError::Unreachable)),
            };
        }
        let (node, answer) = open.next().await;
        let applied = matches!(answer, Ok(Outcome::Applied(_)));
        let superseded =
            matches!(&answer, Ok(Outcome::Applied(applied)) if applied.superseded_by.is_some());
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
            tally.superseded += usize::from(superseded);
            tally.failed += usize::from(!applied);
        }
    }
    open.into_calls().for_each(Wait::detach);
    Ok((Outcome::Applied(merged), tallies))
}
