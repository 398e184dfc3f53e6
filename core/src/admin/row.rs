//! Rows of access keys and buckets: as a majority of the nodes has them, and changed everywhere.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::Error;
use crate::{
    id::BucketId,
    quorum,
    s3::date,
    store::{Batch, Guard, Op, Table},
    table::{
        self,
        access::{AccessKeyRow, BucketRow, Permissions},
        merge::Row,
    },
    task::Cx,
    time::Timestamp,
    view::View,
};

/// Rows that are read at a time.
const PAGE: usize = quorum::FULL_COPY_PAGE;

/// A row that people make and delete.
pub(super) trait Subject: Row {
    /// Whether it was deleted.
    fn is_deleted(&self) -> bool;

    /// The error of one that is not there, or no longer.
    fn missing(id: &str) -> Error;
}

impl Subject for AccessKeyRow {
    fn is_deleted(&self) -> bool {
        self.deleted
    }

    fn missing(id: &str) -> Error {
        Error::not_found("NoSuchAccessKey", format!("there is no access key with the id `{id}`"))
    }
}

impl Subject for BucketRow {
    fn is_deleted(&self) -> bool {
        self.deleted
    }

    fn missing(id: &str) -> Error {
        Error::not_found("NoSuchBucket", format!("there is no bucket with the id `{id}`"))
    }
}

/// The id of a bucket as a request names it.
pub(super) fn bucket_id(text: &str) -> Result<BucketId, Error> {
    BucketId::from_hex(text).ok_or_else(|| BucketRow::missing(text))
}

/// All rows of a kind that are not deleted, in order of their keys.
pub(super) async fn all<R: Subject>(cx: Cx, view: &View) -> Result<Vec<(Vec<u8>, R)>, Error> {
    let (mut all, mut from) = (Vec::new(), Vec::new());
    loop {
        let rows = quorum::scan_confirmed(cx, view, R::TABLE, from, PAGE).await?;
        let last = rows.last().map(|(key, _)| key.clone()).filter(|_| rows.len() == PAGE);
        for (key, value) in rows {
            let row: R = table::decode(R::TABLE, &value)?;
            if !row.is_deleted() {
                all.push((key, row));
            }
        }
        match last {
            Some(last) => from = [&last[..], &[0]].concat(),
            None => return Ok(all),
        }
    }
}

/// All access keys by their ids.
pub(super) async fn keys(cx: Cx, view: &View) -> Result<BTreeMap<String, AccessKeyRow>, Error> {
    let rows = all::<AccessKeyRow>(cx, view).await?.into_iter();
    Ok(rows.map(|(id, row)| (String::from_utf8_lossy(&id).into_owned(), row)).collect())
}

/// All buckets by their ids.
pub(super) async fn buckets(cx: Cx, view: &View) -> Result<BTreeMap<BucketId, BucketRow>, Error> {
    let rows = all::<BucketRow>(cx, view).await?.into_iter();
    Ok(rows.filter_map(|(id, row)| Some((BucketId::from_slice(&id)?, row))).collect())
}

/// An access key that there is or ever was.
pub(super) async fn any_key(cx: Cx, view: &View, id: &str) -> Result<Option<AccessKeyRow>, Error> {
    Ok(quorum::confirmed(cx, view, id.as_bytes()).await?)
}

/// An access key.
pub(super) async fn key(cx: Cx, view: &View, id: &str) -> Result<AccessKeyRow, Error> {
    let row = any_key(cx, view, id).await?.filter(|row| !row.deleted);
    row.ok_or_else(|| AccessKeyRow::missing(id))
}

/// A bucket.
pub(super) async fn bucket(cx: Cx, view: &View, id: BucketId) -> Result<BucketRow, Error> {
    let row: Option<BucketRow> = quorum::confirmed(cx, view, &id.0).await?;
    row.filter(|row| !row.deleted).ok_or_else(|| BucketRow::missing(&id.to_string()))
}

/// Those of these buckets that there are.
pub(super) async fn some_buckets(
    cx: Cx,
    view: &View,
    ids: Vec<BucketId>,
) -> Result<BTreeMap<BucketId, BucketRow>, Error> {
    let keys = ids.iter().map(|id| (Table::Bucket, id.0.to_vec())).collect();
    let mut rows = BTreeMap::new();
    for (id, value) in ids.into_iter().zip(quorum::confirm(cx, view, keys).await?) {
        let Some(value) = value else { continue };
        let row: BucketRow = table::decode(Table::Bucket, &value)?;
        if !row.deleted {
            rows.insert(id, row);
        }
    }
    Ok(rows)
}

/// Merges a row everywhere. Once this is answered, every node that can be reached goes by it.
pub(super) async fn write<R: Row>(
    cx: Cx,
    view: &View,
    row_key: &[u8],
    row: &R,
    guards: Vec<Guard>,
) -> Result<(), Error> {
    let (key, value) = (row_key.to_vec(), table::encode(row));
    let op = Op::Merge { table: R::TABLE, key, value, inline: None };
    let batch = Batch { guards, ..Batch::new(cx.now().wall, vec![op]) };
    // Whether it was refused, or overtaken, the caller sees when it reads the row again.
    quorum::write_full_copy_everywhere(cx, view, batch).await?;
    Ok(())
}

/// Changes a row that there is: `decide` is given it, and gives what it is to be, or `None` if that is so already. Gives the row as
/// it is in the end.
pub(super) async fn change<R: Subject>(
    cx: Cx,
    view: &View,
    row_key: &[u8],
    id: &str,
    decide: impl Fn(&R) -> Result<Option<R>, Error>,
) -> Result<R, Error> {
    let live = |row: Option<R>| row.filter(|row| !row.is_deleted()).ok_or_else(|| R::missing(id));
    quorum::edit(cx, view, row_key, live, decide).await?.ok_or_else(|| contended(id))
}

/// The error of a change that others undo as often as it is made.
pub(super) fn contended(id: &str) -> Error {
    Error::conflict(
        "OperationAborted",
        format!("others are changing `{id}` at the same time; look at it, then try again"),
    )
}

/// A moment as JSON has it.
pub(super) fn date(at: Timestamp) -> Value {
    json!(date::iso8601(at))
}

/// Permissions as JSON has them.
pub(super) fn permissions(granted: Permissions) -> Value {
    json!({ "read": granted.read, "write": granted.write, "owner": granted.owner })
}
