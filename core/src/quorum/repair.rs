//! Writing back what a read has found stale.

use super::{full_copy, read, read::fitting, write};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    store::{Answer, Batch, Found, Op, Outcome, Read, Table},
    table::{
        self, key,
        object::{Content, ObjectRow},
    },
    task::Cx,
    view::View,
};

/// Writes the rows of `merged` in which `answers` differ back to a write quorum. Rows of scans and listings are left to the
/// synchronisation: who reads those does not take one page for the whole truth.
pub(super) async fn sharded(
    cx: Cx,
    view: &View,
    position: Position,
    read: &Read,
    (nodes, answers): (&[NodeId], &[Answer]),
    merged: &Answer,
) -> Result<(), PeerError> {
    let mut ops = Vec::new();
    match (read, merged) {
        (Read::Object { key, payload }, Answer::Object(Some(found))) => {
            if answers.iter().all(|answer| has(answer, &found.row)) {
                return Ok(());
            }
            if let Some(at) = answers.iter().position(|answer| has(answer, &found.row)) {
                ops = manifest(cx, position, nodes[at], found).await?;
            }
            ops.extend(object(cx, view, position, key, *payload, answers, found).await?);
        }
        (_, _) => ops = values(read, answers, merged, is_repaired),
    }
    if ops.is_empty() {
        return Ok(());
    }
    settled(write(cx, view, position, Batch::new(cx.now().wall, ops)).await)
}

/// The same for rows of the full-copy tables.
pub(super) async fn full_copy(
    cx: Cx,
    view: &View,
    read: &Read,
    answers: &[Answer],
    merged: &Answer,
) -> Result<(), PeerError> {
    let ops = values(read, answers, merged, |table| {
        matches!(table, Table::Alias | Table::Bucket | Table::AccessKey)
    });
    if ops.is_empty() {
        return Ok(());
    }
    let batch = Batch::new(cx.now().wall, ops);
    settled(full_copy::write_full_copy(cx, view, batch).await)
}

/// A full disk is no reason not to read: only then may somebody who asks later see less.
fn settled(outcome: Result<Outcome, PeerError>) -> Result<(), PeerError> {
    match outcome {
        Ok(Outcome::Applied(_)) => Ok(()),
        Ok(Outcome::Refused { guard }) => panic!("guard {guard} of a batch without guards"),
        Err(PeerError::Full) => {
            log::warn!("a stale row is not repaired: {}", PeerError::Full);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn has(answer: &Answer, row: &[u8]) -> bool {
    matches!(answer, Answer::Object(Some(found)) if found.row == row)
}

fn values(
    read: &Read,
    answers: &[Answer],
    merged: &Answer,
    repaired: impl Fn(Table) -> bool,
) -> Vec<Op> {
    let (Read::Get(keys), Answer::Values(merged)) = (read, merged) else { return Vec::new() };
    let differs = |at: usize, value: &Vec<u8>| {
        answers.iter().any(
            |answer| matches!(answer, Answer::Values(values) if values[at].as_ref() != Some(value)),
        )
    };
    let rows = keys.iter().zip(merged).enumerate();
    rows.filter_map(|(at, ((table, key), value))| {
        let value = value.as_ref().filter(|value| repaired(*table) && differs(at, value))?;
        let (key, value) = (key.clone(), value.clone());
        Some(Op::Merge { table: *table, key, value, inline: None })
    })
    .collect()
}

/// Which rows a `Get` writes back. Not object rows, which would need their payload; and not rows of data, which may have been
/// dropped on the replica that lacks them.
fn is_repaired(table: Table) -> bool {
    matches!(table, Table::Upload)
}

/// The manifest of an object of parts, from a node that has the object: it came with the row and must go with it. Blocks are on a
/// write quorum before the row that names them.
async fn manifest(
    cx: Cx,
    position: Position,
    node: NodeId,
    found: &Found,
) -> Result<Vec<Op>, PeerError> {
    let row: ObjectRow = table::decode(Table::Object, &found.row).map_err(PeerError::Store)?;
    let Content::Parts(_, parts) = row.content else { return Ok(Vec::new()) };
    let pages =
        (0..).zip(&parts.pages).map(|(page, _)| key::manifest(position, parts.upload, page));
    let keys: Vec<_> = pages.map(|key| (Table::Manifest, key)).collect();
    let read = Read::Get(keys.clone());
    let values = fitting(&read, cx.read(node, read.clone()).await?)?.into_values();
    let rows = keys.into_iter().zip(values);
    Ok(rows
        .filter_map(|((table, key), value)| {
            Some(Op::Merge { table, key, value: value?, inline: None })
        })
        .collect())
}

/// The repair of an object row: nothing, where what is stale is stale in a way that nobody sees.
async fn object(
    cx: Cx,
    view: &View,
    position: Position,
    key: &[u8],
    payload: bool,
    answers: &[Answer],
    found: &Found,
) -> Result<Vec<Op>, PeerError> {
    let row: ObjectRow = table::decode(Table::Object, &found.row).map_err(PeerError::Store)?;
    let inline = match row.content {
        Content::Inline(_) if payload => found.inline.clone(),
        Content::Inline(_) => {
            // The payload must go with the row. That read repairs it.
            let whole = Read::Object { key: key.to_vec(), payload: true };
            Box::pin(read(cx, view, position, whole)).await?;
            return Ok(Vec::new());
        }
        Content::Deleted => {
            // A tombstone is forgotten by one replica before the others, once all have it.
            let others_have_it_or_nothing = answers
                .iter()
                .all(|answer| matches!(answer, Answer::Object(None)) || has(answer, &found.row));
            let remembered = row.version.stamp().wall().after(view.config.tombstone_delay / 2);
            if others_have_it_or_nothing && remembered < cx.now().wall {
                return Ok(Vec::new());
            }
            None
        }
        Content::Blocks(..) | Content::Parts(..) => None,
    };
    let (key, value) = (key.to_vec(), found.row.clone());
    Ok(vec![Op::Merge { table: Table::Object, key, value, inline }])
}
