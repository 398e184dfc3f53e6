//! Access keys through the Admin API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testing::{
    Ask, Host, KEY_ID,
    cluster::{Cluster, Fate},
};

/// A new key: its id and its secret.
pub(super) fn new_key(host: &mut Host, body: &Value) -> (String, String) {
    let key = host.admin("CreateKey", body).ok();
    let text = |field: &str| key[field].as_str().expect("a text").to_owned();
    (text("accessKeyId"), text("secretAccessKey"))
}

#[test]
fn a_new_key_is_told_with_its_secret_once() {
    let mut host = Host::new();
    let mut key = host.admin("CreateKey", &json!({ "name": "laptop" })).ok();
    let id = key["accessKeyId"].as_str().expect("an id").to_owned();
    let secret = key["secretAccessKey"].take();
    assert!(id.starts_with("GK") && id.len() == 26, "{id}");
    assert_eq!(secret.as_str().map(str::len), Some(64));
    let expected = json!({
        "accessKeyId": id,
        "secretAccessKey": null,
        "name": "laptop",
        "created": "2023-11-14T22:13:20.005Z",
        "expiration": null,
        "expired": false,
        "permissions": { "createBucket": false },
        "buckets": [],
    });
    key["created"] = expected["created"].clone();
    assert_eq!(key, expected);
    let mut found = host.admin(&format!("GetKeyInfo?id={id}"), &Value::Null).ok();
    found["created"] = expected["created"].clone();
    assert_eq!(found, expected);
    let shown = host.admin(&format!("GetKeyInfo?id={id}&showSecretKey=true"), &Value::Null).ok();
    assert_eq!(shown["secretAccessKey"], secret);
}

#[test]
fn a_key_is_made_without_a_body() {
    let mut host = Host::new();
    for body in [Value::Null, json!({})] {
        assert_eq!(host.admin("CreateKey", &body).ok()["name"], "");
    }
}

#[test]
fn a_key_is_found_by_its_name_or_the_beginning_of_its_id() {
    let mut host = Host::new();
    let (id, _) = new_key(&mut host, &json!({ "name": "Laptop" }));
    for text in [&id[..], &id[..12], "laptop"] {
        let found = host.admin(&format!("GetKeyInfo?search={text}"), &Value::Null).ok();
        assert_eq!(found["accessKeyId"], id.as_str(), "{text}");
    }
    new_key(&mut host, &json!({ "name": "laptop" }));
    let several = host.admin("GetKeyInfo?search=laptop", &Value::Null);
    assert_eq!(several.error(), "400 InvalidRequest");
    let none = host.admin("GetKeyInfo?search=desktop", &Value::Null);
    assert_eq!(none.error(), "404 NoSuchAccessKey");
    assert_eq!(host.admin("GetKeyInfo?id=GK", &Value::Null).error(), "404 NoSuchAccessKey");
    for query in ["", "?id=a&search=b", "?showSecretKey=true", "?id=a&showSecretKey=1"] {
        let answer = host.admin(&format!("GetKeyInfo{query}"), &Value::Null);
        assert_eq!(answer.error(), "400 InvalidRequest", "{query}");
    }
}

#[test]
fn a_key_changes_its_name_and_what_it_may() {
    let mut host = Host::new();
    let (id, secret) = new_key(&mut host, &Value::Null);
    let update = format!("UpdateKey?id={id}");
    let create = |name: &str| Ask::put(name, "").key(&id, &secret);
    assert_eq!(host.ask(create("/mine")).outcome(), "403 AccessDenied");
    let body = json!({ "name": "new", "allow": { "createBucket": true } });
    let key = host.admin(&update, &body).ok();
    assert_eq!((&key["name"], &key["permissions"]["createBucket"]), (&json!("new"), &json!(true)));
    assert_eq!(key["secretAccessKey"], Value::Null);
    assert_eq!(host.ask(create("/mine")).outcome(), "200");
    let key = host.admin(&update, &json!({ "allow": { "createBucket": false } })).ok();
    assert_eq!(key["permissions"]["createBucket"], true, "what is not set is not meant");
    let key = host.admin(&update, &json!({ "deny": { "createBucket": true } })).ok();
    assert_eq!((&key["name"], &key["permissions"]["createBucket"]), (&json!("new"), &json!(false)));
    assert_eq!(host.ask(create("/other")).outcome(), "403 AccessDenied");
    for body in [
        json!({ "allow": { "createBucket": true }, "deny": { "createBucket": true } }),
        json!({ "expiration": "2030-01-01T00:00:00Z", "neverExpires": true }),
        json!({ "expiration": "tomorrow" }),
        json!({ "allow": { "createBuckets": true } }),
        json!({ "surname": "x" }),
    ] {
        assert_eq!(host.admin(&update, &body).error(), "400 InvalidRequest", "{body}");
    }
    let none = host.admin("UpdateKey?id=none", &json!({ "name": "x" }));
    assert_eq!(none.error(), "404 NoSuchAccessKey");
}

