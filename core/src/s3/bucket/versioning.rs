//! GetBucketVersioning.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>

use serde::Serialize;

use crate::s3::{call::Response, error::S3Error, xml};

#[derive(Serialize)]
struct Configuration {}

/// Says that versioning was never switched on: a document without a status.
pub(crate) fn get_bucket_versioning() -> Result<Response, S3Error> {
    Ok(Response::xml(200, xml::to_xml("VersioningConfiguration", &Configuration {})?))
}
