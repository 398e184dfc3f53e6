//! What a cluster must do, as its clients see it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Cluster, Passage,
    load::{UNCERTAIN, Written},
    sibling,
};
use crate::{clients::Suite, daemon::Daemon, metrics::told, signed};

/// `binary` twice and the other daemon once, each in a zone of its own.
pub(super) fn mixed(binary: &Path) -> Vec<(PathBuf, &'static str)> {
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
    // From the next start on, which all of them are about to have.
    for node in &mut cluster.nodes {
        let rules = ("MEWS_LOG", "info,access=debug,peers=debug");
        node.set_variables(&[rules, ("MEWS_LOG_FORMAT", "json")]);
    }
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
    one_id_is_in_all_logs(&cluster);
    keeps_strangers_out(&mut cluster, binary.as_ref());
    written.check(&cluster, &[0, 1, 2]);
}

/// Whatever node a request has touched, its log names the request by the id that the client was told.
fn one_id_is_in_all_logs(cluster: &Cluster) {
    let stored = signed::put(&cluster.nodes[0], "traced", b"three copies");
    assert_eq!(stored.status, 200);
    let request = stored.header("x-amz-request-id").expect("every answer has one");
    for (node, target) in [(0, "access"), (1, "peers"), (2, "peers")] {
        cluster.wait(|| {
            let lines = cluster.nodes[node].logged(request);
            let found = lines.iter().any(|line| line["target"] == target);
            let said = || format!("{request} is not in the log of node {node}: {lines:?}");
            found.then_some(()).ok_or_else(said)
        });
    }
    assert_eq!(signed::send(&cluster.nodes[0], "DELETE", "traced", b"").status, 204);
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
    let refused = "mews_connections_refused_total{api=\"rpc\",reason=\"handshake\"}";
    assert!(told(&cluster.nodes[0], refused) >= 1.0);
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
