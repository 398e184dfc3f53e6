//! A request's body on its way from HTTP into blocks: pushed through its [`Intake`], cut where a block is full, ended where
//! the end is known. Sans-IO; the shell feeds it what the connection brings.

use bytes::{Buf, Bytes, BytesMut};

use crate::s3::intake::{BodyError, Intake, Summary};

/// What a document up to this size needs is not worth a permit: as much as a connection's own buffers.
const FREE: usize = 64 << 10;

/// The cutter of one body.
#[derive(Debug, Default)]
pub struct Cutter {
    intake: Option<Box<Intake>>,
    /// Fed, and not yet pushed.
    raw: Bytes,
    /// Whether the HTTP body has ended, whole.
    over: bool,
    trailers: Option<Vec<(String, Vec<u8>)>>,
    plain: BytesMut,
    /// Whether the shell has granted room for a whole block.
    granted: bool,
    /// Whether something was cut off already, so that what is left is not the whole body.
    begun: bool,
    outcome: Option<Result<Summary, BodyError>>,
}

/// What the shell is to do, or what it gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Feed more, or say that the body has ended; then ask again.
    More,
    /// Take a permit for a buffer of this many bytes, [grant](Cutter::grant) it, then ask again.
    Permit(usize),
    /// Here it is.
    Done(T),
}

/// A piece of the body, and the summary of all if it is the last.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// The piece.
    pub piece: Piece,
    /// Set with the last.
    pub end: Option<Summary>,
}

/// A piece of a body, plain.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing more.
    None,
    /// The whole body, small.
    Inline(Bytes),
    /// A block, to be hashed and perhaps compressed.
    Block(Bytes),
}

enum Flow {
    More,
    Permit,
    Full,
    Ended(Summary),
}

impl Cutter {
    /// How the body is to be decoded and checked: [`Effect::Open`](crate::effect::Effect::Open).
    pub fn open(&mut self, intake: Box<Intake>) {
        self.intake = Some(intake);
    }

    /// What the connection brought. Only after [`Step::More`].
    pub fn feed(&mut self, raw: Bytes) {
        assert!(self.raw.is_empty(), "fed without need");
        self.raw = raw;
    }

    /// The HTTP body has ended, whole by its framing.
    pub fn end(&mut self, trailers: Vec<(String, Vec<u8>)>) {
        self.over = true;
        self.trailers = Some(trailers);
    }

    /// The HTTP body has not ended as it should; nor will this one.
    pub fn fail(&mut self, error: BodyError) {
        self.outcome = Some(Err(error));
    }

    /// The permit that [`Step::Permit`] asked for is there, and lasts until the next piece is cut.
    pub fn grant(&mut self, bytes: usize) {
        self.granted = true;
        self.plain.reserve(bytes.saturating_sub(self.plain.len()));
    }

    /// Answers [`Effect::Pull`](crate::effect::Effect::Pull).
    pub fn pull(&mut self, block: u32, inline: u32) -> Result<Step<Cut>, BodyError> {
        let (block, inline) = (block as usize, inline as usize);
        let end = match self.advance(block, inline)? {
            Flow::More => return Ok(Step::More),
            Flow::Permit => return Ok(Step::Permit(self.buffer(block))),
            Flow::Full => None,
            Flow::Ended(summary) => Some(summary),
        };
        let whole = end.is_some() && !self.begun;
        self.begun = true;
        self.granted = false;
        let plain = self.plain.split().freeze();
        let piece = match plain.len() {
            0 => Piece::None,
            len if whole && len <= inline => Piece::Inline(plain),
            _ => Piece::Block(plain),
        };
        Ok(Step::Done(Cut { piece, end }))
    }

    /// Answers [`Effect::Collect`](crate::effect::Effect::Collect).
    pub fn collect(&mut self, max: u32) -> Result<Step<Bytes>, BodyError> {
        let max = max as usize;
        match self.advance(max + 1, FREE)? {
            Flow::More => Ok(Step::More),
            Flow::Permit => Ok(Step::Permit(self.buffer(max + 1))),
            Flow::Full => Err(BodyError::TooLarge),
            Flow::Ended(_) if self.plain.len() > max => Err(BodyError::TooLarge),
            Flow::Ended(_) => Ok(Step::Done(self.plain.split().freeze())),
        }
    }

    /// Whether nothing of the HTTP body is left to read.
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn intake(&mut self) -> &mut Intake {
        self.intake.as_mut().expect("Open comes before the first Pull")
    }

    /// How large a buffer the next piece needs.
    fn buffer(&mut self, max: usize) -> usize {
        let left = self.intake().remaining().and_then(|left| usize::try_from(left).ok());
        left.map_or(max, |left| max.min(self.plain.len().saturating_add(left)))
    }

