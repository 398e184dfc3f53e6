//! The request's body as a shell hands it out.

use bytes::{Bytes, BytesMut};

use crate::{
    block::seal,
    effect::{Chunk, Pulled},
    s3::intake::{BodyError, Intake, Summary},
};

/// Raw bytes come in pieces of so many, which divides nothing evenly.
const PIECE: usize = 37;

#[derive(Debug)]
pub(super) struct Pump {
    raw: Bytes,
    /// The client goes away when so many bytes are left.
    stop: usize,
    intake: Option<Intake>,
    plain: BytesMut,
    begun: bool,
    ended: Option<Summary>,
    gone: bool,
}

impl Pump {
    pub(super) fn new(raw: Bytes, cut: Option<usize>) -> Self {
        let stop = cut.map_or(0, |cut| raw.len() - cut);
        let plain = BytesMut::new();
        Self { raw, stop, intake: None, plain, begun: false, ended: None, gone: false }
    }

    pub(super) fn open(&mut self, intake: Intake) {
        assert!(self.intake.is_none(), "a body is opened once");
        self.intake = Some(intake);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn pull(
        &mut self,
        block: usize,
        inline: usize,
        level: Option<i32>,
    ) -> Result<Pulled, BodyError> {
        // One byte more than a block tells whether the block is the last.
        self.fill(block + 1)?;
        let end = self.ended.clone().filter(|_| self.plain.len() <= block);
        let len = self.plain.len().min(block);
        let bytes = self.plain.split_to(len).freeze();
        let whole = !self.begun && end.is_some();
        self.begun = true;
        let chunk = match len {
            0 => Chunk::None,
            len if whole && len <= inline => Chunk::Inline(bytes),
            _ => Chunk::Block(seal::seal(bytes, level)),
        };
        Ok(Pulled { chunk, end })
    }

    pub(super) fn collect(&mut self, max: usize) -> Result<Bytes, BodyError> {
        self.fill(max + 1)?;
        if self.plain.len() > max {
            return Err(BodyError::TooLarge);
        }
        Ok(self.plain.split().freeze())
    }

    fn fill(&mut self, enough: usize) -> Result<(), BodyError> {
        let intake = self.intake.as_mut().expect("a body is opened before it is pulled");
        while self.plain.len() < enough && self.ended.is_none() {
            let len = (self.raw.len() - self.stop).min(PIECE);
            if len == 0 && self.stop > 0 {
                self.gone = true;
                return Err(BodyError::Incomplete);
            }
            if len == 0 {
                self.ended = Some(intake.finish(&[])?);
            } else {
                intake.push(&self.raw.split_to(len), &mut self.plain)?;
            }
        }
        Ok(())
    }
}