#[test]
fn an_expired_key_signs_nothing() {
    let mut host = Host::new();
    let update = format!("UpdateKey?id={KEY_ID}");
    let key = host.admin(&update, &json!({ "expiration": "2023-11-14T22:14:20Z" })).ok();
    assert_eq!(
        (&key["expired"], &key["expiration"]),
        (&json!(false), &json!("2023-11-14T22:14:20.000Z"))
    );
    assert_eq!(host.ask(Ask::get("/")).outcome(), "200");
    host.pass(Duration::from_secs(60));
    let reply = host.ask(Ask::get("/"));
    assert_eq!(reply.outcome(), "403 AccessDenied");
    assert!(reply.text().contains("expired on 2023-11-14T22:14:20.000Z"), "{}", reply.text());
    let wrong = host.ask(Ask::get("/").key(KEY_ID, "wrong"));
    assert_eq!(wrong.outcome(), "403 SignatureDoesNotMatch", "it tells strangers nothing");
    let listed = host.admin("ListKeys", &Value::Null).ok();
    assert_eq!(listed[0]["expired"], true);
    let key = host.admin(&update, &json!({ "neverExpires": true })).ok();
    assert_eq!((&key["expired"], &key["expiration"]), (&json!(false), &Value::Null));
    assert_eq!(host.ask(Ask::get("/")).outcome(), "200");
}

#[test]
fn keys_of_other_stores_are_taken() {
    let mut host = Host::new();
    for (id, secret) in [
        ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        (
            "GK0123456789abcdef01234567",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ),
        ("minioadmin", "minioadmin"),
        ("a.b_c-d@e", "password"),
    ] {
        let body = json!({ "accessKeyId": id, "secretAccessKey": secret, "name": "imported" });
        let key = host.admin("ImportKey", &body).ok();
        assert_eq!((&key["accessKeyId"], &key["name"]), (&json!(id), &json!("imported")));
        assert_eq!(host.ask(Ask::get("/").key(id, secret)).outcome(), "200", "{id}");
        assert_eq!(host.admin("ImportKey", &body).error(), "409 KeyAlreadyExists");
    }
    for (id, secret) in
        [("", "password"), ("a/b", "password"), ("abc", "short"), ("a b", "password")]
    {
        let body = json!({ "accessKeyId": id, "secretAccessKey": secret });
        assert_eq!(host.admin("ImportKey", &body).error(), "400 InvalidRequest", "{id} {secret}");
    }
}

#[test]
fn the_id_of_a_deleted_key_stays_dead() {
    let mut host = Host::new();
    let body = json!({ "accessKeyId": "reborn", "secretAccessKey": "password" });
    host.admin("ImportKey", &body).ok();
    let ask = || Ask::get("/").key("reborn", "password");
    assert_eq!(host.ask(ask()).outcome(), "200");
    assert_eq!(host.admin("DeleteKey?id=reborn", &Value::Null).ok(), Value::Null);
    assert_eq!(host.ask(ask()).outcome(), "403 InvalidAccessKeyId");
    let again = host.admin("ImportKey", &body);
    assert_eq!(again.error(), "409 KeyAlreadyExists");
    assert!(again.json["message"].as_str().is_some_and(|text| text.contains("deleted")));
    assert_eq!(host.ask(ask()).outcome(), "403 InvalidAccessKeyId");
    for call in ["DeleteKey?id=reborn", "GetKeyInfo?id=reborn"] {
        assert_eq!(host.admin(call, &Value::Null).error(), "404 NoSuchAccessKey");
    }
    assert_eq!(host.admin("ListKeys", &Value::Null).ok().as_array().map(Vec::len), Some(1));
    let body = json!({ "now": true });
    assert_eq!(host.admin("DeleteKey?id=reborn", &body).error(), "400 InvalidRequest");
}

#[test]
fn a_key_made_at_one_node_works_at_another_and_deleted_at_one_works_nowhere() {
    let mut cluster = Cluster::replicated(3);
    let key = cluster.admin(0, "CreateKey", &json!({ "allow": { "createBucket": true } })).ok();
    let id = key["accessKeyId"].as_str().expect("an id").to_owned();
    let secret = key["secretAccessKey"].as_str().expect("a secret").to_owned();
    let ask = || Ask::get("/").key(&id, &secret);
    for at in 0..3 {
        assert_eq!(cluster.ask(at, ask()).outcome(), "200");
        let info = cluster.admin(at, &format!("GetKeyInfo?id={id}"), &Value::Null).ok();
        assert_eq!(info["accessKeyId"], id.as_str());
    }
    // The farthest node takes its time to hear of it, and is waited for.
    cluster.network(|call| match (call.to, call.what.starts_with("Commit")) {
        (2, true) => Fate::Slow(Duration::from_millis(500)),
        _ => Fate::Answered,
    });
    cluster.admin(0, &format!("DeleteKey?id={id}"), &Value::Null).ok();
    cluster.network(|_| panic!("nobody is asked about a key that is known to be deleted"));
    let known = cluster.hosts[2].ask(ask());
    assert_eq!(known.outcome(), "403 InvalidAccessKeyId");
}

#[test]
fn a_minority_changes_no_key() {
    let mut cluster = Cluster::replicated(3);
    cluster.down(&[1, 2]);
    let created = cluster.admin(0, "CreateKey", &Value::Null);
    assert_eq!(created.error(), "503 ServiceUnavailable");
    let read = cluster.admin(0, "ListKeys", &Value::Null);
    assert_eq!(read.error(), "503 ServiceUnavailable");
}
