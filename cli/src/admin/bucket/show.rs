//! Buckets and objects as text.

use serde_json::Value;

use super::site;
use crate::{
    admin::{
        key::permissions,
        value::{bytes, count, id, list, moment, text, words},
    },
    page::{Page, row},
};

/// What people call a bucket: its first name, or else its id.
pub fn name(bucket: &Value) -> String {
    let global = list(&bucket["globalAliases"]).first().map(text);
    global.or_else(|| local_names(bucket).into_iter().next()).unwrap_or_else(|| id(&bucket["id"]))
}

/// The names that single keys have for it, with these.
fn local_names(bucket: &Value) -> Vec<String> {
    let of_key = |local: &Value| {
        format!("{} (for {} alone)", text(&local["alias"]), text(&local["accessKeyId"]))
    };
    list(&bucket["localAliases"]).iter().map(of_key).collect()
}

/// Of `ListBuckets`.
pub fn buckets(buckets: &Value) -> Page {
    if list(buckets).is_empty() {
        return Page::new().line("There is no bucket. Make one: mews bucket create NAME");
    }
    let mut rows = vec![row(&["bucket", "id", "created", "also known as"])];
    for bucket in list(buckets) {
        let global = list(&bucket["globalAliases"]).iter().map(text);
        let mut names = global.chain(local_names(bucket));
        let first = names.next().unwrap_or_else(|| "-".to_owned());
        let others: Vec<String> = names.collect();
        let others = if others.is_empty() { "-".to_owned() } else { others.join(", ") };
        rows.push(vec![first, id(&bucket["id"]), moment(&bucket["created"]), others]);
    }
    Page::new().table(rows)
}

/// Of `GetBucketInfo`.
pub fn info(bucket: &Value) -> Page {
    let names = words(&bucket["globalAliases"]);
    let mut rows = vec![
        vec!["bucket".to_owned(), if names.is_empty() { "-".to_owned() } else { names }],
        vec!["id".to_owned(), text(&bucket["id"])],
    ];
    if !bucket["created"].is_null() {
        rows.push(vec!["created".to_owned(), moment(&bucket["created"])]);
    }
    let holds =
        format!("{}, {}", count(&bucket["objects"], "object", "objects"), bytes(&bucket["bytes"]));
    rows.push(vec!["holds".to_owned(), holds]);
    let open = &bucket["unfinishedMultipartUploads"];
    if open.as_u64().is_some_and(|open| open > 0) {
        let size = bytes(&bucket["unfinishedMultipartUploadBytes"]);
        let open = count(open, "upload", "uploads");
        rows.push(vec!["incomplete".to_owned(), format!("{open}, {size}")]);
    }
    rows.push(vec!["quotas".to_owned(), limits(bucket)]);
    rows.push(vec!["website".to_owned(), site::summary(bucket)]);
    rows.extend(site::rule_rows(bucket));
    rows.push(vec!["public".to_owned(), readable(bucket)]);
    let rules = list(&bucket["corsRules"]).iter();
    rows.extend(rules.map(|rule| vec!["pages".to_owned(), pages(rule)]));
    let page = Page::new().pairs(rows).gap();
    if list(&bucket["keys"]).is_empty() {
        return page.line(format!(
            "No key may use it. Let one: mews bucket allow {} --key KEY --read",
            name(bucket)
        ));
    }
    let mut rows = vec![row(&["access key", "name", "may", "its own name for it"])];
    for key in list(&bucket["keys"]) {
        let own = words(&key["bucketLocalAliases"]);
        rows.push(vec![
            text(&key["accessKeyId"]),
            text(&key["name"]),
            permissions(&key["permissions"]),
            if own.is_empty() { "-".to_owned() } else { own },
        ]);
    }
    page.table(rows)
}

fn limits(bucket: &Value) -> String {
    let quotas = &bucket["quotas"];
    match (&quotas["maxSize"], &quotas["maxObjects"]) {
        (Value::Null, Value::Null) => "none".to_owned(),
        (size, Value::Null) => format!("at most {}", bytes(size)),
        (Value::Null, objects) => format!("at most {}", count(objects, "object", "objects")),
        (size, objects) => {
            format!("at most {} and {}", bytes(size), count(objects, "object", "objects"))
        }
    }
}

/// A bucket's quotas, in a sentence.
pub fn quotas(bucket: &Value) -> String {
    match limits(bucket).as_str() {
        "none" => format!("The bucket {} may grow as it likes.", name(bucket)),
        limits => format!("The bucket {} holds {limits}.", name(bucket)),
    }
}

