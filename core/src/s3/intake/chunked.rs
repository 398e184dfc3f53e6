//! The `aws-chunked` framing: chunks with their sizes and, if signed, their signatures; then, in some modes, a trailer.
//!
//! ```text
//! 10000;chunk-signature=<64 hex>\r\n   (the extension only where chunks are signed)
//! <65536 bytes>\r\n
//! 0;chunk-signature=<64 hex>\r\n
//! x-amz-checksum-crc32c:sOO8/Q==\r\n   (only with a trailer)
//! x-amz-trailer-signature:<64 hex>\r\n (only with a signed one)
//! \r\n
//! ```
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and `sigv4-streaming-trailers.html` beside it.

use bytes::BytesMut;
use ring::digest::{self, Context, SHA256};

use crate::{
    checksum::Algorithm,
    s3::{
        auth::Chain,
        intake::{BodyError, Sink},
    },
};

/// The longest line that is read: a chunk's head has 98 bytes, a trailer field with a SHA-256 in Base64 fewer.
const LINE_MAX: usize = 1024;

/// The most trailer lines, blank ones included: a checksum, its signature, and blanks as some clients put between them.
const TRAILER_LINES_MAX: u32 = 16;

/// The decoder.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The line that is being gathered; kept, so that a chunk costs no allocation.
    line: Vec<u8>,
    signed: Option<Signed>,
    trailer: Trailer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk's head.
    Head,
    /// In its bytes, of which so many are still to come.
    Data(u64),
    /// In the line end after them; whether the carriage return has come.
    DataEnd { cr: bool },
    /// In the trailer, behind so many lines.
    Trailer(u32),
    /// Behind the last chunk of a body without trailer; how many bytes of the closing line end have come.
    Closing(usize),
}

struct Signed {
    chain: Chain,
    /// Of the current chunk.
    sha256: Context,
    signature: [u8; 32],
}

#[derive(Debug)]
struct Trailer {
    /// Whether there is one.
    follows: bool,
    /// The checksum announced in `x-amz-trailer`.
    announced: Option<Algorithm>,
    /// Its text, once it has come.
    value: Option<Vec<u8>>,
    /// The SHA-256 of the fields that came has been found signed.
    verified: bool,
}

impl Chunked {
    /// Before the first byte. `chain` where chunks are signed, `trailer` where one follows.
    pub(super) fn new(chain: Option<Chain>, trailer: bool, announced: Option<Algorithm>) -> Self {
        Self {
            state: State::Head,
            line: Vec::with_capacity(128),
            signed: chain.map(|chain| Signed {
                chain,
                sha256: Context::new(&SHA256),
                signature: [0; 32],
            }),
            trailer: Trailer { follows: trailer, announced, value: None, verified: false },
        }
    }

