//! ListObjects.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>

use serde::Serialize;

use super::page::{self, Asked, CommonPrefix, Contents};
use crate::{
    s3::{
        bucket::list::Owner,
        call::{Call, Response},
        error::S3Error,
        xml,
    },
    store::{From, Table},
    task::Cx,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    name: &'a str,
    prefix: String,
    marker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    max_keys: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    contents: Vec<Contents>,
    common_prefixes: Vec<CommonPrefix>,
}

/// Lists a page of a bucket's objects, after a marker.
pub(crate) async fn list_objects(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let asked = Asked::read(call, "max-keys")?;
    let marker = call.request.query.get("marker").unwrap_or_default();
    let from = match marker {
        "" => From::Start,
        marker => From::After(marker.as_bytes().to_vec()),
    };
    let listing = page::fetch(cx, call, Table::Object, &asked, from).await?;
    let is_truncated = listing.truncated;
    // Without a delimiter the last key is the next marker, and AWS leaves it to the client to know that.
    let next_marker = page::last(&listing)
        .filter(|_| is_truncated && !asked.delimiter.is_empty())
        .map(|last| asked.key(last));
    let owner = Owner::of(call);
    let (contents, common_prefixes) = page::elements(&asked, listing, Some(&owner))?;
    let document = Document {
        name: &call.bucket().name,
        prefix: asked.text(asked.prefix),
        marker: asked.text(marker),
        next_marker,
        max_keys: asked.max_keys,
        delimiter: asked.delimiter_element(),
        is_truncated,
        encoding_type: asked.encoding(),
        contents,
        common_prefixes,
    };
    Ok(Response::xml(200, xml::to_xml("ListBucketResult", &document)?))
}
