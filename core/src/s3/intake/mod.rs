//! A request's body on its way in: unwrapping of `aws-chunked`, signatures of chunks and trailers, digests. Pure; the shell
//! pushes bytes through it and keeps what comes out.
//!
//! Bytes are handed on before the signature or checksum that covers them has come, so that nothing needs to be held back;
//! that is safe because nothing of a body counts before [`Intake::finish`] has given its [`Summary`].

mod chunked;
mod open;
#[cfg(test)]
mod tests;

pub(crate) use open::open;

use bytes::BytesMut;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA256};

use crate::{
    checksum::{Algorithm, Checksum},
    http::body::BodyFault,
    s3::{
        digest::Hasher,
        error::{Code, S3Error},
    },
};

use chunked::Chunked;

/// The decoder and checker of one request's body.
#[derive(Debug)]
pub struct Intake {
    framing: Framing,
    sink: Sink,
    expected: Expected,
    /// Set once the body has been refused or has ended: there is no way on.
    closed: Option<BodyError>,
}

#[derive(Debug)]
enum Framing {
    Plain,
    Chunked(Box<Chunked>),
}

/// What the body must turn out to be.
#[derive(Debug, Default)]
struct Expected {
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    checksum: ExpectedChecksum,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum ExpectedChecksum {
    /// None was sent. One may be computed all the same.
    #[default]
    Nothing,
    /// The value was in a header.
    Value(Vec<u8>),
    /// The value comes in the trailer.
    Trailer,
}

/// Where plain bytes go.
struct Sink {
    md5: Md5,
    sha256: Option<Context>,
    hasher: Option<Hasher>,
    len: u64,
    declared: Option<u64>,
}

/// What is known of a body that has ended and checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Plain bytes in all.
    pub len: u64,
    /// MD5 of the plain bytes; the ETag of a simple object is its hexadecimal form.
    pub md5: [u8; 16],
    /// The additional checksum, as sent and checked, or computed because asked for.
    pub checksum: Option<Checksum>,
}

/// Why a body was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The client went away, or the body ended before its declared length.
    Incomplete,
    /// The client stalled for longer than the limit.
    TimedOut,
    /// It is larger than allowed.
    TooLarge,
    /// The framing, HTTP's or `aws-chunked`'s, is broken; the text says how.
    Malformed(&'static str),
    /// A chunk's or a trailer's signature is wrong.
    BadSignature,
    /// The plain bytes' SHA-256 is not the `x-amz-content-sha256` that was signed.
    Sha256Mismatch,
    /// The bytes' digest is not what Content-MD5 says.
    BadDigest,
    /// The additional checksum is not what its header or trailer says.
    BadChecksum,
    /// The decoded length is not `x-amz-decoded-content-length`.
    LengthMismatch,
}

impl From<BodyFault> for BodyError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Incomplete => Self::Incomplete,
            BodyFault::TimedOut => Self::TimedOut,
            BodyFault::Malformed(how) => Self::Malformed(how),
        }
    }
}

impl Intake {
    /// For a body of `len` bytes, if that is known, that nothing vouches for.
    pub fn plain(len: Option<u64>) -> Self {
        Self {
            framing: Framing::Plain,
            sink: Sink::new(len),
            expected: Expected::default(),
            closed: None,
        }
    }

    /// Asks for an additional checksum to be computed where the client sends none. Before the first [`push`](Self::push).
    /// Fails if the client sends one of another algorithm.
    pub fn wants(&mut self, algorithm: Algorithm) -> Result<(), S3Error> {
        match &self.sink.hasher {
            Some(hasher) if hasher.algorithm() == algorithm => Ok(()),
            Some(hasher) if self.expected.checksum != ExpectedChecksum::Nothing => {
                Err(S3Error::new(
                    Code::InvalidRequest,
                    format!(
                        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                        algorithm.name().to_ascii_lowercase(),
                        hasher.algorithm().name().to_ascii_lowercase()
                    ),
                ))
            }
            Some(_) | None => {
                self.sink.hasher = Some(Hasher::new(algorithm));
                Ok(())
            }
        }
    }

