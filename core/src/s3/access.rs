//! What a key may do: every operation needs something, and AccessDenied is the answer to whoever hasn't got it.

use super::{
    auth,
    call::Bucket,
    cors, date,
    error::{Code, S3Error},
    request::{Operation, Request},
};
use crate::{
    effect::PeerError,
    id::BucketId,
    quorum,
    store::Table,
    table::{
        self,
        access::{AccessKeyRow, AliasRow, BucketRow, Permissions, is_hidden},
    },
    task::Cx,
    time::Timestamp,
    view::View,
};

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A valid signature.
    Signature,
    /// To be allowed to create buckets.
    CreateBucket,
    /// Any permission for the bucket.
    Any,
    /// To read the bucket's objects.
    Read,
    /// To read or write the bucket's objects.
    ReadOrWrite,
    /// To write the bucket's objects.
    Write,
    /// To own the bucket.
    Owner,
}

impl Needs {
    /// What `op` needs of the bucket that it names.
    pub fn of(op: Operation) -> Self {
        match op {
            Operation::ListBuckets | Operation::Options | Operation::Unsupported { .. } => {
                Self::Signature
            }
            Operation::CreateBucket => Self::CreateBucket,
            Operation::HeadBucket
            | Operation::GetBucketLocation
            | Operation::GetBucketVersioning => Self::Any,
            Operation::DeleteBucket
            | Operation::GetBucketWebsite
            | Operation::PutBucketWebsite
            | Operation::DeleteBucketWebsite
            | Operation::GetBucketCors
            | Operation::PutBucketCors
            | Operation::DeleteBucketCors => Self::Owner,
            Operation::ListObjects
            | Operation::ListObjectsV2
            | Operation::GetObject
            | Operation::HeadObject
            | Operation::GetObjectAttributes => Self::Read,
            Operation::ListMultipartUploads | Operation::ListParts => Self::ReadOrWrite,
            Operation::DeleteObjects
            | Operation::PutObject
            | Operation::CopyObject
            | Operation::DeleteObject
            | Operation::CreateMultipartUpload
            | Operation::UploadPart
            | Operation::UploadPartCopy
            | Operation::CompleteMultipartUpload
            | Operation::AbortMultipartUpload => Self::Write,
        }
    }

    /// Whether a key with these permissions for an existing bucket has it.
    pub fn met_by(self, permissions: Permissions) -> bool {
        let Permissions { read, write, owner } = permissions;
        match self {
            Self::Signature => true,
            // Whoever may do anything with the bucket is told that it exists already.
            Self::CreateBucket | Self::Any => read || write || owner,
            Self::Read => read,
            Self::ReadOrWrite => read || write,
            Self::Write => write,
            Self::Owner => owner,
        }
    }
}

/// Checks that the operation may be done, and that the bucket it needs is there.
pub fn check(
    op: Operation,
    key: &AccessKeyRow,
    name: Option<&str>,
    bucket: Option<&Bucket>,
) -> Result<(), S3Error> {
    let needs = Needs::of(op);
    match (needs, bucket) {
        (Needs::Signature, _) => Ok(()),
        (Needs::CreateBucket, _) if key.create_bucket.value => Ok(()),
        (Needs::CreateBucket, None) => Err(denied("This access key may not create buckets.")),
        (_, None) => Err(no_such_bucket(name.unwrap_or_default())),
        (_, Some(bucket)) if needs.met_by(bucket.permissions) => Ok(()),
        (_, Some(_)) => Err(denied(&format!(
            "This access key has not been given permission for {} on this bucket.",
            op.name()
        ))),
    }
}

/// Whether anything of this kind may be public.
pub fn is_for_everybody(op: Operation) -> bool {
    matches!(op, Operation::GetObject | Operation::HeadObject | Operation::Options)
}

/// Checks that a request which nobody has signed may be done: it reads an object that is public, or asks for what pages of other
/// websites may do. Which buckets there are, it does not learn.
pub fn check_unsigned(request: &Request, bucket: Option<&Bucket>) -> Result<(), S3Error> {
    if request.op == Operation::Options {
        return cors::ask::check_preflight(request, bucket);
    }
    let public = bucket.and_then(|bucket| bucket.row.public_read.value.as_ref());
    let covered =
        public.zip(request.key.as_deref()).is_some_and(|(public, key)| public.covers(key));
    if !is_for_everybody(request.op) || !covered {
        return Err(auth::unsigned());
    }
    // Whoever makes a link must not decide what a store that others trust says.
    match request.query.iter().find(|(name, _)| name.starts_with("response-")) {
        Some((name, _)) => Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "Request specific response headers cannot be used for anonymous GET requests: sign the request, or leave out {name}."
            ),
        )),
        None => Ok(()),
    }
}

/// The 403 of a key that may not do this.
pub fn denied(why: &str) -> S3Error {
    S3Error::new(Code::AccessDenied, format!("Access Denied: {why}"))
}

/// The 404 of a bucket that is not there, or no longer.
pub fn no_such_bucket(name: &str) -> S3Error {
    S3Error::new(Code::NoSuchBucket, "The specified bucket does not exist")
        .detail("BucketName", name)
}

/// An access key that exists and is not deleted, from its encoded row.
pub(super) fn live_key(value: Option<&[u8]>) -> Result<Option<AccessKeyRow>, PeerError> {
    let row = value.map(|value| table::decode::<AccessKeyRow>(Table::AccessKey, value));
    Ok(row.transpose().map_err(PeerError::Store)?.filter(|row| !row.deleted))
}

