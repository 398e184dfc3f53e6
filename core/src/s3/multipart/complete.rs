//! CompleteMultipartUpload: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::{
    ChecksumXml, Named, key_text, no_such_upload,
    parts::{self, Listed, PARTS_MAX},
};
use crate::{
    checksum::{Algorithm, Checksum, ChecksumKind, Scope},
    quorum,
    s3::{
        access,
        call::{Call, Response},
        error::{Code, S3Error},
        ingest,
        object::{
            put,
            row::{self, Write, Written},
        },
        quota,
        request::Request,
        xml,
    },
    store::{Guard, Table},
    table::{
        key,
        object::{Content, Meta, Parts},
        upload::{IntentRow, ManifestPart, PartRow, UploadRow},
    },
    task::Cx,
};

/// Part rows read at a time: 1,000 of them are about 150 KiB.
const PAGE: usize = 1000;

/// How often completion starts again because a part was replaced under it: each round lost is another client's part, sent while
/// this one asks for completion.
const ROUNDS: usize = 8;

/// Makes the listed parts the object: one batch of the manifest, the object row and the closed upload. No bytes move.
///
/// Each part row is guarded, because the data of a part that is replaced is dropped. A client whose answer got lost asks
/// again and is answered as the first time, for as long as the closed upload is remembered.
pub(crate) async fn complete_multipart_upload(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let named = Named::by(call)?;
    call.open(cx)?;
    let listed = parts::parse(&cx.collect(xml::COMPLETE_MAX).await?)?;
    let wanted = Wanted::of(&call.request)?;
    for _ in 0..ROUNDS {
        let (headers, kind) = match named.row(cx, call).await? {
            UploadRow::Open { headers, checksum, .. } => (headers, checksum),
            UploadRow::Closed { etag } => return again(cx, call, &named, etag, &listed).await,
        };
        let stored = all_parts(cx, call, &named).await?;
        let chosen = parts::chosen(&listed, |number| Some(&stored.get(&number)?.0))?;
        let meta = Meta {
            size: parts::len(&chosen),
            etag: parts::etag(listed.iter().map(|part| &part.etag[..])).ok_or_else(no_md5)?,
            headers,
            checksum: wanted.check(&chosen, kind)?,
        };
        quota::check(cx, call, &named.target, meta.size).await?;
        let document = document(call, &meta, chosen.len())?;
        let write = batch(cx, call, &named, meta, chosen, &stored).await?;
        match row::write(cx, &call.view, &named.target, write, None).await? {
            Written::Done(_) => return Ok(Response::xml(200, document)),
            Written::Refused(BUCKET) => {
                return Err(access::no_such_bucket(&call.bucket().name));
            }
            // Closed, or a part was replaced, or the object changed: the next round finds out which.
            Written::Refused(_) => {}
        }
    }
    Err(S3Error::new(
        Code::ConditionalRequestConflict,
        "Parts of this upload are being replaced while it is completed. Please finish sending them, then try again.",
    ))
}

/// Index of the guard on the bucket.
const BUCKET: usize = 0;

async fn batch(
    cx: Cx,
    call: &Call,
    named: &Named,
    meta: Meta,
    chosen: Vec<ManifestPart>,
    stored: &StoredParts,
) -> Result<Write, S3Error> {
    let (view, position) = (&call.view, named.target.position);
    let sole = quorum::is_sole(view, position);
    let mut guards = vec![call.bucket().alive(view, position), named.alive(view)];
    guards.extend(put::condition(cx, call, &named.target).await?);
    if !sole {
        // Nobody may have begun to drop the upload as aborted.
        guards.push(Guard::Wanted { position, data: named.upload });
    }
    for part in &chosen {
        guards.push(if sole {
            Guard::Unchanged {
                table: Table::Part,
                key: key::part(position, named.upload, part.number),
                value: stored[&part.number].1.clone(),
            }
        } else {
            // A replica may lack the part's row; but none may have dropped its data.
            Guard::Wanted { position, data: part.part.data }
        });
    }
    let count = u16::try_from(chosen.len()).expect("numbers ascend and end at 10,000");
    let closed = UploadRow::Closed { etag: Some(meta.etag.clone()) };
    let (rows, pages) = parts::pages(chosen);
    let key = |page| key::manifest(position, named.upload, page);
    let manifest = rows.into_iter().zip(0..).map(|(row, page)| (key(page), row)).collect();
    let mut ops = vec![named.merge(&closed)];
    if !sole {
        // From now on rows of its parts are void, also where this batch comes late.
        ops.push(ingest::intent_row(position, named.upload, IntentRow::Done));
    }
    let parts = Parts { upload: named.upload, count, pages, completion: None };
    Ok(Write { content: Content::Parts(meta, parts), inline: None, guards, ops, manifest })
}

/// The parts of an upload by number: each row, and its bytes as they are stored.
type StoredParts = BTreeMap<u16, (PartRow, Vec<u8>)>;

async fn all_parts(cx: Cx, call: &Call, named: &Named) -> Result<StoredParts, S3Error> {
    let mut stored = StoredParts::new();
    let mut first = 1;
    loop {
        let page = named.parts(cx, call, first, PAGE).await?;
        let last = page.last().map(|(number, ..)| *number);
        let whole = page.len() == PAGE;
        stored.extend(page.into_iter().map(|(number, row, bytes)| (number, (row, bytes))));
        match last {
            Some(last) if whole && last < PARTS_MAX => first = last + 1,
            Some(_) | None => return Ok(stored),
        }
    }
}

