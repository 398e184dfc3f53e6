//! What a cluster must do, as its clients see it.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    Cluster, NODES_MAX, Passage,
    load::{UNCERTAIN, Written, blob},
    net::Echo,
    optimised, sibling,
};
use crate::{
    clients::Suite,
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
    keeps_strangers_out(&mut cluster, binary.as_ref());
    written.check(&cluster, &[0, 1, 2]);
}

/// A node with another secret learns nothing and serves nothing; both ends say what the matter is.
fn keeps_strangers_out(cluster: &mut Cluster, binary: &Path) {
    let stranger = cluster.add_stranger(binary);
    for (node, said) in [(0, "has another rpc_secret"), (stranger, "its rpc_secret may be another")]
    {
        cluster.wait(|| {
            let output = cluster.nodes[node].output();
            output.contains(said).then_some(()).ok_or(output)
        });
    }
    let status = cluster.ask(stranger, "GetClusterStatus");
    // It knows of the other by its configuration.
    let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let up: Vec<_> =
        nodes.iter().filter(|node| node["isUp"] == true).map(|node| &node["id"]).collect();
    assert_eq!(up, [&*cluster.id(stranger)], "{status}");
    alone(&cluster.nodes[stranger]);
    cluster.kill(stranger);
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

/// Real clients, each by another node of a mixed cluster, find what a single machine would give them.
pub fn serves_clients(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    let Some(suite) = Suite::for_cluster(binary) else { return };
    let cluster = Cluster::start(&mixed(binary));
    suite.run(&cluster.nodes.iter().collect::<Vec<_>>());
}

/// From one node to another and back.
const RTT: Duration = Duration::from_millis(50);
/// Enough that the middle is not moved by what else the machine does now and then.
const ROUNDS: usize = 31;
/// What is to be counted: round trips to the other zones.
const SMALL_MAX: f64 = 1.3;
const LARGE_PUT_MAX: f64 = 2.5;
const LARGE_GET_NEAR_MAX: f64 = 1.3;
const LARGE_GET_FAR_MAX: f64 = 2.3;

/// With a delay between nodes, how many round trips an operation takes in the middle (the median): not more than these. By a node
/// that has a copy of everything, and by one that has nothing (a gateway).
pub fn round_trips(binary: impl AsRef<Path>) {
    // What an unoptimised daemon computes would be counted too, and is a good part of 50 ms.
    let binary = &*optimised(binary.as_ref());
    let mut cluster = Cluster::start(&mixed(binary));
    let gateway = cluster.add(binary);
    cluster.wait_for(&[0, 1, 2, gateway]);
    let id = cluster.id(gateway);
    cluster.lead(0, &["layout", "assign", &id, "--zone", "d", "--gateway"]);
    cluster.lead(0, &["layout", "apply", "--wait"]);
    cluster.settle(3);
    let mut echo = cluster.net.echo(NODES_MAX - 1, NODES_MAX - 2);
    cluster.net.set_all(Passage::After(RTT / 2));
    // The next pings tell the nodes how far they are from each other.
    thread::sleep(Duration::from_secs(6));
    let mut wrong = Vec::new();
    for (name, node, large_get_max) in
        [("with a copy", 0, LARGE_GET_NEAR_MAX), ("without", gateway, LARGE_GET_FAR_MAX)]
    {
        let mut trips = Trips {
            name,
            session: Session::open(&cluster.nodes[node]).expect("up"),
            echo: &mut echo,
            wrong: Vec::new(),
        };
        trips.small("PUT of 1 KiB", "PUT", 200, 1 << 10);
        trips.small("GET of 1 KiB", "GET", 200, 0);
        let list = |_| ("?list-type=2&prefix=small%2F".to_owned(), Vec::new());
        trips.measure("LIST", "GET", 200, SMALL_MAX, &list);
        trips.small("DELETE", "DELETE", 204, 0);
        // Content of its own for each: a block that is there already need not be sent.
        let seed = 1000 * (node as u64 + 1);
        let large = |round| (format!("large/{name}/{round}"), blob(seed + round as u64, 1 << 20));
        trips.measure("PUT of 1 MiB", "PUT", 200, LARGE_PUT_MAX, &large);
        let large = |round| (format!("large/{name}/{round}"), Vec::new());
        trips.measure("GET of 1 MiB", "GET", 200, large_get_max, &large);
        wrong.append(&mut trips.wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Requests by one node, and how many round trips they took.
struct Trips<'a> {
    name: &'a str,
    session: Session<'a>,
    echo: &'a mut Echo,
    wrong: Vec<String>,
}

impl Trips<'_> {
    fn small(&mut self, what: &str, method: &str, status: u16, len: usize) {
        let name = self.name;
        let of = |round| (format!("small/{name}/{round}"), blob(round as u64, len));
        self.measure(what, method, status, SMALL_MAX, &of);
    }

    /// Sends a request of this kind several times, each with a key and a body of its own, and before each measures what a round trip
    /// takes just now: the delay, and what a busy machine adds to it.
    fn measure(
        &mut self,
        what: &str,
        method: &str,
        status: u16,
        most: f64,
        of: &dyn Fn(usize) -> (String, Vec<u8>),
    ) {
        let (mut trips, mut took) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (key, body) = of(round);
            trips.push(self.echo.round_trip());
            let began = Instant::now();
            let response = self.session.ask(method, &key, &[], &body, PATIENCE);
            took.push(began.elapsed());
            let response = response.expect("an answer");
            let text = String::from_utf8_lossy(&response.body[..response.body.len().min(500)]);
            assert_eq!(response.status, status, "{what}: {text}");
        }
        let (name, trip, took) = (self.name, median(trips), median(took));
        let ratio = took.as_secs_f64() / trip.as_secs_f64();
        let text = format!(
            "{what}, {name}: {ratio:.2} round trips (at most {most}): {took:.1?}, of {trip:.1?}"
        );
        println!("{text}");
        if ratio > most {
            self.wrong.push(text);
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
