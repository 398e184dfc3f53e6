//! Repairs of counts: what buckets and blocks have, and the fingerprints by which replicas compare their rows.

use super::RepairRow;
use crate::{
    effect::PeerError,
    id::{BucketId, Position},
    job::{commit_local, damaged, scan_local},
    quorum,
    store::{
        Op, Read, Table,
        recount::{Recount, Recounted},
    },
    table::{self, access::BucketRow},
    task::Cx,
    view::View,
};

/// Blocks counted at a time.
const BLOCKS: usize = 64;

/// Positions counted at a time: most are empty.
const POSITIONS: u16 = 256;

/// Counts the next bucket, then the next blocks.
pub(super) async fn counters(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    if row.pass == 0 {
        let from = row.after.clone();
        let page = scan_local(cx, view, Table::Bucket, from, None, 1).await?;
        if let Some((row_key, value)) = page.rows.first() {
            let bucket = BucketId::from_slice(row_key);
            let bucket = bucket.ok_or_else(|| damaged(Table::Bucket, row_key))?;
            let shards = table::decode::<BucketRow>(Table::Bucket, value);
            let shards = shards.map_err(PeerError::Store)?.shards;
            correct(cx, view, row, Recount::Bucket { bucket, shards }).await?;
        }
        if !row.go_on(page.next) {
            row.pass = 1;
        }
        return Ok(true);
    }
    let question = Recount::Blocks { from: row.after.clone(), limit: BLOCKS };
    let next = correct(cx, view, row, question).await?.next;
    Ok(row.go_on(next))
}

/// Makes the fingerprints of the next positions anew. The next sync compares by them.
pub(super) async fn tables(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    let first = row.after.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let last = first.saturating_add(POSITIONS - 1);
    for at in first..=last {
        correct(cx, view, row, Recount::Position(Position(at))).await?;
    }
    Ok(row.go_on(last.checked_add(1).map(|next| next.to_be_bytes().to_vec())))
}

async fn correct(
    cx: Cx,
    view: &View,
    row: &mut RepairRow,
    question: Recount,
) -> Result<Recounted, PeerError> {
    let answer = quorum::read_local(cx, view, Read::Recount(question)).await?;
    let recounted = answer.into_recounted();
    row.checked += recounted.counts;
    row.repaired += recounted.corrections.len() as u64;
    if !recounted.corrections.is_empty() {
        log::warn!("counted anew: {:?}", recounted.corrections);
        let ops = recounted.corrections.iter().cloned().map(Op::Correct);
        commit_local(cx, view, ops.collect()).await?;
    }
    Ok(recounted)
}
