//! Pages of other websites, and the rules of buckets for them.

use serde_json::json;

use super::put;
use crate::testing::{Ask, Host, Reply, cluster::Cluster};

const PAGE: &str = "https://app.example";

const RULES: &str = "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
  <CORSRule>
    <ID>app</ID>
    <AllowedOrigin>https://app.example</AllowedOrigin>
    <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>
    <AllowedHeader>content-*</AllowedHeader>
    <MaxAgeSeconds>600</MaxAgeSeconds>
    <ExposeHeader>ETag</ExposeHeader>
  </CORSRule>
  <CORSRule><AllowedMethod>HEAD</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>
</CORSConfiguration>";

/// The request that sets rules.
fn setting(document: &str) -> Ask {
    let md5 = md5(document.as_bytes());
    Ask::put("/bucket?cors", document.to_owned()).header("content-md5", md5)
}

fn md5(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use md5::Digest;
    STANDARD.encode(md5::Md5::digest(bytes))
}

fn ruled() -> Host {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "x");
    assert_eq!(host.ask(setting(RULES)).outcome(), "200");
    host
}

fn preflight(target: &str, origin: &str, method: &str) -> Ask {
    let ask = Ask::new("OPTIONS", target).anonymous();
    ask.header("origin", origin).header("access-control-request-method", method)
}

fn allowed(reply: &Reply) -> Option<&str> {
    reply.header("access-control-allow-origin")
}

#[test]
fn rules_are_kept_and_shown_until_they_are_taken_away() {
    let mut host = ruled();
    let shown = host.ask(Ask::get("/bucket?cors"));
    assert_eq!(shown.outcome(), "200");
    assert_eq!(shown.elements("AllowedOrigin"), [PAGE, "*"]);
    assert_eq!(shown.elements("AllowedMethod"), ["GET", "PUT", "HEAD"]);
    assert_eq!(shown.elements("MaxAgeSeconds"), ["600"]);
    assert_eq!((shown.element("ID"), shown.element("ExposeHeader")), (Some("app"), Some("ETag")));
    let again = host.ask(setting(shown.text()));
    assert_eq!(
        (again.outcome(), host.ask(Ask::get("/bucket?cors")).text()),
        ("200".to_owned(), shown.text())
    );
    for _ in 0..2 {
        assert_eq!(host.ask(Ask::new("DELETE", "/bucket?cors")).outcome(), "204");
        let none = host.ask(Ask::get("/bucket?cors"));
        assert_eq!(none.outcome(), "404 NoSuchCORSConfiguration");
    }
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "200");
}

#[test]
fn documents_that_are_none_are_refused() {
    let mut host = Host::new();
    let rule = |inside: &str| {
        format!("<CORSConfiguration><CORSRule>{inside}</CORSRule></CORSConfiguration>")
    };
    let read = "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>";
    for (document, outcome) in [
        (String::new(), "400 MissingRequestBodyError"),
        ("<CORSConfiguration/>".to_owned(), "400 MalformedXML"),
        ("<CORSRule/>".to_owned(), "400 MalformedXML"),
        ("<CORSConfiguration><Rule/></CORSConfiguration>".to_owned(), "400 MalformedXML"),
        (rule("<AllowedOrigin>*</AllowedOrigin>"), "400 MalformedXML"),
        (rule("<AllowedMethod>GET</AllowedMethod>"), "400 MalformedXML"),
        (rule(&format!("{read}<Allow>x</Allow>")), "400 MalformedXML"),
        (rule(&format!("{read}<MaxAgeSeconds>soon</MaxAgeSeconds>")), "400 MalformedXML"),
        (rule(&format!("{read}<AllowedMethod>PATCH</AllowedMethod>")), "400 InvalidRequest"),
        (rule(&format!("{read}<ExposeHeader>*</ExposeHeader>")), "400 InvalidRequest"),
        (rule(&format!("{read}<AllowedOrigin>*a*</AllowedOrigin>")), "400 InvalidRequest"),
        (rule(&format!("{read}<ID>{}</ID>", "a".repeat(256))), "400 InvalidRequest"),
        (rule(&format!("{read}<ID>{}</ID>", "a".repeat(64 << 10))), "400 MaxMessageLengthExceeded"),
    ] {
        let reply = host.ask(setting(&document));
        assert_eq!(
            reply.outcome(),
            outcome,
            "{}: {}",
            &document[..document.len().min(200)],
            reply.text()
        );
    }
    let many = format!("<CORSRule>{read}</CORSRule>").repeat(101);
    let many = host.ask(setting(&format!("<CORSConfiguration>{many}</CORSConfiguration>")));
    assert_eq!(many.outcome(), "400 InvalidRequest");
    let unchecked = Ask::put("/bucket?cors", RULES);
    assert_eq!(host.ask(unchecked).outcome(), "400 InvalidRequest");
    let none = host.ask(Ask::get("/bucket?cors"));
    assert_eq!(none.outcome(), "404 NoSuchCORSConfiguration");
}