/// Refuses a key whose time is over.
pub(super) fn check_expiration(key: &AccessKeyRow, now: Timestamp) -> Result<(), S3Error> {
    match key.expiration.value {
        Some(at) if key.is_expired(now) => Err(denied(&format!(
            "this access key has expired on {}. Ask the operator of this store to prolong it, or for a new one.",
            date::iso8601(at)
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The bucket that a name stands for, from its encoded row.
fn aliased(value: Option<&[u8]>) -> Result<Option<BucketId>, PeerError> {
    let row = value.map(|value| table::decode::<AliasRow>(Table::Alias, value));
    Ok(row.transpose().map_err(PeerError::Store)?.and_then(|row| row.bucket.value))
}

/// Whose rows of the full-copy tables a request goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The own node's, which may lag behind.
    Own,
    /// A quorum's.
    Confirmed,
}

impl Rows {
    async fn get(
        self,
        cx: Cx,
        view: &View,
        table: Table,
        key: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, PeerError> {
        let keys = vec![(table, key)];
        let rows = match self {
            Self::Own => quorum::get_local(cx, view, keys).await?,
            Self::Confirmed => quorum::confirm(cx, view, keys).await?,
        };
        Ok(rows.into_iter().next().flatten())
    }
}

/// A bucket by its id, as a request with this key sees it, or with none; nothing if it is deleted.
async fn bucket(
    cx: Cx,
    view: &View,
    key: Option<&AccessKeyRow>,
    name: &str,
    id: BucketId,
    whose: Rows,
) -> Result<Option<Bucket>, PeerError> {
    let Some(value) = whose.get(cx, view, Table::Bucket, id.0.to_vec()).await? else {
        return Ok(None);
    };
    let row: BucketRow = table::decode(Table::Bucket, &value).map_err(PeerError::Store)?;
    if row.deleted {
        return Ok(None);
    }
    let permissions = key.map(|key| key.permissions(id)).unwrap_or_default();
    Ok(Some(Bucket { name: name.to_owned(), id, row, permissions }))
}

/// A bucket by its name, as a request with this key sees it: by a name that the key alone has for it, or else by the one that all
/// share, which stands for what `alias` says.
pub(super) async fn resolve(
    cx: Cx,
    view: &View,
    key: &AccessKeyRow,
    name: &str,
    alias: Option<&[u8]>,
    whose: Rows,
) -> Result<Option<Bucket>, PeerError> {
    if let Some(id) = key.local(name) {
        let found = bucket(cx, view, Some(key), name, id, whose).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    shared(cx, view, Some(key), name, alias, whose).await
}

/// A bucket by the name that all share, as a request with this key sees it, or with none.
pub(super) async fn shared(
    cx: Cx,
    view: &View,
    key: Option<&AccessKeyRow>,
    name: &str,
    alias: Option<&[u8]>,
    whose: Rows,
) -> Result<Option<Bucket>, PeerError> {
    match aliased(alias)? {
        Some(id) if !is_hidden(name) => bucket(cx, view, key, name, id, whose).await,
        Some(_) | None => Ok(None),
    }
}

/// A bucket by its name, as a request with this key sees it: for the source of a copy.
pub async fn bucket_named(
    cx: Cx,
    view: &View,
    key: &AccessKeyRow,
    name: &str,
) -> Result<Option<Bucket>, PeerError> {
    sought(cx, view, key, name, |bucket| bucket.permissions.read).await
}

/// A bucket that is served as a website, by the name that all share. Unless what this node knows of it will do, the others are asked.
pub async fn website_named(
    cx: Cx,
    view: &View,
    name: &str,
    will_do: impl Fn(&Bucket) -> bool,
) -> Result<Option<Bucket>, PeerError> {
    let is_website = |bucket: &Bucket| bucket.row.website.value.is_some();
    let will_do = |bucket: &Bucket| is_website(bucket) && will_do(bucket);
    let found = sought(cx, view, &nobody(), name, will_do).await?;
    Ok(found.filter(is_website))
}

/// A bucket by the name that all share, as this node knows it.
pub(super) async fn known(cx: Cx, view: &View, name: &str) -> Result<Option<Bucket>, PeerError> {
    named(cx, view, &nobody(), name, Rows::Own).await
}

/// A key that nobody has: it has no names of its own.
fn nobody() -> AccessKeyRow {
    AccessKeyRow::default()
}

/// A bucket by its name. The own copy may lag behind: unless it has one that will do, the others are asked.
async fn sought(
    cx: Cx,
    view: &View,
    key: &AccessKeyRow,
    name: &str,
    will_do: impl Fn(&Bucket) -> bool,
) -> Result<Option<Bucket>, PeerError> {
    let found = named(cx, view, key, name, Rows::Own).await?;
    if found.as_ref().is_some_and(will_do) || quorum::is_sole_copy(view) {
        return Ok(found);
    }
    named(cx, view, key, name, Rows::Confirmed).await
}

async fn named(
    cx: Cx,
    view: &View,
    key: &AccessKeyRow,
    name: &str,
    whose: Rows,
) -> Result<Option<Bucket>, PeerError> {
    let value = whose.get(cx, view, Table::Alias, name.as_bytes().to_vec()).await?;
    resolve(cx, view, key, name, value.as_deref(), whose).await
}
