//! Replicas that lag behind: what a read has shown, it goes on showing.

use super::{bytes, get, put};
use crate::{
    effect::PeerError,
    store::{StoreError, Table},
    table::upload::IntentRow,
    testing::{
        Ask, CommitFault,
        cluster::{Cluster, Fate},
    },
};

/// A write whose last batch reaches one replica, and not that of the node that was asked; so it is not acknowledged. Before it, the
/// node makes so many commits at home.
fn put_at_only(cluster: &mut Cluster, only: usize, ask: Ask, commits: usize) {
    cluster.network(move |call| match call.what.starts_with("Commit: object") {
        true if call.to != only => Fate::Lost,
        true | false => Fate::Answered,
    });
    let failed = CommitFault::Nothing(PeerError::Store(StoreError::Closed));
    cluster.hosts[0].faults.commit = Some((commits, failed));
    let reply = cluster.ask(0, ask);
    assert_eq!(reply.outcome(), "503 ServiceUnavailable", "{}", reply.text());
    cluster.down(&[]);
}

#[test]
fn what_one_read_has_seen_later_reads_see() {
    for len in [5, 1000] {
        for head in [false, true] {
            let mut cluster = Cluster::replicated(3);
            put(&mut cluster, 0, "k", "old");
            let commits = if len > 100 { 1 } else { 0 };
            put_at_only(&mut cluster, 2, Ask::put("/bucket/k", bytes(len)), commits);
            // Of the two that do not have it.
            cluster.down(&[2]);
            assert_eq!(get(&mut cluster, 0, "k"), Ok(b"old".to_vec()));
            cluster.down(&[1]);
            if head {
                let reply = cluster.ask(0, Ask::new("HEAD", "/bucket/k"));
                assert_eq!((reply.status, reply.len), (200, len as u64));
            } else {
                assert_eq!(get(&mut cluster, 0, "k"), Ok(bytes(len)));
            }
            cluster.down(&[2]);
            assert_eq!(get(&mut cluster, 1, "k"), Ok(bytes(len)), "{len} after HEAD: {head}");
        }
    }
}

/// The node that showed it is gone before it was asked for the payload.
#[test]
fn what_head_has_seen_later_reads_see() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", "old");
    put_at_only(&mut cluster, 2, Ask::put("/bucket/k", bytes(5)), 0);
    let mut told = false;
    cluster.network(move |call| match call.to {
        1 if !told => Fate::Unreachable,
        2 if told => Fate::Unreachable,
        _ => {
            told |= call.to == 2;
            Fate::Answered
        }
    });
    let reply = cluster.ask(0, Ask::new("HEAD", "/bucket/k"));
    cluster.down(&[2]);
    let read = get(&mut cluster, 1, "k");
    assert!(reply.status == 503 || read == Ok(bytes(5)), "{} and then {read:?}", reply.status);
    assert_eq!(get(&mut cluster, 0, "k"), read);
}

/// Of the two others one has never heard of the object, and the other still has it.
#[test]
fn a_deletion_that_was_seen_late_stays() {
    let mut cluster = Cluster::replicated(3);
    cluster.down(&[2]);
    put(&mut cluster, 0, "k", "old");
    cluster.down(&[]);
    put_at_only(&mut cluster, 1, Ask::new("DELETE", "/bucket/k"), 0);
    cluster.pass(cluster.hosts[0].view.config.tombstone_delay);
    cluster.down(&[0]);
    assert_eq!(get(&mut cluster, 2, "k"), Err("404 NoSuchKey".to_owned()));
    cluster.down(&[1]);
    assert_eq!(get(&mut cluster, 2, "k"), Err("404 NoSuchKey".to_owned()));
}