fn readable(bucket: &Value) -> String {
    let public = &bucket["publicRead"];
    match (public["enabled"] == true, list(&public["prefixes"])) {
        (false, _) => "nothing".to_owned(),
        (true, []) => "every object".to_owned(),
        (true, _) => format!("objects whose keys begin with {}", words(&public["prefixes"])),
    }
}

/// What pages of other websites may do, by a rule.
fn pages(rule: &Value) -> String {
    let (methods, origins) = (words(&rule["AllowedMethod"]), words(&rule["AllowedOrigin"]));
    let origins = if origins == "*" { "any website".to_owned() } else { origins };
    let some = |field: &str, what: &str| match words(&rule[field]) {
        names if names.is_empty() => String::new(),
        names => format!(", {what} {names}"),
    };
    let (sent, read) = (some("AllowedHeader", "sending"), some("ExposeHeader", "reading"));
    let again = match rule["MaxAgeSeconds"].as_u64() {
        Some(seconds) => format!(", asking again after {seconds} s"),
        None => String::new(),
    };
    format!("of {origins} may {methods}{sent}{read}{again}")
}

/// What everybody may read of a bucket, in a sentence.
pub fn public(bucket: &Value) -> String {
    format!("Of the bucket {}, everybody may read {}.", name(bucket), readable(bucket))
}

/// Of `InspectObject`.
pub fn object(object: &Value) -> Page {
    let versions = list(&object["versions"]);
    let page = Page::new().line(format!(
        "{} in bucket {}: {}.",
        text(&object["key"]),
        id(&object["bucketId"]),
        match versions.len() {
            1 => "1 version".to_owned(),
            several => format!("{several} versions"),
        }
    ));
    versions.iter().fold(page, |page, version| page.gap().then(show_version(version)))
}

