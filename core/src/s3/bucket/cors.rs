//! GetBucketCors, PutBucketCors, DeleteBucketCors, and the preflights that these rules answer.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html>

use serde::{Deserialize, Serialize};

use super::change::{change, confirmed};
use crate::{
    s3::{
        call::{Call, Response},
        cors::config::{self, Invalid, Rule},
        error::{Code, S3Error},
        xml,
    },
    table::access::{CorsRule, Lww},
    task::Cx,
    time::Stamp,
};

/// The name of the document's root.
const ROOT: &str = "CORSConfiguration";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(rename = "CORSRule", default)]
    rules: Vec<Rule>,
}

/// Shows the rules.
pub(crate) async fn get_bucket_cors(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let bucket = call.bucket();
    let rules = confirmed(cx, &call.view, bucket).await?.cors.value;
    if rules.is_empty() {
        let message = "The CORS configuration does not exist";
        return Err(
            S3Error::new(Code::NoSuchCORSConfiguration, message).detail("BucketName", &bucket.name)
        );
    }
    let shown = Configuration { rules: rules.iter().map(Rule::from).collect() };
    Ok(Response::xml(200, xml::to_xml(ROOT, &shown)?))
}

/// Puts rules in the place of those that there are.
pub(crate) async fn put_bucket_cors(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    call.require_digest()?;
    call.open(cx)?;
    let document = cx.collect(xml::DOCUMENT_MAX).await?;
    if document.is_empty() {
        return Err(S3Error::new(Code::MissingRequestBodyError, "Request Body is empty"));
    }
    let rules = read(&document)?;
    set(cx, call, rules).await?;
    Ok(Response::empty(200))
}

/// Takes the rules away.
pub(crate) async fn delete_bucket_cors(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    set(cx, call, Vec::new()).await?;
    Ok(Response::empty(204))
}

async fn set(cx: Cx, call: &Call, rules: Vec<CorsRule>) -> Result<(), S3Error> {
    let now = cx.now().wall;
    change(cx, call, |row| {
        let cors = Lww { at: Stamp::past(now, row.cors.at), value: rules.clone() };
        let mut new = row.clone();
        new.cors = cors;
        (row.cors.value != rules).then_some(new)
    })
    .await
}

/// The rules in a document.
fn read(document: &[u8]) -> Result<Vec<CorsRule>, S3Error> {
    let Configuration { rules } = xml::parse_known(document, ROOT)?;
    if rules.is_empty() {
        return Err(xml::malformed("it needs at least one CORSRule"));
    }
    config::parse(rules).map_err(|invalid| match invalid {
        Invalid::NoMethod | Invalid::NoOrigin => xml::malformed(&invalid.to_string()),
        Invalid::ExposedWildcard(_)
        | Invalid::Header(..)
        | Invalid::LongId(_)
        | Invalid::MaxAge(_)
        | Invalid::Method(_)
        | Invalid::MuchText(_)
        | Invalid::Origin(_)
        | Invalid::TooManyRules(_)
        | Invalid::Unwritable(_)
        | Invalid::Wildcards(..) => {
            S3Error::new(Code::InvalidRequest, format!("These rules cannot be kept: {invalid}."))
        }
    })
}

/// Answers a preflight that a rule allows; which, the header fields of the answer tell.
pub(crate) fn options() -> Response {
    Response::empty(200)
}
