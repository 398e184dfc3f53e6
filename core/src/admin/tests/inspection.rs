//! How an object is stored, as InspectObject tells it.

use serde_json::{Value, json};

use super::buckets::id_of;
use crate::testing::{Ask, Host};

fn inspect(host: &mut Host, key: &str) -> Value {
    let id = id_of(host, "bucket");
    let info = host.admin(&format!("InspectObject?bucketId={id}&key={key}"), &Value::Null).ok();
    assert_eq!((&info["bucketId"], &info["key"]), (&json!(id), &json!(key)));
    info["versions"].clone()
}

fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn a_small_object_is_inline() {
    let mut host = Host::new();
    let put = Ask::put("/bucket/small", "hello").header("content-type", "text/plain");
    assert_eq!(host.ask(put).status, 200);
    let mut versions = inspect(&mut host, "small");
    let uuid = versions[0]["uuid"].take();
    assert_eq!(uuid.as_str().map(str::len), Some(32));
    assert!(
        versions[0]["timestamp"].take().as_str().is_some_and(|at| at.starts_with("2023-11-14T"))
    );
    let expected = json!([{
        "uuid": null, "timestamp": null, "encrypted": false, "uploading": false, "aborted": false,
        "deleteMarker": false, "inline": true, "size": 5, "etag": "5d41402abc4b2a76b9719d911017c592",
        "headers": [["content-type", "text/plain"]], "blocks": [],
    }]);
    assert_eq!(versions, expected);
}

#[test]
fn a_large_object_has_blocks() {
    let mut host = Host::new();
    let body = bytes(2500);
    assert_eq!(host.ask(Ask::put("/bucket/large", body.clone())).status, 200);
    let versions = inspect(&mut host, "large");
    let blocks: Vec<Value> = [(0, 1000), (1000, 2000), (2000, 2500)]
        .into_iter()
        .map(|(from, to)| {
            let hash = crate::id::Hash::of(&body[from..to]).to_string();
            json!({ "partNumber": 0, "offset": from, "hash": hash, "size": to - from })
        })
        .collect();
    assert_eq!(versions[0]["blocks"], json!(blocks));
    assert_eq!((&versions[0]["inline"], &versions[0]["size"]), (&json!(false), &json!(2500)));
}

#[test]
fn what_is_deleted_or_on_its_way_is_told_too() {
    let mut host = Host::new();
    let id = id_of(&mut host, "bucket");
    let none = host.admin(&format!("InspectObject?bucketId={id}&key=k"), &Value::Null);
    assert_eq!(none.error(), "404 NoSuchKey");
    assert_eq!(host.ask(Ask::put("/bucket/k", "x")).status, 200);
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket/k")).status, 204);
    assert_eq!(host.ask(Ask::new("POST", "/bucket/k?uploads")).status, 200);
    assert_eq!(host.ask(Ask::new("POST", "/bucket/k2?uploads")).status, 200);
    let versions = inspect(&mut host, "k");
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
    let flags = |at: usize| (&versions[at]["deleteMarker"], &versions[at]["uploading"]);
    assert_eq!(flags(0), (&json!(true), &json!(false)));
    assert_eq!(flags(1), (&json!(false), &json!(true)));
}

#[test]
fn the_blocks_of_a_completed_upload_say_their_part() {
    let mut host = Host::new();
    let reply = host.ask(Ask::new("POST", "/bucket/multi?uploads"));
    let upload = reply.element("UploadId").expect("an id").to_owned();
    let target = format!("/bucket/multi?uploadId={upload}&partNumber=7");
    let part = host.ask(Ask::put(&target, bytes(1500)));
    let etag = part.header("etag").expect("an etag");
    let listed = format!("<Part><PartNumber>7</PartNumber><ETag>{etag}</ETag></Part>");
    let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let complete = Ask::new("POST", &format!("/bucket/multi?uploadId={upload}")).body(body);
    assert_eq!(host.ask(complete).outcome(), "200");
    let versions = inspect(&mut host, "multi");
    let blocks = versions[0]["blocks"].as_array().expect("a list");
    let told = |block: &Value| (block["partNumber"].as_u64(), block["offset"].as_u64());
    let expected = [(Some(7), Some(0)), (Some(7), Some(1000))];
    assert_eq!(blocks.iter().map(told).collect::<Vec<_>>(), expected);
}
