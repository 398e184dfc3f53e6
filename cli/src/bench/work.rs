//! What is measured, and the requests it consists of.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use mews_core::{
    http::RequestHead,
    s3::sign::{Payload, Signer},
    time::Timestamp,
};

use crate::bench::{Args, Failure};

/// The largest object that one PUT can make.
pub const SIZE_MAX: u64 = 5 << 30;

/// The keys on a page of a listing.
pub const PAGE: u64 = 1000;

/// The kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Every object a new one.
    Put,
    /// A random object of those there.
    Get,
    /// Its head only.
    Head,
    /// The first page of a listing.
    List,
    /// Every object once.
    Delete,
    /// Gets, with a share of puts among them.
    Mixed,
}

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Mixed => "mixed",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete, Self::Mixed];
        all.into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("{text} is not one of put, get, head, list, delete, mixed"))
    }
}

/// One row to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What is done.
    pub kind: Kind,
    /// How large the objects are.
    pub size: u64,
    /// How many connections do it.
    pub connections: usize,
    /// How many threads carry these.
    pub threads: usize,
    /// How long.
    pub duration: Duration,
    /// How often at most.
    pub count: Option<u64>,
    /// How many objects are there beforehand.
    pub objects: u64,
    /// The share of puts, in percent.
    pub puts: u64,
}

impl Work {
    /// The row of this kind, with the rest from the arguments.
    pub fn new(kind: Kind, size: u64, connections: usize, args: &Args) -> Self {
        let threads = args.threads.unwrap_or(if connections >= 8 { 2 } else { 1 });
        let objects = match kind {
            Kind::Put => 0,
            Kind::List => args.objects.unwrap_or(PAGE),
            Kind::Delete => args.objects.or(args.count).unwrap_or(10_000),
            // A quarter of a GiB, within limits: enough to not be one object, little enough to be there soon.
            Kind::Get | Kind::Head | Kind::Mixed => {
                args.objects.unwrap_or(((256 << 20) / size.max(1)).clamp(8, 1000))
            }
        };
        // With a number to do, the time is only what no benchmark should take.
        let duration =
            if args.count.is_some() { Duration::from_secs(24 * 3600) } else { args.duration };
        let puts = if kind == Kind::Mixed { args.puts } else { 0 };
        Self { kind, size, connections, threads, duration, count: args.count, objects, puts }
    }

    /// What the row is called in a table.
    pub fn title(&self) -> String {
        let size = match self.size {
            size if size >= 1 << 20 && size % (1 << 20) == 0 => format!("{} MiB", size >> 20),
            size if size >= 1 << 10 && size % (1 << 10) == 0 => format!("{} KiB", size >> 10),
            size => format!("{size} B"),
        };
        match self.kind {
            Kind::Put => format!("PUT {size}"),
            Kind::Get => format!("GET {size}"),
            Kind::Head => "HEAD".to_owned(),
            Kind::List => format!("LIST {} of {}", self.objects.min(PAGE), self.objects),
            Kind::Delete => "DELETE".to_owned(),
            Kind::Mixed => format!("{} % PUT, GET {size}", self.puts),
        }
    }
}

/// Builds the requests of one connection.
pub struct Builder {
    host: Bytes,
    bucket: String,
    signer: Signer,
    /// Whether payloads are signed.
    signed: bool,
    out: Vec<u8>,
}

/// One request, before it is signed.
pub struct Ask<'a> {
    /// The method.
    pub method: &'a str,
    /// What follows the bucket in the target: key, or query with its `?`.
    pub rest: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// A further header.
    pub header: Option<(&'a str, String)>,
}

impl Builder {
    /// For requests to this bucket, signed by this key.
    pub fn new(host: &str, bucket: &str, signer: Signer, signed: bool) -> Self {
        Self {
            host: Bytes::copy_from_slice(host.as_bytes()),
            bucket: bucket.to_owned(),
            signer,
            signed,
            out: Vec::with_capacity(1024),
        }
    }

    /// The head of the request, signed and as it goes over the wire.
    pub fn head(&mut self, ask: &Ask<'_>, now: Timestamp) -> Result<&[u8], Failure> {
        let separator = if ask.rest.is_empty() || ask.rest.starts_with('?') { "" } else { "/" };
        let mut head = RequestHead {
            method: ask.method.to_owned(),
            target: format!("/{}{separator}{}", self.bucket, ask.rest).into_bytes(),
            headers: Vec::with_capacity(6),
            body_len: Some(ask.body.len() as u64),
            peer: String::new(),
        };
        head.headers.push(("host".to_owned(), self.host.clone()));
        if let Some((name, value)) = &ask.header {
            head.headers.push(((*name).to_owned(), Bytes::from(value.clone())));
        }
        let payload = if self.signed { Payload::Signed(ask.body) } else { Payload::Unsigned };
        self.signer.sign(&mut head, payload, now).map_err(Failure::failed)?;

        self.out.clear();
        for part in [ask.method.as_bytes(), b" ", &head.target, b" HTTP/1.1\r\n"] {
            self.out.extend_from_slice(part);
        }
        for (name, value) in &head.headers {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                self.out.extend_from_slice(part);
            }
        }
        if !ask.body.is_empty() || ask.method == "PUT" || ask.method == "POST" {
            self.out
                .extend_from_slice(format!("content-length: {}\r\n", ask.body.len()).as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(&self.out)
    }
}

/// Bytes that neither compress nor repeat: a payload of its own for each connection.
pub struct Fill {
    bytes: Vec<u8>,
}

/// A mark stands at every so many bytes, so that no two objects share a block however small blocks are.
const MARK_EVERY: usize = 64 << 10;

impl Fill {
    /// `size` bytes.
    pub fn new(size: u64, seed: u64) -> Result<Self, Failure> {
        let size = usize::try_from(size).map_err(Failure::failed)?;
        let mut bytes = vec![0; size];
        let mut random = Random::new(seed);
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes()[..word.len()]);
        }
        Ok(Self { bytes })
    }

    /// The payload, made different from all before by `mark`.
    pub fn marked(&mut self, mark: u64) -> &[u8] {
        for block in self.bytes.chunks_mut(MARK_EVERY) {
            let len = block.len().min(8);
            block[..len].copy_from_slice(&mark.to_le_bytes()[..len]);
        }
        &self.bytes
    }
}

/// SplitMix64: cheap, and random enough to choose objects and fill payloads.
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
