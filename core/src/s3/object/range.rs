//! Byte ranges of a GET or HEAD (RFC 9110, section 14), as S3 honours them: one range at a time.

use std::ops::Range;

/// What a `Range` header asks of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole object: there is no header, or one that RFC 9110 says to ignore (another unit, malformed), or several ranges,
    /// which S3 answers with the whole.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes that the object does not have.
    Unsatisfiable,
}

/// Reads the value of a `Range` header against an object of `size` bytes.
pub fn asked(value: Option<&[u8]>, size: u64) -> Asked {
    let Some(value) = value else { return Asked::Whole };
    let Some((first, last)) = parse(value) else { return Asked::Whole };
    match (first, last) {
        (Some(first), Some(last)) if first > last => Asked::Whole,
        (Some(first), _) if first >= size => Asked::Unsatisfiable,
        (Some(first), last) => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            Asked::Part(first..end)
        }
        (None, Some(0)) => Asked::Unsatisfiable,
        (None, Some(_)) if size == 0 => Asked::Unsatisfiable,
        (None, Some(suffix)) => Asked::Part(size - suffix.min(size)..size),
        (None, None) => Asked::Whole,
    }
}

/// First and last byte position, or a suffix length as the second alone.
fn parse(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list with empty elements is one range all the same (RFC 9110, section 5.6.1).
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    let (spec, None) = (specs.next()?, specs.next()) else { return None };
    let (first, last) = spec.split_once('-')?;
    Some((position(first)?, position(last)?))
}

/// Digits, or nothing. A number too large to hold is as good as the largest: no object is that long.
fn position(digits: &str) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| Some(digits.parse().unwrap_or(u64::MAX)))
}

/// The value of `Content-Range` for a part of an object.
pub fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(value: &str, size: u64) -> Asked {
        asked(Some(value.as_bytes()), size)
    }

    #[test]
    fn a_range_is_cut_to_the_object() {
        assert_eq!(ask("bytes=0-0", 10), Asked::Part(0..1));
        assert_eq!(ask("bytes=3-5", 10), Asked::Part(3..6));
        assert_eq!(ask("bytes=3-", 10), Asked::Part(3..10));
        assert_eq!(ask("bytes=9-99", 10), Asked::Part(9..10));
        assert_eq!(ask("bytes=0-99999999999999999999999", 10), Asked::Part(0..10));
        assert_eq!(content_range(&(3..6), 10), "bytes 3-5/10");
    }

    #[test]
    fn a_suffix_counts_from_the_end() {
        assert_eq!(ask("bytes=-3", 10), Asked::Part(7..10));
        assert_eq!(ask("bytes=-30", 10), Asked::Part(0..10));
        assert_eq!(ask("bytes=-0", 10), Asked::Unsatisfiable);
    }

    #[test]
    fn a_range_past_the_end_is_unsatisfiable() {
        assert_eq!(ask("bytes=10-", 10), Asked::Unsatisfiable);
        assert_eq!(ask("bytes=0-", 0), Asked::Unsatisfiable);
        assert_eq!(ask("bytes=-1", 0), Asked::Unsatisfiable);
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for value in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2", "bytes=5-3"] {
            assert_eq!(ask(value, 10), Asked::Whole, "{value}");
        }
        assert_eq!(ask("lines=1-2", 10), Asked::Whole);
        assert_eq!(asked(Some(b"bytes=\xff-"), 10), Asked::Whole);
    }

    #[test]
    fn several_ranges_get_the_whole() {
        assert_eq!(ask("bytes=0-1,4-5", 10), Asked::Whole);
        assert_eq!(ask("bytes=0-1, ", 10), Asked::Part(0..2));
    }
}
