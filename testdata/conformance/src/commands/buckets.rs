//! Buckets and what is in them.

use std::time::Duration;

use serde_json::{Value, json};

use super::Keeper;
use crate::{daemon::BUCKET, signed, wire::Wire};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(keeper: &Keeper) {
    buckets_are_made_and_named(keeper);
    keys_are_let_in_and_shut_out(keeper);
    buckets_are_configured(keeper);
    buckets_are_public(keeper);
    objects_are_inspected(keeper);
    buckets_are_deleted(keeper);
}

fn buckets_are_made_and_named(keeper: &Keeper) {
    keeper.hears(&["bucket", "create", "photos"], "mews bucket allow photos --key KEY");
    keeper.is_refused(&["bucket", "create", "photos"], 1, "photos");
    keeper.hears(&["bucket", "list"], "photos");
    keeper.hears(&["bucket", "info", "pho"], "holds    0 objects");
    keeper.hears(&["bucket", "alias", "photos", "pictures"], "is called pictures now, too.");
    keeper.hears(&["bucket", "alias", "photos", "mine", "--local", "phone"], "for the key");
    keeper.hears(&["bucket", "list"], "pictures, mine (for ");
    keeper.hears(&["bucket", "info", "pictures"], "photos, pictures");
    keeper.hears(&["bucket", "unalias", "pictures"], "no longer called pictures");
    keeper.hears(&["bucket", "unalias", "mine", "--local", "phone"], "no longer called mine");
    keeper.is_refused(&["bucket", "unalias", "pictures"], 1, "no bucket is called pictures");
    keeper.is_refused(&["bucket", "info", "fotos"], 1, "Is photos meant?");
}

fn keys_are_let_in_and_shut_out(keeper: &Keeper) {
    let allow = ["bucket", "allow", "photos", "--key", "phone"];
    keeper.is_refused(&allow, 2, "say what: --read, --write, --owner");
    keeper.hears(&[&allow[..], &["--read", "--write"]].concat(), "(phone) may: read, write.");
    keeper.hears(&["key", "info", "phone"], "photos  read, write");
    let deny = ["bucket", "deny", "photos", "--key", "phone", "--write"];
    keeper.hears(&deny, "(phone) may: read.");
    keeper.hears(&["bucket", "info", "photos"], "phone  read");
    let nobody = ["bucket", "allow", "photos", "--key", "nobody", "--read"];
    keeper.is_refused(&nobody, 1, "no access key is called nobody. See `mews key list`");
}

fn buckets_are_configured(keeper: &Keeper) {
    let quotas = ["bucket", "set-quotas", "photos"];
    keeper.hears(&[&quotas[..], &["--max-size", "10GiB"]].concat(), "holds at most 10.0 GiB.");
    let both = "holds at most 10.0 GiB and 5 objects.";
    keeper.hears(&[&quotas[..], &["--max-objects", "5"]].concat(), both);
    let size = ["--max-size", "none"];
    keeper.hears(&[&quotas[..], &size].concat(), "holds at most 5 objects.");
    keeper.is_refused(&quotas, 2, "say --max-size, --max-objects, or both");
    let website = ["bucket", "website", "photos"];
    let allow = ["--allow", "--error", "404.html"];
    keeper.hears(&[&website[..], &allow].concat(), "is served as a website.");
    keeper.hears(&["bucket", "info", "photos"], "yes, index index.html, errors 404.html");
    keeper.hears(&[&website[..], &["--deny"]].concat(), "is not served as a website.");
    keeper.is_refused(&website, 2, "say --allow");
    websites_keep_what_is_not_named(keeper);
}

fn websites_keep_what_is_not_named(keeper: &Keeper) {
    let website = ["bucket", "website", "photos"];
    let info = keeper.json(&["bucket", "info", "photos"]);
    let set = |access: Value| {
        let change = json!({ "id": info["id"], "body": { "websiteAccess": access } });
        keeper.json(&["json-api", "UpdateBucket", &change.to_string()])
    };
    set(json!({
        "enabled": true, "indexDocument": "main.html", "errorDocument": "oops.html",
        "routingRules": [{
            "Condition": { "KeyPrefixEquals": "old/" },
            "Redirect": { "ReplaceKeyPrefixWith": "new/" },
        }],
    }));
    let rule = "rule 1   old/... is sent to /new/... (302)";
    keeper.hears(&["bucket", "info", "photos"], rule);
    let index = ["--allow", "--index", "start.html"];
    keeper.hears(&[&website[..], &index].concat(), "with its 1 routing rule as before.");
    keeper.hears(&["bucket", "info", "photos"], "yes, index start.html, errors oops.html");
    keeper.hears(&["bucket", "info", "photos"], rule);
    let error = ["--allow", "--error", "none"];
    keeper.hears(&[&website[..], &error].concat(), "is served as a website");
    keeper.hears(&["bucket", "info", "photos"], "yes, index start.html\n");
    keeper.hears(&[&website[..], &["--deny"]].concat(), "It has lost its 1 routing rule.");
    set(json!({ "enabled": true, "redirectAllRequestsTo": { "HostName": "www.o.example" } }));
    keeper.hears(&["bucket", "info", "photos"], "yes, every request is sent to www.o.example");
    let allow = [&website[..], &["--allow"]].concat();
    keeper.is_refused(&allow, 1, "mews bucket website photos --deny");
    keeper.hears(&[&website[..], &["--deny"]].concat(), "is not served as a website.");
}

