//! What a bucket may be called.

use crate::s3::error::{Code, S3Error};

/// Checks a name for a new bucket against AWS's rules for general purpose buckets.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub fn check(name: &str) -> Result<(), S3Error> {
    match reason(name) {
        None => Ok(()),
        Some(reason) => {
            let message = format!("The specified bucket is not valid: {reason}.");
            Err(S3Error::new(Code::InvalidBucketName, message).detail("BucketName", name))
        }
    }
}

const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

fn reason(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !(3..=63).contains(&name.len()) {
        return Some("a name has 3 to 63 characters");
    }
    if !name.bytes().all(|byte| allowed(byte) || byte == b'.' || byte == b'-') {
        return Some("a name consists of lower-case letters, digits, dots and hyphens");
    }
    if !name.bytes().next().is_some_and(allowed) || !name.bytes().last().is_some_and(allowed) {
        return Some("a name begins and ends with a letter or a digit");
    }
    if name.contains("..") {
        return Some("a name has no two dots in a row");
    }
    if name.parse::<core::net::Ipv4Addr>().is_ok() {
        return Some("a name must not be an IP address");
    }
    if PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
    {
        return Some("this beginning or ending is reserved");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_taken() {
        for name in ["abc", "a.b.c", "my-bucket", "123", "1.2.3", &"a".repeat(63)] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "a".repeat(64);
        let names = [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "192.168.0.1",
            "xn--abc",
            "abc-s3alias",
            "abc--x-s3",
            "a b",
            "büro",
        ];
        for name in names {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
