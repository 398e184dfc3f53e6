//! The ways in which S3 writes a date.

use std::time::{Duration, UNIX_EPOCH};

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

use crate::time::Timestamp;

const ISO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const AMZ: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// The last millisecond of the year 9999, beyond which none of the formats reach.
const LAST: u64 = 253_402_300_799_999;

/// As in XML documents: `2009-10-12T17:50:30.000Z`.
pub fn iso8601(at: Timestamp) -> String {
    at_utc(at).format(ISO).expect("years up to 9999 fit the format")
}

/// As in HTTP headers (RFC 9110 5.6.7): `Mon, 12 Oct 2009 17:50:30 GMT`. Whole seconds, rounded down.
pub fn http(at: Timestamp) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.0.min(LAST) / 1000))
}

/// As in `x-amz-date` and strings to sign: `20091012T175030Z`.
pub fn amz(at: Timestamp) -> String {
    at_utc(at).format(AMZ).expect("years up to 9999 fit the format")
}

/// The date in an HTTP header, in any of the three formats that RFC 9110 asks to be understood. Nothing before 1970.
pub fn parse_http(text: &[u8]) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(since.as_secs().checked_mul(1000)?))
}

/// The date in `x-amz-date`.
pub fn parse_amz(text: &[u8]) -> Option<Timestamp> {
    // The parser of a format without blanks would still take a sign before the year.
    if text.len() != 16 {
        return None;
    }
    let at = PrimitiveDateTime::parse(std::str::from_utf8(text).ok()?, AMZ).ok()?;
    let seconds = u64::try_from(at.assume_utc().unix_timestamp()).ok()?;
    Some(Timestamp(seconds.checked_mul(1000)?))
}

/// The date in an ISO 8601 (RFC 3339) text such as `2009-10-12T17:50:30.000Z`.
pub fn parse_iso8601(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let at = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}

fn at_utc(at: Timestamp) -> OffsetDateTime {
    let nanos = i128::from(at.0.min(LAST)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("years up to 9999 are within its range")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_255_369_830_123);

    #[test]
    fn every_format_writes_the_same_moment() {
        assert_eq!(iso8601(AT), "2009-10-12T17:50:30.123Z");
        assert_eq!(http(AT), "Mon, 12 Oct 2009 17:50:30 GMT");
        assert_eq!(amz(AT), "20091012T175030Z");
        assert_eq!(iso8601(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let second = Timestamp(AT.0 / 1000 * 1000);
        assert_eq!(parse_http(http(AT).as_bytes()), Some(second));
        assert_eq!(parse_http(b"Monday, 12-Oct-09 17:50:30 GMT"), Some(second));
        assert_eq!(parse_http(b"Mon Oct 12 17:50:30 2009"), Some(second));
        assert_eq!(parse_amz(amz(AT).as_bytes()), Some(second));
        assert_eq!(parse_iso8601(iso8601(AT).as_bytes()), Some(AT));
        assert_eq!(parse_iso8601(b"2009-10-12T19:50:30+02:00"), Some(second));
    }

    #[test]
    fn what_is_no_date_is_nothing() {
        for text in [
            "",
            "20091012",
            "20091312T175030Z",
            "20091012T175030",
            "+2009101T175030Z",
            "2009-10-12T17:50Z",
        ] {
            assert_eq!(parse_amz(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_http(b"yesterday"), None);
        assert_eq!(parse_http(b"\xFF"), None);
        assert_eq!(parse_iso8601(b"1960-01-01T00:00:00Z"), None);
    }
}
