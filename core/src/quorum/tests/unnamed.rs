//! Buckets that have no name which all share, only one that a key has for them: deleted while something is put into them.

use serde_json::json;

use super::{
    bytes,
    orders::{by_chance, every_order, in_order},
};
use crate::testing::{
    Ask, KEY_ID,
    cluster::{Cluster, Session, layout},
};

fn delete() -> Ask {
    Ask::new("DELETE", "/mine")
}

/// Adds the bucket that the key calls `mine`.
fn with_bucket(mut cluster: Cluster) -> Cluster {
    let allow = json!({ "read": true, "write": true, "owner": true });
    let local = json!({ "accessKeyId": KEY_ID, "alias": "mine", "allow": allow });
    cluster.admin(0, "CreateBucket", &json!({ "localAlias": local })).ok();
    cluster
}

/// Nodes that must agree, asked through two others; so every step is a call, and may come at any time.
fn asked_through_gateways(storage: usize) -> Cluster {
    with_bucket(Cluster::new(storage + 2, &layout(1, storage + 2, |_| (0..storage).collect())))
}

fn outcomes(sessions: &[Session; 2]) -> [String; 2] {
    sessions.each_ref().map(|session| session.running.reply.outcome())
}

/// A PUT and a deletion have ended: one of the two has come to pass, and every node says so. Whether it is the PUT.
fn assert_either(cluster: &mut Cluster, sessions: &[Session; 2], body: &[u8], what: &str) -> bool {
    let [made, deleted] = outcomes(sessions);
    match (&made[..], &deleted[..]) {
        ("200", "409 BucketNotEmpty" | "409 OperationAborted") => {
            for at in 0..cluster.hosts.len() {
                let got = cluster.ask(at, Ask::get("/mine/k"));
                assert_eq!((got.status, &got.body[..]), (200, body), "{what} at {at}");
            }
            assert_eq!(cluster.ask(0, delete()).outcome(), "409 BucketNotEmpty", "{what}");
            assert_eq!(cluster.ask(1, Ask::put("/mine/l", "x")).outcome(), "200", "{what}");
            true
        }
        ("404 NoSuchBucket", "204") => {
            assert_gone(cluster, what);
            false
        }
        other => panic!("{other:?} {what}"),
    }
}

/// It is gone everywhere, and what the key called it can name another bucket.
fn assert_gone(cluster: &mut Cluster, what: &str) {
    for at in 0..cluster.hosts.len() {
        let refused = cluster.ask(at, Ask::put("/mine/k", "x")).outcome();
        assert_eq!(refused, "404 NoSuchBucket", "{what} at {at}");
        assert_eq!(cluster.ask(at, Ask::get("/")).elements("Name"), ["bucket"], "{what} at {at}");
    }
    assert_eq!(cluster.ask(1, Ask::put("/mine", "")).outcome(), "200", "{what}");
    assert_eq!(cluster.ask(0, Ask::get("/mine/k")).outcome(), "404 NoSuchKey", "{what}");
    assert_eq!(cluster.ask(1, Ask::put("/mine/k", "again")).outcome(), "200", "{what}");
}

/// Every order of the first calls of a PUT and the deletion; then the one of the two goes first where it can, or the other.
fn every_order_of(storage: usize, depth: usize) {
    let (mut made, mut played) = (0, 0);
    for deletion_first in [false, true] {
        played += every_order(depth, |schedule| {
            let mut cluster = asked_through_gateways(storage);
            let put = cluster.begin(storage, Ask::put("/mine/k", bytes(10)));
            let mut sessions = [put, cluster.begin(storage + 1, delete())];
            if deletion_first {
                sessions.reverse();
            }
            let choices = in_order(&mut cluster, &mut sessions, schedule);
            if deletion_first {
                sessions.reverse();
            }
            let what = format!("{schedule:?}");
            made += usize::from(assert_either(&mut cluster, &sessions, &bytes(10), &what));
            choices
        });
    }
    // The deletion has by far more to do, and so is rarely the first.
    assert!(made > 10 && played - made > 3, "{made} of {played}");
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
        let mut cluster = match seed % 2 {
            0 => with_bucket(Cluster::replicated(3)),
            _ => asked_through_gateways(3),
        };
        let len = [10, 600, 3500][(seed % 3) as usize];
        let last = cluster.hosts.len() - 1;
        let put = cluster.begin(last, Ask::put("/mine/k", bytes(len)));
        let mut sessions = [put, cluster.begin(1, delete())];
        by_chance(&mut cluster, &mut sessions, seed);
        let what = format!("seed {seed}");
        made += usize::from(assert_either(&mut cluster, &sessions, &bytes(len), &what));
    }
    assert!(made > 0 && made < 90, "{made}");
}

/// Both give the bucket a name for their agreement, and agree.
#[test]
fn any_order_of_two_deletions() {
    for seed in 0..60_u64 {
        let mut cluster = asked_through_gateways(3);
        let mut sessions = [cluster.begin(3, delete()), cluster.begin(4, delete())];
        by_chance(&mut cluster, &mut sessions, seed);
        let outcomes = outcomes(&sessions);
        let what = format!("seed {seed}: {outcomes:?}");
        let fair = ["204", "404 NoSuchBucket", "409 OperationAborted"];
        assert!(outcomes.iter().all(|outcome| fair.contains(&&outcome[..])), "{what}");
        if outcomes.iter().all(|outcome| outcome.starts_with("409")) {
            assert_eq!(cluster.ask(0, delete()).outcome(), "204", "{what}");
        }
        assert_gone(&mut cluster, &what);
    }
}

/// Whoever comes next gets past what it has left, and finds the bucket either whole or gone.
#[test]
fn a_deletion_broken_off_leaves_a_bucket_or_none() {
    let (mut whole, mut gone) = (0, 0);
    for after in 0..40 {
        let mut cluster = with_bucket(Cluster::replicated(3));
        let mut first = cluster.begin(0, delete());
        for _ in 0..after {
            let Some((id, _)) = first.calls().first().cloned() else { break };
            first.deliver(&mut cluster, id);
        }
        let deleted = first.running.reply.status == 204;
        drop(first);
        let what = format!("after {after}");
        match &cluster.ask(1, Ask::put("/mine/k", "x")).outcome()[..] {
            "200" => {
                assert!(!deleted, "{what}");
                whole += 1;
                assert_eq!(cluster.ask(2, delete()).outcome(), "409 BucketNotEmpty", "{what}");
                assert_eq!(cluster.ask(0, Ask::new("DELETE", "/mine/k")).status, 204, "{what}");
                assert_eq!(cluster.ask(2, delete()).outcome(), "204", "{what}");
            }
            "404 NoSuchBucket" => gone += 1,
            other => panic!("{other} {what}"),
        }
        assert_gone(&mut cluster, &what);
    }
    assert!(whole > 0 && gone > 0, "{whole} {gone}");
}
