use serde_json::{Value, json};

use super::*;

fn parse(rule: Value) -> Result<RoutingRule, Invalid> {
    serde_json::from_value::<Rule>(rule).expect("the form of a rule").parse()
}

fn redirect(redirect: Value) -> Result<RoutingRule, Invalid> {
    parse(json!({ "Redirect": redirect }))
}

fn site() -> Website {
    Website { index: "index.html".to_owned(), ..Website::default() }
}

fn to(host: &str) -> RoutingRule {
    RoutingRule { host: Some(host.to_owned()), ..RoutingRule::default() }
}

#[test]
fn a_rule_is_read_and_written_as_both_apis_spell_it() {
    let whole = json!({
        "Condition": { "HttpErrorCodeReturnedEquals": 404, "KeyPrefixEquals": "old/" },
        "Redirect": {
            "HostName": "o.example:81",
            "HttpRedirectCode": 307,
            "Protocol": "https",
            "ReplaceKeyPrefixWith": "new/",
        },
    });
    let rule = parse(whole.clone()).expect("a rule");
    let expected = RoutingRule {
        prefix: Some("old/".to_owned()),
        error: Some(404),
        host: Some("o.example:81".to_owned()),
        protocol: Some(Protocol::Https),
        status: Some(307),
        replace: Some(Replace::Prefix("new/".to_owned())),
    };
    assert_eq!(rule, expected);
    assert_eq!(json!(Rule::from(&rule)), whole);
}

#[test]
fn what_a_rule_does_not_say_is_not_written() {
    for whole in [
        json!({ "Redirect": { "ReplaceKeyWith": "" } }),
        json!({ "Condition": { "KeyPrefixEquals": "" }, "Redirect": { "Protocol": "http" } }),
        json!({ "Condition": { "HttpErrorCodeReturnedEquals": 400 }, "Redirect": { "HostName": "o" } }),
    ] {
        assert_eq!(json!(Rule::from(&parse(whole.clone()).expect("a rule"))), whole);
    }
}

