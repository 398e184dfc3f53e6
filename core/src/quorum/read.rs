//! Reads: of a quorum, merged row by row, with what was found stale repaired before anybody is told.

use std::time::Duration;

use super::{
    ask::{Plan, gather, order},
    repair,
};
use crate::{
    effect::PeerError,
    id::Position,
    store::{Answer, Read},
    table::merge,
    task::Cx,
    view::View,
};

/// Asks a read quorum of `position` and merges what it says, row by row. Where replicas differ, the merged rows are written back
/// to a write quorum before they are given out, so that nobody who asks later sees less. While the layout changes, what was written
/// lately is written back in any case: the members of the set that is asked may agree on what those of the next one lack.
///
/// Listings are [`super::list()`]'s: their pages do not merge row by row.
///
/// # Errors
/// [`PeerError`] if too few replicas answer, or too few take a repair.
pub fn read(
    cx: Cx,
    view: &View,
    position: Position,
    read: Read,
) -> impl Future<Output = Result<Answer, PeerError>> {
    let need = view.ring.replicas(position).read_quorum();
    ask(cx, view, position, read, need)
}

/// The same of a write quorum: what it gives is on one by then, though its writer may never have been told so. For whoever is about
/// to acknowledge it in the writer's place.
///
/// # Errors
/// As [`read`]'s.
pub fn settle(
    cx: Cx,
    view: &View,
    position: Position,
    read: Read,
) -> impl Future<Output = Result<Answer, PeerError>> {
    let need = view.ring.replicas(position).write_quorum();
    ask(cx, view, position, read, need)
}

async fn ask(
    cx: Cx,
    view: &View,
    position: Position,
    read: Read,
    need: usize,
) -> Result<Answer, PeerError> {
    let replicas = view.ring.replicas(position);
    let changing = view.ring.write_sets(position).len() > 1;
    if let [node] = replicas.nodes
        && !changing
    {
        return fitting(&read, cx.read(*node, read.clone()).await?);
    }
    let plan = Plan {
        order: order(view, replicas.nodes),
        need,
        most: replicas.nodes.len(),
        extra: Duration::ZERO,
    };
    let answers = gather(cx, view, plan, |node| cx.read(node, read.clone()), |_, _| {}).await?;
    let (nodes, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let answers: Vec<Answer> =
        answers.into_iter().map(|answer| fitting(&read, answer)).collect::<Result<_, _>>()?;
    let merged = merged(&read, &answers)?;
    Box::pin(repair::sharded(cx, view, position, &read, (&nodes, &answers), &merged)).await?;
    Ok(merged)
}

/// Several replicas' answers as one.
pub(super) fn merged(read: &Read, answers: &[Answer]) -> Result<Answer, PeerError> {
    let mut answers = answers.iter().cloned();
    let first = answers.next().expect("a quorum has at least one answer");
    answers
        .try_fold(first, |merged, answer| merge::answers(read, merged, answer))
        .map_err(PeerError::Store)
}

/// The answer, if it is one to this question: a peer may say anything.
pub(super) fn fitting(read: &Read, answer: Answer) -> Result<Answer, PeerError> {
    let fits = match (read, &answer) {
        (Read::Get(keys), Answer::Values(values)) => keys.len() == values.len(),
        (Read::Scan { limit, .. }, Answer::Rows(rows)) => rows.len() <= *limit,
        (Read::List(list), Answer::Listing(listing)) => listing.entries.len() <= list.limit,
        (Read::Object { .. }, Answer::Object(_)) => true,
        (other, _) => {
            log::warn!("a node answered {other:?} with something else");
            false
        }
    };
    if fits { Ok(answer) } else { Err(PeerError::Malformed) }
}
