//! Buckets as websites, by the S3 API.

use crate::{
    table::access::Permissions,
    testing::{Ask, Host, KEY_ID, cluster::Cluster},
};

use super::access::permit;

const TARGET: &str = "/bucket?website";

/// As clients write it, with blanks between the elements.
const SITE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<WebsiteConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <IndexDocument><Suffix>index.html</Suffix></IndexDocument>
  <ErrorDocument><Key>404.html</Key></ErrorDocument>
  <RoutingRules>
    <RoutingRule>
      <Condition>
        <KeyPrefixEquals>docs/</KeyPrefixEquals>
        <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>
      </Condition>
      <Redirect>
        <HostName>o.example</HostName>
        <Protocol>https</Protocol>
        <HttpRedirectCode>302</HttpRedirectCode>
        <ReplaceKeyPrefixWith/>
      </Redirect>
    </RoutingRule>
    <RoutingRule>
      <Redirect><ReplaceKeyWith>moved.html</ReplaceKeyWith></Redirect>
    </RoutingRule>
  </RoutingRules>
</WebsiteConfiguration>
"#;

fn site(content: &str) -> String {
    format!("<WebsiteConfiguration>{content}</WebsiteConfiguration>")
}

fn index(more: &str) -> String {
    site(&format!("<IndexDocument><Suffix>index.html</Suffix></IndexDocument>{more}"))
}

/// A website with one rule of these elements.
fn rule(content: &str) -> String {
    index(&format!("<RoutingRules><RoutingRule>{content}</RoutingRule></RoutingRules>"))
}

fn put(host: &mut Host, document: &str) -> String {
    host.ask(Ask::put(TARGET, document.to_owned())).outcome()
}

#[test]
fn what_is_put_is_what_is_got() {
    let mut host = Host::new();
    assert_eq!(put(&mut host, SITE), "200");
    let expected = include_str!("../../../../testdata/s3/website.xml");
    let reply = host.ask(Ask::get(TARGET));
    assert_eq!((reply.outcome().as_str(), reply.text()), ("200", expected.trim_end()));
    assert_eq!(put(&mut host, expected.trim_end()), "200", "what is got can be put");
    assert_eq!(host.ask(Ask::get(TARGET)).text(), expected.trim_end());
}

#[test]
fn elements_may_say_their_namespace() {
    let mut host = Host::new();
    let other = SITE.replace("<Redirect>", "<Redirect xmlns=\"\">");
    assert_eq!(
        put(&mut host, &other.replace("<IndexDocument>", "<IndexDocument xmlns=\"\">")),
        "200"
    );
    let prefixed = "<s3:WebsiteConfiguration xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\"><s3:IndexDocument>\
        <s3:Suffix>index.html</s3:Suffix></s3:IndexDocument></s3:WebsiteConfiguration>";
    assert_eq!(put(&mut host, prefixed), "200");
}

#[test]
fn a_website_is_the_same_at_every_node() {
    let mut cluster = Cluster::replicated(3);
    assert_eq!(cluster.ask(0, Ask::put(TARGET, SITE)).outcome(), "200");
    let expected = include_str!("../../../../testdata/s3/website.xml").trim_end();
    assert_eq!(cluster.ask(1, Ask::get(TARGET)).text(), expected);
    // One that was away while it ended hears of that from the others.
    cluster.down(&[2]);
    assert_eq!(cluster.ask(1, Ask::new("DELETE", TARGET)).outcome(), "204");
    cluster.down(&[]);
    let reply = cluster.ask(2, Ask::get(TARGET));
    assert_eq!(reply.outcome(), "404 NoSuchWebsiteConfiguration");
}

#[test]
fn a_document_replaces_the_one_before() {
    let mut host = Host::new();
    assert_eq!(put(&mut host, SITE), "200");
    assert_eq!(put(&mut host, &index("")), "200");
    let reply = host.ask(Ask::get(TARGET));
    assert_eq!((reply.element("Suffix"), reply.element("Key")), (Some("index.html"), None));
    assert_eq!(reply.element("RoutingRule"), None);
}

#[test]
fn a_redirect_of_everything_is_kept() {
    let mut host = Host::new();
    let all = "<RedirectAllRequestsTo><HostName>o.example</HostName></RedirectAllRequestsTo>";
    assert_eq!(put(&mut host, &site(all)), "200");
    assert!(host.ask(Ask::get(TARGET)).text().ends_with(&format!(">{all}</WebsiteConfiguration>")));
}

