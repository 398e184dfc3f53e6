//! From method and parameters to the operation, as AWS routes them.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>

use crate::{
    http::RequestHead,
    s3::{
        error::{Code, S3Error},
        request::Query,
    },
};

/// What a request asks to be done, named as AWS names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are AWS's, and so is their documentation")]
pub enum Operation {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketVersioning,
    GetBucketWebsite,
    PutBucketWebsite,
    DeleteBucketWebsite,
    GetBucketCors,
    PutBucketCors,
    DeleteBucketCors,
    ListObjects,
    ListObjectsV2,
    ListMultipartUploads,
    DeleteObjects,
    PutObject,
    CopyObject,
    GetObject,
    HeadObject,
    GetObjectAttributes,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    /// A preflight: what a browser asks before a page of another website makes a request.
    Options,
    /// An operation that AWS has and this store has not. Answered with [`S3Error::not_implemented`].
    Unsupported {
        /// AWS's name for it.
        name: &'static str,
    },
}

impl Operation {
    /// AWS's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::CreateBucket => "CreateBucket",
            Self::HeadBucket => "HeadBucket",
            Self::DeleteBucket => "DeleteBucket",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::GetBucketVersioning => "GetBucketVersioning",
            Self::GetBucketWebsite => "GetBucketWebsite",
            Self::PutBucketWebsite => "PutBucketWebsite",
            Self::DeleteBucketWebsite => "DeleteBucketWebsite",
            Self::GetBucketCors => "GetBucketCors",
            Self::PutBucketCors => "PutBucketCors",
            Self::DeleteBucketCors => "DeleteBucketCors",
            Self::ListObjects => "ListObjects",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListMultipartUploads => "ListMultipartUploads",
            Self::DeleteObjects => "DeleteObjects",
            Self::PutObject => "PutObject",
            Self::CopyObject => "CopyObject",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::GetObjectAttributes => "GetObjectAttributes",
            Self::DeleteObject => "DeleteObject",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::ListParts => "ListParts",
            Self::Options => "Options",
            Self::Unsupported { name } => name,
        }
    }
}

/// A parameter that turns a request into another operation: for each method, what it becomes; nothing where the method does
/// not exist for it.
struct SubResource {
    parameter: &'static str,
    get: Option<&'static str>,
    put: Option<&'static str>,
    post: Option<&'static str>,
    delete: Option<&'static str>,
}

macro_rules! sub_resources {
    ($($parameter:literal: $get:tt $put:tt $post:tt $delete:tt;)*) => {
        &[$(SubResource {
            parameter: $parameter,
            get: sub_resources!(@ $get),
            put: sub_resources!(@ $put),
            post: sub_resources!(@ $post),
            delete: sub_resources!(@ $delete),
        },)*]
    };
    (@ -) => { None };
    (@ $name:literal) => { Some($name) };
}

