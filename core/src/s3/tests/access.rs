//! Who may do what.

use super::put;
use crate::{
    id::BucketId,
    store::{Snapshot, Table},
    table::{
        self,
        access::{AccessKeyRow, AliasRow, BucketRow, Lww, Permissions, PublicRead},
    },
    testing::{Ask, Host, KEY_ID},
    time::Stamp,
};

fn bucket_id(host: &Host) -> BucketId {
    let value = host.store.get(Table::Alias, b"bucket").expect("a map").expect("an alias");
    let row: AliasRow = table::decode(Table::Alias, &value).expect("an alias");
    row.bucket.value.expect("a bucket")
}

/// Changes a key's row as the Admin API would.
fn change_key(host: &mut Host, id: &str, change: impl FnOnce(&mut AccessKeyRow, Stamp)) {
    let value = host.store.get(Table::AccessKey, id.as_bytes()).expect("a map").expect("a key");
    let mut row: AccessKeyRow = table::decode(Table::AccessKey, &value).expect("a key");
    let at = Stamp::past(host.now.wall, Stamp(0));
    change(&mut row, Stamp(at.0 + 1));
    host.merge(Table::AccessKey, id.as_bytes(), table::encode(&row));
}

pub(super) fn permit(host: &mut Host, id: &str, permissions: Permissions) {
    let bucket = bucket_id(host);
    change_key(host, id, |row, at| {
        row.buckets.insert(bucket, Lww { at, value: permissions });
    });
}

#[test]
fn a_request_without_signature_is_denied() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "x");
    assert_eq!(host.ask(Ask::get("/bucket/k").anonymous()).outcome(), "403 AccessDenied");
}

/// Makes objects whose keys begin so public, or all of them.
fn publish(host: &mut Host, prefixes: &[&str]) {
    let (id, prefixes) = (bucket_id(host), prefixes.iter().map(|text| (*text).to_owned()));
    let value = host.store.get(Table::Bucket, &id.0).expect("a map").expect("a bucket");
    let mut row: BucketRow = table::decode(Table::Bucket, &value).expect("a bucket");
    let at = Stamp::past(host.now.wall, row.public_read.at);
    row.public_read = Lww { at, value: Some(PublicRead { prefixes: prefixes.collect() }) };
    host.merge(Table::Bucket, &id.0, table::encode(&row));
}

#[test]
fn everybody_reads_what_is_public_and_does_nothing_else() {
    let mut host = Host::new();
    put(&mut host, "/bucket/img/k", "x");
    put(&mut host, "/bucket/k", "x");
    publish(&mut host, &["doc/", "img/"]);
    let mut outcome =
        |method: &str, target: &str| host.ask(Ask::new(method, target).anonymous()).outcome();
    assert_eq!(outcome("GET", "/bucket/img/k"), "200");
    assert_eq!(outcome("HEAD", "/bucket/img/k"), "200");
    assert_eq!(outcome("GET", "/bucket/img/none"), "404 NoSuchKey");
    for (method, target) in [
        ("GET", "/bucket/k"),
        ("GET", "/bucket/img"),
        ("GET", "/bucket/"),
        ("GET", "/bucket?list-type=2&prefix=img/"),
        ("GET", "/"),
        ("GET", "/none/img/k"),
        ("GET", "/bucket/img/k?attributes"),
        ("PUT", "/bucket/img/k"),
        ("DELETE", "/bucket/img/k"),
        ("POST", "/bucket/img/k?uploads"),
        ("POST", "/bucket?delete"),
    ] {
        assert_eq!(outcome(method, target), "403 AccessDenied", "{method} {target}");
    }
    publish(&mut host, &[]);
    assert_eq!(host.ask(Ask::get("/bucket/k").anonymous()).body, b"x");
    let list = host.ask(Ask::get("/bucket?list-type=2").anonymous());
    assert_eq!(list.outcome(), "403 AccessDenied");
}

#[test]
fn whoever_signs_must_do_it_right_even_for_what_is_public() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "x");
    publish(&mut host, &[]);
    let wrong = host.ask(Ask::get("/bucket/k").key(KEY_ID, "wrong"));
    assert_eq!(wrong.outcome(), "403 SignatureDoesNotMatch");
    let nobody = host.ask(Ask::get("/bucket/k").key("nobody", "secret"));
    assert_eq!(nobody.outcome(), "403 InvalidAccessKeyId");
    let basic = Ask::get("/bucket/k").anonymous().header("authorization", "Basic eDp5");
    assert_eq!(host.ask(basic).outcome(), "400 InvalidArgument");
    for part in ["X-Amz-Credential=k", "x-amz-expires=1", "Signature=x", "AWSAccessKeyId=k"] {
        let half = host.ask(Ask::get(&format!("/bucket/k?{part}")).anonymous());
        assert_eq!(half.outcome(), "403 AccessDenied", "{part}");
    }
}

