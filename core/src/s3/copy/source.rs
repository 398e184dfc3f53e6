//! Where a copy comes from: `x-amz-copy-source` and `x-amz-copy-source-range`. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>

use std::ops::Range;

use percent_encoding::percent_decode;

use crate::{
    s3::{
        access,
        call::{Call, Target},
        error::{Code, S3Error},
        request::KEY_MAX,
    },
    task::Cx,
};

/// The object that an `x-amz-copy-source` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The bucket's name.
    pub bucket: String,
    /// The key, decoded.
    pub key: Vec<u8>,
}

/// Reads `[/]bucket/key[?versionId=null]`, percent-encoded as in a form: a `+` stands for a blank, as AWS reads it and as
/// clients rely on, some by writing `+` for a blank, others by never leaving a `+` as it is. A `?` that begins no `versionId`
/// belongs to the key.
pub fn parse(header: &[u8]) -> Result<Source, S3Error> {
    let malformed = || {
        S3Error::invalid_argument(
            "x-amz-copy-source",
            String::from_utf8_lossy(header),
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )
    };
    if header.starts_with(b"arn:") {
        return Err(S3Error::not_implemented("An access point as x-amz-copy-source"));
    }
    let path = without_version(header)?;
    let path: Vec<u8> = path.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let path: Vec<u8> = percent_decode(&path).collect();
    let path = path.strip_prefix(b"/").unwrap_or(&path);
    let slash = path.iter().position(|byte| *byte == b'/').ok_or_else(malformed)?;
    let (bucket, key) = (&path[..slash], &path[slash + 1..]);
    if bucket.is_empty() || key.is_empty() || std::str::from_utf8(key).is_err() {
        return Err(malformed());
    }
    if key.len() > KEY_MAX {
        return Err(S3Error::new(Code::KeyTooLongError, "Your key is too long"));
    }
    let bucket = String::from_utf8(bucket.to_vec()).map_err(|_| malformed())?;
    Ok(Source { bucket, key: key.to_vec() })
}

fn without_version(header: &[u8]) -> Result<&[u8], S3Error> {
    const MARK: &[u8] = b"?versionId=";
    let Some(at) = header.windows(MARK.len()).rposition(|window| window == MARK) else {
        return Ok(header);
    };
    match &header[at + MARK.len()..] {
        b"null" => Ok(&header[..at]),
        // Buckets have no versioning, so every object is its null version.
        _ => Err(S3Error::new(Code::NoSuchVersion, "The specified version does not exist.")),
    }
}

/// Where the source of the request is. The request's key needs read access to its bucket.
pub(crate) async fn locate(cx: Cx, call: &Call) -> Result<Target, S3Error> {
    let source = parse(call.request.header("x-amz-copy-source").unwrap_or_default())?;
    let bucket = if source.bucket == call.bucket().name {
        call.bucket().clone()
    } else {
        let found =
            access::bucket_named(cx, &call.view, &call.signer().key, &source.bucket).await?;
        found.ok_or_else(|| access::no_such_bucket(&source.bucket))?
    };
    if !bucket.permissions.read {
        return Err(access::denied(
            "This access key may not read the bucket of the copy's source.",
        ));
    }
    Ok(bucket.target(&source.key))
}

/// The bytes that `bytes=first-last` names of a source of `size` bytes. Both ends must be given and lie within it.
pub fn range(header: &[u8], size: u64) -> Result<Range<u64>, S3Error> {
    let text = String::from_utf8_lossy(header);
    let number = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let ends = text.strip_prefix("bytes=").and_then(|ends| ends.split_once('-'));
    let ends = ends.and_then(|(first, last)| Some((number(first)?, number(last)?)));
    let Some((first, last)) = ends.filter(|(first, last)| first <= last) else {
        return Err(S3Error::invalid_argument(
            "x-amz-copy-source-range",
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        ));
    };
    if last >= size {
        return Err(S3Error::new(
            Code::InvalidRange,
            format!("Range specified is not valid for source object of size: {size}"),
        ));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bucket: &str, key: &str) -> Source {
        Source { bucket: bucket.to_owned(), key: key.as_bytes().to_vec() }
    }

    #[test]
    fn a_source_is_read_as_clients_write_it() {
        for (header, key) in [
            ("bucket/key", "key"),
            ("/bucket/key", "key"),
            ("%2Fbucket%2Fkey", "key"),
            ("bucket//key", "/key"),
            ("bucket/a//b/", "a//b/"),
            ("bucket/../y", "../y"),
            ("bucket/a%20b+c", "a b c"),
            ("bucket/a+b%2Bc", "a b+c"),
            ("bucket/%C3%A9", "é"),
            ("bucket/é", "é"),
            ("bucket/100%", "100%"),
            ("bucket/key?versionId=null", "key"),
            ("bucket/a?b", "a?b"),
            ("bucket/a%3FversionId=x", "a?versionId=x"),
        ] {
            assert_eq!(parse(header.as_bytes()), Ok(source("bucket", key)), "{header}");
        }
    }

    #[test]
    fn a_source_needs_bucket_and_key() {
        for header in ["", "/", "bucket", "/bucket", "bucket/", "//key", "b/%ff"] {
            let error = parse(header.as_bytes()).expect_err(header);
            assert_eq!(error.code, Code::InvalidArgument, "{header}");
        }
        let long = format!("bucket/{}", "k".repeat(1025));
        assert_eq!(parse(long.as_bytes()).expect_err("too long").code, Code::KeyTooLongError);
        let version = parse(b"bucket/key?versionId=3HL4kqtJvjVBH40Nrjfkd").expect_err("unknown");
        assert_eq!(version.code, Code::NoSuchVersion);
    }

    #[test]
    fn a_range_has_two_ends_within_the_source() {
        assert_eq!(range(b"bytes=0-0", 1), Ok(0..1));
        assert_eq!(range(b"bytes=5-9", 10), Ok(5..10));
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=5-",
            "bytes=-5",
            "0-4",
            "bytes=4-0",
            "bytes=0-4,6-7",
            "bytes=+0-4",
            "bytes=0-99999999999999999999",
        ] {
            let error = range(header.as_bytes(), 10).expect_err(header);
            assert_eq!(error.code, Code::InvalidArgument, "{header}");
        }
        assert_eq!(range(b"bytes=5-10", 10).expect_err("beyond").code, Code::InvalidRange);
        assert_eq!(range(b"bytes=0-0", 0).expect_err("empty").code, Code::InvalidRange);
    }
}
