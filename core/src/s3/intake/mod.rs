//! A request's body on its way in: unwrapping of `aws-chunked`, signatures of chunks and trailers, digests. Pure; the shell
//! pushes bytes through it and keeps what comes out.

use crate::s3::checksum::Checksum;

/// The decoder and checker of one request's body.
#[derive(Debug)]
pub struct Intake {
    _private: (),
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