#[test]
fn nobody_without_a_signature_says_what_is_answered() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "x");
    publish(&mut host, &[]);
    let target = "/bucket/k?response-content-type=text%2Fhtml";
    assert_eq!(host.ask(Ask::get(target).anonymous()).outcome(), "400 InvalidRequest");
    assert_eq!(host.ask(Ask::get(target)).outcome(), "200");
}

#[test]
fn an_unknown_key_is_named() {
    let mut host = Host::new();
    let reply = host.ask(Ask::get("/bucket/k").key("nobody", "secret"));
    assert_eq!(reply.outcome(), "403 InvalidAccessKeyId");
    assert_eq!(reply.element("AWSAccessKeyId"), Some("nobody"));
}

#[test]
fn a_wrong_secret_does_not_match() {
    let mut host = Host::new();
    let reply = host.ask(Ask::get("/bucket/k").key(KEY_ID, "wrong"));
    assert_eq!(reply.outcome(), "403 SignatureDoesNotMatch");
    // Nor does it tell which buckets there are.
    let reply = host.ask(Ask::get("/none/k").key(KEY_ID, "wrong"));
    assert_eq!(reply.outcome(), "403 SignatureDoesNotMatch");
}

#[test]
fn a_deleted_key_is_unknown() {
    let mut host = Host::new();
    change_key(&mut host, KEY_ID, |row, _| row.deleted = true);
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "403 InvalidAccessKeyId");
}

#[test]
fn a_bucket_that_does_not_exist_is_named() {
    let mut host = Host::new();
    let reply = host.ask(Ask::get("/none/k"));
    assert_eq!(reply.outcome(), "404 NoSuchBucket");
    assert_eq!(reply.element("BucketName"), Some("none"));
}

#[test]
fn permissions_are_per_key_and_bucket() {
    let ask = |method: &str, target: &str| Ask::new(method, target).key("other", "other secret");
    let delete = "<Delete><Object><Key>k</Key></Object></Delete>";
    let many = || ask("POST", "/bucket?delete").body(delete).header("content-md5", "x");
    let operations: Vec<(Ask, &str)> = vec![
        (ask("GET", "/bucket/k"), "r"),
        (ask("HEAD", "/bucket/k"), "r"),
        (ask("GET", "/bucket/k?attributes"), "r"),
        (ask("GET", "/bucket"), "r"),
        (ask("GET", "/bucket?list-type=2"), "r"),
        (ask("PUT", "/bucket/k"), "w"),
        (ask("DELETE", "/bucket/k"), "w"),
        (many(), "w"),
        (ask("HEAD", "/bucket"), "rwo"),
        (ask("GET", "/bucket?location"), "rwo"),
        (ask("GET", "/bucket?versioning"), "rwo"),
        (ask("DELETE", "/bucket"), "o"),
    ];
    for granted in ["", "r", "w", "o"] {
        for (operation, needed) in &operations {
            let mut host = Host::new();
            put(&mut host, "/bucket/k", "x");
            host.add_key("other", "other secret", false);
            let has = |letter: char| granted.contains(letter);
            let permissions = Permissions { read: has('r'), write: has('w'), owner: has('o') };
            permit(&mut host, "other", permissions);
            let reply = host.ask(operation.clone());
            let allowed = granted.chars().any(|letter| needed.contains(letter));
            assert_eq!(reply.status != 403, allowed, "{operation:?} with {granted:?}");
        }
    }
}

#[test]
fn buckets_are_created_by_keys_that_may() {
    let mut host = Host::new();
    host.add_key("other", "other secret", false);
    let ask = || Ask::put("/new-bucket", "").key("other", "other secret");
    assert_eq!(host.ask(ask()).outcome(), "403 AccessDenied");
    change_key(&mut host, "other", |row, at| row.create_bucket = Lww { at, value: true });
    assert_eq!(host.ask(ask()).outcome(), "200");
}

#[test]
fn every_response_carries_its_id() {
    let mut host = Host::new();
    let first = host.ask(Ask::get("/bucket"));
    let second = host.ask(Ask::get("/none"));
    let id = |reply: &crate::testing::Reply| reply.header("x-amz-request-id").map(str::to_owned);
    assert!(id(&first).is_some() && id(&second).is_some() && id(&first) != id(&second));
    assert_eq!(second.element("RequestId").map(str::to_owned), id(&second));
    assert_eq!(first.header("server"), Some("Mews"));
}

#[test]
fn what_is_not_implemented_is_named() {
    let mut host = Host::new();
    let reply = host.ask(Ask::get("/bucket?policy"));
    assert_eq!(reply.outcome(), "501 NotImplemented");
    assert!(reply.text().contains("GetBucketPolicy"), "{}", reply.text());
}
