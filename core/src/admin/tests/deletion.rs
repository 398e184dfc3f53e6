//! Deletion of buckets through the Admin API.

use serde_json::{Value, json};

use super::buckets::id_of;
use crate::testing::{Ask, Host, KEY_ID, cluster::Cluster};

#[test]
fn a_bucket_with_objects_stays_and_says_how_many() {
    let mut host = Host::new();
    let delete = format!("DeleteBucket?id={}", id_of(&mut host, "bucket"));
    for key in ["a", "b", "c"] {
        assert_eq!(host.ask(Ask::put(&format!("/bucket/{key}"), "x")).status, 200);
    }
    let refused = host.admin(&delete, &Value::Null);
    assert_eq!(refused.error(), "409 BucketNotEmpty");
    assert!(refused.json["message"].as_str().is_some_and(|text| text.contains("3 objects")));
    for key in ["a", "b", "c"] {
        assert_eq!(host.ask(Ask::new("DELETE", &format!("/bucket/{key}"))).status, 204);
    }
    assert_eq!(host.admin(&delete, &Value::Null).ok(), Value::Null);
    assert_eq!(host.admin(&delete, &Value::Null).error(), "404 NoSuchBucket");
    assert_eq!(host.ask(Ask::get("/bucket/a")).outcome(), "404 NoSuchBucket");
    assert_eq!(host.ask(Ask::put("/bucket", "")).outcome(), "200");
}

#[test]
fn a_bucket_with_objects_stays_at_every_node() {
    let mut cluster = Cluster::replicated(3);
    let info = cluster.admin(0, "GetBucketInfo?search=bucket", &Value::Null).ok();
    let delete = format!("DeleteBucket?id={}", info["id"].as_str().expect("an id"));
    assert_eq!(cluster.ask(1, Ask::put("/bucket/k", "x")).status, 200);
    let refused = cluster.admin(2, &delete, &Value::Null);
    assert_eq!(refused.error(), "409 BucketNotEmpty");
    assert!(refused.json["message"].as_str().is_some_and(|text| text.contains("1 object;")));
    assert_eq!(cluster.ask(1, Ask::new("DELETE", "/bucket/k")).status, 204);
    cluster.admin(2, &delete, &Value::Null).ok();
    for at in 0..3 {
        assert_eq!(cluster.ask(at, Ask::put("/bucket/k", "x")).outcome(), "404 NoSuchBucket");
    }
}

/// A bucket that nobody calls by a name that all share.
#[test]
fn a_bucket_without_a_global_name_is_deleted_and_takes_objects_until_then() {
    for nodes in [1, 2, 3] {
        let mut cluster = Cluster::replicated(nodes);
        let all = json!({ "read": true, "write": true, "owner": true });
        let local = json!({ "accessKeyId": KEY_ID, "alias": "mine", "allow": all });
        let info = cluster.admin(0, "CreateBucket", &json!({ "localAlias": local })).ok();
        let delete = format!("DeleteBucket?id={}", info["id"].as_str().expect("an id"));
        let last = nodes - 1;
        assert_eq!(cluster.ask(last, Ask::put("/mine/k", "x")).outcome(), "200");
        assert_eq!(cluster.admin(0, &delete, &Value::Null).error(), "409 BucketNotEmpty");
        assert_eq!(cluster.ask(0, Ask::put("/mine/l", "x")).outcome(), "200", "it is not sealed");
        for key in ["k", "l"] {
            assert_eq!(cluster.ask(last, Ask::new("DELETE", &format!("/mine/{key}"))).status, 204);
        }
        assert_eq!(cluster.ask(last, Ask::new("DELETE", "/mine")).outcome(), "204");
        for at in 0..nodes {
            assert_eq!(cluster.ask(at, Ask::put("/mine/k", "x")).outcome(), "404 NoSuchBucket");
            let list = cluster.admin(at, "ListBuckets", &Value::Null).ok();
            assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        }
    }
}

#[test]
fn a_hidden_name_is_nobodys() {
    let mut cluster = Cluster::replicated(3);
    let local =
        json!({ "accessKeyId": KEY_ID, "alias": "mine", "allow": { "read": true, "write": true } });
    let info = cluster.admin(0, "CreateBucket", &json!({ "localAlias": local })).ok();
    let id = info["id"].as_str().expect("an id").to_owned();
    assert_eq!(cluster.ask(0, Ask::put("/mine/k", "x")).status, 200);
    // The attempt gives the bucket a name for its ballot.
    cluster.down(&[]);
    let refused = cluster.admin(0, &format!("DeleteBucket?id={id}"), &Value::Null);
    assert_eq!(refused.error(), "409 BucketNotEmpty");
    let info = cluster.admin(1, &format!("GetBucketInfo?id={id}"), &Value::Null).ok();
    assert_eq!(info["globalAliases"], json!([]));
    let get = Ask::get(&format!("/id%3A{id}/k"));
    assert!(cluster.ask(1, get).outcome().starts_with('4'));
}
