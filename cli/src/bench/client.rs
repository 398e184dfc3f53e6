//! One keep-alive connection: a request out, its response in. Bodies are counted and dropped, unless they are short or told to
//! be kept.

use std::{
    io,
    net::{SocketAddr, TcpStream},
};

use mews_core::http::{
    body::{Body, Next},
    check::Framing,
    limits::Limits,
};
use smol::{
    Async,
    io::{AsyncReadExt, AsyncWriteExt},
};

/// What is read at a time: a large body takes few calls, and 64 connections take 16 MiB.
const BUFFER: usize = 256 << 10;

/// More than any error document or listing that is kept.
const KEPT_MAX: usize = 8 << 20;

/// A payload up to this size goes out in one write with the head.
const JOINED_MAX: usize = 64 << 10;

/// The most header fields in a response.
const FIELDS_MAX: usize = 64;

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case, if the body was to be kept.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub len: u64,
    /// The body, if it was to be kept or if the status is not a 2xx.
    pub body: Vec<u8>,
}

/// A connection that is made when it is needed.
pub struct Client {
    addr: SocketAddr,
    stream: Option<Async<TcpStream>>,
    buffer: Vec<u8>,
    /// The part of the buffer that has been read and not yet used.
    filled: std::ops::Range<usize>,
    out: Vec<u8>,
}

/// What a response's head says of its body.
struct Head {
    status: u16,
    framing: Option<Framing>,
    close: bool,
    headers: Vec<(String, String)>,
}

impl Client {
    /// A client of this address, not yet connected.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, stream: None, buffer: vec![0; BUFFER], filled: 0..0, out: Vec::new() }
    }

    /// Sends a request and reads the response. After an error the connection is closed; the next request makes a new one.
    pub async fn request(
        &mut self,
        head: &[u8],
        body: &[u8],
        is_head: bool,
        keep: bool,
    ) -> io::Result<Response> {
        let result = self.exchange(head, body, is_head, keep).await;
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    async fn exchange(
        &mut self,
        head: &[u8],
        body: &[u8],
        is_head: bool,
        keep: bool,
    ) -> io::Result<Response> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = Async::<TcpStream>::connect(self.addr).await?;
                stream.get_ref().set_nodelay(true)?;
                stream
            }
        };
        self.filled = 0..0;
        let sent = send(&stream, &mut self.out, head, body).await;
        // A server may answer and close before it has read everything: its answer says more than the broken pipe.
        let mut head = match (self.head(&stream, keep).await, sent) {
            (Ok(head), _) => head,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        let keep = keep || head.status >= 300;
        let mut response = self.body(&stream, &head, is_head, keep).await?;
        response.headers = std::mem::take(&mut head.headers);
        if !head.close {
            self.stream = Some(stream);
        }
        Ok(response)
    }

    async fn head(&mut self, stream: &Async<TcpStream>, keep: bool) -> io::Result<Head> {
        loop {
            let bytes = &self.buffer[self.filled.clone()];
            if let Some((used, head)) = parse(bytes, keep)? {
                self.filled.start += used;
                // Interim responses are not the answer.
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            if self.filled.end == self.buffer.len() {
                return Err(wrong("the response's head is too long"));
            }
            let free = self.filled.end;
            let read = read(stream, &mut self.buffer[free..]).await?;
            self.filled.end += read;
        }
    }

    async fn body(
        &mut self,
        stream: &Async<TcpStream>,
        head: &Head,
        is_head: bool,
        keep: bool,
    ) -> io::Result<Response> {
        let mut response = Response { status: head.status, ..Response::default() };
        if is_head || head.status == 204 || head.status == 304 {
            return Ok(response);
        }
        let Some(framing) = head.framing else {
            return Err(wrong("the response tells neither its length nor that it is chunked"));
        };
        let mut body = Body::new(framing, &Limits::default());
        loop {
            let bytes = &self.buffer[self.filled.clone()];
            let (used, next) = body.advance(bytes).map_err(|fault| wrong(&fault.to_string()))?;
            self.filled.start += used;
            let left = match next {
                Next::End => return Ok(response),
                Next::More => 0,
                Next::Data(left) => left,
            };
            if self.filled.is_empty() {
                self.filled = 0..read(stream, &mut self.buffer).await?;
            }
            let here = self.filled.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if keep && response.body.len() + here <= KEPT_MAX {
                let from = self.filled.start;
                response.body.extend_from_slice(&self.buffer[from..from + here]);
            }
            self.filled.start += here;
            response.len += here as u64;
            body.took(here as u64);
        }
    }
}

async fn send(
    mut stream: &Async<TcpStream>,
    out: &mut Vec<u8>,
    head: &[u8],
    body: &[u8],
) -> io::Result<()> {
    if body.is_empty() {
        return stream.write_all(head).await;
    }
    let joined = body.len().min(JOINED_MAX);
    out.clear();
    out.extend_from_slice(head);
    out.extend_from_slice(&body[..joined]);
    stream.write_all(out).await?;
    stream.write_all(&body[joined..]).await
}

async fn read(mut stream: &Async<TcpStream>, into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

/// The head at the beginning of `bytes`, and its length; nothing if it is not all there.
fn parse(bytes: &[u8], keep: bool) -> io::Result<Option<(usize, Head)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let used = match response.parse(bytes).map_err(|error| wrong(&error.to_string()))? {
        httparse::Status::Complete(used) => used,
        httparse::Status::Partial => return Ok(None),
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        framing: None,
        close: response.version == Some(0),
        headers: Vec::new(),
    };
    for field in response.headers {
        if keep {
            let value = String::from_utf8_lossy(field.value).into_owned();
            head.headers.push((field.name.to_ascii_lowercase(), value));
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            let len =
                std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
            let len = len.ok_or_else(|| wrong("the response's content-length is no number"))?;
            head.framing.get_or_insert(Framing::Length(len));
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Some(Framing::Chunked);
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.close |= field.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some((used, head)))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
