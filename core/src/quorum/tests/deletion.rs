//! A bucket is deleted while something is put into it: one of the two fails, whatever comes in which order.

use super::{
    bytes, get,
    orders::{by_chance, every_order, in_order},
    put, spread,
};
use crate::testing::{
    Ask,
    cluster::{Cluster, Session, layout},
};

fn delete() -> Ask {
    Ask::new("DELETE", "/bucket")
}

/// What makes the object `k` in a race: its size decides how.
#[derive(Clone, Copy, Debug)]
enum Maker {
    Put(usize),
    Complete,
    Copy,
}

impl Maker {
    const ALL: [Self; 5] =
        [Self::Put(10), Self::Put(600), Self::Put(3500), Self::Complete, Self::Copy];

    /// Gets everything ready, and begins at the end.
    fn begin(self, cluster: &mut Cluster, at: usize) -> (Session, Vec<u8>) {
        match self {
            Self::Put(len) => (cluster.begin(at, Ask::put("/bucket/k", bytes(len))), bytes(len)),
            Self::Complete => {
                let created = cluster.ask(at, Ask::new("POST", "/bucket/k?uploads"));
                let upload = created.element("UploadId").expect("an upload").to_owned();
                let part =
                    Ask::put(&format!("/bucket/k?partNumber=1&uploadId={upload}"), bytes(1500));
                let etag = cluster.ask(at, part).header("etag").expect("an etag").to_owned();
                let list = format!(
                    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
                );
                let complete = Ask::new("POST", &format!("/bucket/k?uploadId={upload}"));
                (cluster.begin(at, complete.body(list)), bytes(1500))
            }
            Self::Copy => {
                assert_eq!(cluster.ask(at, Ask::put("/other", "")).status, 200);
                assert_eq!(cluster.ask(at, Ask::put("/other/k", bytes(600))).status, 200);
                let copy = Ask::put("/bucket/k", "").header("x-amz-copy-source", "/other/k");
                (cluster.begin(at, copy), bytes(600))
            }
        }
    }
}

/// One of the two has come to pass, and every node says so.
fn assert_either(cluster: &mut Cluster, sessions: &[Session; 2], body: &[u8], what: &str) {
    let [made, deleted] = sessions.each_ref().map(|session| session.running.reply.outcome());
    let last = cluster.hosts.len() - 1;
    match (&made[..], &deleted[..]) {
        ("200", "409 BucketNotEmpty" | "409 OperationAborted") => {
            for at in 0..=last {
                assert_eq!(get(cluster, at, "k").as_deref(), Ok(body), "{what} at {at}");
            }
            assert_eq!(cluster.ask(last, delete()).outcome(), "409 BucketNotEmpty", "{what}");
            put(cluster, last, "k", "more");
        }
        ("404 NoSuchBucket", "204") => {
            assert_gone(cluster, what);
        }
        other => panic!("{other:?} {what}"),
    }
}

fn assert_gone(cluster: &mut Cluster, what: &str) {
    for at in 0..cluster.hosts.len() {
        let refused = cluster.ask(at, Ask::put("/bucket/k", "x")).outcome();
        assert_eq!(refused, "404 NoSuchBucket", "{what} at {at}");
        let names = cluster.ask(at, Ask::get("/")).elements("Name").join(" ");
        assert!(!names.contains("bucket"), "{what} at {at}: {names}");
    }
    assert_eq!(cluster.ask(1, Ask::put("/bucket", "")).outcome(), "200", "{what}");
    assert_eq!(get(cluster, 0, "k"), Err("404 NoSuchKey".to_owned()), "{what}");
    put(cluster, 1, "k", "again");
}

/// Whether each of the two has ever been the one that fails.
#[derive(Default)]
struct Seen {
    made: usize,
    deleted: usize,
}

impl Seen {
    fn note(&mut self, sessions: &[Session; 2]) {
        let made = sessions[0].running.reply.status == 200;
        self.made += usize::from(made);
        self.deleted += usize::from(!made);
    }
}

/// Two nodes that both must agree to everything, asked through two others; so every step is a call, and may come at any time.
fn asked_through_gateways(storage: usize) -> Cluster {
    Cluster::new(storage + 2, &layout(1, storage + 2, |_| (0..storage).collect()))
}

/// Every order of the first calls; then the one of the two goes first where it can, or the other.
fn every_order_of(maker: Maker, storage: usize, depth: usize) {
    let mut seen = Seen::default();
    let mut played = 0;
    for deletion_first in [false, true] {
        played += every_order(depth, |schedule| {
            let mut cluster = asked_through_gateways(storage);
            let (made, body) = maker.begin(&mut cluster, storage);
            let mut sessions = [made, cluster.begin(storage + 1, delete())];
            if deletion_first {
                sessions.reverse();
            }
            let choices = in_order(&mut cluster, &mut sessions, schedule);
            if deletion_first {
                sessions.reverse();
            }
            seen.note(&sessions);
            assert_either(&mut cluster, &sessions, &body, &format!("{maker:?} {schedule:?}"));
            choices
        });
    }
    assert!(seen.made > 10 && seen.deleted > 10, "{} of {played}", seen.made);
}

