use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    config::{self, Invalid, Rule},
    *,
};

fn parse(rules: Value) -> Result<Vec<CorsRule>, Invalid> {
    config::parse(serde_json::from_value(rules).expect("rules"))
}

fn rules(rules: Value) -> Vec<CorsRule> {
    parse(rules).expect("valid rules")
}

fn asked(origin: &str, method: &str, headers: &[&str]) -> Asked {
    let headers = headers.iter().map(|name| (*name).to_owned()).collect();
    let (origin, method) = (origin.to_owned(), method.to_owned());
    Asked { origin, method, headers, is_preflight: true }
}

/// Several rules, of which each allows something that the ones before it do not.
fn some() -> Vec<CorsRule> {
    rules(json!([
        { "ID": "app", "AllowedOrigin": ["https://app.example"], "AllowedMethod": ["PUT", "POST"],
          "AllowedHeader": ["Content-Type", "x-amz-*"] },
        { "ID": "all of it", "AllowedOrigin": ["http://*.example.org", "https://*.example.org"],
          "AllowedMethod": ["PUT"], "AllowedHeader": ["*"] },
        { "ID": "inside", "AllowedOrigin": ["https://www*bc.example"], "AllowedMethod": ["DELETE"] },
        { "ID": "read", "AllowedOrigin": ["*"], "AllowedMethod": ["GET", "HEAD"] },
    ]))
}

#[test]
fn the_first_rule_that_allows_all_of_it_goes() {
    let rules = some();
    for (origin, method, headers, id) in [
        ("https://app.example", "PUT", &[][..], Some("app")),
        ("https://app.example", "POST", &["content-type"], Some("app")),
        ("https://app.example", "POST", &["content-type", "x-amz-date"], Some("app")),
        ("https://app.example", "POST", &["x-amz-"], Some("app")),
        ("https://app.example", "POST", &["x-amz"], None),
        ("https://app.example", "POST", &["content-type", "authorization"], None),
        ("https://app.example", "DELETE", &[], None),
        ("https://app.example", "GET", &[], Some("read")),
        ("https://app.example", "GET", &["content-type"], None),
        ("https://app.example:443", "PUT", &[], None),
        ("HTTPS://app.example", "PUT", &[], None),
        ("http://app.example", "PUT", &[], None),
        ("https://app.example", "put", &[], None),
        ("https://a.example.org", "PUT", &["authorization", "x"], Some("all of it")),
        ("https://.example.org", "PUT", &[], Some("all of it")),
        ("https://a.b.example.org", "PUT", &[], Some("all of it")),
        ("https://example.org", "PUT", &[], None),
        ("https://a.example.org.evil.example", "PUT", &[], None),
        ("https://wwwabc.example", "DELETE", &[], Some("inside")),
        ("https://wwwbc.example", "DELETE", &[], Some("inside")),
        ("https://wwwb.example", "DELETE", &[], None),
        ("null", "HEAD", &[], Some("read")),
        ("null", "PUT", &[], None),
        ("null", "PATCH", &[], None),
    ] {
        let found = allowed(&rules, &asked(origin, method, headers));
        let found = found.and_then(|allowed| allowed.rule.id.as_deref());
        assert_eq!(found, id, "{method} from {origin} with {headers:?}");
    }
    assert_eq!(allowed(&[], &asked("null", "GET", &[])), None);
}

