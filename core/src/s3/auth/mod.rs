//! Who sent a request: Signature Version 4, in the `Authorization` header or in a presigned URL.
//!
//! In two steps, because the secret must be looked up in between: [`claim`] reads what the request says of itself and checks
//! all that needs no secret; [`Claim::verify`] checks the signature.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>

pub(crate) mod canonical;
mod chain;
mod header;
mod presigned;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ring::hmac;

use crate::{
    s3::{
        date,
        error::{Code, S3Error},
        intake::{self, Intake},
        request::{self, Request},
    },
    time::Timestamp,
    view::Config,
};

use canonical::{CredentialScope, Parts};
pub(crate) use chain::Chain;

/// How far a client's clock may be off.
pub const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// The longest life of a presigned URL: seven days.
pub const EXPIRES_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How the body is vouched for: the value of `x-amz-content-sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadMode {
    /// The whole body's SHA-256 is signed with the head.
    Signed([u8; 32]),
    /// The body is not covered by the signature.
    Unsigned,
    /// The body comes in `aws-chunked` framing.
    Chunked {
        /// Each chunk is signed, and the trailer if there is one.
        signed: bool,
        /// Trailer fields follow the last chunk.
        trailer: bool,
    },
}

impl PayloadMode {
    /// The mode that a value of `x-amz-content-sha256` names.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value {
            b"UNSIGNED-PAYLOAD" => Some(Self::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => {
                Some(Self::Chunked { signed: true, trailer: false })
            }
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                Some(Self::Chunked { signed: true, trailer: true })
            }
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => {
                Some(Self::Chunked { signed: false, trailer: true })
            }
            hash => {
                let mut sha256 = [0; 32];
                hex::decode_to_slice(hash, &mut sha256).ok()?;
                Some(Self::Signed(sha256))
            }
        }
    }
}

/// What a request says of its sender, not yet verified.
#[derive(Clone, Debug)]
pub struct Claim {
    key_id: String,
    /// As in `x-amz-date`.
    date: String,
    scope: CredentialScope,
    canonical: String,
    signature: String,
    mode: PayloadMode,
}

/// What both forms of a signature carry.
struct Credential {
    key_id: String,
    scope: CredentialScope,
}

/// Reads who claims to have signed the request, and checks its date, scope and what it covers.
pub fn claim(request: &Request, now: Timestamp, config: &Config) -> Result<Claim, S3Error> {
    let mut headers = request.sent_headers().iter().filter(|(name, _)| name == "authorization");
    let authorization = headers.next().map(|(_, value)| &value[..]);
    let presigned = request.query.is_presigned();
    let version2 = request.query.has("AWSAccessKeyId") && request.query.has("Signature");
    if headers.next().is_some() || (authorization.is_some() && (presigned || version2)) {
        return Err(S3Error::invalid_argument(
            "Authorization",
            "",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or \
             the Authorization header should be specified",
        ));
    }
    if version2 {
        return Err(version_2());
    }
    if request.header("x-amz-security-token").is_some_and(|token| !token.is_empty()) {
        return Err(S3Error::new(
            Code::InvalidToken,
            "The provided token is malformed or otherwise invalid: this store issues no session tokens. Use an access key \
             without one.",
        ));
    }
    match authorization {
        Some(value) => header::claim(request, value, now, config),
        None if presigned => presigned::claim(request, now, config),
        None => Err(unsigned()),
    }
}

/// Whether a request does not say at all who has sent it. One that tries to, in whatever way, must do it right.
pub fn is_unsigned(request: &Request) -> bool {
    let speaks_of_it = |(name, _): (&str, &str)| {
        request::is_auth(&name.to_ascii_lowercase())
            || matches!(name, "AWSAccessKeyId" | "Signature" | "X-Amz-Security-Token")
    };
    request.header("authorization").is_none()
        && request.header("x-amz-security-token").is_none()
        && !request.query.iter().any(speaks_of_it)
}

/// The answer to a request without a signature for something that is not public.
pub fn unsigned() -> S3Error {
    S3Error::new(
        Code::AccessDenied,
        "Access Denied: the request carries no signature, and there is no anonymous access to this.",
    )
}

impl Claim {
    /// The access key that is said to have signed.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Checks the signature with that key's secret, in constant time. `request` is the one that was claimed for.
    pub fn verify(self, secret: &str, request: &Request) -> Result<Verified, S3Error> {
        let key = canonical::signing_key(secret, &self.scope);
        let text = canonical::string_to_sign(&self.date, &self.scope, &self.canonical);
        let mut signature = [0; 32];
        let readable = hex::decode_to_slice(&self.signature, &mut signature).is_ok();
        if !readable || hmac::verify(&key, text.as_bytes(), &signature).is_err() {
            return Err(self.mismatch(&text, request));
        }
        let chain = Chain::new(key, &self.date, &self.scope.to_string(), &signature);
        Ok(Verified { key_id: self.key_id, mode: self.mode, chain })
    }

    fn mismatch(self, text: &str, request: &Request) -> S3Error {
        log::debug!("{} {}: signature does not match", request.head.method, request.resource());
        S3Error::new(
            Code::SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method.",
        )
        .detail("AWSAccessKeyId", self.key_id)
        .detail("StringToSign", text)
        .detail("SignatureProvided", self.signature)
        .detail("CanonicalRequest", self.canonical)
    }
}

/// A request whose signature holds.
#[derive(Debug)]
pub struct Verified {
    key_id: String,
    mode: PayloadMode,
    chain: Chain,
}

impl Verified {
    /// The access key that signed.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// How the body is vouched for.
    pub fn mode(&self) -> PayloadMode {
        self.mode
    }

    /// The decoder and checker of the request's body. Fails if its headers contradict each other.
    pub fn intake(&self, request: &Request) -> Result<Intake, S3Error> {
        intake::open(request, self.mode, &self.chain)
    }
}

/// `KEY/20130524/us-east-1/s3/aws4_request`, from the right: a key id may have slashes in it.
fn credential(
    text: &str,
    config: &Config,
    malformed: &dyn Fn(String) -> S3Error,
) -> Result<Credential, S3Error> {
    let mut parts = text.rsplitn(5, '/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (Some(end), Some(service), Some(region), Some(day), Some(key_id)) =
        (next(), next(), next(), next(), next())
    else {
        return Err(malformed(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"".to_owned(),
        ));
    };
    if end != canonical::TERMINATOR {
        return Err(malformed(format!(
            "incorrect terminal \"{end}\". This endpoint uses \"{}\"",
            canonical::TERMINATOR
        )));
    }
    if service != "s3" {
        return Err(malformed(format!(
            "incorrect service \"{service}\". This endpoint belongs to \"s3\""
        )));
    }
    if config.region_strict && region != config.region {
        return Err(malformed(format!(
            "the region '{region}' is wrong; expecting '{}'",
            config.region
        ))
        .detail("Region", config.region.as_str()));
    }
    let scope = CredentialScope {
        day: day.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
    };
    Ok(Credential { key_id: key_id.to_owned(), scope })
}

/// The names of the signed headers, in the order given. `host` must be among them, and every `x-amz-*` field that was sent;
/// `x-amz-content-sha256` stands in the canonical request anyway.
fn signed_names<'a>(
    list: &'a str,
    request: &Request,
    malformed: &dyn Fn(String) -> S3Error,
) -> Result<Vec<&'a str>, S3Error> {
    let names: Vec<&str> = list.split(';').collect();
    let is_name = |name: &&str| {
        !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase() || b <= b' ' || b == b':')
    };
    if !names.iter().all(is_name) {
        return Err(malformed(
            "SignedHeaders must be lower-case names separated by ';'".to_owned(),
        ));
    }
    let needed = request.sent_headers().iter().map(|(name, _)| name.as_str());
    let needed = needed
        .filter(|name| name.starts_with("x-amz-") && *name != "x-amz-content-sha256")
        .chain(["host"]);
    let mut missing: Vec<&str> = needed.filter(|name| !names.contains(name)).collect();
    if missing.is_empty() {
        return Ok(names);
    }
    missing.dedup();
    Err(S3Error::new(
        Code::AccessDenied,
        "There were headers present in the request which were not signed",
    )
    .detail("HeadersNotSigned", missing.join(", ")))
}

/// The canonical request as the client must have built it.
fn canonical_request(request: &Request, signed: &[&str], payload: &str) -> String {
    Parts {
        method: &request.head.method,
        path: request.head.path_and_query().0,
        query: &request.query,
        presigned: request.query.is_presigned(),
        headers: request.sent_headers(),
        signed,
        payload,
    }
    .canonical()
}

fn payload_mode(value: &[u8]) -> Result<PayloadMode, S3Error> {
    PayloadMode::parse(value).ok_or_else(|| {
        S3Error::invalid_argument(
            "x-amz-content-sha256",
            String::from_utf8_lossy(value),
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        )
    })
}

fn skewed(date: Timestamp, now: Timestamp) -> S3Error {
    S3Error::new(
        Code::RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large.",
    )
    .detail("RequestTime", date::iso8601(date))
    .detail("ServerTime", date::iso8601(now))
    .detail("MaxAllowedSkewMilliseconds", SKEW_MAX.as_millis().to_string())
}

fn version_2() -> S3Error {
    S3Error::new(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256 (Signature Version 4).",
    )
}

fn version_4a() -> S3Error {
    S3Error::new(
        Code::NotImplemented,
        "Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not implemented by this store. Please use AWS4-HMAC-SHA256 \
         (Signature Version 4).",
    )
}
