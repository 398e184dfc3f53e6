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

/// A duration as people write it on a command line: a number, and s, m, h, d, w or y after it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration, such as 45s, 90m, 12h, 30d, 6w or 1y");
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..unit].parse().map_err(|_| wrong())?;
    let seconds = match &text[unit..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("45s", 45), ("90m", 5400), ("2min", 120), ("12h", 43_200), ("30d", 2_592_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "30",
            "d",
            "-1d",
            "1.5h",
            "1 d",
            "1x",
            "99999999999999999999s",
            "9999999999999999y",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
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
