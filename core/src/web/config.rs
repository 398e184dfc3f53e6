//! What a website's settings may be: rules as both APIs spell them, and the limits of both.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketWebsite.html>
//!
//! What could never be done is refused here, when it is set, not ignored when somebody visits. A rule for a status that a website does
//! not answer with, such as the 403 that one on AWS gives for what is not there, is taken: the settings of such a one are to be
//! carried over, and the rule has nothing to do here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{rule::is_rewrite, site::is_index};
use crate::{
    s3::{request::KEY_MAX, xml},
    table::access::{Protocol, RedirectAll, Replace, RoutingRule, Website},
};

/// The most rules of a website. Every visit looks through them.
pub const RULES_MAX: usize = 1000;

/// The most bytes of all the texts of a website: every request for the bucket, also over S3, reads its row.
pub const TEXT_MAX: usize = 64 << 10;

/// The most bytes of a host: a name of 253, and a port.
const HOST_MAX: usize = 253 + ":65535".len();

/// The codes that send a visitor elsewhere. AWS takes 304 and 305 too, which send nobody anywhere.
const REDIRECTS: &[u16] = &[301, 302, 303, 307, 308];

/// The codes that show another object instead. AWS has none of these.
const REWRITES: &[u16] = &[200, 404];

/// A rule, as JSON and XML have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
    redirect: Redirect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Condition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_error_code_returned_equals: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_prefix_equals: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Redirect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_redirect_code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_key_prefix_with: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_key_with: Option<String>,
}

/// Where everybody is sent, as JSON and XML have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Target {
    host_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
}

impl Rule {
    /// With this code, if it says none.
    #[must_use]
    pub fn or_code(mut self, code: u16) -> Self {
        self.redirect.http_redirect_code.get_or_insert(code.into());
        self
    }

    /// The rule that is meant, if there can be such a one.
    pub fn parse(self) -> Result<RoutingRule, Invalid> {
        let Self { condition, redirect } = self;
        let (prefix, error) = match condition {
            None => (None, None),
            Some(Condition { key_prefix_equals: None, http_error_code_returned_equals: None }) => {
                return Err(Invalid::EmptyCondition);
            }
            Some(condition) => {
                let error = condition.http_error_code_returned_equals.map(error_code);
                (condition.key_prefix_equals, error.transpose()?)
            }
        };
        let replace = match (redirect.replace_key_prefix_with, redirect.replace_key_with) {
            (None, None) => None,
            (Some(text), None) => Some(Replace::Prefix(text)),
            (None, Some(text)) => Some(Replace::Key(text)),
            (Some(_), Some(_)) => return Err(Invalid::TwoReplacements),
        };
        let status = redirect.http_redirect_code.map(redirect_code).transpose()?;
        let (host, protocol) = (redirect.host_name, redirect.protocol);
        host.as_deref().map_or(Ok(()), check_host)?;
        let protocol = protocol.as_deref().map(protocol_named).transpose()?;
        let stays = host.is_none() && protocol.is_none();
        match status.filter(|status| is_rewrite(*status)) {
            Some(status) if !stays => return Err(Invalid::RewriteElsewhere(status)),
            None if stays && replace.is_none() => return Err(Invalid::EmptyRedirect),
            Some(_) | None => {}
        }
        Ok(RoutingRule { prefix, error, host, protocol, status, replace })
    }
}

impl From<&RoutingRule> for Rule {
    fn from(rule: &RoutingRule) -> Self {
        let condition = Condition {
            http_error_code_returned_equals: rule.error.map(Into::into),
            key_prefix_equals: rule.prefix.clone(),
        };
        let (replace_key_prefix_with, replace_key_with) = match rule.replace.clone() {
            None => (None, None),
            Some(Replace::Prefix(text)) => (Some(text), None),
            Some(Replace::Key(text)) => (None, Some(text)),
        };
        let is_conditional = rule.error.is_some() || rule.prefix.is_some();
        Self {
            condition: is_conditional.then_some(condition),
            redirect: Redirect {
                host_name: rule.host.clone(),
                http_redirect_code: rule.status.map(Into::into),
                protocol: rule.protocol.map(|protocol| protocol_name(protocol).to_owned()),
                replace_key_prefix_with,
                replace_key_with,
            },
        }
    }
}

impl Target {
    /// Where that is, if it can be anywhere.
    pub fn parse(self) -> Result<RedirectAll, Invalid> {
        check_host(&self.host_name)?;
        let protocol = self.protocol.as_deref().map(protocol_named).transpose()?;
        Ok(RedirectAll { host: self.host_name, protocol })
    }
}

impl From<&RedirectAll> for Target {
    fn from(all: &RedirectAll) -> Self {
        let protocol = all.protocol.map(|protocol| protocol_name(protocol).to_owned());
        Self { host_name: all.host.clone(), protocol }
    }
}