#[test]
fn a_preflight_is_answered_by_the_rules() {
    let mut host = ruled();
    let ask = preflight("/bucket/none", PAGE, "PUT")
        .header("access-control-request-headers", "Content-Type,content-md5")
        .header("access-control-request-headers", "");
    let reply = host.ask(ask);
    assert_eq!((reply.outcome(), reply.len), ("200".to_owned(), 0));
    for (name, value) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "content-type, content-md5"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "ETag"),
        ("access-control-max-age", "600"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let any = host.ask(preflight("/bucket", "https://other.example", "HEAD"));
    assert_eq!((any.outcome(), allowed(&any)), ("200".to_owned(), Some("*")));
    assert_eq!(any.header("access-control-allow-credentials"), None);
    // Whatever the request that follows asks for beside that.
    let signed = "/bucket/k?X-Amz-Signature=0&x-amz-tagging=a&uploadId=1&partNumber=2&versionId=3";
    assert_eq!(host.ask(preflight(signed, PAGE, "PUT")).outcome(), "200");
}

#[test]
fn a_preflight_that_no_rule_allows_does_not_tell_what_there_is() {
    let mut host = ruled();
    host.admin("CreateBucket", &json!({ "globalAlias": "bare" })).ok();
    let mut seen = Vec::new();
    for (target, origin, method) in [
        ("/bucket/k", "https://other.example", "GET"),
        ("/bucket/k", PAGE, "DELETE"),
        ("/bare/k", PAGE, "GET"),
        ("/none/k", PAGE, "GET"),
    ] {
        let reply = host.ask(preflight(target, origin, method));
        assert_eq!(reply.outcome(), "403 AccessForbidden", "{target}");
        let message = reply.element("Message").unwrap_or_default().to_owned();
        assert!(message.starts_with("CORSResponse: "), "{message}");
        assert_eq!(
            (reply.element("Method"), reply.element("ResourceType")),
            (Some(method), Some("OBJECT"))
        );
        let own = ["x-amz-request-id", "content-length"];
        let mut headers = reply.headers.clone();
        headers.retain(|(name, _)| !own.contains(&name.as_str()));
        headers.sort_unstable();
        seen.push((message, headers));
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
    let header =
        preflight("/bucket/k", PAGE, "PUT").header("access-control-request-headers", "x-a");
    assert_eq!(host.ask(header).outcome(), "403 AccessForbidden");
    let service = host.ask(preflight("/", PAGE, "GET"));
    assert_eq!(
        (service.outcome(), service.element("ResourceType")),
        ("403 AccessForbidden".to_owned(), Some("SERVICE"))
    );
}

#[test]
fn a_preflight_says_who_asks_for_what() {
    let mut host = ruled();
    let bare = || Ask::new("OPTIONS", "/bucket/k").anonymous();
    for (ask, says) in [
        (bare(), "Origin request header needed"),
        (bare().header("access-control-request-method", "GET"), "Origin request header needed"),
        (bare().header("origin", PAGE), "Invalid Access-Control-Request-Method: null"),
        (preflight("/bucket/k", PAGE, "PATCH"), "Invalid Access-Control-Request-Method: PATCH"),
        (preflight("/none/k", PAGE, "x"), "Invalid Access-Control-Request-Method: x"),
    ] {
        let reply = host.ask(ask);
        assert_eq!(reply.outcome(), "400 BadRequest");
        assert!(reply.text().contains(says), "{}", reply.text());
    }
}

#[test]
fn a_bucket_in_the_host_has_its_rules() {
    let mut host = ruled();
    let view = std::sync::Arc::make_mut(&mut host.view);
    view.config.root_domain = Some("s3.example.org".to_owned());
    let reply = host.ask(preflight("/k", PAGE, "GET").to("bucket.s3.example.org"));
    assert_eq!((reply.outcome(), allowed(&reply)), ("200".to_owned(), Some(PAGE)));
    let reply = host.ask(Ask::get("/k").to("bucket.s3.example.org").header("origin", PAGE));
    assert_eq!((reply.outcome(), allowed(&reply)), ("200".to_owned(), Some(PAGE)));
}

#[test]
fn answers_say_whose_pages_may_read_them() {
    let mut host = ruled();
    let reply = host.ask(Ask::get("/bucket/k").header("origin", PAGE));
    assert_eq!((reply.outcome(), allowed(&reply)), ("200".to_owned(), Some(PAGE)));
    assert_eq!(reply.header("access-control-expose-headers"), Some("ETag"));
    assert_eq!(reply.header("access-control-max-age"), None, "that is for preflights");
    let reply = host.ask(Ask::put("/bucket/k", "y").header("origin", PAGE));
    assert_eq!((reply.outcome(), allowed(&reply)), ("200".to_owned(), Some(PAGE)));
    let reply = host.ask(Ask::new("HEAD", "/bucket/k").header("origin", PAGE));
    assert_eq!(allowed(&reply), Some("*"), "the rule for everybody");
    let etag = reply.header("etag").expect("a tag").to_owned();
    let same = Ask::get("/bucket/k").header("origin", PAGE).header("if-none-match", etag);
    let reply = host.ask(same);
    assert_eq!((reply.status, allowed(&reply)), (304, Some(PAGE)));
    let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
    for ask in [Ask::get("/bucket/k"), Ask::get("/bucket/k").header("origin", "https://o.example")]
    {
        let reply = host.ask(ask);
        assert_eq!((reply.outcome(), allowed(&reply)), ("200".to_owned(), None));
        assert_eq!(reply.header("vary"), Some(vary), "caches keep the two apart");
    }
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket?cors")).outcome(), "204");
    let reply = host.ask(Ask::get("/bucket/k").header("origin", PAGE));
    assert_eq!(
        (reply.outcome(), allowed(&reply), reply.header("vary")),
        ("200".to_owned(), None, None)
    );
}

#[test]
fn errors_can_be_read_by_the_pages_that_are_allowed() {
    let mut host = ruled();
    host.add_key("stranger", "secret", false);
    let cases = |origin: &str| {
        let get = |target: &str| Ask::get(target).header("origin", origin);
        [
            (get("/bucket/none"), "404 NoSuchKey"),
            (get("/bucket/k").header("if-match", "\"x\""), "412 PreconditionFailed"),
            (get("/bucket/k").header("range", "bytes=9-"), "416 InvalidRange"),
            (get("/bucket/k").key("stranger", "secret"), "403 AccessDenied"),
            (get("/bucket/k").key("stranger", "wrong"), "403 SignatureDoesNotMatch"),
            (get("/bucket/k").key("nobody", "secret"), "403 InvalidAccessKeyId"),
            (get("/bucket/k").anonymous(), "403 AccessDenied"),
            (get("/bucket").anonymous(), "403 AccessDenied"),
            (get("/bucket?policy"), "501 NotImplemented"),
            (
                get("/bucket/k?uploadId=u").header("authorization", "Basic eDp5").anonymous(),
                "400 InvalidArgument",
            ),
        ]
    };
    for (ask, outcome) in cases(PAGE) {
        let reply = host.ask(ask);
        assert_eq!((reply.outcome().as_str(), allowed(&reply)), (outcome, Some(PAGE)));
    }
    for (ask, outcome) in cases("https://other.example") {
        let reply = host.ask(ask);
        assert_eq!((reply.outcome().as_str(), allowed(&reply)), (outcome, None));
        if reply.status == 403 {
            assert_eq!(
                reply.header("vary"),
                None,
                "who is refused does not learn that there are rules"
            );
        }
    }
    let nowhere = host.ask(Ask::get("/none/k").header("origin", PAGE));
    assert_eq!((nowhere.outcome().as_str(), allowed(&nowhere)), ("404 NoSuchBucket", None));
}

#[test]
fn only_owners_see_and_change_rules() {
    let mut host = ruled();
    host.add_key("stranger", "secret", true);
    for method in ["GET", "PUT", "DELETE"] {
        let ask = Ask::new(method, "/bucket?cors").key("stranger", "secret");
        assert_eq!(host.ask(ask).outcome(), "403 AccessDenied", "{method}");
        assert_eq!(
            host.ask(Ask::new(method, "/bucket?cors").anonymous()).outcome(),
            "403 AccessDenied"
        );
    }
    assert_eq!(host.ask(Ask::get("/bucket?cors")).outcome(), "200");
}

#[test]
fn preflights_are_counted_by_their_name() {
    let mut host = ruled();
    host.ask(preflight("/bucket/k", PAGE, "GET"));
    host.ask(preflight("/bucket/k", "https://other.example", "GET"));
    let counted: Vec<_> = host.view.metrics.s3.operations.iter().collect();
    let options = counted.iter().find(|(name, _)| *name == Some("Options"));
    assert_eq!(options.map(|(_, requests)| requests.count.get()), Some(2));
}

/// A node that was away while the rules were set.
#[test]
fn a_node_that_lags_behind_asks_before_it_refuses_a_preflight() {
    let mut cluster = Cluster::replicated(3);
    cluster.down(&[2]);
    assert_eq!(cluster.ask(0, setting(RULES)).outcome(), "200");
    cluster.down(&[]);
    let reply = cluster.ask(2, preflight("/bucket/k", PAGE, "PUT"));
    assert_eq!((reply.outcome(), allowed(&reply)), ("200".to_owned(), Some(PAGE)));
    assert_eq!(cluster.ask(2, Ask::get("/bucket?cors")).outcome(), "200");
    let other = cluster.ask(2, preflight("/bucket/k", "https://other.example", "PUT"));
    assert_eq!(other.outcome(), "403 AccessForbidden");
}

#[test]
fn rules_set_at_two_nodes_are_the_later_ones() {
    let mut cluster = Cluster::replicated(3);
    assert_eq!(cluster.ask(0, setting(RULES)).outcome(), "200");
    assert_eq!(cluster.ask(1, Ask::new("DELETE", "/bucket?cors")).outcome(), "204");
    for at in 0..3 {
        let none = cluster.ask(at, Ask::get("/bucket?cors"));
        assert_eq!(none.outcome(), "404 NoSuchCORSConfiguration", "at {at}");
    }
}
