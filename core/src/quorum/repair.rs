//! Writing back what a read has found stale.

use std::time::Duration;

use super::{ask::Open, full_copy, read::fitting, write};
use crate::{
    effect::PeerError,
    id::{NodeId, Position, VersionId},
    store::{Answer, Batch, Found, Op, Outcome, Read, Table},
    table::{
        self, key,
        object::{Content, ObjectRow},
        upload::{IntentRow, UploadRow},
    },
    task::Cx,
    time::Timestamp,
    view::View,
};

/// Writes the rows of `merged` in which `answers` differ back to a write quorum, each with what goes with it: a replica must not
/// have half of what was committed as one. Rows of scans and listings are left to the synchronisation: who reads those does not
/// take one page for the whole truth.
pub(super) async fn sharded(
    cx: Cx,
    view: &View,
    position: Position,
    read: &Read,
    (nodes, answers): (&[NodeId], &[Answer]),
    merged: &Answer,
) -> Result<(), PeerError> {
    let all_heard = view.ring.write_sets(position).iter().all(|set| {
        let heard = set.nodes.iter().filter(|node| nodes.contains(node)).count();
        heard >= set.read_quorum()
    });
    let ops = match (read, merged) {
        (Read::Object { key, .. }, Answer::Object(Some(found))) => {
            let has_it = |answer: &Answer| has(answer, &found.row);
            let readable = view.ring.replicas(position).nodes;
            let mut asked = nodes.iter().zip(answers);
            let agreed = asked.all(|(node, answer)| has_it(answer) || !readable.contains(node))
                && ((all_heard && answers.iter().all(has_it))
                    || is_settled(view, found, cx.now().wall)?);
            match answers.iter().position(has_it) {
                Some(at) if !agreed => {
                    let from = From { cx, position, node: nodes[at] };
                    object(&from, view, key, (nodes, answers), found).await?
                }
                Some(_) | None => return Ok(()),
            }
        }
        (_, _) => {
            let mut ops = Vec::new();
            for op in values(read, (answers, all_heard), merged, is_repaired) {
                ops.extend(completion(cx, position, (nodes, answers), &op).await?);
                ops.push(op);
            }
            ops
        }
    };
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
    let ops = values(read, (answers, true), merged, |table| {
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

/// Those of the rows in which the answers differ; all of them if not all have answered who should have them.
fn values(
    read: &Read,
    (answers, all_heard): (&[Answer], bool),
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
        let value = value
            .as_ref()
            .filter(|value| repaired(*table) && (!all_heard || differs(at, value)))?;
        let (key, value) = (key.clone(), value.clone());
        Some(Op::Merge { table: *table, key, value, inline: None })
    })
    .collect()
}

/// Whether what this read shows is written back where it lacks.
pub(super) fn is_written_back(read: &Read) -> bool {
    match read {
        Read::Object { .. } => true,
        Read::Get(keys) => keys.iter().any(|(table, _)| is_repaired(*table)),
        Read::Scan { .. }
        | Read::Count(_)
        | Read::List(_)
        | Read::Compare(_)
        | Read::Recount(_) => false,
    }
}

/// Which rows a `Get` writes back. Not object rows, which would need their payload; and not rows of data, which may have been
/// dropped on the replica that lacks them.
fn is_repaired(table: Table) -> bool {
    matches!(table, Table::Upload)
}

/// How long a row that did not reach all whom it should have reached may lack somewhere: it is fetched when replicas are compared,
/// every ten minutes, and some of these runs may fail.
const COMPARED: Duration = Duration::from_secs(3600);

/// Whether a row is so old that all replicas have it by now, also those of a layout that reads do not go by yet: its writer is done,
/// and replicas have been compared since. Clocks differ by less than tombstones live.
fn is_settled(view: &View, found: &Found, now: Timestamp) -> Result<bool, PeerError> {
    let row: ObjectRow = table::decode(Table::Object, &found.row).map_err(PeerError::Store)?;
    let compared = COMPARED.max(view.config.tombstone_delay / 2);
    Ok(row.version.stamp().wall().after(compared) < now)
}

/// The node that a row comes from.
struct From {
    cx: Cx,
    position: Position,
    node: NodeId,
}

impl From {
    /// The object row that stands there now, and what goes with it. It may be a later one than was found a moment ago: then that
    /// has been replaced, and nobody is shown less by who is shown the later one.
    async fn whole(&self, row_key: &[u8]) -> Result<Vec<Op>, PeerError> {
        let read = Read::Object { key: row_key.to_vec(), payload: true };
        match fitting(&read, self.cx.read(self.node, read.clone()).await?)?.into_object() {
            Some(found) => self.with_all(row_key, &found).await,
            None => Ok(Vec::new()),
        }
    }

    /// An object row with what was committed together with it: the payload, the manifest of its parts and the closed upload, and
    /// that its data is named, without which it would be taken for that of a writer that is gone. Blocks are on a write quorum
    /// before the row that names them.
    async fn with_all(&self, row_key: &[u8], found: &Found) -> Result<Vec<Op>, PeerError> {
        let row: ObjectRow = table::decode(Table::Object, &found.row).map_err(PeerError::Store)?;
        let mut ops = match &row.content {
            Content::Deleted | Content::Inline(_) => Vec::new(),
            Content::Blocks(_, data) => vec![self.named(data.data)],
            Content::Parts(_, parts) => {
                let pages = (0..).zip(&parts.pages).map(|(page, _)| {
                    (Table::Manifest, key::manifest(self.position, parts.upload, page))
                });
                let upload = (Table::Upload, key::upload_beside(row_key, parts.upload));
                let mut ops = self.rows(pages.chain([upload]).collect()).await?;
                ops.push(self.named(parts.upload));
                ops
            }
        };
        let (key, value) = (row_key.to_vec(), found.row.clone());
        let inline = match row.content {
            Content::Inline(_) => found.inline.clone(),
            Content::Deleted | Content::Blocks(..) | Content::Parts(..) => None,
        };
        ops.push(Op::Merge { table: Table::Object, key, value, inline });
        Ok(ops)
    }

    /// That data, or an upload, is named by what is committed.
    fn named(&self, data: VersionId) -> Op {
        let (key, value) = (key::intent(self.position, data), table::encode(&IntentRow::Done));
        Op::Merge { table: Table::Intent, key, value, inline: None }
    }

    /// The rows at these keys, as changes.
    async fn rows(&self, keys: Vec<(Table, Vec<u8>)>) -> Result<Vec<Op>, PeerError> {
        let read = Read::Get(keys.clone());
        let values = fitting(&read, self.cx.read(self.node, read.clone()).await?)?.into_values();
        let rows = keys.into_iter().zip(values);
        Ok(rows
            .filter_map(|((table, key), value)| {
                Some(Op::Merge { table, key, value: value?, inline: None })
            })
            .collect())
    }
}

/// The repair of an object row: nothing, where what is stale is stale in a way that nobody sees.
async fn object(
    from: &From,
    view: &View,
    row_key: &[u8],
    (nodes, answers): (&[NodeId], &[Answer]),
    found: &Found,
) -> Result<Vec<Op>, PeerError> {
    let row: ObjectRow = table::decode(Table::Object, &found.row).map_err(PeerError::Store)?;
    match row.content {
        // The payload must go with the row.
        Content::Inline(_) if found.inline.is_none() => return from.whole(row_key).await,
        Content::Deleted => {
            let remembered = row.version.stamp().wall().after(view.config.tombstone_delay / 2);
            let gone =
                |answer: &Answer| matches!(answer, Answer::Object(None)) || has(answer, &found.row);
            if remembered < from.cx.now().wall
                && answers.iter().all(gone)
                && others(from, view, row_key, nodes).await.is_some_and(|all| all.iter().all(gone))
            {
                // A tombstone is forgotten by one replica before the others, once all have it.
                return Ok(Vec::new());
            }
        }
        Content::Inline(_) | Content::Blocks(..) | Content::Parts(..) => {}
    }
    from.with_all(row_key, found).await
}

/// What the replicas have that were not asked; nothing unless every one of them says so.
async fn others(from: &From, view: &View, row_key: &[u8], asked: &[NodeId]) -> Option<Vec<Answer>> {
    let read = Read::Object { key: row_key.to_vec(), payload: false };
    let mut open = Open::new();
    for node in view.ring.replicas(from.position).nodes {
        if *node == view.node && view.recovering {
            return None;
        }
        if !asked.contains(node) {
            open.push((), from.cx.read(*node, read.clone()));
        }
    }
    let mut answers = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let ((), answer) = open.next().await;
        answers.push(answer.and_then(|answer| fitting(&read, answer)).ok()?);
    }
    Some(answers)
}

/// Where `op` brings the others that an upload is completed: the object that came of it, from a node that knows it.
async fn completion(
    cx: Cx,
    position: Position,
    (nodes, answers): (&[NodeId], &[Answer]),
    op: &Op,
) -> Result<Vec<Op>, PeerError> {
    let Op::Merge { table: Table::Upload, key, value, .. } = op else { return Ok(Vec::new()) };
    let row: UploadRow = table::decode(Table::Upload, value).map_err(PeerError::Store)?;
    let knows = |answer: &Answer| matches!(answer, Answer::Values(values) if values.iter().flatten().any(|has| has == value));
    let (Some((object, upload)), UploadRow::Closed { etag: Some(_) }, Some(at)) =
        (key::object_beside(key), row, answers.iter().position(knows))
    else {
        return Ok(Vec::new());
    };
    let from = From { cx, position, node: nodes[at] };
    let mut ops = from.whole(&object).await?;
    ops.push(from.named(upload));
    Ok(ops)
}
