//! The Admin API as its clients see it.

mod described;
mod snapshots;
mod tokens;
mod workers;

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::{daemon::Daemon, wire::Wire};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs all of it against `binary`.
pub fn run(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    tokens::run(binary);
    workers::run(binary);
    snapshots::run(binary);
}

/// The token that quickstart has left.
pub fn root(daemon: &Daemon) -> String {
    let token = fs::read_to_string(daemon.dir().join("admin.token")).expect("quickstart left it");
    token.trim().to_owned()
}

/// Makes a call with this token: `METHOD CALL?QUERY`, with a body or without. The status, and the answer.
pub fn call(daemon: &Daemon, token: Option<&str>, call: &str, body: Option<Value>) -> (u16, Value) {
    let (method, name) = call.split_once(' ').expect("a method and a call");
    request(daemon, token, method, &format!("/v2/{name}"), body)
}

/// Looks at a path that needs no token.
pub(crate) fn get(daemon: &Daemon, path: &str) -> (u16, Value) {
    request(daemon, None, "GET", path, None)
}

fn request(
    daemon: &Daemon,
    token: Option<&str>,
    method: &str,
    target: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        daemon.admin(),
        token.unwrap_or_default(),
        body.len()
    );
    let mut wire = Wire::connect(daemon.admin());
    wire.send(request.as_bytes());
    let response = wire.response(false, PATIENCE);
    let response = response.unwrap_or_else(|silence| panic!("{target}: {silence:?}"));
    assert!(response.whole, "{target}: the response was cut short");
    let text = String::from_utf8_lossy(&response.body);
    (response.status, serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text)))
}

/// The one node's answer to a call about nodes.
pub fn here(answer: &Value) -> Value {
    let nodes = answer["success"].as_object().expect("answers by node");
    assert_eq!(nodes.len(), 1, "{answer}");
    nodes.values().next().expect("one").clone()
}

/// The same with quickstart's token; panics unless it succeeds.
pub fn done(daemon: &Daemon, text: &str, body: Option<Value>) -> Value {
    let (status, answer) = call(daemon, Some(&root(daemon)), text, body);
    assert_eq!(status, 200, "{text}: {answer}");
    answer
}

/// The OpenAPI document, and programs that go by it, against `binary`.
pub fn described(binary: impl AsRef<Path>) {
    described::run(binary.as_ref());
}
