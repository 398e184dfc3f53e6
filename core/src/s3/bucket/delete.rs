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
        access::{AliasRow, BucketRow, Lww, hidden_name},
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
    let Bucket { name, id, .. } = call.bucket();
    match delete(cx, &call.view, *id).await? {
        Deletion::Done => Ok(Response::empty(204)),
        Deletion::Gone => Err(access::no_such_bucket(name)),
        Deletion::NotEmpty => {
            Err(S3Error::new(Code::BucketNotEmpty, "The bucket you tried to delete is not empty")
                .detail("BucketName", name.clone()))
        }
        Deletion::Contended => Err(S3Error::aborted()),
    }
}

/// What came of [`delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Done,
    /// It was not there.
    Gone,
    /// It has objects, and stays.
    NotEmpty,
    /// Others were at work on it at the same time; it stays.
    Contended,
}

/// Deletes a bucket, if it has no objects.
pub async fn delete(cx: Cx, view: &View, id: BucketId) -> Result<Deletion, S3Error> {
    if !quorum::is_sole_copy(view) {
        return Box::pin(among_several(cx, view, id)).await;
    }
    for _ in 0..ROUNDS {
        let now = cx.now().wall;
        let (table, key) = (Table::Bucket, id.0.to_vec());
        let Some(value) = quorum::get_local(cx, view, vec![(table, key.clone())]).await?.remove(0)
        else {
            return Ok(Deletion::Gone);
        };
        let row: BucketRow = table::decode(table, &value)?;
        if row.deleted {
            return Ok(Deletion::Gone);
        }
        let batch = Batch::new(now, ops(id, &row, now))
            .guarded(Guard::Unchanged { table, key, value })
            .guarded(Guard::Empty { bucket: id });
        match quorum::write_full_copy(cx, view, batch).await? {
            Outcome::Applied(_) => return Ok(Deletion::Done),
            Outcome::Refused { guard: 0 } => {}
            Outcome::Refused { .. } => return Ok(Deletion::NotEmpty),
        }
    }
    Ok(Deletion::Contended)
}

/// No node counts all objects of a bucket, so listings tell whether there are any: one before the bucket is sealed, so that one
/// with objects is left alone, and one after. Then the names are given up, each by agreement, and the bucket with the last: a
/// crash before that leaves a bucket without some of its names, which can still be deleted by its others.
async fn among_several(cx: Cx, view: &View, id: BucketId) -> Result<Deletion, S3Error> {
    for _ in 0..ROUNDS {
        let Some(row) = current(cx, view, id).await? else { return Ok(Deletion::Gone) };
        let any = any_object(id, row.shards);
        if !quorum::list(cx, view, any.clone()).await?.entries.is_empty() {
            return Ok(Deletion::NotEmpty);
        }
        let Some((name, set)) = deciding_name(cx, view, id, &row).await? else { continue };
        let nodes = seal::seal(cx, view, id, &row, &name, set).await?;
        if !quorum::list_among(cx, view, any, &nodes).await?.entries.is_empty() {
            // If this fails, whoever writes next does it.
            drop(seal::lift(cx, view, id, &[]).await);
            return Ok(Deletion::NotEmpty);
        }
        let others = row.aliases.iter().filter(|(other, _)| **other != name);
        for (other, _) in others.filter(|(_, used)| used.value) {
            quorum::release(cx, view, other, id).await?;
        }
        if agree(cx, view, id, &name, &row, set).await? {
            return Ok(Deletion::Done);
        }
        // A writer has taken the seal off, and has probably made an object by now.
    }
    Ok(Deletion::Contended)
}

/// The bucket's row, unless it is deleted.
async fn current(cx: Cx, view: &View, id: BucketId) -> Result<Option<BucketRow>, S3Error> {
    let value = quorum::confirm(cx, view, vec![(Table::Bucket, id.0.to_vec())]).await?.pop();
    let row = value.flatten().map(|value| table::decode(Table::Bucket, &value));
    let row: Option<BucketRow> = row.transpose()?;
    Ok(row.filter(|row| !row.deleted))
}

/// A name of the bucket by which its deletion is settled, and when that was set. A bucket that has none gets one that nobody
/// calls it by. `None` if somebody else is just changing that.
async fn deciding_name(
    cx: Cx,
    view: &View,
    id: BucketId,
    row: &BucketRow,
) -> Result<Option<(String, Stamp)>, S3Error> {
    let used = row.aliases.iter().filter(|(_, used)| used.value);
    let names: Vec<String> = used.map(|(name, _)| name.clone()).collect();
    let keys = names.iter().map(|name| (Table::Alias, name.as_bytes().to_vec())).collect();
    for (name, value) in names.into_iter().zip(quorum::confirm(cx, view, keys).await?) {
        let Some(value) = value else { continue };
        let alias: AliasRow = table::decode(Table::Alias, &value)?;
        if alias.bucket.value == Some(id) {
            return Ok(Some((name, alias.bucket.at)));
        }
    }
    let (name, now) = (hidden_name(id), cx.now().wall);
    let settled = quorum::change(cx, view, &name, |current| {
        if current.bucket.value == Some(id) {
            return None;
        }
        let at = Stamp::past(now, current.bucket.at);
        let mut row = row.clone();
        row.aliases.insert(name.clone(), Lww { at, value: true });
        let rows = vec![FullCopyRow::new(Table::Bucket, id.0.to_vec(), table::encode(&row))];
        Some(quorum::Change { alias: AliasRow { bucket: Lww { at, value: Some(id) } }, rows })
    })
    .await?;
    Ok((settled.bucket.value == Some(id)).then_some((name, settled.bucket.at)))
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
    id: BucketId,
    name: &str,
    row: &BucketRow,
    set: Stamp,
) -> Result<bool, PeerError> {
    let now = cx.now().wall;
    let settled = quorum::change(cx, view, name, |current| {
        if current.bucket != (Lww { at: set, value: Some(id) }) {
            return None;
        }
        let deleted = deleted(row, now);
        let rows = vec![FullCopyRow::new(Table::Bucket, id.0.to_vec(), table::encode(&deleted))];
        let alias = AliasRow { bucket: Lww { at: Stamp::past(now, set), value: None } };
        Some(quorum::Change { alias, rows })
    })
    .await?;
    Ok(settled.bucket.value != Some(id))
}

/// The row of a bucket that is no more, later than this one.
fn deleted(row: &BucketRow, now: Timestamp) -> BucketRow {
    let mut row = BucketRow { deleted: true, ..row.clone() };
    for used in row.aliases.values_mut().filter(|used| used.value) {
        *used = Lww { at: Stamp::past(now, used.at), value: false };
    }
    row
}

fn ops(id: BucketId, row: &BucketRow, now: Timestamp) -> Vec<Op> {
    let names = row.aliases.iter().filter(|(_, used)| used.value).map(|(name, used)| {
        let at = Stamp::past(now, used.at);
        let alias = AliasRow { bucket: Lww { at, value: None } };
        merge(Table::Alias, name.as_bytes(), table::encode(&alias))
    });
    let row = table::encode(&deleted(row, now));
    names.chain([merge(Table::Bucket, &id.0, row)]).collect()
}