#[test]
fn an_unknown_part_of_a_rule_is_refused() {
    for unknown in [
        json!({ "Redirect": { "HostName": "o", "Path": "/" } }),
        json!({ "Redirect": { "HostName": "o" }, "Id": "1" }),
        json!({ "Redirect": { "HostName": "o" }, "Condition": { "Method": "GET" } }),
        json!({}),
    ] {
        assert!(serde_json::from_value::<Rule>(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn a_condition_says_something() {
    let rule = json!({ "Condition": {}, "Redirect": { "HostName": "o" } });
    assert_eq!(parse(rule), Err(Invalid::EmptyCondition));
}

#[test]
fn a_key_is_replaced_in_one_way() {
    let both = json!({ "ReplaceKeyPrefixWith": "a", "ReplaceKeyWith": "b" });
    assert_eq!(redirect(both), Err(Invalid::TwoReplacements));
}

#[test]
fn a_redirect_leads_elsewhere() {
    assert_eq!(redirect(json!({})), Err(Invalid::EmptyRedirect));
    assert_eq!(redirect(json!({ "HttpRedirectCode": 302 })), Err(Invalid::EmptyRedirect));
    assert!(redirect(json!({ "HttpRedirectCode": 200 })).is_ok(), "it shows what is there");
}

#[test]
fn codes_of_redirects_are_those_that_browsers_follow() {
    for code in 0..1000 {
        let found = redirect(json!({ "HttpRedirectCode": code, "ReplaceKeyWith": "x" }));
        let known = [200, 301, 302, 303, 307, 308, 404].contains(&code);
        assert_eq!(found.is_ok(), known, "{code}");
    }
    for code in [-1, 70_000, 65_536 + 301] {
        let found = redirect(json!({ "HttpRedirectCode": code, "HostName": "o" }));
        assert_eq!(found, Err(Invalid::RedirectCode(code)));
    }
}

#[test]
fn an_object_is_shown_from_the_same_bucket_only() {
    for elsewhere in [
        json!({ "HttpRedirectCode": 200, "HostName": "o" }),
        json!({ "HttpRedirectCode": 200, "Protocol": "https", "ReplaceKeyWith": "x" }),
    ] {
        assert_eq!(redirect(elsewhere), Err(Invalid::RewriteElsewhere(200)));
    }
}

#[test]
fn rules_follow_errors_of_visitors_only() {
    for code in 0..1000 {
        let rule = json!({
            "Condition": { "HttpErrorCodeReturnedEquals": code },
            "Redirect": { "HostName": "o" },
        });
        let expected =
            if (400..500).contains(&code) { Ok(()) } else { Err(Invalid::ErrorCode(code)) };
        assert_eq!(parse(rule).map(|_| ()), expected);
    }
}

#[test]
fn a_protocol_is_that_of_a_website() {
    for protocol in ["ftp", "HTTP", "", "javascript"] {
        let found = redirect(json!({ "Protocol": protocol, "HostName": "o" }));
        assert_eq!(found, Err(Invalid::Protocol(protocol.to_owned())));
    }
}

#[test]
fn a_host_is_a_name_or_an_address() {
    for host in ["o.example", "o.example:8080", "xn--bcher-kva.example", "[::1]:80", "10.0.0.1"] {
        assert_eq!(redirect(json!({ "HostName": host })), Ok(to(host)));
    }
    let long = "a".repeat(HOST_MAX + 1);
    for host in
        ["", "o.example/path", "a b", "bücher.example", "u@o", "o?x", "o\r\nx: y", "\"", &long]
    {
        let found = redirect(json!({ "HostName": host }));
        assert!(matches!(found, Err(Invalid::Host(_))), "{host:?}: {found:?}");
    }
}

#[test]
fn a_code_is_given_to_a_rule_without_one() {
    let rule = |redirect: Value| serde_json::from_value::<Rule>(json!({ "Redirect": redirect }));
    let bare = rule(json!({ "HostName": "o" })).expect("a rule").or_code(302).parse();
    assert_eq!(bare.map(|rule| rule.status), Ok(Some(302)));
    let own = rule(json!({ "HostName": "o", "HttpRedirectCode": 308 })).expect("a rule");
    assert_eq!(own.or_code(302).parse().map(|rule| rule.status), Ok(Some(308)));
}

#[test]
fn a_target_is_read_and_written() {
    let form = json!({ "HostName": "o", "Protocol": "http" });
    let target = serde_json::from_value::<Target>(form.clone()).expect("a target");
    let all = target.parse().expect("somewhere");
    assert_eq!(all, RedirectAll { host: "o".to_owned(), protocol: Some(Protocol::Http) });
    assert_eq!(json!(Target::from(&all)), form);
    let nowhere = Target { host_name: String::new(), protocol: None };
    assert_eq!(nowhere.parse(), Err(Invalid::Host(String::new())));
}

#[test]
fn an_index_document_is_in_every_folder() {
    assert_eq!(check(&site()), Ok(()));
    for index in ["", "a/index.html", "/"] {
        let index = index.to_owned();
        let wrong = Website { index: index.clone(), ..Website::default() };
        assert_eq!(check(&wrong), Err(Invalid::Index(index)));
    }
}

#[test]
fn an_error_document_has_a_key() {
    let error = |error: &str| Website { error: Some(error.to_owned()), ..site() };
    assert_eq!(check(&error("errors/404.html")), Ok(()));
    assert_eq!(check(&error("")), Err(Invalid::EmptyErrorDocument));
}

#[test]
fn a_website_that_redirects_everything_has_nothing_else() {
    let redirect_all = Some(RedirectAll { host: "o".to_owned(), protocol: None });
    let all = Website { redirect_all, ..Website::default() };
    assert_eq!(check(&all), Ok(()));
    for more in [
        Website { index: "index.html".to_owned(), ..all.clone() },
        Website { error: Some("404.html".to_owned()), ..all.clone() },
        Website { rules: vec![to("o")], ..all },
    ] {
        assert_eq!(check(&more), Err(Invalid::AllAndMore));
    }
}

#[test]
fn rules_are_limited_in_number_and_size() {
    let with = |rules| Website { rules, ..site() };
    assert_eq!(check(&with(vec![to("o"); RULES_MAX])), Ok(()));
    let over = check(&with(vec![to("o"); RULES_MAX + 1]));
    assert_eq!(over, Err(Invalid::TooManyRules(RULES_MAX + 1)));
    let long = |len| RoutingRule { replace: Some(Replace::Key("k".repeat(len))), ..to("o") };
    assert_eq!(check(&with(vec![long(KEY_MAX)])), Ok(()));
    assert!(matches!(check(&with(vec![long(KEY_MAX + 1)])), Err(Invalid::LongText(_))));
    let much = check(&with(vec![long(KEY_MAX); 64]));
    assert_eq!(much, Err(Invalid::MuchText("index.html".len() + 64 * (KEY_MAX + 1))));
}

#[test]
fn texts_can_be_asked_for_over_s3() {
    let prefix = Some("a\u{1}".to_owned());
    let odd = Website { rules: vec![RoutingRule { prefix, ..to("o") }], ..site() };
    assert_eq!(check(&odd), Err(Invalid::Unwritable("a\u{1}".to_owned())));
}

#[test]
fn a_refusal_says_what_to_do() {
    for (refusal, hint) in [
        (Invalid::EmptyCondition, "has no Condition"),
        (Invalid::EmptyRedirect, "at least one of"),
        (Invalid::ErrorCode(500), "400 to 499"),
        (Invalid::Host("a/b".to_owned()), "ReplaceKeyPrefixWith"),
        (Invalid::Index("a/b".to_owned()), "such as index.html"),
        (Invalid::RedirectCode(304), "301, 302, 303, 307, 308"),
    ] {
        assert!(refusal.to_string().contains(hint), "{refusal}");
    }
}
