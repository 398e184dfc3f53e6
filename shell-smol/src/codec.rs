//! Between the core's heads and the wire, by way of http-types and async-h1.
//!
//! async-h1 by itself must not face a client (it truncates, smuggles and panics: the guard's table of cases says where), so it
//! sees no byte of one: it decodes a head that we write, over a body that the guard has framed, and encodes responses whose
//! values were checked before. What it would get wrong on the wire is put right here, each with the reason beside it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_h1::server::{self, Encoder};
use bytes::{Buf, Bytes};
use http_types::{
    Body, Method, Request, Response, StatusCode,
    headers::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use mews_core::http::{
    RequestHead, ResponseHead,
    check::{Framing, Meta, Version},
};
use smol::{
    channel::Receiver,
    io::{AsyncBufRead, AsyncRead, AsyncReadExt, Cursor},
    stream::Stream,
};

use crate::link::{Incoming, Link};

/// What one write of a body takes. More gains nothing, and each response under way holds so much.
const PIECE: usize = 64 << 10;

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Full(Bytes),
    /// Piece by piece, until the length of the head is reached.
    Stream(Receiver<Bytes>),
}

/// The request as http-types has it: its method, its body, and the head of the core beside it.
pub async fn request(
    link: &Arc<Link>,
    head: RequestHead,
    meta: Meta,
) -> http_types::Result<Request> {
    // No target: `Url` would normalise it. No fields: only the core's are true to the bytes.
    let ours = format!("{} / HTTP/1.1\r\nhost: localhost\r\n\r\n", head.method);
    let decoded = server::decode(Cursor::new(ours.into_bytes())).await?;
    let (mut request, _) = decoded.ok_or_else(|| http_types::format_err!("no head"))?;
    let len = match meta.framing {
        Framing::None => Some(0),
        // Where it doesn't fit, the guard alone knows the end, as it does for chunks.
        Framing::Length(len) => usize::try_from(len).ok(),
        Framing::Chunked => None,
    };
    request.set_body(Body::from_reader(Incoming::new(Arc::clone(link)), len));
    request.ext_mut().insert(head);
    Ok(request)
}

/// What else a response depends on.
#[derive(Clone, Copy)]
pub struct Frame {
    /// The request's method.
    pub method: Method,
    /// The request's version.
    pub version: Version,
    /// Whether the connection stays open.
    pub keep: bool,
}

/// A response on its way out.
pub struct Outgoing {
    encoder: Encoder,
    /// The body, if it is not the encoder that sends it.
    aside: Option<Body>,
    /// Fields that http-types can't hold.
    raw: Vec<(String, Vec<u8>)>,
    status: u16,
    len: u64,
    /// Whether http-types does not know the length, because a usize can't hold it.
    oversize: bool,
    frame: Frame,
    bodyless: bool,
}

impl Outgoing {
    /// The response with this head and body.
    pub fn new(head: ResponseHead, body: AnswerBody, frame: Frame) -> Self {
        Self::bounded(head, body, frame, usize::MAX)
    }

    /// The same, where http-types is told of lengths up to `max` alone.
    fn bounded(head: ResponseHead, body: AnswerBody, frame: Frame, max: usize) -> Self {
        let ResponseHead { status, headers, len } = head;
        let code = StatusCode::try_from(status).expect("the core uses statuses that exist");
        let mut response = Response::new(code);
        let mut raw = Vec::new();
        for (name, value) in headers {
            assert!(!value.iter().any(|b| (*b < 32 && *b != b'\t') || *b == 127), "{CHECKED}");
            let field = HeaderName::from_bytes(name.clone().into_bytes()).expect(CHECKED);
            // http-types holds ASCII alone; anything else goes around it.
            if value.is_ascii() {
                let value = HeaderValue::from_bytes(value).expect("it is ASCII");
                response.append_header(field, value);
            } else {
                raw.push((name, value));
            }
        }
        if !frame.keep {
            response.insert_header("connection", "close");
        } else if frame.version == Version::Http10 {
            response.insert_header("connection", "keep-alive");
        }
        let bodyless = frame.method == Method::Head || matches!(status, 204 | 304);
        // On a 32-bit board an object may be longer than a usize can say. http-types is not told, and would send chunks; so it
        // makes the head alone, and the body goes out beside it.
        let fits = usize::try_from(len).ok().filter(|len| *len <= max);
        let body = if bodyless {
            Body::from_reader(smol::io::empty(), fits)
        } else {
            match body {
                AnswerBody::Full(bytes) => Body::from_reader(Cursor::new(bytes), fits),
                AnswerBody::Stream(pieces) => Body::from_reader(Pieces::new(pieces), fits),
            }
        };
        let oversize = fits.is_none();
        let nothing = || Body::from_reader(smol::io::empty(), None);
        let (aside, body) = if oversize { (Some(body), nothing()) } else { (None, body) };
        // Setting a body makes up a content type where there is none.
        let typed = response.header(CONTENT_TYPE).is_some();
        response.set_body(body);
        if !typed {
            response.remove_header(CONTENT_TYPE);
        }
        let method = if bodyless || oversize { Method::Head } else { frame.method };
        let encoder = Encoder::new(response, method);
        Self { encoder, aside, raw, status, len, oversize, frame, bodyless }
    }

