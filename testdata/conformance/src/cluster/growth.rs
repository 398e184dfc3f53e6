//! Nodes that come and go, by an operator's word, while clients go on.

use std::path::{Path, PathBuf};

use super::{Cluster, load::Written, sibling};

/// Five nodes in three zones. One loses its disks and a new one takes its place; then a zone is added. Clients go on, and all
/// is right afterwards on every node.
pub fn grows(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    let other = sibling(binary, if binary.ends_with("mewsd") { "mewsd-smol" } else { "mewsd" });
    let one = |own: bool| if own { binary.to_owned() } else { other.clone() };
    let nodes: Vec<(PathBuf, &str)> = vec![
        (one(true), "a"),
        (one(false), "b"),
        (one(true), "c"),
        (one(false), "a"),
        (one(true), "b"),
    ];
    let mut cluster = Cluster::start(&nodes);
    let mut written = Written::default();
    written.write(&cluster, "calm", &[0, 1, 2, 3, 4]);

    cluster.kill(4);
    let emptied = cluster.nodes[4].dir().to_owned();
    for entry in std::fs::read_dir(&emptied).expect("it is there").flatten() {
        let path = entry.path();
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        removed.expect("it can be removed");
    }
    let new = cluster.add(&other);
    cluster.wait_for(&[0, 1, 2, 3, new]);
    let load = [&cluster.nodes[0], &cluster.nodes[1], &cluster.nodes[2]];
    written.under_load(&load, "replaced", || {
        cluster.lead(0, &["node", "replace", &cluster.id(4), &cluster.id(new)]);
        cluster.lead(0, &["layout", "apply"]);
        // The old one will never say that it knows of the new layout.
        let dead = cluster.id(4);
        cluster.lead(0, &["layout", "skip-dead-nodes", "--node", &dead, "--yes"]);
        cluster.settle(3);
    });
    written.check(&cluster, &[0, 3, new]);

    let added = cluster.add(binary);
    cluster.wait_for(&[0, 1, 2, 3, new, added]);
    let load = [&cluster.nodes[0], &cluster.nodes[1], &cluster.nodes[new]];
    written.under_load(&load, "added", || {
        cluster.assign(added, "d");
        cluster.lead(0, &["layout", "apply", "--wait"]);
        cluster.settle(4);
    });
    written.check(&cluster, &[0, 1, 2, 3, new, added]);
}