/// What AWS has for buckets and this store has not. Columns: GET, PUT, POST, DELETE.
const BUCKET: &[SubResource] = sub_resources! {
    "abac": "GetBucketAbac" "PutBucketAbac" - -;
    "accelerate": "GetBucketAccelerateConfiguration" "PutBucketAccelerateConfiguration" - -;
    "acl": "GetBucketAcl" "PutBucketAcl" - -;
    "analytics": "GetBucketAnalyticsConfiguration" "PutBucketAnalyticsConfiguration" - "DeleteBucketAnalyticsConfiguration";
    "encryption": "GetBucketEncryption" "PutBucketEncryption" - "DeleteBucketEncryption";
    "intelligent-tiering": "GetBucketIntelligentTieringConfiguration" "PutBucketIntelligentTieringConfiguration" -
        "DeleteBucketIntelligentTieringConfiguration";
    "inventory": "GetBucketInventoryConfiguration" "PutBucketInventoryConfiguration" - "DeleteBucketInventoryConfiguration";
    "lifecycle": "GetBucketLifecycleConfiguration" "PutBucketLifecycleConfiguration" - "DeleteBucketLifecycle";
    "logging": "GetBucketLogging" "PutBucketLogging" - -;
    "metadataConfiguration": "GetBucketMetadataConfiguration" - "CreateBucketMetadataConfiguration"
        "DeleteBucketMetadataConfiguration";
    "metadataInventoryTable": - "UpdateBucketMetadataInventoryTableConfiguration" - -;
    "metadataJournalTable": - "UpdateBucketMetadataJournalTableConfiguration" - -;
    "metadataTable": "GetBucketMetadataTableConfiguration" - "CreateBucketMetadataTableConfiguration"
        "DeleteBucketMetadataTableConfiguration";
    "metrics": "GetBucketMetricsConfiguration" "PutBucketMetricsConfiguration" - "DeleteBucketMetricsConfiguration";
    "notification": "GetBucketNotificationConfiguration" "PutBucketNotificationConfiguration" - -;
    "object-lock": "GetObjectLockConfiguration" "PutObjectLockConfiguration" - -;
    "ownershipControls": "GetBucketOwnershipControls" "PutBucketOwnershipControls" - "DeleteBucketOwnershipControls";
    "policy": "GetBucketPolicy" "PutBucketPolicy" - "DeleteBucketPolicy";
    "policyStatus": "GetBucketPolicyStatus" - - -;
    "publicAccessBlock": "GetPublicAccessBlock" "PutPublicAccessBlock" - "DeletePublicAccessBlock";
    "replication": "GetBucketReplication" "PutBucketReplication" - "DeleteBucketReplication";
    "requestPayment": "GetBucketRequestPayment" "PutBucketRequestPayment" - -;
    "session": "CreateSession" - - -;
    "tagging": "GetBucketTagging" "PutBucketTagging" - "DeleteBucketTagging";
    "versioning": - "PutBucketVersioning" - -;
    "versions": "ListObjectVersions" - - -;
};

/// The same for objects.
const OBJECT: &[SubResource] = sub_resources! {
    "acl": "GetObjectAcl" "PutObjectAcl" - -;
    "annotation": "GetObjectAnnotation" "PutObjectAnnotation" - "DeleteObjectAnnotation";
    "encryption": - "UpdateObjectEncryption" - -;
    "legal-hold": "GetObjectLegalHold" "PutObjectLegalHold" - -;
    "renameObject": - "RenameObject" - -;
    "restore": - - "RestoreObject" -;
    "retention": "GetObjectRetention" "PutObjectRetention" - -;
    "select": - - "SelectObjectContent" -;
    "tagging": "GetObjectTagging" "PutObjectTagging" - "DeleteObjectTagging";
    "torrent": "GetObjectTorrent" - - -;
};

