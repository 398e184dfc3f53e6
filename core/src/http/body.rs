//! Where a request's body is in the bytes that follow its head (RFC 9112 §§ 6, 7.1).
//!
//! Sans-IO, and without a buffer of its own for the body: [`Body::advance`] reads over framing and says how many bytes of
//! body come next; the caller takes them from wherever they are, its buffer or the socket, and says so with [`Body::took`].

use super::{check::Framing, limits::Limits};

/// Why a body can't be read to its end. The connection has no future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The connection ended before the body did.
    Incomplete,
    /// The client was slower than the limit.
    TimedOut,
    /// The framing is broken; the text says how.
    Malformed(&'static str),
}

impl std::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Incomplete => write!(f, "the connection ended before the body did"),
            Self::TimedOut => write!(f, "the body came too slowly"),
            Self::Malformed(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for BodyFault {}

/// What follows the framing that was just read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At most so many bytes of body, at least one.
    Data(u64),
    /// More framing, none of which is here yet.
    More,
    /// Nothing: the body has ended.
    End,
}

/// A body being read.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    limits: Limits,
    trailers: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    Size { size: u64, digits: u32, line: usize, part: SizePart },
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    Trailers(Vec<u8>),
    Done,
    Failed(BodyFault),
}

/// The parts of a chunk-size line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SizePart {
    Digits,
    /// Blanks, which only an extension may follow.
    Blank,
    Extension,
    Lf,
}

const SIZE: State = State::Size { size: 0, digits: 0, line: 0, part: SizePart::Digits };

impl Body {
    /// The body of a request with this framing.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => SIZE,
        };
        Self { state, limits: *limits, trailers: Vec::new() }
    }

    /// Reads over the framing that `bytes` begin with: how many bytes of it there are, and what follows them. With
    /// [`Next::More`] that is all of `bytes`.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, Next), BodyFault> {
        let mut used = 0;
        loop {
            match &self.state {
                State::Length(left) | State::Chunk(left) => return Ok((used, Next::Data(*left))),
                State::Done => return Ok((used, Next::End)),
                State::Failed(fault) => return Err(*fault),
                State::Size { .. } | State::ChunkCr | State::ChunkLf | State::Trailers(_) => {}
            }
            let Some(byte) = bytes.get(used) else { return Ok((used, Next::More)) };
            used += 1;
            if let Err(what) = self.framing(*byte) {
                return Err(self.fail(BodyFault::Malformed(what)));
            }
        }
    }

    /// The caller has taken `count` bytes of body, no more than [`Next::Data`] offered.
    pub fn took(&mut self, count: u64) {
        let whole = |left: u64| left.checked_sub(count).expect("no more is taken than was offered");
        match self.state {
            State::Length(left) if whole(left) == 0 => self.state = State::Done,
            State::Length(left) => self.state = State::Length(whole(left)),
            State::Chunk(left) if whole(left) == 0 => self.state = State::ChunkCr,
            State::Chunk(left) => self.state = State::Chunk(whole(left)),
            State::Size { .. }
            | State::ChunkCr
            | State::ChunkLf
            | State::Trailers(_)
            | State::Done
            | State::Failed(_) => assert!(count == 0, "nothing was offered"),
        }
    }

    /// Nothing more will come, for this reason.
    pub fn fail(&mut self, fault: BodyFault) -> BodyFault {
        self.state = State::Failed(fault);
        fault
    }

    /// Whether all of it has been read, framing included.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes are still to come on the connection; `None` if that can't be told.
    pub fn remaining(&self) -> Option<u64> {
        match &self.state {
            State::Length(left) => Some(*left),
            State::Done => Some(0),
            State::Size { .. }
            | State::Chunk(_)
            | State::ChunkCr
            | State::ChunkLf
            | State::Trailers(_)
            | State::Failed(_) => None,
        }
    }

    /// The trailer fields that followed the body, once it is done: names in lower case, values trimmed. They are no headers,
    /// and nothing may be believed that a header would have to say.
    pub fn trailers(&self) -> &[(String, Vec<u8>)] {
        &self.trailers
    }

    fn framing(&mut self, byte: u8) -> Result<(), &'static str> {
        match &mut self.state {
            State::Size { size, digits, line, part } => {
                *line += 1;
                if *line > self.limits.chunk_line_bytes {
                    return Err("a chunk-size line is too long");
                }
                if size_line(size, digits, part, byte)? {
                    self.state =
                        if *size == 0 { State::Trailers(Vec::new()) } else { State::Chunk(*size) };
                }
            }
            State::ChunkCr if byte == b'\r' => self.state = State::ChunkLf,
            State::ChunkLf if byte == b'\n' => self.state = SIZE,
            State::ChunkCr | State::ChunkLf => {
                return Err("a chunk does not end where its size says");
            }
            State::Trailers(section) => {
                section.push(byte);
                if section.len() > self.limits.trailer_bytes {
                    return Err("the trailer section is too long");
                }
                if byte == b'\n' && (section.ends_with(b"\r\n\r\n") || section == b"\r\n") {
                    self.trailers = trailer_section(section, self.limits.trailer_count)?;
                    self.state = State::Done;
                } else if byte == b'\n' && !section.ends_with(b"\r\n") {
                    return Err("a trailer line ends without CR");
                }
            }
            State::Length(_) | State::Chunk(_) | State::Done | State::Failed(_) => {
                unreachable!("these states have no framing")
            }
        }
        Ok(())
    }
}

