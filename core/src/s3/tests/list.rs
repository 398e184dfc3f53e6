//! ListObjects and ListObjectsV2.

use super::put;
use crate::testing::{Ask, Host};

fn host_with(keys: &[&str]) -> Host {
    let mut host = Host::new();
    for key in keys {
        put(&mut host, &format!("/bucket/{key}"), "x");
    }
    host
}

/// Walks a V2 listing page by page; keys, then common prefixes, of each page.
fn walk(host: &mut Host, query: &str, max: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut token = String::new();
    for _ in 0..100 {
        let target = format!("/bucket?list-type=2&max-keys={max}{query}{token}");
        let reply = host.ask(Ask::get(&target));
        assert_eq!(reply.outcome(), "200", "{target}");
        let mut page: Vec<String> = reply.elements("Key").into_iter().map(str::to_owned).collect();
        let prefixes = reply.elements("CommonPrefixes");
        page.extend(
            prefixes.iter().map(|prefix| prefix.replace("<Prefix>", "").replace("</Prefix>", "")),
        );
        assert_eq!(reply.element("KeyCount"), Some(page.len().to_string().as_str()));
        assert!(page.len() <= max);
        page.sort();
        found.extend(page);
        match reply.element("NextContinuationToken") {
            Some(next) => {
                assert_eq!(reply.element("IsTruncated"), Some("true"));
                token = format!("&continuation-token={next}");
            }
            None => {
                assert_eq!(reply.element("IsTruncated"), Some("false"));
                return found;
            }
        }
    }
    panic!("the listing never ends");
}

#[test]
fn version_1_is_as_documented() {
    let mut host = host_with(&["a", "b/1", "b/2", "c"]);
    let reply = host.ask(Ask::get("/bucket?delimiter=/&max-keys=2&marker=A"));
    let expected = include_str!("../../../../testdata/s3/list-v1.xml");
    assert_eq!(reply.text(), expected.trim_end());
    let rest = host.ask(Ask::get("/bucket?delimiter=/&marker=b/"));
    assert_eq!(rest.elements("Key"), ["c"]);
    assert_eq!(rest.element("NextMarker"), None);
}

#[test]
fn version_2_is_as_documented() {
    let mut host = host_with(&["a", "b/1", "b/2", "c"]);
    let target = "/bucket?list-type=2&delimiter=/&max-keys=2&start-after=A&fetch-owner=true";
    let reply = host.ask(Ask::get(target));
    let expected = include_str!("../../../../testdata/s3/list-v2.xml");
    assert_eq!(reply.text(), expected.trim_end());
}

#[test]
fn pages_of_any_size_make_the_same_listing() {
    let keys = ["a", "a/", "a/b", "a/c/d", "a0", "b/x", "b/y", "c", "%C3%A9", "%F0%9F%90%88/1"];
    let mut host = host_with(&keys);
    let plain = ["a", "a/", "a/b", "a/c/d", "a0", "b/x", "b/y", "c", "é", "🐈/1"];
    let rolled = ["a", "a/", "a0", "b/", "c", "é", "🐈/"];
    for max in 1..=11 {
        assert_eq!(walk(&mut host, "", max), plain, "{max} a page");
        assert_eq!(walk(&mut host, "&delimiter=/", max), rolled, "{max} a page");
        let below = walk(&mut host, "&delimiter=/&prefix=a/", max);
        assert_eq!(below, ["a/", "a/b", "a/c/"], "{max} a page");
    }
}

#[test]
fn deleted_objects_are_not_listed() {
    let mut host = host_with(&["a", "b", "c"]);
    host.ask(Ask::new("DELETE", "/bucket/b"));
    assert_eq!(walk(&mut host, "", 1), ["a", "c"]);
}

#[test]
fn a_delimiter_may_have_any_length() {
    let mut host = host_with(&["one--two--three", "one--two", "one-x"]);
    assert_eq!(walk(&mut host, "&delimiter=--", 10), ["one--", "one-x"]);
    assert_eq!(walk(&mut host, "&delimiter=--two", 10), ["one--two", "one-x"]);
}

#[test]
fn no_keys_at_all_may_be_asked_for() {
    let mut host = host_with(&["a"]);
    let reply = host.ask(Ask::get("/bucket?list-type=2&max-keys=0"));
    assert_eq!(reply.element("IsTruncated"), Some("false"));
    assert_eq!(reply.element("KeyCount"), Some("0"));
    assert_eq!(reply.element("MaxKeys"), Some("0"));
}

#[test]
fn a_page_has_a_thousand_keys_at_most() {
    let mut host = host_with(&["a"]);
    let reply = host.ask(Ask::get("/bucket?list-type=2&max-keys=5000"));
    assert_eq!(reply.element("MaxKeys"), Some("1000"));
    for max in ["-1", "x", "99999999999"] {
        let reply = host.ask(Ask::get(&format!("/bucket?max-keys={max}")));
        assert_eq!(reply.outcome(), "400 InvalidArgument", "{max}");
    }
}

#[test]
fn a_token_is_checked() {
    let mut host = host_with(&["a", "b"]);
    let reply = host.ask(Ask::get("/bucket?list-type=2&continuation-token=abc"));
    assert_eq!(reply.outcome(), "400 InvalidArgument");
    let reply = host.ask(Ask::get("/bucket?list-type=2&continuation-token="));
    assert_eq!(reply.outcome(), "400 InvalidArgument");
}

#[test]
fn keys_are_encoded_when_asked_for() {
    let mut host = host_with(&["a%20b%2Bc/%C3%A9", "x%01y"]);
    let reply = host.ask(Ask::get("/bucket?list-type=2"));
    assert_eq!(reply.outcome(), "400 InvalidRequest", "XML cannot carry U+0001");
    let reply = host.ask(Ask::get("/bucket?list-type=2&encoding-type=url&prefix=a%20"));
    assert_eq!(reply.elements("Key"), ["a%20b%2Bc/%C3%A9"]);
    assert_eq!(reply.element("Prefix"), Some("a%20"));
    assert_eq!(reply.element("EncodingType"), Some("url"));
    let reply = host.ask(Ask::get("/bucket?list-type=2&encoding-type=url"));
    assert_eq!(reply.elements("Key"), ["a%20b%2Bc/%C3%A9", "x%01y"]);
    let reply = host.ask(Ask::get("/bucket?encoding-type=base64"));
    assert_eq!(reply.outcome(), "400 InvalidArgument");
}

#[test]
fn start_after_need_not_exist() {
    let mut host = host_with(&["a", "b/1", "b/2", "c"]);
    assert_eq!(walk(&mut host, "&start-after=b", 10), ["b/1", "b/2", "c"]);
    assert_eq!(walk(&mut host, "&start-after=b/1", 10), ["b/2", "c"]);
    assert_eq!(walk(&mut host, "&start-after=b/1&delimiter=/", 10), ["b/", "c"]);
    assert_eq!(walk(&mut host, "&start-after=z", 10), Vec::<String>::new());
    assert_eq!(walk(&mut host, "&start-after=a&prefix=b/", 1), ["b/1", "b/2"]);
}