/// Otherwise the data is taken for that of a writer that is gone.
#[test]
fn what_is_repaired_is_known_to_be_named() {
    let mut cluster = Cluster::replicated(3);
    put_at_only(&mut cluster, 2, Ask::put("/bucket/k", bytes(1000)), 1);
    let done = |cluster: &Cluster, at: usize| {
        let mut rows = cluster.hosts[at].store.rows(Table::Intent);
        rows.any(|(_, value)| value == crate::table::encode(&IntentRow::Done))
    };
    assert!(!done(&cluster, 0) && !done(&cluster, 1) && done(&cluster, 2));
    cluster.down(&[1]);
    assert_eq!(get(&mut cluster, 0, "k"), Ok(bytes(1000)));
    assert!(done(&cluster, 0), "and the other hears of it later");
}

#[test]
fn a_deletion_that_was_seen_stays() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", "old");
    put_at_only(&mut cluster, 2, Ask::new("DELETE", "/bucket/k"), 0);
    cluster.down(&[1]);
    assert_eq!(get(&mut cluster, 0, "k"), Err("404 NoSuchKey".to_owned()));
    cluster.down(&[2]);
    assert_eq!(get(&mut cluster, 1, "k"), Err("404 NoSuchKey".to_owned()));
}

#[test]
fn a_read_that_cannot_repair_is_not_answered() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", "old");
    put_at_only(&mut cluster, 2, Ask::put("/bucket/k", "new"), 0);
    cluster.network(|call| match (call.to, call.what.starts_with("Commit")) {
        (1, _) | (_, true) => Fate::Unreachable,
        (_, false) => Fate::Answered,
    });
    assert_eq!(get(&mut cluster, 0, "k"), Err("503 ServiceUnavailable".to_owned()));
}

#[test]
fn replicas_that_agree_are_not_written_to() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", bytes(2500));
    cluster.network(|call| {
        assert!(!call.what.starts_with("Commit"), "{}", call.what);
        Fate::Answered
    });
    for at in 0..3 {
        assert_eq!(get(&mut cluster, at, "k"), Ok(bytes(2500)));
        assert_eq!(get(&mut cluster, at, "none"), Err("404 NoSuchKey".to_owned()));
    }
}

/// Replicas forget a tombstone one after the other, when all have it and it is old: nobody brings it back.
#[test]
fn a_tombstone_that_is_being_forgotten_is_let_go() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", "old");
    assert_eq!(cluster.ask(0, Ask::new("DELETE", "/bucket/k")).status, 204);
    cluster.pass(cluster.hosts[0].view.config.tombstone_delay);
    let (row, _) = cluster.hosts[1].store.rows(Table::Object).next().expect("the tombstone");
    let row = row.to_vec();
    crate::store::Writer::delete(&mut cluster.hosts[1].store, Table::Object, &row).expect("a map");
    assert_eq!(get(&mut cluster, 0, "k"), Err("404 NoSuchKey".to_owned()));
    assert_eq!(cluster.hosts[1].count(Table::Object), 0);
}

/// With two copies a read quorum is one; but what one of them shows is with the other too, unless that one is away.
#[test]
fn what_one_of_two_copies_shows_the_other_shows_too() {
    for len in [5, 1000] {
        let mut cluster = Cluster::replicated(2);
        put(&mut cluster, 0, "k", "old");
        cluster.network(|call| match call.what.starts_with("Commit: object") {
            true => Fate::Lost,
            false => Fate::Answered,
        });
        let reply = cluster.ask(1, Ask::put("/bucket/k", bytes(len)));
        assert_eq!(reply.outcome(), "503 ServiceUnavailable", "{}", reply.text());
        cluster.down(&[]);
        assert_eq!(get(&mut cluster, 1, "k"), Ok(bytes(len)));
        cluster.down(&[1]);
        assert_eq!(get(&mut cluster, 0, "k"), Ok(bytes(len)));
        // One that is away or silent is not waited for.
        assert_eq!(cluster.timed(0, Ask::get("/bucket/k")), ("200".to_owned(), 0));
        cluster.network(|_| Fate::Lost);
        assert_eq!(cluster.timed(0, Ask::get("/bucket/k")), ("200".to_owned(), 3));
    }
}
