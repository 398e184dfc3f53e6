//! Tokens of the Admin API.

use std::{path::Path, thread, time::Duration};

use mews_core::{s3::date, time::Timestamp};
use serde_json::{Value, json};

use super::{call, done, root};
use crate::daemon::Daemon;

pub(super) fn run(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    nobody_else_is_let_in(&daemon);
    let token = a_token_does_what_its_scope_names(&daemon);
    an_expired_token_does_nothing(&daemon);
    daemon.kill_and_restart();
    assert_eq!(get(&daemon, &token), 200, "a token outlives the process");
    a_deleted_token_stays_dead(&daemon, &token);
}

/// The status of a call that the token made here is for.
fn get(daemon: &Daemon, token: &str) -> u16 {
    call(daemon, Some(token), "GET GetClusterHealth", None).0
}

fn nobody_else_is_let_in(daemon: &Daemon) {
    let root = root(daemon);
    let twisted = format!("{}x", &root[..root.len() - 1]);
    let unknown = format!("{}.{}", "0".repeat(24), "x".repeat(43));
    for token in [None, Some(""), Some("x"), Some(&twisted), Some(&unknown)] {
        for text in ["GET ListAdminTokens", "GET GetClusterHealth", "POST CreateAdminToken"] {
            let (status, answer) = call(daemon, token, text, None);
            assert_eq!(
                (status, &answer["code"]),
                (403, &json!("AccessDenied")),
                "{token:?} {text}"
            );
        }
    }
}

fn a_token_does_what_its_scope_names(daemon: &Daemon) -> String {
    let scope =
        json!({ "name": "probe", "scope": ["GetClusterHealth", "GetCurrentAdminTokenInfo"] });
    let made = done(daemon, "POST CreateAdminToken", Some(scope));
    let token = made["secretToken"].as_str().expect("it is told once").to_owned();
    let id = made["id"].as_str().expect("it has one").to_owned();
    assert!(token.starts_with(&format!("{id}.")), "the id begins the token");
    let mut info = made;
    info.as_object_mut().expect("an object").remove("secretToken");
    assert_eq!(done(daemon, &format!("GET GetAdminTokenInfo?id={id}"), None), info);
    assert_eq!(done(daemon, "GET GetAdminTokenInfo?search=prob", None), info);
    assert_eq!(get(daemon, &token), 200);
    let own = call(daemon, Some(&token), "GET GetCurrentAdminTokenInfo", None);
    assert_eq!(own, (200, info.clone()));
    for text in ["GET ListAdminTokens", "GET GetClusterStatus", "POST CreateAdminToken"] {
        let (status, answer) = call(daemon, Some(&token), text, None);
        assert_eq!(status, 403, "{text}: {answer}");
    }
    let listed = done(daemon, "GET ListAdminTokens", None);
    assert_eq!(listed[0]["scope"], json!(["*"]), "the configured one: {listed}");
    assert_eq!(listed[1], info, "{listed}");
    let stored = std::fs::read(daemon.dir().join("meta/db.redb")).expect("the database");
    let secret = token.as_bytes().split(|b| *b == b'.').nth(1).expect("a secret");
    assert!(!stored.windows(secret.len()).any(|part| part == secret), "a secret is on disk");

    let update = |change: Value| {
        let target = format!("POST UpdateAdminToken?id={id}");
        call(daemon, Some(&root(daemon)), &target, Some(change))
    };
    let (status, answer) = update(json!({ "scope": ["GetClusterStats"] }));
    assert_eq!(status, 400, "{answer}");
    assert!(answer["message"].as_str().is_some_and(|m| m.contains("nearest")), "{answer}");
    let (status, answer) = update(json!({ "name": "renamed", "scope": ["GetClusterStatus"] }));
    assert_eq!((status, &answer["name"]), (200, &json!("renamed")));
    assert_eq!(get(daemon, &token), 403, "its scope has changed");
    assert_eq!(update(json!({ "scope": ["*"] })).0, 200);
    assert_eq!(get(daemon, &token), 200);
    token
}

fn an_expired_token_does_nothing(daemon: &Daemon) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.expect("it is past 1970").as_millis()).expect("before 9999");
    let at = |wait: u64| date::iso8601(Timestamp(now + wait));
    let create = |expiration: String| {
        let body = json!({ "name": "brief", "expiration": expiration });
        call(daemon, Some(&root(daemon)), "POST CreateAdminToken", Some(body))
    };
    assert_eq!(create(date::iso8601(Timestamp(now - 1000))).0, 400, "it would be of no use");
    let (status, made) = create(at(3_600_000));
    assert_eq!((status, &made["expired"]), (200, &json!(false)));
    let token = made["secretToken"].as_str().expect("it is told once");
    assert_eq!(get(daemon, token), 200);
    let target = format!("POST UpdateAdminToken?id={}", made["id"].as_str().expect("an id"));
    let soon = json!({ "expiration": at(0) });
    assert_eq!(done(daemon, &target, Some(soon))["expired"], true);
    thread::sleep(Duration::from_millis(5));
    let (status, answer) = call(daemon, Some(token), "GET GetClusterHealth", None);
    assert_eq!(status, 403, "{answer}");
    assert!(answer["message"].as_str().is_some_and(|m| m.contains("expired")), "{answer}");
    assert_eq!(done(daemon, &target, Some(json!({ "neverExpires": true })))["expired"], false);
    assert_eq!(get(daemon, token), 200);
}

fn a_deleted_token_stays_dead(daemon: &Daemon, token: &str) {
    let id = token.split('.').next().expect("an id");
    done(daemon, &format!("POST DeleteAdminToken?id={id}"), None);
    assert_eq!(get(daemon, token), 403);
    for text in ["POST DeleteAdminToken", "POST UpdateAdminToken", "GET GetAdminTokenInfo"] {
        let body = text.contains("Update").then(|| json!({ "neverExpires": true }));
        let text = format!("{text}?id={id}");
        let (status, answer) = call(daemon, Some(&root(daemon)), &text, body);
        assert_eq!((status, &answer["code"]), (404, &json!("NoSuchAdminToken")), "{text}");
    }
    let listed = done(daemon, "GET ListAdminTokens", None);
    let ids = listed.as_array().expect("a list").iter().map(|token| &token["id"]);
    assert!(!ids.into_iter().any(|other| other == id), "{listed}");
}
