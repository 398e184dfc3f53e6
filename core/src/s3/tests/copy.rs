//! CopyObject and UploadPartCopy.

use super::{assert_no_open_intent, bytes, effects, get, put};
use crate::{
    checksum::Algorithm,
    s3::digest,
    store::{Table, Writer},
    testing::{Ask, Host, Reply},
};

fn ask(target: &str, source: &str) -> Ask {
    Ask::put(target, "").header("x-amz-copy-source", source)
}

fn copy(host: &mut Host, target: &str, source: &str) -> Reply {
    let reply = host.ask(ask(target, source));
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    reply
}

#[test]
fn a_small_object_is_copied_in_one_commit() {
    let mut host = Host::new();
    let put = Ask::put("/bucket/a%20b", "hello").header("x-amz-meta-colour", "blue");
    assert_eq!(host.ask(put).outcome(), "200");
    effects(&mut host);
    copy(&mut host, "/bucket/copy", "/bucket/a%20b?versionId=null");
    let expected = "Read object and payload\nCommit: object and 5 B if bucket live, bucket unsealed\nRespond 200 full";
    assert_eq!(effects(&mut host), expected);
    let reply = host.ask(Ask::get("/bucket/copy"));
    assert_eq!((&reply.body[..], reply.header("x-amz-meta-colour")), (&b"hello"[..], Some("blue")));
}

#[test]
fn blocks_are_copied_by_reference() {
    let mut host = Host::new();
    put(&mut host, "/bucket/source", bytes(4500));
    let blocks = host.blocks.len();
    effects(&mut host);
    let reply = copy(&mut host, "/bucket/copy", "bucket/source");
    let trace = effects(&mut host);
    assert!(!trace.contains("LoadBlock") && !trace.contains("StoreBlock"), "{trace}");
    assert_eq!(host.blocks.len(), blocks);
    assert_eq!(host.count(Table::BlockRef), 10);
    let md5 = hex::encode(digest::md5(&bytes(4500)));
    assert!(reply.element("ETag").expect("a tag").contains(&md5));
    put(&mut host, "/bucket/source", "overwritten");
    assert_eq!(get(&mut host, "/bucket/copy"), bytes(4500));
    assert_no_open_intent(&host);
}

#[test]
fn a_multipart_source_becomes_one_list() {
    let mut host = Host::new();
    let upload = host.ask(Ask::new("POST", "/bucket/source?uploads"));
    let upload = upload.element("UploadId").expect("an id").to_owned();
    let target = format!("/bucket/source?partNumber=5&uploadId={upload}");
    let part = host.ask(Ask::put(&target, bytes(2500)));
    let etag = part.header("etag").expect("a tag").to_owned();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>5</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let target = format!("/bucket/source?uploadId={upload}");
    assert_eq!(host.ask(Ask::new("POST", &target).body(list)).outcome(), "200");
    copy(&mut host, "/bucket/copy", "bucket/source");
    assert_eq!(get(&mut host, "/bucket/copy"), bytes(2500));
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket/source")).outcome(), "204");
    assert_eq!(get(&mut host, "/bucket/copy"), bytes(2500));
}

#[test]
fn a_copy_onto_itself_must_change_something_and_moves_nothing() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(4500));
    let queued = host.count(Table::Queue);
    let refused = host.ask(ask("/bucket/k", "bucket/k"));
    assert_eq!(refused.outcome(), "400 InvalidRequest");
    effects(&mut host);
    let replace = ask("/bucket/k", "bucket/k")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("content-type", "text/new");
    assert_eq!(host.ask(replace).outcome(), "200");
    let expected = "Read object and payload\n\
        Commit: object if bucket live, object unchanged, newest, bucket unsealed\n\
        Respond 200 full";
    assert_eq!(effects(&mut host), expected);
    assert_eq!(host.count(Table::Queue), queued);
    let reply = host.ask(Ask::get("/bucket/k"));
    assert_eq!((&reply.body, reply.header("content-type")), (&bytes(4500), Some("text/new")));
}