    /// The algorithm of the additional checksum that the client sends, or that is computed.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.sink.hasher.as_ref().map(Hasher::algorithm)
    }

    /// How many plain bytes are still to come, if the client has said how many there are.
    pub fn remaining(&self) -> Option<u64> {
        self.sink.declared.map(|declared| declared.saturating_sub(self.sink.len))
    }

    /// The next raw bytes, as HTTP's framing gave them. Plain bytes are appended to `out`. After an error there is no way
    /// on: it is repeated.
    pub fn push(&mut self, raw: &[u8], out: &mut BytesMut) -> Result<(), BodyError> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let result = match &mut self.framing {
            Framing::Plain => self.sink.take(raw, out),
            Framing::Chunked(chunked) => chunked.push(raw, &mut self.sink, out),
        };
        if let Err(error) = &result {
            self.closed = Some(error.clone());
        }
        result
    }

    /// The body has ended; `trailers` are those of HTTP's own framing, names in lower case. Only now is it known whether
    /// what came is what was sent.
    pub fn finish(&mut self, trailers: &[(String, Vec<u8>)]) -> Result<Summary, BodyError> {
        let ended = BodyError::Malformed("used after its end");
        if let Some(error) = self.closed.replace(ended) {
            self.closed = Some(error.clone());
            return Err(error);
        }
        let sink = std::mem::replace(&mut self.sink, Sink::new(None));
        let result = self.check(sink, trailers);
        if let Err(error) = &result {
            self.closed = Some(error.clone());
        }
        result
    }

    fn check(&mut self, sink: Sink, trailers: &[(String, Vec<u8>)]) -> Result<Summary, BodyError> {
        let algorithm = sink.hasher.as_ref().map(Hasher::algorithm);
        let mut trailer = None;
        match &mut self.framing {
            Framing::Plain => {
                if sink.declared.is_some_and(|declared| declared != sink.len) {
                    return Err(BodyError::Incomplete);
                }
                if let Some(algorithm) = algorithm {
                    let mut fields = trailers.iter().filter(|(name, _)| name == algorithm.header());
                    trailer = fields.next().map(|(_, value)| value.clone());
                }
            }
            Framing::Chunked(chunked) => {
                chunked.finish()?;
                if sink.declared.is_some_and(|declared| declared != sink.len) {
                    return Err(BodyError::LengthMismatch);
                }
                trailer = chunked.take_checksum();
            }
        }
        let md5: [u8; 16] = sink.md5.finalize().into();
        if self.expected.md5.is_some_and(|expected| expected != md5) {
            return Err(BodyError::BadDigest);
        }
        if let (Some(expected), Some(context)) = (self.expected.sha256, sink.sha256)
            && context.finish().as_ref() != expected
        {
            return Err(BodyError::Sha256Mismatch);
        }
        let checksum = sink.hasher.map(Hasher::finish);
        self.check_checksum(checksum.as_ref(), trailer)?;
        Ok(Summary { len: sink.len, md5, checksum })
    }

    fn check_checksum(
        &self,
        checksum: Option<&Checksum>,
        trailer: Option<Vec<u8>>,
    ) -> Result<(), BodyError> {
        let decoded;
        let expected = match (&self.expected.checksum, checksum) {
            (ExpectedChecksum::Nothing, _) | (_, None) => return Ok(()),
            (ExpectedChecksum::Value(value), Some(_)) => value,
            (ExpectedChecksum::Trailer, Some(checksum)) => {
                let text =
                    trailer.ok_or(BodyError::Malformed("the announced trailer is missing"))?;
                decoded = checksum.algorithm.decode(&text).ok_or(BodyError::Malformed(
                    "the checksum in the trailer is not one in Base64",
                ))?;
                &decoded
            }
        };
        match checksum {
            Some(checksum) if checksum.value != *expected => Err(BodyError::BadChecksum),
            Some(_) | None => Ok(()),
        }
    }
}

impl Sink {
    fn new(declared: Option<u64>) -> Self {
        Self { md5: Md5::new(), sha256: None, hasher: None, len: 0, declared }
    }

    /// Plain bytes: counted, hashed, handed on.
    fn take(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), BodyError> {
        let len = self.len.checked_add(bytes.len() as u64).ok_or(BodyError::TooLarge)?;
        if self.declared.is_some_and(|declared| len > declared) {
            return Err(BodyError::LengthMismatch);
        }
        self.len = len;
        self.md5.update(bytes);
        if let Some(context) = &mut self.sha256 {
            context.update(bytes);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        out.extend_from_slice(bytes);
        Ok(())
    }

    fn want_sha256(&mut self) {
        self.sha256 = Some(Context::new(&SHA256));
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("len", &self.len)
            .field("declared", &self.declared)
            .field("hasher", &self.hasher)
            .finish_non_exhaustive()
    }
}
