//! Full-copy rows: buckets, their names, access keys and what these may do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::BucketId,
    time::{Stamp, Timestamp},
};

/// A last-writer-wins register: the later stamp wins; of two values with one stamp, the greater.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lww<T> {
    /// When it was set.
    #[serde(rename = "t")]
    pub at: Stamp,
    /// To what.
    #[serde(rename = "v")]
    pub value: T,
}

/// The value of a row in [`Table::Alias`](crate::store::Table::Alias), keyed by the bucket's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    /// The bucket of that name, if it is taken.
    #[serde(rename = "b")]
    pub bucket: Lww<Option<BucketId>>,
}

/// The value of a row in [`Table::Bucket`](crate::store::Table::Bucket), keyed by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    /// When it was created; the earlier wins.
    #[serde(rename = "c")]
    pub created: Timestamp,
    /// Into how many shards its index is split. Fixed at creation.
    #[serde(rename = "s")]
    pub shards: u16,
    /// Whether it was deleted. True absorbs.
    #[serde(rename = "x")]
    pub deleted: bool,
    /// Its names: true where the name is in use.
    #[serde(rename = "n")]
    pub aliases: BTreeMap<String, Lww<bool>>,
    /// Of each name by which somebody has set out to delete the bucket, when it was set: for as long as it was not set again
    /// since, the bucket is sealed. The later wins.
    #[serde(rename = "d", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seals: BTreeMap<String, Stamp>,
}

impl BucketRow {
    /// Whether the bucket takes no more objects, because somebody is about to delete it.
    pub fn is_sealed(&self) -> bool {
        let stands = |(name, at): (&String, &Stamp)| {
            self.aliases.get(name).is_none_or(|used| used.at <= *at)
        };
        self.seals.iter().any(stands)
    }
}

/// The value of a row in [`Table::AccessKey`](crate::store::Table::AccessKey), keyed by the access key id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyRow {
    /// When it was created; the earlier wins.
    #[serde(rename = "c")]
    pub created: Timestamp,
    /// The secret that signs. Never changed; a new secret is a new key.
    #[serde(rename = "s")]
    pub secret: String,
    /// What people call it.
    #[serde(rename = "n")]
    pub name: Lww<String>,
    /// Whether it was deleted. True absorbs.
    #[serde(rename = "x")]
    pub deleted: bool,
    /// Whether it may create buckets.
    #[serde(rename = "w")]
    pub create_bucket: Lww<bool>,
    /// What it may do with which bucket.
    #[serde(rename = "b")]
    pub buckets: BTreeMap<BucketId, Lww<Permissions>>,
}

/// What an access key may do with one bucket.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Permissions {
    /// Get, head, list.
    #[serde(rename = "r")]
    pub read: bool,
    /// Put, delete, multipart.
    #[serde(rename = "w")]
    pub write: bool,
    /// Configuration and deletion of the bucket itself.
    #[serde(rename = "o")]
    pub owner: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, owner: true };
}
