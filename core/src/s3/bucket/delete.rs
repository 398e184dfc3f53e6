//! DeleteBucket.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>

use super::{create::merge, seal};
use crate::{
    effect::PeerError,
    id::BucketId,
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
        ballot::FullCopyRow,
    },
    task::Cx,
    time::{Stamp, Timestamp},
    view::View,
};

/// How often a deletion begins again because a writer has come in between.
const ROUNDS: usize = 3;

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

/// No node counts all objects of a bucket, so listings tell whether there are any: one before the bucket is sealed, so that one
/// with objects is left alone, and one after. Then the names are given up, each by agreement, and the bucket with the last: a
/// crash before that leaves a bucket without some of its names, which can still be deleted by its others.
async fn among_several(cx: Cx, call: &Call, bucket: &Bucket) -> Result<Response, S3Error> {
    let view = &call.view;
    for _ in 0..ROUNDS {
        let (row, set) = current(cx, view, bucket).await?;
        let any = any_object(bucket.id, row.shards);
        if !quorum::list(cx, view, any.clone()).await?.entries.is_empty() {
            return Err(not_empty(bucket));
        }
        let nodes = seal::seal(cx, view, bucket.id, &row, &bucket.name, set).await?;
        if !quorum::list_among(cx, view, any, &nodes).await?.entries.is_empty() {
            // If this fails, whoever writes next does it.
            drop(seal::lift(cx, view, bucket.id, &[]).await);
            return Err(not_empty(bucket));
        }
        let others = row.aliases.iter().filter(|(name, _)| **name != bucket.name);
        for (name, _) in others.filter(|(_, used)| used.value) {
            quorum::release(cx, view, name, bucket.id).await?;
        }
        if agree(cx, view, bucket, &row, set).await? {
            return Ok(Response::empty(204));
        }
        // A writer has taken the seal off, and has probably made an object by now.
    }
    Err(S3Error::aborted())
}

/// The bucket's row, and when the name that the request calls it by was set.
async fn current(cx: Cx, view: &View, bucket: &Bucket) -> Result<(BucketRow, Stamp), S3Error> {
    let name = bucket.name.as_bytes().to_vec();
    let keys = vec![(Table::Bucket, bucket.id.0.to_vec()), (Table::Alias, name)];
    let mut values = quorum::confirm(cx, view, keys).await?.into_iter();
    let row = values.next().flatten().map(|value| table::decode(Table::Bucket, &value));
    let row: Option<BucketRow> = row.transpose()?;
    let alias = values.next().flatten().map(|value| table::decode(Table::Alias, &value));
    let alias: Option<AliasRow> = alias.transpose()?;
    match (row, alias) {
        (Some(row), Some(AliasRow { bucket: Lww { at, value } }))
            if !row.deleted && value == Some(bucket.id) =>
        {
            Ok((row, at))
        }
        (Some(_) | None, _) => Err(access::no_such_bucket(&bucket.name)),
    }
}

fn any_object(bucket: BucketId, shards: u16) -> List {
    List {
        table: Table::Object,
        bucket,
        shards: (0..shards).collect(),
        prefix: Vec::new(),
        delimiter: Vec::new(),
        from: From::Start,
        limit: 1,
        merged: false,
    }
}

/// Has the bucket deleted with its name, if that was not set again since. Whether it is deleted.
async fn agree(
    cx: Cx,
    view: &View,
    bucket: &Bucket,
    row: &BucketRow,
    set: Stamp,
) -> Result<bool, PeerError> {
    let now = cx.now().wall;
    let settled = quorum::change(cx, view, &bucket.name, |current| {
        if current.bucket != (Lww { at: set, value: Some(bucket.id) }) {
            return None;
        }
        let deleted = deleted(row, now);
        let rows =
            vec![FullCopyRow::new(Table::Bucket, bucket.id.0.to_vec(), table::encode(&deleted))];
        let alias = AliasRow { bucket: Lww { at: Stamp::past(now, set), value: None } };
        Some(quorum::Change { alias, rows })
    })
    .await?;
    Ok(settled.bucket.value != Some(bucket.id))
}

/// The row of a bucket that is no more, later than this one.
fn deleted(row: &BucketRow, now: Timestamp) -> BucketRow {
    let mut row = BucketRow { deleted: true, ..row.clone() };
    for used in row.aliases.values_mut().filter(|used| used.value) {
        *used = Lww { at: Stamp::past(now, used.at), value: false };
    }
    row
}

fn ops(bucket: &Bucket, now: Timestamp) -> Vec<Op> {
    let row = deleted(&bucket.row, now);
    let names = bucket.row.aliases.iter().filter(|(_, used)| used.value);
    let names = names.map(|(name, used)| {
        let at = Stamp::past(now, used.at);
        let alias = AliasRow { bucket: Lww { at, value: None } };
        merge(Table::Alias, name.as_bytes(), table::encode(&alias))
    });
    names.chain([merge(Table::Bucket, &bucket.id.0, table::encode(&row))]).collect()
}
