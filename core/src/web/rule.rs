//! What a website does instead of showing an object, or an error.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html>
//!
//! A rule without an error's status is looked at before any object is, one with a status once a request was answered with
//! it; of those that fit, the first goes. The query of a request is not carried over.
//!
//! A redirect to the host that was asked is a path. It never begins with two slashes, whatever the key, because browsers take
//! that for another host. One to another host without a protocol leaves that to the browser, which stays with the one it has:
//! whether a proxy in front of this speaks TLS is not known here.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::table::access::{Protocol, RedirectAll, Replace, RoutingRule, Website};

/// The status of a redirect that says none, as AWS has it.
pub const REDIRECT: u16 = 301;

/// What is escaped in a key.
const KEY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What is escaped in the text of a rule: it may bring a query or a fragment of its own, as `resize?key=` and `#!/` do.
const TEXT: &AsciiSet = &KEY
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'?')
    .remove(b'@');

/// What is escaped in the host of a request. Nothing of a name, an address or a port is.
const HOST: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b':').remove(b'[').remove(b']');

/// What is done instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The visitor is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The value of the header field `location`: a path, a URL, or one without a protocol.
        location: String,
    },
    /// Another object is shown.
    Serve {
        /// 200 or 404.
        status: u16,
        /// Its key, which may be that of a folder.
        key: Vec<u8>,
    },
}

/// What is done with a request for this key, which is without its first slash and escapes, before any object is looked at.
/// `host` is the request's, with its port.
pub fn before(site: &Website, key: &[u8], host: &str) -> Option<Action> {
    if let Some(RedirectAll { host, protocol }) = &site.redirect_all {
        let location = location(*protocol, Some(host), "", &path(key));
        return Some(Action::Redirect { status: REDIRECT, location });
    }
    first(site, key, None, host)
}

/// What is done with a request for this key that would be answered with this error.
pub fn after(site: &Website, key: &[u8], status: u16, host: &str) -> Option<Action> {
    first(site, key, Some(status), host)
}

fn first(site: &Website, key: &[u8], error: Option<u16>, host: &str) -> Option<Action> {
    let fits = |rule: &&RoutingRule| rule.error == error && key.starts_with(prefix(rule));
    site.rules.iter().find(fits).map(|rule| follow(rule, key, host))
}

fn prefix(rule: &RoutingRule) -> &[u8] {
    rule.prefix.as_deref().unwrap_or_default().as_bytes()
}

/// What a rule makes of a key that it is for.
fn follow(rule: &RoutingRule, key: &[u8], host: &str) -> Action {
    let rest = &key[prefix(rule).len()..];
    let status = rule.status.unwrap_or(REDIRECT);
    if is_rewrite(status) {
        let key = match &rule.replace {
            None => key.to_vec(),
            Some(Replace::Prefix(text)) => [text.as_bytes(), rest].concat(),
            Some(Replace::Key(text)) => text.as_bytes().to_vec(),
        };
        return Action::Serve { status, key };
    }
    let path = match &rule.replace {
        None => path(key),
        Some(Replace::Prefix(text)) => reference(text) + &path(rest),
        Some(Replace::Key(text)) => reference(text),
    };
    let location = location(rule.protocol, rule.host.as_deref(), host, &path);
    Action::Redirect { status, location }
}

/// Whether an answer of this status shows an object, instead of sending the visitor elsewhere.
pub fn is_rewrite(status: u16) -> bool {
    !(300..400).contains(&status)
}

/// The address of a path, which is without its first slash, on the host of the rule or else on the request's.
fn location(protocol: Option<Protocol>, host: Option<&str>, asked: &str, path: &str) -> String {
    let protocol = protocol.map(|protocol| match protocol {
        Protocol::Http => "http:",
        Protocol::Https => "https:",
    });
    match (protocol, host) {
        (protocol, Some(host)) => format!("{}//{host}/{path}", protocol.unwrap_or_default()),
        (Some(protocol), None) if !asked.is_empty() => {
            format!("{protocol}//{}/{path}", percent_encode(asked.as_bytes(), HOST))
        }
        // A browser takes the dot away, and both slashes for what they are.
        (Some(_) | None, None) if path.starts_with('/') => format!("/./{path}"),
        (Some(_) | None, None) => format!("/{path}"),
    }
}

/// A key, or the end of one, as it stands in the path of a URL.
fn path(key: &[u8]) -> String {
    percent_encode(key, KEY).to_string()
}

/// A text of a rule as it stands in a URL. What is escaped in it already stays so.
fn reference(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('%');
    out.extend(percent_encode(pieces.next().unwrap_or_default().as_bytes(), TEXT));
    for piece in pieces {
        let is_escape = matches!(piece.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
        out.push_str(if is_escape { "%" } else { "%25" });
        out.extend(percent_encode(piece.as_bytes(), TEXT));
    }
    out
}

#[cfg(test)]
mod tests;
