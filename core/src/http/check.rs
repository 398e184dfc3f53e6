//! What a request's head must satisfy beyond its syntax (RFC 9112 §§ 2–6, RFC 9110 §§ 7.2, 10.1.1).
//!
//! Both shells run [`check`]: one on what [`parse`](super::parse) read, the other on what its HTTP library read. Request smuggling
//! lives on two readers of one stream disagreeing where a message ends, so whatever could be read in two ways is refused.

use bytes::Bytes;

use super::{RequestHead, reject::Reject};

/// The protocol versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunked bodies, no `100 Continue`, connections end unless asked to stay.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// By chunks.
    Chunked,
}

impl Framing {
    /// The length as [`RequestHead::body_len`] has it.
    pub fn body_len(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(len) => Some(len),
            Self::Chunked => None,
        }
    }
}

/// What the connection has to know of a request; the handlers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The request's version, which bounds what the response may use.
    pub version: Version,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether the client would like to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// A head as a parser of the syntax has found it.
#[derive(Clone, Debug)]
pub struct Parsed<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target, raw.
    pub target: &'a [u8],
    /// The version.
    pub version: Version,
    /// The header fields in order, names in lower case, values trimmed.
    pub headers: Vec<(String, Bytes)>,
    /// The peer's address.
    pub peer: String,
}

/// Checks a head and says how its body is framed, or why the request is refused. After a refusal the connection must be
/// closed: where the next request would begin is unknown.
pub fn check(parsed: Parsed<'_>) -> Result<(RequestHead, Meta), Reject> {
    let Parsed { method, target, version, headers, peer } = parsed;
    if !METHODS.contains(&method) {
        return Err(Reject::new(501, "this method is not implemented"));
    }
    let (target, authority) = origin_form(method, target)?;
    let mut head =
        RequestHead { method: method.to_owned(), target, headers, body_len: Some(0), peer };
    host(&mut head, version, authority)?;
    let framing = framing(&head, version)?;
    head.body_len = framing.body_len();
    let expects_continue = expects_continue(&head)? && version == Version::Http11;
    let meta = Meta {
        version,
        framing,
        keep_alive: keep_alive(&head, version),
        expects_continue: expects_continue && framing != Framing::None,
    };
    Ok((head, meta))
}

/// Methods are case-sensitive (RFC 9110 § 9.1). CONNECT and TRACE have no meaning here.
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];

/// The target in origin form, and the authority if it came in absolute form (RFC 9112 § 3.2).
fn origin_form(method: &str, target: &[u8]) -> Result<(Vec<u8>, Option<Bytes>), Reject> {
    // A fragment is never sent, and bytes that end a line or a target cannot be part of one.
    if target.iter().any(|byte| *byte <= b' ' || *byte == 127 || *byte == b'#') {
        return Err(Reject::new(400, "the request target contains a character it must not"));
    }
    if target.starts_with(b"/") || (target == b"*" && method == "OPTIONS") {
        return Ok((target.to_vec(), None));
    }
    let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| strip(target, scheme)) else {
        return Err(Reject::new(400, "the request target is in no form that this method allows"));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() {
        return Err(Reject::new(400, "the request target names no host"));
    }
    let root: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
    Ok(([root, path].concat(), Some(Bytes::copy_from_slice(authority))))
}

fn strip<'a>(target: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
}

/// Exactly one Host, and a valid one; the authority of a target in absolute form replaces it (RFC 9112 § 3.2.2).
fn host(head: &mut RequestHead, version: Version, authority: Option<Bytes>) -> Result<(), Reject> {
    let count = head.all("host").count();
    if count > 1 || (count == 0 && version == Version::Http11) {
        return Err(Reject::new(400, "exactly one Host header field is needed"));
    }
    if let Some(authority) = authority {
        head.headers.retain(|(name, _)| name != "host");
        head.headers.push(("host".to_owned(), authority));
    }
    // uri-host [ ":" port ]: what is not in the grammar could be taken for a path or for user information.
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    if head.get("host").is_some_and(|host| !host.iter().all(valid)) {
        return Err(Reject::new(400, "the Host header field is not a host name"));
    }
    Ok(())
}

