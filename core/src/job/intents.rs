//! Data whose writer is gone: the process that wrote it has ended.

use super::{
    PAGE, Verdict, damaged, rest, scan_local,
    void::{self, Listed, Proof},
};
use crate::{
    effect::PeerError,
    id::{NodeId, Position, VersionId},
    node::pace::Work,
    quorum,
    s3::ingest::intent_row,
    store::{Batch, Guard, Op, Outcome, Table},
    table::{self, queue::Job, upload::IntentRow},
    task::Cx,
    time::Timestamp,
    view::View,
};

/// Queues the data of every stale intent for dropping. An intent of the running process is left alone: its writer is alive and
/// may take as long as it likes; or it has panicked, and the next start finds what it left.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let mut from = Vec::new();
    let mut dropped = 0_u64;
    let mut verdict = Verdict::Done;
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, Table::Intent, from, None, PAGE).await?;
        for (row_key, value) in page.rows {
            match stale(view, cx.now().wall, &row_key, &value) {
                Ok(None) => {}
                Ok(Some(data)) => match give_up(cx, view, data, row_key, value).await {
                    Ok(gone) => dropped += u64::from(gone),
                    Err(error @ PeerError::Store(_)) => return Err(error),
                    Err(error) => {
                        log::info!("data {:?} is left for later: {error}", data.1);
                        verdict = Verdict::Failed;
                    }
                },
                Err(error) => {
                    // One damaged row does not keep the others.
                    log::error!("intent {}: {error}", hex::encode(&row_key));
                    verdict = Verdict::Failed;
                }
            }
        }
        let Some(next) = page.next else { break };
        from = next;
        rest(cx, Work::Upkeep, began, 1).await;
    }
    if dropped > 0 {
        log::info!("dropped {dropped} uploads that an earlier run of this node left unfinished");
    }
    Ok(verdict)
}

/// The data of an intent, if its writer is gone.
fn stale(
    view: &View,
    now: Timestamp,
    row_key: &[u8],
    value: &[u8],
) -> Result<Option<(Position, VersionId)>, PeerError> {
    let found = parse(row_key).ok_or_else(|| damaged(Table::Intent, row_key))?;
    let is_old = found.1.stamp().wall().after(void::foreign(view)) < now;
    match table::decode(Table::Intent, value).map_err(PeerError::Store)? {
        IntentRow::Writing { boot, node } => {
            let own = node == view.node || node == NodeId::default();
            let gone = if own { boot != view.boot } else { is_old };
            Ok(gone.then_some(found))
        }
        // Somebody has begun to find out, and has not come to an end.
        IntentRow::Abandoned => Ok(Some(found)),
        IntentRow::Done | IntentRow::Dropped => Ok(None),
    }
}

/// Closes an intent and queues its data, unless it has been closed since it was read.
async fn give_up(
    cx: Cx,
    view: &View,
    (position, data): (Position, VersionId),
    row_key: Vec<u8>,
    value: Vec<u8>,
) -> Result<bool, PeerError> {
    if !quorum::is_sole(view, position) {
        return void::abandon(cx, view, Listed { position, id: data }, Proof::Any).await;
    }
    let now = cx.now().wall;
    let ops = vec![
        Op::Enqueue { due: now, job: Job::DropData { position, data, unless: None } },
        intent_row(position, data, IntentRow::Done),
    ];
    let unchanged = Guard::Unchanged { table: Table::Intent, key: row_key, value };
    let batch = Batch::new(now, ops).guarded(unchanged);
    let outcome = quorum::write(cx, view, position, batch).await?;
    Ok(matches!(outcome, Outcome::Applied(_)))
}

fn parse(row_key: &[u8]) -> Option<(Position, VersionId)> {
    let (position, data) = row_key.split_at_checked(2)?;
    let position = Position(u16::from_be_bytes(position.try_into().ok()?));
    Some((position, VersionId::from_slice(data)?))
}