/// The status of a request without a signature.
fn unsigned(keeper: &Keeper, method: &str, target: &str) -> u16 {
    let mut wire = Wire::connect(keeper.daemon.s3());
    let host = keeper.daemon.s3();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    wire.send(head.as_bytes());
    wire.response(method == "HEAD", PATIENCE).expect("a response").status
}

fn buckets_are_public(keeper: &Keeper) {
    let (object, other) = (format!("/{BUCKET}/img/cat"), format!("/{BUCKET}/cat"));
    assert_eq!(signed::put(&keeper.daemon, "img/cat", b"miaow").status, 200);
    assert_eq!(signed::put(&keeper.daemon, "cat", b"miaow").status, 200);
    assert_eq!(unsigned(keeper, "GET", &object), 403);
    let public = ["bucket", "public", BUCKET];
    keeper.is_refused(&public, 2, "say --read, if need be with --prefix; or --off");
    let prefix = ["--read", "--prefix", "img/"];
    keeper.hears(&[&public[..], &prefix].concat(), "everybody may read objects whose keys begin");
    keeper.hears(&["bucket", "info", BUCKET], "public   objects whose keys begin with img/");
    assert_eq!(unsigned(keeper, "GET", &object), 200);
    assert_eq!(unsigned(keeper, "HEAD", &object), 200);
    assert_eq!(unsigned(keeper, "GET", &format!("{object}?response-content-type=a")), 400);
    assert_eq!(unsigned(keeper, "GET", &other), 403);
    assert_eq!(unsigned(keeper, "GET", &format!("/{BUCKET}?list-type=2&prefix=img/")), 403);
    assert_eq!(unsigned(keeper, "PUT", &object), 403);
    assert_eq!(unsigned(keeper, "DELETE", &object), 403);
    keeper.hears(&[&public[..], &["--read"]].concat(), "everybody may read every object.");
    assert_eq!(unsigned(keeper, "GET", &other), 200);
    keeper.hears(&[&public[..], &["--off"]].concat(), "everybody may read nothing.");
    assert_eq!(unsigned(keeper, "GET", &object), 403);
    for key in ["img/cat", "cat"] {
        assert_eq!(signed::send(&keeper.daemon, "DELETE", key, b"").status, 204);
    }
}

fn objects_are_inspected(keeper: &Keeper) {
    assert_eq!(signed::put(&keeper.daemon, "a//b", &[3; 1 << 20]).status, 200);
    let object = ["bucket", "inspect-object", BUCKET, "a//b"];
    keeper.hears(&object, "1.0 MiB");
    let json = keeper.json(&object);
    let block = json["versions"][0]["blocks"][0]["hash"].as_str().expect("a block").to_owned();
    keeper.hears(&object, &block);
    keeper.hears(&["block", "info", &block], "on disk");
    keeper.is_refused(&["bucket", "inspect-object", BUCKET, "none"], 1, "none");
    let begun = signed::send(&keeper.daemon, "POST", "begun?uploads=", b"");
    assert_eq!(begun.status, 200);
    let clean_up = ["bucket", "cleanup-incomplete-uploads", BUCKET, "photos"];
    keeper.hears(&clean_up, "conformance: 0 uploads aborted.\nphotos: 0 uploads aborted.\n");
    keeper.hears(&[&clean_up[..], &["--older-than", "0s"]].concat(), ": 1 uploads aborted.\n");
}

fn buckets_are_deleted(keeper: &Keeper) {
    keeper.is_refused(&["bucket", "delete", "photos"], 2, "deletes the bucket photos for good");
    keeper.is_refused(&["bucket", "delete", "phot", "--yes"], 1, "write its whole name");
    keeper.is_refused(&["bucket", "delete", BUCKET, "--yes"], 1, "2 objects");
    keeper.hears(&["bucket", "delete", "photos", "--yes"], "The bucket photos is deleted.");
    keeper.is_refused(&["bucket", "info", "photos"], 1, "no bucket is called photos");
}
