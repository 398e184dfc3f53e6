//! A bucket is deleted while something is put into it: one of the two fails, whatever comes in which order.

use super::{
    bytes,
    contest::{Bucket, Contest, asked_through_gateways},
    orders::by_chance,
    put, spread,
};
use crate::testing::{
    Ask,
    cluster::{Cluster, Session, layout},
};

const BUCKET: Bucket = Bucket { name: "bucket", others: &[] };

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

    /// This by one node, and the deletion by another.
    fn begin(self, mut cluster: Cluster, [at, delete]: [usize; 2]) -> Contest {
        let (made, body) = self.make(&mut cluster, at);
        let sessions = [made, cluster.begin(delete, BUCKET.delete())];
        Contest { cluster, sessions, body }
    }

    /// Gets everything ready, and begins at the end.
    fn make(self, cluster: &mut Cluster, at: usize) -> (Session, Vec<u8>) {
        match self {
            Self::Put(len) => (cluster.begin(at, BUCKET.put("k", bytes(len))), bytes(len)),
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

fn every_order_of(maker: Maker, storage: usize, depth: usize) {
    let by = [storage, storage + 1];
    let (made, deleted) =
        BUCKET.every_order(depth, || maker.begin(asked_through_gateways(storage), by));
    assert!(made > 10 && deleted > 10, "{made}, {deleted}");
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
    let mut made = 0;
    for seed in 0..150_u64 {
        let maker = Maker::ALL[(seed % 5) as usize];
        let cluster = match seed % 3 {
            0 => Cluster::replicated(3),
            1 => spread(),
            _ => asked_through_gateways(3),
        };
        let last = cluster.hosts.len() - 1;
        let mut contest = maker.begin(cluster, [last, 1]);
        by_chance(&mut contest.cluster, &mut contest.sessions, seed);
        let what = format!("{maker:?} seed {seed}");
        made += usize::from(BUCKET.assert_either(&mut contest, &what));
    }
    assert!(made > 0 && made < 150, "{made}");
}

/// The one goes by the old layout alone, the other by both.
#[test]
fn any_order_while_the_layout_changes() {
    let old = layout(1, 7, |_| vec![0, 1, 2]);
    let new = layout(2, 7, |_| vec![2, 3, 4]);
    for seed in 0..80_u64 {
        let mut cluster = Cluster::new(7, &old);
        let body = bytes(10);
        let ask = || BUCKET.put("k", bytes(10));
        let sessions = if seed % 2 == 0 {
            let made = cluster.begin(5, ask());
            cluster.set_layouts(&[&old, &new], 1);
            [made, cluster.begin(6, BUCKET.delete())]
        } else {
            let deleted = cluster.begin(6, BUCKET.delete());
            cluster.set_layouts(&[&old, &new], 1);
            [cluster.begin(5, ask()), deleted]
        };
        let mut contest = Contest { cluster, sessions, body };
        by_chance(&mut contest.cluster, &mut contest.sessions, seed);
        BUCKET.assert_either(&mut contest, &format!("seed {seed}"));
    }
}

#[test]
fn a_deletion_broken_off_leaves_a_bucket_or_none() {
    BUCKET.broken_off(|| Cluster::replicated(3));
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
    assert_eq!(cluster.ask(0, BUCKET.delete()).outcome(), "204");
    BUCKET.assert_gone(&mut cluster, "");
}
