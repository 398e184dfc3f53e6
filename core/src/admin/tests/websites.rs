//! Buckets as websites through the Admin API.

use serde_json::{Value, json};

use super::buckets::id_of;
use crate::testing::Host;

/// What becomes of the bucket.
struct Site {
    host: Host,
    call: String,
}

impl Site {
    fn new() -> Self {
        let mut host = Host::new();
        let call = format!("UpdateBucket?id={}", id_of(&mut host, "bucket"));
        Self { host, call }
    }

    fn set(&mut self, access: &Value) -> Value {
        let mut info = self.host.admin(&self.call, &json!({ "websiteAccess": access })).ok();
        info["websiteConfig"].take()
    }

    fn refused(&mut self, access: &Value) -> String {
        let answer = self.host.admin(&self.call, &json!({ "websiteAccess": access }));
        assert_eq!(answer.error(), "400 InvalidRequest", "{access}");
        answer.json["message"].as_str().expect("a message").to_owned()
    }
}

fn rule() -> Value {
    json!({
        "Condition": { "HttpErrorCodeReturnedEquals": 404, "KeyPrefixEquals": "old/" },
        "Redirect": {
            "HostName": "o.example", "Protocol": "https", "HttpRedirectCode": 307,
            "ReplaceKeyPrefixWith": "new/",
        },
    })
}

fn with_rules(rules: Value) -> Value {
    json!({ "enabled": true, "indexDocument": "index.html", "routingRules": rules })
}

#[test]
fn routing_rules_are_shown_as_they_were_set() {
    let mut site = Site::new();
    let shown =
        json!([{ "Redirect": { "ReplaceKeyWith": "app.html", "HttpRedirectCode": 200 } }, rule()]);
    let config = site.set(&with_rules(shown.clone()));
    assert_eq!(config["routingRules"], shown);
    assert_eq!(config["redirectAllRequestsTo"], Value::Null);
}

#[test]
fn a_rule_without_a_status_is_a_temporary_redirect() {
    let mut site = Site::new();
    let bare = json!([{ "Condition": null, "Redirect": { "HostName": "o", "Protocol": null } }]);
    let shown = json!([{ "Redirect": { "HostName": "o", "HttpRedirectCode": 302 } }]);
    assert_eq!(site.set(&with_rules(bare))["routingRules"], shown);
}

#[test]
fn rules_that_are_not_named_stay() {
    let mut site = Site::new();
    site.set(&with_rules(json!([rule()])));
    let documents = json!({ "enabled": true, "indexDocument": "main.html", "errorDocument": "e" });
    let expected =
        json!({ "indexDocument": "main.html", "errorDocument": "e", "routingRules": [rule()] });
    assert_eq!(site.set(&documents), expected);
    let null = json!({ "enabled": true, "indexDocument": "main.html", "routingRules": null });
    assert_eq!(site.set(&null)["routingRules"], json!([rule()]));
    assert_eq!(site.set(&with_rules(json!([])))["routingRules"], json!([]));
}

#[test]
fn an_index_document_that_is_not_named_is_that_of_the_configuration() {
    let mut site = Site::new();
    site.set(&json!({ "enabled": true, "indexDocument": "main.html" }));
    assert_eq!(site.set(&json!({ "enabled": true }))["indexDocument"], "index.html");
}

#[test]
fn what_is_no_website_any_more_has_no_rules_left() {
    let mut site = Site::new();
    site.set(&with_rules(json!([rule()])));
    assert_eq!(site.set(&json!({ "enabled": false, "routingRules": [] })), Value::Null);
    let again = site.set(&json!({ "enabled": true, "indexDocument": "index.html" }));
    assert_eq!(again["routingRules"], json!([]));
}

#[test]
fn a_website_redirects_everything() {
    let mut site = Site::new();
    let all = json!({ "HostName": "www.o.example", "Protocol": "https" });
    let config = site.set(&json!({ "enabled": true, "redirectAllRequestsTo": all }));
    let expected = json!({
        "indexDocument": "", "errorDocument": null, "routingRules": [],
        "redirectAllRequestsTo": all,
    });
    assert_eq!(config, expected);
}

#[test]
fn a_redirect_of_everything_and_rules_do_not_end_each_other_unasked() {
    let mut site = Site::new();
    let all = json!({ "enabled": true, "redirectAllRequestsTo": { "HostName": "o.example" } });
    site.set(&with_rules(json!([rule()])));
    assert!(site.refused(&all).contains("`enabled: false` first"));
    site.set(&json!({ "enabled": false }));
    site.set(&all);
    let said = site.refused(&json!({ "enabled": true, "indexDocument": "index.html" }));
    assert!(said.contains("redirects every request to o.example"), "{said}");
}

#[test]
fn what_no_website_can_be_is_refused() {
    let mut site = Site::new();
    for (access, why) in [
        (json!({ "enabled": true, "indexDocument": "a/b" }), "without a slash"),
        (with_rules(json!([{ "Redirect": {} }])), "at least one of"),
        (with_rules(json!([{ "Redirect": { "HostName": "o", "To": "x" } }])), "unknown field"),
        (
            with_rules(json!([{ "Condition": {}, "Redirect": { "HostName": "o" } }])),
            "has no Condition",
        ),
        (with_rules(json!(vec![rule(); 1001])), "more than the 1000"),
        (json!({ "enabled": false, "routingRules": [rule()] }), "that is no website"),
        (json!({ "enabled": false, "redirectAllRequestsTo": { "HostName": "o" } }), "that is no"),
        (
            json!({ "enabled": true, "indexDocument": "i", "redirectAllRequestsTo": { "HostName": "o" } }),
            "goes with no index document",
        ),
        (json!({ "enabled": true, "redirectAllRequestsTo": { "HostName": "" } }), "not a host"),
    ] {
        let said = site.refused(&access);
        assert!(said.contains(why), "{access}: {said}");
    }
    assert_eq!(
        site.host.admin("GetBucketInfo?globalAlias=bucket", &Value::Null).ok()["websiteAccess"],
        false
    );
}
