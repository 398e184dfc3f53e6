//! CreateMultipartUpload: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>

use serde::Serialize;

use super::{Named, key_text};
use crate::{
    checksum::{Algorithm, ChecksumKind, Scope},
    http::RequestHead,
    quorum,
    s3::{
        access,
        call::{Call, Response},
        error::{Code, S3Error},
        object::meta,
        quota, xml,
    },
    store::{Batch, Outcome},
    table::{key, upload::UploadRow},
    task::Cx,
    time::Stamp,
};

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "Bucket")]
    bucket: &'a str,
    #[serde(rename = "Key")]
    key: &'a str,
    #[serde(rename = "UploadId")]
    upload: String,
}

/// Begins an upload: one row.
pub(crate) async fn create_multipart_upload(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let target = call.target();
    let checksum = checksum(&call.request.head)?;
    let row = UploadRow::Open {
        headers: meta::stored_headers(&call.request)?,
        checksum,
        initiator: call.signer().id.clone(),
    };
    quota::check(cx, call, &target, 0).await?;
    let upload = cx.version_past(Stamp(0));
    let row_key = key::upload(target.bucket, target.shard, target.key(), upload);
    let named = Named { target, upload, row_key };
    let document = xml::to_xml(
        "InitiateMultipartUploadResult",
        &Document { bucket: &call.bucket().name, key: key_text(call), upload: upload.to_string() },
    )?;
    let alive = call.bucket().alive(&call.view, named.target.position);
    let batch = Batch::new(cx.now().wall, vec![named.merge(&row)]).guarded(alive);
    match quorum::write(cx, &call.view, named.target.position, batch).await? {
        Outcome::Applied(_) => {}
        Outcome::Refused { .. } => return Err(access::no_such_bucket(&call.bucket().name)),
    }
    let mut response = Response::xml(200, document);
    if let Some(kind) = checksum {
        response = response
            .header("x-amz-checksum-algorithm", kind.algorithm.name())
            .header("x-amz-checksum-type", kind.scope.name());
    }
    Ok(response)
}

/// What `x-amz-checksum-algorithm` and `x-amz-checksum-type` ask for.
fn checksum(head: &RequestHead) -> Result<Option<ChecksumKind>, S3Error> {
    let invalid = |message: String| S3Error::new(Code::InvalidRequest, message);
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let scope = head.get("x-amz-checksum-type").map(|value| {
        let unknown =
            || invalid(format!("Value for x-amz-checksum-type header is invalid: {}", text(value)));
        Scope::from_name(value).ok_or_else(unknown)
    });
    let scope = scope.transpose()?;
    let Some(value) = head.get("x-amz-checksum-algorithm") else {
        return match scope {
            None => Ok(None),
            Some(_) => Err(invalid(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.".to_owned(),
            )),
        };
    };
    let algorithm = Algorithm::from_name(value).ok_or_else(|| {
        invalid(format!("Checksum algorithm provided is unsupported: {}", text(value)))
    })?;
    let scope = scope.unwrap_or_else(|| algorithm.default_scope());
    if !algorithm.allows(scope) {
        return Err(invalid(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            scope.name(),
            algorithm.name().to_ascii_lowercase()
        )));
    }
    Ok(Some(ChecksumKind { algorithm, scope }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Result<Option<ChecksumKind>, Code> {
        let head = RequestHead {
            method: "POST".to_owned(),
            target: b"/b/k?uploads".to_vec(),
            headers: headers
                .iter()
                .map(|(name, value)| {
                    (format!("x-amz-checksum-{name}"), Bytes::from((*value).to_owned()))
                })
                .collect(),
            body_len: Some(0),
            peer: String::new(),
        };
        checksum(&head).map_err(|error| error.code)
    }

    #[test]
    fn an_algorithm_brings_its_scope() {
        assert_eq!(asked(&[]), Ok(None));
        for algorithm in Algorithm::ALL {
            let scope = match algorithm {
                Algorithm::Crc64Nvme => Scope::FullObject,
                Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256 => {
                    Scope::Composite
                }
            };
            let kind = Ok(Some(ChecksumKind { algorithm, scope }));
            assert_eq!(asked(&[("algorithm", algorithm.name())]), kind);
        }
    }

    #[test]
    fn a_scope_must_fit_its_algorithm() {
        for (algorithm, scope, fits) in [
            ("CRC32", "FULL_OBJECT", true),
            ("CRC32C", "COMPOSITE", true),
            ("CRC64NVME", "FULL_OBJECT", true),
            ("CRC64NVME", "COMPOSITE", false),
            ("SHA1", "FULL_OBJECT", false),
            ("SHA256", "COMPOSITE", true),
            ("SHA256", "FULL_OBJECT", false),
            ("MD5", "COMPOSITE", false),
            ("CRC32", "HALF", false),
        ] {
            let asked = asked(&[("algorithm", algorithm), ("type", scope)]);
            assert_eq!(asked.is_ok(), fits, "{algorithm} {scope}");
        }
        assert_eq!(asked(&[("type", "COMPOSITE")]), Err(Code::InvalidRequest));
    }
}
