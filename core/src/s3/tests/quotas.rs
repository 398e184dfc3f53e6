//! What a bucket may hold.

use serde_json::{Value, json};

use super::{bytes, put};
use crate::{
    store::Table,
    testing::{
        Ask, Host, Reply,
        cluster::{Cluster, layout},
    },
};

fn limit(host: &mut Host, quotas: &Value) {
    let info = host.admin("GetBucketInfo?globalAlias=bucket", &Value::Null).ok();
    let update = format!("UpdateBucket?id={}", info["id"].as_str().expect("an id"));
    host.admin(&update, &json!({ "quotas": quotas })).ok();
}

fn assert_refused(reply: &Reply) {
    assert_eq!(reply.outcome(), "403 QuotaExceeded", "{}", reply.text());
    assert_eq!(reply.element("BucketName"), Some("bucket"));
}

#[test]
fn no_more_objects_than_allowed() {
    let mut host = Host::new();
    limit(&mut host, &json!({ "maxObjects": 2 }));
    put(&mut host, "/bucket/a", "1");
    put(&mut host, "/bucket/b", bytes(3000));
    assert_refused(&host.ask(Ask::put("/bucket/c", "")));
    assert_refused(&host.ask(Ask::new("POST", "/bucket/c?uploads")));
    let copy = Ask::new("PUT", "/bucket/c").header("x-amz-copy-source", "bucket/a");
    assert_refused(&host.ask(copy));
    put(&mut host, "/bucket/b", bytes(5000));
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket/a")).status, 204);
    put(&mut host, "/bucket/c", "");
}

#[test]
fn no_more_bytes_than_allowed() {
    let mut host = Host::new();
    limit(&mut host, &json!({ "maxSize": 5000 }));
    put(&mut host, "/bucket/a", bytes(3000));
    let stored = host.count(Table::BlockRef);
    assert_refused(&host.ask(Ask::put("/bucket/b", bytes(2001))));
    assert_refused(&host.ask(Ask::put("/bucket/b", bytes(2001)).chunked()));
    assert_eq!(host.count(Table::BlockRef), stored, "nothing of it was taken in");
    put(&mut host, "/bucket/b", bytes(2000));
    let copy = Ask::new("PUT", "/bucket/c").header("x-amz-copy-source", "bucket/a");
    assert_refused(&host.ask(copy));
    let relabelled = Ask::new("PUT", "/bucket/a")
        .header("x-amz-copy-source", "bucket/a")
        .header("x-amz-metadata-directive", "REPLACE");
    assert_eq!(host.ask(relabelled).outcome(), "200");
    assert_refused(&host.ask(Ask::put("/bucket/b", bytes(2001))));
    put(&mut host, "/bucket/b", bytes(100));
    put(&mut host, "/bucket/c", bytes(1900));
}

/// It fits when it begins, and no more when it has come.
#[test]
fn what_others_write_meanwhile_is_counted() {
    let mut host = Host::new();
    limit(&mut host, &json!({ "maxSize": 5000 }));
    let mut slow = host.begin(Ask::put("/bucket/slow", bytes(3000)));
    slow.run_until(&mut host, "StoreBlock");
    put(&mut host, "/bucket/fast", bytes(2500));
    while slow.step(&mut host) {}
    assert_refused(&slow.reply);
    super::assert_no_open_intent(&host);
    assert_eq!(host.ask(Ask::get("/bucket/slow")).outcome(), "404 NoSuchKey");
}