fn show_version(version: &Value) -> Page {
    let states = [
        ("uploading", "being uploaded"),
        ("aborted", "aborted"),
        ("deleteMarker", "deletion"),
        ("encrypted", "encrypted"),
        ("inline", "stored in its row"),
    ];
    let states = states.iter().filter(|(field, _)| version[*field] == true);
    let states: Vec<&str> = states.map(|(_, shown)| *shown).collect();
    let mut rows = vec![
        vec!["version".to_owned(), text(&version["uuid"])],
        vec!["written".to_owned(), moment(&version["timestamp"])],
    ];
    if !states.is_empty() {
        rows.push(vec!["state".to_owned(), states.join(", ")]);
    }
    if !version["size"].is_null() {
        rows.push(vec!["size".to_owned(), bytes(&version["size"])]);
        rows.push(vec!["etag".to_owned(), text(&version["etag"])]);
    }
    for header in list(&version["headers"]) {
        rows.push(vec![text(&header[0]), text(&header[1])]);
    }
    let page = Page::new().pairs(rows);
    if list(&version["blocks"]).is_empty() {
        return page;
    }
    let mut rows = vec![row(&["block", "part", "offset", "size"])];
    for block in list(&version["blocks"]) {
        rows.push(vec![
            text(&block["hash"]),
            text(&block["partNumber"]),
            text(&block["offset"]),
            bytes(&block["size"]),
        ]);
    }
    page.table(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::page::Screen;

    fn plain(page: Page) -> String {
        page.render(Screen::default())
    }

    fn a_bucket() -> Value {
        json!({
            "id": "8e1a23f0c4d5b697aaaaaaaa", "created": "2026-11-30T01:02:03.4Z",
            "globalAliases": ["photos", "pictures"],
            "websiteAccess": true,
            "websiteConfig": {
                "indexDocument": "index.html", "errorDocument": "404.html",
                "routingRules": [{
                    "Condition": { "KeyPrefixEquals": "old/" },
                    "Redirect": { "ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": 302 },
                }],
            },
            "keys": [{
                "accessKeyId": "GK1f", "name": "phone", "bucketLocalAliases": ["mine"],
                "permissions": { "read": true, "write": false, "owner": false },
            }],
            "objects": 1, "bytes": 3_145_728, "unfinishedUploads": 2,
            "unfinishedMultipartUploads": 2, "unfinishedMultipartUploadParts": 3,
            "unfinishedMultipartUploadBytes": 1024,
            "quotas": { "maxSize": 200_000_000_000_u64, "maxObjects": null },
            "publicRead": { "enabled": true, "prefixes": ["img/", "doc/"] },
        })
    }

    #[test]
    fn a_bucket_shows_what_is_in_it_and_who_may_use_it() {
        let expected = "\
bucket      photos, pictures
id          8e1a23f0c4d5b697aaaaaaaa
created     2026-11-30T01:02:03Z
holds       1 object, 3.0 MiB
incomplete  2 uploads, 1.0 KiB
quotas      at most 186 GiB
website     yes, index index.html, errors 404.html
rule 1      old/... is sent to /new/... (302)
public      objects whose keys begin with img/, doc/

access key  name   may   its own name for it
GK1f        phone  read  mine
";
        assert_eq!(plain(info(&a_bucket())), expected);
        let mut bare = a_bucket();
        bare["keys"] = json!([]);
        bare["quotas"] = json!({ "maxSize": null, "maxObjects": null });
        let text = plain(info(&bare));
        assert!(text.contains("mews bucket allow photos --key KEY --read"), "{text}");
        assert!(text.contains("quotas      none\n"), "{text}");
    }

    #[test]
    fn buckets_are_listed_by_their_names() {
        let answer = json!([
            a_bucket(),
            {
                "id": "1234", "created": "2026-11-30T01:02:03Z", "globalAliases": [],
                "localAliases": [{ "accessKeyId": "GK1f", "alias": "tmp" }],
            },
        ]);
        let expected = "\
bucket                id                created               also known as
photos                8e1a23f0c4d5b697  2026-11-30T01:02:03Z  pictures
tmp (for GK1f alone)  1234              2026-11-30T01:02:03Z  -
";
        assert_eq!(plain(buckets(&answer)), expected);
        assert!(plain(buckets(&json!([]))).contains("mews bucket create"));
    }

    #[test]
    fn rules_for_pages_of_other_websites_have_a_line_each() {
        let mut bucket = a_bucket();
        bucket["corsRules"] = json!([
            {
                "AllowedOrigin": ["https://a.example", "https://b.example"],
                "AllowedMethod": ["GET", "PUT"], "AllowedHeader": ["content-type"],
                "ExposeHeader": ["ETag"], "MaxAgeSeconds": 600,
            },
            { "AllowedOrigin": ["*"], "AllowedMethod": ["GET"], "AllowedHeader": [], "ExposeHeader": [] },
        ]);
        let text: String = plain(info(&bucket)).split_whitespace().collect::<Vec<_>>().join(" ");
        for line in [
            "pages of https://a.example, https://b.example may GET, PUT, sending content-type, reading ETag, asking again after 600 s",
            "pages of any website may GET",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn changes_are_told_in_sentences() {
        let mut bucket = a_bucket();
        assert_eq!(quotas(&bucket), "The bucket photos holds at most 186 GiB.");
        bucket["quotas"] = json!({ "maxSize": null, "maxObjects": 1 });
        assert_eq!(quotas(&bucket), "The bucket photos holds at most 1 object.");
        bucket["quotas"] = Value::Null;
        assert_eq!(quotas(&bucket), "The bucket photos may grow as it likes.");
        bucket["publicRead"] = json!({ "enabled": true, "prefixes": [] });
        assert_eq!(public(&bucket), "Of the bucket photos, everybody may read every object.");
        bucket["publicRead"] = json!({ "enabled": false, "prefixes": [] });
        assert_eq!(public(&bucket), "Of the bucket photos, everybody may read nothing.");
    }

    #[test]
    fn an_object_shows_its_versions_and_blocks() {
        let answer = json!({
            "bucketId": "1234", "key": "a//b",
            "versions": [{
                "uuid": "77aa", "timestamp": "2026-11-30T01:02:03Z", "encrypted": false,
                "uploading": false, "aborted": false, "deleteMarker": false, "inline": false,
                "size": 2048, "etag": "e7a9", "headers": [["content-type", "text/plain"]],
                "blocks": [{ "partNumber": 1, "offset": 0, "hash": "b10c", "size": 2048 }],
            }],
        });
        let expected = "\
a//b in bucket 1234: 1 version.

version       77aa
written       2026-11-30T01:02:03Z
size          2.0 KiB
etag          e7a9
content-type  text/plain
block  part  offset  size
b10c   1     0       2.0 KiB
";
        assert_eq!(plain(object(&answer)), expected);
    }
}
