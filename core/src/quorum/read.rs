//! Reads: of a quorum, merged row by row, with what was found stale repaired before anybody is told.

use super::{ask::survey, repair};
use crate::{
    effect::PeerError,
    id::Position,
    store::{Answer, Read},
    table::merge,
    task::Cx,
    view::View,
};

/// Asks a read quorum of `position` and merges what it says, row by row. Where replicas differ, the merged rows are written back
/// to a write quorum before they are given out, so that nobody who asks later sees less.
///
/// For that, what all agree on must be on a write quorum already, in every layout in force: so rows that are written back are asked of
/// as many as that takes, side by side. Who does not answer soon is not waited for: with two copies, what one of them shows while the
/// other is away may not be seen again, until its writer is answered; while the layout changes, what was written lately is
/// written back to those who have not answered.
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
    let sets =
        if repair::is_written_back(&read) { view.ring.write_sets(position) } else { Vec::new() };
    if let ([node], [] | [_]) = (replicas.nodes, &sets[..]) {
        return fitting(&read, cx.read(*node, read.clone()).await?);
    }
    let call = |node| cx.read(node, read.clone());
    let answers = survey(cx, view, (replicas, need), &sets, call).await?;
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