/// Checks what the parts of a website are together.
pub fn check(site: &Website) -> Result<(), Invalid> {
    let Website { index, error, redirect_all, rules } = site;
    if redirect_all.is_some() {
        if !index.is_empty() || error.is_some() || !rules.is_empty() {
            return Err(Invalid::AllAndMore);
        }
    } else if !is_index(index) {
        return Err(Invalid::Index(index.clone()));
    }
    if error.as_ref().is_some_and(String::is_empty) {
        return Err(Invalid::EmptyErrorDocument);
    }
    if rules.len() > RULES_MAX {
        return Err(Invalid::TooManyRules(rules.len()));
    }
    let hosts = redirect_all.iter().map(|all| &all.host);
    let texts: Vec<_> = std::iter::once(index)
        .chain(error)
        .chain(hosts)
        .chain(rules.iter().flat_map(texts))
        .collect();
    if let Some(text) = texts.iter().find(|text| text.len() > KEY_MAX) {
        return Err(Invalid::LongText(text.chars().take(32).collect()));
    }
    if let Some(text) = texts.iter().find(|text| !xml::is_representable(text)) {
        return Err(Invalid::Unwritable(text.to_string()));
    }
    let size: usize = texts.iter().map(|text| text.len()).sum();
    if size > TEXT_MAX { Err(Invalid::MuchText(size)) } else { Ok(()) }
}

fn texts(rule: &RoutingRule) -> impl Iterator<Item = &String> {
    let replacement = rule.replace.as_ref().map(|replace| match replace {
        Replace::Prefix(text) | Replace::Key(text) => text,
    });
    rule.prefix.iter().chain(&rule.host).chain(replacement)
}

fn error_code(code: i64) -> Result<u16, Invalid> {
    let known = u16::try_from(code).ok().filter(|code| (400..500).contains(code));
    known.ok_or(Invalid::ErrorCode(code))
}

fn redirect_code(code: i64) -> Result<u16, Invalid> {
    let known = |code: &u16| REDIRECTS.contains(code) || REWRITES.contains(code);
    u16::try_from(code).ok().filter(known).ok_or(Invalid::RedirectCode(code))
}

fn protocol_named(name: &str) -> Result<Protocol, Invalid> {
    let known = [Protocol::Http, Protocol::Https].into_iter();
    let mut named = known.filter(|protocol| protocol_name(*protocol) == name);
    named.next().ok_or_else(|| Invalid::Protocol(name.to_owned()))
}

/// A protocol as both APIs have it.
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
    }
}

/// A host is a name or an address, and may have a port. It stands in a header as it is.
fn check_host(host: &str) -> Result<(), Invalid> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(fits) {
        return Ok(());
    }
    Err(Invalid::Host(host.chars().take(HOST_MAX).collect()))
}

/// Why there can be no such website.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It sends everybody elsewhere, and yet has documents or rules.
    AllAndMore,
    /// A condition that says nothing.
    EmptyCondition,
    /// An error document without a key.
    EmptyErrorDocument,
    /// A redirect to where the visitor comes from.
    EmptyRedirect,
    /// A condition on a status that no error of a website has.
    ErrorCode(i64),
    /// Not a host.
    Host(String),
    /// Not the end of a key in a folder.
    Index(String),
    /// A text longer than any key. It begins so.
    LongText(String),
    /// All texts together have this many bytes.
    MuchText(usize),
    /// Not a protocol.
    Protocol(String),
    /// Not a status that a rule can answer with.
    RedirectCode(i64),
    /// An object of another host, to be shown here, with this status.
    RewriteElsewhere(u16),
    /// So many rules.
    TooManyRules(usize),
    /// Two new keys at once.
    TwoReplacements,
    /// A text with a character that XML has no way to write.
    Unwritable(String),
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAndMore => f.write_str(
                "RedirectAllRequestsTo goes with no index document, no error document and no routing rules",
            ),
            Self::EmptyCondition => f.write_str(
                "a Condition has a KeyPrefixEquals, an HttpErrorCodeReturnedEquals, or both; a rule for every request has no Condition",
            ),
            Self::EmptyErrorDocument => f.write_str("the key of the error document is empty"),
            Self::EmptyRedirect => f.write_str(
                "a Redirect needs at least one of HostName, Protocol, ReplaceKeyPrefixWith and ReplaceKeyWith, or it leads back to where it came from",
            ),
            Self::ErrorCode(code) => write!(
                f,
                "HttpErrorCodeReturnedEquals is {code}; rules are followed after the errors of a website that are the visitor's, 400 to 499"
            ),
            Self::Host(host) => write!(
                f,
                "the HostName `{host}` is not a host's name with at most a port; write names beyond ASCII as xn--, and paths as ReplaceKeyPrefixWith"
            ),
            Self::Index(index) => write!(
                f,
                "`{index}` cannot stand for a folder; name an index document without a slash, such as index.html"
            ),
            Self::LongText(text) => write!(
                f,
                "the text that begins with `{text}` is longer than {KEY_MAX} bytes, and so than any key"
            ),
            Self::MuchText(size) => write!(
                f,
                "the texts of the website have {size} bytes, and there is room for {TEXT_MAX}; every request reads them"
            ),
            Self::Protocol(protocol) => {
                write!(f, "the Protocol `{protocol}` is neither http nor https")
            }
            Self::RedirectCode(code) => write!(
                f,
                "HttpRedirectCode is {code}; a redirect has one of {}, and an answer with another object 200 or 404",
                REDIRECTS.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
            ),
            Self::RewriteElsewhere(status) => write!(
                f,
                "HttpRedirectCode {status} shows another object of the same bucket, so it goes with no HostName and no Protocol"
            ),
            Self::TooManyRules(count) => {
                write!(f, "{count} routing rules are more than the {RULES_MAX} that a website may have")
            }
            Self::TwoReplacements => {
                f.write_str("ReplaceKeyPrefixWith and ReplaceKeyWith exclude each other")
            }
            Self::Unwritable(text) => write!(
                f,
                "{text:?} holds a character that XML cannot carry, so that nobody could ask for these settings over S3"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
