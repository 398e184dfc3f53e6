//! Visitors of a website on a node in memory.

mod cors;

use std::sync::Arc;

use serde_json::json;

use crate::{
    store::{Snapshot, Table},
    table::{
        self,
        access::{AliasRow, BucketRow, Lww, RedirectAll, Replace, RoutingRule, Website},
    },
    testing::{Ask, Host, Reply},
    time::Stamp,
    view::Web,
};

const SITE: &str = "bucket.web.example.org";

/// A node whose bucket is a website with these objects, of which each holds its own key.
fn site(error: Option<&str>, keys: &[&str]) -> Host {
    let mut host = Host::new();
    let view = Arc::make_mut(&mut host.view);
    view.config.web = Web { root_domain: Some("web.example.org".to_owned()), ..Web::default() };
    let document =
        json!({ "enabled": true, "indexDocument": "index.html", "errorDocument": error });
    allow(&mut host, &document);
    for key in keys {
        put(&mut host, Ask::put(&format!("/bucket/{key}"), (*key).to_owned()));
    }
    host
}

fn allow(host: &mut Host, website: &serde_json::Value) {
    let found = host.admin("GetBucketInfo?globalAlias=bucket", &json!(null)).ok();
    let id = found["id"].as_str().expect("an id");
    host.admin(&format!("UpdateBucket?id={id}"), &json!({ "websiteAccess": website })).ok();
}

/// The same with rules.
fn route(host: &mut Host, website: Website) {
    let row = |table, key: &[u8]| host.store.get(table, key).expect("a map").expect("a row");
    let alias: AliasRow =
        table::decode(Table::Alias, &row(Table::Alias, b"bucket")).expect("a name");
    let id = alias.bucket.value.expect("a bucket");
    let mut bucket: BucketRow =
        table::decode(Table::Bucket, &row(Table::Bucket, &id.0)).expect("a bucket");
    bucket.website =
        Lww { at: Stamp::past(host.now.wall, bucket.website.at), value: Some(website) };
    host.merge(Table::Bucket, &id.0, table::encode(&bucket));
}

fn ruled(rules: Vec<RoutingRule>) -> Website {
    let (index, error) = ("index.html".to_owned(), Some("404.html".to_owned()));
    Website { index, error, rules, redirect_all: None }
}

fn put(host: &mut Host, ask: Ask) {
    assert_eq!(host.ask(ask).status, 200);
}

fn get(host: &mut Host, path: &str) -> Reply {
    host.browse(Ask::get(path).to(SITE))
}

/// What is shown: status and body.
fn shown(host: &mut Host, path: &str) -> (u16, String) {
    let reply = get(host, path);
    assert_eq!(reply.responses, 1);
    assert_eq!(reply.body.len() as u64, reply.len);
    (reply.status, reply.text().to_owned())
}

/// Where a visitor is sent.
fn sent(host: &mut Host, path: &str) -> (u16, Option<String>) {
    let reply = get(host, path);
    (reply.status, reply.header("location").map(str::to_owned))
}

#[test]
fn a_page_is_the_object_of_its_path() {
    let mut host = site(None, &["a.html", "dir/b c.html", "+.html"]);
    put(&mut host, Ask::put("/bucket/styled.css", "body {}").header("content-type", "text/css"));
    assert_eq!(shown(&mut host, "/a.html"), (200, "a.html".to_owned()));
    assert_eq!(shown(&mut host, "/dir/b%20c.html"), (200, "dir/b c.html".to_owned()));
    assert_eq!(shown(&mut host, "/+.html").0, 200, "a plus is a plus");
    let reply = get(&mut host, "/styled.css");
    assert_eq!(reply.header("content-type"), Some("text/css"));
    assert!(reply.header("x-amz-request-id").is_some() && reply.header("etag").is_some());
}

#[test]
fn a_query_says_nothing_to_a_website() {
    let mut host = site(None, &["a.html"]);
    for query in
        ["uploads", "partNumber=7", "response-content-type=text/html", "X-Amz-Signature=0", "%"]
    {
        let reply = get(&mut host, &format!("/a.html?{query}"));
        assert_eq!((reply.status, reply.text()), (200, "a.html"), "{query}");
        assert_eq!(reply.header("content-type"), Some("binary/octet-stream"), "{query}");
    }
}

