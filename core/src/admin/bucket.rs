//! Buckets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::Error,
    permission,
    query::{Page, Query},
    row, upload,
    website::{self, WebsiteAccess},
};
use crate::{
    id::BucketId,
    quorum,
    s3::{
        bucket::{
            create::{self, Created, Owner, Wanted},
            delete::{self, Deletion},
            name,
        },
        cors::config,
        request::KEY_MAX,
    },
    table::access::{AccessKeyRow, BucketRow, Lww, Permissions, PublicRead, Quotas},
    task::Cx,
    time::Stamp,
    view::View,
};

type Keys = BTreeMap<String, AccessKeyRow>;

/// ListBuckets.
pub(super) async fn list(cx: Cx, view: &View, page: Page) -> Result<Value, Error> {
    let (buckets, keys) = (row::buckets(cx, view).await?, row::keys(cx, view).await?);
    let line = |(id, bucket): (&BucketId, &BucketRow)| {
        let local = keys.iter().flat_map(|(key_id, key)| {
            let alias = move |name| json!({ "accessKeyId": key_id, "alias": name });
            key.local_names(*id).map(alias)
        });
        json!({
            "id": id.to_string(),
            "created": row::date(bucket.created),
            "globalAliases": bucket.names().collect::<Vec<_>>(),
            "localAliases": local.collect::<Vec<_>>(),
        })
    };
    Ok(page.of(buckets.iter()).map(line).collect())
}

/// ListBucketsInfo.
pub(super) async fn list_info(cx: Cx, view: &View, page: Page) -> Result<Value, Error> {
    let (buckets, keys) = (row::buckets(cx, view).await?, row::keys(cx, view).await?);
    let mut infos = Vec::new();
    for (id, bucket) in page.of(buckets.iter()) {
        infos.push(info_among(cx, view, *id, bucket, &keys).await?);
    }
    Ok(json!(infos))
}

/// GetBucketInfo.
pub(super) async fn get(cx: Cx, view: &View, query: &Query) -> Result<Value, Error> {
    let (by, text) = query.one_of(&["id", "globalAlias", "search"])?;
    if by == "id" {
        return info(cx, view, row::bucket_id(text)?).await;
    }
    let buckets = row::buckets(cx, view).await?;
    let named = buckets.iter().find(|(_, bucket)| bucket.names().any(|name| name == text));
    if let Some((id, _)) = named {
        return info(cx, view, *id).await;
    }
    if by == "globalAlias" {
        let message = format!("there is no bucket called `{text}` by everybody");
        return Err(Error::not_found("NoSuchBucket", message));
    }
    let keys = row::keys(cx, view).await?;
    let fits = |id: &BucketId| {
        let locally = || keys.values().any(|key| key.local(text) == Some(*id));
        id.to_string().starts_with(text) || locally()
    };
    let mut found = buckets.keys().filter(|id| fits(id));
    match (found.next(), found.next()) {
        (Some(id), None) => info(cx, view, *id).await,
        (None, _) => Err(Error::not_found(
            "NoSuchBucket",
            format!("there is no bucket called `{text}`, nor one whose id begins so"),
        )),
        (Some(a), Some(b)) => Err(Error::bad(format!(
            "several buckets fit `{text}`, {a} and {b} among them; name one by its id"
        ))),
    }
}

/// All that is known of a bucket.
pub(super) async fn info(cx: Cx, view: &View, id: BucketId) -> Result<Value, Error> {
    let (bucket, keys) = (row::bucket(cx, view, id).await?, row::keys(cx, view).await?);
    info_among(cx, view, id, &bucket, &keys).await
}

