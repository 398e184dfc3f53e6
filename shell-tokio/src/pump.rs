//! A request's body: from the connection, through the core's cutter, into pieces.

use std::{error::Error, io, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use mews_core::{
    daemon::cut::{Cutter, Piece, Step},
    effect::{Chunk, Pulled},
    http::limits::{Limits, Pace},
    s3::intake::{BodyError, Intake},
};
use tokio::time;

use crate::{
    blocks::Permit,
    host::{Host, instant},
};

/// One request's body.
pub struct Pump {
    host: Arc<Host>,
    body: Incoming,
    cutter: Cutter,
    pace: Pace,
    permit: Option<Permit>,
}

impl Pump {
    /// The pump for a body.
    pub fn new(host: Arc<Host>, body: Incoming, limits: &Limits) -> Self {
        let pace = Pace::of_body(limits);
        let mut pump = Self { host, body, cutter: Cutter::default(), pace, permit: None };
        if pump.body.is_end_stream() {
            pump.cutter.end(Vec::new());
        }
        pump
    }

    /// How the body is to be decoded and checked.
    pub fn open(&mut self, intake: Box<Intake>) {
        self.cutter.open(intake);
    }

    /// The next piece.
    pub async fn pull(&mut self, block: u32, inline: u32) -> Result<Pulled, BodyError> {
        loop {
            match self.cutter.pull(block, inline)? {
                Step::More => self.feed().await,
                Step::Permit(bytes) => self.grant(bytes).await,
                Step::Done(cut) => {
                    let chunk = match cut.piece {
                        Piece::None => Chunk::None,
                        Piece::Inline(plain) => Chunk::Inline(plain),
                        Piece::Block(plain) => {
                            let permit = self.permit.take();
                            let sealed = self.host.blocks.seal(plain, permit).await;
                            Chunk::Block(sealed.map_err(|_| BodyError::Incomplete)?)
                        }
                    };
                    return Ok(Pulled { chunk, end: cut.end });
                }
            }
        }
    }

    /// The whole body.
    pub async fn collect(&mut self, max: u32) -> Result<Bytes, BodyError> {
        loop {
            match self.cutter.collect(max)? {
                Step::More => self.feed().await,
                Step::Permit(bytes) => self.grant(bytes).await,
                Step::Done(document) => return Ok(document),
            }
        }
    }

    /// Whether nothing of the body is left on the connection.
    pub fn is_over(&self) -> bool {
        self.cutter.is_over()
    }

    /// Reads and drops what is left, if it is not more than this; then the connection can be used again.
    pub async fn drain(mut self, max: u64) {
        let mut left = max;
        while left > 0
            && let Some(Ok(frame)) = self.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(1, |data| data.len() as u64));
        }
    }

    async fn grant(&mut self, bytes: usize) {
        self.permit = Some(self.host.blocks.buffer(bytes).await);
        self.cutter.grant(bytes);
    }

    async fn feed(&mut self) {
        match self.frame().await {
            None => self.cutter.end(Vec::new()),
            Some(Err(error)) => self.cutter.fail(error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.cutter.feed(data);
                    if self.body.is_end_stream() {
                        self.cutter.end(Vec::new());
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let trailers = trailers.iter();
                    let trailers = trailers
                        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
                    self.cutter.end(trailers.collect());
                }
            },
        }
    }

    /// The next frame, in time.
    async fn frame(&mut self) -> Option<Result<hyper::body::Frame<Bytes>, BodyError>> {
        self.pace.wait(self.host.clock.mono());
        let until = self.pace.deadline().expect("waiting has just begun");
        let until = instant(self.host.clock, until);
        let Ok(frame) = time::timeout_at(until, Pin::new(&mut self.body).frame()).await else {
            return Some(Err(BodyError::TimedOut));
        };
        let frame = frame?.map_err(|error| fault(&error));
        let len = frame.as_ref().ok().and_then(|frame| frame.data_ref()).map_or(0, Bytes::len);
        self.pace.progress(self.host.clock.mono(), len as u64);
        Some(frame)
    }
}

/// What hyper's words mean.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn fault(error: &hyper::Error) -> BodyError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    BodyError::Malformed("the chunks of the body are malformed")
                }
                _ => BodyError::Incomplete,
            };
        }
        cause = error.source();
    }
    BodyError::Incomplete
}