#[test]
fn a_folder_is_its_index_document() {
    let mut host = site(None, &["index.html", "dir/index.html", "dir/sub/index.html"]);
    assert_eq!(shown(&mut host, "/"), (200, "index.html".to_owned()));
    assert_eq!(shown(&mut host, "/dir/"), (200, "dir/index.html".to_owned()));
    assert_eq!(sent(&mut host, "/dir"), (302, Some("/dir/".to_owned())));
    assert_eq!(sent(&mut host, "/dir/sub?q=1"), (302, Some("/dir/sub/?q=1".to_owned())));
    assert_eq!(sent(&mut host, "/none"), (404, None));
    assert_eq!(sent(&mut host, "/none/"), (404, None));
}

#[test]
fn an_object_that_is_called_like_a_folder_comes_first() {
    let mut host = site(None, &["dir", "dir/index.html"]);
    assert_eq!(shown(&mut host, "/dir"), (200, "dir".to_owned()));
}

#[test]
fn nobody_is_sent_to_another_host_by_a_folder() {
    let mut host = site(None, &["/evil.example/index.html"]);
    assert_eq!(sent(&mut host, "//evil.example"), (302, Some("/.//evil.example/".to_owned())));
}

#[test]
fn an_object_can_send_visitors_elsewhere() {
    let mut host = site(None, &[]);
    for (key, location) in [("old", "/new.html"), ("away", "https://example.com/")] {
        let object = Ask::put(&format!("/bucket/{key}"), "never shown");
        put(&mut host, object.header("x-amz-website-redirect-location", location));
        let reply = get(&mut host, &format!("/{key}"));
        assert_eq!((reply.status, reply.header("location")), (301, Some(location)));
        assert_eq!((reply.len, reply.header("etag")), (0, None));
    }
}

#[test]
fn an_object_sends_elsewhere_whoever_asks_for_a_part_of_it_or_knows_it() {
    let mut host = site(None, &[]);
    put(&mut host, Ask::put("/bucket/page", "text"));
    let tag = get(&mut host, "/page").header("etag").expect("a tag").to_owned();
    for (key, body) in [("page", "text"), ("nothing", "")] {
        let object = Ask::put(&format!("/bucket/{key}"), body);
        put(&mut host, object.header("x-amz-website-redirect-location", "/new"));
        for (name, value) in [
            ("range", "bytes=0-"),
            ("range", "bytes=7-"),
            ("if-none-match", &*tag),
            ("if-none-match", "*"),
            ("if-match", "\"other\""),
        ] {
            for method in ["GET", "HEAD"] {
                let ask = Ask::new(method, &format!("/{key}")).to(SITE).header(name, value);
                let reply = host.browse(ask);
                assert_eq!(
                    (reply.status, reply.header("location")),
                    (301, Some("/new")),
                    "{key} {name}"
                );
            }
        }
    }
}

#[test]
fn parts_and_conditions_are_as_with_s3() {
    let mut host = site(Some("404.html"), &["page.html", "404.html"]);
    let tag = get(&mut host, "/page.html").header("etag").expect("a tag").to_owned();
    let with = |name: &str, value: &str| Ask::get("/page.html").to(SITE).header(name, value);
    let part = host.browse(with("range", "bytes=0-3"));
    assert_eq!((part.status, part.text()), (206, "page"));
    assert_eq!(part.header("content-range"), Some("bytes 0-3/9"));
    let same = host.browse(with("if-none-match", &tag));
    assert_eq!((same.status, same.len, same.header("etag")), (304, 0, Some(&*tag)));
    assert_eq!(host.browse(with("range", "bytes=9-")).status, 416);
    assert_eq!(host.browse(with("if-match", "\"other\"")).status, 412);
}

