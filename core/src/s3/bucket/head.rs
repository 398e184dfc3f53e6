//! HeadBucket.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>

use crate::s3::call::{Call, Response};

/// Says that the bucket exists and may be accessed, and where it is.
pub(crate) fn head_bucket(call: &Call) -> Response {
    Response::empty(200)
        .header("x-amz-bucket-region", &call.view.config.region)
        .header("x-amz-access-point-alias", "false")
}
