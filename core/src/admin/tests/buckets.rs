//! Buckets through the Admin API.

use serde_json::{Value, json};

use crate::testing::{Ask, Host, KEY_ID, cluster::Cluster};

/// The id of a bucket that everybody calls so.
pub(super) fn id_of(host: &mut Host, name: &str) -> String {
    let info = host.admin(&format!("GetBucketInfo?globalAlias={name}"), &Value::Null).ok();
    info["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_bucket_has_this_shape() {
    let mut host = Host::new();
    assert_eq!(host.ask(Ask::put("/bucket/a", "12345")).status, 200);
    assert_eq!(host.ask(Ask::put("/bucket/b", "678")).status, 200);
    let id = id_of(&mut host, "bucket");
    let mut info = host.admin(&format!("GetBucketInfo?id={id}"), &Value::Null).ok();
    assert!(info["created"].as_str().is_some_and(|text| text.starts_with("2023-11-14T22:13:20.")));
    info["created"] = json!("then");
    let expected = json!({
        "id": id,
        "created": "then",
        "globalAliases": ["bucket"],
        "websiteAccess": false,
        "websiteConfig": null,
        "corsRules": null,
        "lifecycleRules": null,
        "keys": [{
            "accessKeyId": KEY_ID,
            "name": "key MKtest",
            "permissions": { "read": true, "write": true, "owner": true },
            "bucketLocalAliases": [],
        }],
        "objects": 2,
        "bytes": 8,
        "unfinishedUploads": 0,
        "unfinishedMultipartUploads": 0,
        "unfinishedMultipartUploadParts": 0,
        "unfinishedMultipartUploadBytes": 0,
        "quotas": { "maxSize": null, "maxObjects": null },
        "publicRead": { "enabled": false, "prefixes": [] },
    });
    assert_eq!(info, expected);
    let key = host.admin(&format!("GetKeyInfo?id={KEY_ID}"), &Value::Null).ok();
    let bucket = json!([{
        "id": id,
        "globalAliases": ["bucket"],
        "localAliases": [],
        "permissions": { "read": true, "write": true, "owner": true },
    }]);
    assert_eq!(key["buckets"], bucket);
}

#[test]
fn a_bucket_is_found_by_its_name_or_the_beginning_of_its_id() {
    let mut host = Host::new();
    let id = id_of(&mut host, "bucket");
    for query in [format!("id={id}"), format!("search={}", &id[..8]), "search=bucket".to_owned()] {
        let found = host.admin(&format!("GetBucketInfo?{query}"), &Value::Null).ok();
        assert_eq!(found["id"], id.as_str(), "{query}");
    }
    for query in ["id=abc", "globalAlias=none", "search=none"] {
        let none = host.admin(&format!("GetBucketInfo?{query}"), &Value::Null);
        assert_eq!(none.error(), "404 NoSuchBucket", "{query}");
    }
    host.admin("CreateBucket", &json!({ "globalAlias": "second" })).ok();
    let both = host.admin("GetBucketInfo?id=a&search=b", &Value::Null);
    assert_eq!(both.error(), "400 InvalidRequest");
}

#[test]
fn a_bucket_is_created_with_a_name_that_all_share() {
    let mut host = Host::new();
    let info = host.admin("CreateBucket", &json!({ "globalAlias": "photos" })).ok();
    assert_eq!((&info["globalAliases"], &info["keys"]), (&json!(["photos"]), &json!([])));
    let again = host.admin("CreateBucket", &json!({ "globalAlias": "photos" }));
    assert_eq!(again.error(), "409 BucketAlreadyExists");
    assert_eq!(host.ask(Ask::put("/photos", "")).outcome(), "409 BucketAlreadyExists");
    let bad = host.admin("CreateBucket", &json!({ "globalAlias": "Photos" }));
    assert_eq!(bad.error(), "400 InvalidBucketName");
    let unknown = host.admin("CreateBucket", &json!({ "alias": "photos" }));
    assert_eq!(unknown.error(), "400 InvalidRequest");
}

#[test]
fn a_bucket_is_created_with_a_name_of_one_key() {
    let mut host = Host::new();
    let local = |alias: &str| json!({ "localAlias": { "accessKeyId": KEY_ID, "alias": alias, "allow": { "read": true, "write": true } } });
    let info = host.admin("CreateBucket", &local("mine")).ok();
    assert_eq!(info["globalAliases"], json!([]));
    let key = json!([{
        "accessKeyId": KEY_ID,
        "name": "key MKtest",
        "permissions": { "read": true, "write": true, "owner": false },
        "bucketLocalAliases": ["mine"],
    }]);
    assert_eq!(info["keys"], key);
    assert_eq!(host.ask(Ask::put("/mine/k", "x")).outcome(), "200");
    assert_eq!(host.ask(Ask::put("/mine", "")).outcome(), "409 BucketAlreadyExists");
    host.add_key("other", "other secret", true);
    let other = Ask::get("/mine/k").key("other", "other secret");
    assert_eq!(host.ask(other).outcome(), "404 NoSuchBucket");
    assert_eq!(host.admin("CreateBucket", &local("mine")).error(), "409 BucketAlreadyExists");
    let nobody = json!({ "localAlias": { "accessKeyId": "nobody", "alias": "mine" } });
    assert_eq!(host.admin("CreateBucket", &nobody).error(), "404 NoSuchAccessKey");
    let nameless = host.admin("CreateBucket", &Value::Null).ok();
    assert_eq!(nameless["globalAliases"], json!([]));
}

#[test]
fn a_bucket_keeps_its_quotas_and_its_website() {
    let mut host = Host::new();
    let update = format!("UpdateBucket?id={}", id_of(&mut host, "bucket"));
    let info =
        host.admin(&update, &json!({ "quotas": { "maxSize": 1000, "maxObjects": null } })).ok();
    assert_eq!(info["quotas"], json!({ "maxSize": 1000, "maxObjects": null }));
    let website =
        json!({ "enabled": true, "indexDocument": "index.html", "errorDocument": "404.html" });
    let info = host.admin(&update, &json!({ "websiteAccess": website, "corsRules": [] })).ok();
    let config =
        json!({ "indexDocument": "index.html", "errorDocument": "404.html", "routingRules": [] });
    assert_eq!((&info["websiteAccess"], &info["websiteConfig"]), (&json!(true), &config));
    assert_eq!(info["quotas"]["maxSize"], 1000, "what is not named stays");
    let info = host.admin(&update, &json!({ "websiteAccess": { "enabled": true } })).ok();
    let default =
        json!({ "indexDocument": "index.html", "errorDocument": null, "routingRules": [] });
    assert_eq!(info["websiteConfig"], default, "the index document of the configuration");
    let info =
        host.admin(&update, &json!({ "websiteAccess": { "enabled": false }, "quotas": {} })).ok();
    assert_eq!((&info["websiteAccess"], &info["websiteConfig"]), (&json!(false), &Value::Null));
    assert_eq!(info["quotas"], json!({ "maxSize": null, "maxObjects": null }));
}

#[test]
fn a_bucket_keeps_what_of_it_is_public() {
    let mut host = Host::new();
    let update = format!("UpdateBucket?id={}", id_of(&mut host, "bucket"));
    for (wanted, kept) in [
        (json!({ "enabled": true }), json!({ "enabled": true, "prefixes": [] })),
        (
            json!({ "enabled": true, "prefixes": ["b/", "a/", "b/"] }),
            json!({ "enabled": true, "prefixes": ["a/", "b/"] }),
        ),
        (
            json!({ "enabled": false, "prefixes": null }),
            json!({ "enabled": false, "prefixes": [] }),
        ),
    ] {
        let info = host.admin(&update, &json!({ "publicRead": wanted })).ok();
        assert_eq!(info["publicRead"], kept, "{wanted}");
        let info = host.admin(&update, &json!({ "quotas": {} })).ok();
        assert_eq!(info["publicRead"], kept, "what is not named stays");
    }
}

#[test]
fn a_bucket_keeps_its_rules_for_pages_of_other_websites() {
    let mut host = Host::new();
    let update = format!("UpdateBucket?id={}", id_of(&mut host, "bucket"));
    let rules = json!([{
        "ID": "app", "AllowedOrigin": ["https://app.example"], "AllowedMethod": ["GET", "PUT"],
        "AllowedHeader": ["*"], "ExposeHeader": ["ETag"], "MaxAgeSeconds": 60,
    }]);
    let info = host.admin(&update, &json!({ "corsRules": rules })).ok();
    assert_eq!(info["corsRules"], rules);
    for body in [json!({ "quotas": {} }), json!({ "corsRules": null })] {
        assert_eq!(host.admin(&update, &body).ok()["corsRules"], rules, "what is not named stays");
    }
    let shown = host.ask(Ask::get("/bucket?cors"));
    assert_eq!(shown.elements("AllowedOrigin"), ["https://app.example"]);
    assert_eq!(host.admin(&update, &json!({ "corsRules": [] })).ok()["corsRules"], Value::Null);
    assert_eq!(host.ask(Ask::get("/bucket?cors")).outcome(), "404 NoSuchCORSConfiguration");
}

#[test]
fn what_would_not_be_honoured_is_refused() {
    let mut host = Host::new();
    let update = format!("UpdateBucket?id={}", id_of(&mut host, "bucket"));
    let site = |more: Value| {
        let mut site = json!({ "enabled": true, "indexDocument": "i" });
        site.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        json!({ "websiteAccess": site })
    };
    for (body, error) in [
        (json!({ "corsRules": [{ "allowOrigins": ["*"] }] }), "400 InvalidRequest"),
        (json!({ "corsRules": [{ "AllowedOrigin": ["*"] }] }), "400 InvalidRequest"),
        (json!({ "lifecycleRules": [{}] }), "501 NotImplemented"),
        (site(json!({ "routingRules": [{}] })), "400 InvalidRequest"),
        (site(json!({ "indexDocument": "" })), "400 InvalidRequest"),
        (site(json!({ "indexDocument": "pages/index.html" })), "400 InvalidRequest"),
        (
            json!({ "websiteAccess": { "enabled": false, "indexDocument": "i" } }),
            "400 InvalidRequest",
        ),
        (site(json!({ "errorDocument": "" })), "400 InvalidRequest"),
        (json!({ "quotas": { "maxSize": -1 } }), "400 InvalidRequest"),
        (json!({ "quota": {} }), "400 InvalidRequest"),
        (json!({ "publicRead": { "prefixes": ["a"] } }), "400 InvalidRequest"),
        (json!({ "publicRead": { "enabled": false, "prefixes": ["a"] } }), "400 InvalidRequest"),
        (json!({ "publicRead": { "enabled": true, "prefixes": [""] } }), "400 InvalidRequest"),
        (
            json!({ "publicRead": { "enabled": true, "prefixes": ["a".repeat(1025)] } }),
            "400 InvalidRequest",
        ),
    ] {
        let answer = host.admin(&update, &body);
        assert_eq!(answer.error(), error, "{body}");
    }
    let none = host.admin(&format!("UpdateBucket?id={}", "0".repeat(32)), &json!({}));
    assert_eq!(none.error(), "404 NoSuchBucket");
    assert_eq!(host.admin("UpdateBucket", &json!({})).error(), "400 InvalidRequest");
}

#[test]
fn of_a_name_created_at_two_nodes_there_is_one_bucket() {
    let mut cluster = Cluster::replicated(3);
    let body = json!({ "globalAlias": "photos" });
    let info = cluster.admin(0, "CreateBucket", &body).ok();
    assert_eq!(cluster.admin(1, "CreateBucket", &body).error(), "409 BucketAlreadyExists");
    assert_eq!(cluster.ask(2, Ask::put("/photos", "")).outcome(), "409 BucketAlreadyExists");
    for at in 0..3 {
        let found = cluster.admin(at, "GetBucketInfo?search=photos", &Value::Null).ok();
        assert_eq!(found["id"], info["id"], "at {at}");
    }
}