    pub(super) fn push(
        &mut self,
        mut raw: &[u8],
        sink: &mut Sink,
        out: &mut BytesMut,
    ) -> Result<(), BodyError> {
        while !raw.is_empty() {
            match self.state {
                State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(raw.len());
                    let (data, rest) = raw.split_at(here);
                    raw = rest;
                    sink.take(data, out)?;
                    if let Some(signed) = &mut self.signed {
                        signed.sha256.update(data);
                    }
                    self.state = match left - here as u64 {
                        0 => State::DataEnd { cr: false },
                        left => State::Data(left),
                    };
                }
                State::DataEnd { cr } => {
                    let byte = raw[0];
                    raw = &raw[1..];
                    self.state = match (cr, byte) {
                        (false, b'\r') => State::DataEnd { cr: true },
                        (true, b'\n') => {
                            self.end_chunk()?;
                            State::Head
                        }
                        _ => {
                            return Err(BodyError::Malformed(
                                "a chunk is longer than its size says",
                            ));
                        }
                    };
                }
                State::Closing(at) => {
                    if b"\r\n".get(at) != Some(&raw[0]) {
                        return Err(BodyError::Malformed("bytes after the last chunk"));
                    }
                    raw = &raw[1..];
                    self.state = State::Closing(at + 1);
                }
                State::Head => {
                    if self.read_line(&mut raw)? {
                        let line = std::mem::take(&mut self.line);
                        let result = self.head(&line, sink);
                        self.keep(line);
                        result?;
                    }
                }
                State::Trailer(lines) => {
                    if self.read_line(&mut raw)? {
                        if lines == TRAILER_LINES_MAX {
                            return Err(BodyError::Malformed("the trailer has too many lines"));
                        }
                        let line = std::mem::take(&mut self.line);
                        let result = self.trailer_line(&line);
                        self.keep(line);
                        result?;
                        self.state = State::Trailer(lines + 1);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the body has ended as it should.
    pub(super) fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            // Some clients leave out the very last line end; the signed, empty last chunk has said it all.
            State::Closing(0 | 2) => Ok(()),
            State::Trailer(_) if self.line.is_empty() => {
                if self.trailer.announced.is_some() && self.trailer.value.is_none() {
                    return Err(BodyError::Malformed("the announced trailer is missing"));
                }
                if self.signed.is_some() && !self.trailer.verified {
                    return Err(BodyError::Malformed("the trailer is not signed"));
                }
                Ok(())
            }
            State::Head
            | State::Data(_)
            | State::DataEnd { .. }
            | State::Trailer(_)
            | State::Closing(_) => Err(BodyError::Incomplete),
        }
    }

    /// The text of the checksum in the trailer.
    pub(super) fn take_checksum(&mut self) -> Option<Vec<u8>> {
        self.trailer.value.take()
    }

    /// Moves bytes up to a line feed into `line`; true if it is there, with the line feed taken off.
    fn read_line(&mut self, raw: &mut &[u8]) -> Result<bool, BodyError> {
        let end = raw.iter().position(|byte| *byte == b'\n');
        let take = end.unwrap_or(raw.len());
        if self.line.len() + take > LINE_MAX {
            return Err(BodyError::Malformed("a line of the chunk framing is too long"));
        }
        self.line.extend_from_slice(&raw[..take]);
        *raw = &raw[take + usize::from(end.is_some())..];
        Ok(end.is_some())
    }

    fn keep(&mut self, mut line: Vec<u8>) {
        line.clear();
        self.line = line;
    }

    /// A chunk's head: its size, and its signature where chunks are signed.
    fn head(&mut self, line: &[u8], sink: &Sink) -> Result<(), BodyError> {
        let line = line
            .strip_suffix(b"\r")
            .ok_or(BodyError::Malformed("a chunk's head does not end with CR LF"))?;
        let mut fields = line.split(|byte| *byte == b';');
        let size = size(fields.next().unwrap_or_default())?;
        if let Some(signed) = &mut self.signed {
            let signature = fields.find_map(|field| field.strip_prefix(b"chunk-signature="));
            let signature = signature.ok_or(BodyError::Malformed("a chunk is not signed"))?;
            hex::decode_to_slice(signature, &mut signed.signature)
                .map_err(|_| BodyError::Malformed("a chunk's signature is not hexadecimal"))?;
        }
        if sink.declared.is_some_and(|declared| size > declared.saturating_sub(sink.len)) {
            return Err(BodyError::LengthMismatch);
        }
        if size > 0 {
            self.state = State::Data(size);
            return Ok(());
        }
        self.end_chunk()?;
        self.state = if self.trailer.follows { State::Trailer(0) } else { State::Closing(0) };
        Ok(())
    }

    /// The chunk's bytes have all come: does its signature hold?
    fn end_chunk(&mut self) -> Result<(), BodyError> {
        let Some(signed) = &mut self.signed else { return Ok(()) };
        let sha256 = std::mem::replace(&mut signed.sha256, Context::new(&SHA256)).finish();
        if signed.chain.accept_chunk(&sha256, &signed.signature) {
            Ok(())
        } else {
            Err(BodyError::BadSignature)
        }
    }

    /// A line of the trailer. Line ends vary between clients, and blank lines stand in odd places; both are harmless, since
    /// the trailer reaches to the body's end and every line with something in it is accounted for.
    fn trailer_line(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        if self.trailer.verified {
            return Err(BodyError::Malformed("bytes after the trailer's signature"));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.ok_or(BodyError::Malformed("a trailer line has no colon"))?;
        let name = line[..colon].trim_ascii().to_ascii_lowercase();
        let value = line[colon + 1..].trim_ascii();
        if name == b"x-amz-trailer-signature" {
            return self.trailer_signature(value);
        }
        let announced = self.trailer.announced.map(|algorithm| algorithm.header().as_bytes());
        if announced != Some(&name[..]) {
            return Err(BodyError::Malformed("a trailer was not announced in x-amz-trailer"));
        }
        match self.trailer.value.replace(value.to_vec()) {
            None => Ok(()),
            Some(_) => Err(BodyError::Malformed("a trailer is given twice")),
        }
    }

    fn trailer_signature(&mut self, value: &[u8]) -> Result<(), BodyError> {
        let Some(signed) = &mut self.signed else {
            return Err(BodyError::Malformed("a trailer is signed, but the body is not"));
        };
        let mut signature = [0; 32];
        hex::decode_to_slice(value, &mut signature)
            .map_err(|_| BodyError::Malformed("the trailer's signature is not hexadecimal"))?;
        let mut canonical = Vec::new();
        if let (Some(algorithm), Some(value)) = (self.trailer.announced, &self.trailer.value) {
            canonical = [algorithm.header().as_bytes(), b":", value, b"\n"].concat();
        }
        let sha256 = digest::digest(&SHA256, &canonical);
        if !signed.chain.accept_trailer(&sha256, &signature) {
            return Err(BodyError::BadSignature);
        }
        self.trailer.verified = true;
        Ok(())
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// The size in a chunk's head: 1 to 16 hexadecimal digits.
fn size(digits: &[u8]) -> Result<u64, BodyError> {
    const WRONG: BodyError = BodyError::Malformed("a chunk's size is not a hexadecimal number");
    if digits.is_empty() || digits.len() > 16 {
        return Err(WRONG);
    }
    digits.iter().try_fold(0u64, |size, byte| {
        let digit = char::from(*byte).to_digit(16).ok_or(WRONG)?;
        Ok(size << 4 | u64::from(digit))
    })
}
