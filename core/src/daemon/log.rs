//! The form of log lines, and which of them there are. The `log::Log` itself needs a clock and stderr, and is the shell's.

use std::fmt::Write as _;

use log::{
    LevelFilter, Record,
    kv::{Error, Key, Value, VisitSource},
};
use serde_json::{Map, json};
use time::{OffsetDateTime, macros::format_description};

use crate::{task, time::Timestamp};

/// Which lines are logged, and how: `MEWS_LOG` and `MEWS_LOG_FORMAT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// For what no other rule is about.
    level: LevelFilter,
    /// For parts of the program, by the beginning of their names.
    parts: Vec<(String, LevelFilter)>,
    form: Form,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// For people.
    Text,
    /// An object for each line.
    Json,
}

impl Logging {
    /// From what `MEWS_LOG` and `MEWS_LOG_FORMAT` are set to, if they are.
    ///
    /// `MEWS_LOG` is a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), `info` by default, or several rules divided by
    /// commas: `warn,access=debug` is `warn` but for the part `access`, a line for each request, where it is `debug`.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn parse(rules: Option<&str>, form: Option<&str>) -> Result<Self, String> {
        let mut logging =
            Self { level: LevelFilter::Info, parts: Vec::new(), form: self::form(form)? };
        let rules = rules.unwrap_or_default();
        for rule in rules.split(',').map(str::trim).filter(|rule| !rule.is_empty()) {
            let (part, level) = rule.split_once('=').unwrap_or(("", rule));
            let level = level.trim().parse().map_err(|_| {
                format!(
                    "MEWS_LOG={rules:?}: {:?} is not one of off, error, warn, info, debug, trace",
                    level.trim()
                )
            })?;
            match part.trim() {
                "" => logging.level = level,
                part => logging.parts.push((part.to_owned(), level)),
            }
        }
        Ok(logging)
    }

    /// The most that any part logs.
    pub fn max(&self) -> LevelFilter {
        self.parts.iter().map(|(_, level)| *level).fold(self.level, Ord::max)
    }

    /// Whether a line of this part is logged at this level.
    pub fn admits(&self, target: &str, level: log::Level) -> bool {
        let target = short(target);
        let of = |part: &str| {
            let rest = target.strip_prefix(part);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let rule =
            self.parts.iter().filter(|(part, _)| of(part)).max_by_key(|(part, _)| part.len());
        level <= rule.map_or(self.level, |(_, level)| *level)
    }

    /// One line, without its end: UTC time, level, part of the program, message, and what goes with it. What is logged while a
    /// request is served names that request. A message of several lines stays one line, so that nothing a client sends can forge
    /// another.
    pub fn line(&self, at: Timestamp, record: &Record<'_>) -> String {
        let mut fields = Fields::default();
        if record.key_values().visit(&mut fields).is_err() {
            // What was read until then is as good as it gets.
            fields.0.insert("incomplete".to_owned(), json!(true));
        }
        if let Some(request) = task::current_request() {
            fields.0.insert("request".to_owned(), json!(request));
        }
        match self.form {
            Form::Text => text(at, record, &fields),
            Form::Json => object(at, record, fields),
        }
    }
}

fn form(name: Option<&str>) -> Result<Form, String> {
    match name {
        None | Some("" | "text") => Ok(Form::Text),
        Some("json") => Ok(Form::Json),
        Some(other) => Err(format!("MEWS_LOG_FORMAT={other:?} is not one of text, json")),
    }
}

/// What goes with a message, by name.
#[derive(Default)]
struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let json = match (value.to_u64(), value.to_i64(), value.to_f64(), value.to_bool()) {
            (Some(number), ..) => json!(number),
            (None, Some(number), ..) => json!(number),
            (None, None, Some(number), _) => json!(number),
            (None, None, None, Some(flag)) => json!(flag),
            (None, None, None, None) => json!(value.to_string()),
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}

/// The part of the program that a target names.
fn short(target: &str) -> &str {
    target.strip_prefix("mews_core::").unwrap_or(target)
}

fn when(at: Timestamp) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanos = i128::from(at.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|when| when.format(format).ok())
        // After the year 9999: the number itself is still right.
        .unwrap_or_else(|| at.0.to_string())
}

