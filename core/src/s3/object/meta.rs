//! What is stored of an object beside its bytes, and how responses tell of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_bytes::ByteBuf;

use crate::{
    checksum::Checksum,
    http::ResponseHead,
    s3::{
        date,
        error::{Code, S3Error},
        request::Request,
    },
    table::object::Meta,
    time::Timestamp,
};

/// The most bytes of user metadata: names without their prefix, and values.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
pub const USER_METADATA_MAX: usize = 2048;

/// What the fields of user metadata begin with.
const USER: &str = "x-amz-meta-";

/// Header fields that are stored as they come and given back with the object, beside user metadata and `content-encoding`.
const STORED: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "expires",
    REDIRECT,
];

/// Where an object sends the visitors of a website.
pub const REDIRECT: &str = "x-amz-website-redirect-location";

/// The most bytes of that.
const REDIRECT_MAX: usize = 2048;

/// Header fields that are lists: several lines of one are one list (RFC 9110, 5.3).
const LISTS: &[&str] = &["cache-control", "content-language"];

/// Header fields that a parameter `response-*` of a GET or HEAD replaces.
const OVERRIDES: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

/// The media type of an object that was stored without one, as AWS gives it.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// Where an object is to send the visitors of a website, if the request says so.
pub fn redirect(request: &Request) -> Result<Option<&[u8]>, S3Error> {
    let Some(location) = request.header(REDIRECT).filter(|location| !location.is_empty()) else {
        return Ok(None);
    };
    let refused = |message| Err(S3Error::new(Code::InvalidRedirectLocation, message));
    let begins = |with: &&[u8]| location.starts_with(with);
    if ![&b"/"[..], b"http://", b"https://"].iter().any(begins) {
        return refused(
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        );
    }
    if location.len() > REDIRECT_MAX {
        return refused("The length of website redirect location cannot exceed 2,048 characters.");
    }
    Ok(Some(location))
}

/// The fields of a request that are stored with the object: names in lower case, each once, in the order of their names.
pub fn stored_headers(request: &Request) -> Result<Vec<(String, ByteBuf)>, S3Error> {
    redirect(request)?;
    let head = &request.head;
    let mut stored: Vec<(String, ByteBuf)> = Vec::new();
    for (name, value) in &head.headers {
        let user = name.starts_with(USER);
        if value.is_empty() && !user {
            continue;
        }
        if !user && !STORED.contains(&name.as_str()) {
            continue;
        }
        match stored.iter_mut().find(|(each, _)| each == name) {
            Some((_, before)) if user || LISTS.contains(&name.as_str()) => {
                before.push(b',');
                before.extend_from_slice(value);
            }
            Some(_) => {}
            None => stored.push((name.clone(), ByteBuf::from(value.to_vec()))),
        }
    }
    if let Some(encoding) = request.content_encoding() {
        stored.push(("content-encoding".to_owned(), ByteBuf::from(encoding)));
    }
    let user = stored.iter().filter(|(name, _)| name.starts_with(USER));
    let size: usize = user.map(|(name, value)| name.len() - USER.len() + value.len()).sum();
    if size > USER_METADATA_MAX {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(S3Error::new(Code::MetadataTooLarge, message)
            .detail("Size", size.to_string())
            .detail("MaxSizeAllowed", USER_METADATA_MAX.to_string()));
    }
    stored.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(stored)
}

/// Adds an entity tag in its quotes.
pub fn etag(head: ResponseHead, etag: &str) -> ResponseHead {
    head.header("etag", format!("\"{etag}\""))
}

/// Adds what identifies the version, and how it may be cached: all of this stands in a 304, too.
pub fn describe_version(head: ResponseHead, meta: &Meta, modified: Timestamp) -> ResponseHead {
    let mut head = etag(head, &meta.etag).header("last-modified", date::http(modified));
    for (name, value) in &meta.headers {
        if name == "cache-control" || name == "expires" {
            head = head.header(name, value);
        }
    }
    head
}

/// Adds what a GET and a HEAD tell of an object, where a parameter of the request may override it.
pub fn describe(
    head: ResponseHead,
    meta: &Meta,
    modified: Timestamp,
    request: &Request,
) -> ResponseHead {
    let mut head = etag(head, &meta.etag)
        .header("last-modified", date::http(modified))
        .header("accept-ranges", "bytes");
    let overridden = |name: &str| {
        let allowed = OVERRIDES.contains(&name);
        if allowed { request.query.get(&format!("response-{name}")) } else { None }
    };
    let mut named: Vec<&str> = Vec::with_capacity(meta.headers.len());
    for (name, value) in &meta.headers {
        named.push(name);
        head = match overridden(name) {
            Some(instead) => head.header(name, instead),
            None if name.starts_with(USER) => head.header(name, mail_safe(value)),
            None => head.header(name, value),
        };
    }
    for name in OVERRIDES {
        if named.contains(name) {
            continue;
        }
        if let Some(value) = overridden(name) {
            head = head.header(name, value);
        } else if *name == "content-type" {
            head = head.header(name, DEFAULT_TYPE);
        }
    }
    head
}

