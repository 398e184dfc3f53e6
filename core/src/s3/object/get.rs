//! GetObject and HeadObject.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use std::ops::Range;

use crate::{
    http::ResponseHead,
    s3::{
        call::{Body, Call, Response, Target},
        egress::{Egress, Pieces, Source},
        error::{Code, S3Error},
        object::{
            conditions::{self, Current, Verdict},
            meta,
            part::{self, AskedPart},
            range::{self, Asked},
            row::{self, Stored},
        },
    },
    table::object::{Content, Meta},
    task::Cx,
};

/// How often the row is read again because the object was overwritten, and its blocks dropped, between the row and the first
/// block.
const TRIES: usize = 3;

/// The object, or part of it.
pub(crate) async fn get_object(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let target = call.target();
    let mut before = None;
    for _ in 0..TRIES {
        let stored = current(cx, call, &target, true).await?;
        let version = stored.row.version;
        match answer(cx, call, &target, stored, true).await {
            Err(error) if error.code == Code::InternalError && before != Some(version) => {
                // If the row has not changed, the error is real.
                before = Some(version);
            }
            other => return other,
        }
    }
    Err(S3Error::new(Code::SlowDown, "This object is being overwritten too fast to be read."))
}

/// What [`get_object`] would say, without the bytes.
pub(crate) async fn head_object(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let target = call.target();
    let stored = current(cx, call, &target, false).await?;
    answer(cx, call, &target, stored, false).await
}

/// The current version, which is not a tombstone.
pub(crate) async fn current(
    cx: Cx,
    call: &Call,
    target: &Target,
    payload: bool,
) -> Result<Stored, S3Error> {
    let stored = row::read(cx, &call.view, target, payload).await?;
    stored.filter(|stored| stored.row.content.meta().is_some()).ok_or_else(|| no_such_key(target))
}

/// The 404 of an object that is not there.
pub(crate) fn no_such_key(target: &Target) -> S3Error {
    S3Error::new(Code::NoSuchKey, "The specified key does not exist.")
        .detail("Key", String::from_utf8_lossy(target.key()))
}

async fn answer(
    cx: Cx,
    call: &Call,
    target: &Target,
    stored: Stored,
    payload: bool,
) -> Result<Response, S3Error> {
    let request = &call.request;
    let meta = stored.row.content.meta().expect("not a tombstone");
    let modified = stored.row.version.stamp().wall();
    let current = Current { etag: &meta.etag, modified };
    match conditions::evaluate(&request.head, conditions::OBJECT, current) {
        Verdict::Holds => {}
        Verdict::NotModified(_) => {
            let head = meta::describe_version(ResponseHead::new(304, 0), meta, modified);
            return Ok(Response { head, body: Body::Empty });
        }
        Verdict::Failed(header) => return Err(conditions::failed(header)),
    }
    let selection = select(cx, call, target, &stored, current).await?;
    let len = selection.range.end - selection.range.start;
    let status = if selection.partial { 206 } else { 200 };
    let mut head = meta::describe(ResponseHead::new(status, len), meta, modified, request);
    if selection.partial && len > 0 {
        let value = range::content_range(&selection.range, meta.size);
        head = head.header("content-range", value);
    }
    head = tell_parts_and_checksum(head, call, &stored.row.content, meta, &selection);
    let body = if payload {
        body(cx, call, target, &stored, meta, selection.range).await?
    } else {
        Body::Empty
    };
    Ok(Response { head, body })
}

/// Which bytes are asked for.
struct Selection {
    range: Range<u64>,
    partial: bool,
    part: Option<AskedPart>,
}

async fn select(
    cx: Cx,
    call: &Call,
    target: &Target,
    stored: &Stored,
    current: Current<'_>,
) -> Result<Selection, S3Error> {
    let content = &stored.row.content;
    let size = content.meta().expect("not a tombstone").size;
    let head = &call.request.head;
    let asked_range = head.get("range").filter(|_| conditions::range_counts(head, current));
    if let Some(number) = part::number(call)? {
        if head.get("range").is_some() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let part = part::find(cx, &call.view, target, content, number).await?;
        return Ok(Selection { range: part.range(size), partial: size > 0, part: Some(part) });
    }
    match range::asked(asked_range, size) {
        Asked::Whole => Ok(Selection { range: 0..size, partial: false, part: None }),
        Asked::Part(range) => Ok(Selection { range, partial: true, part: None }),
        Asked::Unsatisfiable => {
            let requested = String::from_utf8_lossy(asked_range.unwrap_or_default());
            Err(S3Error::new(Code::InvalidRange, "The requested range is not satisfiable")
                .detail("RangeRequested", requested)
                .detail("ActualObjectSize", size.to_string())
                .header("content-range", format!("bytes */{size}")))
        }
    }
}

fn tell_parts_and_checksum(
    mut head: ResponseHead,
    call: &Call,
    content: &Content,
    meta: &Meta,
    selection: &Selection,
) -> ResponseHead {
    let count = match content {
        Content::Parts(_, parts) => Some(parts.count),
        Content::Deleted | Content::Inline(_) | Content::Blocks(..) => None,
    };
    if let (Some(count), Some(_)) = (count, &selection.part) {
        head = head.header("x-amz-mp-parts-count", count.to_string());
    }
    let asked = call.request.header("x-amz-checksum-mode");
    if !asked.is_some_and(|mode| mode.eq_ignore_ascii_case(b"enabled")) {
        return head;
    }
    match &selection.part {
        Some(AskedPart::Of(part)) => match &part.part.checksum {
            // A part's own bytes are what its checksum covers, whatever that of the object covers.
            Some(checksum) => meta::checksum(head, checksum, None),
            None => head,
        },
        Some(AskedPart::Whole) | None => match &meta.checksum {
            // The checksum is of the whole object, and says nothing of a range.
            Some(checksum) if selection.part.is_some() || !selection.partial => {
                meta::checksum(head, checksum, count)
            }
            Some(_) | None => head,
        },
    }
}

async fn body(
    cx: Cx,
    call: &Call,
    target: &Target,
    stored: &Stored,
    meta: &Meta,
    range: Range<u64>,
) -> Result<Body, S3Error> {
    if range.is_empty() {
        return Ok(Body::Empty);
    }
    let source = match &stored.row.content {
        Content::Deleted => unreachable!("a tombstone is answered by 404"),
        Content::Inline(_) => {
            let payload = stored.inline.as_ref().filter(|bytes| bytes.len() as u64 == meta.size);
            let torn = || row::torn(crate::store::Table::Inline, "the payload is missing or cut");
            let payload = payload.ok_or_else(torn)?;
            let within = |n: u64| usize::try_from(n).expect("within the payload");
            return Ok(Body::Full(payload.slice(within(range.start)..within(range.end))));
        }
        Content::Blocks(_, data) => Source::Blocks(*data),
        Content::Parts(_, parts) => Source::Parts(parts.clone()),
    };
    let pieces = Pieces::new(target.position, &source, meta.size, range, &stored.blocks);
    Ok(Body::Stream(Box::new(Egress::begin(cx, &call.view, pieces).await?)))
}
