//! Open multipart uploads of deleted buckets: nobody can complete or abort them any more.

use super::{Verdict, rest, scan, scan_local};
use crate::{
    effect::PeerError,
    id::{BucketId, Position},
    node::pace::Work,
    quorum,
    store::{Batch, Guard, Op, Outcome, Table},
    table::{self, access::BucketRow, key, upload::UploadRow},
    task::Cx,
    view::View,
};

/// Upload rows hold their object's headers: up to a few KiB each.
const PAGE: usize = 64;

/// Aborts every open upload of every deleted bucket. None can be begun there any more, so a bucket that has been seen to has
/// nothing the next time.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let mut from = Vec::new();
    let mut verdict = Verdict::Done;
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, Table::Bucket, from, None, super::PAGE).await?;
        for (row_key, value) in page.rows {
            let row = table::decode::<BucketRow>(Table::Bucket, &value);
            match (row, BucketId::from_slice(&row_key)) {
                (Ok(row), Some(bucket)) if row.deleted => {
                    for shard in 0..row.shards {
                        verdict = verdict.and(abort_all(cx, view, bucket, shard).await?);
                    }
                }
                (Ok(_), Some(_)) => {}
                // One damaged row does not keep the others.
                (row, _) => {
                    log::error!("bucket {}: damaged row {:?}", hex::encode(&row_key), row.err());
                    verdict = Verdict::Failed;
                }
            }
        }
        let Some(next) = page.next else { return Ok(verdict) };
        from = next;
        rest(cx, Work::Upkeep, began, 1).await;
    }
}

async fn abort_all(
    cx: Cx,
    view: &View,
    bucket: BucketId,
    shard: u16,
) -> Result<Verdict, PeerError> {
    let mut verdict = Verdict::Done;
    let position = Position::of_shard(bucket, shard);
    let mut from = key::shard_prefix(bucket, shard);
    let until = key::after_prefix(&from);
    loop {
        let began = cx.now().mono;
        let range = (from, until.clone());
        let page = scan(cx, view, position, Table::Upload, range, PAGE).await?;
        for (row_key, value) in page.rows {
            match table::decode::<UploadRow>(Table::Upload, &value) {
                Ok(row) if row.is_open() => {
                    if abort(cx, view, position, row_key, value).await? {
                        log::info!("aborted a multipart upload of the deleted bucket {bucket}");
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    log::error!("upload {}: {error}", hex::encode(&row_key));
                    verdict = Verdict::Failed;
                }
            }
        }
        let Some(next) = page.next else { return Ok(verdict) };
        from = next;
        rest(cx, Work::Upkeep, began, 1).await;
    }
}

/// Closes an upload, unless it has changed since it was read; the hook queues what it leaves.
async fn abort(
    cx: Cx,
    view: &View,
    position: Position,
    row_key: Vec<u8>,
    value: Vec<u8>,
) -> Result<bool, PeerError> {
    let op = Op::Merge {
        table: Table::Upload,
        key: row_key.clone(),
        value: table::encode(&UploadRow::Closed { etag: None }),
        inline: None,
    };
    let unchanged = Guard::Unchanged { table: Table::Upload, key: row_key, value };
    let batch = Batch::new(cx.now().wall, vec![op]).guarded(unchanged);
    let outcome = quorum::write(cx, view, position, batch).await?;
    Ok(matches!(outcome, Outcome::Applied(_)))
}
