//! A request's body: from http-types, through the core's cutter, into pieces.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_types::Body;
use mews_core::{
    daemon::cut::{Cutter, Piece, Step},
    effect::{Chunk, Pulled},
    http::body::BodyFault,
    s3::intake::{BodyError, Intake},
};
use smol::io::AsyncReadExt;

use crate::{blocks::Permit, host::Host, link::Link};

/// What one read brings at most. More gains nothing, and each body under way holds so much.
const READ: usize = 64 << 10;

/// One request's body.
pub struct Pump {
    host: Arc<Host>,
    link: Arc<Link>,
    body: Body,
    cutter: Cutter,
    buffer: BytesMut,
    permit: Option<Permit>,
}

impl Pump {
    /// The pump for a body that comes by `link`.
    pub fn new(host: Arc<Host>, link: Arc<Link>, body: Body) -> Self {
        let (cutter, buffer) = (Cutter::default(), BytesMut::new());
        Self { host, link, body, cutter, buffer, permit: None }
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

    async fn grant(&mut self, bytes: usize) {
        self.permit = Some(self.host.blocks.buffer(bytes).await);
        self.cutter.grant(bytes);
    }

    async fn feed(&mut self) {
        // A small body needs no large buffer. The cutter has let go of the last bytes, so that this is the same memory again.
        self.buffer.resize(self.body.len().unwrap_or(READ).clamp(1, READ), 0);
        match self.body.read(&mut self.buffer).await {
            Ok(0) => self.cutter.end(self.link.guard(|guard, _| guard.trailers().to_vec())),
            Ok(count) => self.cutter.feed(self.buffer.split_to(count).freeze()),
            Err(error) => self.cutter.fail(fault(&error)),
        }
    }
}

/// What the guard said, out of the wrapping that http-types needs.
fn fault(error: &io::Error) -> BodyError {
    let fault = error.get_ref().and_then(|error| error.downcast_ref::<BodyFault>());
    fault.map_or(BodyError::Incomplete, |fault| (*fault).into())
}
