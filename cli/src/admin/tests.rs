use std::{
    io::{Read, Write},
    net::TcpListener,
};

use serde_json::{Value, json};

use super::{
    cluster::{self, health, status},
    layout::{self, down},
    worker, *,
};

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "1122222222222222222222222222222222222222222222222222222222222222";

fn plain(page: Page) -> String {
    page.render(Screen::default())
}

fn a_status() -> Value {
    json!({
        "layoutVersion": 3,
        "node": ONE,
        "nodes": [
            {
                "id": ONE, "hostname": "attic", "addr": "10.0.0.1:3901", "isUp": true,
                "lastSeenSecsAgo": null, "garageVersion": "0.1.0", "draining": false,
                "role": { "zone": "home", "capacity": 2_000_000_000_000_u64, "tags": ["ssd"] },
                "dataPartition": { "available": 1_000_000_000_000_u64, "total": 2_000_000_000_000_u64 },
                "clockSkewMillis": null, "recovering": false,
            },
            {
                "id": TWO, "hostname": "cellar", "addr": "10.0.0.2:3901", "isUp": false,
                "lastSeenSecsAgo": 7300, "garageVersion": "0.1.0", "draining": true, "role": null,
                "dataPartition": null, "clockSkewMillis": -5200, "recovering": false,
            },
        ],
        "jobs": [{ "name": "queue", "running": false, "dueInSecs": 1, "failures": 2 }],
    })
}

#[test]
fn the_status_is_a_table_and_notes() {
    let expected = "\
node              host    address        state         zone  capacity  free     version
1111111111111111  attic   10.0.0.1:3901  up            home  1.8 TiB   931 GiB  0.1.0
1122222222222222  cellar  10.0.0.2:3901  down for 2 h  -     leaving   -        0.1.0

Layout version 3.
The clock of 1122222222222222 is 5 s behind this one's: set both right.
The job queue has failed 2 times in a row; `mews worker list` says why.
";
    assert_eq!(plain(cluster::show_status(&a_status())), expected);
}

#[test]
fn those_that_are_down_and_waited_for_are_named_before_they_are_skipped() {
    assert_eq!(down(&a_status()), [TWO]);
    let mut status = a_status();
    status["nodes"][1]["draining"] = json!(false);
    assert_eq!(down(&status), [""; 0], "nothing waits for a node without a role");
}

#[test]
fn the_layout_shows_what_is_staged() {
    let layout = json!({
        "version": 2,
        "roles": [{
            "id": ONE, "zone": "home", "capacity": 1_u64 << 40, "tags": ["ssd", "eu"],
            "storedPartitions": 256, "usableCapacity": 1_u64 << 40,
        }],
        "parameters": { "zoneRedundancy": "maximum", "replicationFactor": 1, "partitions": 256 },
        "stagedRoleChanges": [
            { "id": ONE, "remove": true },
            { "id": TWO, "zone": "mum", "capacity": null, "tags": [] },
        ],
        "stagedParameters": {
            "zoneRedundancy": { "atLeast": 2 }, "replicationFactor": 3, "partitions": 256,
        },
    });
    let expected = "\
Layout version 2: 1 copy in as many zones as there are, 256 partitions.

node              zone  capacity  partitions  usable   tags
1111111111111111  home  1.0 TiB   256         1.0 TiB  ssd,eu

Staged:
1111111111111111  leaves
1122222222222222  mum     gateway
3 copies in at least 2 zones, 256 partitions

See what it would mean with `mews layout plan`; drop it with `mews layout revert`.
";
    assert_eq!(plain(layout::show_layout(&layout)), expected);
}

#[test]
fn the_history_says_what_is_waited_for() {
    let history = json!({
        "versions": [
            { "version": 2, "status": "Current", "storageNodes": 2, "gatewayNodes": 1 },
            { "version": 1, "status": "Draining", "storageNodes": 1, "gatewayNodes": 0 },
        ],
        "updateTrackers": { ONE: { "ack": 2, "sync": 1, "syncAck": 1 } },
        "waitingFor": [{ "version": 2, "step": "sync", "nodes": [ONE] }],
        "conflicts": [2],
    });
    let expected = "\
version  state     storage nodes  gateways
2        Current   2              1
1        Draining  1              0

node              acknowledged  synced  reads by
1111111111111111  2             1       1

Version 2 waits for 1111111111111111 to fetch its data.
Two different layouts were applied as version 2. One of them is in force; apply a new version to end the doubt.
";
    assert_eq!(plain(layout::history(&history)), expected);
}

#[test]
fn nodes_are_named_by_the_beginning_of_their_id_or_by_their_host() {
    let nodes = find::nodes_of(&a_status());
    let pick = |name: &str| find::one(find::NODES, &nodes, name).map(|node| node.id.clone());
    for (name, id) in [("111", ONE), ("112", TWO), ("attic", ONE), ("cellar", TWO)] {
        assert_eq!(pick(name).ok().as_deref(), Some(id), "{name}");
    }
    for (name, reason) in [("11", "2 nodes"), ("9", "no node"), ("", "no node")] {
        let Err(Failure::Failed(text)) = pick(name) else { panic!("{name} is one") };
        assert!(text.contains(reason), "{text}");
    }
}

/// A server that answers one request with this, and gives the request.
fn once(answer: &'static str) -> (Client, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = vec![0; 4096];
        let n = stream.read(&mut request).expect("a request");
        stream.write_all(answer.as_bytes()).expect("the client reads");
        String::from_utf8_lossy(&request[..n]).into_owned()
    });
    let target = Target { url: Some(url), token: Some("t0ken".to_owned()), dir: None };
    (Client::new(target).expect("a client"), server)
}

