//! What owners of a bucket change of it.

use crate::{
    quorum,
    s3::{
        access::no_such_bucket,
        call::{Bucket, Call},
        error::S3Error,
    },
    table::access::BucketRow,
    task::Cx,
    view::View,
};

/// The row of a bucket as a majority of the nodes has it.
pub(super) async fn confirmed(cx: Cx, view: &View, bucket: &Bucket) -> Result<BucketRow, S3Error> {
    live(bucket, quorum::confirmed(cx, view, &bucket.id.0).await?)
}

/// Changes the row of the request's bucket: `decide` is given it, and gives what it is to be, or `None` if it is that already.
pub(super) async fn change(
    cx: Cx,
    call: &Call,
    decide: impl Fn(&BucketRow) -> Option<BucketRow>,
) -> Result<(), S3Error> {
    let bucket = call.bucket();
    let decide = |row: &BucketRow| Ok(decide(row));
    let row = quorum::edit(cx, &call.view, &bucket.id.0, |row| live(bucket, row), decide).await?;
    row.map(drop).ok_or_else(S3Error::aborted)
}

fn live(bucket: &Bucket, row: Option<BucketRow>) -> Result<BucketRow, S3Error> {
    row.filter(|row| !row.deleted).ok_or_else(|| no_such_bucket(&bucket.name))
}