#[test]
fn an_overwrite_during_a_copy_onto_itself_wins_or_loses_whole() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(4500));
    let replace = ask("/bucket/k", "bucket/k").header("x-amz-metadata-directive", "REPLACE");
    let mut running = host.begin(replace);
    running.run_until(&mut host, "Commit: object");
    put(&mut host, "/bucket/k", bytes(3000));
    while running.step(&mut host) {}
    assert_eq!(running.reply.outcome(), "200");
    assert_eq!(get(&mut host, "/bucket/k"), bytes(3000));
}

#[test]
fn headers_are_taken_over_or_replaced() {
    let mut host = Host::new();
    let put = Ask::put("/bucket/k", "x")
        .header("content-type", "text/old")
        .header("x-amz-meta-a", "1")
        .header("x-amz-website-redirect-location", "/elsewhere");
    assert_eq!(host.ask(put).outcome(), "200");
    // Not replaced: what the request says is of no account.
    let kept = ask("/bucket/kept", "bucket/k").header("content-type", "text/new");
    assert_eq!(host.ask(kept).outcome(), "200");
    let reply = host.ask(Ask::new("HEAD", "/bucket/kept"));
    assert_eq!(reply.header("content-type"), Some("text/old"));
    assert_eq!(reply.header("x-amz-meta-a"), Some("1"));
    assert_eq!(reply.header("x-amz-website-redirect-location"), None);
    let replaced = ask("/bucket/new", "bucket/k")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-b", "2");
    assert_eq!(host.ask(replaced).outcome(), "200");
    let reply = host.ask(Ask::new("HEAD", "/bucket/new"));
    assert_eq!((reply.header("x-amz-meta-a"), reply.header("x-amz-meta-b")), (None, Some("2")));
    let odd = ask("/bucket/new", "bucket/k").header("x-amz-metadata-directive", "MERGE");
    assert_eq!(host.ask(odd).outcome(), "400 InvalidArgument");
}

#[test]
fn a_checksum_asked_for_is_computed() {
    let mut host = Host::new();
    for (source, body) in [("small", bytes(50)), ("large", bytes(4500))] {
        put(&mut host, &format!("/bucket/{source}"), body.clone());
        let ask = ask("/bucket/copy", &format!("bucket/{source}"))
            .header("x-amz-checksum-algorithm", "SHA256");
        let reply = host.ask(ask);
        let expected = digest::checksum(Algorithm::Sha256, &body).text(None);
        assert_eq!(reply.element("ChecksumSHA256"), Some(&expected[..]));
        let head =
            host.ask(Ask::new("HEAD", "/bucket/copy").header("x-amz-checksum-mode", "ENABLED"));
        assert_eq!(head.header("x-amz-checksum-sha256"), Some(&expected[..]));
        assert_eq!(get(&mut host, "/bucket/copy"), body);
    }
}

#[test]
fn a_block_forgotten_meanwhile_is_stored_again() {
    let mut host = Host::new();
    put(&mut host, "/bucket/source", bytes(2500));
    let forgotten = *host.blocks.keys().next().expect("a block");
    host.store.delete(Table::BlockCount, &forgotten.0).expect("a map");
    effects(&mut host);
    copy(&mut host, "/bucket/copy", "bucket/source");
    let trace = effects(&mut host);
    assert_eq!(trace.matches("LoadBlock").count(), 1, "{trace}");
    assert_eq!(trace.matches("StoreBlock").count(), 1, "{trace}");
    assert_eq!(get(&mut host, "/bucket/copy"), bytes(2500));
}

