//! The signature in the `Authorization` header.

use crate::{
    s3::{
        auth::{
            Claim, SKEW_MAX, canonical::ALGORITHM, canonical_request, credential, payload_mode,
            signed_names, skewed, version_2, version_4a,
        },
        date,
        error::{Code, S3Error},
        request::Request,
    },
    time::Timestamp,
    view::Config,
};

pub(super) fn claim(
    request: &Request,
    authorization: &[u8],
    now: Timestamp,
    config: &Config,
) -> Result<Claim, S3Error> {
    let malformed = |what: String| {
        S3Error::new(
            Code::AuthorizationHeaderMalformed,
            format!("The authorization header is malformed; {what}."),
        )
    };
    let text = std::str::from_utf8(authorization).map_err(|_| malformed("not UTF-8".to_owned()))?;
    let (scheme, fields) = text.split_once(' ').unwrap_or((text, ""));
    match scheme {
        ALGORITHM => {}
        "AWS" => return Err(version_2()),
        "AWS4-ECDSA-P256-SHA256" => return Err(version_4a()),
        _ => {
            // The value is not echoed: of another scheme, it may be a password.
            return Err(S3Error::invalid_argument(
                "Authorization",
                scheme.chars().take(32).collect::<String>(),
                "Unsupported Authorization Type",
            ));
        }
    }
    let fields = Fields::parse(fields, &malformed)?;
    let date = request_date(request)?;
    let credential = credential(fields.credential, config, &malformed)?;
    let stamp = date::amz(date);
    if credential.scope.day != stamp[..8] {
        return Err(malformed(format!(
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\"",
            credential.scope.day,
            &stamp[..8]
        )));
    }
    if date < now.before(SKEW_MAX) || date > now.after(SKEW_MAX) {
        return Err(skewed(date, now));
    }
    let signed = signed_names(fields.signed_headers, request, &malformed)?;
    let Some(payload) = request.header("x-amz-content-sha256") else {
        return Err(S3Error::new(
            Code::MissingSecurityHeader,
            "Missing required header for this request: x-amz-content-sha256",
        )
        .detail("MissingHeaderName", "x-amz-content-sha256"));
    };
    let mode = payload_mode(payload)?;
    let canonical = canonical_request(request, &signed, &String::from_utf8_lossy(payload));
    Ok(Claim {
        key_id: credential.key_id,
        date: stamp,
        scope: credential.scope,
        canonical,
        signature: fields.signature.to_owned(),
        mode,
    })
}

/// When the request says it was made: `x-amz-date`, or else `Date`.
fn request_date(request: &Request) -> Result<Timestamp, S3Error> {
    let date = match request.header("x-amz-date") {
        Some(value) => date::parse_amz(value).or_else(|| date::parse_http(value)),
        None => request
            .header("date")
            .and_then(|value| date::parse_http(value).or_else(|| date::parse_amz(value))),
    };
    date.ok_or_else(|| {
        S3Error::new(
            Code::AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    })
}

struct Fields<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    /// `Credential=…, SignedHeaders=…, Signature=…`, in any order.
    fn parse(text: &'a str, malformed: &dyn Fn(String) -> S3Error) -> Result<Self, S3Error> {
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for field in text.split(',') {
            let (name, value) = field.trim().split_once('=').unwrap_or((field, ""));
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => {
                    return Err(malformed(
                        "expecting Credential, SignedHeaders and Signature".to_owned(),
                    ));
                }
            };
            if place.replace(value.trim()).is_some() {
                return Err(malformed(format!("{name} is given twice")));
            }
        }
        let missing = |name: &str| malformed(format!("missing {name}"));
        Ok(Self {
            credential: credential.ok_or_else(|| missing("Credential"))?,
            signed_headers: signed_headers.ok_or_else(|| missing("SignedHeaders"))?,
            signature: signature.ok_or_else(|| missing("Signature"))?,
        })
    }
}
