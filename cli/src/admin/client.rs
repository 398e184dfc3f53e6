//! A client of the Admin API: one request on one connection.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use super::Failure;

/// Between two pieces of an answer. A plan for a hundred nodes takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer: 10,000 errors of blocks have some 3 MB.
const ANSWER_MAX: u64 = 64 << 20;

/// The most header fields of an answer.
const HEADERS_MAX: usize = 64;

/// Where the Admin API is, and the way in.
#[derive(Debug)]
pub struct Client {
    /// `HOST:PORT`.
    address: String,
    token: String,
}

/// How the API is to be found.
#[derive(Debug, Default)]
pub struct Target {
    /// `--admin`.
    pub url: Option<String>,
    /// `--token`.
    pub token: Option<String>,
    /// `--dir`.
    pub dir: String,
}

impl Client {
    /// The client that options and environment name.
    pub fn new(target: Target) -> Result<Self, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let url = target.url.or_else(|| variable("MEWS_ADMIN_URL"));
        let url = url.unwrap_or_else(|| "http://127.0.0.1:3903".to_owned());
        let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address = address
            .filter(|rest| !rest.contains('/'))
            .ok_or_else(|| Failure::Usage(format!("--admin {url}: it must be http://HOST:PORT")))?;
        let path = Path::new(&target.dir).join("admin.token");
        let token = match target.token.or_else(|| variable("MEWS_ADMIN_TOKEN")) {
            Some(token) => token,
            None => std::fs::read_to_string(&path).map_err(|error| {
                Failure::Failed(format!(
                    "cannot read the admin token from {}: {error}. Give --dir, --token or MEWS_ADMIN_TOKEN",
                    path.display()
                ))
            })?,
        };
        Ok(Self { address: address.to_owned(), token: token.trim().to_owned() })
    }

    /// A call that only looks.
    pub fn get(&self, call: &str) -> Result<Value, Failure> {
        self.send("GET", &format!("/v2/{call}"), None)
    }

    /// A call with a body.
    pub fn post(&self, call: &str, body: &Value) -> Result<Value, Failure> {
        self.send("POST", &format!("/v2/{call}"), Some(body))
    }

    /// Sends a request and gives the answer's document.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, body) = self.exchange(method, path, body).map_err(|error| {
            let reason = if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
                // The system's words for it are about sockets.
                "no answer in time".to_owned()
            } else {
                error.to_string()
            };
            Failure::Failed(format!("the Admin API at http://{}: {reason}", self.address))
        })?;
        let document: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status < 300 {
            return Ok(document);
        }
        let message = document["message"].as_str().unwrap_or("no message");
        Err(Failure::Failed(format!("{message} ({status})")))
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let broken = |reason: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
        let addresses = self.address.to_socket_addrs()?;
        let mut tried = Err(broken("the name has no address"));
        for address in addresses {
            tried = TcpStream::connect_timeout(&address, Duration::from_secs(10));
            if tried.is_ok() {
                break;
            }
        }
        let mut stream = tried?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        let _infallible = write!(
            head,
            "authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(&answer).map_err(|error| broken(&error.to_string()))?;
        let httparse::Status::Complete(start) = parsed else {
            return Err(broken("the answer was cut off"));
        };
        let declared: Option<usize> = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("content-length"))
            .and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
        let status = response.code.ok_or_else(|| broken("the answer has no status"))?;
        let body = answer.split_off(start);
        match declared {
            Some(len) if body.len() == len => Ok((status, body)),
            Some(_) | None => Err(broken("the answer was cut off")),
        }
    }
}
