//! Conditional requests: `If-Match` and its like, in the order of RFC 9110, section 13.2.2, which is also AWS's.

use crate::{
    http::RequestHead,
    s3::{
        date,
        error::{Code, S3Error},
    },
    time::Timestamp,
};

/// What conditions are held against.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// The entity tag, without quotes.
    pub etag: &'a str,
    /// When the version was written.
    pub modified: Timestamp,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All hold.
    Holds,
    /// The client's copy is current: 304 to a GET or HEAD, 412 to anything else. The header that says so.
    NotModified(&'static str),
    /// The header whose condition does not hold: 412.
    Failed(&'static str),
}

/// Names of the four headers of one family.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    matches: &'static str,
    unmodified: &'static str,
    none_match: &'static str,
    modified: &'static str,
}

/// Conditions on the object that the request names.
pub const OBJECT: Names = Names {
    matches: "if-match",
    unmodified: "if-unmodified-since",
    none_match: "if-none-match",
    modified: "if-modified-since",
};

/// Conditions on the source of a copy.
pub const COPY_SOURCE: Names = Names {
    matches: "x-amz-copy-source-if-match",
    unmodified: "x-amz-copy-source-if-unmodified-since",
    none_match: "x-amz-copy-source-if-none-match",
    modified: "x-amz-copy-source-if-modified-since",
};

/// Holds a request's conditions against an existing object. A date that cannot be read is no condition (RFC 9110, 13.1.3).
pub fn evaluate(head: &RequestHead, names: Names, current: Current<'_>) -> Verdict {
    if head.get(names.matches).is_some() {
        if !matches(head, names.matches, current.etag, Comparison::Strong) {
            return Verdict::Failed(names.matches);
        }
    } else if let Some(date) = date_in(head, names.unmodified)
        && current.modified.seconds() > date.seconds()
    {
        return Verdict::Failed(names.unmodified);
    }
    if head.get(names.none_match).is_some() {
        if matches(head, names.none_match, current.etag, Comparison::Weak) {
            return Verdict::NotModified(names.none_match);
        }
    } else if let Some(date) = date_in(head, names.modified)
        && current.modified.seconds() <= date.seconds()
    {
        return Verdict::NotModified(names.modified);
    }
    Verdict::Holds
}

/// Whether a `Range` header counts: `If-Range`, if there, must name the current version (RFC 9110, 13.1.5).
pub fn range_counts(head: &RequestHead, current: Current<'_>) -> bool {
    if head.get("if-range").is_none() {
        return true;
    }
    match date_in(head, "if-range") {
        Some(date) => date.seconds() == current.modified.seconds(),
        None => matches(head, "if-range", current.etag, Comparison::Strong),
    }
}

/// Whether `If-Match` of a write names this entity tag; true without the header.
pub fn if_match(head: &RequestHead, etag: &str) -> bool {
    head.get("if-match").is_none() || matches(head, "if-match", etag, Comparison::Strong)
}

/// The 412 of a header (in lower case) whose condition does not hold.
pub fn failed(header: &str) -> S3Error {
    let message = "At least one of the pre-conditions you specified did not hold";
    S3Error::new(Code::PreconditionFailed, message).detail("Condition", spelled(header))
}

/// As AWS spells it: `If-Match`, and `x-amz-copy-source-If-Match`.
fn spelled(header: &str) -> String {
    let mut spelled = String::with_capacity(header.len());
    let at = header.find("if-").unwrap_or_default();
    spelled.push_str(&header[..at]);
    for (index, word) in header[at..].split('-').enumerate() {
        if index > 0 {
            spelled.push('-');
        }
        let (first, rest) = word.split_at(word.len().min(1));
        spelled.push_str(&first.to_ascii_uppercase());
        spelled.push_str(rest);
    }
    spelled
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// A weak tag is equal to nothing (RFC 9110, 8.8.3.2).
    Strong,
    /// Weakness is no difference.
    Weak,
}

fn matches(head: &RequestHead, name: &str, etag: &str, comparison: Comparison) -> bool {
    head.all(name).flat_map(|value| value.split(|byte| *byte == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        let (tag, weak) = match tag.strip_prefix(b"W/") {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        // S3 takes tags without their quotes, too.
        let inner = tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\"")).unwrap_or(tag);
        tag == b"*" || (inner == etag.as_bytes() && !(weak && comparison == Comparison::Strong))
    })
}

fn date_in(head: &RequestHead, name: &str) -> Option<Timestamp> {
    date::parse_http(head.get(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: Current<'static> =
        Current { etag: "abc", modified: Timestamp(1_700_000_000_500) };
    const THEN: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    fn head(headers: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: "GET".to_owned(),
            target: b"/b/k".to_vec(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec().into()))
                .collect(),
            body_len: Some(0),
            peer: String::new(),
        }
    }

    fn verdict(headers: &[(&str, &str)]) -> Verdict {
        evaluate(&head(headers), OBJECT, CURRENT)
    }

    #[test]
    fn a_tag_matches_with_and_without_quotes() {
        for tag in ["\"abc\"", "abc", "*", "\"x\", \"abc\""] {
            assert_eq!(verdict(&[("if-match", tag)]), Verdict::Holds, "{tag}");
            let none = verdict(&[("if-none-match", tag)]);
            assert_eq!(none, Verdict::NotModified("if-none-match"), "{tag}");
        }
        assert_eq!(verdict(&[("if-match", "\"x\"")]), Verdict::Failed("if-match"));
        assert_eq!(verdict(&[("if-none-match", "\"x\"")]), Verdict::Holds);
    }

    #[test]
    fn a_weak_tag_matches_only_weakly() {
        assert_eq!(verdict(&[("if-match", "W/\"abc\"")]), Verdict::Failed("if-match"));
        let none = verdict(&[("if-none-match", "W/\"abc\"")]);
        assert_eq!(none, Verdict::NotModified("if-none-match"));
    }

    #[test]
    fn dates_count_in_whole_seconds() {
        assert_eq!(verdict(&[("if-unmodified-since", THEN)]), Verdict::Holds);
        let failed = verdict(&[("if-unmodified-since", BEFORE)]);
        assert_eq!(failed, Verdict::Failed("if-unmodified-since"));
        let unmodified = verdict(&[("if-modified-since", THEN)]);
        assert_eq!(unmodified, Verdict::NotModified("if-modified-since"));
        assert_eq!(verdict(&[("if-modified-since", BEFORE)]), Verdict::Holds);
        assert_eq!(verdict(&[("if-modified-since", "yesterday")]), Verdict::Holds);
    }

    #[test]
    fn tags_come_before_dates() {
        let both = [("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)];
        assert_eq!(verdict(&both), Verdict::Holds);
        let both = [("if-none-match", "\"x\""), ("if-modified-since", THEN)];
        assert_eq!(verdict(&both), Verdict::Holds);
    }

    #[test]
    fn a_failed_condition_is_spelled_as_aws_does() {
        assert_eq!(spelled("if-unmodified-since"), "If-Unmodified-Since");
        assert_eq!(spelled(COPY_SOURCE.none_match), "x-amz-copy-source-If-None-Match");
    }

    #[test]
    fn if_range_must_name_the_current_version() {
        let counts = |value: &str| range_counts(&head(&[("if-range", value)]), CURRENT);
        assert!(range_counts(&head(&[]), CURRENT));
        assert!(counts("\"abc\"") && counts(THEN));
        assert!(!counts("\"x\"") && !counts("W/\"abc\"") && !counts(BEFORE));
    }
}