#[test]
fn a_bucket_that_is_no_website_says_so() {
    let mut host = Host::new();
    let reply = host.ask(Ask::get(TARGET));
    assert_eq!(reply.outcome(), "404 NoSuchWebsiteConfiguration");
    assert_eq!(reply.element("BucketName"), Some("bucket"));
    assert_eq!(host.ask(Ask::get("/none?website")).outcome(), "404 NoSuchBucket");
    assert_eq!(host.ask(Ask::put("/none?website", SITE)).outcome(), "404 NoSuchBucket");
}

#[test]
fn a_website_ends_as_often_as_it_is_asked_to() {
    let mut host = Host::new();
    assert_eq!(put(&mut host, SITE), "200");
    for _ in 0..2 {
        assert_eq!(host.ask(Ask::new("DELETE", TARGET)).outcome(), "204");
    }
    assert_eq!(host.ask(Ask::get(TARGET)).outcome(), "404 NoSuchWebsiteConfiguration");
}

#[test]
fn only_who_owns_the_bucket_deals_with_its_website() {
    let mut host = Host::new();
    permit(&mut host, KEY_ID, Permissions { read: true, write: true, owner: false });
    for ask in [Ask::get(TARGET), Ask::put(TARGET, SITE), Ask::new("DELETE", TARGET)] {
        assert_eq!(host.ask(ask).outcome(), "403 AccessDenied");
    }
    permit(&mut host, KEY_ID, Permissions { read: false, write: false, owner: true });
    assert_eq!(put(&mut host, SITE), "200");
    assert_eq!(host.ask(Ask::get(TARGET)).outcome(), "200");
}

#[test]
fn a_document_is_checked_by_what_was_sent_with_it() {
    let mut host = Host::new();
    let wrong = Ask::put(TARGET, SITE).header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(host.ask(wrong).outcome(), "400 BadDigest");
    let wrong = Ask::put(TARGET, SITE).header("x-amz-checksum-crc32", "AAAAAA==");
    assert_eq!(host.ask(wrong).outcome(), "400 BadDigest");
    assert_eq!(host.ask(Ask::get(TARGET)).outcome(), "404 NoSuchWebsiteConfiguration");
}

#[test]
fn what_is_no_document_of_a_website_is_malformed() {
    let mut host = Host::new();
    assert_eq!(put(&mut host, ""), "400 MissingRequestBodyError");
    for document in [
        "<WebsiteConfiguration>".to_owned(),
        "<Website/>".to_owned(),
        index("<ErrorDocument/>"),
        index("<ErrorDocument><Key></Key></ErrorDocument>"),
        index("<Cache>1</Cache>"),
        rule(""),
        rule("<Redirect><HostName>o</HostName><Path>/</Path></Redirect>"),
        rule("<Redirect><HostName>o</HostName><HttpRedirectCode>3xx</HttpRedirectCode></Redirect>"),
        site("<IndexDocument/>"),
        site("<RedirectAllRequestsTo><Protocol>http</Protocol></RedirectAllRequestsTo>"),
    ] {
        assert_eq!(put(&mut host, &document), "400 MalformedXML", "{document}");
    }
}

