//! Buckets as websites, as a browser sees them.

mod cors;
mod rules;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    admin::{self, done},
    daemon::{BUCKET, Daemon},
    signed,
    wire::{Response, Wire},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs all of it against `binary`.
pub fn run(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    let mut daemon = Daemon::start(binary);
    nothing_is_shown_that_is_not_allowed(&daemon);
    pages_and_folders_are_shown(&daemon);
    many_pages_come_by_one_connection(&daemon);
    errors_have_a_page(&daemon);
    a_large_page_is_whole_and_comes_in_parts(&daemon);
    domains_are_known(&daemon);
    what_is_shown_is_counted(&daemon);
    rules::run(&daemon);
    cors::run(&daemon);
    a_file_says_where_websites_are(&mut daemon);
    a_node_without_websites_has_none(&mut daemon);
}

/// The host of the website in the bucket that every daemon under test has.
fn site() -> String {
    format!("{BUCKET}.web.localhost")
}

/// Asks a host for a page. `fields`: further fields of the head, each with its line's end.
pub(crate) fn ask(daemon: &Daemon, method: &str, host: &str, path: &str, fields: &str) -> Response {
    let mut wire = Wire::connect(web(daemon));
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    wire.send(head.as_bytes());
    wire.response(method == "HEAD", PATIENCE).expect("a response")
}

fn web(daemon: &Daemon) -> SocketAddr {
    daemon.web().unwrap_or_else(|| panic!("no websites:\n{}", daemon.output()))
}

fn get(daemon: &Daemon, path: &str) -> Response {
    ask(daemon, "GET", &site(), path, "")
}

/// Changes how the bucket is served.
fn allow(daemon: &Daemon, website: Value) {
    let found = done(daemon, &format!("GET GetBucketInfo?globalAlias={BUCKET}"), None);
    let id = found["id"].as_str().expect("an id");
    done(daemon, &format!("POST UpdateBucket?id={id}"), Some(json!({ "websiteAccess": website })));
}

fn put(daemon: &Daemon, key: &str, body: &[u8]) {
    assert_eq!(signed::put(daemon, key, body).status, 200);
}

fn nothing_is_shown_that_is_not_allowed(daemon: &Daemon) {
    put(daemon, "index.html", b"<h1>home</h1>");
    assert_eq!(get(daemon, "/").status, 404);
    allow(
        daemon,
        json!({ "enabled": true, "indexDocument": "index.html", "errorDocument": "404.html" }),
    );
    assert_eq!(get(daemon, "/").body, b"<h1>home</h1>");
    for host in ["none.web.localhost", "localhost", "127.0.0.1:3902", "conformance"] {
        let shown = ask(daemon, "GET", host, "/", "").status;
        // A bucket's bare name is a host, too.
        assert_eq!(shown, if host == BUCKET { 200 } else { 404 }, "{host}");
    }
}

