//! Who may do what with a bucket, through the Admin API.

use std::time::Duration;

use serde_json::{Value, json};

use super::buckets::id_of;
use crate::testing::{
    Ask, Host,
    cluster::{Cluster, Fate},
};

fn change(bucket: &str, permissions: Value) -> Value {
    json!({ "bucketId": bucket, "accessKeyId": "other", "permissions": permissions })
}

fn granted(info: &Value) -> Value {
    let keys = info["keys"].as_array().expect("a list");
    let other = keys.iter().find(|key| key["accessKeyId"] == "other");
    other.map_or(Value::Null, |key| key["permissions"].clone())
}

#[test]
fn permissions_are_granted_and_taken_one_by_one() {
    let mut host = Host::new();
    host.add_key("other", "other secret", false);
    let id = id_of(&mut host, "bucket");
    let put = || Ask::put("/bucket/k", "x").key("other", "other secret");
    let get = || Ask::get("/bucket/k").key("other", "other secret");
    assert_eq!(host.ask(put()).outcome(), "403 AccessDenied");
    let info = host.admin("AllowBucketKey", &change(&id, json!({ "write": true }))).ok();
    assert_eq!(granted(&info), json!({ "read": false, "write": true, "owner": false }));
    assert_eq!(host.ask(put()).outcome(), "200");
    assert_eq!(host.ask(get()).outcome(), "403 AccessDenied");
    let more = change(&id, json!({ "read": true, "write": false }));
    let info = host.admin("AllowBucketKey", &more).ok();
    assert_eq!(granted(&info), json!({ "read": true, "write": true, "owner": false }));
    assert_eq!(host.ask(get()).outcome(), "200");
    let info = host.admin("DenyBucketKey", &change(&id, json!({ "write": true }))).ok();
    assert_eq!(granted(&info), json!({ "read": true, "write": false, "owner": false }));
    assert_eq!(host.ask(put()).outcome(), "403 AccessDenied");
    let info = host.admin("DenyBucketKey", &change(&id, json!({ "read": true }))).ok();
    assert_eq!(granted(&info), Value::Null, "a key that may do nothing is not listed");
}

#[test]
fn there_must_be_a_bucket_and_a_key() {
    let mut host = Host::new();
    host.add_key("other", "other secret", false);
    let id = id_of(&mut host, "bucket");
    let none = change(&"0".repeat(32), json!({ "read": true }));
    assert_eq!(host.admin("AllowBucketKey", &none).error(), "404 NoSuchBucket");
    let nobody =
        json!({ "bucketId": id, "accessKeyId": "nobody", "permissions": { "read": true } });
    assert_eq!(host.admin("AllowBucketKey", &nobody).error(), "404 NoSuchAccessKey");
    let unknown = change(&id, json!({ "admin": true }));
    assert_eq!(host.admin("AllowBucketKey", &unknown).error(), "400 InvalidRequest");
}

#[test]
fn what_is_taken_at_one_node_is_taken_at_all() {
    let mut cluster = Cluster::replicated(3);
    cluster.hosts.iter_mut().for_each(|host| host.add_key("other", "other secret", false));
    let id = cluster.admin(0, "GetBucketInfo?search=bucket", &Value::Null).ok()["id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    cluster.admin(1, "AllowBucketKey", &change(&id, json!({ "read": true, "write": true }))).ok();
    let put = || Ask::put("/bucket/k", "x").key("other", "other secret");
    for at in 0..3 {
        assert_eq!(cluster.ask(at, put()).outcome(), "200", "at {at}");
    }
    cluster.network(|call| match (call.to, call.what.starts_with("Commit")) {
        (2, true) => Fate::Slow(Duration::from_millis(500)),
        _ => Fate::Answered,
    });
    cluster.admin(0, "DenyBucketKey", &change(&id, json!({ "write": true }))).ok();
    for at in 0..3 {
        assert_eq!(cluster.ask(at, put()).outcome(), "403 AccessDenied", "at {at}");
    }
}
