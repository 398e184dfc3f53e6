//! What a handler is given, and what it gives back.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    auth::Verified,
    egress::Egress,
    error::{Code, S3Error},
    intake::Intake,
    request::Request,
};
use crate::{
    checksum::Algorithm,
    http::ResponseHead,
    id::{BucketId, Position},
    quorum,
    store::{Guard, Table},
    table::{
        access::{AccessKeyRow, BucketRow, Permissions},
        key,
    },
    task::Cx,
    view::View,
};

/// A request that may do what it asks for.
#[derive(Debug)]
pub struct Call {
    /// The cluster and the configuration as the request found them.
    pub view: Arc<View>,
    /// What was asked.
    pub request: Request,
    /// Who has signed it; nobody, if it reads a public object or is a preflight.
    pub signer: Option<Signer>,
    /// The bucket, if the request names one and it exists.
    pub bucket: Option<Bucket>,
}

/// A known key by which a request is signed.
#[derive(Debug)]
pub struct Signer {
    /// The signature, for the body that it covers.
    pub verified: Verified,
    /// The access key's id.
    pub id: String,
    /// The access key.
    pub key: AccessKeyRow,
}

/// A live bucket as a request sees it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The name by which the request called it.
    pub name: String,
    /// Its id.
    pub id: BucketId,
    /// Its row.
    pub row: BucketRow,
    /// What the request's key may do with it.
    pub permissions: Permissions,
}

impl Call {
    /// The bucket. Only in handlers of operations on an existing bucket: they are not called without one.
    pub fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("serve answers NoSuchBucket before it calls such a handler")
    }

    /// Who has signed the request. Not in handlers of GetObject and HeadObject: these are called for unsigned ones, too.
    pub fn signer(&self) -> &Signer {
        self.signer.as_ref().expect("serve lets nobody else do anything but read an object")
    }

    /// The object that the request names. Only in handlers of operations on an object.
    pub fn target(&self) -> Target {
        let key = self.request.key.as_deref().expect("an operation on an object has a key");
        self.bucket().target(key)
    }

    /// Checks that there is something to check the request's document by: AWS takes some only so.
    pub fn require_digest(&self) -> Result<(), S3Error> {
        let head = &self.request.head;
        let checksum = head.headers.iter().any(|(name, _)| Algorithm::from_header(name).is_some());
        let trailer = head.all("x-amz-trailer").any(|names| {
            names.split(|byte| *byte == b',').any(|name| {
                let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
                Algorithm::from_header(&name).is_some()
            })
        });
        if checksum || trailer || head.get("content-md5").is_some() {
            return Ok(());
        }
        Err(S3Error::new(
            Code::InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ))
    }

    /// Tells the shell how to decode and check the request's body. Before the first pull, and once.
    pub fn open(&self, cx: Cx) -> Result<(), S3Error> {
        cx.open(self.intake()?);
        Ok(())
    }

    /// The decoder and checker of the request's body, for handlers that ask more of it than [`Call::open`].
    pub fn intake(&self) -> Result<Intake, S3Error> {
        self.signer().verified.intake(&self.request)
    }
}

impl Bucket {
    /// The condition that the bucket is not deleted when a batch is applied at `position`. Among several nodes its row may not
    /// have come to all.
    pub fn alive(&self, view: &View, position: Position) -> Guard {
        let (table, key) = (Table::Bucket, self.id.0.to_vec());
        if quorum::is_sole(view, position) && quorum::is_sole_copy(view) {
            Guard::Live { table, key }
        } else {
            Guard::NotDeleted { table, key }
        }
    }

    /// Where the rows of one of its keys are.
    pub fn target(&self, key: &[u8]) -> Target {
        Target::of(self.id, self.row.shards, key)
    }
}

/// Where an object is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: BucketId,
    /// The index shard that the key falls into.
    pub shard: u16,
    /// The ring position of the shard, and so of all rows about the object but those that count blocks.
    pub position: Position,
    /// The key of its row in [`Table::Object`].
    pub row_key: Vec<u8>,
}

impl Target {
    /// Where a key of a bucket with so many shards is.
    pub fn of(bucket: BucketId, shards: u16, key: &[u8]) -> Self {
        let shard = key::shard_of(key, shards);
        Self {
            bucket,
            shard,
            position: Position::of_shard(bucket, shard),
            row_key: key::object(bucket, shard, key),
        }
    }

    /// The object's S3 key.
    pub fn key(&self) -> &[u8] {
        key::object_key(&self.row_key)
    }
}

/// A handler's answer. What every response carries (request id, server) is added by [`serve`](super::serve::serve).
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: Body,
}

/// The body of a [`Response`].
#[derive(Debug)]
pub enum Body {
    /// None, whatever length the head declares (HEAD).
    Empty,
    /// These bytes.
    Full(Bytes),
    /// Part of an object, block by block; as much as the head declares.
    Stream(Box<Egress>),
}

impl Response {
    /// A response without a body.
    pub fn empty(status: u16) -> Self {
        Self { head: ResponseHead::new(status, 0), body: Body::Empty }
    }

    /// A response with a whole body.
    pub fn full(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { head: ResponseHead::new(status, body.len() as u64), body: Body::Full(body) }
    }

    /// A document.
    pub fn xml(status: u16, document: impl Into<Bytes>) -> Self {
        Self::full(status, document).header("content-type", "application/xml")
    }

    /// Adds a header field; see [`ResponseHead::header`].
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head = self.head.header(name, value);
        self
    }
}