/// What is past its last look when the others look is not counted: no more than that is ever too much, and from then on nothing is let in.
#[test]
fn a_bucket_ends_up_too_full_by_what_was_under_way_at_once_at_most() {
    for under_way in [1, 3] {
        let mut host = Host::new();
        limit(&mut host, &json!({ "maxSize": 5000 }));
        put(&mut host, "/bucket/first", bytes(3000));
        let begin = |n: usize| host.begin(Ask::put(&format!("/bucket/{n}"), bytes(1900)));
        let mut all: Vec<_> = (0..under_way).map(begin).collect();
        // All have looked when the first of them becomes visible.
        for each in &mut all {
            each.run_until(&mut host, "Commit");
            // Past the commit of its intent, if there is one.
            while each.next().is_some_and(|line| !line.contains("object")) && each.step(&mut host) {
            }
        }
        for each in &mut all {
            while each.step(&mut host) {}
            assert_eq!(each.reply.outcome(), "200");
        }
        let info = host.admin("GetBucketInfo?globalAlias=bucket", &Value::Null).ok();
        assert_eq!(info["bytes"], json!(3000 + 1900 * under_way));
        let over = (3000 + 1900 * under_way).saturating_sub(5000);
        assert!(over <= 1900 * (under_way - 1), "all but the one that there was room for");
        assert_refused(&host.ask(Ask::put("/bucket/late", bytes(1900))));
    }
}

#[test]
fn parts_and_what_comes_of_them_are_counted() {
    let mut host = Host::new();
    limit(&mut host, &json!({ "maxSize": 5000 }));
    let reply = host.ask(Ask::new("POST", "/bucket/multi?uploads"));
    let upload = reply.element("UploadId").expect("an id").to_owned();
    let part = format!("/bucket/multi?uploadId={upload}&partNumber=1");
    assert_refused(&host.ask(Ask::put(&part, bytes(5001))));
    let reply = host.ask(Ask::put(&part, bytes(3000)));
    let etag = reply.header("etag").expect("an etag");
    let listed = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let complete = || {
        let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
        Ask::new("POST", &format!("/bucket/multi?uploadId={upload}")).body(body)
    };
    put(&mut host, "/bucket/other", bytes(2001));
    assert_refused(&host.ask(complete()));
    // The upload is still there, and is completed once there is room.
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket/other")).status, 204);
    assert_eq!(host.ask(complete()).outcome(), "200");
    // Whoever has not heard of that is told the same, however full the bucket is.
    put(&mut host, "/bucket/other", bytes(2000));
    assert_eq!(host.ask(complete()).outcome(), "200");
}

#[test]
fn a_part_that_is_copied_is_counted() {
    let mut host = Host::new();
    put(&mut host, "/bucket/source", bytes(3000));
    limit(&mut host, &json!({ "maxSize": 5000 }));
    let reply = host.ask(Ask::new("POST", "/bucket/multi?uploads"));
    let upload = reply.element("UploadId").expect("an id").to_owned();
    let target = format!("/bucket/multi?uploadId={upload}&partNumber=1");
    let copy = || Ask::new("PUT", &target).header("x-amz-copy-source", "bucket/source");
    assert_refused(&host.ask(copy()));
    let range = copy().header("x-amz-copy-source-range", "bytes=0-1999");
    assert_eq!(host.ask(range).outcome(), "200");
}

/// Nobody holds the whole bucket, and what all hold is counted once.
#[test]
fn a_bucket_on_many_nodes_is_counted() {
    for down in [&[][..], &[3]] {
        let mut cluster = Cluster::new(6, &layout(1, 6, |p| vec![p % 6, (p + 1) % 6, (p + 2) % 6]));
        let info = cluster.admin(0, "GetBucketInfo?search=bucket", &Value::Null).ok();
        let id = info["id"].as_str().expect("an id").to_owned();
        let quotas = json!({ "quotas": { "maxObjects": 60, "maxSize": 6000 } });
        cluster.admin(0, &format!("UpdateBucket?id={id}"), &quotas).ok();
        cluster.down(down);
        let mut stored = 0;
        while stored < 200 {
            let ask = Ask::put(&format!("/bucket/{stored}"), bytes(50));
            let reply = cluster.ask(stored % 3, ask);
            if reply.status != 200 {
                assert_refused(&reply);
                break;
            }
            stored += 1;
        }
        match down {
            [] => {
                assert_eq!(stored, 60);
                let info = cluster.admin(5, &format!("GetBucketInfo?id={id}"), &Value::Null).ok();
                assert_eq!((&info["objects"], &info["bytes"]), (&json!(60), &json!(3000)));
            }
            // What one of six holds is taken for what the others hold on average.
            _ => assert!((45..=80).contains(&stored), "{stored}"),
        }
    }
}
