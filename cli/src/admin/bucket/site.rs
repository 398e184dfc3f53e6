//! Buckets as websites, as text.

use serde_json::Value;

use super::show::name;
use crate::admin::value::{count, list, text};

/// Whether a bucket is a website and how, without its rules.
pub fn summary(bucket: &Value) -> String {
    if bucket["websiteAccess"] != true {
        return "no".to_owned();
    }
    let site = &bucket["websiteConfig"];
    if let Some(host) = moved(site) {
        return format!("yes, every request is sent to {host}");
    }
    let index = text(&site["indexDocument"]);
    match site["errorDocument"].as_str() {
        None => format!("yes, index {index}"),
        Some(error) => format!("yes, index {index}, errors {error}"),
    }
}

/// Where a website sends everybody, if it does.
pub fn moved(site: &Value) -> Option<String> {
    let all = &site["redirectAllRequestsTo"];
    all["HostName"].as_str().map(|_| address(all))
}

/// How many rules a website has.
pub fn rules(site: &Value) -> usize {
    list(&site["routingRules"]).len()
}

/// So many rules, in words.
pub fn many(rules: usize) -> String {
    count(&rules.into(), "routing rule", "routing rules")
}

/// What each rule of a website does, in their order: the first that fits is followed.
pub fn rule_rows(bucket: &Value) -> Vec<Vec<String>> {
    let rules = list(&bucket["websiteConfig"]["routingRules"]).iter().enumerate();
    rules.map(|(at, rule)| vec![format!("rule {}", at + 1), told(rule)]).collect()
}

/// One rule, such as `docs/... is sent to /documents/... (301)`.
fn told(rule: &Value) -> String {
    let (condition, redirect) = (&rule["Condition"], &rule["Redirect"]);
    let keys = match condition["KeyPrefixEquals"].as_str() {
        None | Some("") => "every request".to_owned(),
        Some(prefix) => format!("{prefix}..."),
    };
    let which = match condition["HttpErrorCodeReturnedEquals"].as_u64() {
        None => keys,
        Some(error) => format!("{keys} that would be answered with {error}"),
    };
    let replaced = |field: &str| redirect[field].as_str();
    let key = match (replaced("ReplaceKeyWith"), replaced("ReplaceKeyPrefixWith")) {
        (Some(key), _) => Some(key.to_owned()),
        (None, Some(prefix)) => Some(format!("{prefix}...")),
        (None, None) => None,
    };
    let code = text(&redirect["HttpRedirectCode"]);
    if matches!(code.as_str(), "200" | "404") {
        let key = key.unwrap_or_else(|| "what is there".to_owned());
        return format!("{which} shows {key} ({code})");
    }
    let host = address(redirect);
    match key {
        Some(key) => format!("{which} is sent to {host}/{key} ({code})"),
        None => format!("{which} is sent to {host}, under the same key ({code})"),
    }
}

/// A protocol and a host, or as much of them as there is.
fn address(target: &Value) -> String {
    match (target["Protocol"].as_str(), target["HostName"].as_str()) {
        (None, host) => host.unwrap_or_default().to_owned(),
        (Some(protocol), Some(host)) => format!("{protocol}://{host}"),
        (Some(protocol), None) => format!("{protocol}://(the same host)"),
    }
}

/// What has become of a bucket that was this website before, in sentences.
pub fn changed(bucket: &Value, before: &Value) -> String {
    let name = name(bucket);
    match (bucket["websiteAccess"] == true, rules(before)) {
        (true, 0) => format!("The bucket {name} is served as a website."),
        (true, rules) => {
            let rules = many(rules);
            format!("The bucket {name} is served as a website, with its {rules} as before.")
        }
        (false, 0) => format!("The bucket {name} is not served as a website."),
        (false, rules) => {
            let rules = many(rules);
            format!("The bucket {name} is not served as a website. It has lost its {rules}.")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn site(config: Value) -> Value {
        json!({ "globalAliases": ["photos"], "websiteAccess": true, "websiteConfig": config })
    }

    #[test]
    fn a_rule_is_told_in_words() {
        for (rule, expected) in [
            (
                json!({
                    "Condition": { "KeyPrefixEquals": "docs/" },
                    "Redirect": { "ReplaceKeyPrefixWith": "documents/", "HttpRedirectCode": 301 },
                }),
                "docs/... is sent to /documents/... (301)",
            ),
            (
                json!({
                    "Condition": { "HttpErrorCodeReturnedEquals": 404 },
                    "Redirect": {
                        "HostName": "o.example", "Protocol": "https",
                        "ReplaceKeyWith": "404.html", "HttpRedirectCode": 302,
                    },
                }),
                "every request that would be answered with 404 is sent to https://o.example/404.html (302)",
            ),
            (
                json!({
                    "Condition": { "HttpErrorCodeReturnedEquals": 404, "KeyPrefixEquals": "app/" },
                    "Redirect": { "ReplaceKeyWith": "app.html", "HttpRedirectCode": 200 },
                }),
                "app/... that would be answered with 404 shows app.html (200)",
            ),
            (
                json!({ "Redirect": { "HostName": "o.example", "HttpRedirectCode": 307 } }),
                "every request is sent to o.example, under the same key (307)",
            ),
            (
                json!({ "Redirect": { "Protocol": "https", "HttpRedirectCode": 301 } }),
                "every request is sent to https://(the same host), under the same key (301)",
            ),
        ] {
            assert_eq!(told(&rule), expected);
        }
    }

    #[test]
    fn rules_are_numbered_in_their_order() {
        let rule =
            |key: &str| json!({ "Redirect": { "ReplaceKeyWith": key, "HttpRedirectCode": 301 } });
        let rows = rule_rows(&site(json!({ "routingRules": [rule("a"), rule("b")] })));
        assert_eq!(rows[1], ["rule 2", "every request is sent to /b (301)"]);
        assert_eq!(rule_rows(&json!({ "websiteConfig": null })).len(), 0);
    }

    #[test]
    fn a_website_that_redirects_everything_says_where() {
        let all = json!({ "HostName": "o.example", "Protocol": "https" });
        let moved = site(json!({ "indexDocument": "", "redirectAllRequestsTo": all }));
        assert_eq!(summary(&moved), "yes, every request is sent to https://o.example");
    }

    #[test]
    fn a_change_says_what_becomes_of_the_rules() {
        let before = json!({ "routingRules": [{}] });
        let mut bucket = site(before.clone());
        let kept = "The bucket photos is served as a website, with its 1 routing rule as before.";
        assert_eq!(changed(&bucket, &before), kept);
        assert_eq!(changed(&bucket, &Value::Null), "The bucket photos is served as a website.");
        bucket["websiteAccess"] = json!(false);
        let several = json!({ "routingRules": [{}, {}] });
        let gone = "The bucket photos is not served as a website. It has lost its 2 routing rules.";
        assert_eq!(changed(&bucket, &several), gone);
        let none = "The bucket photos is not served as a website.";
        assert_eq!(changed(&bucket, &Value::Null), none);
    }
}
