//! Headers and parameters that mean something this store does not do. They are refused by name, never ignored.

use crate::s3::{
    error::{Code, S3Error},
    request::{Operation, Request},
};

/// Fields that are refused whatever their value.
const FIELDS: &[&str] = &[
    "x-amz-bypass-governance-retention",
    "x-amz-expected-bucket-owner",
    "x-amz-source-expected-bucket-owner",
    "x-amz-if-match-initiated-time",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-mfa",
    "x-amz-tagging",
    "x-amz-write-offset-bytes",
];

/// Beginnings of names that are refused whatever their value.
const FAMILIES: &[&str] = &[
    "x-amz-copy-source-server-side-encryption-",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
];

/// Storage classes of AWS. Only the first is what this store does.
const STORAGE_CLASSES: &[&str] = &[
    "STANDARD",
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
    "FSX_ONTAP",
    "FSX_OPENZFS",
    "GLACIER",
    "GLACIER_IR",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "OUTPOSTS",
    "REDUCED_REDUNDANCY",
    "SNOW",
    "STANDARD_IA",
];

/// Canned ACLs that change nothing: only keys that were given access to a bucket have it, and its owner owns what is in it.
const ACLS: &[&str] = &["private", "bucket-owner-full-control"];

/// Fails on the first thing that isn't honoured.
pub(crate) fn check(request: &Request) -> Result<(), S3Error> {
    // It has the parameters of the request that is to follow, and asks for nothing of that.
    if request.op == Operation::Options {
        return Ok(());
    }
    for (name, value) in &request.head.headers {
        check_field(request.op, name, value)?;
    }
    match request.query.get("versionId") {
        None | Some("null") => Ok(()),
        Some("") => {
            let message = "Version id cannot be the empty string.";
            Err(S3Error::invalid_argument("versionId", "", message))
        }
        Some(version) => Err(S3Error::new(
            Code::NoSuchVersion,
            "The specified version does not exist: this store keeps one version of an object, whose id is null.",
        )
        .detail("VersionId", version)),
    }
}

fn check_field(op: Operation, name: &str, value: &[u8]) -> Result<(), S3Error> {
    // A client that leaves a value empty asks for nothing.
    if value.is_empty() || !may_matter(name) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(value);
    let refused = || {
        let shown: String = text.chars().take(64).collect();
        Err(S3Error::not_implemented(&format!("The header {name}: {shown}"))
            .detail("Header", name)
            .detail(
                "additionalMessage",
                "A header you provided implies functionality that is not implemented.",
            ))
    };
    // Secrets must not be echoed.
    let refused_name =
        || Err(S3Error::not_implemented(&format!("The header {name}")).detail("Header", name));
    match name {
        "x-amz-acl" if ACLS.contains(&&*text) => Ok(()),
        "x-amz-acl" => refused(),
        "x-amz-bucket-object-lock-enabled" if text.eq_ignore_ascii_case("false") => Ok(()),
        "x-amz-bucket-object-lock-enabled" => refused(),
        "x-amz-object-ownership" if text == "BucketOwnerEnforced" => Ok(()),
        "x-amz-object-ownership" => refused(),
        "x-amz-storage-class" if text == "STANDARD" => Ok(()),
        "x-amz-storage-class" if STORAGE_CLASSES.contains(&&*text) => refused(),
        "x-amz-storage-class" => Err(S3Error::new(
            Code::InvalidStorageClass,
            "The storage class you specified is not valid.",
        )
        .detail("StorageClassRequested", text)),
        "content-range" if op == Operation::PutObject || op == Operation::UploadPart => refused(),
        "content-range" => Ok(()),
        _ if FIELDS.contains(&name) => refused_name(),
        _ if FAMILIES.iter().any(|family| name.starts_with(family)) => refused_name(),
        _ => Ok(()),
    }
}

/// A quick no for the many fields that are never refused.
fn may_matter(name: &str) -> bool {
    name.starts_with("x-amz-") || name == "content-range"
}
