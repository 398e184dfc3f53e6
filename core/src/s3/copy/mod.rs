//! Copies within the store. Blocks are content-addressed and counted, so a copy is a new list of references to the same blocks:
//! its cost is that of its metadata, not of its bytes, wherever the request does not ask for a digest of them.

pub mod blocks;
pub mod conditions;
pub mod object;
pub mod part;
pub mod source;

use serde::Serialize;

use super::{call::Response, date, error::S3Error, multipart::ChecksumXml, xml};
use crate::time::Timestamp;

#[derive(Serialize)]
struct Document {
    #[serde(rename = "LastModified")]
    modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(flatten)]
    checksum: ChecksumXml,
}

/// What whoever asked for a copy is told of it, in a document of this name.
fn answer(
    name: &str,
    etag: &str,
    checksum: ChecksumXml,
    modified: Timestamp,
) -> Result<Response, S3Error> {
    let (modified, etag) = (date::iso8601(modified), format!("\"{etag}\""));
    let document = Document { modified, etag, checksum };
    Ok(Response::xml(200, xml::to_xml(name, &document)?))
}
