//! From bytes to a request's head: an incremental search for its end, then one strict parse.

use bytes::Bytes;

use super::{
    RequestHead,
    check::{Meta, Parsed, Version, check},
    limits::Limits,
    reject::Reject,
};

/// Looks for the end of a head in bytes that come in pieces, each byte once, and refuses at once what no head can contain:
/// a line feed or carriage return on its own (RFC 9112 § 2.2 lets a reader choose; two readers that choose differently can
/// be played against each other), and control characters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    at: usize,
    line: usize,
    after_cr: bool,
}

impl Scan {
    /// The length of the head that `bytes` begins with, empty line included; `None` if it has not ended yet. Call it with
    /// the same bytes and more; the head begins with its request line.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Reject> {
        for byte in &bytes[self.at..] {
            self.at += 1;
            match *byte {
                b'\n' if !self.after_cr => return Err(Reject::new(400, "a line ends without CR")),
                b'\n' if self.line == 0 => return Ok(Some(self.at)),
                b'\n' => (self.line, self.after_cr) = (0, false),
                _ if self.after_cr => return Err(Reject::new(400, "a CR is not followed by LF")),
                b'\r' => self.after_cr = true,
                b'\t' | 32..=126 | 128.. => self.line += 1,
                _ => return Err(Reject::new(400, "the head contains a control character")),
            }
        }
        Ok(None)
    }
}

/// Parses and checks one whole head, as [`Scan`] has delimited it.
pub fn parse(head: &Bytes, limits: &Limits, peer: &str) -> Result<(RequestHead, Meta), Reject> {
    let mut fields = vec![httparse::EMPTY_HEADER; limits.header_count];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(Reject::new(400, "the request head does not end where its lines do")),
        Err(error) => return Err(syntax(error, head)),
    }
    let version = match request.version {
        Some(0) => Version::Http10,
        Some(1) => Version::Http11,
        _ => return Err(Reject::new(505, "only HTTP/1.0 and HTTP/1.1 are served")),
    };
    let own = |field: &httparse::Header<'_>| {
        (field.name.to_ascii_lowercase(), head.slice_ref(field.value.trim_ascii()))
    };
    check(Parsed {
        method: request.method.unwrap_or_default(),
        target: request.path.unwrap_or_default().as_bytes(),
        version,
        headers: request.headers.iter().map(own).collect(),
        peer: peer.to_owned(),
    })
}

fn syntax(error: httparse::Error, head: &[u8]) -> Reject {
    // Only what looks like a version is one; a blank in the target looks the same to the parser.
    let version = head.split(|byte| *byte == b' ').nth(2);
    let versioned = version.is_some_and(|version| version.starts_with(b"HTTP/"));
    match error {
        httparse::Error::TooManyHeaders => Reject::new(431, "there are too many header fields"),
        httparse::Error::Version if versioned => {
            Reject::new(505, "only HTTP/1.0 and HTTP/1.1 are served")
        }
        httparse::Error::HeaderName => Reject::new(400, "a header field's name is malformed"),
        httparse::Error::HeaderValue => Reject::new(400, "a header field's value is malformed"),
        httparse::Error::Version
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token => Reject::new(400, "the request line is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(RequestHead, Meta), u16> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let end = Scan::default().end(&bytes).map_err(|reject| reject.status)?;
        let head = bytes.slice(..end.expect("a whole head"));
        parse(&head, &Limits::default(), "peer").map_err(|reject| reject.status)
    }

    #[test]
    fn heads_are_kept_as_sent() {
        let text = "PUT /b/a//b?x HTTP/1.1\r\nHost: h\r\nX-A:  one \r\nx-a:two\r\nX-Empty:\r\n\r\n";
        let (head, _) = read(text).expect("a good head");
        assert_eq!((head.method.as_str(), &head.target[..]), ("PUT", &b"/b/a//b?x"[..]));
        let headers: Vec<_> = head.headers.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
        let expected: [(&str, &[u8]); 4] =
            [("host", b"h"), ("x-a", b"one"), ("x-a", b"two"), ("x-empty", b"")];
        assert_eq!(headers, expected);
        assert_eq!(head.peer, "peer");
    }

    #[test]
    fn values_may_hold_any_text() {
        let (head, _) = read("GET / HTTP/1.1\r\nHost: h\r\nX: caf\u{e9}\ta\r\n\r\n").expect("good");
        assert_eq!(head.get("x"), Some("caf\u{e9}\ta".as_bytes()));
    }

    #[test]
    fn malformed_heads_are_refused() {
        let cases = [
            ("GET /\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
            ("GET / http/1.1\r\nHost: h\r\n\r\n", 400),
            ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}", 400),
        ];
        for (text, status) in cases {
            assert_eq!(read(text).map(|_| ()), Err(status), "{text:?}");
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let head = |count| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert!(read(&head(127)).is_ok());
        assert_eq!(read(&head(128)).map(|_| ()), Err(431));
    }
}