async fn info_among(
    cx: Cx,
    view: &View,
    id: BucketId,
    bucket: &BucketRow,
    keys: &Keys,
) -> Result<Value, Error> {
    let usage = quorum::usage(cx, view, id, bucket.shards).await?;
    let open = match usage.uploads {
        0 => upload::Open::default(),
        _ => upload::open(cx, view, id, bucket).await?,
    };
    let key = |(key_id, key): (&String, &AccessKeyRow)| {
        let (granted, local) = (key.permissions(id), key.local_names(id).collect::<Vec<_>>());
        (granted != Permissions::default() || !local.is_empty()).then(|| {
            json!({
                "accessKeyId": key_id,
                "name": key.name.value,
                "permissions": row::permissions(granted),
                "bucketLocalAliases": local,
            })
        })
    };
    let website = bucket.website.value.as_ref().map(website::show);
    let Quotas { max_size, max_objects } = bucket.quotas.value;
    let public = bucket.public_read.value.as_ref();
    let cors: Vec<_> = bucket.cors.value.iter().map(config::Rule::from).collect();
    Ok(json!({
        "id": id.to_string(),
        "created": row::date(bucket.created),
        "globalAliases": bucket.names().collect::<Vec<_>>(),
        "websiteAccess": website.is_some(),
        "websiteConfig": website,
        "corsRules": (!cors.is_empty()).then_some(cors),
        "lifecycleRules": null,
        "keys": keys.iter().filter_map(key).collect::<Vec<_>>(),
        "objects": usage.objects,
        "bytes": usage.bytes,
        "unfinishedUploads": open.uploads,
        "unfinishedMultipartUploads": open.uploads,
        "unfinishedMultipartUploadParts": open.parts,
        "unfinishedMultipartUploadBytes": open.bytes,
        "quotas": { "maxSize": max_size, "maxObjects": max_objects },
        "publicRead": {
            "enabled": public.is_some(),
            "prefixes": public.map(|public| &public.prefixes).into_iter().flatten().collect::<Vec<_>>(),
        },
    }))
}

/// What CreateBucket may say.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct New {
    global_alias: Option<String>,
    local_alias: Option<Local>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Local {
    access_key_id: String,
    alias: String,
    #[serde(default)]
    allow: Option<permission::Flags>,
}

/// CreateBucket.
pub(super) async fn create(cx: Cx, view: &View, new: Option<New>) -> Result<Value, Error> {
    let New { global_alias, local_alias } = new.unwrap_or_default();
    global_alias.as_deref().map_or(Ok(()), name::check)?;
    let owner = match &local_alias {
        None => None,
        Some(local) => {
            name::check(&local.alias)?;
            let key = row::key(cx, view, &local.access_key_id).await?;
            if let Some(other) = key.local(&local.alias)
                && !row::some_buckets(cx, view, vec![other]).await?.is_empty()
            {
                return Err(taken(&local.alias));
            }
            Some((local, key))
        }
    };
    let owner = owner.as_ref().map(|(local, key)| Owner {
        id: &local.access_key_id,
        key,
        permissions: local.allow.unwrap_or_default().into(),
        alias: Some(&local.alias),
    });
    let wanted = Wanted { name: global_alias.as_deref(), owner };
    match create::create(cx, view, wanted).await? {
        Created::New(id) => info(cx, view, id).await,
        Created::Taken(_) => Err(taken(global_alias.as_deref().unwrap_or_default())),
    }
}

/// The error of a name that another bucket has.
pub(super) fn taken(name: &str) -> Error {
    Error::conflict("BucketAlreadyExists", format!("another bucket is called `{name}` already"))
}