#[test]
fn a_browser_is_told_what_the_rule_allows() {
    let rules = rules(json!([
        { "AllowedOrigin": ["https://*.example", "*"], "AllowedMethod": ["GET", "PUT"],
          "AllowedHeader": ["*"], "ExposeHeader": ["ETag", "x-amz-meta-a"], "MaxAgeSeconds": 600 },
    ]));
    let told = |origin, is_preflight| {
        let asked = Asked { is_preflight, ..asked(origin, "PUT", &["x-a", "x-b"]) };
        let fields = granted(&rules, &asked).expect("allowed");
        fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let vary =
        "vary: Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned();
    let before = [
        "access-control-allow-methods: GET, PUT",
        "access-control-allow-origin: https://a.example",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: ETag, x-amz-meta-a",
        "access-control-allow-headers: x-a, x-b",
        "access-control-max-age: 600",
        &vary,
    ];
    assert_eq!(told("https://a.example", true), before);
    let then = [
        "access-control-allow-methods: GET, PUT",
        "access-control-allow-origin: *",
        "access-control-expose-headers: ETag, x-amz-meta-a",
        &vary,
    ];
    assert_eq!(told("https://other", false), then);
}

#[test]
fn caches_are_told_that_others_may_be_answered_otherwise() {
    let vary = fields(&some(), None);
    assert_eq!(vary.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["vary"]);
    assert_eq!(fields(&some(), Some(&asked("null", "PUT", &[]))), vary);
    assert_eq!(fields(&[], Some(&asked("null", "GET", &[]))), []);
}

#[test]
fn rules_are_shown_as_they_were_set() {
    let shown = json!([
        { "ID": "a", "AllowedOrigin": ["https://*.example"], "AllowedMethod": ["GET", "PUT", "POST", "DELETE", "HEAD"],
          "AllowedHeader": ["Content-*"], "ExposeHeader": ["ETag"], "MaxAgeSeconds": 0 },
        { "AllowedOrigin": ["*"], "AllowedMethod": ["HEAD"], "AllowedHeader": [], "ExposeHeader": [] },
    ]);
    let rules = rules(shown.clone());
    assert_eq!(json!(rules.iter().map(Rule::from).collect::<Vec<_>>()), shown);
    assert_eq!(parse(json!([])), Ok(vec![]));
}

#[test]
fn what_no_rule_can_be_is_refused() {
    let with = |field: &str, value: Value| {
        let mut rule = json!({ "AllowedOrigin": ["*"], "AllowedMethod": ["GET"] });
        rule[field] = value;
        parse(json!([rule])).expect_err("no such rule")
    };
    let text = str::to_owned;
    for (field, value, error) in [
        ("AllowedOrigin", json!([]), Invalid::NoOrigin),
        ("AllowedOrigin", json!([""]), Invalid::Origin(text(""))),
        ("AllowedOrigin", json!(["http://a b"]), Invalid::Origin(text("http://a b"))),
        ("AllowedOrigin", json!(["a", "*.*"]), Invalid::Wildcards("AllowedOrigin", text("*.*"))),
        ("AllowedMethod", json!([]), Invalid::NoMethod),
        ("AllowedMethod", json!(["OPTIONS"]), Invalid::Method(text("OPTIONS"))),
        ("AllowedMethod", json!(["get"]), Invalid::Method(text("get"))),
        ("AllowedMethod", json!(["*"]), Invalid::Method(text("*"))),
        ("AllowedHeader", json!(["x-*-*"]), Invalid::Wildcards("AllowedHeader", text("x-*-*"))),
        ("AllowedHeader", json!(["a, b"]), Invalid::Header("AllowedHeader", text("a, b"))),
        ("ExposeHeader", json!(["*"]), Invalid::ExposedWildcard(text("*"))),
        ("ExposeHeader", json!(["a\r\nb"]), Invalid::Header("ExposeHeader", text("a\r\nb"))),
        ("MaxAgeSeconds", json!(-1), Invalid::MaxAge(-1)),
        ("MaxAgeSeconds", json!(1_u64 << 31), Invalid::MaxAge(1 << 31)),
        ("ID", json!("\u{e9}".repeat(256)), Invalid::LongId(256)),
        ("ID", json!("a\u{1}"), Invalid::Unwritable(text("a\u{1}"))),
    ] {
        assert_eq!(with(field, value), error, "{field}");
        assert!(error.to_string().len() > 30, "{error}");
    }
    let rule = json!({ "AllowedOrigin": ["*"], "AllowedMethod": ["GET"] });
    assert_eq!(parse(json!(vec![rule.clone(); 101])), Err(Invalid::TooManyRules(101)));
    assert_eq!(parse(json!(vec![rule; 100])).map(|rules| rules.len()), Ok(100));
    let many = json!([{ "AllowedOrigin": vec!["https://www.example.org"; 3000], "AllowedMethod": ["GET"] }]);
    assert!(matches!(parse(many), Err(Invalid::MuchText(_))));
}

proptest! {
    #[test]
    fn a_pattern_fits_what_it_makes(start in "[a.*]{0,3}", middle in "[a.*]{0,3}", end in "[a.*]{0,3}") {
        prop_assume!(!start.contains('*') && !end.contains('*'));
        let pattern = format!("{start}*{end}");
        let made = format!("{start}{middle}{end}");
        prop_assert!(fits(&pattern, &made));
        let text = format!("{middle}{start}");
        let expected = text.len() >= start.len() + end.len() && text.starts_with(&start) && text.ends_with(&end);
        prop_assert_eq!(fits(&pattern, &text), expected);
    }
}
