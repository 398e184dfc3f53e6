//! ListMultipartUploads: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use serde::Serialize;

use super::PersonXml;
use crate::{
    id::VersionId,
    s3::{
        call::{Call, Response},
        date,
        error::S3Error,
        list::page::{self, Asked, CommonPrefix},
        xml,
    },
    store::{Entry, From, Table},
    table::{self, upload::UploadRow},
    task::Cx,
};

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "Bucket")]
    bucket: &'a str,
    #[serde(rename = "KeyMarker")]
    key_marker: String,
    #[serde(rename = "UploadIdMarker")]
    upload_marker: &'a str,
    #[serde(rename = "NextKeyMarker", skip_serializing_if = "Option::is_none")]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker", skip_serializing_if = "Option::is_none")]
    next_upload: Option<String>,
    #[serde(rename = "Prefix")]
    prefix: String,
    #[serde(rename = "Delimiter", skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    #[serde(rename = "EncodingType", skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(rename = "MaxUploads")]
    max: usize,
    #[serde(rename = "IsTruncated")]
    truncated: bool,
    #[serde(rename = "Upload")]
    uploads: Vec<UploadXml>,
    #[serde(rename = "CommonPrefixes")]
    prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
struct UploadXml {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    upload: String,
    #[serde(rename = "Initiator")]
    initiator: PersonXml,
    #[serde(rename = "Owner")]
    owner: PersonXml,
    #[serde(rename = "StorageClass")]
    class: &'static str,
    #[serde(rename = "Initiated")]
    initiated: String,
    #[serde(rename = "ChecksumAlgorithm", skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    #[serde(rename = "ChecksumType", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

/// One page of a bucket's open uploads, by key and then by age.
pub(crate) async fn list_multipart_uploads(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let query = &call.request.query;
    let asked = Asked::read(call, "max-uploads")?;
    let key_marker = query.get("key-marker").unwrap_or_default();
    let upload_marker = query.get("upload-id-marker").unwrap_or_default();
    let from = from(key_marker, upload_marker)?;
    let listing = page::fetch(cx, call, Table::Upload, &asked, from).await?;
    let next = listing.entries.last().filter(|_| listing.truncated).map(next_marker);
    let (next_key, next_upload) = next.unzip();
    let mut document = Document {
        bucket: &call.bucket().name,
        key_marker: asked.text(key_marker),
        upload_marker,
        next_key: next_key.map(|key| asked.key(key)),
        next_upload,
        prefix: asked.text(asked.prefix),
        delimiter: asked.delimiter_element(),
        encoding: asked.encoding(),
        max: asked.max_keys,
        truncated: listing.truncated,
        uploads: Vec::new(),
        prefixes: Vec::new(),
    };
    for entry in &listing.entries {
        match entry {
            Entry::CommonPrefix { prefix, .. } => {
                document.prefixes.push(CommonPrefix::new(&asked, prefix));
            }
            Entry::Row { key, upload, value } => {
                let upload = upload.expect("a listing of uploads names them");
                document.uploads.extend(upload_xml(asked.key(key), upload, value)?);
            }
        }
    }
    Ok(Response::xml(200, xml::to_xml("ListMultipartUploadsResult", &document)?))
}

/// Where the page begins. An upload's marker without a key's means nothing, as AWS documents.
fn from(key: &str, upload: &str) -> Result<From, S3Error> {
    if key.is_empty() {
        return Ok(From::Start);
    }
    if upload.is_empty() {
        return Ok(From::After(key.as_bytes().to_vec()));
    }
    let id = VersionId::from_hex(upload).ok_or_else(|| {
        S3Error::invalid_argument("upload-id-marker", upload, "Invalid uploadId marker")
    })?;
    Ok(From::AfterUpload(key.as_bytes().to_vec(), id))
}

/// What names this entry as the last of its page.
fn next_marker(entry: &Entry) -> (&[u8], String) {
    match entry {
        Entry::CommonPrefix { prefix, .. } => (prefix, String::new()),
        Entry::Row { key, upload, .. } => {
            (key, upload.map(|id| id.to_string()).unwrap_or_default())
        }
    }
}

fn upload_xml(key: String, id: VersionId, value: &[u8]) -> Result<Option<UploadXml>, S3Error> {
    match table::decode(Table::Upload, value)? {
        UploadRow::Open { checksum, initiator, .. } => Ok(Some(UploadXml {
            key,
            upload: id.to_string(),
            initiator: PersonXml::of(&initiator),
            owner: PersonXml::of(&initiator),
            class: "STANDARD",
            initiated: date::iso8601(id.stamp().wall()),
            algorithm: checksum.map(|kind| kind.algorithm.name()),
            scope: checksum.map(|kind| kind.scope.name()),
        })),
        // Listings give live rows only.
        UploadRow::Closed { .. } => Ok(None),
    }
}
