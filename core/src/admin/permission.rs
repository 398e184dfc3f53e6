//! What access keys may do with buckets.

use serde::Deserialize;
use serde_json::Value;

use super::{bucket, error::Error, row};
use crate::{
    table::access::{AccessKeyRow, Lww, Permissions},
    task::Cx,
    time::Stamp,
    view::View,
};

/// What AllowBucketKey and DenyBucketKey say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Change {
    bucket_id: String,
    access_key_id: String,
    permissions: Flags,
}

/// Permissions; those that are not set are not meant.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flags {
    #[serde(default)]
    read: bool,
    #[serde(default)]
    write: bool,
    #[serde(default)]
    owner: bool,
}

impl From<Flags> for Permissions {
    fn from(Flags { read, write, owner }: Flags) -> Self {
        Self { read, write, owner }
    }
}

/// AllowBucketKey: what is set is granted beside what was granted before.
pub(super) async fn allow(cx: Cx, view: &View, change: Change) -> Result<Value, Error> {
    make(cx, view, change, |before, flags| Permissions {
        read: before.read || flags.read,
        write: before.write || flags.write,
        owner: before.owner || flags.owner,
    })
    .await
}

/// DenyBucketKey: what is set is taken from what was granted before.
pub(super) async fn deny(cx: Cx, view: &View, change: Change) -> Result<Value, Error> {
    make(cx, view, change, |before, flags| Permissions {
        read: before.read && !flags.read,
        write: before.write && !flags.write,
        owner: before.owner && !flags.owner,
    })
    .await
}

async fn make(
    cx: Cx,
    view: &View,
    change: Change,
    after: impl Fn(Permissions, Flags) -> Permissions,
) -> Result<Value, Error> {
    let Change { bucket_id, access_key_id: key_id, permissions: flags } = change;
    let bucket = row::bucket_id(&bucket_id)?;
    row::bucket(cx, view, bucket).await?;
    let now = cx.now().wall;
    row::change(cx, view, key_id.as_bytes(), &key_id, |key: &AccessKeyRow| {
        let before = key.permissions(bucket);
        let value = after(before, flags);
        if value == before {
            return Ok(None);
        }
        let mut key = key.clone();
        let granted = key.buckets.entry(bucket).or_default();
        *granted = Lww { at: Stamp::past(now, granted.at), value };
        Ok(Some(key))
    })
    .await?;
    bucket::info(cx, view, bucket).await
}
