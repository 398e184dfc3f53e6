//! Clients: what they ask for, as signed requests, and what they make of the answers.

use bytes::Bytes;
use mews_core::{
    daemon::identity::KeyPair,
    http::RequestHead,
    s3::sign::{Payload, Signer},
    seed::Seed,
    time::Timestamp,
};

use crate::host::Sent;

/// The bucket that everything happens in.
pub const BUCKET: &str = "bucket";

/// Bytes of an object, known by their number: they are made again where they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// Which bytes.
    pub number: u64,
    /// How many.
    pub len: usize,
}

impl Content {
    /// The bytes. Those of an odd number compress well.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        let random = if self.number % 2 == 1 { self.len / 8 } else { self.len };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.number.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes[..random]);
        bytes
    }
}

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// PutObject.
    Put(String, Content),
    /// GetObject.
    Get(String),
    /// HeadObject.
    Head(String),
    /// DeleteObject.
    Delete(String),
    /// CopyObject: from, to.
    Copy(String, String),
    /// ListObjectsV2, all of the bucket: how many keys to a page, and where to go on.
    List(usize, Option<String>),
    /// CreateMultipartUpload.
    Create(String),
    /// UploadPart: key, upload, number, bytes.
    Part(String, String, u16, Content),
    /// CompleteMultipartUpload: key, upload, entity tags of the parts from 1 on.
    Complete(String, String, Vec<String>),
    /// AbortMultipartUpload.
    Abort(String, String),
    /// ListMultipartUploads, all of the bucket.
    Uploads,
    /// PutObject, of these one after the other.
    Join(String, Vec<Content>),
    /// CreateBucket.
    CreateBucket(String),
    /// DeleteBucket.
    DeleteBucket(String),
    /// Something in another bucket.
    In(String, Box<Ask>),
}

/// A client with a key.
pub struct Client {
    signer: Signer,
    seed: Seed,
}

impl Client {
    /// A client that signs with this key.
    pub fn new(key: &KeyPair, seed: Seed) -> Self {
        Self { signer: Signer::new(&key.id, &key.secret, "mews"), seed }
    }

    /// The request, signed at `now`.
    pub fn request(&mut self, ask: &Ask, now: Timestamp) -> Sent {
        let (method, target, body) = wording(BUCKET, ask);
        let mut headers = vec![("host".to_owned(), Bytes::from_static(b"s3.example"))];
        if let Ask::Copy(from, _) = ask {
            let source = format!("/{BUCKET}/{from}");
            headers.push(("x-amz-copy-source".to_owned(), Bytes::from(source)));
        }
        let mut head = RequestHead {
            method: method.to_owned(),
            target: target.into_bytes(),
            headers,
            body_len: Some(body.len() as u64),
            peer: "client".to_owned(),
        };
        let signed = self.seed.below(2) == 0;
        let payload = if signed { Payload::Signed(&body) } else { Payload::Unsigned };
        self.signer.sign(&mut head, payload, now).expect("our targets can be read");
        Sent { head, pieces: self.cut(body.into()), broken: false }
    }

    /// In pieces, as a network might bring it.
    fn cut(&mut self, mut body: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while !body.is_empty() {
            let most = (body.len() as u64).min(64 << 10);
            let len = 1 + usize::try_from(self.seed.below(most)).unwrap_or(0);
            pieces.push(body.split_to(len));
        }
        pieces
    }
}

fn wording(bucket: &str, ask: &Ask) -> (&'static str, String, Vec<u8>) {
    let at = |key: &str| format!("/{bucket}/{key}");
    match ask {
        Ask::Put(key, content) => ("PUT", at(key), content.bytes()),
        Ask::Get(key) => ("GET", at(key), Vec::new()),
        Ask::Head(key) => ("HEAD", at(key), Vec::new()),
        Ask::Delete(key) => ("DELETE", at(key), Vec::new()),
        Ask::Copy(_, to) => ("PUT", at(to), Vec::new()),
        Ask::List(max, token) => {
            let token = token.iter().map(|token| format!("&continuation-token={token}"));
            let token: String = token.collect();
            ("GET", format!("/{bucket}?list-type=2&max-keys={max}{token}"), Vec::new())
        }
        Ask::Create(key) => ("POST", format!("{}?uploads=", at(key)), Vec::new()),
        Ask::Part(key, upload, number, content) => {
            let target = format!("{}?partNumber={number}&uploadId={upload}", at(key));
            ("PUT", target, content.bytes())
        }
        Ask::Complete(key, upload, etags) => {
            let parts = etags.iter().zip(1..).map(|(etag, number)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
            });
            let parts: String = parts.collect();
            let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
            ("POST", format!("{}?uploadId={upload}", at(key)), document.into_bytes())
        }
        Ask::Abort(key, upload) => ("DELETE", format!("{}?uploadId={upload}", at(key)), Vec::new()),
        Ask::Uploads => ("GET", format!("/{bucket}?uploads="), Vec::new()),
        Ask::Join(key, contents) => {
            ("PUT", at(key), contents.iter().flat_map(|content| content.bytes()).collect())
        }
        Ask::CreateBucket(name) => ("PUT", format!("/{name}"), Vec::new()),
        Ask::DeleteBucket(name) => ("DELETE", format!("/{name}"), Vec::new()),
        Ask::In(name, inside) => wording(name, inside),
    }
}

/// The texts between `<tag>` and `</tag>`, in order. Good enough for documents whose texts are plain.
pub fn texts<'a>(document: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let pieces = document.split(&open).skip(1);
    pieces.filter_map(|piece| piece.split(&close).next()).collect()
}
