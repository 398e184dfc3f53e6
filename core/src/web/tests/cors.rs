//! Pages of other websites that read this one.

use serde_json::json;

use super::*;
use crate::testing::cluster::Cluster;

const PAGE: &str = "https://app.example";

const VARY: Option<&str> =
    Some("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

fn rules() -> serde_json::Value {
    json!({ "corsRules": [{
        "AllowedOrigin": [PAGE], "AllowedMethod": ["GET", "HEAD"], "AllowedHeader": ["range"],
        "MaxAgeSeconds": 60,
    }] })
}

fn ruled(error: Option<&str>, keys: &[&str]) -> Host {
    let mut host = site(error, keys);
    let found = host.admin("GetBucketInfo?globalAlias=bucket", &json!(null)).ok();
    let id = found["id"].as_str().expect("an id");
    host.admin(&format!("UpdateBucket?id={id}"), &rules()).ok();
    host
}

fn allowed(reply: &Reply) -> Option<&str> {
    reply.header("access-control-allow-origin")
}

fn preflight(host: &str, method: &str) -> Ask {
    let ask = Ask::new("OPTIONS", "/a.html").to(host).header("origin", PAGE);
    ask.header("access-control-request-method", method)
}

#[test]
fn whatever_is_shown_says_whose_pages_may_read_it() {
    let mut host = ruled(Some("404.html"), &["a.html", "dir/index.html", "404.html"]);
    put(
        &mut host,
        Ask::put("/bucket/moved", "").header("x-amz-website-redirect-location", "/a.html"),
    );
    for (path, status) in [
        ("/a.html", 200),
        ("/dir/", 200),
        ("/dir", 302),
        ("/moved", 301),
        ("/none", 404),
        ("/%ff", 400),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = host.browse(Ask::new(method, path).to(SITE).header("origin", PAGE));
            assert_eq!((reply.status, allowed(&reply)), (status, Some(PAGE)), "{method} {path}");
            assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        }
        let other = host.browse(Ask::get(path).to(SITE).header("origin", "https://o.example"));
        assert_eq!((other.status, allowed(&other), other.header("vary")), (status, None, VARY));
        let none = get(&mut host, path);
        assert_eq!((none.status, allowed(&none), none.header("vary")), (status, None, VARY));
    }
}

#[test]
fn a_website_without_rules_says_nothing() {
    let mut host = site(None, &["a.html"]);
    let reply = host.browse(Ask::get("/a.html").to(SITE).header("origin", PAGE));
    assert_eq!((reply.status, allowed(&reply), reply.header("vary")), (200, None, None));
}

#[test]
fn a_preflight_is_answered_by_the_rules() {
    let mut host = ruled(None, &["a.html"]);
    let reply =
        host.browse(preflight(SITE, "GET").header("access-control-request-headers", "Range"));
    assert_eq!((reply.status, allowed(&reply), reply.len), (200, Some(PAGE), 0));
    assert_eq!(reply.header("access-control-allow-headers"), Some("range"));
    assert_eq!(reply.header("access-control-max-age"), Some("60"));
    let bare = host.browse(Ask::new("OPTIONS", "/a.html").to(SITE).header("origin", PAGE));
    assert_eq!((bare.status, bare.header("allow")), (200, Some("GET, HEAD, OPTIONS")));
    assert_eq!(allowed(&bare), None, "that asks for nothing");
}

#[test]
fn a_preflight_that_no_rule_allows_does_not_tell_what_there_is() {
    let mut host = ruled(None, &["a.html"]);
    // All but the request's id.
    let text = |reply: &Reply| reply.text().split("&middot; request").next().map(str::to_owned);
    let refused = host.browse(preflight(SITE, "PUT"));
    let nowhere = host.browse(preflight("none.web.example.org", "PUT"));
    for reply in [&refused, &nowhere] {
        assert_eq!((reply.status, allowed(reply), reply.header("vary")), (403, None, None));
        assert_eq!(reply.header("x-amz-error-code"), Some("AccessForbidden"));
    }
    assert_eq!(text(&refused), text(&nowhere));
    let message = |reply: &Reply| reply.header("x-amz-error-message").map(str::to_owned);
    assert_eq!(message(&refused), message(&nowhere));
    allow(&mut host, &json!({ "enabled": false }));
    let hidden = host.browse(preflight(SITE, "GET"));
    assert_eq!((hidden.status, allowed(&hidden), message(&hidden)), (403, None, message(&nowhere)));
}

#[test]
fn a_node_that_lags_behind_asks_before_it_refuses_a_preflight() {
    let mut cluster = Cluster::replicated(3);
    let found = cluster.admin(0, "GetBucketInfo?globalAlias=bucket", &json!(null)).ok();
    let update = format!("UpdateBucket?id={}", found["id"].as_str().expect("an id"));
    cluster.admin(0, &update, &json!({ "websiteAccess": { "enabled": true } })).ok();
    cluster.down(&[2]);
    cluster.admin(0, &update, &rules()).ok();
    cluster.down(&[]);
    let reply = cluster.browse(2, preflight("bucket", "GET"));
    assert_eq!((reply.status, allowed(&reply)), (200, Some(PAGE)));
    assert_eq!(cluster.browse(2, preflight("bucket", "PUT")).status, 403);
}
