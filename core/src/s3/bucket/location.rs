//! GetBucketLocation.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html>

use serde::Serialize;

use crate::s3::{
    call::{Call, Response},
    error::S3Error,
    xml,
};

#[derive(Serialize)]
struct Location<'a> {
    #[serde(rename = "$text")]
    region: &'a str,
}

/// Says where the bucket is. AWS's oldest region has no name here, and clients expect that.
pub(crate) fn get_bucket_location(call: &Call) -> Result<Response, S3Error> {
    let region = call.view.config.region.as_str();
    let region = if region == "us-east-1" { "" } else { region };
    Ok(Response::xml(200, xml::to_xml("LocationConstraint", &Location { region })?))
}
