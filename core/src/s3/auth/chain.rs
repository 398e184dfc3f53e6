//! The chain of signatures through an `aws-chunked` body: each covers the one before, the first covers the head's.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>

use ring::{digest, hmac};

use crate::s3::auth::canonical::EMPTY_SHA256;

/// Where the chain stands.
#[derive(Clone)]
pub(crate) struct Chain {
    key: hmac::Key,
    /// Date and scope, a line each.
    context: String,
    /// The signature before, in hexadecimal.
    previous: [u8; 64],
    /// The string to sign; kept so that a chunk costs no allocation.
    text: Vec<u8>,
}

impl Chain {
    /// The chain behind a head with this signature of 32 bytes.
    pub(crate) fn new(key: hmac::Key, date: &str, scope: &str, seed: &[u8]) -> Self {
        let context = format!("{date}\n{scope}\n");
        let text = Vec::with_capacity(3 * 65 + 32 + context.len());
        Self { key, context, previous: hexadecimal(seed), text }
    }

    /// Whether `signature` is that of the next chunk, whose bytes have this SHA-256. If so, moves on.
    pub(crate) fn accept_chunk(&mut self, sha256: &digest::Digest, signature: &[u8; 32]) -> bool {
        self.chunk_text(sha256);
        self.accept(signature)
    }

    /// Whether `signature` is that of the trailer, whose canonical form has this SHA-256.
    pub(crate) fn accept_trailer(&mut self, sha256: &digest::Digest, signature: &[u8; 32]) -> bool {
        self.trailer_text(sha256);
        self.accept(signature)
    }

    /// The signature of the next chunk, in hexadecimal.
    pub(crate) fn sign_chunk(&mut self, sha256: &digest::Digest) -> [u8; 64] {
        self.chunk_text(sha256);
        self.sign()
    }

    /// The signature of the trailer, in hexadecimal.
    pub(crate) fn sign_trailer(&mut self, sha256: &digest::Digest) -> [u8; 64] {
        self.trailer_text(sha256);
        self.sign()
    }

    fn chunk_text(&mut self, sha256: &digest::Digest) {
        self.begin("AWS4-HMAC-SHA256-PAYLOAD\n");
        self.text.extend_from_slice(EMPTY_SHA256.as_bytes());
        self.text.push(b'\n');
        self.text.extend_from_slice(&hexadecimal(sha256.as_ref()));
    }

    fn trailer_text(&mut self, sha256: &digest::Digest) {
        self.begin("AWS4-HMAC-SHA256-TRAILER\n");
        self.text.extend_from_slice(&hexadecimal(sha256.as_ref()));
    }

    fn begin(&mut self, kind: &str) {
        self.text.clear();
        self.text.extend_from_slice(kind.as_bytes());
        self.text.extend_from_slice(self.context.as_bytes());
        self.text.extend_from_slice(&self.previous);
        self.text.push(b'\n');
    }

    fn accept(&mut self, signature: &[u8; 32]) -> bool {
        // In constant time.
        let holds = hmac::verify(&self.key, &self.text, signature).is_ok();
        if holds {
            self.previous = hexadecimal(signature);
        }
        holds
    }

    fn sign(&mut self) -> [u8; 64] {
        let signature = hmac::sign(&self.key, &self.text);
        self.previous = hexadecimal(signature.as_ref());
        self.previous
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("context", &self.context).finish_non_exhaustive()
    }
}

/// The lower-case hexadecimal form of 32 bytes.
fn hexadecimal(bytes: &[u8]) -> [u8; 64] {
    let mut text = [0; 64];
    hex::encode_to_slice(bytes, &mut text).expect("a SHA-256 has 32 bytes");
    text
}
