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
    store::{Batch, Guard, Op, Outcome, Table},
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
    let batch = Batch::new(now, ops(bucket, now))
        .guarded(bucket.alive())
        .guarded(Guard::Empty { bucket: bucket.id });
    match quorum::write_full_copy(cx, &call.view, batch).await? {
        Outcome::Applied(_) => Ok(Response::empty(204)),
        Outcome::Refused { guard: 0 } => Err(access::no_such_bucket(&bucket.name)),
        Outcome::Refused { .. } => {
            Err(S3Error::new(Code::BucketNotEmpty, "The bucket you tried to delete is not empty")
                .detail("BucketName", bucket.name.clone()))
        }
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
