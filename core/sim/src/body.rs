//! The body of a request on its way in, as a shell pumps it.

use std::collections::VecDeque;

use bytes::Bytes;
use mews_core::{
    block::seal::seal,
    daemon::cut::{Cutter, Piece, Step},
    effect::{Chunk, Pulled},
    s3::intake::{BodyError, Intake},
};

/// What of a body has not been pulled yet.
pub struct Body {
    cutter: Cutter,
    pieces: VecDeque<Bytes>,
    broken: bool,
}

impl Body {
    /// A body that arrives in these pieces, and breaks off after them if it is `broken`.
    pub fn new(pieces: Vec<Bytes>, broken: bool) -> Self {
        Self { cutter: Cutter::default(), pieces: pieces.into(), broken }
    }

    /// How it is to be decoded.
    pub fn open(&mut self, intake: Box<Intake>) {
        self.cutter.open(intake);
    }

    /// The connection is gone.
    pub fn break_off(&mut self) {
        self.cutter.fail(BodyError::Incomplete);
    }

    fn feed(&mut self) {
        match self.pieces.pop_front() {
            Some(piece) => self.cutter.feed(piece),
            None if self.broken => self.cutter.fail(BodyError::Incomplete),
            None => self.cutter.end(Vec::new()),
        }
    }

    /// See [`Effect::Pull`](mews_core::effect::Effect::Pull).
    pub fn pull(
        &mut self,
        block: u32,
        inline: u32,
        level: Option<i32>,
    ) -> Result<Pulled, BodyError> {
        loop {
            match self.cutter.pull(block, inline)? {
                Step::More => self.feed(),
                Step::Permit(bytes) => self.cutter.grant(bytes),
                Step::Done(cut) => {
                    let chunk = match cut.piece {
                        Piece::None => Chunk::None,
                        Piece::Inline(bytes) => Chunk::Inline(bytes),
                        Piece::Block(plain) => Chunk::Block(seal(plain, level)),
                    };
                    return Ok(Pulled { chunk, end: cut.end });
                }
            }
        }
    }

    /// See [`Effect::Collect`](mews_core::effect::Effect::Collect).
    pub fn collect(&mut self, max: u32) -> Result<Bytes, BodyError> {
        loop {
            match self.cutter.collect(max)? {
                Step::More => self.feed(),
                Step::Permit(bytes) => self.cutter.grant(bytes),
                Step::Done(bytes) => return Ok(bytes),
            }
        }
    }
}
