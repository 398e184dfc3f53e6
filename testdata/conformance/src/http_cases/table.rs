//! Reads the table of cases.

use std::time::Duration;

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub name: String,
    /// Where it begins in the table.
    pub line: usize,
    pub steps: Vec<Step>,
}

/// One line of a case.
#[derive(Debug)]
pub(super) enum Step {
    /// Text that is still to be expanded.
    Send(String),
    Split(usize),
    Pause(Duration),
    HalfClose,
    Patience(Duration),
    With {
        key: String,
        text: String,
    },
    Expect {
        head_only: bool,
        any_of: Vec<Outcome>,
    },
    Body(String),
    /// With `*` as value: any.
    Header {
        name: String,
        value: String,
    },
    NoHeader(String),
    Stored {
        key: String,
        text: String,
    },
    Absent(String),
}

impl Step {
    #[cfg(test)]
    pub(super) fn is_expectation(&self) -> bool {
        matches!(self, Self::Expect { .. })
    }
}

/// An acceptable outcome.
#[derive(Debug)]
pub(super) enum Outcome {
    Response {
        statuses: Vec<u16>,
        fate: Fate,
    },
    /// The connection ends without a response.
    Closed,
}

impl Outcome {
    /// Whether a response with this status is acceptable.
    pub(super) fn allows(&self, status: u16) -> bool {
        match self {
            Self::Response { statuses, .. } => statuses.contains(&status),
            Self::Closed => false,
        }
    }
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The case goes on.
    Open,
    Close,
    Keep,
    Any,
}

pub(super) fn parse(table: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (at, line) in table.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), line: at + 1, steps: Vec::new() });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with its name");
        let step = step(line).unwrap_or_else(|| panic!("line {}: {line:?}", at + 1));
        case.steps.push(step);
    }
    cases
}

fn step(line: &str) -> Option<Step> {
    if let Some(bytes) = line.strip_prefix(">>") {
        return Some(Step::Send(bytes.strip_prefix(' ')?.to_owned()));
    }
    if let Some(line) = line.strip_prefix('>') {
        return Some(Step::Send(format!("{}\\r\\n", line.strip_prefix(' ').unwrap_or(line))));
    }
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let key_and_text = || {
        let (key, text) = rest.split_once(' ').unwrap_or((rest, ""));
        (key.to_owned(), text.to_owned())
    };
    Some(match word {
        "<" | "<HEAD" => Step::Expect {
            head_only: word == "<HEAD",
            any_of: rest.split(" or ").map(outcome).collect::<Option<_>>()?,
        },
        "split" => Step::Split(rest.parse().ok()?),
        "pause" => Step::Pause(duration(rest)?),
        "patience" => Step::Patience(duration(rest)?),
        "half" => Step::HalfClose,
        "with" => {
            let (key, text) = key_and_text();
            Step::With { key, text }
        }
        "stored" => {
            let (key, text) = key_and_text();
            Step::Stored { key, text }
        }
        "absent" => Step::Absent(rest.to_owned()),
        "body" => Step::Body(rest.to_owned()),
        "header" => {
            let (name, value) = rest.split_once(": ")?;
            Step::Header { name: name.to_owned(), value: value.to_owned() }
        }
        "noheader" => Step::NoHeader(rest.to_owned()),
        _ => return None,
    })
}

fn outcome(text: &str) -> Option<Outcome> {
    if text == "closed" {
        return Some(Outcome::Closed);
    }
    let (statuses, fate) = text.split_once(' ').unwrap_or((text, ""));
    let fate = match fate {
        "" => Fate::Open,
        "close" => Fate::Close,
        "keep" => Fate::Keep,
        "any" => Fate::Any,
        _ => return None,
    };
    let statuses = statuses.split('|').map(|status| status.parse().ok()).collect::<Option<_>>()?;
    Some(Outcome::Response { statuses, fate })
}

fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

/// Expands `{…}` by `named` and escapes. `{N*TEXT}` is done here.
pub(super) fn expand(text: &str, named: &dyn Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let len = rest[start..].find('}').expect("braces are closed");
        let (before, inside) = (&rest[..start], &rest[start + 1..start + len]);
        out.extend(unescape(before));
        if let Some((count, piece)) = repeat(inside) {
            out.extend(unescape(piece).repeat(count));
        } else {
            let value = named(inside);
            out.extend(value.unwrap_or_else(|| panic!("{{{inside}}} means nothing")).into_bytes());
        }
        rest = &rest[start + len + 1..];
    }
    out.extend(unescape(rest));
    out
}

fn repeat(inside: &str) -> Option<(usize, &str)> {
    let (count, piece) = inside.split_once('*')?;
    Some((count.parse().ok()?, piece))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().expect("an escape has a letter") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let mut digit = || {
                    let digit = bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                    u8::try_from(digit.expect("two hexadecimal digits")).expect("a digit")
                };
                digit() << 4 | digit()
            }
            other => panic!("\\{} is no escape", char::from(other)),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_expanded() {
        let named = |name: &str| (name == "host").then(|| "h:1".to_owned());
        assert_eq!(expand(r"a\x0b\0{host}{3*x\r}\\", &named), b"a\x0b\0h:1x\rx\rx\r\\");
    }
}
