//! The S3 API's listener: connections, and requests on them, by hyper.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response, Version as HttpVersion,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use mews_core::{
    daemon::texts,
    http::{
        ResponseHead,
        check::{Framing, Parsed, Version, check},
        limits::Limits,
        reject::Reject,
    },
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time,
};

use crate::{
    drive::{self, Answer, AnswerBody, Client},
    host::Host,
    io::Paced,
    pump::Pump,
};

/// How many refusals are under way at once; beyond that a connection is just closed.
const REFUSALS: usize = 64;

/// A listener and the bounds of its connections.
pub struct Server {
    /// What requests are served with.
    pub host: Arc<Host>,
    /// The bounds of one connection.
    pub limits: Limits,
    /// How many connections there may be.
    pub connections: usize,
}

impl Server {
    /// Accepts and serves until `stop` becomes true; then lets requests in flight go on for `patience`. Gives the number of
    /// connections that were cut off.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        mut stop: watch::Receiver<bool>,
        patience: Duration,
    ) -> usize {
        let open = Arc::new(Semaphore::new(self.connections));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&open).try_acquire_owned() {
                    Ok(permit) => {
                        let server = Arc::clone(&self);
                        tokio::spawn(server.connection(stream, peer, permit, stop.clone()));
                    }
                    Err(_) => {
                        if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                            tokio::spawn(Arc::clone(&self).refuse(stream, permit));
                        }
                    }
                },
                Err(error) => {
                    // Out of descriptors, or the client was gone before we looked. Neither gets better at once.
                    log::warn!("cannot accept a connection: {error}");
                    time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        let in_flight = self.connections - open.available_permits();
        log::info!("{}", texts::stopping(in_flight));
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        match time::timeout(patience, open.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => self.connections - open.available_permits(),
        }
    }

    async fn refuse(self: Arc<Self>, mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
        let written = time::timeout(self.limits.linger, async {
            stream.write_all(&texts::CROWDED.to_wire()).await
        });
        if let Ok(Ok(())) = written.await {
            Paced::new(stream, self.host.clock, &self.limits).linger(&self.limits).await;
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        mut stop: watch::Receiver<bool>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("{peer}: {error}");
            return;
        }
        let io = TokioIo::new(Paced::new(stream, self.host.clock, &self.limits));
        let requests = Requests {
            server: Arc::clone(&self),
            permit: Arc::new(permit),
            peer: peer.to_string(),
        };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_headers(self.limits.header_count)
            .max_header_size(self.limits.head_bytes)
            .max_buf_size(READ_BUFFER)
            .serve_connection(io, requests);
        let stopping = async { stop.wait_for(|stop| *stop).await.map(drop) };
        let result = tokio::select! {
            result = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => result,
            _ = stopping => {
                Pin::new(&mut connection).graceful_shutdown();
                std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        if let Err(error) = result {
            log::debug!("{peer}: {error}");
        }
        connection.into_parts().io.into_inner().linger(&self.limits).await;
    }
}

/// hyper's buffer of a connection: what one read of a body brings at most.
const READ_BUFFER: usize = 256 << 10;

/// The requests of one connection.
struct Requests {
    server: Arc<Server>,
    /// Shared with the tasks: a connection counts as open until all its requests have ended.
    permit: Arc<OwnedSemaphorePermit>,
    peer: String,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Waiting;

    fn call(&self, request: Request<Incoming>) -> Waiting {
        let (parts, body) = request.into_parts();
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        let target = target(&parts.uri);
        let parsed = Parsed {
            method: parts.method.as_str(),
            target: target.as_bytes(),
            version: match parts.version {
                HttpVersion::HTTP_10 => Version::Http10,
                _ => Version::Http11,
            },
            headers: parts.headers.iter().map(field).collect(),
            peer: self.peer.clone(),
        };
        let (head, meta) = match check(parsed) {
            Ok(checked) => checked,
            Err(reject) => return Waiting::Refused(Some(reject)),
        };
        let Server { host, limits, .. } = &*self.server;
        // A short rest of a body is worth reading to keep the connection; what the client has not begun to send is not.
        let drain = match meta.framing {
            _ if meta.expects_continue => 0,
            Framing::Length(len) if len <= limits.drain_bytes => len,
            Framing::None | Framing::Length(_) | Framing::Chunked => 0,
        };
        let (reply, answer) = oneshot::channel();
        let pump = Pump::new(Arc::clone(host), body, limits);
        let client = Client::new(reply, pump, drain);
        let permit = Arc::clone(&self.permit);
        // Runs to its end, whether or not the client stays.
        let on = Arc::clone(host);
        tokio::spawn(async move {
            let task = on.admit(head);
            drive::drive(&on, task, Some(client)).await;
            drop(permit);
        });
        Waiting::Answer(answer, Arc::clone(host))
    }
}

/// The request target as it was sent, as far as hyper tells.
fn target(uri: &hyper::Uri) -> std::borrow::Cow<'_, str> {
    match uri.path_and_query() {
        Some(path) if uri.scheme().is_none() => path.as_str().into(),
        _ => uri.to_string().into(),
    }
}

/// A response to come.
enum Waiting {
    Refused(Option<Reject>),
    Answer(oneshot::Receiver<Answer>, Arc<Host>),
}

impl Future for Waiting {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let refused = match &mut *self {
            Self::Refused(reject) => reject.take().expect("polled once"),
            Self::Answer(answer, host) => match ready!(Pin::new(answer).poll(cx)) {
                Ok(answer) => return Poll::Ready(Ok(response(answer))),
                Err(_) => {
                    // The task is gone without an answer.
                    host.count_panic();
                    texts::BROKEN
                }
            },
        };
        let (head, body) = refused.response();
        let body = AnswerBody::Full(body);
        Poll::Ready(Ok(response(Answer { head, body, reusable: false })))
    }
}

fn response(answer: Answer) -> Response<Outgoing> {
    let Answer { head: ResponseHead { status, headers, len }, body, reusable } = answer;
    let mut response = Response::new(match body {
        AnswerBody::Full(bytes) => Outgoing::Full(bytes),
        AnswerBody::Stream(pieces) => Outgoing::Stream { pieces, left: len },
    });
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).expect("the core uses statuses that exist");
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
enum Outgoing {
    Full(Bytes),
    Stream { pieces: mpsc::Receiver<Bytes>, left: u64 },
}

/// The task ended before its body did, or gave more than it had declared. The connection is broken off.
#[derive(Debug)]
struct WrongLength;

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
        match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream { left: 0, .. } => Poll::Ready(None),
            Self::Stream { pieces, left } => {
                Poll::Ready(Some(match ready!(pieces.poll_recv(cx)) {
                    Some(piece) if piece.len() as u64 <= *left => {
                        *left -= piece.len() as u64;
                        Ok(Frame::data(piece))
                    }
                    Some(_) | None => Err(WrongLength),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Full(bytes) => bytes.len() as u64,
            Self::Stream { left, .. } => *left,
        })
    }
}
