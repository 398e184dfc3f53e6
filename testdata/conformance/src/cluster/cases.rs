//! What a cluster must do, as its clients see it.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    Cluster, Passage,
    load::{UNCERTAIN, Written, blob},
    sibling,
};
use crate::{
    daemon::Daemon,
    signed::{self, Session},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// `binary` twice and the other daemon once, each in a zone of its own.
fn mixed(binary: &Path) -> Vec<(PathBuf, &'static str)> {
    let other = if binary.ends_with("mewsd") { "mewsd-smol" } else { "mewsd" };
    vec![(binary.to_owned(), "a"), (sibling(binary, other), "b"), (binary.to_owned(), "c")]
}

/// Three nodes in three zones: each sees what any other acknowledged, while one is dead, while one is cut off, and after both.
pub fn heals(binary: impl AsRef<Path>) {
    let began = Instant::now();
    let mut cluster = Cluster::start(&mixed(binary.as_ref()));
    println!("started: {:?}", began.elapsed());
    let mut written = Written::default();
    written.write(&cluster, "calm", &[0, 1, 2]);
    written.check(&cluster, &[0, 1, 2]);

    println!("calm: {:?}", began.elapsed());
    cluster.kill(2);
    written.write(&cluster, "one-dead", &[0, 1]);
    written.check(&cluster, &[0, 1]);
    cluster.start_again(2);
    written.check(&cluster, &[0, 1, 2]);

    println!("one dead and back: {:?}", began.elapsed());
    cluster.wait_until_healed(2);
    println!("healed: {:?}", began.elapsed());
    has_all_by_itself(&mut cluster, 2, &written);
    written.check(&cluster, &[0, 1, 2]);

    println!("all dead and back: {:?}", began.elapsed());
    cluster.net.set_around(1, Passage::Silent);
    written.write(&cluster, "one-cut-off", &[0, 2]);
    written.check(&cluster, &[0, 2]);
    println!("one cut off: {:?}", began.elapsed());
    alone(&cluster.nodes[1]);
    println!("and alone: {:?}", began.elapsed());
    cluster.net.set_around(1, Passage::After(Duration::ZERO));
    written.check(&cluster, &[0, 1, 2]);
    written.write(&cluster, "healed", &[0, 1, 2]);
    written.check(&cluster, &[0, 1, 2]);
}

/// With all others dead, and told to make do with its own copies, this node has everything.
fn has_all_by_itself(cluster: &mut Cluster, node: usize, written: &Written) {
    let all: Vec<usize> = (0..cluster.nodes.len()).collect();
    all.iter().for_each(|node| cluster.kill(*node));
    cluster.start_again_in_mode(node, "degraded");
    written.check(cluster, &[node]);
    cluster.kill(node);
    cluster.start_again_in_mode(node, "consistent");
    all.iter().filter(|other| **other != node).for_each(|other| cluster.start_again(*other));
}

/// A node that reaches nobody says so, and answers nothing that may be wrong.
fn alone(node: &Daemon) {
    for (method, body) in [("PUT", &b"x"[..]), ("GET", b"")] {
        let response = signed::send(node, method, UNCERTAIN, body);
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
