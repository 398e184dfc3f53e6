//! ListParts: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use serde::Serialize;

use super::{ChecksumXml, Named, PersonXml, count, key_text, no_such_upload, parts::PARTS_MAX};
use crate::{
    s3::{
        call::{Call, Response},
        date,
        error::S3Error,
        xml,
    },
    table::upload::{PartRow, UploadRow},
    task::Cx,
};

/// The most parts in one answer, and their number when `max-parts` is not given.
const PAGE_MAX: u16 = 1000;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "Bucket")]
    bucket: &'a str,
    #[serde(rename = "Key")]
    key: &'a str,
    #[serde(rename = "UploadId")]
    upload: String,
    #[serde(rename = "PartNumberMarker")]
    marker: u32,
    #[serde(rename = "NextPartNumberMarker", skip_serializing_if = "Option::is_none")]
    next_marker: Option<u16>,
    #[serde(rename = "MaxParts")]
    max: u16,
    #[serde(rename = "IsTruncated")]
    truncated: bool,
    #[serde(rename = "Part")]
    parts: Vec<PartXml>,
    #[serde(rename = "Initiator")]
    initiator: PersonXml,
    #[serde(rename = "Owner")]
    owner: PersonXml,
    #[serde(rename = "StorageClass")]
    class: &'static str,
    #[serde(rename = "ChecksumAlgorithm", skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    #[serde(rename = "ChecksumType", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

#[derive(Serialize)]
struct PartXml {
    #[serde(rename = "PartNumber")]
    number: u16,
    #[serde(rename = "LastModified")]
    modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(flatten)]
    checksum: ChecksumXml,
}

impl PartXml {
    fn new(number: u16, row: &PartRow) -> Self {
        Self {
            number,
            modified: date::iso8601(row.data.stamp().wall()),
            etag: format!("\"{}\"", row.etag),
            size: row.size,
            checksum: ChecksumXml::of_part(row.checksum.as_ref()),
        }
    }
}

/// One page of an open upload's parts, by number.
pub(crate) async fn list_parts(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let named = Named::by(call)?;
    let max = count(call, "max-parts")?
        .map_or(PAGE_MAX, |max| u16::try_from(max).unwrap_or(PAGE_MAX).min(PAGE_MAX));
    let marker = count(call, "part-number-marker")?.unwrap_or(0);
    let UploadRow::Open { checksum, initiator, .. } = named.row(cx, call).await? else {
        return Err(no_such_upload());
    };
    let first = u16::try_from(marker).ok().and_then(|marker| marker.checked_add(1));
    let first = first.filter(|first| *first <= PARTS_MAX && max > 0);
    let mut rows = match first {
        // One more than asked for tells whether there are more.
        Some(first) => named.parts(cx, call, first, usize::from(max) + 1).await?,
        None => Vec::new(),
    };
    let truncated = rows.len() > usize::from(max);
    rows.truncate(usize::from(max));
    let document = Document {
        bucket: &call.bucket().name,
        key: key_text(call),
        upload: named.upload.to_string(),
        marker,
        next_marker: rows.last().map(|(number, ..)| *number),
        max,
        truncated,
        parts: rows.iter().map(|(number, row, _)| PartXml::new(*number, row)).collect(),
        initiator: PersonXml::of(&initiator),
        owner: PersonXml::of(&initiator),
        class: "STANDARD",
        algorithm: checksum.map(|kind| kind.algorithm.name()),
        scope: checksum.map(|kind| kind.scope.name()),
    };
    Ok(Response::xml(200, xml::to_xml("ListPartsResult", &document)?))
}
