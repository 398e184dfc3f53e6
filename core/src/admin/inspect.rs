//! How an object is stored.

use serde_json::{Value, json};

use super::{error::Error, row};
use crate::{
    id::BucketId,
    quorum,
    s3::{
        call::Target,
        egress::{Pieces, Source, manifest_page},
        object::row as object,
    },
    store::{Entry, From, List, Table},
    table::{
        access::BucketRow,
        object::{Content, Meta, ObjectRow},
        upload::ManifestPart,
    },
    task::Cx,
    view::View,
};

/// The most blocks that are told of one object: a hundred bytes each in the answer.
const BLOCKS_MAX: usize = 100_000;

/// Uploads of one key that are told.
const UPLOADS_MAX: usize = 1000;

/// InspectObject: the current version, a tombstone too, and the uploads of that key that are open.
pub(super) async fn get(cx: Cx, view: &View, id: &str, key: &str) -> Result<Value, Error> {
    let id = row::bucket_id(id)?;
    let bucket = row::bucket(cx, view, id).await?;
    let target = Target::of(id, bucket.shards, key.as_bytes());
    let mut versions = Vec::new();
    if let Some(stored) = object::read(cx, view, &target, false).await? {
        versions.push(version(cx, view, &target, &stored.row).await?);
    }
    versions.extend(uploads(cx, view, id, &bucket, &target).await?);
    if versions.is_empty() {
        let message = format!("there is no object `{key}` in this bucket");
        return Err(Error::not_found("NoSuchKey", message));
    }
    Ok(json!({ "bucketId": id.to_string(), "key": key, "versions": versions }))
}

async fn version(cx: Cx, view: &View, target: &Target, row: &ObjectRow) -> Result<Value, Error> {
    let blocks = match &row.content {
        Content::Deleted | Content::Inline(_) => Vec::new(),
        Content::Blocks(meta, data) => {
            blocks(cx, view, target, meta, &Source::Blocks(*data), &[]).await?
        }
        Content::Parts(meta, parts) => {
            let mut all: Vec<ManifestPart> = Vec::new();
            for page in 0..u16::try_from(parts.pages.len()).unwrap_or(u16::MAX) {
                all.extend(manifest_page(cx, view, target.position, parts, page).await?);
            }
            let source = Source::Parts(parts.clone());
            blocks(cx, view, target, meta, &source, &all).await?
        }
    };
    let meta = row.content.meta();
    let header = |(name, value): &(String, serde_bytes::ByteBuf)| {
        json!([name, String::from_utf8_lossy(value)])
    };
    Ok(json!({
        "uuid": row.version.to_string(),
        "timestamp": super::row::date(row.version.stamp().wall()),
        "encrypted": false,
        "uploading": false,
        "aborted": false,
        "deleteMarker": meta.is_none(),
        "inline": matches!(row.content, Content::Inline(_)),
        "size": meta.map(|meta| meta.size),
        "etag": meta.map(|meta| &meta.etag),
        "headers": meta.map(|meta| meta.headers.iter().map(header).collect::<Vec<_>>()).unwrap_or_default(),
        "blocks": blocks,
    }))
}

async fn blocks(
    cx: Cx,
    view: &View,
    target: &Target,
    meta: &Meta,
    source: &Source,
    parts: &[ManifestPart],
) -> Result<Vec<Value>, Error> {
    let mut pieces = Pieces::new(target.position, source, meta.size, 0..meta.size, &[]);
    let (mut blocks, mut at) = (Vec::new(), 0_u64);
    while let Some(piece) = pieces.next(cx, view).await? {
        if blocks.len() == BLOCKS_MAX {
            return Err(Error::bad(format!(
                "the object has more than {BLOCKS_MAX} blocks, which is more than one answer can hold"
            )));
        }
        // The part in which the block begins; empty parts have none.
        let part = parts.partition_point(|part| part.offset <= at).checked_sub(1);
        let (number, begin) = part.map_or((0, 0), |at| (parts[at].number, parts[at].offset));
        blocks.push(json!({
            "partNumber": number,
            "offset": at - begin,
            "hash": piece.block.to_string(),
            "size": piece.take,
        }));
        at += u64::from(piece.take);
    }
    Ok(blocks)
}

/// The open uploads of the key.
async fn uploads(
    cx: Cx,
    view: &View,
    id: BucketId,
    bucket: &BucketRow,
    target: &Target,
) -> Result<Vec<Value>, Error> {
    let list = List {
        table: Table::Upload,
        bucket: id,
        shards: vec![target.shard.min(bucket.shards)],
        prefix: target.key().to_vec(),
        delimiter: Vec::new(),
        from: From::Start,
        limit: UPLOADS_MAX,
        merged: false,
    };
    let listing = quorum::list(cx, view, list).await?;
    // Keys that begin with this one sort after it.
    let open = listing.entries.into_iter().filter_map(|entry| match entry {
        Entry::Row { key, upload: Some(upload), .. } if key == target.key() => Some(upload),
        Entry::Row { .. } | Entry::CommonPrefix { .. } => None,
    });
    let version = |upload: crate::id::VersionId| {
        json!({
            "uuid": upload.to_string(),
            "timestamp": super::row::date(upload.stamp().wall()),
            "encrypted": false,
            "uploading": true,
            "aborted": false,
            "deleteMarker": false,
            "inline": false,
            "size": null,
            "etag": null,
            "headers": [],
            "blocks": [],
        })
    };
    Ok(open.map(version).collect())
}