/// Reads one byte of a chunk-size line; whether it ends the line.
fn size_line(
    size: &mut u64,
    digits: &mut u32,
    part: &mut SizePart,
    byte: u8,
) -> Result<bool, &'static str> {
    match (*part, byte) {
        (SizePart::Digits, _) if byte.is_ascii_hexdigit() => {
            let digit = char::from(byte).to_digit(16).expect("it is a hexadecimal digit");
            *digits += 1;
            // Sixteen digits fill a u64; leading zeros beyond that have no honest use.
            if *digits > 16 {
                return Err("a chunk size has too many digits");
            }
            *size = (*size << 4) | u64::from(digit);
        }
        (SizePart::Digits, _) if *digits == 0 => return Err("a chunk size is not hexadecimal"),
        (SizePart::Digits | SizePart::Extension, b'\r') => *part = SizePart::Lf,
        (SizePart::Digits | SizePart::Blank, b' ' | b'\t') => *part = SizePart::Blank,
        (SizePart::Digits | SizePart::Blank, b';') => *part = SizePart::Extension,
        (SizePart::Extension, b'\t' | 32..=126 | 128..) => {}
        (SizePart::Lf, b'\n') => return Ok(true),
        (SizePart::Digits | SizePart::Blank | SizePart::Extension | SizePart::Lf, _) => {
            return Err("a chunk-size line is malformed");
        }
    }
    Ok(false)
}

fn trailer_section(
    section: &[u8],
    count_max: usize,
) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut fields = vec![httparse::EMPTY_HEADER; count_max];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((len, fields))) if len == section.len() => Ok(fields
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), field.value.trim_ascii().to_vec()))
            .collect()),
        Err(httparse::Error::TooManyHeaders) => Err("there are too many trailer fields"),
        Ok(_) | Err(_) => Err("the trailer section is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything a body yields of `bytes` given in pieces of `step`: its data, its trailers, and the bytes after it.
    fn read(framing: Framing, bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize), BodyFault> {
        let mut body = Body::new(framing, &Limits::default());
        let (mut data, mut at, mut seen) = (Vec::new(), 0, 0);
        loop {
            let (used, next) = body.advance(&bytes[at..seen])?;
            at += used;
            match next {
                Next::End => return Ok((data, bytes.len() - at)),
                Next::Data(left) if at < seen => {
                    let len = usize::try_from(left).map_or(seen - at, |left| left.min(seen - at));
                    data.extend_from_slice(&bytes[at..at + len]);
                    at += len;
                    body.took(len as u64);
                }
                Next::Data(_) | Next::More if seen == bytes.len() => {
                    return Err(body.fail(BodyFault::Incomplete));
                }
                Next::Data(_) | Next::More => seen = (seen + step).min(bytes.len()),
            }
        }
    }

    fn chunked(text: &str) -> Result<(String, usize), BodyFault> {
        let whole = read(Framing::Chunked, text.as_bytes(), text.len());
        for step in 1..4 {
            assert_eq!(read(Framing::Chunked, text.as_bytes(), step), whole, "{text:?} by {step}");
        }
        whole.map(|(data, rest)| (String::from_utf8(data).expect("text"), rest))
    }

    #[test]
    fn lengths_are_exact() {
        assert_eq!(read(Framing::None, b"next", 4), Ok((vec![], 4)));
        assert_eq!(read(Framing::Length(3), b"abcnext", 2), Ok((b"abc".to_vec(), 4)));
        assert_eq!(read(Framing::Length(9), b"abc", 2), Err(BodyFault::Incomplete));
    }

    #[test]
    fn chunks_are_joined() {
        let good = |text, data: &str, rest| assert_eq!(chunked(text), Ok((data.to_owned(), rest)));
        good("0\r\n\r\n", "", 0);
        good("3\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\nGET", "abc0123456789", 3);
        good("3;x=\"y\"\r\nabc\r\n0 ;z\r\n\r\n", "abc", 0);
        good("3\r\nabc\r\n0\r\nX-A: b\r\n\r\n", "abc", 0);
    }

    #[test]
    fn broken_chunks_are_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\n",
            "1\r1",
            "3\r\nabcd",
            "3\r\nabc\n0",
            "3\r\nabc0\r\n\r\n",
            "11111111111111111\r\n",
            "3;a\0\r\n",
            "3;a\nabc",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\n\n",
            "1 a\r\n",
        ] {
            assert!(matches!(chunked(text), Err(BodyFault::Malformed(_))), "{text:?}");
        }
        for text in ["", "3", "3\r\n", "3\r\nabc", "3\r\nabc\r\n", "0\r\n", "0\r\nX: y\r\n"] {
            assert_eq!(chunked(text), Err(BodyFault::Incomplete), "{text:?}");
        }
    }

    #[test]
    fn framing_is_bounded() {
        let limits = Limits::default();
        let line = format!("1;{}", "x".repeat(limits.chunk_line_bytes));
        assert!(matches!(chunked(&line), Err(BodyFault::Malformed(_))));
        let trailers = format!("0\r\nx: {}", "x".repeat(limits.trailer_bytes));
        assert!(matches!(chunked(&trailers), Err(BodyFault::Malformed(_))));
        let trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(limits.trailer_count + 1));
        assert!(matches!(chunked(&trailers), Err(BodyFault::Malformed(_))));
    }

    #[test]
    fn a_failed_body_stays_failed() {
        let mut body = Body::new(Framing::Chunked, &Limits::default());
        assert!(body.advance(b"zz").is_err());
        assert!(body.advance(b"0\r\n\r\n").is_err());
        assert_eq!(body.remaining(), None);
    }

    #[test]
    fn trailers_are_kept() {
        let mut body = Body::new(Framing::Chunked, &Limits::default());
        let end = body.advance(b"0\r\nX-Amz-Checksum-CRC32:  AAAA \r\n\r\n");
        assert_eq!(end.map(|(_, next)| next), Ok(Next::End));
        assert_eq!(body.trailers(), [("x-amz-checksum-crc32".to_owned(), b"AAAA".to_vec())]);
    }
}
