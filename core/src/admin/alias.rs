//! Names of buckets: those that all share, and those that one access key has for itself.

use serde::Deserialize;
use serde_json::Value;

use super::{bucket, error::Error, row};
use crate::{
    id::BucketId,
    s3::bucket::{
        alias::{self, Added},
        name,
    },
    table::access::{AccessKeyRow, BucketRow, Lww},
    task::Cx,
    time::Stamp,
    view::View,
};

/// What AddBucketAlias and RemoveBucketAlias say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Alias {
    bucket_id: String,
    global_alias: Option<String>,
    local_alias: Option<String>,
    access_key_id: Option<String>,
}

/// Whose name it is.
enum Scope {
    Everybody(String),
    Key { id: String, name: String },
}

impl Alias {
    fn parse(self) -> Result<(BucketId, Scope), Error> {
        let id = row::bucket_id(&self.bucket_id)?;
        match (self.global_alias, self.local_alias, self.access_key_id) {
            (Some(name), None, None) => Ok((id, Scope::Everybody(name))),
            (None, Some(name), Some(id_of_key)) => Ok((id, Scope::Key { id: id_of_key, name })),
            _ => Err(Error::bad(
                "a name is a `globalAlias`, or a `localAlias` with the `accessKeyId` that has it; not both",
            )),
        }
    }
}

/// AddBucketAlias.
pub(super) async fn add(cx: Cx, view: &View, body: Alias) -> Result<Value, Error> {
    let (id, scope) = body.parse()?;
    let bucket = row::bucket(cx, view, id).await?;
    match scope {
        Scope::Everybody(name) => {
            name::check(&name)?;
            match alias::add(cx, view, id, &bucket, &name).await? {
                Added::Done => {}
                Added::Taken => return Err(bucket::taken(&name)),
                Added::Gone => return Err(<BucketRow as row::Subject>::missing(&id.to_string())),
            }
        }
        Scope::Key { id: key_id, name } => {
            name::check(&name)?;
            add_local(cx, view, id, &key_id, &name).await?;
        }
    }
    bucket::info(cx, view, id).await
}

async fn add_local(
    cx: Cx,
    view: &View,
    id: BucketId,
    key_id: &str,
    name: &str,
) -> Result<(), Error> {
    let key = row::key(cx, view, key_id).await?;
    let before = key.local(name).filter(|other| *other != id);
    let gone = match before {
        Some(other) => row::some_buckets(cx, view, vec![other]).await?.is_empty(),
        None => true,
    };
    let now = cx.now().wall;
    row::change(cx, view, key_id.as_bytes(), key_id, |key: &AccessKeyRow| match key.local(name) {
        Some(other) if other == id => Ok(None),
        Some(other) if !gone || Some(other) != before => Err(bucket::taken(name)),
        Some(_) | None => Ok(Some(named(key, name, Some(id), now))),
    })
    .await?;
    Ok(())
}

fn named(
    key: &AccessKeyRow,
    name: &str,
    value: Option<BucketId>,
    now: crate::time::Timestamp,
) -> AccessKeyRow {
    let mut key = key.clone();
    let alias = key.aliases.entry(name.to_owned()).or_default();
    *alias = Lww { at: Stamp::past(now, alias.at), value };
    key
}

/// RemoveBucketAlias. A bucket keeps its last name: without one, nobody could reach its objects.
pub(super) async fn remove(cx: Cx, view: &View, body: Alias) -> Result<Value, Error> {
    let (id, scope) = body.parse()?;
    let bucket = row::bucket(cx, view, id).await?;
    let keys = row::keys(cx, view).await?;
    let local = keys.values().map(|key| key.local_names(id).count()).sum::<usize>();
    if bucket.names().count() + local <= 1 {
        return Err(Error::bad(
            "this is the bucket's only name; give it another one first, or delete the bucket",
        ));
    }
    let other = |name: &str| Error::bad(format!("this bucket is not called `{name}`"));
    match scope {
        Scope::Everybody(name) => {
            if !alias::remove(cx, view, id, &bucket, &name).await? {
                return Err(other(&name));
            }
        }
        Scope::Key { id: key_id, name } => {
            let key = row::key(cx, view, &key_id).await?;
            if key.local(&name) != Some(id) {
                return Err(other(&name));
            }
            let now = cx.now().wall;
            row::change(cx, view, key_id.as_bytes(), &key_id, |key: &AccessKeyRow| {
                Ok((key.local(&name) == Some(id)).then(|| named(key, &name, None, now)))
            })
            .await?;
        }
    }
    bucket::info(cx, view, id).await
}