/// The operation, or why there is none.
pub(super) fn route(
    head: &RequestHead,
    query: &Query,
    bucket: bool,
    key: bool,
) -> Result<Operation, S3Error> {
    if head.method == "OPTIONS" {
        return Ok(Operation::Options);
    }
    let (table, kind) = match (bucket, key) {
        (_, true) => (OBJECT, "OBJECT"),
        (true, false) => (BUCKET, "BUCKET"),
        (false, false) => (&[][..], "SERVICE"),
    };
    let not_allowed = || {
        S3Error::new(
            Code::MethodNotAllowed,
            "The specified method is not allowed against this resource.",
        )
        .detail("Method", head.method.clone())
        .detail("ResourceType", kind)
    };
    let method = Method::from_name(&head.method).ok_or_else(not_allowed)?;
    if let Some(operation) = supported(head, query, method, kind)? {
        return Ok(operation);
    }
    if let Some(sub) = table.iter().find(|sub| query.has(sub.parameter)) {
        return match sub.of(method) {
            Some(name) => Ok(Operation::Unsupported { name }),
            None => Err(not_allowed()),
        };
    }
    plain(head, query, method, kind).ok_or_else(not_allowed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
}

impl Method {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "PUT" => Some(Self::Put),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl SubResource {
    fn of(&self, method: Method) -> Option<&'static str> {
        match method {
            Method::Get => self.get,
            Method::Head => None,
            Method::Put => self.put,
            Method::Post => self.post,
            Method::Delete => self.delete,
        }
    }
}

/// Operations that are told by a parameter and that this store has.
fn supported(
    head: &RequestHead,
    query: &Query,
    method: Method,
    kind: &str,
) -> Result<Option<Operation>, S3Error> {
    use Operation as Op;
    let operation = match (kind, method) {
        ("BUCKET", Method::Get) if query.has("location") => Op::GetBucketLocation,
        ("BUCKET", Method::Get) if query.has("versioning") => Op::GetBucketVersioning,
        ("BUCKET", Method::Get) if query.has("website") => Op::GetBucketWebsite,
        ("BUCKET", Method::Put) if query.has("website") => Op::PutBucketWebsite,
        ("BUCKET", Method::Delete) if query.has("website") => Op::DeleteBucketWebsite,
        ("BUCKET", Method::Get) if query.has("cors") => Op::GetBucketCors,
        ("BUCKET", Method::Put) if query.has("cors") => Op::PutBucketCors,
        ("BUCKET", Method::Delete) if query.has("cors") => Op::DeleteBucketCors,
        ("BUCKET", Method::Get) if query.has("uploads") => Op::ListMultipartUploads,
        ("BUCKET", Method::Post) if query.has("delete") => Op::DeleteObjects,
        ("OBJECT", Method::Get) if query.has("attributes") => Op::GetObjectAttributes,
        ("OBJECT", Method::Get) if query.has("uploadId") => Op::ListParts,
        ("OBJECT", Method::Post) if query.has("uploads") => Op::CreateMultipartUpload,
        ("OBJECT", Method::Post) if query.has("uploadId") => Op::CompleteMultipartUpload,
        ("OBJECT", Method::Delete) if query.has("uploadId") => Op::AbortMultipartUpload,
        ("OBJECT", Method::Put) => match (query.has("uploadId"), query.has("partNumber")) {
            (true, true) if head.get("x-amz-copy-source").is_some() => Op::UploadPartCopy,
            (true, true) => Op::UploadPart,
            (false, false) => return Ok(None),
            // Storing it as an object of that name would be a lost part.
            (true, false) => return Err(missing("partNumber")),
            (false, true) => return Err(missing("uploadId")),
        },
        _ => return Ok(None),
    };
    Ok(Some(operation))
}

fn missing(parameter: &str) -> S3Error {
    let message = format!("This operation needs the parameter {parameter} as well.");
    S3Error::invalid_argument(parameter, "", message)
}

/// Operations without a telling parameter.
fn plain(head: &RequestHead, query: &Query, method: Method, kind: &str) -> Option<Operation> {
    use Operation as Op;
    // Parameters of operations of another method: GET of `?delete` is not a listing.
    let foreign: &[&str] = match kind {
        "BUCKET" => &["cors", "location", "uploads", "delete", "website"],
        "OBJECT" => &["attributes", "uploads", "uploadId"],
        _ => &[],
    };
    if foreign.iter().any(|parameter| query.has(parameter)) {
        return None;
    }
    let operation = match (kind, method) {
        ("SERVICE", Method::Get) => Op::ListBuckets,
        ("BUCKET", Method::Get) if query.has("list-type") => match query.get("list-type") {
            Some("2") => Op::ListObjectsV2,
            _ => Op::ListObjects,
        },
        ("BUCKET", Method::Get) => Op::ListObjects,
        ("BUCKET", Method::Head) => Op::HeadBucket,
        ("BUCKET", Method::Put) => Op::CreateBucket,
        ("BUCKET", Method::Delete) => Op::DeleteBucket,
        ("BUCKET", Method::Post) => Op::Unsupported { name: "PostObject" },
        ("OBJECT", Method::Get) => Op::GetObject,
        ("OBJECT", Method::Head) => Op::HeadObject,
        ("OBJECT", Method::Put) if head.get("x-amz-copy-source").is_some() => Op::CopyObject,
        ("OBJECT", Method::Put) => Op::PutObject,
        ("OBJECT", Method::Delete) => Op::DeleteObject,
        _ => return None,
    };
    Some(operation)
}
