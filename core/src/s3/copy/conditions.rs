//! The conditions of a copy on its source: `x-amz-copy-source-if-*`.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use crate::{
    http::RequestHead,
    s3::{
        error::S3Error,
        object::conditions::{COPY_SOURCE, Current, Verdict, evaluate, failed},
    },
};

/// Checks the four conditions against the source. Nothing can be left "not modified" by a copy, so that is a failure too.
pub fn check(head: &RequestHead, source: Current<'_>) -> Result<(), S3Error> {
    match evaluate(head, COPY_SOURCE, source) {
        Verdict::Holds => Ok(()),
        Verdict::NotModified(header) | Verdict::Failed(header) => Err(failed(header)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{s3::error::Code, time::Timestamp};

    const ETAG: &str = "0cc175b9c0f1b6a831c399e269772661";
    const QUOTED: &str = "\"0cc175b9c0f1b6a831c399e269772661\"";
    /// Wed, 21 Oct 2015 07:28:00 GMT, and half a second.
    const MODIFIED: Timestamp = Timestamp(1_445_412_480_500);
    const BEFORE: &str = "Wed, 21 Oct 2015 07:27:59 GMT";
    const SAME: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
    const AFTER: &str = "Wed, 21 Oct 2015 07:28:01 GMT";

    fn holds(conditions: &[(&str, &str)]) -> bool {
        let head = RequestHead {
            method: "PUT".to_owned(),
            target: b"/b/k".to_vec(),
            headers: conditions
                .iter()
                .map(|(name, value)| {
                    (format!("x-amz-copy-source-if-{name}"), Bytes::from((*value).to_owned()))
                })
                .collect(),
            body_len: Some(0),
            peer: String::new(),
        };
        match check(&head, Current { etag: ETAG, modified: MODIFIED }) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, Code::PreconditionFailed);
                false
            }
        }
    }

    #[test]
    fn each_condition_alone() {
        assert!(holds(&[]));
        for (name, value, expected) in [
            ("match", QUOTED, true),
            ("match", ETAG, true),
            ("match", "*", true),
            ("match", "\"other\"", false),
            ("none-match", "\"other\"", true),
            ("none-match", QUOTED, false),
            ("none-match", "*", false),
            ("none-match", &format!("\"other\", {QUOTED}"), false),
            ("modified-since", BEFORE, true),
            ("modified-since", SAME, false),
            ("modified-since", AFTER, false),
            ("unmodified-since", BEFORE, false),
            ("unmodified-since", SAME, true),
            ("unmodified-since", AFTER, true),
            ("modified-since", "yesterday", true),
        ] {
            assert_eq!(holds(&[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn the_tag_decides_over_the_date() {
        assert!(holds(&[("match", QUOTED), ("unmodified-since", BEFORE)]));
        assert!(!holds(&[("match", "\"other\""), ("unmodified-since", AFTER)]));
        assert!(!holds(&[("none-match", QUOTED), ("modified-since", BEFORE)]));
        assert!(holds(&[("none-match", "\"other\""), ("modified-since", AFTER)]));
    }

    #[test]
    fn all_that_are_given_must_hold() {
        assert!(!holds(&[("match", QUOTED), ("none-match", QUOTED)]));
        assert!(!holds(&[("match", QUOTED), ("modified-since", AFTER)]));
    }
}
