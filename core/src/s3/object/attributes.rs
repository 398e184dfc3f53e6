//! GetObjectAttributes.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>

use serde::Serialize;

use crate::{
    s3::{
        call::{Call, Response, Target},
        date,
        egress::manifest_page,
        error::S3Error,
        multipart::ChecksumXml,
        object::{
            conditions::{self, Current, Verdict},
            get,
        },
        xml,
    },
    table::{
        object::{Content, Parts},
        upload::{ManifestPart, ManifestRow},
    },
    task::Cx,
};

/// What may be asked for.
const NAMES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// Parts on one page of the answer, at most and by default.
const MAX_PARTS: u16 = 1000;

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(rename = "ETag", skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<ChecksumXml>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_parts: Option<PartsElement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_size: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PartsElement {
    parts_count: u16,
    part_number_marker: u16,
    next_part_number_marker: u16,
    max_parts: u16,
    is_truncated: bool,
    #[serde(rename = "Part")]
    parts: Vec<PartElement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PartElement {
    part_number: u16,
    size: u64,
    #[serde(flatten)]
    checksum: ChecksumXml,
}

/// Tells of an object what was asked for.
pub(crate) async fn get_object_attributes(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let names = asked(call)?;
    let wants = |name: &str| names.iter().any(|each| each == name);
    let target = call.target();
    let stored = get::current(cx, call, &target, false).await?;
    let content = &stored.row.content;
    let meta = content.meta().expect("not a tombstone");
    let modified = stored.row.version.stamp().wall();
    let current = Current { etag: &meta.etag, modified };
    match conditions::evaluate(&call.request.head, conditions::OBJECT, current) {
        Verdict::Holds => {}
        Verdict::NotModified(_) => return Ok(Response::empty(304)),
        Verdict::Failed(header) => return Err(conditions::failed(header)),
    }
    let parts = match content {
        Content::Parts(_, parts) => Some(parts),
        Content::Deleted | Content::Inline(_) | Content::Blocks(..) => None,
    };
    let object_parts = match parts {
        Some(parts) if wants("ObjectParts") => {
            Some(page_of_parts(cx, call, &target, parts, meta.checksum.is_some()).await?)
        }
        Some(_) | None => None,
    };
    let checksum = meta.checksum.as_ref().filter(|_| wants("Checksum"));
    let document = Document {
        etag: wants("ETag").then(|| meta.etag.clone()),
        checksum: checksum
            .map(|checksum| ChecksumXml::of_object(Some(checksum), parts.map(|parts| parts.count))),
        object_parts,
        storage_class: wants("StorageClass").then_some("STANDARD"),
        object_size: wants("ObjectSize").then_some(meta.size),
    };
    let document = xml::to_xml("GetObjectAttributesResponse", &document)?;
    Ok(Response::xml(200, document).header("last-modified", date::http(modified)))
}

fn asked(call: &Call) -> Result<Vec<String>, S3Error> {
    let values = call.request.head.all("x-amz-object-attributes");
    let names = values.flat_map(|value| value.split(|byte| *byte == b','));
    let names: Vec<_> =
        names.map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect();
    let wrong = names.iter().find(|name| !NAMES.contains(&name.as_str()));
    if names.is_empty() || wrong.is_some() {
        let shown = wrong.cloned().unwrap_or_default();
        let message = "Invalid attribute name specified.";
        return Err(S3Error::invalid_argument("x-amz-object-attributes", shown, message));
    }
    Ok(names)
}

/// Parts are listed one by one only where each has a checksum to tell of, as AWS does.
async fn page_of_parts(
    cx: Cx,
    call: &Call,
    target: &Target,
    parts: &Parts,
    listed: bool,
) -> Result<PartsElement, S3Error> {
    let max_parts = number(call, "x-amz-max-parts", MAX_PARTS)?.min(MAX_PARTS);
    let marker = number(call, "x-amz-part-number-marker", 0)?;
    let mut element = PartsElement {
        parts_count: parts.count,
        part_number_marker: marker,
        next_part_number_marker: 0,
        max_parts,
        is_truncated: false,
        parts: Vec::new(),
    };
    if !listed {
        return Ok(element);
    }
    // Numbers ascend and may have gaps: all parts on earlier pages have smaller numbers only if this page's first has.
    let pages = u16::try_from(parts.pages.len()).unwrap_or(u16::MAX);
    let mut page = u16::try_from(usize::from(marker) / ManifestRow::PAGE).unwrap_or(u16::MAX);
    page = page.min(pages.saturating_sub(1));
    let mut rows = manifest_page(cx, &call.view, target.position, parts, page).await?;
    while page > 0 && rows.first().is_some_and(|first| first.number > marker) {
        page -= 1;
        rows = manifest_page(cx, &call.view, target.position, parts, page).await?;
    }
    loop {
        for part in rows.iter().filter(|part| part.number > marker) {
            if element.parts.len() >= usize::from(max_parts) {
                element.is_truncated = true;
                return Ok(element);
            }
            element.next_part_number_marker = part.number;
            element.parts.push(part_element(part));
        }
        page += 1;
        if page >= pages {
            return Ok(element);
        }
        rows = manifest_page(cx, &call.view, target.position, parts, page).await?;
    }
}

fn part_element(part: &ManifestPart) -> PartElement {
    PartElement {
        part_number: part.number,
        size: part.part.size,
        checksum: ChecksumXml::of_part(part.part.checksum.as_ref()),
    }
}

fn number(call: &Call, header: &'static str, default: u16) -> Result<u16, S3Error> {
    let Some(text) = call.request.header_text(header)? else { return Ok(default) };
    let message = format!("Provided {header} not an integer or within integer range");
    match text.parse::<u32>() {
        Ok(number) => Ok(u16::try_from(number).unwrap_or(u16::MAX)),
        Err(_) => Err(S3Error::invalid_argument(header, text, message)),
    }
}
