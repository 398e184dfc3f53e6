use proptest::{collection::vec, option, prelude::*};

use super::*;

const HOST: &str = "site.example:3902";

fn rule() -> RoutingRule {
    RoutingRule::default()
}

fn prefix(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn instead(text: &str) -> Option<Replace> {
    Some(Replace::Prefix(text.to_owned()))
}

fn whole(text: &str) -> Option<Replace> {
    Some(Replace::Key(text.to_owned()))
}

fn site(rules: impl IntoIterator<Item = RoutingRule>) -> Website {
    let rules = rules.into_iter().collect();
    Website { index: "index.html".to_owned(), rules, ..Website::default() }
}

fn only(rule: RoutingRule) -> Website {
    site([rule])
}

fn sent(status: u16, location: &str) -> Option<Action> {
    Some(Action::Redirect { status, location: location.to_owned() })
}

fn shown(status: u16, key: &str) -> Option<Action> {
    Some(Action::Serve { status, key: key.as_bytes().to_vec() })
}

#[test]
fn a_website_without_rules_does_nothing_instead() {
    assert_eq!(before(&site([]), b"a", HOST), None);
    assert_eq!(after(&site([]), b"a", 404, HOST), None);
}

#[test]
fn a_prefix_is_replaced_and_the_rest_of_the_key_stays() {
    let site =
        only(RoutingRule { prefix: prefix("docs/"), replace: instead("documents/"), ..rule() });
    assert_eq!(before(&site, b"docs/a/b.html", HOST), sent(301, "/documents/a/b.html"));
    assert_eq!(before(&site, b"docs/", HOST), sent(301, "/documents/"));
    assert_eq!(before(&site, b"docs", HOST), None);
    assert_eq!(before(&site, b"a/docs/", HOST), None);
    assert_eq!(before(&site, b"", HOST), None);
}

#[test]
fn only_the_first_of_several_equal_prefixes_is_replaced() {
    let site = only(RoutingRule { prefix: prefix("a/"), replace: instead("b/"), ..rule() });
    assert_eq!(before(&site, b"a/a/a/", HOST), sent(301, "/b/a/a/"));
}

#[test]
fn a_prefix_may_be_replaced_by_nothing() {
    let site = only(RoutingRule { prefix: prefix("old/"), replace: instead(""), ..rule() });
    assert_eq!(before(&site, b"old/page", HOST), sent(301, "/page"));
    assert_eq!(before(&site, b"old/", HOST), sent(301, "/"));
}

#[test]
fn without_a_prefix_to_replace_the_new_one_goes_before_the_key() {
    let site = only(RoutingRule { replace: instead("report/"), error: Some(404), ..rule() });
    assert_eq!(after(&site, b"images/x", 404, HOST), sent(301, "/report/images/x"));
}

#[test]
fn a_whole_key_is_replaced() {
    let site =
        only(RoutingRule { prefix: prefix("images/"), replace: whole("gone.html"), ..rule() });
    assert_eq!(before(&site, b"images/cat.jpg", HOST), sent(301, "/gone.html"));
    assert_eq!(before(&site, b"imagine", HOST), None);
}

#[test]
fn a_rule_without_a_condition_is_for_every_request() {
    let host = Some("other.example".to_owned());
    let site = only(RoutingRule { host, ..rule() });
    assert_eq!(before(&site, b"", HOST), sent(301, "//other.example/"));
    assert_eq!(before(&site, b"a/b", HOST), sent(301, "//other.example/a/b"));
    let empty = only(RoutingRule { prefix: prefix(""), replace: whole("x"), ..rule() });
    assert_eq!(before(&empty, b"a", HOST), sent(301, "/x"));
}

#[test]
fn a_rule_for_an_error_waits_for_it() {
    let site = only(RoutingRule { error: Some(404), replace: whole("404.html"), ..rule() });
    assert_eq!(before(&site, b"a", HOST), None);
    assert_eq!(after(&site, b"a", 404, HOST), sent(301, "/404.html"));
    assert_eq!(after(&site, b"a", 403, HOST), None);
}

#[test]
fn a_rule_without_an_error_is_over_once_there_is_one() {
    let site = only(RoutingRule { prefix: prefix("a"), replace: whole("b"), ..rule() });
    assert_eq!(after(&site, b"a", 404, HOST), None);
}

#[test]
fn prefix_and_error_must_both_hold() {
    let site = only(RoutingRule {
        prefix: prefix("images/"),
        error: Some(404),
        replace: instead("lost/"),
        ..rule()
    });
    assert_eq!(after(&site, b"images/x", 404, HOST), sent(301, "/lost/x"));
    assert_eq!(after(&site, b"x", 404, HOST), None);
    assert_eq!(after(&site, b"images/x", 403, HOST), None);
    assert_eq!(before(&site, b"images/x", HOST), None);
}

#[test]
fn the_first_rule_that_applies_goes() {
    let to =
        |text: &str, key: &str| RoutingRule { prefix: prefix(text), replace: whole(key), ..rule() };
    let late = RoutingRule { error: Some(404), ..to("", "late") };
    let site = site([late, to("a/b/", "1"), to("a/", "2"), to("a/b/", "3")]);
    assert_eq!(before(&site, b"a/b/c", HOST), sent(301, "/1"));
    assert_eq!(before(&site, b"a/c", HOST), sent(301, "/2"));
    assert_eq!(before(&site, b"c", HOST), None);
    assert_eq!(after(&site, b"c", 404, HOST), sent(301, "/late"));
}

#[test]
fn a_rule_says_its_status() {
    for status in [301, 302, 303, 307, 308] {
        let site = only(RoutingRule { status: Some(status), replace: whole("x"), ..rule() });
        assert_eq!(before(&site, b"a", HOST), sent(status, "/x"));
    }
}

#[test]
fn a_host_without_a_protocol_leaves_it_to_the_browser() {
    let site = only(RoutingRule { host: Some("o.example:81".to_owned()), ..rule() });
    assert_eq!(before(&site, b"a b", HOST), sent(301, "//o.example:81/a%20b"));
}

#[test]
fn a_host_and_a_protocol_make_a_whole_url() {
    let site = only(RoutingRule {
        host: Some("o.example".to_owned()),
        protocol: Some(Protocol::Https),
        replace: whole("x"),
        ..rule()
    });
    assert_eq!(before(&site, b"a", HOST), sent(301, "https://o.example/x"));
}

#[test]
fn a_protocol_without_a_host_goes_to_the_host_that_was_asked() {
    let site = only(RoutingRule { protocol: Some(Protocol::Http), ..rule() });
    assert_eq!(before(&site, b"a", HOST), sent(301, "http://site.example:3902/a"));
    assert_eq!(before(&site, b"a", "[::1]:80"), sent(301, "http://[::1]:80/a"));
    assert_eq!(before(&site, b"a", ""), sent(301, "/a"), "whoever says no host stays here");
}

#[test]
fn the_host_that_was_asked_adds_nothing_to_a_url_but_itself() {
    let site = only(RoutingRule { protocol: Some(Protocol::Https), ..rule() });
    let odd = before(&site, b"a", "x@evil.example/\r\n\"");
    assert_eq!(odd, sent(301, "https://x%40evil.example%2F%0D%0A%22/a"));
}

#[test]
fn two_slashes_never_begin_a_path() {
    let rename = only(RoutingRule { prefix: prefix("old"), replace: instead(""), ..rule() });
    let found = before(&rename, b"old//evil.example/", HOST);
    assert_eq!(found, sent(301, "/.///evil.example/"));
    let written = only(RoutingRule { replace: whole("/x"), ..rule() });
    assert_eq!(before(&written, b"a", HOST), sent(301, "/.//x"));
}

#[test]
fn a_backslash_is_no_slash() {
    let site = only(RoutingRule { prefix: prefix("old"), replace: instead(""), ..rule() });
    assert_eq!(before(&site, b"old\\evil.example", HOST), sent(301, "/%5Cevil.example"));
    let written = only(RoutingRule { replace: whole("\\x"), ..rule() });
    assert_eq!(before(&written, b"a", HOST), sent(301, "/%5Cx"));
}

#[test]
fn what_a_url_cannot_hold_of_a_key_is_escaped() {
    let site = only(RoutingRule { prefix: prefix("o/"), replace: instead("n/"), ..rule() });
    let key = "o/é ?#%20\"'<>\r\n\t&+".as_bytes();
    let expected = "/n/%C3%A9%20%3F%23%2520%22%27%3C%3E%0D%0A%09%26%2B";
    assert_eq!(before(&site, key, HOST), sent(301, expected));
    assert_eq!(before(&site, b"o/\xFF", HOST), sent(301, "/n/%FF"));
}

#[test]
fn the_text_of_a_rule_may_bring_a_query_or_a_fragment() {
    let resize = only(RoutingRule { error: Some(404), replace: instead("resize?key="), ..rule() });
    assert_eq!(after(&resize, b"a/b&c.png", 404, HOST), sent(301, "/resize?key=a/b%26c.png"));
    let app = only(RoutingRule { error: Some(404), replace: instead("#!/"), ..rule() });
    assert_eq!(after(&app, b"about", 404, HOST), sent(301, "/#!/about"));
}

#[test]
fn what_is_escaped_in_the_text_of_a_rule_stays_so() {
    let site = only(RoutingRule { replace: whole("a%20b 100% %zz%\n\"é"), ..rule() });
    assert_eq!(before(&site, b"k", HOST), sent(301, "/a%20b%20100%25%20%25zz%25%0A%22%C3%A9"));
}

#[test]
fn another_object_is_shown_without_a_redirect() {
    let app = RoutingRule { error: Some(404), status: Some(200), ..rule() };
    let page = only(RoutingRule { replace: whole("app.html"), ..app.clone() });
    assert_eq!(after(&page, b"any/thing", 404, HOST), shown(200, "app.html"));
    let moved = only(RoutingRule { prefix: prefix("a/"), replace: instead("b?/"), ..app });
    assert_eq!(after(&moved, "a/é #".as_bytes(), 404, HOST), shown(200, "b?/é #"));
    let same = only(RoutingRule { prefix: prefix("hidden/"), status: Some(404), ..rule() });
    assert_eq!(before(&same, b"hidden/x", HOST), shown(404, "hidden/x"));
}

#[test]
fn a_website_may_redirect_everything() {
    let all = |protocol| Website {
        redirect_all: Some(RedirectAll { host: "www.o.example".to_owned(), protocol }),
        ..Website::default()
    };
    assert_eq!(before(&all(None), b"", HOST), sent(301, "//www.o.example/"));
    assert_eq!(before(&all(None), b"a/ b", HOST), sent(301, "//www.o.example/a/%20b"));
    let secure = all(Some(Protocol::Https));
    assert_eq!(before(&secure, b"/x", HOST), sent(301, "https://www.o.example//x"));
    assert_eq!(after(&secure, b"x", 404, HOST), None);
}

fn replacement() -> impl Strategy<Value = Option<Replace>> {
    let text = "[/\\\\.a%?#@:\\n\"é ]{0,4}";
    prop_oneof![
        Just(None),
        text.prop_map(|text| Some(Replace::Prefix(text))),
        text.prop_map(|text| Some(Replace::Key(text))),
    ]
}

proptest! {
    #[test]
    fn a_redirect_leaves_the_host_only_if_the_rule_says_so(
        key in vec(prop_oneof![Just(b'/'), Just(b'\\'), Just(b'.'), Just(b'a'), any::<u8>()], 0..8),
        prefix in option::of("[/\\\\.a]{0,2}"),
        replace in replacement(),
        protocol in option::of(prop_oneof![Just(Protocol::Http), Just(Protocol::Https)]),
        host in option::of(Just("o.example".to_owned())),
    ) {
        let elsewhere = host.is_some();
        let site = only(RoutingRule { prefix, replace, protocol, host, ..rule() });
        let Some(action) = before(&site, &key, HOST) else { return Ok(()) };
        let Action::Redirect { location, .. } = action else { panic!("no redirect: {action:?}") };
        let begins = match (protocol, elsewhere) {
            (None, false) => "/",
            (None, true) => "//o.example/",
            (Some(Protocol::Http), false) => "http://site.example:3902/",
            (Some(Protocol::Https), false) => "https://site.example:3902/",
            (Some(Protocol::Http), true) => "http://o.example/",
            (Some(Protocol::Https), true) => "https://o.example/",
        };
        prop_assert!(location.starts_with(begins), "{location}");
        if protocol.is_none() && !elsewhere {
            prop_assert!(!location.starts_with("//") && !location.starts_with("/\\"), "{location}");
        }
        prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\<>".contains(&byte)), "{location}");
    }

    #[test]
    fn a_key_comes_back_from_its_path(key in vec(any::<u8>(), 0..16)) {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(&path(&key)).collect();
        prop_assert_eq!(decoded, key);
    }
}