#[test]
fn a_copy_of_a_source_overwritten_meanwhile_starts_again() {
    let mut host = Host::new();
    // More blocks than are listed with the row.
    put(&mut host, "/bucket/source", bytes(70_500));
    let mut running = host.begin(ask("/bucket/copy", "bucket/source"));
    running.run_until(&mut host, "Read scan block_list");
    let lists: Vec<_> = host.store.rows(Table::BlockList).map(|(key, _)| key.to_vec()).collect();
    put(&mut host, "/bucket/source", bytes(3500));
    // As the job that drops the old data would.
    for key in lists {
        host.store.delete(Table::BlockList, &key).expect("a map");
    }
    while running.step(&mut host) {}
    assert_eq!(running.reply.outcome(), "200", "{}", running.reply.text());
    assert_eq!(get(&mut host, "/bucket/copy"), bytes(3500));
    assert_no_open_intent(&host);
}

#[test]
fn a_source_must_be_there_and_readable() {
    let mut host = Host::new();
    host.add_key("stranger", "secret", true);
    assert_eq!(host.ask(Ask::put("/theirs", "").key("stranger", "secret")).outcome(), "200");
    for (source, expected) in [
        ("bucket/none", "404 NoSuchKey"),
        ("nowhere/k", "404 NoSuchBucket"),
        ("theirs/k", "403 AccessDenied"),
        ("bucket", "400 InvalidArgument"),
        ("bucket/k?versionId=1", "404 NoSuchVersion"),
    ] {
        assert_eq!(host.ask(ask("/bucket/copy", source)).outcome(), expected, "{source}");
    }
    put(&mut host, "/bucket/k", "x");
    let other = ask("/bucket/copy", "bucket/k").header("x-amz-copy-source-if-match", "\"other\"");
    assert_eq!(host.ask(other).outcome(), "412 PreconditionFailed");
}

/// Begins an upload and copies a range of `bucket/source` into part 1.
fn part(host: &mut Host, range: Option<&str>) -> (String, Reply) {
    let upload = host.ask(Ask::new("POST", "/bucket/k?uploads"));
    let upload = upload.element("UploadId").expect("an id").to_owned();
    let ask = ask(&format!("/bucket/k?partNumber=1&uploadId={upload}"), "bucket/source");
    let reply = host.ask(match range {
        Some(range) => ask.header("x-amz-copy-source-range", range),
        None => ask,
    });
    (upload, reply)
}

#[test]
fn a_part_is_any_range_of_a_source() {
    for len in [50, 1000, 4500] {
        let whole = bytes(len);
        for (from, to) in [(0, len), (1, len), (0, len - 1), (7, 8), (len / 3, len / 2)] {
            let mut host = Host::new();
            put(&mut host, "/bucket/source", whole.clone());
            let (upload, reply) = part(&mut host, Some(&format!("bytes={from}-{}", to - 1)));
            assert_eq!(reply.outcome(), "200", "{}", reply.text());
            let etag = reply.element("ETag").expect("a tag").to_owned();
            assert!(etag.contains(&hex::encode(digest::md5(&whole[from..to]))));
            let list = format!(
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
            );
            let complete = Ask::new("POST", &format!("/bucket/k?uploadId={upload}")).body(list);
            assert_eq!(host.ask(complete).outcome(), "200");
            assert_eq!(get(&mut host, "/bucket/k"), &whole[from..to], "{len}: {from}..{to}");
            assert_no_open_intent(&host);
        }
    }
}

#[test]
fn whole_blocks_of_a_part_are_taken_by_reference() {
    let mut host = Host::new();
    put(&mut host, "/bucket/source", bytes(4500));
    let blocks = host.blocks.len();
    let (_, reply) = part(&mut host, Some("bytes=500-3999"));
    assert_eq!(reply.outcome(), "200");
    // Only the half block at the beginning is new.
    assert_eq!(host.blocks.len(), blocks + 1);
}

#[test]
fn a_range_must_lie_in_the_source() {
    let mut host = Host::new();
    put(&mut host, "/bucket/source", bytes(50));
    assert_eq!(part(&mut host, Some("bytes=0-50")).1.outcome(), "416 InvalidRange");
    assert_eq!(part(&mut host, Some("bytes=0-")).1.outcome(), "400 InvalidArgument");
    assert_eq!(part(&mut host, None).1.outcome(), "200");
}
