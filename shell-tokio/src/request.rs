//! Requests and responses: from hyper's form to the core's and back.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::{
    Request, Response, StatusCode, Uri, Version as HttpVersion,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
    service::Service,
};
use mews_core::{
    daemon::texts,
    http::{
        RequestHead, ResponseHead,
        check::{Framing, Meta, Parsed, Version, check},
        limits::Limits,
        reject::Reject,
    },
    node::Api,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    drive::{Answer, AnswerBody, Client},
    host::Host,
    io::Idle,
    pump::Pump,
};

/// The requests of one connection.
pub struct Requests {
    /// What they are served with.
    pub host: Arc<Host>,
    /// What they are for.
    pub api: Api,
    /// The bounds of the connection.
    pub limits: Limits,
    /// Shared with the tasks: a connection counts as open until all its requests have ended.
    pub permit: Arc<OwnedSemaphorePermit>,
    /// Shared with the stream.
    pub idle: Idle,
    /// The client's address.
    pub peer: String,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Waiting;

    fn call(&self, request: Request<Incoming>) -> Waiting {
        self.idle.end();
        let busy = Busy { host: Arc::clone(&self.host), idle: self.idle.clone() };
        let (parts, body) = request.into_parts();
        let (head, meta) = match self.check(&parts) {
            Ok(checked) => checked,
            Err(reject) => return Waiting { busy: Some(busy), answer: Err(reject) },
        };
        // A short rest of a body is worth reading to keep the connection; what the client has not begun to send is not.
        let drain = match meta.framing {
            _ if meta.expects_continue => 0,
            Framing::Length(len) if len <= self.limits.drain_bytes => len,
            Framing::None | Framing::Length(_) | Framing::Chunked => 0,
        };
        let (reply, answer) = oneshot::channel();
        let pump = Pump::new(Arc::clone(&self.host), body, &self.limits);
        let client = Client::new(reply, pump, drain);
        let (host, api, permit) = (Arc::clone(&self.host), self.api, Arc::clone(&self.permit));
        // Runs to its end, whether or not the client stays.
        tokio::spawn(async move {
            host.serve(api, head, client).await;
            drop(permit);
        });
        Waiting { busy: Some(busy), answer: Ok(answer) }
    }
}

impl Requests {
    fn check(&self, parts: &Parts) -> Result<(RequestHead, Meta), Reject> {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        let target = target(&parts.uri);
        check(Parsed {
            method: parts.method.as_str(),
            target: target.as_bytes(),
            version: match parts.version {
                HttpVersion::HTTP_10 => Version::Http10,
                _ => Version::Http11,
            },
            headers: parts.headers.iter().map(field).collect(),
            peer: self.peer.clone(),
        })
    }
}

/// The request target as it was sent, as far as hyper tells.
fn target(uri: &Uri) -> std::borrow::Cow<'_, str> {
    match uri.path_and_query() {
        Some(path) if uri.scheme().is_none() => path.as_str().into(),
        _ => uri.to_string().into(),
    }
}

/// A response to come.
pub struct Waiting {
    busy: Option<Busy>,
    answer: Result<oneshot::Receiver<Answer>, Reject>,
}

/// Kept from a request's arrival until its response is written; then the connection waits for the next.
struct Busy {
    host: Arc<Host>,
    idle: Idle,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.idle.begin(self.host.clock.mono());
    }
}

impl Future for Waiting {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.answer {
            Ok(answer) => ready!(Pin::new(answer).poll(cx)).ok(),
            Err(reject) => Some(refusal(*reject)),
        };
        let busy = self.busy.take().expect("polled after its end");
        // A task that is gone without an answer has panicked.
        let answer = answer.unwrap_or_else(|| refusal(texts::BROKEN));
        Poll::Ready(Ok(response(answer, busy)))
    }
}

fn refusal(reject: Reject) -> Answer {
    let (head, body) = reject.response();
    Answer { head, body: AnswerBody::Full(body), reusable: false }
}

fn response(answer: Answer, busy: Busy) -> Response<Outgoing> {
    let Answer { head: ResponseHead { status, headers, len }, body, reusable } = answer;
    let mut response = Response::new(Outgoing { body, left: len, _busy: busy });
    if let AnswerBody::Full(bytes) = &response.body().body {
        response.body_mut().left = bytes.len() as u64;
    }
    *response.status_mut() =
        StatusCode::from_u16(status).expect("the core uses statuses that exist");
    let fields = response.headers_mut();
    fields.reserve(headers.len() + 2);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        let invariant = "ResponseHead::header sees to that";
        fields.append(name.expect(invariant), value.expect(invariant));
    }
    // hyper declares the length of the body it is given; a HEAD's answer declares one that it is not given.
    if !matches!(status, 100..=199 | 204 | 304) {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    if !reusable {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A response's body on its way to hyper.
pub struct Outgoing {
    body: AnswerBody,
    /// Bytes still to come.
    left: u64,
    _busy: Busy,
}

/// The task ended before its body did, or gave more than it had declared. The connection is broken off.
#[derive(Debug)]
pub struct WrongLength;

impl std::fmt::Display for WrongLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the response's body was not as long as declared")
    }
}

impl std::error::Error for WrongLength {}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = WrongLength;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WrongLength>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut self.body {
            AnswerBody::Full(bytes) => Some(std::mem::take(bytes)),
            AnswerBody::Stream(pieces) => ready!(pieces.poll_recv(cx)),
        };
        Poll::Ready(Some(match piece {
            Some(piece) if piece.len() as u64 <= self.left => {
                self.left -= piece.len() as u64;
                Ok(Frame::data(piece))
            }
            Some(_) | None => Err(WrongLength),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
