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
    if let Some(mine) =
        call.bucket.as_ref().filter(|b| call.signer().key.local(bucket_name) == Some(b.id))
    {
        return Err(taken(&call.signer().key, bucket_name, Some(mine.id)));
    }
    let signer = call.signer();
    let owner =
        Owner { id: &signer.id, key: &signer.key, permissions: Permissions::ALL, alias: None };
    let wanted = Wanted { name: Some(bucket_name), owner: Some(owner) };
    match create(cx, &call.view, wanted).await? {
        Created::New(_) => Ok(Response::empty(200).header("location", format!("/{bucket_name}"))),
        Created::Taken(owner) => {
            // The own copy of the key may not know yet that the bucket is its own.
            let keys = vec![(Table::AccessKey, signer.id.as_bytes().to_vec())];
            let key = match quorum::is_sole_copy(&call.view) {
                true => None,
                false => quorum::confirm(cx, &call.view, keys).await?.pop().flatten(),
            };
            let key: Option<AccessKeyRow> =
                key.map(|value| table::decode(Table::AccessKey, &value)).transpose()?;
            Err(taken(key.as_ref().unwrap_or(&signer.key), bucket_name, owner))
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

/// A bucket as it is to be created. Names have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The name by which everybody calls it.
    pub name: Option<&'a str>,
    /// The key that may do something with it.
    pub owner: Option<Owner<'a>>,
}

/// A key that may do something with a bucket to be.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The key's id.
    pub id: &'a str,
    /// Its row.
    pub key: &'a AccessKeyRow,
    /// What it may do.
    pub permissions: Permissions,
    /// How it alone calls the bucket.
    pub alias: Option<&'a str>,
}

/// Creates a bucket: in one commit, or where several nodes have a say, as a majority of them settles who has the name.
pub async fn create(cx: Cx, view: &View, wanted: Wanted<'_>) -> Result<Created, PeerError> {
    match (once(cx, view, wanted).await?, wanted.name) {
        (Created::Taken(Some(other)), Some(name)) if is_deleted(cx, view, other).await? => {
            // It was given this name while it was being deleted.
            quorum::release(cx, view, name, other).await?;
            once(cx, view, wanted).await
        }
        (created, _) => Ok(created),
    }
}

/// Whether a bucket is known to be no more.
pub(super) async fn is_deleted(cx: Cx, view: &View, id: BucketId) -> Result<bool, PeerError> {
    let keys = vec![(Table::Bucket, id.0.to_vec())];
    let Some(value) = quorum::confirm(cx, view, keys).await?.pop().flatten() else {
        return Ok(false);
    };
    let row: BucketRow = table::decode(Table::Bucket, &value).map_err(PeerError::Store)?;
    Ok(row.deleted)
}

async fn once(cx: Cx, view: &View, wanted: Wanted<'_>) -> Result<Created, PeerError> {
    let alias = match wanted.name {
        Some(name) if quorum::is_sole_copy(view) => read_alias(cx, view, name).await?,
        Some(_) | None => None,
    };
    if let Some(Lww { value: Some(bucket), .. }) = alias {
        return Ok(Created::Taken(Some(bucket)));
    }
    let new = New {
        id: BucketId(cx.random()),
        created: cx.now().wall,
        shards: view.config.index_shards,
        wanted,
    };
    let merges = |rows: Vec<(Table, Vec<u8>, Vec<u8>)>| {
        rows.into_iter().map(|(table, key, value)| merge(table, &key, value))
    };
    let Some(name) = wanted.name else {
        // Nobody else can know it, so there is nothing to settle.
        let ops = merges(new.others(Stamp(0))).collect();
        quorum::write_full_copy(cx, view, Batch::new(new.created, ops)).await?;
        return Ok(Created::New(new.id));
    };
    if !quorum::is_sole_copy(view) {
        // Also where the name is known to be taken: its bucket may be half created, and is then finished.
        return new.agree(cx, view, name).await;
    }
    // Later than whatever took the name away before.
    let at = Stamp::past(new.created, alias.map_or(Stamp(0), |alias| alias.at));
    let alias = merge(Table::Alias, name.as_bytes(), table::encode(&new.alias(at)));
    let ops = [alias].into_iter().chain(merges(new.others(at))).collect();
    let absent = Guard::Absent { table: Table::Alias, key: name.as_bytes().to_vec() };
    match quorum::write_full_copy(cx, view, Batch::new(new.created, ops).guarded(absent)).await? {
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
    created: Timestamp,
    shards: u16,
    wanted: Wanted<'a>,
}

impl New<'_> {
    fn alias(&self, at: Stamp) -> AliasRow {
        AliasRow { bucket: Lww { at, value: Some(self.id) } }
    }

    /// The bucket's row and its owner's, if its name is set at this moment.
    fn others(&self, at: Stamp) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let names = self.wanted.name.map(|name| (name.to_owned(), Lww { at, value: true }));
        let bucket = BucketRow {
            created: self.created,
            shards: self.shards,
            aliases: names.into_iter().collect(),
            ..BucketRow::default()
        };
        let mut rows = vec![(Table::Bucket, self.id.0.to_vec(), table::encode(&bucket))];
        if let Some(owner) = &self.wanted.owner {
            let mut key = owner.key.clone();
            let granted = Lww { at: Stamp::past(self.created, at), value: owner.permissions };
            key.buckets = BTreeMap::from([(self.id, granted)]);
            key.aliases = BTreeMap::new();
            if let Some(name) = owner.alias {
                let before = owner.key.aliases.get(name).map_or(Stamp(0), |alias| alias.at);
                let at = Stamp::past(self.created, before);
                key.aliases.insert(name.to_owned(), Lww { at, value: Some(self.id) });
            }
            rows.push((Table::AccessKey, owner.id.as_bytes().to_vec(), table::encode(&key)));
        }
        rows
    }

    /// Creates it if a majority of the nodes agrees that the name is free.
    async fn agree(&self, cx: Cx, view: &View, name: &str) -> Result<Created, PeerError> {
        let settled = quorum::change(cx, view, name, |current| {
            if current.bucket.value.is_some() {
                return None;
            }
            let at = Stamp::past(self.created, current.bucket.at);
            let rows = self.others(at).into_iter();
            let rows =
                rows.map(|(table, key, value)| FullCopyRow::new(table, key, value)).collect();
            Some(quorum::Change { alias: self.alias(at), rows })
        })
        .await?;
        Ok(match settled.bucket.value {
            Some(id) if id == self.id => Created::New(id),
            other => Created::Taken(other),
        })
    }
}

/// What a name stands for, as the own node has it.
pub(super) async fn read_alias(
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
