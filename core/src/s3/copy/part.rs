//! UploadPartCopy: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
//!
//! Whole blocks of the source are taken by reference; those that the range cuts are stored anew. The part's entity tag is the MD5
//! of its bytes, which nobody knows before, so every byte is read once, however few are written.

use bytes::Bytes;

use super::{
    answer,
    blocks::{self, Digests, Sums, Wanted},
    conditions, source,
};
use crate::{
    block::seal::seal,
    effect::{Chunk, Pulled},
    s3::{
        call::{Call, Response, Target},
        egress::{Pieces, Source},
        error::{Code, S3Error},
        ingest::{self, Ingested},
        intake::Summary,
        multipart::{
            ChecksumXml, Named,
            parts::PART_LEN_MAX,
            upload_part::{self, Opened},
        },
        object::{conditions::Current, get::current, row::Stored},
        quota,
    },
    table::object::Content,
    task::Cx,
    time::Stamp,
};

/// How often a copy starts again because its source was overwritten under it.
const TRIES: usize = 3;

/// Makes a range of the source the part of that number.
pub(crate) async fn upload_part_copy(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let named = Named::by(call)?;
    let number = upload_part::number_of(call)?;
    let opened = upload_part::open(&named, cx, call, number).await?;
    let from = source::locate(cx, call).await?;
    let mut before = None;
    for _ in 0..TRIES {
        let stored = current(cx, call, &from, true).await?;
        let version = stored.row.version;
        match attempt(cx, call, &named, number, &from, &stored, opened).await {
            Err(error) if error.code == Code::InternalError && before != Some(version) => {
                // If the row has not changed, the error is real.
                before = Some(version);
            }
            other => return other,
        }
    }
    Err(S3Error::new(Code::SlowDown, "The source is being overwritten too fast to be copied."))
}

async fn attempt(
    cx: Cx,
    call: &Call,
    named: &Named,
    number: u16,
    from: &Target,
    stored: &Stored,
    opened: Opened,
) -> Result<Response, S3Error> {
    let meta = stored.row.content.meta().expect("not a tombstone");
    let modified = stored.row.version.stamp().wall();
    conditions::check(&call.request.head, Current { etag: &meta.etag, modified })?;
    let range = match call.request.header("x-amz-copy-source-range") {
        Some(header) => source::range(header, meta.size)?,
        None => 0..meta.size,
    };
    if range.end - range.start > PART_LEN_MAX {
        return Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {PART_LEN_MAX}"
            ),
        ));
    }
    // The object is going to be at least as long.
    quota::check(cx, call, &named.target, range.end - range.start).await?;
    let wanted = Wanted { md5: true, checksum: opened.kind.map(|kind| kind.algorithm) };
    let position = named.target.position;
    let source = match &stored.row.content {
        Content::Blocks(_, data) => Some(Source::Blocks(*data)),
        Content::Parts(_, parts) => Some(Source::Parts(parts.clone())),
        Content::Inline(_) | Content::Deleted => None,
    };
    let ingested = match source {
        Some(source) if !range.is_empty() => {
            let known = &stored.blocks;
            let pieces = Pieces::new(from.position, &source, meta.size, range, known);
            let copied =
                blocks::copy(cx, &call.view, position, pieces, wanted, opened.seen).await?;
            Ingested {
                data: copied.data,
                summary: summary(copied.len, copied.digests),
                block_max: copied.block_max,
                intent: true,
                pending: None,
            }
        }
        Some(_) | None => {
            let bytes = stored.inline.clone().unwrap_or_default();
            let within = |n: u64| usize::try_from(n).expect("an inline payload is small");
            let bytes = bytes.slice(within(range.start)..within(range.end));
            small(cx, call, named, bytes, wanted, opened.seen).await?
        }
    };
    let row = upload_part::commit(cx, call, named, number, &ingested).await?;
    let checksum = ChecksumXml::of_part(row.checksum.as_ref());
    answer("CopyPartResult", &row.etag, checksum, row.data.stamp().wall())
}

/// An inline source: its bytes become a block, as if the client had sent them.
async fn small(
    cx: Cx,
    call: &Call,
    named: &Named,
    bytes: Bytes,
    wanted: Wanted,
    seen: Stamp,
) -> Result<Ingested, S3Error> {
    let mut digests = Digests::new(wanted);
    digests.update(&bytes);
    let summary = summary(bytes.len() as u64, digests.finish());
    let chunk = if bytes.is_empty() {
        Chunk::None
    } else {
        Chunk::Block(seal(bytes, call.view.config.compression))
    };
    let pulled = Pulled { chunk, end: Some(summary) };
    ingest::blocks(cx, &call.view, named.target.position, pulled, seen).await
}

fn summary(len: u64, digests: Sums) -> Summary {
    Summary { len, md5: digests.md5.expect("the MD5 was asked for"), checksum: digests.checksum }
}
