//! Signed requests of every shape to one bucket, and what comes back.

use std::{
    collections::BTreeSet,
    io,
    sync::Barrier,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mews_core::{
    http::RequestHead,
    s3::sign::{Payload, Signer},
    time::Timestamp,
};
use smol::future;

use super::Failure;
use crate::bench::{
    client::{Client, Response},
    load::wall,
    target::Target,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// For so long, a store that asks for it is asked again.
const BUSY: Duration = Duration::from_secs(30);

/// Why a probe cannot go on.
#[derive(Debug)]
pub enum Trouble {
    /// This answer does not let it.
    Refused(Answer),
    /// There is no answer.
    Broken(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code in an error document.
    pub fn code(&self) -> String {
        element(&self.text(), "Code").unwrap_or_default().to_owned()
    }

    /// Status and code.
    pub fn short(&self) -> String {
        format!("{} {}", self.status, self.code()).trim_end().to_owned()
    }

    /// Whether it is a success.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it says that there is no such feature here.
    pub fn not_offered(&self) -> bool {
        self.status == 501 || self.status == 405 || self.code() == "NotImplemented"
    }

    /// The answer if it is a success.
    pub fn done(self) -> Result<Self, Trouble> {
        if self.ok() { Ok(self) } else { Err(Trouble::Refused(self)) }
    }
}

/// What stands between the first pair of tags of that name.
pub fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

/// A request to be.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    method: &'static str,
    key: Option<String>,
    query: String,
    headers: Vec<(String, Bytes)>,
    body: &'a [u8],
    form: Form<'a>,
}

/// How a body goes over the wire.
#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    Plain,
    Signed(&'a [u8]),
    Chunked(Payload<'static>, fn(&mut Vec<u8>)),
}

impl<'a> Ask<'a> {
    /// About an object.
    pub fn object(method: &'static str, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::bucket(method) }
    }

    /// About the bucket.
    pub fn bucket(method: &'static str) -> Self {
        let (key, query, headers) = (None, String::new(), Vec::new());
        Self { method, key, query, headers, body: b"", form: Form::Plain }
    }

    /// With a query, encoded as it goes over the wire.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    /// With a header field.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), Bytes::from(value.into())));
        self
    }

    /// With a body.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// Signed as if this were the body.
    pub fn signed_for(mut self, other: &'a [u8]) -> Self {
        self.form = Form::Signed(other);
        self
    }

    /// With the body in `aws-chunked` framing, changed on its way.
    pub fn chunked(mut self, payload: Payload<'static>, change: fn(&mut Vec<u8>)) -> Self {
        let len = self.body.len().to_string();
        self = self.header("content-encoding", "aws-chunked");
        self = self.header("x-amz-decoded-content-length", len);
        self.form = Form::Chunked(payload, change);
        self
    }
}

/// A bucket that probes work in.
pub struct Session {
    target: Target,
    prefix: String,
    own_bucket: bool,
    client: Client,
    /// Every key that may have been made.
    keys: BTreeSet<String>,
}

impl Session {
    /// Makes the bucket, if it is to be our own.
    pub fn open(target: Target, prefix: String, own_bucket: bool) -> Result<Self, Failure> {
        let client = Client::new(target.addr);
        let mut session = Self { target, prefix, own_bucket, client, keys: BTreeSet::new() };
        let method = if own_bucket { "PUT" } else { "HEAD" };
        match session.ask(Ask::bucket(method)) {
            Ok(answer) if answer.ok() => Ok(session),
            Ok(answer) if own_bucket => Err(Failure::Failed(format!(
                "{}: the bucket {} cannot be made: {}. With --bucket, one that is there is used",
                session.target.endpoint,
                session.target.bucket,
                answer.short()
            ))),
            Ok(answer) => Err(Failure::Failed(format!(
                "{}: the bucket {} cannot be used: {}",
                session.target.endpoint,
                session.target.bucket,
                answer.short()
            ))),
            Err(Trouble::Refused(answer)) => Err(Failure::Failed(answer.short())),
            Err(Trouble::Broken(reason)) => Err(Failure::Failed(format!(
                "{}: {reason}. Is the server running?",
                session.target.endpoint
            ))),
        }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.target.bucket
    }

    /// A key of ours. What is made by it is taken away in the end.
    pub fn key(&mut self, name: &str) -> String {
        let key = format!("{}{name}", self.prefix);
        self.keys.insert(key.clone());
        key
    }

    /// Asks, and again while the store says that it is busy.
    pub fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, Trouble> {
        let until = Instant::now() + BUSY;
        loop {
            let mut signer = self.target.signer.clone();
            let answer = exchange(&mut self.client, &self.target, &mut signer, &ask)?;
            if answer.status != 503 || Instant::now() > until {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Asks with another secret.
    pub fn ask_with(&mut self, mut signer: Signer, ask: &Ask<'_>) -> Result<Answer, Trouble> {
        exchange(&mut self.client, &self.target, &mut signer, ask)
    }

    /// The right key's signer, with another secret.
    pub fn forger(&self) -> Signer {
        self.target.signer.clone().with_secret("another secret than the right one")
    }

    /// The target of an object, as it goes over the wire.
    pub fn target(&self, key: &str) -> String {
        path(&self.target.bucket, Some(key))
    }

    /// Asks the same on so many connections at the same moment, each with a body of its own.
    pub fn race(&self, ask: &Ask<'_>, bodies: &[String]) -> Vec<Result<Answer, Trouble>> {
        let ready = Barrier::new(bodies.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = bodies
                .iter()
                .map(|body| {
                    let (ask, ready) = (ask.clone().body(body.as_bytes()), &ready);
                    scope.spawn(move || {
                        let mut client = Client::new(self.target.addr);
                        let mut signer = self.target.signer.clone();
                        // A first request, so that the connections are there.
                        let warm =
                            exchange(&mut client, &self.target, &mut signer, &Ask::bucket("HEAD"));
                        ready.wait();
                        warm?;
                        exchange(&mut client, &self.target, &mut signer, &ask)
                    })
                })
                .collect();
            let panicked = |_| Err(Trouble::Broken("a thread panicked".to_owned()));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        })
    }

    /// Asks without any signature in the header, for this target.
    pub fn unsigned(&mut self, method: &str, target: &str, body: &[u8]) -> Result<Answer, Trouble> {
        let host = Bytes::copy_from_slice(self.target.host.as_bytes());
        let head = wire(method, target.as_bytes(), &[("host".to_owned(), host)], body.len());
        send(&mut self.client, &head, body, method == "HEAD")
    }

    /// The target of a presigned URL for an object, made some time ago.
    pub fn presigned(
        &self,
        method: &str,
        key: &str,
        lives: Duration,
        ago: Duration,
    ) -> Result<String, Trouble> {
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let at = Timestamp(wall().0.saturating_sub(ago));
        let (target, host) = (self.target(key), &self.target.host);
        let signed = self.target.signer.clone().presign(method, host, &target, lives, at);
        signed.map_err(|error| Trouble::Broken(error.to_string()))
    }

    /// Takes everything away again.
    pub fn clean(&mut self) -> Result<(), Failure> {
        let mut left = Vec::new();
        for key in std::mem::take(&mut self.keys) {
            match self.ask(Ask::object("DELETE", &key)) {
                Ok(answer) if answer.ok() || answer.status == 404 => {}
                Ok(answer) => left.push(format!("{key}: {}", answer.short())),
                Err(trouble) => left.push(format!("{key}: {trouble:?}")),
            }
        }
        if self.own_bucket {
            match self.ask(Ask::bucket("DELETE")) {
                Ok(answer) if answer.ok() => {}
                Ok(answer) => left.push(format!("the bucket: {}", answer.short())),
                Err(trouble) => left.push(format!("the bucket: {trouble:?}")),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let bucket = &self.target.bucket;
        Err(Failure::Failed(format!("could not be taken away from {bucket}: {}", left.join(", "))))
    }
}

fn exchange(
    client: &mut Client,
    target: &Target,
    signer: &mut Signer,
    ask: &Ask<'_>,
) -> Result<Answer, Trouble> {
    let mut to = path(&target.bucket, ask.key.as_deref());
    if !ask.query.is_empty() {
        to = format!("{to}?{}", ask.query);
    }
    let mut head = RequestHead {
        method: ask.method.to_owned(),
        target: to.into_bytes(),
        headers: vec![("host".to_owned(), Bytes::copy_from_slice(target.host.as_bytes()))],
        body_len: Some(ask.body.len() as u64),
        peer: String::new(),
    };
    head.headers.extend(ask.headers.iter().cloned());
    let refused = |error: mews_core::s3::error::S3Error| Trouble::Broken(error.to_string());
    let framed;
    let body = match ask.form {
        Form::Plain => {
            signer.sign(&mut head, Payload::Signed(ask.body), wall()).map_err(refused)?;
            ask.body
        }
        Form::Signed(other) => {
            signer.sign(&mut head, Payload::Signed(other), wall()).map_err(refused)?;
            ask.body
        }
        Form::Chunked(payload, change) => {
            let framer = signer.sign(&mut head, payload, wall()).map_err(refused)?;
            let mut bytes = framer.frame(ask.body, 64 << 10);
            change(&mut bytes);
            framed = bytes;
            &framed
        }
    };
    let bytes = wire(&head.method, &head.target, &head.headers, body.len());
    send(client, &bytes, body, ask.method == "HEAD")
}

/// A head as it goes over the wire.
fn wire(method: &str, target: &[u8], headers: &[(String, Bytes)], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    for part in [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    for (name, value) in headers {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(format!("content-length: {len}\r\n\r\n").as_bytes());
    out
}

fn send(client: &mut Client, head: &[u8], body: &[u8], is_head: bool) -> Result<Answer, Trouble> {
    let broken = |error: io::Error| Trouble::Broken(error.to_string());
    let answer = smol::block_on(future::or(client.request(head, body, is_head, true), async {
        smol::Timer::after(PATIENCE).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer for 30 seconds"))
    }));
    let Response { status, headers, body, .. } = answer.map_err(broken)?;
    Ok(Answer { status, headers, body })
}

/// The path of an object, or of the bucket.
fn path(bucket: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("/{bucket}/{}", encoded(key, true)),
        None => format!("/{bucket}"),
    }
}

/// Percent-encoded as S3 has it.
pub fn encoded(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (byte == b'/' && keep_slash);
        match plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
