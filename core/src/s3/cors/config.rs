//! What a bucket's rules may be, as both APIs spell them, and the limits of both.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSRule.html>

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{method_name, method_named};
use crate::{s3::xml, table::access::CorsRule};

/// The most rules of a bucket.
pub const RULES_MAX: usize = 100;

/// The most bytes of all the texts of a bucket's rules, with a few for each: every request for the bucket reads its row. A document of
/// S3 may have as many, and always says less.
pub const TEXT_MAX: usize = 64 << 10;

/// What a text counts beside its bytes. In a document, it stands between tags that are longer.
const PER_TEXT: usize = 8;

/// The most characters of a rule's id.
const ID_MAX: usize = 255;

/// A rule, as JSON and XML have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "ID", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "AllowedOrigin", default)]
    origins: Vec<String>,
    #[serde(rename = "AllowedMethod", default)]
    methods: Vec<String>,
    #[serde(rename = "AllowedHeader", default)]
    headers: Vec<String>,
    #[serde(rename = "ExposeHeader", default)]
    expose: Vec<String>,
    #[serde(rename = "MaxAgeSeconds", default, skip_serializing_if = "Option::is_none")]
    max_age: Option<i64>,
}

impl From<&CorsRule> for Rule {
    fn from(rule: &CorsRule) -> Self {
        let methods = rule.methods.iter().map(|method| method_name(*method).to_owned());
        Self {
            id: rule.id.clone(),
            origins: rule.origins.clone(),
            methods: methods.collect(),
            headers: rule.headers.clone(),
            expose: rule.expose.clone(),
            max_age: rule.max_age.map(Into::into),
        }
    }
}

/// The rules that are meant, if there can be such ones. None at all are none to be kept.
pub fn parse(rules: Vec<Rule>) -> Result<Vec<CorsRule>, Invalid> {
    if rules.len() > RULES_MAX {
        return Err(Invalid::TooManyRules(rules.len()));
    }
    let rules = rules.into_iter().map(Rule::parse).collect::<Result<Vec<_>, _>>()?;
    let texts = rules.iter().flat_map(texts);
    let size = texts.map(|text| text.len() + PER_TEXT).sum();
    if size > TEXT_MAX { Err(Invalid::MuchText(size)) } else { Ok(rules) }
}

fn texts(rule: &CorsRule) -> impl Iterator<Item = &String> {
    let CorsRule { id, origins, headers, expose, .. } = rule;
    id.iter().chain(origins).chain(headers).chain(expose)
}

impl Rule {
    fn parse(self) -> Result<CorsRule, Invalid> {
        let Self { id, origins, methods, headers, expose, max_age } = self;
        if let Some(id) = &id {
            check_id(id)?;
        }
        if origins.is_empty() {
            return Err(Invalid::NoOrigin);
        }
        if methods.is_empty() {
            return Err(Invalid::NoMethod);
        }
        origins.iter().try_for_each(|origin| check_origin(origin))?;
        headers.iter().try_for_each(|name| check_header(name))?;
        expose.iter().try_for_each(|name| check_exposed(name))?;
        let method = |name: String| method_named(&name).ok_or(Invalid::Method(name));
        let mut methods = methods.into_iter().map(method).collect::<Result<Vec<_>, _>>()?;
        let mut seen = Vec::new();
        methods.retain(|method| {
            let is_new = !seen.contains(method);
            seen.push(*method);
            is_new
        });
        let seconds = |age: i64| i32::try_from(age).ok().and_then(|age| u32::try_from(age).ok());
        let max_age = max_age.map(|age| seconds(age).ok_or(Invalid::MaxAge(age))).transpose()?;
        Ok(CorsRule { id, origins, methods, headers, expose, max_age })
    }
}

fn check_id(id: &str) -> Result<(), Invalid> {
    let len = id.chars().count();
    if len > ID_MAX {
        return Err(Invalid::LongId(len));
    }
    if xml::is_representable(id) { Ok(()) } else { Err(Invalid::Unwritable(id.to_owned())) }
}

fn check_origin(origin: &str) -> Result<(), Invalid> {
    if origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Invalid::Origin(origin.to_owned()));
    }
    one_wildcard("AllowedOrigin", origin)
}

fn check_header(name: &str) -> Result<(), Invalid> {
    if !is_token(name) {
        return Err(Invalid::Header("AllowedHeader", name.to_owned()));
    }
    one_wildcard("AllowedHeader", name)
}

/// To browsers, `*` is a name like others here if the page sends credentials, which it is always allowed to.
fn check_exposed(name: &str) -> Result<(), Invalid> {
    if name.contains('*') {
        return Err(Invalid::ExposedWildcard(name.to_owned()));
    }
    if is_token(name) { Ok(()) } else { Err(Invalid::Header("ExposeHeader", name.to_owned())) }
}

fn one_wildcard(element: &'static str, text: &str) -> Result<(), Invalid> {
    if text.matches('*').count() > 1 {
        return Err(Invalid::Wildcards(element, text.to_owned()));
    }
    Ok(())
}

/// Whether a text can be the name of a header field (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// Why there can be no such rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A field of answers with a wildcard in its name.
    ExposedWildcard(String),
    /// Not the name of a header field, in this element.
    Header(&'static str, String),
    /// An id of so many characters.
    LongId(usize),
    /// Not a time that browsers could keep an answer for.
    MaxAge(i64),
    /// Not a method that a rule can allow.
    Method(String),
    /// All texts together count so much.
    MuchText(usize),
    /// A rule that allows no method.
    NoMethod,
    /// A rule for no website.
    NoOrigin,
    /// Not a website as browsers name it.
    Origin(String),
    /// So many rules.
    TooManyRules(usize),
    /// A text with a character that XML has no way to write.
    Unwritable(String),
    /// More than one wildcard, in this element.
    Wildcards(&'static str, String),
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExposedWildcard(name) => write!(
                f,
                "ExposeHeader {name:?} has a wildcard, which browsers would not follow; name each header field"
            ),
            Self::Header(element, name) => {
                write!(f, "{element} {name:?} is not the name of a header field")
            }
            Self::LongId(len) => {
                write!(f, "the ID of a rule has {len} characters; at most {ID_MAX}")
            }
            Self::MaxAge(age) => write!(f, "MaxAgeSeconds {age} is not 0 to {}", i32::MAX),
            Self::Method(name) => write!(
                f,
                "AllowedMethod {name:?} is none that a rule can allow; use GET, PUT, POST, DELETE, HEAD"
            ),
            Self::MuchText(size) => write!(
                f,
                "the rules have {size} bytes of text, more than the {TEXT_MAX} that a bucket may have; use a * instead of long lists"
            ),
            Self::NoMethod => f.write_str("a rule needs at least one AllowedMethod"),
            Self::NoOrigin => f.write_str("a rule needs at least one AllowedOrigin"),
            Self::Origin(origin) => write!(
                f,
                "AllowedOrigin {origin:?} is not a website as browsers name it; use such as https://www.example.org, or * for all"
            ),
            Self::TooManyRules(count) => {
                write!(f, "{count} rules are more than the {RULES_MAX} that a bucket may have")
            }
            Self::Unwritable(text) => {
                write!(f, "{text:?} has a character that XML cannot carry")
            }
            Self::Wildcards(element, text) => {
                write!(
                    f,
                    "{element} {text:?} has more than one *; use one rule, or entry, for each"
                )
            }
        }
    }
}
