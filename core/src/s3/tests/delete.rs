//! DeleteObject and DeleteObjects.

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};

use super::{effects, get, put};
use crate::{
    effect::PeerError,
    store::Table,
    testing::{Ask, CommitFault, Host},
};

fn delete(target: &str) -> Ask {
    Ask::new("DELETE", target)
}

fn many(document: &str) -> Ask {
    let md5 = STANDARD.encode(Md5::digest(document.as_bytes()));
    let ask = Ask::new("POST", "/bucket?delete").body(document.to_owned());
    ask.header("content-md5", md5)
}

#[test]
fn an_object_is_deleted_in_one_commit() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "x");
    effects(&mut host);
    let reply = host.ask(delete("/bucket/k"));
    assert_eq!((reply.status, reply.len), (204, 0));
    assert_eq!(effects(&mut host), "Read object\nCommit: object\nRespond 204 empty");
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchKey");
    assert_eq!(host.count(Table::Inline), 0);
}

#[test]
fn what_is_not_there_is_deleted_without_a_write() {
    let mut host = Host::new();
    assert_eq!(host.ask(delete("/bucket/k")).status, 204);
    assert_eq!(effects(&mut host), "Read object\nRespond 204 empty");
    put(&mut host, "/bucket/k", "x");
    host.ask(delete("/bucket/k"));
    effects(&mut host);
    assert_eq!(host.ask(delete("/bucket/k")).status, 204);
    assert_eq!(effects(&mut host), "Read object\nRespond 204 empty");
}

#[test]
fn a_delete_acknowledged_after_a_put_stays() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "one");
    let mut running = host.begin(delete("/bucket/k"));
    running.run_until(&mut host, "Commit");
    host.pass(std::time::Duration::from_millis(5));
    put(&mut host, "/bucket/k", "two");
    while running.step(&mut host) {}
    assert_eq!(running.reply.status, 204);
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchKey");
}

#[test]
fn a_conditional_delete_needs_that_version() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "hello");
    let ask = |tag| delete("/bucket/k").header("if-match", tag);
    assert_eq!(host.ask(ask("\"other\"")).outcome(), "412 PreconditionFailed");
    assert_eq!(get(&mut host, "/bucket/k"), b"hello");
    assert_eq!(host.ask(ask("\"5d41402abc4b2a76b9719d911017c592\"")).outcome(), "204");
    assert_eq!(host.ask(ask("*")).outcome(), "404 NoSuchKey");
}

#[test]
fn many_are_deleted_in_one_commit() {
    let mut host = Host::new();
    for key in ["a", "b&c", "d"] {
        put(&mut host, &format!("/bucket/{}", key.replace('&', "%26")), "x");
    }
    effects(&mut host);
    let document = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Object><Key>a</Key></Object><Object><Key>b&amp;c</Key><VersionId>null</VersionId></Object>\
        <Object><Key>none</Key></Object></Delete>";
    let reply = host.ask(many(document));
    let expected = include_str!("../../../../testdata/s3/delete-result.xml");
    assert_eq!(reply.text(), expected.trim_end());
    let effects = effects(&mut host);
    assert!(effects.contains("Commit: object, object\n"), "{effects}");
    assert_eq!(host.ask(Ask::get("/bucket")).elements("Key"), ["d"]);
}

#[test]
fn quiet_tells_only_of_errors() {
    let mut host = Host::new();
    put(&mut host, "/bucket/a", "x");
    let long = "k".repeat(1025);
    let document = format!(
        "<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key>{long}</Key></Object>\
         <Object><Key>b</Key><VersionId>7</VersionId></Object>\
         <Object><Key>c</Key><ETag>\"x\"</ETag></Object></Delete>"
    );
    let reply = host.ask(many(&document));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.elements("Deleted").len(), 0);
    assert_eq!(reply.elements("Code"), ["KeyTooLongError", "NoSuchVersion", "NotImplemented"]);
    assert_eq!(host.ask(Ask::get("/bucket/a")).outcome(), "404 NoSuchKey");
}

#[test]
fn a_failed_commit_deletes_nothing_and_says_so() {
    let mut host = Host::new();
    put(&mut host, "/bucket/a", "x");
    host.faults.commit = Some((0, CommitFault::Nothing(PeerError::TimedOut)));
    let reply = host.ask(many("<Delete><Object><Key>a</Key></Object></Delete>"));
    assert_eq!(reply.outcome(), "503 ServiceUnavailable");
    assert_eq!(get(&mut host, "/bucket/a"), b"x");
}

#[test]
fn a_key_that_the_answer_could_not_name_is_refused_beforehand() {
    let mut host = Host::new();
    put(&mut host, "/bucket/a", "x");
    let document =
        "<Delete><Object><Key>a</Key></Object><Object><Key>\u{1}</Key></Object></Delete>";
    assert_eq!(host.ask(many(document)).outcome(), "400 MalformedXML");
    assert_eq!(get(&mut host, "/bucket/a"), b"x");
}

#[test]
fn keys_with_blanks_around_them_are_themselves() {
    let mut host = Host::new();
    put(&mut host, "/bucket/%20k%20", "x");
    put(&mut host, "/bucket/k", "y");
    let reply = host.ask(many("<Delete><Object><Key> k </Key></Object></Delete>"));
    assert_eq!(reply.elements("Key"), [" k "]);
    assert_eq!(host.ask(Ask::get("/bucket/%20k%20")).outcome(), "404 NoSuchKey");
    assert_eq!(get(&mut host, "/bucket/k"), b"y");
}

#[test]
fn a_document_without_a_digest_is_refused() {
    let mut host = Host::new();
    let document = "<Delete><Object><Key>a</Key></Object></Delete>";
    let ask = || Ask::new("POST", "/bucket?delete").body(document);
    assert_eq!(host.ask(ask()).outcome(), "400 InvalidRequest");
    let checksum = ask().header("x-amz-checksum-crc32", "AAAAAA==");
    assert_eq!(host.ask(checksum).outcome(), "400 BadDigest");
}

#[test]
fn a_document_names_one_to_a_thousand_keys() {
    let mut host = Host::new();
    let document = |n: usize| {
        let keys: String = (0..n).map(|i| format!("<Object><Key>{i}</Key></Object>")).collect();
        format!("<Delete>{keys}</Delete>")
    };
    assert_eq!(host.ask(many(&document(0))).outcome(), "400 MalformedXML");
    assert_eq!(host.ask(many(&document(1000))).outcome(), "200");
    assert_eq!(host.ask(many(&document(1001))).outcome(), "400 MalformedXML");
    assert_eq!(host.ask(many("<Delete>")).outcome(), "400 MalformedXML");
    let huge = " ".repeat(3 << 20);
    assert_eq!(host.ask(many(&huge)).outcome(), "400 MaxMessageLengthExceeded");
}