fn framing(head: &RequestHead, version: Version) -> Result<Framing, Reject> {
    let mut length = None;
    for value in head.all("content-length") {
        let declared = content_length(value)
            .ok_or(Reject::new(400, "Content-Length is not a decimal number"))?;
        if length.is_some_and(|length| length != declared) {
            return Err(Reject::new(400, "two Content-Length header fields disagree"));
        }
        length = Some(declared);
    }
    let mut codings = head.all("transfer-encoding");
    let Some(coding) = codings.next() else {
        return Ok(length.filter(|len| *len > 0).map_or(Framing::None, Framing::Length));
    };
    if length.is_some() {
        return Err(Reject::new(400, "Content-Length and Transfer-Encoding exclude each other"));
    }
    if codings.next().is_some() {
        return Err(Reject::new(400, "there is more than one Transfer-Encoding header field"));
    }
    if version == Version::Http10 {
        return Err(Reject::new(400, "HTTP/1.0 has no Transfer-Encoding"));
    }
    if !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(Reject::new(501, "the only Transfer-Encoding implemented is chunked"));
    }
    Ok(Framing::Chunked)
}

/// Digits only: no sign, no list, no blank. Nineteen digits always fit.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn expects_continue(head: &RequestHead) -> Result<bool, Reject> {
    let mut expects = false;
    for value in head.all("expect") {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Reject::new(417, "the only expectation known is 100-continue"));
        }
        expects = true;
    }
    Ok(expects)
}