/// What comes of asking with these, in words.
fn asked(target: Target) -> String {
    match Client::new(target).and_then(|client| status(&client)) {
        Ok(_) => "an answer".to_owned(),
        Err(Failure::Failed(text) | Failure::Usage(text) | Failure::Unconfirmed(text)) => text,
    }
}

#[test]
fn the_api_is_where_the_daemon_of_the_directory_has_left_word() {
    let dir = std::env::temp_dir().join(format!("mews-admin-url-{}", std::process::id()));
    let left = dir.join("meta/admin.url");
    std::fs::create_dir_all(dir.join("meta")).expect("a directory");
    std::fs::write(dir.join("admin.token"), "t0ken\n").expect("written");
    let dir = dir.display().to_string();
    let of = |dir: &str| Target { dir: Some(dir.to_owned()), ..Target::default() };

    std::fs::write(&left, "http://127.0.0.1:1\n").expect("written");
    let text = asked(of(&dir));
    let said = format!("the Admin API at http://127.0.0.1:1 (so says {}): ", left.display());
    assert!(text.starts_with(&said), "{text}");
    assert!(text.contains("Does the daemon run?") && text.contains("--admin URL"), "{text}");
    // Of --dir, also with another token.
    let text = asked(Target { token: Some("other".to_owned()), ..of(&dir) });
    assert!(text.starts_with(&said), "{text}");
    let text = asked(Target { url: Some("http://127.0.0.2:1".to_owned()), ..of(&dir) });
    assert!(text.starts_with("the Admin API at http://127.0.0.2:1: "), "{text}");

    std::fs::write(&left, "somewhere").expect("written");
    let text = asked(of(&dir));
    assert!(text.starts_with(&format!("{} must say http://HOST:PORT", left.display())), "{text}");
    std::fs::remove_file(&left).expect("removed");
    std::fs::create_dir(&left).expect("a directory");
    assert!(asked(of(&dir)).starts_with("cannot read where the Admin API is from "));
    std::fs::remove_dir_all(&dir).expect("removed");
    assert!(asked(of(&dir)).starts_with("cannot read the admin token from "));
}

#[test]
fn an_unavailable_cluster_fails_the_command_and_a_degraded_one_does_not() {
    for (status, fails) in [("unavailable", true), ("degraded", false), ("healthy", false)] {
        let body = format!("{{\"status\": \"{status}\"}}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (client, server) = once(answer.leak());
        let done = health(&client, &cluster::Health { quiet: true }).expect("an answer");
        let (text, failed) = done.outcome(false, Screen::default());
        assert_eq!((text.as_str(), failed.is_some()), ("", fails), "{status}");
        let request = server.join().expect("served");
        assert!(request.starts_with("GET /v2/GetClusterHealth HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer t0ken\r\n"), "{request}");
    }
}

#[test]
fn an_error_is_told_in_the_servers_words_and_a_cut_answer_is_an_error() {
    let answer =
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 40\r\n\r\n{\"message\": \"no, that is wrong\"";
    let (client, server) = once(answer);
    let error = status(&client).expect_err("cut off");
    assert!(matches!(error, Failure::Failed(text) if text.contains("cut off")));
    server.join().expect("served");
    let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 17\r\n\r\n{\"message\": \"no\"}";
    let (client, server) = once(answer);
    let error = status(&client).expect_err("refused");
    assert!(matches!(error, Failure::Failed(text) if text == "no (400)"));
    server.join().expect("served");
}

#[test]
fn a_worker_that_has_failed_says_why() {
    let worker = |name, errors, last| {
        json!({
            "name": name, "state": "idle", "consecutiveErrors": errors, "queueLength": null,
            "progress": null, "freeform": ["next run in 1 s"], "lastError": last,
        })
    };
    let last = json!({ "message": "no space", "secsAgo": 7300 });
    let workers = json!([worker("queue", 2, last), worker("sync", 0, Value::Null)]);
    let expected = "\
worker  state  errors  queue  progress  more
queue   idle   2       -      -         next run in 1 s, failed 2 h ago: no space
sync    idle   0       -      -         next run in 1 s
";
    assert_eq!(plain(worker::workers(&workers)), expected);
}

#[test]
fn how_things_are_is_a_sentence() {
    let health = |status: &str, quorum: u64, whole: u64| {
        let health = json!({
            "status": status, "partitions": 256, "partitionsQuorum": quorum,
            "partitionsAllOk": whole, "storageNodes": 3, "storageNodesUp": 2,
        });
        plain(cluster::sentence(&health))
    };
    for (said, expected) in [
        (
            health("healthy", 256, 256),
            "Everything can be read and written, and all copies are within reach: 2 of 3 storage nodes are up.\n",
        ),
        (
            health("degraded", 256, 200),
            "Everything can be read and written, but 56 of 256 partitions lack a copy: 2 of 3 storage nodes are up.\n",
        ),
        (
            health("unavailable", 250, 200),
            "What is in 6 of 256 partitions cannot be read or written now: 2 of 3 storage nodes are up.\n",
        ),
    ] {
        assert_eq!(said, expected);
    }
    assert_eq!(
        plain(cluster::sentence(&json!({ "status": "unavailable" }))),
        "Nothing can be stored yet.\n"
    );
}
