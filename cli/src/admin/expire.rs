//! How long keys and tokens are valid.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use time::{UtcDateTime, format_description::well_known::Rfc3339};

use super::Failure;

/// The fields that say so in a call; none if nothing shall change.
pub fn change(
    expires_in: Option<Duration>,
    never_expires: bool,
) -> Result<Option<Map<String, Value>>, Failure> {
    let field = match (expires_in, never_expires) {
        (Some(_), true) => {
            let reason = "--expires-in and --never-expires exclude each other";
            return Err(Failure::Usage(reason.to_owned()));
        }
        (None, false) => return Ok(None),
        (None, true) => ("neverExpires", json!(true)),
        (Some(valid), false) => ("expiration", json!(at(SystemTime::now(), valid)?)),
    };
    Ok(Some(Map::from_iter([(field.0.to_owned(), field.1)])))
}

/// The time so long after another, to the second.
fn at(now: SystemTime, valid: Duration) -> Result<String, Failure> {
    let too_long = || Failure::Usage("--expires-in: that is longer than calendars go".to_owned());
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs().checked_add(valid.as_secs()).ok_or_else(too_long)?;
    let seconds = i64::try_from(seconds).map_err(|_| too_long())?;
    let at = UtcDateTime::from_unix_timestamp(seconds).map_err(|_| too_long())?;
    at.format(&Rfc3339).map_err(|_| too_long())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expires_does_so_at_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let day = Duration::from_secs(86_400);
        assert_eq!(at(now, 30 * day).ok().as_deref(), Some("2026-01-31T00:00:00Z"));
        assert!(at(now, Duration::from_secs(u64::MAX)).is_err());
        assert!(at(now, 366 * 10_000 * day).is_err());
    }

    #[test]
    fn a_key_expires_or_does_not() {
        assert!(matches!(change(None, false), Ok(None)));
        let never = change(None, true).expect("it makes sense");
        assert_eq!(never.map(Value::Object), Some(json!({ "neverExpires": true })));
        assert!(change(Some(Duration::from_secs(1)), true).is_err());
    }
}
