//! PutObject.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use bytes::Bytes;

use crate::{
    effect::Chunk,
    flow, quorum,
    s3::{
        access,
        call::{Call, Response, Target},
        error::{Code, S3Error},
        ingest,
        intake::Summary,
        object::{
            conditions, meta,
            row::{self, Write, Written},
        },
        quota,
    },
    store::{Guard, Table},
    table::object::{Content, Data, Meta},
    task::Cx,
    time::Stamp,
};

/// The most bytes of one PUT: 5 GiB. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const SIZE_MAX: u64 = 5 << 30;

/// Stores an object; acknowledged once it is durable and current.
pub(crate) async fn put_object(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let target = call.target();
    let len = check_length(call)?;
    let headers = meta::stored_headers(&call.request)?;
    let condition = condition(cx, call, &target).await?;
    quota::check(cx, call, &target, len).await?;
    call.open(cx)?;
    let view = &call.view;
    let pulled = cx.pull(view.config.block_size, view.config.inline_max).await?;
    let guards = |condition: Option<Guard>| {
        [call.bucket().alive(view, target.position)]
            .into_iter()
            .chain(condition)
            .collect::<Vec<_>>()
    };
    let (written, summary) = match (pulled.chunk, pulled.end) {
        (Chunk::Inline(bytes), Some(summary)) => {
            let write = inline(bytes, meta_of(headers, &summary), guards(condition));
            (row::write(cx, view, &target, write, None).await?, summary)
        }
        (Chunk::None, Some(summary)) => {
            let write = inline(Bytes::new(), meta_of(headers, &summary), guards(condition));
            (row::write(cx, view, &target, write, None).await?, summary)
        }
        (chunk, end) => {
            let first = crate::effect::Pulled { chunk, end };
            let (data, seen) = flow::join(
                ingest::blocks(cx, view, target.position, first, Stamp(0)),
                row::stamp_beside(cx, view, &target),
            )
            .await;
            let data = data?;
            let room = quota::check(cx, call, &target, data.summary.len).await;
            let seen = match room.and(seen) {
                Ok(seen) => seen,
                Err(error) => {
                    ingest::discard(cx, view, target.position, &data).await;
                    return Err(error);
                }
            };
            let summary = data.summary.clone();
            let listed = Data { data: data.data, block_max: data.block_max };
            let content = Content::Blocks(meta_of(headers, &summary), listed);
            let write = Write {
                content,
                inline: None,
                guards: guards(condition),
                ops: Vec::new(),
                manifest: Vec::new(),
            };
            let written = row::write_after(cx, view, &target, write, Some(&data), seen).await;
            if !matches!(written, Ok(Written::Done(_))) && quorum::is_sole(view, target.position) {
                ingest::discard(cx, view, target.position, &data).await;
            }
            (written?, summary)
        }
    };
    match written {
        Written::Done(_) => Ok(stored(&summary)),
        Written::Refused(0) => Err(access::no_such_bucket(&call.bucket().name)),
        Written::Refused(_) => Err(refused_condition(call)),
    }
}

/// The declared length: it must be there, and allowed.
pub(crate) fn check_length(call: &Call) -> Result<u64, S3Error> {
    let head = &call.request.head;
    let decoded = head.get("x-amz-decoded-content-length");
    let decoded = decoded.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
    match decoded.or(head.body_len) {
        None => Err(S3Error::new(
            Code::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        )),
        Some(len) if len > SIZE_MAX => Err(S3Error::new(
            Code::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        )
        .detail("ProposedSize", len.to_string())
        .detail("MaxSizeAllowed", SIZE_MAX.to_string())),
        Some(len) => Ok(len),
    }
}

/// What `If-Match` and `If-None-Match` of a write come to: held against the current version before the body is asked for, and
/// given back as the guard that holds until the commit. Exact, because one replica decides; among several it would take a
/// ballot.
pub(crate) async fn condition(
    cx: Cx,
    call: &Call,
    target: &Target,
) -> Result<Option<Guard>, S3Error> {
    let head = &call.request.head;
    let (if_match, if_none) = (head.get("if-match"), head.get("if-none-match"));
    if if_match.is_none() && if_none.is_none() {
        return Ok(None);
    }
    if call.view.ring.replicas(target.position).nodes.len() > 1 {
        return Err(S3Error::not_implemented("A conditional write with more than one replica"));
    }
    if !quorum::is_sole(&call.view, target.position) {
        return Err(S3Error::new(
            Code::ServiceUnavailable,
            "A conditional write must wait until the change of the cluster's layout is done. Please try again.",
        ));
    }
    if if_none.is_some_and(|value| value.trim_ascii() != b"*") {
        return Err(S3Error::not_implemented("If-None-Match of a write with a value other than *"));
    }
    let stored = row::read(cx, &call.view, target, false).await?;
    let etag = stored.as_ref().and_then(|stored| stored.row.content.meta()).map(|meta| &meta.etag);
    if if_none.is_some() {
        return match etag {
            Some(_) => Err(conditions::failed("if-none-match")),
            None if if_match.is_some() => Err(conditions::failed("if-match")),
            None => Ok(Some(Guard::Absent { table: Table::Object, key: target.row_key.clone() })),
        };
    }
    match (etag, &stored) {
        (Some(etag), Some(stored)) if conditions::if_match(head, etag) => {
            let (key, value) = (target.row_key.clone(), stored.value.clone());
            Ok(Some(Guard::Unchanged { table: Table::Object, key, value }))
        }
        (Some(_), _) => Err(conditions::failed("if-match")),
        (None, _) => Err(super::get::no_such_key(target)),
    }
}

/// The error of a condition that held before the body came and does not any more.
pub(crate) fn refused_condition(call: &Call) -> S3Error {
    if call.request.head.get("if-none-match").is_some() {
        return conditions::failed("if-none-match");
    }
    S3Error::new(
        Code::ConditionalRequestConflict,
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
    )
}

fn meta_of(headers: Vec<(String, serde_bytes::ByteBuf)>, summary: &Summary) -> Meta {
    Meta {
        size: summary.len,
        etag: hex::encode(summary.md5),
        headers,
        checksum: summary.checksum.clone(),
    }
}

fn inline(bytes: Bytes, meta: Meta, guards: Vec<Guard>) -> Write {
    Write {
        content: Content::Inline(meta),
        inline: Some(bytes),
        guards,
        ops: Vec::new(),
        manifest: Vec::new(),
    }
}

fn stored(summary: &Summary) -> Response {
    let mut response = Response::empty(200);
    response.head = meta::etag(response.head, &hex::encode(summary.md5));
    if let Some(checksum) = &summary.checksum {
        response.head = meta::checksum(response.head, checksum, None);
    }
    response
}
