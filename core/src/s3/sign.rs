//! The client's side of Signature V4: for tests, the load generator and other tools that talk S3.

use std::time::Duration;

use bytes::Bytes;
use ring::{
    digest::{SHA256, digest},
    hmac,
};

use crate::{
    checksum::{Algorithm, Checksum},
    http::RequestHead,
    s3::{
        auth::{
            Chain,
            canonical::{self, ALGORITHM, CredentialScope, Parts},
        },
        date,
        error::S3Error,
        request::Query,
    },
    time::Timestamp,
};

/// Signs requests with one access key, for one region.
#[derive(Clone)]
pub struct Signer {
    key_id: String,
    secret: String,
    region: String,
    /// The key of a day is made of four HMACs; a client that sends thousands of requests a second keeps it.
    today: Option<(String, hmac::Key)>,
}

/// How the body is to be vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Not at all.
    Unsigned,
    /// These are its bytes; their SHA-256 is signed.
    Signed(&'a [u8]),
    /// In signed chunks; a checksum as trailer if one is named.
    Chunked(Option<Algorithm>),
    /// In unsigned chunks, with a checksum as trailer.
    UnsignedChunked(Algorithm),
}

/// Puts a body into `aws-chunked` framing, with the signatures that follow from the head's.
#[derive(Debug)]
pub struct Framer {
    chain: Option<Chain>,
    trailer: Option<Algorithm>,
}

impl Signer {
    /// A signer with this key.
    pub fn new(
        key_id: impl Into<String>,
        secret: impl Into<String>,
        region: impl Into<String>,
    ) -> Self {
        let (key_id, secret, region) = (key_id.into(), secret.into(), region.into());
        Self { key_id, secret, region, today: None }
    }

    /// The same key and region with another secret.
    #[must_use]
    pub fn with_secret(self, secret: impl Into<String>) -> Self {
        Self { secret: secret.into(), today: None, ..self }
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256`, for trailers `x-amz-trailer`, and `authorization` to the head, which must
    /// have its `host`. Everything that matters and is there by now is signed. Gives what a chunked body must go through.
    /// Fails if the target's query cannot be read.
    pub fn sign(
        &mut self,
        head: &mut RequestHead,
        payload: Payload<'_>,
        now: Timestamp,
    ) -> Result<Framer, S3Error> {
        let stamp = date::amz(now);
        let (value, trailer) = match payload {
            Payload::Unsigned => ("UNSIGNED-PAYLOAD".to_owned(), None),
            Payload::Signed(bytes) => (hex::encode(digest(&SHA256, bytes)), None),
            Payload::Chunked(None) => ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(), None),
            Payload::Chunked(trailer) => {
                ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(), trailer)
            }
            Payload::UnsignedChunked(trailer) => {
                ("STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(), Some(trailer))
            }
        };
        if let Some(trailer) = trailer {
            let name = Bytes::from_static(trailer.header().as_bytes());
            head.headers.push(("x-amz-trailer".to_owned(), name));
        }
        head.headers.push(("x-amz-date".to_owned(), Bytes::from(stamp.clone())));
        head.headers.push(("x-amz-content-sha256".to_owned(), Bytes::from(value.clone())));

        let (path, query) = head.path_and_query();
        let query = Query::parse(query.unwrap_or_default())?;
        let mut signed: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
        signed.retain(|name| {
            name.starts_with("x-amz-")
                || matches!(*name, "host" | "content-md5" | "content-type" | "range")
        });
        signed.sort_unstable();
        signed.dedup();
        let parts = Parts {
            method: &head.method,
            path,
            query: &query,
            presigned: false,
            headers: &head.headers,
            signed: &signed,
            payload: &value,
        };
        let scope = self.scope(&stamp);
        let key = self.key(&scope);
        let text = canonical::string_to_sign(&stamp, &scope, &parts.canonical());
        let seed = hmac::sign(&key, text.as_bytes());
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
            self.key_id,
            signed.join(";"),
            hex::encode(seed)
        );
        head.headers.push(("authorization".to_owned(), Bytes::from(authorization)));
        let chain = matches!(payload, Payload::Chunked(_))
            .then(|| Chain::new(key, &stamp, &scope.to_string(), seed.as_ref()));
        Ok(Framer { chain, trailer })
    }

    /// The raw target of a presigned URL for `method` on `target` (path, and query if there is a `?`) at `host`, valid for
    /// `expires` from `now` on. Fails if the target's query cannot be read.
    pub fn presign(
        &mut self,
        method: &str,
        host: &str,
        target: &str,
        expires: Duration,
        now: Timestamp,
    ) -> Result<String, S3Error> {
        let stamp = date::amz(now);
        let scope = self.scope(&stamp);
        let mut credential = String::new();
        canonical::encode(&mut credential, format!("{}/{scope}", self.key_id).as_bytes(), false);
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!(
            "{target}{separator}X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={stamp}\
             &X-Amz-Expires={}&X-Amz-SignedHeaders=host",
            expires.as_secs()
        );
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = Query::parse(query.as_bytes())?;
        let headers = [("host".to_owned(), Bytes::copy_from_slice(host.as_bytes()))];
        let parts = Parts {
            method,
            path: path.as_bytes(),
            query: &query,
            presigned: true,
            headers: &headers,
            signed: &["host"],
            payload: "UNSIGNED-PAYLOAD",
        };
        let text = canonical::string_to_sign(&stamp, &scope, &parts.canonical());
        let signature = hmac::sign(&self.key(&scope), text.as_bytes());
        Ok(format!("{target}&X-Amz-Signature={}", hex::encode(signature)))
    }

    fn scope(&self, stamp: &str) -> CredentialScope {
        CredentialScope {
            day: stamp[..8].to_owned(),
            region: self.region.clone(),
            service: "s3".to_owned(),
        }
    }

    fn key(&mut self, scope: &CredentialScope) -> hmac::Key {
        if let Some((day, key)) = &self.today
            && *day == scope.day
        {
            return key.clone();
        }
        let key = canonical::signing_key(&self.secret, scope);
        self.today = Some((scope.day.clone(), key.clone()));
        key
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Framer {
    /// The whole of `body`, framed in chunks of `chunk` bytes. If the head was not signed for chunks, the body as it is.
    pub fn frame(mut self, body: &[u8], chunk: usize) -> Vec<u8> {
        assert!(chunk > 0, "a chunk of no bytes ends the body");
        if self.chain.is_none() && self.trailer.is_none() {
            return body.to_vec();
        }
        let mut out = Vec::with_capacity(body.len() + (body.len() / chunk + 2) * 100);
        for piece in body.chunks(chunk) {
            self.head(&mut out, piece);
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        self.head(&mut out, b"");
        if let Some(algorithm) = self.trailer {
            let checksum: Checksum = crate::s3::digest::checksum(algorithm, body);
            let line = format!("{}:{}", algorithm.header(), checksum.text(None));
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
            if let Some(chain) = &mut self.chain {
                let signature =
                    chain.sign_trailer(&digest(&SHA256, format!("{line}\n").as_bytes()));
                out.extend_from_slice(b"x-amz-trailer-signature:");
                out.extend_from_slice(&signature);
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    fn head(&mut self, out: &mut Vec<u8>, piece: &[u8]) {
        out.extend_from_slice(format!("{:x}", piece.len()).as_bytes());
        if let Some(chain) = &mut self.chain {
            out.extend_from_slice(b";chunk-signature=");
            out.extend_from_slice(&chain.sign_chunk(&digest(&SHA256, piece)));
        }
        out.extend_from_slice(b"\r\n");
    }
}
