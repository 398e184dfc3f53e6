//! Fields of the Admin API's answers, as people read them.

use std::time::Duration;

use mews_core::placement::explain::Bytes;
use serde_json::{Map, Value};

/// How much of an id is shown: enough to tell thousands apart, and it can be given back as it is.
const ID_SHOWN: usize = 16;

/// A field as it is; `-` if there is none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

/// The beginning of an id.
pub fn id(value: &Value) -> String {
    short(&text(value))
}

/// The beginning of an id.
pub fn short(id: &str) -> String {
    id.chars().take(ID_SHOWN).collect()
}

/// A number of bytes.
pub fn bytes(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), |bytes| Bytes(bytes).to_string())
}

/// The elements; none if it is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The fields; none if it is no object.
pub fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// The texts of a list, with commas.
pub fn words(value: &Value) -> String {
    list(value).iter().map(text).collect::<Vec<_>>().join(", ")
}

/// A time without its fraction of a second; `-` if there is none.
pub fn moment(value: &Value) -> String {
    let text = text(value);
    match (text.find('.'), text.ends_with('Z')) {
        (Some(dot), true) => format!("{}Z", &text[..dot]),
        _ => text,
    }
}

/// When something expires; `never` if it does not.
pub fn expiry(value: &Value) -> String {
    match (&value["expiration"], &value["expired"]) {
        (Value::Null, _) => "never".to_owned(),
        (_, Value::Bool(true)) => "has expired".to_owned(),
        (at, _) => moment(at),
    }
}

/// A duration, in the largest unit that says enough.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// So many of something.
pub fn count(number: &Value, one: &str, several: &str) -> String {
    if *number == 1 { format!("1 {one}") } else { format!("{} {several}", text(number)) }
}

/// A length of time as people write it on a command line.
pub fn span(text: &str) -> Result<Duration, String> {
    mews_core::span::parse(text)
        .ok_or_else(|| format!("`{text}` is no duration, such as 45s, 90min, 12h, 30d, 6w or 1y"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_duration_is_answered_with_some_that_are() {
        assert_eq!(span("1d 12h"), Ok(Duration::from_secs(36 * 3600)));
        assert!(span("soon").is_err_and(|reason| reason.contains("`soon` is no duration, such")));
    }

    #[test]
    fn times_and_expiry_are_short() {
        assert_eq!(moment(&json!("2026-11-30T01:02:03.456Z")), "2026-11-30T01:02:03Z");
        assert_eq!(moment(&Value::Null), "-");
        assert_eq!(expiry(&json!({ "expiration": null, "expired": false })), "never");
        let past = json!({ "expiration": "2020-01-01T00:00:00Z", "expired": true });
        assert_eq!(expiry(&past), "has expired");
    }
}
