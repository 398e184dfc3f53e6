//! ListObjectsV2.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use serde::Serialize;

use super::{
    page::{self, Asked, CommonPrefix, Contents},
    token,
};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    start_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
    key_count: usize,
    max_keys: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    contents: Vec<Contents>,
    common_prefixes: Vec<CommonPrefix>,
}

/// Lists a page of a bucket's objects, from a token or after a key.
pub(crate) async fn list_objects_v2(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let asked = Asked::read(call, "max-keys")?;
    let query = &call.request.query;
    let bucket_name = &call.bucket().name;
    let continuation_token = query.get("continuation-token");
    let start_after = query.get("start-after").filter(|key| !key.is_empty());
    let from = match (continuation_token, start_after) {
        (Some(text), _) => From::After(token::read(bucket_name, text)?),
        (None, Some(key)) => From::After(key.as_bytes().to_vec()),
        (None, None) => From::Start,
    };
    let listing = page::fetch(cx, call, Table::Object, &asked, from).await?;
    let (key_count, is_truncated) = (listing.entries.len(), listing.truncated);
    let next = page::last(&listing).filter(|_| is_truncated);
    let next_continuation_token = next.map(|last| token::write(bucket_name, last));
    let owner = query.get("fetch-owner").filter(|text| *text == "true").map(|_| Owner::of(call));
    let (contents, common_prefixes) = page::elements(&asked, listing, owner.as_ref())?;
    let document = Document {
        name: bucket_name,
        prefix: asked.text(asked.prefix),
        start_after: start_after.map(|key| asked.text(key)),
        continuation_token,
        next_continuation_token,
        key_count,
        max_keys: asked.max_keys,
        delimiter: asked.delimiter_element(),
        is_truncated,
        encoding_type: asked.encoding(),
        contents,
        common_prefixes,
    };
    Ok(Response::xml(200, xml::to_xml("ListBucketResult", &document)?))
}
