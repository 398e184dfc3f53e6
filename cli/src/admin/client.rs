//! A client of the Admin API: one request on one connection.

use std::{
    fmt::Display,
    io,
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use http_types::{Method, Request, Url};
use mews_core::daemon::plan;
use serde_json::Value;
use smol::{Async, Timer, future::FutureExt, io::AsyncReadExt};

use super::Failure;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// For an answer. A plan for a hundred nodes takes some seconds, a snapshot of a large database minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// The longest answer: 10,000 errors of blocks have some 3 MB.
const ANSWER_MAX: u64 = 64 << 20;

/// Where the Admin API is, and the way in.
#[derive(Debug)]
pub struct Client {
    /// `http://HOST:PORT/`.
    url: Url,
    /// The file that says so, if it was no option and no variable.
    said_by: Option<PathBuf>,
    token: String,
    patience: Duration,
}

/// How the API is to be found.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `--admin`.
    pub url: Option<String>,
    /// `--token`.
    pub token: Option<String>,
    /// `--dir`.
    pub dir: Option<String>,
}

/// Where quickstart keeps its store unless it is told otherwise.
const DIR: &str = "./mews-data";

/// Where quickstart's Admin API is unless it is told otherwise.
const URL: &str = "http://127.0.0.1:3903";

impl Client {
    /// The client that options and environment name.
    pub fn new(target: Target) -> Result<Self, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let token = target.token.or_else(|| variable("MEWS_ADMIN_TOKEN"));
        let dir = Path::new(target.dir.as_deref().unwrap_or(DIR));
        let given = target.url.or_else(|| variable("MEWS_ADMIN_URL"));
        // A token that was given goes to no address that merely lies in the current folder.
        let looks = given.is_none() && (token.is_none() || target.dir.is_some());
        let left = if looks { left_in(dir)? } else { None };
        let (given, said_by) = match (given, left) {
            (Some(given), _) => (given, None),
            (None, Some((left, path))) => (left, Some(path)),
            (None, None) => (URL.to_owned(), None),
        };
        let url = Url::parse(&given).ok().filter(|url| {
            let bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
            url.scheme() == "http" && url.host().is_some() && bare
        });
        let url = url.ok_or_else(|| match &said_by {
            None => Failure::Usage(format!("--admin {given}: it must be http://HOST:PORT")),
            Some(path) => Failure::Failed(format!(
                "{} must say http://HOST:PORT, as the daemon writes it. Give --admin URL or MEWS_ADMIN_URL",
                path.display()
            )),
        })?;
        let path = dir.join(plan::ADMIN_TOKEN);
        let token = match token {
            Some(token) => token,
            None => std::fs::read_to_string(&path).map_err(|error| {
                Failure::Failed(format!(
                    "cannot read the admin token from {}: {error}. Give --dir, --token or MEWS_ADMIN_TOKEN",
                    path.display()
                ))
            })?,
        };
        let token = token.trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage("the admin token is empty, or no token at all".to_owned()));
        }
        Ok(Self { url, said_by, token, patience: PATIENCE })
    }

    /// For somebody who waits only so long.
    pub fn hasty(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A call that only looks.
    pub fn get(&self, call: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.send(Method::Get, call, query, None)
    }

    /// A call with a body.
    pub fn post(&self, call: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::Post, call, &[], Some(body))
    }

    /// A call with a body, about something that the query names.
    pub fn post_at(
        &self,
        call: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, Failure> {
        self.send(Method::Post, call, query, Some(body))
    }

    /// A call without a body, about something that the query names.
    pub fn act(&self, call: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.send(Method::Post, call, query, None)
    }

    /// Sends a request and gives the answer's document.
    pub fn send(
        &self,
        method: Method,
        call: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let (status, body) = smol::block_on(self.exchange(method, call, query, body))?;
        let document = serde_json::from_slice(&body);
        match document {
            _ if status < 300 && body.is_empty() => Ok(Value::Null),
            Ok(document) if status < 300 => Ok(document),
            Ok(document) => Err(self.refused(status, &document)),
            Err(_) => Err(self.failed(format!(
                "the answer ({status}) is not JSON. Is this the address of the Admin API, and not of S3?"
            ))),
        }
    }

    /// What the server says, and what to do where it cannot know that.
    fn refused(&self, status: u16, document: &Value) -> Failure {
        let message = document["message"].as_str().unwrap_or("no message");
        let hint = match status {
            401 | 403 => {
                ". The token comes from --token, MEWS_ADMIN_TOKEN, or --dir DIR with quickstart's folder"
            }
            _ => "",
        };
        Failure::Failed(format!("{message} ({status}){hint}"))
    }

    fn failed(&self, reason: impl Display) -> Failure {
        let at = self.url.as_str().trim_end_matches('/');
        let said_by = self.said_by.as_ref();
        let said = said_by.map(|path| format!(" (so says {})", path.display())).unwrap_or_default();
        Failure::Failed(format!("the Admin API at {at}{said}: {reason}"))
    }

    async fn exchange(
        &self,
        method: Method,
        call: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let mut url = self.url.clone();
        url.set_path(&format!("/v2/{call}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::new(method, url);
        request.insert_header("authorization", format!("Bearer {}", self.token));
        request.insert_header("connection", "close");
        if let Some(body) = body {
            request.set_body(body.to_string());
            request.insert_header("content-type", "application/json");
        }
        let stream = self.connect().await?;
        let answer = async { answer(stream, request).await.map_err(|error| self.failed(error)) };
        let late = async {
            Timer::after(self.patience).await;
            Err(self.failed("no answer in time"))
        };
        answer.or(late).await
    }

    async fn connect(&self) -> Result<Async<TcpStream>, Failure> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let at = (host, self.url.port_or_known_default().unwrap_or(80));
        let addresses = smol::unblock(move || at.to_socket_addrs()).await;
        let addresses = addresses.map_err(|error| self.failed(error))?;
        let mut tried = Err(self.failed("the name has no address"));
        for address in addresses {
            let connected = async { Async::<TcpStream>::connect(address).await };
            let late = async {
                Timer::after(CONNECT.min(self.patience)).await;
                Err(io::Error::from(io::ErrorKind::TimedOut))
            };
            match connected.or(late).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    tried = Err(self.failed(format!(
                        "{error}. Does the daemon run? If its Admin API is elsewhere, give --admin URL or MEWS_ADMIN_URL"
                    )));
                }
            }
        }
        tried
    }
}

/// The address that the daemon of this directory has left there, and the file; none of a daemon that never did.
fn left_in(dir: &Path) -> Result<Option<(String, PathBuf)>, Failure> {
    let path = dir.join(plan::META).join(plan::ADMIN_URL);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((text.trim().to_owned(), path))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Failed(format!(
            "cannot read where the Admin API is from {}: {error}. Give --admin URL or MEWS_ADMIN_URL",
            path.display()
        ))),
    }
}

/// Sends a request, and gives the status and the whole body.
async fn answer(stream: Async<TcpStream>, request: Request) -> http_types::Result<(u16, Vec<u8>)> {
    let broken = |reason: &'static str| http_types::Error::from_str(500, reason);
    let mut response = async_h1::connect(stream, request).await?;
    let status = u16::from(response.status());
    let declared = response.len();
    let mut body = Vec::new();
    response.take_body().take(ANSWER_MAX).read_to_end(&mut body).await?;
    // The codec takes the end of the connection for the end of the body.
    if declared.is_some_and(|len| len != body.len()) {
        return Err(broken("the answer was cut off"));
    }
    Ok((status, body))
}
