//! Data whose writer is gone: the process that wrote it has ended.

use super::{Verdict, damaged, rest, scan_local};
use crate::{
    effect::PeerError,
    id::{Position, VersionId},
    quorum,
    s3::ingest::intent_row,
    store::{Batch, Guard, Op, Outcome, Table},
    table::{self, queue::Job, upload::IntentRow},
    task::Cx,
    view::View,
};

/// Queues the data of every stale intent for dropping. An intent of the running process is never stale: its writer is alive,
/// or has tried to close it and could not reach the database, which the next start finds.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let mut from = Vec::new();
    let mut dropped = 0_u64;
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, Table::Intent, from, None).await?;
        for (row_key, value) in page.rows {
            let row = table::decode(Table::Intent, &value).map_err(PeerError::Store)?;
            if let IntentRow::Writing { boot } = row
                && boot != view.boot
            {
                dropped += u64::from(give_up(cx, view, row_key, value).await?);
            }
        }
        let Some(next) = page.next else { break };
        from = next;
        rest(cx, began, 1).await;
    }
    if dropped > 0 {
        log::info!("dropped {dropped} uploads that an earlier run of this node left unfinished");
    }
    Ok(Verdict::Done)
}

/// Closes an intent and queues its data, unless it has been closed since it was read.
async fn give_up(cx: Cx, view: &View, row_key: Vec<u8>, value: Vec<u8>) -> Result<bool, PeerError> {
    let (position, data) = parse(&row_key).ok_or_else(|| damaged(Table::Intent, &row_key))?;
    let now = cx.now().wall;
    let ops = vec![
        Op::Enqueue { due: now, job: Job::DropData { position, data } },
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
