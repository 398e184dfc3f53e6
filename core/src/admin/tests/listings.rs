//! Lists of keys and buckets.

use serde_json::{Value, json};

use super::keys::new_key;
use crate::testing::{Host, KEY_ID};

fn ids(list: &Value, field: &str) -> Vec<String> {
    let text = |each: &Value| each[field].as_str().expect("a text").to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}

#[test]
fn keys_are_listed_in_order_and_in_parts() {
    let mut host = Host::new();
    let mut all: Vec<String> = (0..5).map(|_| new_key(&mut host, &Value::Null).0).collect();
    all.push(KEY_ID.to_owned());
    all.sort();
    let list = host.admin("ListKeys", &Value::Null).ok();
    assert_eq!(ids(&list, "id"), all);
    let line = json!({
        "id": KEY_ID, "name": "key MKtest", "created": "2023-11-14T22:13:20.000Z", "expiration": null,
        "expired": false,
    });
    assert_eq!(list[5], line);
    let part = host.admin("ListKeys?offset=1&limit=2", &Value::Null).ok();
    assert_eq!(ids(&part, "id"), all[1..3]);
    let infos = host.admin("ListKeysInfo?offset=5", &Value::Null).ok();
    assert_eq!(ids(&infos, "accessKeyId"), [KEY_ID]);
    assert_eq!(infos[0]["buckets"][0]["globalAliases"], json!(["bucket"]));
    for query in ["limit=-1", "limit=x", "offset=", "limit=1000000", "page=1"] {
        let answer = host.admin(&format!("ListKeys?{query}"), &Value::Null);
        assert_eq!(answer.error(), "400 InvalidRequest", "{query}");
    }
}

#[test]
fn buckets_are_listed_with_all_their_names() {
    let mut host = Host::new();
    let body = json!({
        "globalAlias": "photos",
        "localAlias": { "accessKeyId": KEY_ID, "alias": "mine" },
    });
    let photos = host.admin("CreateBucket", &body).ok();
    let list = host.admin("ListBuckets", &Value::Null).ok();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let line = json!({
        "id": photos["id"],
        "created": photos["created"],
        "globalAliases": ["photos"],
        "localAliases": [{ "accessKeyId": KEY_ID, "alias": "mine" }],
    });
    assert!(list.as_array().is_some_and(|list| list.contains(&line)), "{list}");
    let infos = host.admin("ListBucketsInfo", &Value::Null).ok();
    assert!(infos.as_array().is_some_and(|list| list.contains(&photos)), "{infos}");
    assert_eq!(
        host.admin("ListBuckets?limit=1", &Value::Null).ok().as_array().map(Vec::len),
        Some(1)
    );
}
