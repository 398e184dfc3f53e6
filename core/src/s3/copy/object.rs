//! CopyObject: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
//!
//! The copy keeps the source's entity tag, as its bytes are the same and are not read. It keeps the checksum too, unless that
//! covers parts, which the copy does not have; asked for by name, a checksum is computed, which reads the whole source.

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::{
    answer,
    blocks::{self, Digests, Wanted},
    conditions, source,
};
use crate::{
    checksum::{Algorithm, Checksum, Scope},
    quorum,
    s3::{
        access,
        call::{Call, Response, Target},
        egress::{Pieces, Source},
        error::{Code, S3Error},
        ingest,
        multipart::{ChecksumXml, parts::PART_LEN_MAX},
        object::{
            conditions::Current,
            get::current,
            meta, put,
            row::{self, Stored, Write, Written},
        },
        quota,
        request::Request,
    },
    store::{Guard, Table},
    table::object::{Content, Data, Meta},
    task::Cx,
    time::Stamp,
};

/// How often a copy starts again because its source was overwritten under it.
const TRIES: usize = 3;

/// Makes the source's bytes the object.
pub(crate) async fn copy_object(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let target = call.target();
    let asked = Asked::of(&call.request)?;
    let from = source::locate(cx, call).await?;
    let mut before = None;
    for _ in 0..TRIES {
        let stored = current(cx, call, &from, true).await?;
        let version = stored.row.version;
        match attempt(cx, call, &target, &from, stored, &asked).await {
            Ok(Some(response)) => return Ok(response),
            // Overwritten meanwhile.
            Ok(None) => {}
            Err(error) if error.code == Code::InternalError && before != Some(version) => {
                // If the row has not changed, the error is real.
                before = Some(version);
            }
            Err(error) => return Err(error),
        }
    }
    Err(S3Error::new(Code::SlowDown, "The source is being overwritten too fast to be copied."))
}

/// What the request's headers ask for.
struct Asked {
    /// The new header fields; `None` takes over those of the source.
    replace: Option<Vec<(String, ByteBuf)>>,
    redirect: Option<Vec<u8>>,
    algorithm: Option<Algorithm>,
    /// Whether the headers change something, so that an object may be copied onto itself.
    changes: bool,
}

impl Asked {
    fn of(request: &Request) -> Result<Self, S3Error> {
        let directive = request.header("x-amz-metadata-directive").unwrap_or(b"COPY");
        let replace = match directive {
            b"COPY" => None,
            b"REPLACE" => Some(meta::stored_headers(request)?),
            other => {
                return Err(S3Error::invalid_argument(
                    "x-amz-metadata-directive",
                    String::from_utf8_lossy(other),
                    "Unknown metadata directive.",
                ));
            }
        };
        let algorithm = match request.header("x-amz-checksum-algorithm") {
            None => None,
            Some(name) => Some(Algorithm::from_name(name).ok_or_else(|| {
                S3Error::new(
                    Code::InvalidRequest,
                    format!(
                        "Checksum algorithm provided is unsupported: {}",
                        String::from_utf8_lossy(name)
                    ),
                )
            })?),
        };
        let redirect = meta::redirect(request)?.map(<[u8]>::to_vec);
        let class = request.header("x-amz-storage-class").is_some();
        let changes = replace.is_some() || redirect.is_some() || algorithm.is_some() || class;
        Ok(Self { replace, redirect, algorithm, changes })
    }

    fn headers(&self, source: &Meta) -> Vec<(String, ByteBuf)> {
        if let Some(headers) = &self.replace {
            return headers.clone();
        }
        let kept = source.headers.iter().filter(|(name, _)| name != meta::REDIRECT);
        let mut headers: Vec<_> = kept.cloned().collect();
        if let Some(redirect) = &self.redirect {
            headers.push((meta::REDIRECT.to_owned(), ByteBuf::from(redirect.clone())));
        }
        headers
    }

    /// The algorithm of a checksum that must be computed, because the source does not have it of its whole.
    fn to_compute(&self, source: &Meta) -> Option<Algorithm> {
        let has = whole(source).map(|checksum| checksum.algorithm);
        self.algorithm.filter(|wanted| has != Some(*wanted))
    }
}

/// The source's checksum, if it covers the bytes and not the parts.
fn whole(source: &Meta) -> Option<&Checksum> {
    source.checksum.as_ref().filter(|checksum| checksum.scope == Scope::FullObject)
}

