//! Requests with a signature, by presigned targets: they fit into raw bytes wherever a target does. Signed here and not by
//! the core, so that the two check each other.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mews_core::{s3::date, time::Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

use crate::{
    daemon::{ACCESS_KEY, BUCKET, Daemon, SECRET_KEY},
    wire::{Response, Wire},
};

const PATIENCE: Duration = Duration::from_secs(20);
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &VALUE.remove(b'/');

/// Somebody who signs.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The access key.
    pub id: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// The bucket that is meant.
    pub bucket: &'a str,
}

/// The key and the bucket that every daemon under test has.
const FIRST: Access<'static> = Access { id: ACCESS_KEY, secret: SECRET_KEY, bucket: BUCKET };

/// The target of a request for `key` in the bucket, good for a minute. `key` may be followed by `?` and a query, already
/// encoded. The request must have `headers` (names in lower case, in order, none before `host`), which are signed as well.
pub fn presigned(daemon: &Daemon, method: &str, key: &str, headers: &[(&str, &str)]) -> String {
    FIRST.presigned(daemon, method, key, headers)
}

impl Access<'_> {
    /// As [`presigned`], signed by this one.
    pub fn presigned(
        &self,
        daemon: &Daemon,
        method: &str,
        key: &str,
        headers: &[(&str, &str)],
    ) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
        let now =
            date::amz(Timestamp(u64::try_from(since.as_millis()).expect("before the year 9999")));
        let (key, query) = key.split_once('?').unwrap_or((key, ""));
        let path = format!("/{}/{}", self.bucket, utf8_percent_encode(key, PATH));
        let scope = format!("{}/mews/s3/aws4_request", &now[..8]);
        let credential = format!("{}/{scope}", self.id);
        let names: Vec<&str> =
            ["host"].into_iter().chain(headers.iter().map(|(n, _)| *n)).collect();
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let mut pairs = vec![
            "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
            format!("X-Amz-Credential={}", utf8_percent_encode(&credential, VALUE)),
            format!("X-Amz-Date={now}"),
            "X-Amz-Expires=60".to_owned(),
            format!("X-Amz-SignedHeaders={}", names.join("%3B")),
        ];
        // In the canonical form, hexadecimal digits are upper case.
        pairs.extend(query.split('&').filter(|pair| !pair.is_empty()).map(upper_escapes));
        pairs.sort();
        let query = pairs.join("&");
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{}\n{lines}\n{}\nUNSIGNED-PAYLOAD",
            daemon.s3(),
            names.join(";")
        );
        let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
        let to_sign = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", hex::encode(hash));
        let secret = format!("AWS4{}", self.secret).into_bytes();
        let parts = [&now[..8], "mews", "s3", "aws4_request", &to_sign];
        let signature = parts.iter().fold(secret, |key, part| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
        });
        format!("{path}?{query}&X-Amz-Signature={}", hex::encode(signature))
    }

    /// As [`send`], signed by this one.
    pub fn send(&self, daemon: &Daemon, method: &str, key: &str, body: &[u8]) -> Response {
        let (target, length) = (self.presigned(daemon, method, key, &[]), body.len());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
            daemon.s3()
        );
        let mut wire = Wire::connect(daemon.s3());
        wire.send(&[head.as_bytes(), body].concat());
        let response = wire.response(method == "HEAD", PATIENCE);
        let response = response.unwrap_or_else(|silence| panic!("{method} {key}: {silence:?}"));
        assert!(response.whole, "{method} {key}: the response was cut short");
        response
    }
}

fn upper_escapes(pair: &str) -> String {
    let mut escape = -1;
    let upper = |letter: char| {
        escape = if letter == '%' { 2 } else { escape - 1 };
        if escape >= 0 { letter.to_ascii_uppercase() } else { letter }
    };
    pair.chars().map(upper).collect()
}

/// Stores an object.
pub fn put(daemon: &Daemon, key: &str, body: &[u8]) -> Response {
    send(daemon, "PUT", key, body)
}

/// Reads an object.
pub fn get(daemon: &Daemon, key: &str) -> Response {
    send(daemon, "GET", key, b"")
}

/// Sends one signed request on a connection of its own; panics if no whole response comes.
pub fn send(daemon: &Daemon, method: &str, key: &str, body: &[u8]) -> Response {
    FIRST.send(daemon, method, key, body)
}

/// One connection for many signed requests.
pub struct Session<'a> {
    daemon: &'a Daemon,
    wire: Wire,
}

impl<'a> Session<'a> {
    /// A connection to `daemon`, if it listens.
    pub fn open(daemon: &'a Daemon) -> Option<Self> {
        Wire::try_connect(daemon.s3()).map(|wire| Self { daemon, wire })
    }

    /// Sends a request and waits so long for its answer; nothing, if that does not come whole.
    pub fn ask(
        &mut self,
        method: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        patience: Duration,
    ) -> Option<Response> {
        let target = presigned(self.daemon, method, key, headers);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.daemon.s3());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.wire.send(&[head.as_bytes(), body].concat());
        let response = self.wire.response(method == "HEAD", patience);
        response.ok().filter(|response| response.whole)
    }
}
