//! Pages of other websites, by the bucket's rules: over S3, and on the website.

use serde_json::json;

use super::{PATIENCE, ask, site};
use crate::{
    admin::done,
    daemon::{BUCKET, Daemon},
    wire::{Response, Wire},
};

const PAGE: &str = "https://app.example";

/// Runs all of it against a daemon whose bucket is a website with an `index.html`.
pub(super) fn run(daemon: &Daemon) {
    let found = done(daemon, &format!("GET GetBucketInfo?globalAlias={BUCKET}"), None);
    let update = format!("POST UpdateBucket?id={}", found["id"].as_str().expect("an id"));
    let before = preflight(daemon, "/k");
    assert_eq!(before.status, 403, "{before:?}");
    let rules = json!([{ "AllowedOrigin": [PAGE], "AllowedMethod": ["GET"] }]);
    done(daemon, &update, Some(json!({ "corsRules": rules })));
    let allowed =
        |response: &Response| response.header("access-control-allow-origin").map(str::to_owned);
    let page = Some(PAGE.to_owned());
    let origin = format!("Origin: {PAGE}\r\n");
    for (answer, status) in [
        (preflight(daemon, "/k"), 200),
        (s3(daemon, "GET", "/k", &origin), 403),
        (ask(daemon, "GET", &site(), "/index.html", &origin), 200),
        (ask(daemon, "OPTIONS", &site(), "/", &format!("{origin}{METHOD}")), 200),
    ] {
        assert_eq!((answer.status, allowed(&answer)), (status, page.clone()), "{answer:?}");
    }
    done(daemon, &update, Some(json!({ "corsRules": [] })));
    assert_eq!(preflight(daemon, "/k").status, 403);
}

const METHOD: &str = "Access-Control-Request-Method: GET\r\n";

fn preflight(daemon: &Daemon, key: &str) -> Response {
    s3(daemon, "OPTIONS", key, &format!("Origin: {PAGE}\r\n{METHOD}"))
}

/// A request without a signature.
fn s3(daemon: &Daemon, method: &str, key: &str, fields: &str) -> Response {
    let mut wire = Wire::connect(daemon.s3());
    let head = format!("{method} /{BUCKET}{key} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    wire.send(head.as_bytes());
    wire.response(false, PATIENCE).expect("a response")
}
