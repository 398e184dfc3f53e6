//! Cross-origin resource sharing: what a browser lets pages of other websites do with a bucket, by the bucket's rules.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>
//!
//! The rules guard people's browsers, not the bucket: who is not asked by one needs no rule, and whom a rule allows still needs a
//! signature, or what is public.

pub mod ask;
pub mod config;
#[cfg(test)]
mod tests;

pub use ask::Asked;

use super::call::Response;
use crate::table::access::{CorsMethod, CorsRule};

/// Header fields of an answer.
pub type Fields = Vec<(&'static str, String)>;

/// Of what in a request an answer depends, where rules are looked at: caches must not give it to others.
const VARY: (&str, &str) =
    ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// A rule that allows a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed<'a> {
    /// The first such rule.
    pub rule: &'a CorsRule,
    /// Whether that is so for every website.
    pub any_origin: bool,
}

/// The first of the rules that allows what is asked: origin, method and all header fields.
pub fn allowed<'a>(rules: &'a [CorsRule], asked: &Asked) -> Option<Allowed<'a>> {
    if !asked.is_bearable() {
        return None;
    }
    rules.iter().find_map(|rule| {
        let mut origins = rule.origins.iter();
        let origin = origins.find(|pattern| fits(pattern, &asked.origin))?;
        let method = rule.methods.iter().any(|method| method_name(*method) == asked.method);
        let header = |name: &String| rule.headers.iter().any(|pattern| fits_name(pattern, name));
        let fits = method && asked.headers.iter().all(header);
        fits.then_some(Allowed { rule, any_origin: origin == "*" })
    })
}

/// What an answer tells the browser, if a rule allows what is asked.
pub fn granted(rules: &[CorsRule], asked: &Asked) -> Option<Fields> {
    let Allowed { rule, any_origin } = allowed(rules, asked)?;
    let methods: Vec<_> = rule.methods.iter().map(|method| method_name(*method)).collect();
    let mut fields = vec![("access-control-allow-methods", methods.join(", "))];
    if any_origin {
        fields.push(("access-control-allow-origin", "*".to_owned()));
    } else {
        fields.push(("access-control-allow-origin", asked.origin.clone()));
        fields.push(("access-control-allow-credentials", "true".to_owned()));
    }
    if !rule.expose.is_empty() {
        fields.push(("access-control-expose-headers", rule.expose.join(", ")));
    }
    if asked.is_preflight {
        if !asked.headers.is_empty() {
            fields.push(("access-control-allow-headers", asked.headers.join(", ")));
        }
        if let Some(seconds) = rule.max_age {
            fields.push(("access-control-max-age", seconds.to_string()));
        }
    }
    fields.push(varying());
    Some(fields)
}

/// What an answer tells the browser, and the caches on the way: where there are rules, another page may be answered otherwise.
pub fn fields(rules: &[CorsRule], asked: Option<&Asked>) -> Fields {
    if rules.is_empty() {
        return Fields::new();
    }
    asked.and_then(|asked| granted(rules, asked)).unwrap_or_else(|| vec![varying()])
}

fn varying() -> (&'static str, String) {
    (VARY.0, VARY.1.to_owned())
}

/// Adds these fields to an answer.
pub fn tell(response: Response, fields: &Fields) -> Response {
    fields.iter().fold(response, |response, (name, value)| response.header(name, value))
}

/// Whether a text is as a pattern says, in which one `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            let rest = text.strip_prefix(start);
            rest.is_some_and(|rest| rest.ends_with(end))
        }
    }
}

/// The same for the name of a header field, of which the case does not matter. A request with many names meets many patterns, so
/// nothing is copied.
fn fits_name(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern.eq_ignore_ascii_case(name),
        Some(at) => {
            let (start, end) = (&pattern[..at], &pattern[at + 1..]);
            name.len() >= start.len() + end.len()
                && name[..start.len()].eq_ignore_ascii_case(start)
                && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
        }
    }
}

/// A method as requests have it.
pub fn method_name(method: CorsMethod) -> &'static str {
    match method {
        CorsMethod::Get => "GET",
        CorsMethod::Put => "PUT",
        CorsMethod::Post => "POST",
        CorsMethod::Delete => "DELETE",
        CorsMethod::Head => "HEAD",
    }
}

/// The method that requests have so, if a rule can allow it.
pub fn method_named(name: &str) -> Option<CorsMethod> {
    use CorsMethod::{Delete, Get, Head, Post, Put};
    [Get, Put, Post, Delete, Head].into_iter().find(|method| method_name(*method) == name)
}