/// One try; `None` if something was overwritten under it.
async fn attempt(
    cx: Cx,
    call: &Call,
    target: &Target,
    from: &Target,
    stored: Stored,
    asked: &Asked,
) -> Result<Option<Response>, S3Error> {
    let meta = stored.row.content.meta().expect("not a tombstone").clone();
    let modified = stored.row.version.stamp().wall();
    conditions::check(&call.request.head, Current { etag: &meta.etag, modified })?;
    if meta.size > PART_LEN_MAX {
        return Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {PART_LEN_MAX}"
            ),
        ));
    }
    let onto_itself = target == from;
    if onto_itself && !asked.changes {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    quota::check(cx, call, target, meta.size).await?;
    let mut guards = vec![call.bucket().alive(&call.view, target.position)];
    guards.extend(put::condition(cx, call, target).await?);
    let conditions = guards.len();
    let new = Meta { headers: asked.headers(&meta), checksum: whole(&meta).cloned(), ..meta };
    let compute = asked.to_compute(&new);
    let written = match &stored.row.content {
        // Among several replicas nobody can promise that the row is still the same when the new one comes, and its data with it:
        // there the data is referred to anew.
        Content::Blocks(..) | Content::Parts(..)
            if onto_itself && compute.is_none() && quorum::is_sole(&call.view, target.position) =>
        {
            guards.push(Guard::Unchanged {
                table: Table::Object,
                key: target.row_key.clone(),
                value: stored.value.clone(),
            });
            relabel(cx, call, target, &stored.row.content, new, guards).await?
        }
        Content::Blocks(_, data) => {
            let source = Source::Blocks(*data);
            let whole = 0..new.size;
            let pieces = Pieces::new(from.position, &source, new.size, whole, &stored.blocks);
            refer(cx, call, target, pieces, new, compute, guards).await?
        }
        Content::Parts(_, parts) if new.size > 0 => {
            let source = Source::Parts(parts.clone());
            let pieces = Pieces::new(from.position, &source, new.size, 0..new.size, &[]);
            refer(cx, call, target, pieces, new, compute, guards).await?
        }
        Content::Inline(_) | Content::Parts(..) => {
            let bytes = stored.inline.clone().unwrap_or_default();
            inline(cx, call, target, bytes, new, compute, guards).await?
        }
        Content::Deleted => unreachable!("a tombstone is answered by 404"),
    };
    match written {
        (Written::Done(version), new) => {
            let checksum = ChecksumXml::of_object(new.checksum.as_ref(), None);
            answer("CopyObjectResult", &new.etag, checksum, version.stamp().wall()).map(Some)
        }
        (Written::Refused(0), _) => Err(access::no_such_bucket(&call.bucket().name)),
        (Written::Refused(guard), _) if guard < conditions => Err(put::refused_condition(call)),
        (Written::Refused(_), _) => Ok(None),
    }
}

/// New metadata for the same data: one row. The data stays, because the row that replaces the old one names it too.
async fn relabel(
    cx: Cx,
    call: &Call,
    target: &Target,
    content: &Content,
    new: Meta,
    guards: Vec<Guard>,
) -> Result<(Written, Meta), S3Error> {
    let content = match content {
        Content::Blocks(_, data) => Content::Blocks(new.clone(), *data),
        // The parts stay, and with them the checksum of parts.
        Content::Parts(old, parts) => {
            let new = Meta { checksum: old.checksum.clone(), ..new.clone() };
            Content::Parts(new, parts.clone())
        }
        Content::Inline(_) | Content::Deleted => unreachable!("these have no data of their own"),
    };
    let new = content.meta().cloned().unwrap_or(new);
    let write = Write { content, inline: None, guards, ops: Vec::new(), manifest: Vec::new() };
    let written = Box::pin(row::write(cx, &call.view, target, write, None)).await?;
    Ok((written, new))
}

/// New references to the source's blocks, whose lists become one.
async fn refer(
    cx: Cx,
    call: &Call,
    target: &Target,
    pieces: Pieces,
    new: Meta,
    compute: Option<Algorithm>,
    guards: Vec<Guard>,
) -> Result<(Written, Meta), S3Error> {
    let (view, position) = (&call.view, target.position);
    let wanted = Wanted { md5: false, checksum: compute };
    let copied = blocks::copy(cx, view, position, pieces, wanted, Stamp(0)).await?;
    let checksum = copied.digests.checksum.or(new.checksum);
    let new = Meta { checksum, ..new };
    let listed = Data { data: copied.data, block_max: copied.block_max };
    let write = Write {
        content: Content::Blocks(new.clone(), listed),
        inline: None,
        guards,
        ops: vec![blocks::close(position, copied.data)],
        manifest: Vec::new(),
    };
    let written = Box::pin(row::write(cx, view, target, write, None)).await;
    if !matches!(written, Ok(Written::Done(_))) && quorum::is_sole(view, position) {
        ingest::drop_data(cx, view, position, copied.data).await;
    }
    Ok((written?, new))
}

async fn inline(
    cx: Cx,
    call: &Call,
    target: &Target,
    bytes: Bytes,
    new: Meta,
    compute: Option<Algorithm>,
    guards: Vec<Guard>,
) -> Result<(Written, Meta), S3Error> {
    let mut digests = Digests::new(Wanted { md5: false, checksum: compute });
    digests.update(&bytes);
    let new = Meta { checksum: digests.finish().checksum.or(new.checksum), ..new };
    let write = Write {
        content: Content::Inline(new.clone()),
        inline: Some(bytes),
        guards,
        ops: Vec::new(),
        manifest: Vec::new(),
    };
    let written = Box::pin(row::write(cx, &call.view, target, write, None)).await?;
    Ok((written, new))
}