/// What UpdateBucket may say. What is left out stays as it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Update {
    website_access: Option<WebsiteAccess>,
    quotas: Option<NewQuotas>,
    public_read: Option<NewPublicRead>,
    cors_rules: Option<Vec<config::Rule>>,
    lifecycle_rules: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewQuotas {
    max_size: Option<u64>,
    max_objects: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPublicRead {
    enabled: bool,
    prefixes: Option<Vec<String>>,
}

/// More beginnings of keys than anybody needs; each reading of a bucket's row reads them all.
const PREFIXES_MAX: usize = 100;

impl NewPublicRead {
    fn parse(self) -> Result<Option<PublicRead>, Error> {
        let prefixes = self.prefixes.unwrap_or_default();
        let fits = |prefix: &String| (1..=KEY_MAX).contains(&prefix.len());
        if !self.enabled && !prefixes.is_empty() {
            return Err(Error::bad("a bucket of which nothing is public has no `prefixes`"));
        }
        if prefixes.len() > PREFIXES_MAX || !prefixes.iter().all(fits) {
            return Err(Error::bad(format!(
                "`prefixes` are at most {PREFIXES_MAX} beginnings of keys, of 1 to {KEY_MAX} bytes; without any, all objects are public"
            )));
        }
        Ok(self.enabled.then(|| PublicRead { prefixes: prefixes.into_iter().collect() }))
    }
}

/// Rules that would not be followed are not taken.
fn unless_empty(rules: Option<Vec<Value>>, what: &str) -> Result<(), Error> {
    match rules {
        Some(rules) if !rules.is_empty() => Err(Error::not_implemented(what)),
        Some(_) | None => Ok(()),
    }
}

/// UpdateBucket.
pub(super) async fn update(cx: Cx, view: &View, id: &str, update: Update) -> Result<Value, Error> {
    unless_empty(update.lifecycle_rules, "`lifecycleRules`")?;
    let site = update.website_access.map(WebsiteAccess::parse).transpose()?;
    let public = update.public_read.map(NewPublicRead::parse).transpose()?;
    let cors = update.cors_rules.map(config::parse).transpose();
    let cors = cors.map_err(|invalid| Error::bad(format!("`corsRules`: {invalid}")))?;
    let quotas =
        update.quotas.map(|NewQuotas { max_size, max_objects }| Quotas { max_size, max_objects });
    let (bucket, now) = (row::bucket_id(id)?, cx.now().wall);
    row::change(cx, view, &bucket.0, id, |stored: &BucketRow| {
        let mut new = stored.clone();
        if let Some(value) = quotas.filter(|quotas| *quotas != stored.quotas.value) {
            new.quotas = Lww { at: Stamp::past(now, stored.quotas.at), value };
        }
        let (now_is, index) = (stored.website.value.as_ref(), &view.config.web.index);
        let site = site.as_ref().map(|change| change.apply(now_is, index));
        if let Some(value) = site.transpose()?.filter(|site| *site != stored.website.value) {
            new.website = Lww { at: Stamp::past(now, stored.website.at), value };
        }
        if let Some(value) = public.as_ref().filter(|public| **public != stored.public_read.value) {
            let at = Stamp::past(now, stored.public_read.at);
            new.public_read = Lww { at, value: value.clone() };
        }
        if let Some(value) = cors.as_ref().filter(|cors| **cors != stored.cors.value) {
            let at = Stamp::past(now, stored.cors.at);
            new.cors = Lww { at, value: value.clone() };
        }
        Ok((new != *stored).then_some(new))
    })
    .await?;
    info(cx, view, bucket).await
}

/// DeleteBucket.
pub(super) async fn delete(cx: Cx, view: &View, id: &str) -> Result<Value, Error> {
    let bucket = row::bucket_id(id)?;
    let stored = row::bucket(cx, view, bucket).await?;
    match delete::delete(cx, view, bucket).await? {
        Deletion::Done => Ok(Value::Null),
        Deletion::Gone => Err(<BucketRow as row::Subject>::missing(id)),
        Deletion::Contended => Err(row::contended(id)),
        Deletion::NotEmpty => {
            let counted = quorum::usage(cx, view, bucket, stored.shards).await?.objects;
            let many = match counted {
                // The one that stopped the deletion is not counted yet.
                0 | 1 => "1 object".to_owned(),
                many => format!("{many} objects"),
            };
            Err(Error::conflict(
                "BucketNotEmpty",
                format!("the bucket still holds {many}; delete these first"),
            ))
        }
    }
}
