//! Buckets that have no name which all share, only one that a key has for them: deleted while something is put into them.

use serde_json::json;

use super::{
    bytes,
    contest::{Bucket, Contest, asked_through_gateways, outcomes},
    orders::by_chance,
};
use crate::testing::{KEY_ID, cluster::Cluster};

/// What the key calls it.
const MINE: Bucket = Bucket { name: "mine", others: &["bucket"] };

/// Adds the bucket.
fn with_bucket(mut cluster: Cluster) -> Cluster {
    let allow = json!({ "read": true, "write": true, "owner": true });
    let local = json!({ "accessKeyId": KEY_ID, "alias": MINE.name, "allow": allow });
    cluster.admin(0, "CreateBucket", &json!({ "localAlias": local })).ok();
    cluster
}

/// A PUT of so many bytes by one node, and the deletion by another.
fn begin(cluster: Cluster, len: usize, [put, delete]: [usize; 2]) -> Contest {
    let (mut cluster, body) = (with_bucket(cluster), bytes(len));
    let put = cluster.begin(put, MINE.put("k", body.clone()));
    let sessions = [put, cluster.begin(delete, MINE.delete())];
    Contest { cluster, sessions, body }
}

fn every_order_of(storage: usize, depth: usize) {
    let by = [storage, storage + 1];
    let (made, deleted) =
        MINE.every_order(depth, || begin(asked_through_gateways(storage), 10, by));
    // The deletion has by far more to do, and so is rarely the first.
    assert!(made > 10 && deleted > 3, "{made}, {deleted}");
}

#[test]
fn every_order_of_a_put_and_the_deletion_on_two_nodes() {
    every_order_of(2, 6);
}

#[test]
fn every_order_of_the_first_calls_on_three_nodes() {
    every_order_of(3, 3);
}

#[test]
fn any_order_by_chance() {
    let mut made = 0;
    for seed in 0..90_u64 {
        let cluster = match seed % 2 {
            0 => Cluster::replicated(3),
            _ => asked_through_gateways(3),
        };
        let len = [10, 600, 3500][(seed % 3) as usize];
        let last = cluster.hosts.len() - 1;
        let mut contest = begin(cluster, len, [last, 1]);
        by_chance(&mut contest.cluster, &mut contest.sessions, seed);
        made += usize::from(MINE.assert_either(&mut contest, &format!("seed {seed}")));
    }
    assert!(made > 0 && made < 90, "{made}");
}

/// Both give the bucket a name for their agreement, and agree.
#[test]
fn any_order_of_two_deletions() {
    for seed in 0..60_u64 {
        let mut cluster = with_bucket(asked_through_gateways(3));
        let mut sessions = [cluster.begin(3, MINE.delete()), cluster.begin(4, MINE.delete())];
        by_chance(&mut cluster, &mut sessions, seed);
        let outcomes = outcomes(&sessions);
        let what = format!("seed {seed}: {outcomes:?}");
        let fair = ["204", "404 NoSuchBucket", "409 OperationAborted"];
        assert!(outcomes.iter().all(|outcome| fair.contains(&&outcome[..])), "{what}");
        if outcomes.iter().all(|outcome| outcome.starts_with("409")) {
            assert_eq!(cluster.ask(0, MINE.delete()).outcome(), "204", "{what}");
        }
        MINE.assert_gone(&mut cluster, &what);
    }
}

#[test]
fn a_deletion_broken_off_leaves_a_bucket_or_none() {
    MINE.broken_off(|| with_bucket(Cluster::replicated(3)));
}
