//! A bucket is deleted while something is put into it: what the two may come to, and the orders of their steps.

use super::{
    get_at,
    orders::{every_order, in_order},
};
use crate::testing::{
    Ask,
    cluster::{Cluster, Session, layout},
};

/// Nodes that all must agree to everything, asked through two others; so every step is a call, and may come at any time.
pub(super) fn asked_through_gateways(storage: usize) -> Cluster {
    Cluster::new(storage + 2, &layout(1, storage + 2, |_| (0..storage).collect()))
}

/// What came of what makes an object, and of the deletion.
pub(super) fn outcomes(sessions: &[Session; 2]) -> [String; 2] {
    sessions.each_ref().map(|session| session.running.reply.outcome())
}

/// A contest under way: what makes the object `k`, and the deletion.
pub(super) struct Contest {
    pub(super) cluster: Cluster,
    pub(super) sessions: [Session; 2],
    /// What the object holds, if there comes to be one.
    pub(super) body: Vec<u8>,
}

/// The bucket that both are about.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    /// The name that they call it by.
    pub(super) name: &'static str,
    /// Others that are there whatever becomes of it.
    pub(super) others: &'static [&'static str],
}

impl Bucket {
    pub(super) fn delete(self) -> Ask {
        Ask::new("DELETE", &format!("/{}", self.name))
    }

    pub(super) fn put(self, key: &str, body: impl Into<bytes::Bytes>) -> Ask {
        Ask::put(&format!("/{}/{key}", self.name), body)
    }

    fn get(self, cluster: &mut Cluster, at: usize) -> Result<Vec<u8>, String> {
        get_at(cluster, at, &format!("/{}/k", self.name))
    }

    /// Both have ended: one of the two has come to pass, and every node says so. Whether it is the object.
    pub(super) fn assert_either(self, contest: &mut Contest, what: &str) -> bool {
        let Contest { cluster, sessions, body } = contest;
        let [made, deleted] = outcomes(sessions);
        let last = cluster.hosts.len() - 1;
        match (&made[..], &deleted[..]) {
            ("200", "409 BucketNotEmpty" | "409 OperationAborted") => {
                for at in 0..=last {
                    assert_eq!(self.get(cluster, at).as_ref(), Ok(&*body), "{what} at {at}");
                }
                let again = cluster.ask(last, self.delete()).outcome();
                assert_eq!(again, "409 BucketNotEmpty", "{what}");
                assert_eq!(cluster.ask(last, self.put("l", "x")).outcome(), "200", "{what}");
                true
            }
            ("404 NoSuchBucket", "204") => {
                self.assert_gone(cluster, what);
                false
            }
            other => panic!("{other:?} {what}"),
        }
    }

    /// It is gone everywhere, and what it was called can name another bucket.
    pub(super) fn assert_gone(self, cluster: &mut Cluster, what: &str) {
        for at in 0..cluster.hosts.len() {
            let refused = cluster.ask(at, self.put("k", "x")).outcome();
            assert_eq!(refused, "404 NoSuchBucket", "{what} at {at}");
            let listed = cluster.ask(at, Ask::get("/"));
            let names = listed.elements("Name");
            assert!(!names.iter().any(|name| name.contains(self.name)), "{names:?} {what} at {at}");
            assert!(
                self.others.iter().all(|other| names.contains(other)),
                "{names:?} {what} at {at}"
            );
        }
        let created = cluster.ask(1, Ask::put(&format!("/{}", self.name), "")).outcome();
        assert_eq!(created, "200", "{what}");
        assert_eq!(self.get(cluster, 0), Err("404 NoSuchKey".to_owned()), "{what}");
        assert_eq!(cluster.ask(1, self.put("k", "again")).outcome(), "200", "{what}");
    }

    /// Every order of the first calls of the two; then the one of them goes first where it can, or the other. How often it was the
    /// object that came to pass, and how often the deletion.
    pub(super) fn every_order(self, depth: usize, begin: impl Fn() -> Contest) -> (usize, usize) {
        let (mut made, mut played) = (0, 0);
        for deletion_first in [false, true] {
            played += every_order(depth, |schedule| {
                let mut contest = begin();
                let Contest { cluster, sessions, .. } = &mut contest;
                if deletion_first {
                    sessions.reverse();
                }
                let choices = in_order(cluster, sessions, schedule);
                if deletion_first {
                    sessions.reverse();
                }
                made += usize::from(self.assert_either(&mut contest, &format!("{schedule:?}")));
                choices
            });
        }
        (made, played - made)
    }

    /// Whoever comes after a deletion that was broken off, its node lost or not, finds the bucket either whole or gone.
    pub(super) fn broken_off(self, begin: impl Fn() -> Cluster) {
        let (mut whole, mut gone) = (0, 0);
        for (after, lost) in (0..40).flat_map(|after| [(after, false), (after, true)]) {
            let mut cluster = begin();
            let mut first = cluster.begin(0, self.delete());
            for _ in 0..after {
                let Some((id, _)) = first.calls().first().cloned() else { break };
                first.deliver(&mut cluster, id);
            }
            let deleted = first.running.reply.status == 204;
            drop(first);
            let (next, other) = if lost { (1, 2) } else { (2, 0) };
            if lost {
                cluster.down(&[0]);
            }
            let what = format!("after {after}, lost: {lost}");
            match &cluster.ask(next, self.put("k", "x")).outcome()[..] {
                "200" => {
                    assert!(!deleted, "{what}");
                    whole += 1;
                    assert_eq!(self.get(&mut cluster, other), Ok(b"x".to_vec()), "{what}");
                    let again = cluster.ask(other, self.delete()).outcome();
                    assert_eq!(again, "409 BucketNotEmpty", "{what}");
                    let path = format!("/{}/k", self.name);
                    assert_eq!(cluster.ask(next, Ask::new("DELETE", &path)).status, 204, "{what}");
                    assert_eq!(cluster.ask(other, self.delete()).outcome(), "204", "{what}");
                }
                "404 NoSuchBucket" => gone += 1,
                other => panic!("{other} {what}"),
            }
            cluster.down(&[]);
            self.assert_gone(&mut cluster, &what);
        }
        assert!(whole > 0 && gone > 0, "{whole} {gone}");
    }
}