    /// Writes it. Whether it is as long as its head says.
    pub async fn send(mut self, link: &Link) -> io::Result<bool> {
        let mut out = self.head().await?;
        if self.bodyless {
            link.write_all(&out).await?;
            return Ok(true);
        }
        // The head leaves with the first of the body, in one packet if they fit.
        let mut left = self.len;
        loop {
            let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let start = out.len();
            out.resize(start + room, 0);
            let count = match self.read(&mut out[start..]).await {
                Ok(count) => count,
                Err(error) => {
                    log::debug!("a response was not finished: {error}");
                    return Ok(false);
                }
            };
            link.write_all(&out[..start + count]).await?;
            left -= count as u64;
            if left == 0 || count == 0 {
                return Ok(left == 0);
            }
            out.clear();
        }
    }

    /// At least one byte of the body, unless it has ended or `out` is empty.
    async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match &mut self.aside {
            Some(body) => body.read(out).await,
            None => self.encoder.read(out).await,
        }
    }

    /// The encoded head, put right.
    async fn head(&mut self) -> io::Result<Vec<u8>> {
        let (mut head, mut len) = (vec![0; 1024], 0);
        // The encoder gives the head alone first, however large the buffer.
        while !head[..len].ends_with(b"\r\n\r\n") {
            if len == head.len() {
                head.resize(len * 2, 0);
            }
            match self.encoder.read(&mut head[len..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => len += count,
            }
        }
        head.truncate(len - 2);
        if matches!(self.status, 204 | 304) {
            // RFC 9110 § 8.6: not with a 204; and for a 304 it would have to be the length of the 200.
            strip_line(&mut head, "content-length");
        } else if self.oversize {
            strip_line(&mut head, "transfer-encoding");
            head.extend_from_slice(format!("content-length: {}\r\n", self.len).as_bytes());
        }
        for (name, value) in &self.raw {
            head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        head.extend_from_slice(b"\r\n");
        if self.frame.version == Version::Http10 {
            head[..8].copy_from_slice(b"HTTP/1.0");
        }
        Ok(head)
    }
}

const CHECKED: &str = "ResponseHead::header sees to that";

/// Removes a field's line from a head.
fn strip_line(head: &mut Vec<u8>, name: &str) {
    let start = format!("\r\n{name}:").into_bytes();
    let Some(at) = head.windows(start.len()).position(|w| w.eq_ignore_ascii_case(&start)) else {
        return;
    };
    let line = &head[at + 2..];
    let len = line.windows(2).position(|w| w == b"\r\n").map_or(line.len(), |end| end + 2);
    head.drain(at + 2..at + 2 + len);
}

/// A streamed body, as http-types wants it.
struct Pieces {
    pieces: Pin<Box<Receiver<Bytes>>>,
    piece: Bytes,
}

impl Pieces {
    fn new(pieces: Receiver<Bytes>) -> Self {
        Self { pieces: Box::pin(pieces), piece: Bytes::new() }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let here = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = here.len().min(out.len());
        out[..count].copy_from_slice(&here[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncBufRead for Pieces {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.piece.is_empty() {
            match ready!(this.pieces.as_mut().poll_next(cx)) {
                Some(piece) => this.piece = piece,
                // Nobody asks beyond the declared length, so the task has ended too early.
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.piece.advance(amount);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
    };

    use mews_core::http::limits::Limits;
    use smol::{Async, channel};

    use super::*;
    use mews_host::clock::Clock;

    const GET: Frame = Frame { method: Method::Get, version: Version::Http11, keep: true };

    fn full(text: &str) -> AnswerBody {
        AnswerBody::Full(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The head and the body that a client gets, and whether they were sent whole.
    fn sent(outgoing: Outgoing) -> (String, String, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).expect("it listens");
        let (socket, _) = listener.accept().expect("a client");
        let socket = Async::new(socket).expect("a socket");
        let link = Link::new(socket, String::new(), Clock::start(), Limits::default());
        let whole = smol::block_on(outgoing.send(&link)).expect("the client reads");
        drop(link);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).expect("all of it");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned(), whole)
    }

    fn fields(head: &str) -> Vec<&str> {
        // The date is today's.
        head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect()
    }

    #[test]
    fn a_response_is_what_the_core_said_and_no_more() {
        let head = ResponseHead::new(200, 5).header("etag", "\"x\"");
        let (head, body, whole) = sent(Outgoing::new(head, full("hello"), GET));
        assert_eq!(fields(&head), ["HTTP/1.1 200 OK", "content-length: 5", "etag: \"x\""]);
        assert!(head.contains("date: "), "{head}");
        assert_eq!((body.as_str(), whole), ("hello", true));
    }

    #[test]
    fn values_beyond_ascii_are_sent_as_they_are() {
        let head = ResponseHead::new(200, 0).header("x-amz-meta-k", "caf\u{e9}");
        let (head, ..) = sent(Outgoing::new(head, full(""), GET));
        assert!(head.contains("\r\nx-amz-meta-k: caf\u{e9}"), "{head}");
    }

    #[test]
    fn a_length_beyond_usize_is_declared_all_the_same() {
        let head = || ResponseHead::new(200, 5);
        let expected = ["HTTP/1.1 200 OK", "content-length: 5"];
        let (got, body, whole) = sent(Outgoing::bounded(head(), full("hello"), GET, 4));
        assert_eq!((fields(&got), body.as_str(), whole), (expected.to_vec(), "hello", true));
        let frame = Frame { method: Method::Head, ..GET };
        let (got, body, whole) = sent(Outgoing::bounded(head(), full(""), frame, 4));
        assert_eq!((fields(&got), body.as_str(), whole), (expected.to_vec(), "", true));
    }

    #[test]
    fn some_answers_have_no_body() {
        let (head, body, whole) = sent(Outgoing::new(ResponseHead::new(204, 0), full(""), GET));
        assert_eq!(
            (fields(&head), body.as_str(), whole),
            (vec!["HTTP/1.1 204 No Content"], "", true)
        );
        let frame = Frame { method: Method::Head, ..GET };
        let (head, body, whole) = sent(Outgoing::new(ResponseHead::new(200, 7), full(""), frame));
        assert_eq!(fields(&head)[1], "content-length: 7");
        assert_eq!((body.as_str(), whole), ("", true));
    }

    #[test]
    fn the_connection_is_spoken_of_where_it_must_be() {
        let of = |version, keep| {
            let frame = Frame { version, keep, ..GET };
            let (head, ..) = sent(Outgoing::new(ResponseHead::new(200, 0), full(""), frame));
            let connection = head.split("\r\n").find_map(|line| line.strip_prefix("connection: "));
            (head[..8].to_owned(), connection.unwrap_or_default().to_owned())
        };
        let expected =
            |version: &str, connection: &str| (version.to_owned(), connection.to_owned());
        assert_eq!(of(Version::Http11, true), expected("HTTP/1.1", ""));
        assert_eq!(of(Version::Http11, false), expected("HTTP/1.1", "close"));
        assert_eq!(of(Version::Http10, true), expected("HTTP/1.0", "keep-alive"));
        assert_eq!(of(Version::Http10, false), expected("HTTP/1.0", "close"));
    }

    #[test]
    fn a_stream_that_ends_early_is_not_whole() {
        let (pieces, stream) = channel::bounded(2);
        pieces.try_send(Bytes::from_static(b"he")).expect("there is room");
        pieces.try_send(Bytes::from_static(b"llo")).expect("there is room");
        drop(pieces);
        let outgoing = |len, stream| {
            Outgoing::new(ResponseHead::new(200, len), AnswerBody::Stream(stream), GET)
        };
        let (_, body, whole) = sent(outgoing(6, stream));
        assert_eq!((body.as_str(), whole), ("hello", false));
    }
}
