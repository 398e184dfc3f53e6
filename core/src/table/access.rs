//! Full-copy rows: buckets, their names, access keys and what these may do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    id::BucketId,
    time::{Stamp, Timestamp},
};

/// A last-writer-wins register: the later stamp wins; of two values with one stamp, the greater.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lww<T> {
    /// When it was set.
    #[serde(rename = "t")]
    pub at: Stamp,
    /// To what.
    #[serde(rename = "v")]
    pub value: T,
}

impl<T: Default + PartialEq> Lww<T> {
    /// Whether it is as in a row that has never heard of it.
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// The value of a row in [`Table::Alias`](crate::store::Table::Alias), keyed by the bucket's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    /// The bucket of that name, if it is taken.
    #[serde(rename = "b")]
    pub bucket: Lww<Option<BucketId>>,
}

/// The value of a row in [`Table::Bucket`](crate::store::Table::Bucket), keyed by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How much it may hold.
    #[serde(rename = "q", default, skip_serializing_if = "Lww::is_unset")]
    pub quotas: Lww<Quotas>,
    /// How it is served as a website, if it is.
    #[serde(rename = "w", default, skip_serializing_if = "Lww::is_unset")]
    pub website: Lww<Option<Website>>,
    /// What everybody may read of it, if anything.
    #[serde(rename = "p", default, skip_serializing_if = "Lww::is_unset")]
    pub public_read: Lww<Option<PublicRead>>,
    /// What browsers let pages of other websites do with it; the first rule that fits. None: nothing.
    #[serde(rename = "o", default, skip_serializing_if = "Lww::is_unset")]
    pub cors: Lww<Vec<CorsRule>>,
}

/// How much a bucket may hold.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Quotas {
    /// Bytes of all its objects.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// How many objects.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub max_objects: Option<u64>,
}

/// How a bucket is served as a website.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Website {
    /// The end of the key of the object that stands for a folder. Empty in a website that only redirects.
    #[serde(rename = "i")]
    pub index: String,
    /// The key of the object that is shown instead of an error.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where every request is sent, whatever it asks for. Such a website has neither documents nor rules.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub redirect_all: Option<RedirectAll>,
    /// What is done with some keys, or with some errors; the first that applies.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RoutingRule>,
}

/// Where a website sends everybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RedirectAll {
    /// The other host, with its port if it needs one.
    #[serde(rename = "h")]
    pub host: String,
    /// How to ask it. None: as the visitor asked here.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// The beginning of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// `http`
    #[serde(rename = "h")]
    Http,
    /// `https`
    #[serde(rename = "s")]
    Https,
}

/// What a website does instead of showing an object, or an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoutingRule {
    /// How the keys begin that it is for. None: all of them.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The status of the answer that it replaces. None: it applies before any object is looked at.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u16>,
    /// The host that visitors are sent to. None: the one they asked.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How to ask it. None: as the visitor asked here.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The status of the answer: of a redirect, or 200 or 404 to show another object without one. None: 301.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the key becomes. None: it stays.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Replace>,
}

/// What a rule makes of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Replace {
    /// This instead of the beginning that the rule is for.
    #[serde(rename = "p")]
    Prefix(String),
    /// This instead of the whole of it.
    #[serde(rename = "k")]
    Key(String),
}

/// Which objects of a bucket everybody may read, without a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicRead {
    /// How their keys begin. None at all: every object.
    #[serde(rename = "p", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub prefixes: BTreeSet<String>,
}

impl PublicRead {
    /// Whether the object with this key is among them.
    pub fn covers(&self, key: &[u8]) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.prefixes.is_empty() || prefixes.any(|prefix| key.starts_with(prefix.as_bytes()))
    }
}

/// Which requests of pages of other websites a browser lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CorsRule {
    /// What people call it.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The websites, as `https://www.example.org`. A `*` stands for any text, also for none.
    #[serde(rename = "o")]
    pub origins: Vec<String>,
    /// The methods of the requests.
    #[serde(rename = "m")]
    pub methods: Vec<CorsMethod>,
    /// The names of header fields that the requests may have, beside those that every request may. A `*` as in origins.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The names of the answers' header fields that a page may read, beside those that it always may.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// For how many seconds a browser need not ask again.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

/// A method that a rule can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CorsMethod {
    /// `GET`
    #[serde(rename = "g")]
    Get,
    /// `PUT`
    #[serde(rename = "p")]
    Put,
    /// `POST`
    #[serde(rename = "o")]
    Post,
    /// `DELETE`
    #[serde(rename = "d")]
    Delete,
    /// `HEAD`
    #[serde(rename = "h")]
    Head,
}

impl BucketRow {
    /// The names by which everybody may call it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let used = self.aliases.iter().filter(|(_, used)| used.value);
        used.map(|(name, _)| name.as_str()).filter(|name| !is_hidden(name))
    }

    /// Whether the bucket takes no more objects, because somebody is about to delete it.
    pub fn is_sealed(&self) -> bool {
        let stands = |(name, at): (&String, &Stamp)| {
            self.aliases.get(name).is_none_or(|used| used.at <= *at)
        };
        self.seals.iter().any(stands)
    }
}

/// A name of a bucket that nobody calls it by. Whether a bucket may be deleted is settled under one of its names, and it need not
/// have any that everybody may use.
pub fn hidden_name(bucket: BucketId) -> String {
    format!("id:{bucket}")
}

/// Whether a name is such a one: no bucket can be given a name with a colon.
pub fn is_hidden(name: &str) -> bool {
    name.contains(':')
}

/// The value of a row in [`Table::AccessKey`](crate::store::Table::AccessKey), keyed by the access key id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// From when on it signs nothing, if ever.
    #[serde(rename = "e", default, skip_serializing_if = "Lww::is_unset")]
    pub expiration: Lww<Option<Timestamp>>,
    /// Names that it alone has for buckets. Its requests know a bucket by these before they know one by a name that all share.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, Lww<Option<BucketId>>>,
}

impl AccessKeyRow {
    /// What it may do with a bucket.
    pub fn permissions(&self, bucket: BucketId) -> Permissions {
        self.buckets.get(&bucket).map(|granted| granted.value).unwrap_or_default()
    }

    /// The bucket that it alone calls so. It may be deleted.
    pub fn local(&self, name: &str) -> Option<BucketId> {
        self.aliases.get(name).and_then(|alias| alias.value)
    }

    /// The names that it alone has for a bucket.
    pub fn local_names(&self, bucket: BucketId) -> impl Iterator<Item = &str> {
        let names = self.aliases.iter().filter(move |(_, alias)| alias.value == Some(bucket));
        names.map(|(name, _)| name.as_str())
    }

    /// Whether it signs nothing any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expiration.value.is_some_and(|at| at <= now)
    }
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
