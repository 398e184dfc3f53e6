//! The form of log lines. The `log::Log` itself needs a clock and stderr, and is the shell's.

use std::fmt;

use log::{Level, LevelFilter};
use time::{OffsetDateTime, macros::format_description};

use crate::time::Timestamp;

/// The level in `MEWS_LOG`: `off`, `error`, `warn`, `info`, `debug` or `trace`; `info` if it is not set or empty.
pub fn level(value: Option<&str>) -> Result<LevelFilter, String> {
    match value {
        None | Some("") => Ok(LevelFilter::Info),
        Some(text) => text.parse().map_err(|_| {
            format!("MEWS_LOG={text:?} is not one of off, error, warn, info, debug, trace")
        }),
    }
}

/// One line, without its end: UTC time, level, part of the program, message. A message of several lines stays one line, so
/// that nothing a client sends can forge another.
pub fn line(at: Timestamp, level: Level, target: &str, message: &fmt::Arguments<'_>) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanos = i128::from(at.0) * 1_000_000;
    let when = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|when| when.format(format).ok())
        // After the year 9999: the number itself is still right.
        .unwrap_or_else(|| at.0.to_string());
    let target = target.strip_prefix("mews_core::").unwrap_or(target);
    let mut line = format!("{when} {level:<5} {target}: {message}");
    if line.contains(char::is_control) {
        line = line.chars().flat_map(escaped).collect();
    }
    line
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_the_environment() {
        assert_eq!(level(None), Ok(LevelFilter::Info));
        assert_eq!(level(Some("")), Ok(LevelFilter::Info));
        assert_eq!(level(Some("debug")), Ok(LevelFilter::Debug));
        assert!(level(Some("loud")).is_err_and(|text| text.contains("off, error, warn")));
    }

    #[test]
    fn a_line_has_time_level_and_place() {
        let at = Timestamp(1_795_357_083_042);
        let text = line(at, Level::Warn, "mews_core::block", &format_args!("disk {} is slow", 2));
        assert_eq!(text, "2026-11-22T14:18:03.042Z WARN  block: disk 2 is slow");
    }

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let text = line(Timestamp(0), Level::Info, "s3", &format_args!("GET /a\n1970 ERROR x"));
        assert_eq!(text, "1970-01-01T00:00:00.000Z INFO  s3: GET /a\\n1970 ERROR x");
    }
}
