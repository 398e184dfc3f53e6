//! What a request asks for: bucket, key, operation, parameters. Nothing is looked up here, and nothing is checked that needs
//! to know who asks.

mod query;
mod refuse;
mod route;
#[cfg(test)]
mod tests;

pub use query::Query;
pub(super) use query::is_auth;
pub(crate) use refuse::check;
pub use route::Operation;

use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::{
    checksum::Algorithm,
    http::{RequestHead, host},
    s3::error::{Code, S3Error},
    view::Config,
};

/// The most bytes that a key may have.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
pub const KEY_MAX: usize = 1024;

/// A request, taken apart.
#[derive(Clone, Debug)]
pub struct Request {
    /// The head. A presigned URL may carry `x-amz-*` fields as parameters; these are appended to its header fields, unless
    /// a field of the same name came as a header.
    pub head: RequestHead,
    /// The bucket's name, unless the request is for the service.
    pub bucket: Option<String>,
    /// The key, byte for byte, unless the request is for the bucket. Valid UTF-8, 1 to 1024 bytes.
    pub key: Option<Vec<u8>>,
    /// The parameters.
    pub query: Query,
    /// What is to be done.
    pub op: Operation,
    /// How many of the head's fields came as headers.
    sent: usize,
}

/// Takes a request apart. Fails if the target cannot be read, if the key is too long, if the combination of method and
/// parameters means nothing, or if a header or parameter asks for something that isn't honoured.
pub fn parse(head: RequestHead, config: &Config) -> Result<Request, S3Error> {
    let request = take_apart(head, config)?;
    check(&request)?;
    Ok(request)
}

/// The same, without the [check] for what is not honoured.
pub(crate) fn take_apart(mut head: RequestHead, config: &Config) -> Result<Request, S3Error> {
    let (path, query) = head.path_and_query();
    let query = Query::parse(query.unwrap_or_default())?;
    let path = path_bytes(path)?;
    let (bucket, key) = match virtual_host(&head, config) {
        Some(bucket) => (Some(bucket), key(&path[1..])?),
        None => split(&path[1..])?,
    };
    let sent = head.headers.len();
    hoist(&mut head, &query);
    let op = route::route(&head, &query, bucket.is_some(), key.is_some())?;
    Ok(Request { head, bucket, key, query, op, sent })
}

impl Request {
    /// The reading of an object by somebody who does not speak S3: of the query, nothing counts.
    pub(crate) fn read(head: RequestHead, bucket: &str, key: Vec<u8>, op: Operation) -> Self {
        let (sent, query) = (head.headers.len(), Query::default());
        Self { head, bucket: Some(bucket.to_owned()), key: Some(key), query, op, sent }
    }

    /// Forgets that a part of the object was asked for, and under which conditions.
    pub(crate) fn unconditional(&mut self) {
        self.head.headers.retain(|(name, _)| name != "range" && !name.starts_with("if-"));
        self.sent = self.head.headers.len();
    }

    /// The header fields as they were sent, without those taken from the parameters of a presigned URL.
    pub fn sent_headers(&self) -> &[(String, Bytes)] {
        &self.head.headers[..self.sent]
    }

    /// The first value of a header field, or of the parameter that stands for it in a presigned URL. `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.get(name)
    }

    /// The same as text. Fails if the value is not UTF-8.
    pub fn header_text(&self, name: &str) -> Result<Option<&str>, S3Error> {
        let Some(value) = self.header(name) else { return Ok(None) };
        let text = std::str::from_utf8(value).map_err(|_| {
            let shown = String::from_utf8_lossy(value);
            S3Error::invalid_argument(name, shown, format!("The value of {name} is not UTF-8."))
        })?;
        Ok(Some(text))
    }

    /// The `Content-Encoding` of the object: what was sent, without the `aws-chunked` that is only for the transfer.
    pub fn content_encoding(&self) -> Option<Vec<u8>> {
        let codings =
            self.head.all("content-encoding").flat_map(|value| value.split(|b| *b == b','));
        let codings = codings.map(<[u8]>::trim_ascii);
        let kept: Vec<_> = codings
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"aws-chunked"))
            .collect();
        if kept.is_empty() { None } else { Some(kept.join(&b", "[..])) }
    }

    /// The path as asked for, for error documents and logs.
    pub fn resource(&self) -> String {
        String::from_utf8_lossy(self.head.path_and_query().0).into_owned()
    }
}

/// The path with its percent-encoding undone, once. Never normalised: `.`, `..` and empty segments are parts of keys.
pub(crate) fn path_bytes(raw: &[u8]) -> Result<Vec<u8>, S3Error> {
    let invalid = || S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI.");
    if !raw.starts_with(b"/") {
        return Err(invalid());
    }
    let path: Vec<u8> = percent_decode(raw).collect();
    // AWS takes keys in UTF-8 only; so do the documents that list them.
    if std::str::from_utf8(&path).is_err() {
        return Err(invalid());
    }
    Ok(path)
}

/// Path style: `BUCKET`, `BUCKET/` or `BUCKET/KEY`, and the empty path for the service.
fn split(path: &[u8]) -> Result<(Option<String>, Option<Vec<u8>>), S3Error> {
    let slash = path.iter().position(|byte| *byte == b'/');
    let (bucket, rest) = match slash {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, &[][..]),
    };
    if bucket.is_empty() {
        if slash.is_some() {
            return Err(S3Error::new(
                Code::InvalidBucketName,
                "The specified bucket is not valid: the path begins with two slashes.",
            )
            .detail("BucketName", ""));
        }
        return Ok((None, None));
    }
    Ok((Some(String::from_utf8_lossy(bucket).into_owned()), key(rest)?))
}

fn key(path: &[u8]) -> Result<Option<Vec<u8>>, S3Error> {
    if path.len() > KEY_MAX {
        return Err(S3Error::new(Code::KeyTooLongError, "Your key is too long.")
            .detail("Size", path.len().to_string())
            .detail("MaxSizeAllowed", KEY_MAX.to_string()));
    }
    Ok(if path.is_empty() { None } else { Some(path.to_vec()) })
}

/// The bucket in the Host header, if that is one label or more in front of the configured root domain.
fn virtual_host(head: &RequestHead, config: &Config) -> Option<String> {
    bucket_of_host(std::str::from_utf8(head.get("host")?).ok()?, config)
}

/// The bucket in a host's name, if that is one label or more in front of the configured root domain.
pub fn bucket_of_host(host: &str, config: &Config) -> Option<String> {
    let root = config.root_domain.as_deref()?;
    host::in_front_of(&host::name(host), root).map(str::to_owned)
}

/// Appends what a presigned URL carries as parameters to the header fields: signers move `x-amz-*` fields there, because a
/// browser that follows the URL sends no headers of its own. The parameters are signed with the rest of the URL.
///
/// Not so checksums: signers put that of an empty body into a URL whose body they do not know, and AWS passes over it.
fn hoist(head: &mut RequestHead, query: &Query) {
    if !query.is_presigned() {
        return;
    }
    let sent = head.headers.len();
    for (name, value) in query.iter() {
        let name = name.to_ascii_lowercase();
        let is_field = name.starts_with("x-amz-")
            && !is_auth(&name)
            && Algorithm::from_header(&name).is_none()
            && name != "x-amz-sdk-checksum-algorithm";
        if is_field && !head.headers[..sent].iter().any(|(each, _)| *each == name) {
            let value = Bytes::copy_from_slice(value.trim().as_bytes());
            head.headers.push((name, value));
        }
    }
}
