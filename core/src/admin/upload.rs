//! Multipart uploads that nobody has completed.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{error::Error, row};
use crate::{
    flow::Window,
    id::{BucketId, VersionId},
    quorum,
    s3::multipart::{Named, abort},
    store::{Entry, From, List, Outcome, Read, Table},
    table::{self, access::BucketRow, key, upload::PartRow},
    task::Cx,
    view::View,
};

/// Uploads that are read at a time: their rows hold the headers of the object to be.
const PAGE: usize = 100;

/// Parts that are read at a time.
const PARTS: usize = 1000;

/// Uploads whose parts are counted side by side.
const WINDOW: usize = 8;

/// What the open uploads of a bucket come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub uploads: u64,
    pub parts: u64,
    pub bytes: u64,
}

/// The open uploads of a bucket, page by page.
struct Uploads<'a> {
    cx: Cx,
    view: &'a View,
    id: BucketId,
    shards: u16,
    /// Where the next page begins; `None` at the end.
    from: Option<From>,
}

impl<'a> Uploads<'a> {
    fn new(cx: Cx, view: &'a View, id: BucketId, bucket: &BucketRow) -> Self {
        Self { cx, view, id, shards: bucket.shards, from: Some(From::Start) }
    }

    async fn next(&mut self) -> Result<Option<Vec<Named>>, Error> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let list = List {
            table: Table::Upload,
            bucket: self.id,
            shards: (0..self.shards).collect(),
            prefix: Vec::new(),
            delimiter: Vec::new(),
            from,
            limit: PAGE,
            merged: false,
        };
        let page = quorum::list(self.cx, self.view, list).await?;
        let mut uploads: Vec<(Vec<u8>, VersionId)> = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            match entry {
                Entry::Row { key, upload: Some(upload), .. } => uploads.push((key, upload)),
                Entry::Row { upload: None, .. } | Entry::CommonPrefix { .. } => {
                    return Err(Error::internal("a listing of uploads does not name them"));
                }
            }
        }
        if page.truncated {
            self.from = uploads.last().map(|(key, id)| From::AfterUpload(key.clone(), *id));
        }
        let named = |(key, upload): (Vec<u8>, _)| Named::of(self.id, self.shards, &key, upload);
        Ok(Some(uploads.into_iter().map(named).collect()))
    }
}

/// Counts the open uploads of a bucket, and what has come of them.
pub(super) async fn open(
    cx: Cx,
    view: &View,
    id: BucketId,
    bucket: &BucketRow,
) -> Result<Open, Error> {
    let (mut sum, mut uploads) = (Open::default(), Uploads::new(cx, view, id, bucket));
    while let Some(page) = uploads.next().await? {
        let mut window = Window::new(WINDOW);
        let mut counts = Vec::with_capacity(page.len());
        for named in page {
            if window.is_full() {
                counts.extend(window.next().await);
            }
            window.push(Box::pin(count(cx, view, named)));
        }
        while let Some(counted) = window.next().await {
            counts.push(counted);
        }
        for counted in counts {
            let counted = counted?;
            sum.uploads += 1;
            sum.parts += counted.parts;
            sum.bytes = sum.bytes.saturating_add(counted.bytes);
        }
    }
    Ok(sum)
}

/// The parts of one upload.
async fn count(cx: Cx, view: &View, named: Named) -> Result<Open, Error> {
    let (position, mut first) = (named.target.position, 0);
    let mut sum = Open { uploads: 1, ..Open::default() };
    loop {
        let from = key::part(position, named.upload, first);
        let until = Some(key::part(position, named.upload, u16::MAX));
        let read = Read::Scan { table: Table::Part, from, until, limit: PARTS };
        let rows = quorum::read(cx, view, position, read).await?.into_rows();
        for (_, value) in &rows {
            let part: PartRow = table::decode(Table::Part, value)?;
            sum.parts += 1;
            sum.bytes = sum.bytes.saturating_add(part.size);
        }
        match rows.last().filter(|_| rows.len() == PARTS).map(|(key, _)| key::part_number(key)) {
            Some(Some(last)) => first = last + 1,
            Some(None) | None => return Ok(sum),
        }
    }
}

/// What CleanupIncompleteUploads says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Cleanup {
    bucket_id: String,
    older_than_secs: u64,
}

/// CleanupIncompleteUploads.
pub(super) async fn cleanup(cx: Cx, view: &View, body: Cleanup) -> Result<Value, Error> {
    let id = row::bucket_id(&body.bucket_id)?;
    let bucket = row::bucket(cx, view, id).await?;
    let before = cx.now().wall.before(Duration::from_secs(body.older_than_secs));
    let (mut aborted, mut uploads) = (0_u64, Uploads::new(cx, view, id, &bucket));
    while let Some(page) = uploads.next().await? {
        for named in page.iter().filter(|named| named.upload.stamp().wall() <= before) {
            // Otherwise somebody has completed or aborted it meanwhile.
            if let Outcome::Applied(_) = abort::close(cx, view, named).await? {
                aborted += 1;
            }
        }
    }
    Ok(json!({ "uploadsDeleted": aborted }))
}