fn pages_and_folders_are_shown(daemon: &Daemon) {
    put(daemon, "blog/index.html", b"blog");
    put(daemon, "blog/a page.html", b"page");
    assert_eq!(get(daemon, "/blog/").body, b"blog");
    assert_eq!(get(daemon, "/blog/a%20page.html").body, b"page");
    let sent = get(daemon, "/blog?x=1");
    assert_eq!((sent.status, sent.header("location")), (302, Some("/blog/?x=1")));
    let head = ask(daemon, "HEAD", &site(), "/blog/", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    let tag = head.header("etag").expect("a tag");
    let again = ask(daemon, "GET", &site(), "/blog/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(again.status, 304);
}

fn many_pages_come_by_one_connection(daemon: &Daemon) {
    let mut wire = Wire::connect(web(daemon));
    let host = site();
    for path in ["/", "/none", "/blog/", "/blog"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let shown = wire.response(false, PATIENCE).expect("a response");
        assert!(shown.whole && shown.header("connection") != Some("close"), "{path}: {shown:?}");
    }
}

fn errors_have_a_page(daemon: &Daemon) {
    let ours = get(daemon, "/%3Cscript%3E");
    let text = String::from_utf8(ours.body.clone()).expect("UTF-8");
    assert_eq!((ours.status, ours.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(text.contains("404 Not Found") && !text.contains("<script>"), "{text}");
    put(daemon, "404.html", b"nothing here");
    let theirs = get(daemon, "/none");
    assert_eq!((theirs.status, &theirs.body[..]), (404, &b"nothing here"[..]));
    for method in ["PUT", "POST", "DELETE"] {
        let refused = ask(daemon, method, &site(), "/index.html", "Content-Length: 0\r\n");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    assert_eq!(get(daemon, "/").status, 200);
}

fn a_large_page_is_whole_and_comes_in_parts(daemon: &Daemon) {
    let page: Vec<u8> = (0..3 << 20).map(|i: u32| u8::try_from(i % 251).expect("small")).collect();
    put(daemon, "large", &page);
    let whole = get(daemon, "/large");
    assert!(whole.whole && whole.body == page);
    let part = ask(daemon, "GET", &site(), "/large", "Range: bytes=1048570-1048589\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &page[1_048_570..1_048_590]));
}

fn domains_are_known(daemon: &Daemon) {
    let ask = |domain: &str| admin::get(daemon, &format!("/check?domain={domain}")).0;
    assert_eq!(ask(&site()), 200);
    assert_eq!(ask("none.web.localhost"), 400);
}

fn what_is_shown_is_counted(daemon: &Daemon) {
    let samples = [
        "web_error_counter{method=\"GET\",status_code=\"404\"}",
        "web_request_counter{method=\"HEAD\"} 1\n",
        "web_request_duration_count{method=\"GET\"}",
    ];
    // A request is counted after its answer.
    let began = Instant::now();
    loop {
        let (_, page) = admin::get(daemon, "/metrics");
        let page = page.as_str().expect("text");
        let Some(missing) = samples.iter().find(|sample| !page.contains(**sample)) else { return };
        assert!(began.elapsed() < PATIENCE, "{missing} is not in\n{page}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn a_file_says_where_websites_are(daemon: &mut Daemon) {
    let dir = daemon.dir().display().to_string();
    let config = daemon.dir().join("web.toml");
    let text = format!(
        "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\nrpc_bind_addr = \"127.0.0.1:0\"\n\
         [s3_api]\napi_bind_addr = \"127.0.0.1:0\"\n\
         [admin]\napi_bind_addr = \"127.0.0.1:0\"\nadmin_token_file = \"{dir}/admin.token\"\n\
         [s3_web]\nbind_addr = \"127.0.0.1:0\"\nroot_domain = \".sites.example.org\"\nindex = \"start.html\"\n"
    );
    fs::write(&config, text).expect("a file");
    daemon.restart_as_configured(&config);
    let of = |daemon: &Daemon, host: &str, path: &str| ask(daemon, "GET", host, path, "").status;
    let host = format!("{BUCKET}.sites.example.org");
    assert_eq!(of(daemon, &host, "/"), 200);
    assert_eq!(of(daemon, &site(), "/"), 404, "another root domain");
    // Set up without an index document, it has the one of the file.
    put(daemon, "start.html", b"start");
    allow(daemon, json!({ "enabled": true }));
    let shown = ask(daemon, "GET", &host, "/", "");
    assert_eq!((shown.status, &shown.body[..]), (200, &b"start"[..]));
}

fn a_node_without_websites_has_none(daemon: &mut Daemon) {
    let dir = daemon.dir().display().to_string();
    let config = daemon.dir().join("bare.toml");
    let text = format!(
        "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\nrpc_bind_addr = \"127.0.0.1:0\"\n\
         [s3_api]\napi_bind_addr = \"127.0.0.1:0\"\n"
    );
    fs::write(&config, text).expect("a file");
    daemon.restart_as_configured(&config);
    assert_eq!(daemon.web(), None);
    assert!(daemon.terminate().success(), "{}", daemon.output());
}
