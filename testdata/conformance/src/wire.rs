//! A raw connection: bytes out as given, bytes in as they come, responses cut out of them by the rules of RFC 9112 § 6.3.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A connection. A thread of its own reads, as a real client does, so that an answer that comes while we still send is not
/// lost to a reset.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    inbox: Arc<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The fields: names in lower case, values trimmed.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub whole: bool,
}

impl Response {
    /// The first value of a header field. `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What there is instead of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The connection ended before the first byte of a response.
    Closed,
    /// The connection ended inside a response's head.
    Broken,
    /// Nothing, or not all of a head, came in time.
    TimedOut,
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the daemon listens")
    }

    /// Connects, if anybody listens there.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let inbox = Arc::new(Inbox::default());
        let (mut reader, into) = (stream.try_clone().expect("a descriptor"), Arc::clone(&inbox));
        thread::spawn(move || {
            let mut piece = [0; 16 << 10];
            loop {
                let count = reader.read(&mut piece).unwrap_or(0);
                let mut state = into.lock();
                state.bytes.extend_from_slice(&piece[..count]);
                state.ended = count == 0;
                into.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Some(Self { stream, inbox })
    }

    /// Sends these bytes; whether the peer took them all. It may well close instead: what it answers is what counts.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        // The peer may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next response. `head_only` if it answers a HEAD.
    pub fn response(&mut self, head_only: bool, patience: Duration) -> Result<Response, Silence> {
        let until = Instant::now() + patience;
        let mut state = self.inbox.lock();
        loop {
            let (ended, late) = (state.ended, Instant::now() >= until);
            match cut(&state.bytes, head_only, ended || late) {
                Some((response, used)) => {
                    state.bytes.drain(..used);
                    return Ok(response);
                }
                None if ended && state.bytes.is_empty() => return Err(Silence::Closed),
                None if ended => return Err(Silence::Broken),
                None if late => return Err(Silence::TimedOut),
                None => state = self.inbox.wait(state, until),
            }
        }
    }

    /// Whether the peer closes in time, without another byte. The bytes, if there are any.
    pub fn closes(&mut self, patience: Duration) -> Result<bool, Vec<u8>> {
        let until = Instant::now() + patience;
        let mut state = self.inbox.lock();
        while !state.ended && state.bytes.is_empty() && Instant::now() < until {
            state = self.inbox.wait(state, until);
        }
        if state.bytes.is_empty() { Ok(state.ended) } else { Err(state.bytes.clone()) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Ends the reading thread; a peer that is gone already has ended it.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Instant) -> MutexGuard<'a, State> {
        let left = until.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Cuts one response off the front of `bytes`, with the number of bytes that it took. `last`: no more will come, so a body
/// that has not ended is given as it is.
fn cut(bytes: &[u8], head_only: bool, last: bool) -> Option<(Response, usize)> {
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_len]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.expect("a status line");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: Vec::new(), whole: true };
    if head_only || status < 200 || status == 204 || status == 304 {
        return Some((response, head_len));
    }
    let rest = &bytes[head_len..];
    let (body, used, whole) = if response.header("transfer-encoding") == Some("chunked") {
        chunks(rest)
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().expect("Content-Length is a number");
        let here = rest.len().min(length);
        if here < length && !last {
            // Not copied before it is all there: large bodies come in many pieces.
            return None;
        }
        (rest[..here].to_vec(), here, here == length)
    } else {
        (rest.to_vec(), rest.len(), last)
    };
    (response.body, response.whole) = (body, whole);
    (whole || last).then_some((response, head_len + used))
}

/// Joins chunks: the body so far, the bytes used, and whether it has ended. Trailers are not expected of us.
fn chunks(bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some(line) = bytes[at..].windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[at..at + line]);
        let size = usize::from_str_radix(&size, 16).expect("a chunk size");
        let start = at + line + 2;
        let Some(chunk) = bytes.get(start..start + size + 2) else { break };
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends with CR LF");
        body.extend_from_slice(&chunk[..size]);
        at = start + size + 2;
        if size == 0 {
            return (body, at, true);
        }
    }
    (body, bytes.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, last: bool) -> Option<(u16, String, bool, usize)> {
        cut(text.as_bytes(), false, last).map(|(response, used)| {
            let body = String::from_utf8_lossy(&response.body).into_owned();
            (response.status, body, response.whole, used)
        })
    }

    #[test]
    fn responses_end_where_their_framing_says() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(
            of(&format!("{length}HTTP"), false),
            Some((200, "abc".into(), true, length.len()))
        );
        assert_eq!(of(&length[..length.len() - 1], false), None);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(of(chunked, false), Some((200, "abc".into(), true, chunked.len())));
        assert_eq!(of(&chunked[..chunked.len() - 2], false), None);
        let close = "HTTP/1.0 200 OK\r\n\r\nabc";
        assert_eq!(of(close, false), None);
        assert_eq!(of(close, true), Some((200, "abc".into(), true, close.len())));
    }

    #[test]
    fn a_body_cut_short_is_not_whole() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na";
        assert_eq!(of(text, true), Some((200, "a".into(), false, text.len())));
    }

    #[test]
    fn bodyless_responses_have_no_body() {
        let text = "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(of(text, false), Some((304, String::new(), true, text.len())));
    }
}