/// Answers a client that completes a completed upload again, if it lists the same parts.
async fn again(
    cx: Cx,
    call: &Call,
    named: &Named,
    etag: Option<String>,
    listed: &[Listed],
) -> Result<Response, S3Error> {
    let same = parts::etag(listed.iter().map(|part| &part.etag[..]));
    let etag = etag.filter(|etag| same.as_ref() == Some(etag)).ok_or_else(no_such_upload)?;
    // Whoever completed it may have reached too few to be told that it is done.
    let current = row::settle(cx, &call.view, &named.target).await?;
    let meta = match current.map(|stored| stored.row.content) {
        Some(Content::Parts(meta, parts)) if parts.upload == named.upload => meta,
        // Overwritten since.
        Some(Content::Parts(..) | Content::Blocks(..) | Content::Inline(_) | Content::Deleted)
        | None => Meta { etag, ..Meta::default() },
    };
    Ok(Response::xml(200, document(call, &meta, listed.len())?))
}

/// What the request's headers say of the object that comes out of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    size: Option<u64>,
    checksum: Option<(Algorithm, String)>,
    scope: Option<Scope>,
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, S3Error> {
        let size = match request.header_text("x-amz-mp-object-size")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let message = "The value of x-amz-mp-object-size is not a length in bytes.";
                S3Error::invalid_argument("x-amz-mp-object-size", text, message)
            })?),
        };
        let scope = match request.header_text("x-amz-checksum-type")? {
            None => None,
            Some(text) => Some(Scope::from_name(text.as_bytes()).ok_or_else(|| {
                let message = "Value for x-amz-checksum-type header is invalid.";
                S3Error::invalid_argument("x-amz-checksum-type", text, message)
            })?),
        };
        let mut checksum = None;
        for algorithm in Algorithm::ALL {
            if let Some(value) = request.header_text(algorithm.header())? {
                checksum = Some((algorithm, value.to_owned()));
            }
        }
        Ok(Self { size, checksum, scope })
    }

    /// Checks the parts against it; gives the object's checksum.
    fn check(
        &self,
        parts: &[ManifestPart],
        kind: Option<ChecksumKind>,
    ) -> Result<Option<Checksum>, S3Error> {
        let invalid = |message: String| S3Error::new(Code::InvalidRequest, message);
        let size = parts::len(parts);
        if self.size.is_some_and(|wanted| wanted != size) {
            return Err(invalid(format!(
                "The provided 'x-amz-mp-object-size' header does not match what was computed: the parts have {size} bytes."
            )));
        }
        // An upload that asked for none may still be checked at its end, if its parts came with what that takes.
        let kind = kind.or_else(|| {
            let (algorithm, _) = self.checksum.as_ref()?;
            let full = if algorithm.allows(Scope::FullObject) {
                Scope::FullObject
            } else {
                Scope::Composite
            };
            Some(ChecksumKind { algorithm: *algorithm, scope: self.scope.unwrap_or(full) })
        });
        let Some(kind) = kind else {
            return match self.scope {
                None => Ok(None),
                Some(_) => Err(invalid(
                    "The x-amz-checksum-type header does not fit: the upload was created without a checksum algorithm."
                        .to_owned(),
                )),
            };
        };
        if self.scope.is_some_and(|scope| scope != kind.scope) {
            return Err(invalid(format!(
                "The upload was created with the {} checksum type, which the x-amz-checksum-type header must not contradict.",
                kind.scope.name()
            )));
        }
        let computed = parts::checksum(parts, kind).ok_or_else(|| {
            invalid(format!(
                "The {} checksum of the object cannot be computed: not every part has one of this algorithm.",
                kind.algorithm.name()
            ))
        })?;
        match &self.checksum {
            Some((algorithm, _)) if *algorithm != kind.algorithm => Err(invalid(format!(
                "The upload was created using the {} checksum algorithm, and {} is named at its completion.",
                kind.algorithm.name(),
                algorithm.name()
            ))),
            Some((_, value)) if !says(value, &computed) => Err(S3Error::new(
                Code::BadDigest,
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    kind.algorithm.name()
                ),
            )),
            Some(_) | None => Ok(Some(computed)),
        }
    }
}

/// Whether a header's text is this checksum. A composite one may come with the number of its parts.
fn says(text: &str, checksum: &Checksum) -> bool {
    let value = match checksum.scope {
        Scope::Composite => text.split_once('-').map_or(text, |(value, _)| value),
        Scope::FullObject => text,
    };
    checksum.algorithm.decode(value.as_bytes()).is_some_and(|value| value == checksum.value)
}

fn no_md5() -> S3Error {
    S3Error::new(Code::InternalError, "A stored part has an entity tag that is no MD5.")
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "Location")]
    location: String,
    #[serde(rename = "Bucket")]
    bucket: &'a str,
    #[serde(rename = "Key")]
    key: &'a str,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(flatten)]
    checksum: ChecksumXml,
}

fn document(call: &Call, meta: &Meta, parts: usize) -> Result<Bytes, S3Error> {
    let host = call.request.header("host").map(String::from_utf8_lossy).unwrap_or_default();
    let parts = u16::try_from(parts).ok();
    xml::to_xml(
        "CompleteMultipartUploadResult",
        &Document {
            location: format!("http://{host}{}", call.request.resource()),
            bucket: &call.bucket().name,
            key: key_text(call),
            etag: format!("\"{}\"", meta.etag),
            checksum: ChecksumXml::of_object(meta.checksum.as_ref(), parts),
        },
    )
}
