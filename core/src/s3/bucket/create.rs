//! CreateBucket.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>

use std::collections::BTreeMap;

use serde::Deserialize;

use super::name;
use crate::{
    effect::PeerError,
    id::BucketId,
    quorum,
    s3::{
        call::{Call, Response},
        error::{Code, S3Error},
        xml,
    },
    store::{Batch, Guard, Op, Outcome, Table},
    table::{
        self,
        access::{AccessKeyRow, AliasRow, BucketRow, Lww, Permissions},
        ballot::FullCopyRow,
    },
    task::Cx,
    time::{Stamp, Timestamp},
    view::View,
};

#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(rename = "LocationConstraint")]
    location: Option<String>,
    #[serde(rename = "Location")]
    zone: Option<serde::de::IgnoredAny>,
    #[serde(rename = "Bucket")]
    bucket: Option<serde::de::IgnoredAny>,
    #[serde(rename = "Tags")]
    tags: Option<serde::de::IgnoredAny>,
}

/// Creates a bucket that the request's key owns.
pub(crate) async fn create_bucket(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let bucket_name = call.request.bucket.as_deref().unwrap_or_default();
    name::check(bucket_name)?;
    call.open(cx)?;
    let document = cx.collect(xml::DOCUMENT_MAX).await?;
    check_configuration(call, &document)?;
    match create(cx, &call.view, bucket_name, &call.key_id, &call.key).await? {
        Created::New(_) => Ok(Response::empty(200).header("location", format!("/{bucket_name}"))),
        Created::Taken(owner) => {
            // The own copy of the key may not know yet that the bucket is its own.
            let keys = vec![(Table::AccessKey, call.key_id.as_bytes().to_vec())];
            let key = match quorum::is_sole_copy(&call.view) {
                true => None,
                false => quorum::confirm(cx, &call.view, keys).await?.pop().flatten(),
            };
            let key: Option<AccessKeyRow> =
                key.map(|value| table::decode(Table::AccessKey, &value)).transpose()?;
            Err(taken(key.as_ref().unwrap_or(&call.key), bucket_name, owner))
        }
    }
}

fn check_configuration(call: &Call, document: &[u8]) -> Result<(), S3Error> {
    if document.is_empty() {
        return Ok(());
    }
    let asked: Configuration = xml::parse(document, "CreateBucketConfiguration")?;
    if asked.zone.is_some() || asked.bucket.is_some() {
        return Err(S3Error::not_implemented(
            "A bucket with a Location or a type (directory bucket)",
        ));
    }
    if asked.tags.is_some() {
        return Err(S3Error::not_implemented("A bucket with Tags"));
    }
    let config = &call.view.config;
    match asked.location.as_deref() {
        None | Some("") => Ok(()),
        // As with signatures: clients are configured for all kinds of regions, and there is only one here.
        Some(_) if !config.region_strict => Ok(()),
        Some(region) if region == config.region => Ok(()),
        Some(region) => Err(S3Error::new(
            Code::InvalidLocationConstraint,
            format!(
                "The specified location-constraint is not valid; this store is in {}.",
                config.region
            ),
        )
        .detail("LocationConstraint", region)),
    }
}

fn taken(key: &AccessKeyRow, name: &str, owner: Option<BucketId>) -> S3Error {
    let permissions = owner.and_then(|id| key.buckets.get(&id));
    let error = if permissions.is_some_and(|permissions| permissions.value.owner) {
        S3Error::new(
            Code::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.",
        )
    } else {
        S3Error::new(
            Code::BucketAlreadyExists,
            "The requested bucket name is not available. Please select a different name and try again.",
        )
    };
    error.detail("BucketName", name)
}

/// What came of [`create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The new bucket.
    New(BucketId),
    /// The name is in use, by this bucket if it is still so.
    Taken(Option<BucketId>),
}

