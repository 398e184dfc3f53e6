//! HTTP/1.1 as the core sees it: plain heads with nothing decoded, normalised, reordered or merged, because signatures and
//! keys need the bytes as they came.

pub mod body;
pub mod check;
pub mod guard;
pub mod host;
pub mod limits;
pub mod parse;
pub mod reject;
pub mod visit;

use bytes::Bytes;

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as sent.
    pub method: String,
    /// The target in origin form, raw: path, and query if there is a `?`.
    pub target: Vec<u8>,
    /// The header fields in the order sent: names in lower case, values raw, surrounding blanks trimmed.
    pub headers: Vec<(String, Bytes)>,
    /// The length of the body as framed: `Some(0)` without one, `None` if chunked.
    pub body_len: Option<u64>,
    /// The peer's address, for logs.
    pub peer: String,
}

impl RequestHead {
    /// Every value of a header field, in order. `name` in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| &value[..])
    }

    /// The first value of a header field. `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &value[..])
    }

    /// The raw path, and the raw query (what follows the first `?`).
    pub fn path_and_query(&self) -> (&[u8], Option<&[u8]>) {
        match self.target.iter().position(|byte| *byte == b'?') {
            Some(at) => (&self.target[..at], Some(&self.target[at + 1..])),
            None => (&self.target, None),
        }
    }
}

/// A response's head. The shell adds `date`, `connection` and framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// Header fields: names in lower case, values free of control characters ([`ResponseHead::header`] sees to that).
    pub headers: Vec<(String, Vec<u8>)>,
    /// The length of the body; for a HEAD, of the body that a GET would have.
    pub len: u64,
}

impl ResponseHead {
    /// A head without headers, declaring a body of `len` bytes.
    pub fn new(status: u16, len: u64) -> Self {
        Self { status, headers: Vec::new(), len }
    }

    /// Adds a header field. Control characters in the value become blanks, so that stored or echoed data can never end a line
    /// and begin another.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().iter();
        let value = value.map(|b| if (*b < 32 && *b != b'\t') || *b == 127 { b' ' } else { *b });
        self.headers.push((name.to_ascii_lowercase(), value.collect()));
        self
    }
}
