//! What a cluster must do, as its clients see it.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{Cluster, Passage, sibling};
use crate::{
    daemon::Daemon,
    signed::{self, Session},
    wire::Response,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// How long a cluster may take to notice that a node has fallen silent, and to go round it.
const DETECT_MAX: Duration = Duration::from_secs(40);

/// `binary` twice and the other daemon once.
fn mixed(binary: &Path) -> Vec<PathBuf> {
    let other = if binary.ends_with("mewsd") { "mewsd-smol" } else { "mewsd" };
    vec![binary.to_owned(), sibling(binary, other), binary.to_owned()]
}

fn blob(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Asks until the answer has this status. Any other must be a 503 with a hint when to come again.
fn eventually(daemon: &Daemon, method: &str, key: &str, body: &[u8], status: u16) -> Response {
    let began = Instant::now();
    loop {
        let response = signed::send(daemon, method, key, body);
        if response.status == status {
            return response;
        }
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(response.status, 503, "{method} {key}: {text}");
        assert!(response.header("retry-after").is_some(), "{method} {key}: no hint: {text}");
        assert!(began.elapsed() < DETECT_MAX, "{method} {key}: still {text}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Sizes that live in a row, in a block, in several.
const SIZES: [usize; 3] = [1 << 10, 100 << 10, 5 << 19];

/// Three nodes in three zones: each sees what any other acknowledged, while one is dead, while one is cut off, and after both.
pub fn heals(binary: impl AsRef<Path>) {
    let mut cluster = Cluster::start(&mixed(binary.as_ref()));
    let mut written = Vec::new();
    write(&cluster, "calm", &[0, 1, 2], &mut written);
    check(&cluster, &written, &[0, 1, 2]);

    cluster.kill(2);
    write(&cluster, "one-dead", &[0, 1], &mut written);
    check(&cluster, &written, &[0, 1]);
    cluster.start_again(2);
    check(&cluster, &written, &[0, 1, 2]);

    cluster.net.set_around(1, Passage::Silent);
    write(&cluster, "one-cut-off", &[0, 2], &mut written);
    check(&cluster, &written, &[0, 2]);
    alone(&cluster.nodes[1]);
    cluster.net.set_around(1, Passage::After(Duration::ZERO));
    check(&cluster, &written, &[0, 1, 2]);
    write(&cluster, "healed", &[0, 1, 2], &mut written);
    check(&cluster, &written, &[0, 1, 2]);
}

/// What was acknowledged: a key, the seed of its content, and how long that is.
type Written = (String, u64, usize);

fn write(cluster: &Cluster, name: &str, by: &[usize], written: &mut Vec<Written>) {
    for node in by {
        for len in SIZES {
            let (key, seed) = (format!("{name}/{node}/{len}"), written.len() as u64);
            eventually(&cluster.nodes[*node], "PUT", &key, &blob(seed, len), 200);
            written.push((key, seed, len));
        }
    }
}

/// Each of these nodes has all of it, by name and in the listing.
fn check(cluster: &Cluster, written: &[Written], on: &[usize]) {
    for node in on.iter().map(|node| &cluster.nodes[*node]) {
        for (key, seed, len) in written {
            let response = eventually(node, "GET", key, b"", 200);
            assert!(response.body == blob(*seed, *len), "{key} came wrong");
        }
        let listing = eventually(node, "GET", "?list-type=2", b"", 200);
        let listing = String::from_utf8_lossy(&listing.body).into_owned();
        let keys = listing.matches("<Key>").count();
        assert_eq!(keys, written.len(), "{listing}");
    }
}

/// A node that reaches nobody says so, and answers nothing that may be wrong.
fn alone(node: &Daemon) {
    for (method, body) in [("PUT", &b"x"[..]), ("GET", b"")] {
        let response = signed::send(node, method, "while-alone", body);
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(response.status, 503, "{method}: {text}");
        assert!(response.header("retry-after").is_some(), "{method}: {text}");
    }
}

const RTT: Duration = Duration::from_millis(50);
const ROUNDS: usize = 15;

/// With 50 ms between nodes, how many round trips an operation takes in the middle (the median): not more than these.
pub fn round_trips(binary: impl AsRef<Path>) {
    let cluster = Cluster::start(&mixed(binary.as_ref()));
    cluster.net.set_all(Passage::After(RTT / 2));
    // The next pings tell the nodes how far they are from each other.
    thread::sleep(Duration::from_secs(6));
    let mut session = Session::open(&cluster.nodes[0]).expect("it listens");
    let mut wrong = Vec::new();
    let mut measure = |what: &str,
                       method: &str,
                       status: u16,
                       bound: f64,
                       of: &dyn Fn(usize) -> (String, Vec<u8>)| {
        let mut took: Vec<f64> = (0..ROUNDS)
            .map(|round| {
                let (key, body) = of(round);
                let began = Instant::now();
                let response = session.ask(method, &key, &[], &body, PATIENCE);
                let took = began.elapsed();
                let response = response.expect("an answer");
                let text = String::from_utf8_lossy(&response.body[..response.body.len().min(500)]);
                assert_eq!(response.status, status, "{what}: {text}");
                took.as_secs_f64() / RTT.as_secs_f64()
            })
            .collect();
        took.sort_by(f64::total_cmp);
        let median = took[ROUNDS / 2];
        println!("{what}: {median:.2} round trips (at most {bound})");
        if median > bound {
            wrong.push(format!("{what}: {median:.2} round trips, not {bound}: {took:.2?}"));
        }
    };
    let small = |round: usize| (format!("small/{round}"), blob(round as u64, 1 << 10));
    let bare = |round: usize| (format!("small/{round}"), Vec::new());
    let large = |round: usize| (format!("large/{round}"), blob(round as u64 + 1000, 1 << 20));
    let large_bare = |round: usize| (format!("large/{round}"), Vec::new());
    measure("PUT of 1 KiB", "PUT", 200, 1.3, &small);
    measure("GET of 1 KiB", "GET", 200, 1.3, &bare);
    measure("LIST", "GET", 200, 1.3, &|_| ("?list-type=2&prefix=small%2F".to_owned(), Vec::new()));
    measure("DELETE", "DELETE", 204, 1.3, &bare);
    measure("PUT of 1 MiB", "PUT", 200, 2.5, &large);
    measure("GET of 1 MiB", "GET", 200, 1.3, &large_bare);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