/// Adds an additional checksum and its type. `parts` is the number of parts of a multipart object.
pub fn checksum(head: ResponseHead, checksum: &Checksum, parts: Option<u16>) -> ResponseHead {
    head.header(checksum.algorithm.header(), checksum.text(parts))
        .header("x-amz-checksum-type", checksum.scope.name())
}

/// Metadata as a header may carry it: ASCII as it is, anything else as encoded words (RFC 2047), which is what AWS does. Bytes
/// that are not UTF-8 are taken for Latin-1, as HTTP did before it.
pub fn mail_safe(value: &[u8]) -> Vec<u8> {
    if value.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t') {
        return value.to_vec();
    }
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    };
    // An encoded word has at most 75 characters: 12 around 60 of Base64, which hold 45 bytes.
    let mut words: Vec<String> = vec![String::new()];
    for c in text.chars() {
        let word = words.last_mut().expect("there is always a word");
        if word.len() + c.len_utf8() > 45 {
            words.push(c.to_string());
        } else {
            word.push(c);
        }
    }
    let words: Vec<_> =
        words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join(" ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::RequestHead, s3::request, view::Config};

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let head = RequestHead {
            method: "PUT".to_owned(),
            target: target.as_bytes().to_vec(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec().into()))
                .collect(),
            body_len: Some(0),
            peer: String::new(),
        };
        request::parse(head, &Config::default()).expect("a request")
    }

    fn text(headers: &[(String, Vec<u8>)]) -> String {
        let lines = headers.iter();
        let lines =
            lines.map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
        lines.collect()
    }

    #[test]
    fn stored_headers_are_those_of_the_object() {
        let request = request(
            "/b/k",
            &[
                ("x-amz-meta-b", "1"),
                ("content-encoding", "aws-chunked, gzip"),
                ("content-type", "text/plain"),
                ("x-amz-date", "20260101T000000Z"),
                ("x-amz-storage-class", "STANDARD"),
                ("x-amz-meta-a", "x"),
                ("x-amz-meta-a", "y"),
                ("cache-control", ""),
            ],
        );
        let stored = stored_headers(&request).expect("small").into_iter();
        let stored: Vec<_> = stored.map(|(name, value)| (name, value.into_vec())).collect();
        let expected = "content-encoding: gzip\ncontent-type: text/plain\nx-amz-meta-a: x,y\nx-amz-meta-b: 1\n";
        assert_eq!(text(&stored), expected);
    }

    #[test]
    fn user_metadata_may_have_two_kibibytes() {
        let fits = "v".repeat(USER_METADATA_MAX - 1);
        assert!(stored_headers(&request("/b/k", &[("x-amz-meta-k", &fits)])).is_ok());
        let over = "v".repeat(USER_METADATA_MAX);
        let error = stored_headers(&request("/b/k", &[("x-amz-meta-k", &over)]));
        assert_eq!(error.map_err(|error| error.code), Err(Code::MetadataTooLarge));
    }

    #[test]
    fn metadata_beyond_ascii_goes_out_as_encoded_words() {
        assert_eq!(mail_safe(b"plain text"), b"plain text");
        assert_eq!(mail_safe("café".as_bytes()), b"=?UTF-8?B?Y2Fmw6k=?=");
        assert_eq!(mail_safe(b"caf\xe9"), b"=?UTF-8?B?Y2Fmw6k=?=");
        let long = mail_safe("é".repeat(30).as_bytes());
        let long = String::from_utf8(long).expect("ascii");
        assert_eq!(long.split(' ').count(), 2);
        assert!(long.split(' ').all(|word| word.len() <= 75));
    }

    #[test]
    fn parameters_override_what_is_stored() {
        let meta = Meta {
            etag: "e".to_owned(),
            headers: vec![
                ("content-disposition".to_owned(), ByteBuf::from("inline")),
                ("x-amz-meta-k".to_owned(), ByteBuf::from("v")),
            ],
            ..Meta::default()
        };
        let target = "/b/k?response-content-disposition=attachment%0d%0ax-evil:1&response-expires=never&response-etag=x";
        let head = describe(ResponseHead::new(200, 0), &meta, Timestamp(0), &request(target, &[]));
        let expected = "etag: \"e\"\nlast-modified: Thu, 01 Jan 1970 00:00:00 GMT\naccept-ranges: bytes\n\
            content-disposition: attachment  x-evil:1\nx-amz-meta-k: v\ncontent-type: binary/octet-stream\nexpires: never\n";
        assert_eq!(text(&head.headers), expected);
    }
}
