//! Names of buckets, through the Admin API and as S3 knows them.

use serde_json::{Value, json};

use super::buckets::id_of;
use crate::testing::{
    Ask, Host, KEY_ID,
    cluster::{Cluster, layout},
};

fn global(id: &str, name: &str) -> Value {
    json!({ "bucketId": id, "globalAlias": name })
}

fn local(id: &str, key: &str, name: &str) -> Value {
    json!({ "bucketId": id, "localAlias": name, "accessKeyId": key })
}

#[test]
fn a_bucket_has_several_names() {
    let mut host = Host::new();
    let id = id_of(&mut host, "bucket");
    let info = host.admin("AddBucketAlias", &global(&id, "photos")).ok();
    assert_eq!(info["globalAliases"], json!(["bucket", "photos"]));
    host.admin("AddBucketAlias", &global(&id, "photos")).ok();
    assert_eq!(host.ask(Ask::put("/photos/k", "x")).outcome(), "200");
    assert_eq!(host.ask(Ask::get("/bucket/k")).text(), "x");
    assert_eq!(host.ask(Ask::get("/")).elements("Name"), ["bucket", "photos"]);
    let info = host.admin("RemoveBucketAlias", &global(&id, "bucket")).ok();
    assert_eq!(info["globalAliases"], json!(["photos"]));
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchBucket");
    let last = host.admin("RemoveBucketAlias", &global(&id, "photos"));
    assert_eq!(last.error(), "400 InvalidRequest");
    let other = host.admin("CreateBucket", &json!({ "globalAlias": "bucket" })).ok();
    assert_ne!(other["id"], id.as_str());
    let taken = host.admin("AddBucketAlias", &global(&id, "bucket"));
    assert_eq!(taken.error(), "409 BucketAlreadyExists");
}

#[test]
fn a_key_calls_a_bucket_by_a_name_of_its_own() {
    let mut host = Host::new();
    host.add_key("other", "other secret", true);
    let other = |ask: Ask| ask.key("other", "other secret");
    assert_eq!(host.ask(other(Ask::put("/shared", ""))).status, 200);
    let (mine, shared) = (id_of(&mut host, "bucket"), id_of(&mut host, "shared"));
    let allow = json!({
        "bucketId": shared, "accessKeyId": KEY_ID, "permissions": { "read": true, "write": true },
    });
    host.admin("AllowBucketKey", &allow).ok();
    // To one key, `bucket` is from now on another bucket than to everybody else.
    let info = host.admin("AddBucketAlias", &local(&shared, KEY_ID, "bucket")).ok();
    let keys = info["keys"].as_array().expect("a list");
    let key = keys.iter().find(|key| key["accessKeyId"] == KEY_ID).expect("listed");
    assert_eq!(key["bucketLocalAliases"], json!(["bucket"]));
    assert_eq!(host.ask(Ask::put("/bucket/k", "through my name")).outcome(), "200");
    assert_eq!(host.ask(other(Ask::get("/shared/k"))).text(), "through my name");
    assert_eq!(host.ask(other(Ask::get("/bucket/k"))).outcome(), "403 AccessDenied");
    assert_eq!(host.ask(Ask::get("/")).elements("Name"), ["bucket", "shared"]);
    let source = Ask::new("PUT", "/shared/copy").header("x-amz-copy-source", "bucket/k");
    assert_eq!(host.ask(source).outcome(), "200");
    assert_eq!(host.ask(Ask::get("/shared/copy")).text(), "through my name");
    // The other way round, the bucket that everybody calls so still has its own.
    host.admin("RemoveBucketAlias", &local(&shared, KEY_ID, "bucket")).ok();
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchKey");
    let not = host.admin("RemoveBucketAlias", &local(&mine, KEY_ID, "bucket"));
    assert_eq!(not.error(), "400 InvalidRequest");
}

#[test]
fn a_name_is_somebodys() {
    let mut host = Host::new();
    let id = id_of(&mut host, "bucket");
    for body in [
        json!({ "bucketId": id }),
        json!({ "bucketId": id, "localAlias": "mine" }),
        json!({ "bucketId": id, "globalAlias": "mine", "accessKeyId": KEY_ID }),
        json!({ "bucketId": id, "globalAlias": "mine", "localAlias": "mine", "accessKeyId": KEY_ID }),
    ] {
        assert_eq!(host.admin("AddBucketAlias", &body).error(), "400 InvalidRequest", "{body}");
    }
    let bad = host.admin("AddBucketAlias", &global(&id, "id:00"));
    assert_eq!(bad.error(), "400 InvalidBucketName");
    let nobody = host.admin("AddBucketAlias", &local(&id, "nobody", "mine"));
    assert_eq!(nobody.error(), "404 NoSuchAccessKey");
    let none = host.admin("AddBucketAlias", &global(&"0".repeat(32), "photos"));
    assert_eq!(none.error(), "404 NoSuchBucket");
}

