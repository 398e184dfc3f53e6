//! S3 on several nodes in memory: what is promised, and in how many round trips.

mod buckets;
mod contest;
mod deletion;
mod layouts;
mod listings;
mod multipart;
mod names;
mod orders;
mod outages;
mod repair;
mod round_trips;
mod superseded;
mod unnamed;

use crate::testing::{
    Ask,
    cluster::{Cluster, layout},
};

/// Bytes that do not repeat from block to block.
fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Stores an object through a node and fails the test if that fails.
fn put(cluster: &mut Cluster, at: usize, key: &str, body: impl Into<bytes::Bytes>) {
    let reply = cluster.ask(at, Ask::put(&format!("/bucket/{key}"), body));
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
}

/// What an object holds, asked through a node: its bytes, or the error.
fn get(cluster: &mut Cluster, at: usize, key: &str) -> Result<Vec<u8>, String> {
    get_at(cluster, at, &format!("/bucket/{key}"))
}

/// The same of an object in any bucket.
fn get_at(cluster: &mut Cluster, at: usize, path: &str) -> Result<Vec<u8>, String> {
    let reply = cluster.ask(at, Ask::get(path));
    if reply.status != 200 {
        return Err(reply.outcome());
    }
    assert_eq!(reply.body.len() as u64, reply.len, "a body cut short");
    Ok(reply.body)
}

/// Six nodes; each partition is on three of them, and neighbours are on different ones. The seventh is a gateway.
fn spread() -> Cluster {
    Cluster::new(7, &layout(1, 7, |p| vec![p % 6, (p + 1) % 6, (p + 2) % 6]))
}