fn keep_alive(head: &RequestHead, version: Version) -> bool {
    let has = |token: &str| {
        head.all("connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    match version {
        Version::Http11 => !has("close"),
        Version::Http10 => has("keep-alive") && !has("close"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<'a>(method: &'a str, target: &'a str, headers: &[(&str, &str)]) -> Parsed<'a> {
        let owned = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        Parsed {
            method,
            target: target.as_bytes(),
            version: Version::Http11,
            headers: headers.iter().map(owned).collect(),
            peer: String::new(),
        }
    }

    fn with(headers: &[(&str, &str)]) -> Result<Meta, u16> {
        let headers = [&[("host", "h")], headers].concat();
        check(parsed("PUT", "/b/k", &headers)).map(|(_, meta)| meta).map_err(|e| e.status)
    }

    fn target(method: &str, target: &str) -> Result<(String, String), u16> {
        let (head, _) =
            check(parsed(method, target, &[("host", "h")])).map_err(|reject| reject.status)?;
        let host = head.get("host").expect("there is one").to_vec();
        Ok((
            String::from_utf8(head.target).expect("ASCII in, ASCII out"),
            String::from_utf8(host).expect("ASCII"),
        ))
    }

    #[test]
    fn targets_keep_their_bytes() {
        for raw in
            ["/", "/b/a//b", "/b/../y", "/b/%2e%2E/%2f", "/b/k?x=y?z", "/b/\u{e9}", "/b/\"<>"]
        {
            assert_eq!(target("GET", raw), Ok((raw.to_owned(), "h".to_owned())));
        }
    }

    #[test]
    fn absolute_form_becomes_origin_form_and_its_host_wins() {
        let expected = |path: &str| Ok((path.to_owned(), "x:9".to_owned()));
        assert_eq!(target("GET", "http://x:9/b/k?q"), expected("/b/k?q"));
        assert_eq!(target("GET", "HTTP://x:9?q"), expected("/?q"));
        assert_eq!(target("GET", "https://x:9"), expected("/"));
    }

    #[test]
    fn other_targets_are_refused() {
        for raw in ["*", "b/k", "x:9", "ftp://x/", "http://", "http:///k", "/a#b", "/a b", "/\r"] {
            assert_eq!(target("GET", raw), Err(400), "{raw}");
        }
        assert_eq!(target("OPTIONS", "*"), Ok(("*".to_owned(), "h".to_owned())));
    }

    #[test]
    fn methods_are_known_and_upper_case() {
        for method in ["get", "FOO", "TRACE", "CONNECT", ""] {
            assert_eq!(target(method, "/"), Err(501), "{method}");
        }
    }

    #[test]
    fn one_valid_host() {
        let status = |headers: &[(&str, &str)], version| {
            let parsed = Parsed { version, ..parsed("GET", "/", headers) };
            check(parsed).map(|_| 200).unwrap_or_else(|reject| reject.status)
        };
        assert_eq!(status(&[], Version::Http11), 400);
        assert_eq!(status(&[], Version::Http10), 200);
        assert_eq!(status(&[("host", "a"), ("host", "a")], Version::Http11), 400);
        for good in ["", "a", "a.b:80", "[::1]:80"] {
            assert_eq!(status(&[("host", good)], Version::Http11), 200, "{good}");
        }
        for bad in ["evil/x?", "a b", "u@h", "a,b", "a\\b", "\u{e9}"] {
            assert_eq!(status(&[("host", bad)], Version::Http11), 400, "{bad}");
        }
    }

    #[test]
    fn framing_is_unambiguous_or_refused() {
        let framing = |headers: &[_]| with(headers).map(|meta| meta.framing);
        let length = |value| framing(&[("content-length", value)]);
        let coding = |value| framing(&[("transfer-encoding", value)]);
        assert_eq!(framing(&[]), Ok(Framing::None));
        assert_eq!(length("0"), Ok(Framing::None));
        assert_eq!(length("007"), Ok(Framing::Length(7)));
        assert_eq!(length("9999999999999999999"), Ok(Framing::Length(9_999_999_999_999_999_999)));
        for bad in ["", "+5", "-5", "5, 5", "5 5", "0x5", "5a", "18446744073709551616"] {
            assert_eq!(length(bad), Err(400), "{bad}");
        }
        let twice = |a, b| framing(&[("content-length", a), ("content-length", b)]);
        assert_eq!(twice("5", "5"), Ok(Framing::Length(5)));
        assert_eq!(twice("5", "6"), Err(400));
        assert_eq!(coding("Chunked"), Ok(Framing::Chunked));
        for bad in ["xchunked", "identity", "gzip, chunked", "chunked, chunked", "\"chunked\"", ""]
        {
            assert_eq!(coding(bad), Err(501), "{bad}");
        }
        let two = [("transfer-encoding", "chunked"), ("transfer-encoding", "identity")];
        assert_eq!(framing(&two), Err(400));
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(framing(&both), Err(400));
    }

    #[test]
    fn old_clients_have_no_chunks_and_say_if_they_stay() {
        let old = |headers: &[(&str, &str)]| {
            let parsed = Parsed { version: Version::Http10, ..parsed("GET", "/", headers) };
            check(parsed).map(|(_, meta)| meta.keep_alive).map_err(|reject| reject.status)
        };
        assert_eq!(old(&[]), Ok(false));
        assert_eq!(old(&[("connection", "Keep-Alive")]), Ok(true));
        assert_eq!(old(&[("transfer-encoding", "chunked")]), Err(400));
    }

    #[test]
    fn connection_is_a_list_of_tokens() {
        let keep = |value| with(&[("connection", value)]).map(|meta| meta.keep_alive);
        assert_eq!(keep("foo, Close"), Ok(false));
        assert_eq!(keep("closed"), Ok(true));
    }

    #[test]
    fn only_continue_can_be_expected_and_only_for_a_body() {
        let expects = |headers: &[_]| with(headers).map(|meta| meta.expects_continue);
        let body = ("content-length", "5");
        assert_eq!(expects(&[body, ("expect", "100-Continue")]), Ok(true));
        assert_eq!(expects(&[("expect", "100-continue")]), Ok(false));
        assert_eq!(expects(&[body, ("expect", "a pony")]), Err(417));
    }
}