/// Creates a bucket under a name, owned by a key: in one commit, or where several nodes have a say, as a majority of them
/// settles. The name has been checked.
pub async fn create(
    cx: Cx,
    view: &View,
    name: &str,
    key_id: &str,
    key: &AccessKeyRow,
) -> Result<Created, PeerError> {
    let sole = quorum::is_sole_copy(view);
    let alias = if sole { read_alias(cx, view, name).await? } else { None };
    if let Some(Lww { value: Some(bucket), .. }) = alias {
        return Ok(Created::Taken(Some(bucket)));
    }
    let now = cx.now().wall;
    let new = New {
        id: BucketId(cx.random()),
        name,
        created: now,
        shards: view.config.index_shards,
        key_id,
        key,
    };
    if !sole {
        // Also where the name is known to be taken: its bucket may be half created, and is then finished.
        return new.agree(cx, view).await;
    }
    // Later than whatever took the name away before.
    let rows = new.rows(alias.map_or(Stamp(0), |alias| alias.at));
    let alias = merge(Table::Alias, name.as_bytes(), table::encode(&rows.alias));
    let others = rows.others.into_iter().map(|(table, key, value)| merge(table, &key, value));
    let ops = [alias].into_iter().chain(others).collect();
    let absent = Guard::Absent { table: Table::Alias, key: name.as_bytes().to_vec() };
    match quorum::write_full_copy(cx, view, Batch::new(now, ops).guarded(absent)).await? {
        Outcome::Applied(_) => Ok(Created::New(new.id)),
        Outcome::Refused { .. } => {
            let alias = read_alias(cx, view, name).await?;
            Ok(Created::Taken(alias.and_then(|alias| alias.value)))
        }
    }
}

/// A bucket to be.
struct New<'a> {
    id: BucketId,
    name: &'a str,
    created: Timestamp,
    shards: u16,
    key_id: &'a str,
    key: &'a AccessKeyRow,
}

/// The rows of a new bucket.
struct NewRows {
    alias: AliasRow,
    /// The bucket's row and its owner's.
    others: Vec<(Table, Vec<u8>, Vec<u8>)>,
}

impl New<'_> {
    /// The rows, later than `seen`.
    fn rows(&self, seen: Stamp) -> NewRows {
        let at = Stamp::past(self.created, seen);
        let bucket = BucketRow {
            created: self.created,
            shards: self.shards,
            deleted: false,
            aliases: BTreeMap::from([(self.name.to_owned(), Lww { at, value: true })]),
            seals: BTreeMap::new(),
        };
        let all = Permissions { read: true, write: true, owner: true };
        let mut key = self.key.clone();
        key.buckets = BTreeMap::from([(self.id, Lww { at, value: all })]);
        let others = vec![
            (Table::Bucket, self.id.0.to_vec(), table::encode(&bucket)),
            (Table::AccessKey, self.key_id.as_bytes().to_vec(), table::encode(&key)),
        ];
        NewRows { alias: AliasRow { bucket: Lww { at, value: Some(self.id) } }, others }
    }

    /// Creates it if a majority of the nodes agrees that the name is free.
    async fn agree(&self, cx: Cx, view: &View) -> Result<Created, PeerError> {
        let settled = quorum::change(cx, view, self.name, |current| {
            if current.bucket.value.is_some() {
                return None;
            }
            let NewRows { alias, others } = self.rows(current.bucket.at);
            let rows = others.into_iter();
            let rows =
                rows.map(|(table, key, value)| FullCopyRow::new(table, key, value)).collect();
            Some(quorum::Change { alias, rows })
        })
        .await?;
        Ok(match settled.bucket.value {
            Some(id) if id == self.id => Created::New(id),
            other => Created::Taken(other),
        })
    }
}

async fn read_alias(
    cx: Cx,
    view: &View,
    name: &str,
) -> Result<Option<Lww<Option<BucketId>>>, PeerError> {
    let keys = vec![(Table::Alias, name.as_bytes().to_vec())];
    let Some(value) = quorum::get_local(cx, view, keys).await?.pop().flatten() else {
        return Ok(None);
    };
    let row: AliasRow = table::decode(Table::Alias, &value).map_err(PeerError::Store)?;
    Ok(Some(row.bucket))
}

/// The change that merges a row of a full-copy table.
pub(super) fn merge(table: Table, key: &[u8], value: Vec<u8>) -> Op {
    Op::Merge { table, key: key.to_vec(), value, inline: None }
}
