//! ListBuckets.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    effect::PeerError,
    id::BucketId,
    quorum,
    s3::{
        call::{Call, Response},
        date,
        error::S3Error,
        list::token,
        xml,
    },
    store::Table,
    table::{
        self,
        access::{AccessKeyRow, BucketRow, Permissions},
    },
    task::Cx,
    time::Timestamp,
};

/// Buckets on one page, at most and by default.
const MAX_BUCKETS: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    owner: Owner,
    buckets: Buckets,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

/// Whom a listing names as owner: the access key, as there are no accounts.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Owner {
    #[serde(rename = "ID")]
    id: String,
    display_name: String,
}

impl Owner {
    pub(crate) fn of(call: &Call) -> Self {
        let signer = call.signer();
        Self { id: signer.id.clone(), display_name: signer.key.name.value.clone() }
    }
}

#[derive(Serialize)]
struct Buckets {
    #[serde(rename = "Bucket")]
    buckets: Vec<BucketElement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BucketElement {
    name: String,
    creation_date: String,
    bucket_region: String,
}

/// Lists the buckets that the request's key may do something with, by name.
pub(crate) async fn list_buckets(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let query = &call.request.query;
    let region = &call.view.config.region;
    let limit = max_buckets(call)?;
    let prefix = query.get("prefix").unwrap_or_default();
    let after = match query.get("continuation-token") {
        Some(text) => Some(token::read("buckets", text)?),
        None => None,
    };
    let mut buckets = match query.get("bucket-region") {
        Some(asked) if asked != region => Vec::new(),
        Some(_) | None => accessible(cx, call).await?,
    };
    buckets.sort();
    buckets.retain(|(name, _)| {
        name.starts_with(prefix) && after.as_ref().is_none_or(|after| name.as_bytes() > &after[..])
    });
    let next = if buckets.len() > limit {
        buckets.truncate(limit);
        buckets.last().map(|(name, _)| token::write("buckets", name.as_bytes()))
    } else {
        None
    };
    let element = |(name, created)| BucketElement {
        name,
        creation_date: date::iso8601(created),
        bucket_region: region.clone(),
    };
    let document = Document {
        owner: Owner::of(call),
        buckets: Buckets { buckets: buckets.into_iter().map(element).collect() },
        continuation_token: next,
        prefix: query.get("prefix").map(str::to_owned),
    };
    Ok(Response::xml(200, xml::to_xml("ListAllMyBucketsResult", &document)?))
}

fn max_buckets(call: &Call) -> Result<usize, S3Error> {
    let Some(text) = call.request.query.get("max-buckets") else { return Ok(MAX_BUCKETS) };
    let number = text.parse().ok().filter(|number| (1..=MAX_BUCKETS).contains(number));
    let message = "Argument max-buckets must be an integer between 1 and 10000";
    number.ok_or_else(|| S3Error::invalid_argument("max-buckets", text, message))
}

async fn accessible(cx: Cx, call: &Call) -> Result<Vec<(String, Timestamp)>, S3Error> {
    // The own copy may lag behind, in the key's permissions as in the buckets.
    let keys = vec![(Table::AccessKey, call.signer().id.as_bytes().to_vec())];
    let key = match quorum::is_sole_copy(&call.view) {
        true => None,
        false => quorum::confirm(cx, &call.view, keys).await?.into_iter().next().flatten(),
    };
    let key: Option<AccessKeyRow> = key
        .map(|value| table::decode(Table::AccessKey, &value).map_err(PeerError::Store))
        .transpose()?;
    let key = key.as_ref().unwrap_or(&call.signer().key);
    let granted = key.buckets.iter().filter(|(_, granted)| granted.value != Permissions::default());
    let ids: Vec<BucketId> = granted.map(|(id, _)| *id).collect();
    let keys = ids.iter().map(|id| (Table::Bucket, id.0.to_vec())).collect();
    let rows = quorum::confirm(cx, &call.view, keys).await?;
    let mut live = BTreeMap::new();
    for (id, value) in ids.into_iter().zip(rows) {
        let Some(value) = value else { continue };
        let row: BucketRow = table::decode(Table::Bucket, &value).map_err(PeerError::Store)?;
        if !row.deleted {
            live.insert(id, row);
        }
    }
    let mut buckets = Vec::new();
    for (id, row) in &live {
        // What the key alone calls another bucket is not this one's name to it.
        let hidden = |name: &str| {
            key.local(name).is_some_and(|other| other != *id && live.contains_key(&other))
        };
        let mut names: Vec<&str> = row.names().filter(|name| !hidden(name)).collect();
        names.extend(key.local_names(*id));
        names.sort_unstable();
        names.dedup();
        buckets.extend(names.into_iter().map(|name| (name.to_owned(), row.created)));
    }
    Ok(buckets)
}
