//! DeleteBucket.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>

use super::create::merge;
use crate::{
    quorum,
    s3::{
        access,
        call::{Bucket, Call, Response},
        error::{Code, S3Error},
    },
    store::{Batch, From, Guard, List, Op, Outcome, Table},
    table::{
        self,
        access::{AliasRow, BucketRow, Lww},
    },
    task::Cx,
    time::Stamp,
};

/// Deletes a bucket without objects, with all its names. Its open uploads go with it.
pub(crate) async fn delete_bucket(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let bucket = call.bucket();
    let now = cx.now().wall;
    if !quorum::is_sole_copy(&call.view) {
        return Box::pin(among_several(cx, call, bucket)).await;
    }
    let alive = Guard::Live { table: Table::Bucket, key: bucket.id.0.to_vec() };
    let batch = Batch::new(now, ops(bucket, now))
        .guarded(alive)
        .guarded(Guard::Empty { bucket: bucket.id });
    match quorum::write_full_copy(cx, &call.view, batch).await? {
        Outcome::Applied(_) => Ok(Response::empty(204)),
        Outcome::Refused { guard: 0 } => Err(access::no_such_bucket(&bucket.name)),
        Outcome::Refused { .. } => Err(not_empty(bucket)),
    }
}

fn not_empty(bucket: &Bucket) -> S3Error {
    S3Error::new(Code::BucketNotEmpty, "The bucket you tried to delete is not empty")
        .detail("BucketName", bucket.name.clone())
}

/// No node counts all objects of a bucket, so a listing by quorum tells whether there are any. Then the names are given up, each by
/// agreement, and last the bucket is marked deleted: a crash before that leaves a bucket without some of its names, which can
/// still be deleted by its others or its id.
async fn among_several(cx: Cx, call: &Call, bucket: &Bucket) -> Result<Response, S3Error> {
    let view = &call.view;
    let any = List {
        table: Table::Object,
        bucket: bucket.id,
        shards: (0..bucket.row.shards).collect(),
        prefix: Vec::new(),
        delimiter: Vec::new(),
        from: From::Start,
        limit: 1,
        merged: false,
    };
    let confirmed = quorum::confirm(cx, view, vec![(Table::Bucket, bucket.id.0.to_vec())]).await?;
    let row = confirmed.into_iter().next().flatten();
    let row: Option<BucketRow> =
        row.map(|value| table::decode(Table::Bucket, &value)).transpose()?;
    let Some(row) = row.filter(|row| !row.deleted) else {
        return Err(access::no_such_bucket(&bucket.name));
    };
    if !quorum::list(cx, view, any).await?.entries.is_empty() {
        return Err(not_empty(bucket));
    }
    let bucket = Bucket { row, ..bucket.clone() };
    for (name, _) in bucket.row.aliases.iter().filter(|(_, used)| used.value) {
        quorum::release(cx, view, name, bucket.id).await?;
    }
    let now = cx.now().wall;
    // The names are settled by now; nobody may overwrite what has been agreed on since.
    let ops = ops(&bucket, now).into_iter().filter(|op| match op {
        Op::Merge { table, .. } => *table != Table::Alias,
        Op::Remove { .. } | Op::Forget { .. } | Op::Collect { .. } | Op::Correct(_) => true,
        Op::Enqueue { .. } | Op::Reap { .. } => true,
    });
    match quorum::write_full_copy(cx, view, Batch::new(now, ops.collect())).await? {
        Outcome::Applied(_) => Ok(Response::empty(204)),
        Outcome::Refused { guard } => panic!("guard {guard} of a batch without guards"),
    }
}

fn ops(bucket: &Bucket, now: crate::time::Timestamp) -> Vec<Op> {
    let mut row = BucketRow { deleted: true, ..bucket.row.clone() };
    let mut ops = Vec::new();
    for (name, used) in row.aliases.iter_mut().filter(|(_, used)| used.value) {
        let at = Stamp::past(now, used.at);
        *used = Lww { at, value: false };
        let alias = AliasRow { bucket: Lww { at, value: None } };
        ops.push(merge(Table::Alias, name.as_bytes(), table::encode(&alias)));
    }
    ops.push(merge(Table::Bucket, &bucket.id.0, table::encode(&row)));
    ops
}