#[test]
fn every_order_of_a_put_and_the_deletion_on_two_nodes() {
    every_order_of(Maker::Put(10), 2, 6);
}

#[test]
fn every_order_of_the_first_calls_of_a_completion() {
    every_order_of(Maker::Complete, 2, 5);
}

#[test]
fn every_order_of_the_first_calls_on_three_nodes() {
    every_order_of(Maker::Put(10), 3, 4);
}

#[test]
fn any_order_by_chance() {
    let mut seen = Seen::default();
    for seed in 0..150_u64 {
        let maker = Maker::ALL[(seed % 5) as usize];
        let mut cluster = match seed % 3 {
            0 => Cluster::replicated(3),
            1 => spread(),
            _ => asked_through_gateways(3),
        };
        let last = cluster.hosts.len() - 1;
        let (made, body) = maker.begin(&mut cluster, last);
        let mut sessions = [made, cluster.begin(1, delete())];
        by_chance(&mut cluster, &mut sessions, seed);
        seen.note(&sessions);
        assert_either(&mut cluster, &sessions, &body, &format!("{maker:?} seed {seed}"));
    }
    assert!(seen.made > 0 && seen.deleted > 0);
}

/// The one goes by the old layout alone, the other by both.
#[test]
fn any_order_while_the_layout_changes() {
    let old = layout(1, 7, |_| vec![0, 1, 2]);
    let new = layout(2, 7, |_| vec![2, 3, 4]);
    for seed in 0..80_u64 {
        let mut cluster = Cluster::new(7, &old);
        let body = bytes(10);
        let ask = || Ask::put("/bucket/k", bytes(10));
        let mut sessions = if seed % 2 == 0 {
            let made = cluster.begin(5, ask());
            cluster.set_layouts(&[&old, &new], 1);
            [made, cluster.begin(6, delete())]
        } else {
            let deleted = cluster.begin(6, delete());
            cluster.set_layouts(&[&old, &new], 1);
            [cluster.begin(5, ask()), deleted]
        };
        by_chance(&mut cluster, &mut sessions, seed);
        assert_either(&mut cluster, &sessions, &body, &format!("seed {seed}"));
    }
}

/// Whoever comes next gets past what it has left, and finds the bucket either whole or gone.
#[test]
fn a_deletion_broken_off_leaves_a_bucket_or_none() {
    let (mut whole, mut gone) = (0, 0);
    for after in 0..40 {
        for lost in [false, true] {
            let mut cluster = Cluster::replicated(3);
            let mut first = cluster.begin(0, delete());
            for _ in 0..after {
                let Some((id, _)) = first.calls().first().cloned() else { break };
                first.deliver(&mut cluster, id);
            }
            let deleted = first.running.reply.status == 204;
            drop(first);
            let mut next = (1, 2);
            if lost {
                cluster.down(&[0]);
            } else {
                next = (2, 0);
            }
            let what = format!("after {after}");
            let outcome = cluster.ask(next.0, Ask::put("/bucket/k", "x")).outcome();
            match &outcome[..] {
                "200" => {
                    assert!(!deleted, "{what}");
                    whole += 1;
                    assert_eq!(get(&mut cluster, next.1, "k"), Ok(b"x".to_vec()), "{what}");
                    let again = cluster.ask(next.1, delete()).outcome();
                    assert_eq!(again, "409 BucketNotEmpty", "{what}");
                    let gone = cluster.ask(next.0, Ask::new("DELETE", "/bucket/k")).status;
                    assert_eq!(gone, 204, "{what}");
                    assert_eq!(cluster.ask(next.1, delete()).outcome(), "204", "{what}");
                }
                "404 NoSuchBucket" => gone += 1,
                other => panic!("{other} {what}"),
            }
            cluster.down(&[]);
            assert_gone(&mut cluster, &what);
        }
    }
    assert!(whole > 0 && gone > 0, "{whole} {gone}");
}

/// Each replica has missed the deletion of another object: no replica is empty, and the bucket is.
#[test]
fn a_bucket_is_empty_though_no_replica_is() {
    let mut cluster = Cluster::replicated(3);
    for key in ["a", "b", "c"] {
        put(&mut cluster, 0, key, "x");
    }
    for (at, key) in ["a", "b", "c"].into_iter().enumerate() {
        cluster.down(&[at]);
        let by = (at + 1) % 3;
        assert_eq!(cluster.ask(by, Ask::new("DELETE", &format!("/bucket/{key}"))).status, 204);
    }
    cluster.down(&[]);
    assert_eq!(cluster.ask(0, delete()).outcome(), "204");
    assert_gone(&mut cluster, "");
}