#[test]
fn the_website_has_a_page_of_its_own_for_errors() {
    let mut host = site(Some("errors/404.html"), &["errors/404.html"]);
    let reply = host.browse(
        Ask::get("/none").to(SITE).header("range", "bytes=0-1").header("if-none-match", "*"),
    );
    assert_eq!((reply.status, reply.text()), (404, "errors/404.html"));
    for none in ["etag", "last-modified", "accept-ranges"] {
        assert_eq!(reply.header(none), None, "that of another page than was asked for");
    }
    assert_eq!(reply.header("x-amz-error-code"), Some("NoSuchKey"));
    let reply = host.browse(Ask::new("HEAD", "/none").to(SITE));
    assert_eq!((reply.status, reply.len, reply.body.len()), (404, 15, 0));
    assert_eq!(shown(&mut host, "/errors/404.html").0, 200, "it is a page like others");
}

#[test]
fn a_page_for_errors_that_is_missing_is_told_of() {
    let mut host = site(Some("404.html"), &[]);
    let (status, html) = shown(&mut host, "/none");
    assert_eq!(status, 404);
    assert!(html.contains("There is nothing at /none."), "{html}");
    assert!(html.contains("own page for errors, 404.html, cannot be shown: NoSuchKey"), "{html}");
}

#[test]
fn a_bucket_that_is_no_website_shows_nothing() {
    let mut host = site(Some("index.html"), &["index.html"]);
    allow(&mut host, &json!({ "enabled": false }));
    let (status, no_more) = shown(&mut host, "/index.html");
    assert_eq!(status, 404);
    // Whether there is such a bucket is nobody's business.
    let never = host.browse(Ask::get("/index.html").to("none.web.example.org"));
    let text = |html: &str| {
        let start = html.split("request").next().expect("a beginning");
        start.replace("bucket.web", "X.web").replace("none.web", "X.web")
    };
    assert_eq!((never.status, text(never.text())), (404, text(&no_more)));
}

#[test]
fn a_host_without_website_is_told_so() {
    let mut host = site(None, &["index.html"]);
    for to in ["127.0.0.1:3902", "", "web.example.org", "id:0", "a b", "<b>"] {
        let reply = host.browse(Ask::get("/").to(to));
        assert_eq!(reply.status, 404, "{to}");
        assert!(reply.text().contains("There is no website called"), "{to}: {}", reply.text());
        assert!(!reply.text().contains("<b>"), "{}", reply.text());
    }
}

#[test]
fn a_bucket_is_the_website_of_the_domain_that_it_is_called_by() {
    let mut host = site(None, &["index.html"]);
    let found = host.admin("GetBucketInfo?globalAlias=bucket", &json!(null)).ok();
    let alias = json!({ "bucketId": found["id"], "globalAlias": "www.example.com" });
    host.admin("AddBucketAlias", &alias).ok();
    for to in ["www.example.com", "WWW.example.com:3902", "www.example.com."] {
        assert_eq!(host.browse(Ask::get("/").to(to)).text(), "index.html", "{to}");
    }
    // A name that one key alone has for it is none that a browser could use.
    let local = json!({ "bucketId": found["id"], "accessKeyId": "MKtest", "localAlias": "mine" });
    host.admin("AddBucketAlias", &local).ok();
    assert_eq!(host.browse(Ask::get("/").to("mine.web.example.org")).status, 404);
}

#[test]
fn a_website_is_only_read() {
    let mut host = site(None, &["a.html"]);
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let reply = host.browse(Ask::new(method, "/a.html").to(SITE));
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    let reply = host.browse(Ask::new("OPTIONS", "/a.html").to(SITE));
    assert_eq!((reply.status, reply.header("allow")), (200, Some("GET, HEAD, OPTIONS")));
    assert_eq!(shown(&mut host, "/a.html").0, 200);
}

#[test]
fn a_head_says_what_a_get_would() {
    let mut host = site(None, &["index.html"]);
    for path in ["/", "/none"] {
        let asked = get(&mut host, path);
        let reply = host.browse(Ask::new("HEAD", path).to(SITE));
        assert_eq!((reply.status, reply.len, reply.body.len()), (asked.status, asked.len, 0));
        let names =
            |reply: &Reply| reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&reply), names(&asked), "{path}");
    }
}