#[test]
fn a_local_name_is_free_again_when_its_bucket_is_gone() {
    let mut host = Host::new();
    let body = json!({ "localAlias": { "accessKeyId": KEY_ID, "alias": "mine", "allow": { "owner": true } } });
    let first = host.admin("CreateBucket", &body).ok();
    let delete = format!("DeleteBucket?id={}", first["id"].as_str().expect("an id"));
    host.admin(&delete, &Value::Null).ok();
    assert_eq!(host.ask(Ask::get("/mine")).outcome(), "404 NoSuchBucket");
    let second = host.admin("CreateBucket", &body).ok();
    assert_ne!(first["id"], second["id"]);
    host.admin(&format!("DeleteBucket?id={}", second["id"].as_str().expect("an id")), &Value::Null)
        .ok();
    let id = id_of(&mut host, "bucket");
    host.admin("AddBucketAlias", &local(&id, KEY_ID, "mine")).ok();
    assert_eq!(host.ask(Ask::put("/mine/k", "x")).outcome(), "200");
}

#[test]
fn names_are_the_same_at_every_node() {
    for nodes in [2, 3] {
        let mut cluster = Cluster::replicated(nodes);
        let info = cluster.admin(0, "GetBucketInfo?search=bucket", &Value::Null).ok();
        let id = info["id"].as_str().expect("an id").to_owned();
        cluster.admin(0, "AddBucketAlias", &global(&id, "photos")).ok();
        cluster.admin(1, "AddBucketAlias", &local(&id, KEY_ID, "mine")).ok();
        for at in 0..nodes {
            for name in ["bucket", "photos", "mine"] {
                let put = Ask::put(&format!("/{name}/k"), "x");
                assert_eq!(cluster.ask(at, put).outcome(), "200", "{name} at {at}");
            }
            let names = cluster.ask(at, Ask::get("/"));
            assert_eq!(names.elements("Name"), ["bucket", "mine", "photos"]);
        }
        cluster.admin(1, "RemoveBucketAlias", &global(&id, "bucket")).ok();
        cluster.admin(0, "RemoveBucketAlias", &global(&id, "photos")).ok();
        for at in 0..nodes {
            for name in ["bucket", "photos"] {
                let get = Ask::get(&format!("/{name}/k"));
                assert_eq!(cluster.ask(at, get).outcome(), "404 NoSuchBucket", "{name} at {at}");
            }
            assert_eq!(cluster.ask(at, Ask::get("/mine/k")).outcome(), "200");
        }
        let last = cluster.admin(0, "RemoveBucketAlias", &local(&id, KEY_ID, "mine"));
        assert_eq!(last.error(), "400 InvalidRequest");
        assert_eq!(cluster.ask(1, Ask::put("/photos", "")).outcome(), "200");
        let taken = cluster.admin(0, "AddBucketAlias", &global(&id, "photos"));
        assert_eq!(taken.error(), "409 BucketAlreadyExists");
    }
}

/// The name was given to the bucket beside its deletion, and whoever gave it died before he could see that.
#[test]
fn a_name_left_with_a_deleted_bucket_is_free() {
    use crate::{
        id::BucketId,
        quorum,
        table::access::{AliasRow, Lww},
        time::Stamp,
    };
    let mut cluster = Cluster::new(3, &layout(1, 3, |_| vec![0, 1, 2]));
    let info = cluster.admin(0, "CreateBucket", &json!({ "globalAlias": "photos" })).ok();
    let id = info["id"].as_str().expect("an id").to_owned();
    cluster.admin(0, &format!("DeleteBucket?id={id}"), &Value::Null).ok();
    let bucket = BucketId::from_hex(&id).expect("an id");
    let settled = cluster.flow(0, |cx, view| async move {
        quorum::change(cx, &view, "photos", |current| {
            let at = Stamp(current.bucket.at.0 + 1);
            let alias = AliasRow { bucket: Lww { at, value: Some(bucket) } };
            Some(quorum::Change { alias, rows: Vec::new() })
        })
        .await
    });
    assert!(settled.is_ok());
    assert_eq!(cluster.ask(1, Ask::get("/photos/k")).outcome(), "404 NoSuchBucket");
    assert_eq!(cluster.ask(1, Ask::put("/photos", "")).outcome(), "200");
    assert_eq!(cluster.ask(2, Ask::put("/photos/k", "x")).outcome(), "200");
}