    /// Decodes until `full` plain bytes are there or the body has ended; asks for a permit beyond `free`.
    fn advance(&mut self, full: usize, free: usize) -> Result<Flow, BodyError> {
        loop {
            match &self.outcome {
                Some(Ok(summary)) => return Ok(Flow::Ended(summary.clone())),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            // A full block is kept back while it may be the last: only the end says whether the body holds.
            let last = self.intake().remaining() == Some(0);
            if self.plain.len() >= full && !last {
                return Ok(Flow::Full);
            }
            if !self.raw.is_empty() {
                // Decoding never makes bytes more, so that the buffer cannot outgrow its permit.
                let room = if last { self.raw.len() } else { full - self.plain.len() };
                let take = self.raw.len().min(room);
                if self.plain.len() + take > free && !self.granted && !last {
                    return Ok(Flow::Permit);
                }
                let pushed = push(self.intake.as_mut(), &self.raw[..take], &mut self.plain);
                self.raw.advance(take);
                if let Err(error) = pushed {
                    self.outcome = Some(Err(error));
                }
            } else if let Some(trailers) = self.trailers.take() {
                self.outcome = Some(self.intake().finish(&trailers));
            } else {
                return Ok(Flow::More);
            }
        }
    }
}

fn push(
    intake: Option<&mut Box<Intake>>,
    raw: &[u8],
    plain: &mut BytesMut,
) -> Result<(), BodyError> {
    intake.expect("Open comes before the first Pull").push(raw, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 100;
    const INLINE: u32 = 10;

    /// What a body of `len` bytes is cut into, fed in pieces; with the number of permits asked for.
    fn cuts(len: usize, known: bool, piece: usize) -> (Vec<Cut>, usize) {
        let body = Bytes::from((0..len).map(|i| i.to_le_bytes()[0]).collect::<Vec<_>>());
        let mut rest = body.clone();
        let mut cutter = Cutter::default();
        cutter.open(Box::new(Intake::plain(known.then_some(len as u64))));
        let (mut cuts, mut permits) = (Vec::new(), 0);
        loop {
            match cutter.pull(BLOCK, INLINE).expect("a sound body") {
                Step::More if rest.is_empty() => cutter.end(Vec::new()),
                Step::More => cutter.feed(rest.split_to(piece.min(rest.len()))),
                Step::Permit(bytes) => {
                    assert!(bytes <= BLOCK as usize, "a permit for {bytes}");
                    permits += 1;
                    cutter.grant(bytes);
                }
                Step::Done(cut) => {
                    let last = cut.end.is_some();
                    cuts.push(cut);
                    if last {
                        break;
                    }
                }
            }
        }
        let all: Vec<u8> = cuts.iter().flat_map(|cut| bytes(cut).to_vec()).collect();
        assert_eq!(all, body, "{len} bytes, {piece} at a time");
        assert_eq!(
            cuts.last().and_then(|cut| cut.end.as_ref()).map(|end| end.len),
            Some(len as u64)
        );
        (cuts, permits)
    }

    fn bytes(cut: &Cut) -> &[u8] {
        match &cut.piece {
            Piece::None => &[],
            Piece::Inline(bytes) | Piece::Block(bytes) => bytes,
        }
    }

    #[test]
    fn small_bodies_are_inline_and_need_no_permit() {
        for (len, known, piece) in [(1, true, 1), (10, true, 3), (10, false, 100)] {
            let (cuts, permits) = cuts(len, known, piece);
            assert!(matches!(cuts[..], [Cut { piece: Piece::Inline(_), .. }]), "{len}");
            assert_eq!(permits, 0);
        }
        assert!(matches!(cuts(0, true, 1).0[..], [Cut { piece: Piece::None, .. }]));
    }

    #[test]
    fn a_known_end_comes_with_the_last_block() {
        for (len, blocks) in [(11, 1), (100, 1), (101, 2), (200, 2), (250, 3)] {
            for piece in [1, 7, 99, 100, 101, 1000] {
                let (cuts, permits) = cuts(len, true, piece);
                assert_eq!(cuts.len(), blocks, "{len} bytes, {piece} at a time");
                assert!(permits <= blocks);
            }
        }
    }

    #[test]
    fn an_unknown_end_at_a_boundary_comes_alone() {
        let (cuts, _) = cuts(200, false, 64);
        assert_eq!(cuts.iter().map(|cut| bytes(cut).len()).collect::<Vec<_>>(), [100, 100, 0]);
    }

    #[test]
    fn a_small_rest_is_a_block_and_needs_no_permit() {
        let (cuts, permits) = cuts(105, true, 105);
        assert!(matches!(cuts[1].piece, Piece::Block(_)));
        assert_eq!(permits, 1);
    }

    #[test]
    fn a_body_that_ends_early_is_an_error_for_ever() {
        let mut cutter = Cutter::default();
        cutter.open(Box::new(Intake::plain(Some(5))));
        assert_eq!(cutter.pull(BLOCK, INLINE), Ok(Step::More));
        cutter.feed(Bytes::from_static(b"abc"));
        assert_eq!(cutter.pull(BLOCK, INLINE), Ok(Step::More));
        cutter.fail(BodyError::TimedOut);
        assert_eq!(cutter.pull(BLOCK, INLINE), Err(BodyError::TimedOut));
        assert_eq!(cutter.pull(BLOCK, INLINE), Err(BodyError::TimedOut));
        assert!(!cutter.is_over());
    }

    #[test]
    fn a_document_is_collected_up_to_its_bound() {
        let collect = |body: &'static [u8], max| {
            let mut cutter = Cutter::default();
            cutter.open(Box::new(Intake::plain(None)));
            cutter.feed(Bytes::from_static(body));
            cutter.end(Vec::new());
            cutter.collect(max)
        };
        assert_eq!(collect(b"12345", 5), Ok(Step::Done(Bytes::from_static(b"12345"))));
        assert_eq!(collect(b"123456", 5), Err(BodyError::TooLarge));
        assert_eq!(collect(b"", 5), Ok(Step::Done(Bytes::new())));
    }
}