#[test]
fn arguments_that_no_website_can_have_are_named() {
    let mut host = Host::new();
    let all = "<RedirectAllRequestsTo><HostName>o</HostName></RedirectAllRequestsTo>";
    for (document, name) in [
        (site(""), "IndexDocument"),
        (site("<IndexDocument><Suffix></Suffix></IndexDocument>"), "IndexDocument"),
        (site("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "IndexDocument"),
        (index(all), "RedirectAllRequestsTo"),
    ] {
        let reply = host.ask(Ask::put(TARGET, document.clone()));
        assert_eq!(reply.outcome(), "400 InvalidArgument", "{document}");
        assert_eq!(reply.element("ArgumentName"), Some(name), "{document}");
    }
}

#[test]
fn rules_that_cannot_be_followed_are_refused_and_nothing_is_changed() {
    let mut host = Host::new();
    let many =
        "<RoutingRule><Redirect><HostName>o</HostName></Redirect></RoutingRule>".repeat(1001);
    for (document, why) in [
        (rule("<Redirect/>"), "at least one of"),
        (rule("<Condition/><Redirect><HostName>o</HostName></Redirect>"), "has no Condition"),
        (
            rule(
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
            ),
            "ReplaceKeyPrefixWith and ReplaceKeyWith exclude each other.",
        ),
        (
            rule(
                "<Redirect><HostName>o</HostName><HttpRedirectCode>304</HttpRedirectCode></Redirect>",
            ),
            "HttpRedirectCode is 304; ",
        ),
        (
            rule(
                "<Condition><HttpErrorCodeReturnedEquals>503</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>o</HostName></Redirect>",
            ),
            "400 to 499",
        ),
        (
            rule("<Redirect><HostName>o</HostName><Protocol>gopher</Protocol></Redirect>"),
            "neither http nor https",
        ),
        (rule("<Redirect><HostName>o/p</HostName></Redirect>"), "not a host's name"),
        (index(&format!("<RoutingRules>{many}</RoutingRules>")), "1001 routing rules"),
    ] {
        let reply = host.ask(Ask::put(TARGET, document));
        assert_eq!(reply.outcome(), "400 InvalidRequest", "{why}");
        let message = reply.element("Message").expect("a message");
        assert!(message.contains(why), "{why}: {message}");
    }
    assert_eq!(host.ask(Ask::get(TARGET)).outcome(), "404 NoSuchWebsiteConfiguration");
}

#[test]
fn as_many_rules_as_there_may_be_fit_in_a_document() {
    let mut host = Host::new();
    let condition = "<Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals><KeyPrefixEquals>a</KeyPrefixEquals></Condition>";
    let redirect = "<Redirect><HostName>o</HostName><HttpRedirectCode>301</HttpRedirectCode><Protocol>https</Protocol><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>";
    let rules = format!("<RoutingRule>{condition}{redirect}</RoutingRule>").repeat(1000);
    let document = index(&format!("<RoutingRules>{rules}</RoutingRules>"));
    assert_eq!(put(&mut host, &document), "200");
    assert_eq!(host.ask(Ask::get(TARGET)).elements("RoutingRule").len(), 1000);
}

#[test]
fn no_rules_at_all_are_no_rules() {
    let mut host = Host::new();
    assert_eq!(put(&mut host, &index("<RoutingRules></RoutingRules>")), "200");
    assert_eq!(host.ask(Ask::get(TARGET)).element("RoutingRules"), None);
}

#[test]
fn another_object_may_be_shown_instead_of_an_error() {
    let mut host = Host::new();
    let redirect = "<Redirect><HttpRedirectCode>200</HttpRedirectCode><ReplaceKeyWith>app.html</ReplaceKeyWith></Redirect>";
    assert_eq!(put(&mut host, &rule(redirect)), "200");
    assert!(host.ask(Ask::get(TARGET)).text().contains(redirect));
}

#[test]
fn an_object_sends_visitors_to_an_address_or_is_refused() {
    let mut host = Host::new();
    let long = format!("/{}", "a".repeat(2048));
    for (location, outcome) in [
        ("/other", "200"),
        ("http://o.example/", "200"),
        ("https://o.example/", "200"),
        (&long[..2048], "200"),
        (&long[..], "400 InvalidRedirectLocation"),
        ("other", "400 InvalidRedirectLocation"),
        ("ftp://o.example/", "400 InvalidRedirectLocation"),
        ("javascript:alert(1)", "400 InvalidRedirectLocation"),
    ] {
        let with = |ask: Ask| ask.header("x-amz-website-redirect-location", location);
        let put = with(Ask::put("/bucket/k", "x"));
        assert_eq!(host.ask(put).outcome(), outcome, "PutObject {location}");
        let create = with(Ask::new("POST", "/bucket/k?uploads"));
        assert_eq!(host.ask(create).outcome(), outcome, "CreateMultipartUpload {location}");
        super::put(&mut host, "/bucket/source", "x");
        for directive in ["COPY", "REPLACE"] {
            let copy = with(Ask::put("/bucket/copy", ""))
                .header("x-amz-copy-source", "/bucket/source")
                .header("x-amz-metadata-directive", directive);
            assert_eq!(host.ask(copy).outcome(), outcome, "CopyObject {directive} {location}");
        }
    }
}
