//! A website as its bucket's owner sets it over S3, and as a browser sees it then.

use super::{BUCKET, allow, ask, get, put, site};
use crate::{daemon::Daemon, signed};

/// Where the bucket's settings as a website are.
const SETTINGS: &str = "?website=";

const DOCUMENTS: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>404.html</Key></ErrorDocument>";

const RULES: &str = "<RoutingRules>\
    <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
        <Redirect><ReplaceKeyPrefixWith>blog/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
    <RoutingRule><Condition><KeyPrefixEquals>bare</KeyPrefixEquals></Condition>\
        <Redirect><ReplaceKeyPrefixWith/><HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule>\
    <RoutingRule><Condition><KeyPrefixEquals>app/</KeyPrefixEquals>\
        <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
        <Redirect><ReplaceKeyWith>app/start.html</ReplaceKeyWith><HttpRedirectCode>200</HttpRedirectCode></Redirect></RoutingRule>\
    <RoutingRule><Condition><KeyPrefixEquals>moved/</KeyPrefixEquals></Condition>\
        <Redirect><HostName>www.example.org</HostName><Protocol>https</Protocol></Redirect></RoutingRule>\
    </RoutingRules>";

pub(super) fn run(daemon: &Daemon) {
    rules_are_followed(daemon);
    a_wrong_document_changes_nothing(daemon);
    everything_is_redirected(daemon);
    a_website_ends_over_s3(daemon);
    allow(
        daemon,
        serde_json::json!({ "enabled": true, "indexDocument": "index.html", "errorDocument": "404.html" }),
    );
}

/// Sets the website; status and answer.
fn set(daemon: &Daemon, content: &str) -> (u16, String) {
    let document = format!("<WebsiteConfiguration>{content}</WebsiteConfiguration>");
    let answer = signed::send(daemon, "PUT", SETTINGS, document.as_bytes());
    (answer.status, String::from_utf8(answer.body).expect("UTF-8"))
}

/// The settings as S3 tells them; status and document.
fn told(daemon: &Daemon) -> (u16, String) {
    let answer = signed::send(daemon, "GET", SETTINGS, b"");
    (answer.status, String::from_utf8(answer.body).expect("UTF-8"))
}

fn is_sent(daemon: &Daemon, path: &str, status: u16, location: &str) {
    let sent = get(daemon, path);
    assert_eq!((sent.status, sent.header("location")), (status, Some(location)), "{path}");
}

fn rules_are_followed(daemon: &Daemon) {
    put(daemon, "app/start.html", b"the app");
    assert_eq!(set(daemon, &format!("{DOCUMENTS}{RULES}")), (200, String::new()));
    let (status, document) = told(daemon);
    assert!(status == 200 && document.contains("<ReplaceKeyPrefixWith/>"), "{document}");
    is_sent(daemon, "/old/a%20page.html?x=1", 301, "/blog/a%20page.html");
    is_sent(daemon, "/moved/x", 301, "https://www.example.org/moved/x");
    // A rule that takes the beginning of a path away leads to nobody else's host.
    is_sent(daemon, "/bare//evil.example/", 307, "/.///evil.example/");
    is_sent(daemon, "/bare%5Cevil.example", 307, "/%5Cevil.example");
    let shown = get(daemon, "/app/any/thing");
    assert_eq!((shown.status, &shown.body[..]), (200, &b"the app"[..]));
    let head = ask(daemon, "HEAD", &site(), "/app/any/thing", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    assert_eq!(get(daemon, "/none").body, b"nothing here", "no rule is for it");
    assert_eq!(get(daemon, "/blog/").body, b"blog");
}

fn a_wrong_document_changes_nothing(daemon: &Daemon) {
    let before = told(daemon);
    for (content, code) in [
        ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", "InvalidArgument"),
        ("<Index>index.html</Index>", "MalformedXML"),
    ] {
        let (status, answer) = set(daemon, content);
        assert!(status == 400 && answer.contains(&format!("<Code>{code}</Code>")), "{answer}");
    }
    assert_eq!(told(daemon), before);
}

fn everything_is_redirected(daemon: &Daemon) {
    let all = "<RedirectAllRequestsTo><HostName>www.example.org</HostName></RedirectAllRequestsTo>";
    assert_eq!(set(daemon, all).0, 200);
    is_sent(daemon, "/blog/a%20page.html", 301, "//www.example.org/blog/a%20page.html");
    is_sent(daemon, "/", 301, "//www.example.org/");
}

fn a_website_ends_over_s3(daemon: &Daemon) {
    for _ in 0..2 {
        assert_eq!(signed::send(daemon, "DELETE", SETTINGS, b"").status, 204);
    }
    let (status, answer) = told(daemon);
    assert!(
        status == 404 && answer.contains("<Code>NoSuchWebsiteConfiguration</Code>"),
        "{answer}"
    );
    assert_eq!(ask(daemon, "GET", BUCKET, "/", "").status, 404);
}