fn text(at: Timestamp, record: &Record<'_>, fields: &Fields) -> String {
    let (when, level, target) = (when(at), record.level(), short(record.target()));
    let mut line = format!("{when} {level:<5} {target}: {}", record.args());
    for (name, value) in &fields.0 {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        write!(line, " {name}={plain}").expect("text grows");
    }
    if line.contains(char::is_control) {
        line = line.chars().flat_map(escaped).collect();
    }
    line
}

fn object(at: Timestamp, record: &Record<'_>, fields: Fields) -> String {
    let mut object = fields.0;
    let names = [
        ("time", when(at)),
        ("level", record.level().to_string()),
        ("target", short(record.target()).to_owned()),
        ("message", record.args().to_string()),
    ];
    for (name, value) in names {
        object.insert(name.to_owned(), json!(value));
    }
    serde_json::Value::Object(object).to_string()
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn logging(rules: &str, form: &str) -> Logging {
        Logging::parse(Some(rules), Some(form)).expect("it makes sense")
    }

    #[test]
    fn levels_are_read_from_the_environment() {
        let level = |rules| Logging::parse(rules, None).map(|logging| logging.level);
        assert_eq!(level(None), Ok(LevelFilter::Info));
        assert_eq!(level(Some("")), Ok(LevelFilter::Info));
        assert_eq!(level(Some("debug")), Ok(LevelFilter::Debug));
        assert!(level(Some("loud")).is_err_and(|text| text.contains("off, error, warn")));
        assert!(level(Some("info,access=loud")).is_err_and(|text| text.contains("\"loud\"")));
        let form = Logging::parse(None, Some("xml"));
        assert!(form.is_err_and(|text| text.contains("one of text, json")));
    }

    #[test]
    fn a_part_may_have_a_level_of_its_own() {
        let logging = logging("warn, access=debug,s3=error,s3::copy=trace", "");
        assert_eq!(logging.max(), LevelFilter::Trace);
        assert!(logging.admits("access", Level::Debug) && !logging.admits("access", Level::Trace));
        assert!(logging.admits("node", Level::Warn) && !logging.admits("node", Level::Info));
        assert!(!logging.admits("mews_core::s3::serve", Level::Warn));
        assert!(logging.admits("mews_core::s3::copy::part", Level::Trace));
        assert!(
            logging.admits("accessories", Level::Warn)
                && !logging.admits("accessories", Level::Info)
        );
    }

    #[test]
    fn a_line_has_time_level_and_place() {
        let at = Timestamp(1_795_357_083_042);
        let args = format_args!("disk {} is slow", 2);
        let record =
            Record::builder().level(Level::Warn).target("mews_core::block").args(args).build();
        let text = logging("", "").line(at, &record);
        assert_eq!(text, "2026-11-22T14:18:03.042Z WARN  block: disk 2 is slow");
    }

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let args = format_args!("GET /a\n1970 ERROR x");
        let record = Record::builder().level(Level::Info).target("s3").args(args).build();
        let text = logging("", "").line(Timestamp(0), &record);
        assert_eq!(text, "1970-01-01T00:00:00.000Z INFO  s3: GET /a\\n1970 ERROR x");
        let json = logging("", "json").line(Timestamp(0), &record);
        let object: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(object["message"], "GET /a\n1970 ERROR x");
        assert!(!json.contains('\n'), "{json}");
    }

    #[test]
    fn what_goes_with_a_message_is_named() {
        let fields: &[(&str, Value<'_>)] = &[
            ("operation", Value::from("GetObject")),
            ("status", Value::from(200_u16)),
            ("millis", Value::from(1.5)),
        ];
        let args = format_args!("GET /b/k");
        let record = Record::builder()
            .level(Level::Debug)
            .target("access")
            .key_values(&fields)
            .args(args)
            .build();
        let text = logging("", "").line(Timestamp(0), &record);
        let end = "access: GET /b/k millis=1.5 operation=GetObject status=200";
        assert!(text.ends_with(end), "{text}");
        let json = logging("", "json").line(Timestamp(0), &record);
        let object: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let expected = json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "DEBUG", "target": "access",
            "message": "GET /b/k", "operation": "GetObject", "status": 200, "millis": 1.5,
        });
        assert_eq!(object, expected);
    }
}