#[test]
fn a_path_that_no_key_can_have_is_refused() {
    let mut host = site(None, &["index.html"]);
    assert_eq!(shown(&mut host, "/%ff").0, 400);
    assert_eq!(shown(&mut host, &format!("/{}", "a".repeat(1025))).0, 400);
    assert_eq!(
        shown(&mut host, &format!("/{}", "a".repeat(1024))).0,
        404,
        "no folder can be so long"
    );
}

#[test]
fn large_pages_come_block_by_block() {
    let mut host = site(None, &[]);
    let page = "x".repeat(2500);
    put(&mut host, Ask::put("/bucket/large", page.clone()));
    assert_eq!(shown(&mut host, "/large"), (200, page));
}

#[test]
fn requests_are_counted_by_method() {
    let mut host = site(None, &["a.html"]);
    for (method, path) in
        [("GET", "/a.html"), ("HEAD", "/a.html"), ("GET", "/none"), ("PATCH", "/")]
    {
        host.browse(Ask::new(method, path).to(SITE));
    }
    let counted: Vec<_> = host.view.metrics.web.operations.iter().collect();
    let counted =
        counted.iter().map(|(name, requests)| (name.unwrap_or_default(), requests.count.get()));
    let mut counted: Vec<_> = counted.collect();
    counted.sort_unstable();
    assert_eq!(counted, [("GET", 2), ("HEAD", 1), ("other", 1)]);
}

#[test]
fn a_website_can_send_everybody_elsewhere() {
    let mut host = site(None, &["a.html"]);
    let redirect_all = Some(RedirectAll { host: "new.example.org".to_owned(), protocol: None });
    route(&mut host, Website { redirect_all, ..Website::default() });
    for path in ["a.html", "none/", ""] {
        let location = format!("//new.example.org/{path}");
        assert_eq!(sent(&mut host, &format!("/{path}")), (301, Some(location)));
    }
}

#[test]
fn a_rule_comes_before_the_object_and_before_the_error() {
    let mut host = site(None, &["docs/a", "new/a", "404.html"]);
    let rule = |prefix: &str, error, to: &str| RoutingRule {
        prefix: Some(prefix.to_owned()),
        error,
        replace: Some(Replace::Prefix(to.to_owned())),
        ..RoutingRule::default()
    };
    route(&mut host, ruled(vec![rule("docs/", None, "new/"), rule("new/", Some(404), "docs/")]));
    assert_eq!(sent(&mut host, "/docs/a"), (301, Some("/new/a".to_owned())));
    assert_eq!(shown(&mut host, "/new/a"), (200, "new/a".to_owned()));
    assert_eq!(sent(&mut host, "/new/b"), (301, Some("/docs/b".to_owned())));
    assert_eq!(shown(&mut host, "/other"), (404, "404.html".to_owned()));
}

#[test]
fn a_rule_can_show_another_object() {
    let mut host = site(None, &["app/index.html", "sorry.html", "404.html"]);
    let rule = |prefix: &str, status, to: &str| RoutingRule {
        prefix: Some(prefix.to_owned()),
        error: Some(404),
        status: Some(status),
        replace: Some(Replace::Key(to.to_owned())),
        ..RoutingRule::default()
    };
    let rules = vec![
        rule("app/", 200, "app/"),
        rule("gone/", 404, "sorry.html"),
        rule("lost/", 200, "missing.html"),
    ];
    route(&mut host, ruled(rules));
    assert_eq!(shown(&mut host, "/app/deep/link"), (200, "app/index.html".to_owned()));
    assert_eq!(shown(&mut host, "/gone/x"), (404, "sorry.html".to_owned()));
    assert_eq!(shown(&mut host, "/lost/x"), (404, "404.html".to_owned()), "the rule leads nowhere");
    let part = host.browse(Ask::get("/gone/x").to(SITE).header("range", "bytes=0-1"));
    assert_eq!((part.status, part.text(), part.header("etag")), (404, "sorry.html", None));
}
