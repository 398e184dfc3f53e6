//! The signature in the parameters of a presigned URL.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use std::time::Duration;

use crate::{
    s3::{
        auth::{
            Claim, EXPIRES_MAX, PayloadMode, SKEW_MAX, canonical::ALGORITHM, canonical_request,
            credential, payload_mode, signed_names, version_4a,
        },
        date,
        error::{Code, S3Error},
        request::Request,
    },
    time::Timestamp,
    view::Config,
};

pub(super) fn claim(request: &Request, now: Timestamp, config: &Config) -> Result<Claim, S3Error> {
    let fields = Fields::read(request)?;
    let date = date::parse_amz(fields.date.as_bytes()).ok_or_else(|| {
        wrong("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    })?;
    let malformed =
        |what: String| wrong(&format!("Error parsing the X-Amz-Credential parameter; {what}."));
    let credential = credential(fields.credential, config, &malformed)?;
    if credential.scope.day != fields.date[..8] {
        return Err(malformed(format!(
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\"",
            credential.scope.day,
            &fields.date[..8]
        )));
    }
    check_window(date, expires(fields.expires)?, fields.expires, now)?;
    let malformed =
        |what: String| wrong(&format!("Error parsing the X-Amz-SignedHeaders parameter; {what}."));
    let signed = signed_names(fields.signed_headers, request, &malformed)?;
    let (mode, payload) = payload(request, &signed)?;
    let canonical = canonical_request(request, &signed, &payload);
    Ok(Claim {
        key_id: credential.key_id,
        date: fields.date.to_owned(),
        scope: credential.scope,
        canonical,
        signature: fields.signature.to_owned(),
        mode,
    })
}

struct Fields<'a> {
    credential: &'a str,
    date: &'a str,
    expires: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    fn read(request: &'a Request) -> Result<Self, S3Error> {
        let get = |name: &str| {
            request.query.get_any_case(name).ok_or_else(|| {
                wrong(
                    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                     X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
                )
            })
        };
        match get("X-Amz-Algorithm")? {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(version_4a()),
            _ => return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")),
        }
        Ok(Self {
            credential: get("X-Amz-Credential")?,
            date: get("X-Amz-Date")?,
            expires: get("X-Amz-Expires")?,
            signed_headers: get("X-Amz-SignedHeaders")?,
            signature: get("X-Amz-Signature")?,
        })
    }
}

fn wrong(message: &str) -> S3Error {
    S3Error::new(Code::AuthorizationQueryParametersError, message)
}

fn expires(text: &str) -> Result<Duration, S3Error> {
    let seconds: i64 = text.parse().map_err(|_| wrong("X-Amz-Expires should be a number"))?;
    let seconds =
        u64::try_from(seconds).map_err(|_| wrong("X-Amz-Expires must be non-negative"))?;
    let expires = Duration::from_secs(seconds);
    if expires > EXPIRES_MAX {
        return Err(wrong(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 \
             seconds",
        ));
    }
    Ok(expires)
}

fn check_window(
    date: Timestamp,
    expires: Duration,
    sent: &str,
    now: Timestamp,
) -> Result<(), S3Error> {
    if date > now.after(SKEW_MAX) {
        return Err(S3Error::new(Code::AccessDenied, "Request is not valid yet")
            .detail("RequestTime", date::iso8601(date))
            .detail("ServerTime", date::iso8601(now)));
    }
    let end = date.after(expires);
    if end < now {
        return Err(S3Error::new(Code::AccessDenied, "Request has expired")
            .detail("X-Amz-Expires", sent)
            .detail("Expires", date::iso8601(end))
            .detail("ServerTime", date::iso8601(now)));
    }
    Ok(())
}

/// How the body is vouched for, and what stands for it in the canonical request. A header that was not signed cannot be part
/// of what was signed, yet tells how the body is framed.
fn payload(request: &Request, signed: &[&str]) -> Result<(PayloadMode, String), S3Error> {
    const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
    if let Some(value) = request.query.get_any_case("X-Amz-Content-Sha256") {
        return Ok((payload_mode(value.as_bytes())?, value.to_owned()));
    }
    let Some(value) = request.header("x-amz-content-sha256") else {
        return Ok((PayloadMode::Unsigned, UNSIGNED.to_owned()));
    };
    let mode = payload_mode(value)?;
    let is_signed = signed.contains(&"x-amz-content-sha256");
    let payload = if is_signed { String::from_utf8_lossy(value) } else { UNSIGNED.into() };
    Ok((mode, payload.into_owned()))
}
