//! The texts that Signature V4 signs, built alike for checking and for signing.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use bytes::Bytes;
use percent_encoding::percent_decode;
use ring::hmac;

use crate::s3::{digest::sha256_hex, request::Query};

/// The only algorithm of Signature V4 that is spoken here.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How a credential scope ends.
pub(crate) const TERMINATOR: &str = "aws4_request";

/// SHA-256 of nothing, in hexadecimal.
pub(crate) const EMPTY_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a signature is valid for: a day, a region, a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialScope {
    /// Eight digits.
    pub day: String,
    pub region: String,
    pub service: String,
}

impl std::fmt::Display for CredentialScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{TERMINATOR}", self.day, self.region, self.service)
    }
}

/// What goes into a canonical request.
pub(crate) struct Parts<'a> {
    pub method: &'a str,
    /// Raw, as in the request line.
    pub path: &'a [u8],
    /// Decoded, in any order.
    pub query: &'a Query,
    /// Whether the signature is among the parameters: it does not cover itself.
    pub presigned: bool,
    pub headers: &'a [(String, Bytes)],
    /// Names in lower case, in the order in which they are signed.
    pub signed: &'a [&'a str],
    /// The value of `x-amz-content-sha256`, or what stands for it.
    pub payload: &'a str,
}

impl Parts<'_> {
    /// The canonical request.
    pub(crate) fn canonical(self) -> String {
        let mut text = String::with_capacity(512);
        text.push_str(self.method);
        text.push('\n');
        let path: Vec<u8> = percent_decode(self.path).collect();
        encode(&mut text, &path, true);
        text.push('\n');
        let pairs = self.query.iter();
        query(
            &mut text,
            pairs.filter(|(name, _)| {
                !(self.presigned && name.eq_ignore_ascii_case("x-amz-signature"))
            }),
        );
        text.push('\n');
        for name in self.signed {
            text.push_str(name);
            text.push(':');
            let mut values = self.headers.iter().filter(|(each, _)| each == name);
            if let Some((_, first)) = values.next() {
                value(&mut text, first);
            }
            for (_, next) in values {
                text.push(',');
                value(&mut text, next);
            }
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed.join(";"));
        text.push('\n');
        text.push_str(self.payload);
        text
    }
}

/// The text whose HMAC is the signature.
pub(crate) fn string_to_sign(date: &str, scope: &CredentialScope, canonical: &str) -> String {
    format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()))
}

/// The key of a day, region and service.
pub(crate) fn signing_key(secret: &str, scope: &CredentialScope) -> hmac::Key {
    let steps = [scope.day.as_str(), &scope.region, &scope.service, TERMINATOR];
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    steps.into_iter().fold(first, |key, step| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref())
    })
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, and slashes if they are to be kept.
pub(crate) fn encode(out: &mut String, bytes: &[u8], keep_slash: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            b'/' if keep_slash => out.push('/'),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

/// Parameters sorted by encoded name and value.
fn query<'a>(out: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut pairs: Vec<_> = pairs
        .map(|(name, value)| {
            let (mut encoded, mut encoded_value) = (String::new(), String::new());
            encode(&mut encoded, name.as_bytes(), false);
            encode(&mut encoded_value, value.as_bytes(), false);
            (encoded, encoded_value)
        })
        .collect();
    pairs.sort();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// A header's value with the blanks around it gone and those inside it collapsed. Bytes that are not UTF-8 cannot have been
/// signed as text; they become U+FFFD, and the signature does not match.
fn value(out: &mut String, raw: &[u8]) {
    let text = String::from_utf8_lossy(raw);
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    out.push_str(words.next().unwrap_or_default());
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
}
