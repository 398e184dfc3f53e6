//! Buckets among several nodes: rows that have not come everywhere, deletion, refusals at some replicas.

use serde_json::json;

use super::{get, put, spread};
use crate::{
    store::{Table, Writer},
    testing::{
        Ask,
        cluster::{Cluster, Fate, layout},
    },
};

/// A node that has heard of no key, no bucket and no name.
fn forget(cluster: &mut Cluster, at: usize) {
    for table in [Table::AccessKey, Table::Alias, Table::Bucket] {
        let store = &mut cluster.hosts[at].store;
        let keys: Vec<_> = store.rows(table).map(|(key, _)| key.to_vec()).collect();
        keys.iter().for_each(|key| store.delete(table, key).expect("a map"));
    }
}

#[test]
fn a_node_that_lags_behind_asks_before_it_refuses() {
    for (mut cluster, at) in [(Cluster::replicated(3), 2), (spread(), 6)] {
        put(&mut cluster, 0, "k", "hello");
        forget(&mut cluster, at);
        assert_eq!(get(&mut cluster, at, "k"), Ok(b"hello".to_vec()));
        // What it has learned it knows.
        cluster.network(|call| {
            assert!(!call.what.contains("alias"), "{}", call.what);
            Fate::Answered
        });
        assert_eq!(get(&mut cluster, at, "k"), Ok(b"hello".to_vec()));
        cluster.down(&[]);
        forget(&mut cluster, at);
        let buckets = cluster.ask(at, Ask::get("/"));
        assert_eq!(buckets.elements("Name"), ["bucket"]);
        assert_eq!(cluster.ask(at, Ask::get("/none/k")).outcome(), "404 NoSuchBucket");
        let stranger = Ask::get("/bucket/k").key("stranger", "secret");
        assert_eq!(cluster.ask(at, stranger).outcome(), "403 InvalidAccessKeyId");
    }
}

#[test]
fn a_website_is_shown_by_a_node_that_has_not_heard_of_it() {
    for (mut cluster, at) in [(Cluster::replicated(3), 2), (spread(), 6)] {
        put(&mut cluster, 0, "index.html", "hello");
        let found = cluster.admin(0, "GetBucketInfo?globalAlias=bucket", &json!(null)).ok();
        let update = format!("UpdateBucket?id={}", found["id"].as_str().expect("an id"));
        let site = |enabled| json!({ "websiteAccess": { "enabled": enabled } });
        cluster.admin(0, &update, &site(true)).ok();
        forget(&mut cluster, at);
        let visit = |host| Ask::get("/").to(host);
        assert_eq!(cluster.browse(at, visit("bucket")).text(), "hello");
        assert_eq!(cluster.browse(at, visit("none")).status, 404);
        // Alone, a node cannot tell that there is none.
        let all: Vec<usize> = (0..cluster.hosts.len()).filter(|other| *other != at).collect();
        cluster.down(&all);
        forget(&mut cluster, at);
        assert_eq!(cluster.browse(at, visit("none")).status, 503);
        cluster.down(&[]);
        cluster.admin(0, &update, &site(false)).ok();
        assert_eq!(cluster.browse(at, visit("bucket")).status, 404);
    }
}

#[test]
fn replicas_that_have_not_heard_of_a_bucket_take_its_objects() {
    let mut cluster = Cluster::replicated(3);
    forget(&mut cluster, 1);
    forget(&mut cluster, 2);
    put(&mut cluster, 0, "k", "hello");
    assert_eq!(cluster.hosts[1].count(Table::Object), 1);
    let upload = cluster.ask(0, Ask::new("POST", "/bucket/k?uploads"));
    assert_eq!(upload.status, 200);
    assert_eq!(cluster.hosts[2].count(Table::Upload), 1);
}

#[test]
fn a_deleted_bucket_takes_nothing_and_its_name_is_free() {
    for nodes in [3, 4] {
        let mut cluster = Cluster::replicated(nodes);
        put(&mut cluster, 0, "k", "x");
        let delete = || Ask::new("DELETE", "/bucket");
        assert_eq!(cluster.ask(1, delete()).outcome(), "409 BucketNotEmpty");
        assert_eq!(cluster.ask(1, Ask::new("DELETE", "/bucket/k")).status, 204);
        assert_eq!(cluster.ask(1, delete()).outcome(), "204");
        for at in 0..nodes {
            let reply = cluster.ask(at, Ask::put("/bucket/k", "x"));
            assert_eq!(reply.outcome(), "404 NoSuchBucket", "at {at}");
        }
        assert_eq!(cluster.ask(2, Ask::put("/bucket", "")).outcome(), "200");
        put(&mut cluster, 1, "k", "again");
        assert_eq!(get(&mut cluster, 0, "k"), Ok(b"again".to_vec()));
        let again = cluster.ask(1, Ask::put("/bucket", ""));
        assert_eq!(again.outcome(), "409 BucketAlreadyOwnedByYou");
    }
}

/// The object is on two of three replicas, and the one that deletes has it not.
#[test]
fn a_bucket_is_empty_only_if_a_quorum_says_so() {
    let mut cluster = Cluster::replicated(3);
    cluster.network(|call| if call.to == 2 { Fate::Unreachable } else { Fate::Answered });
    put(&mut cluster, 0, "k", "x");
    cluster.down(&[1]);
    assert_eq!(cluster.ask(2, Ask::new("DELETE", "/bucket")).outcome(), "409 BucketNotEmpty");
}

/// A node that has not heard of the deletion lets the request through; a majority of the replicas refuses it.
#[test]
fn refusals_count_where_they_leave_no_quorum() {
    let mut cluster = Cluster::replicated(3);
    cluster.network(|call| if call.to == 0 { Fate::Unreachable } else { Fate::Answered });
    assert_eq!(cluster.ask(1, Ask::new("DELETE", "/bucket")).outcome(), "204");
    cluster.down(&[]);
    assert_eq!(cluster.ask(0, Ask::put("/bucket/k", "x")).outcome(), "404 NoSuchBucket");
    assert_eq!(
        cluster.ask(0, Ask::put("/bucket/k", super::bytes(3500))).outcome(),
        "404 NoSuchBucket"
    );
    let upload = cluster.ask(0, Ask::new("POST", "/bucket/k?uploads"));
    assert_eq!(upload.outcome(), "404 NoSuchBucket");
}

/// One replica that refuses, whatever its reason, does not outvote two that do not.
#[test]
fn one_refusal_of_three_changes_nothing() {
    use crate::{
        id::Position,
        quorum,
        store::{Batch, Guard, Op, Outcome},
    };
    let mut cluster = Cluster::empty(3, &layout(1, 3, |_| vec![0, 1, 2]));
    let (table, key) = (Table::AccessKey, b"only there".to_vec());
    for refusing in 0..3 {
        cluster.hosts.iter_mut().for_each(|host| drop(host.store.delete(table, &key)));
        cluster.hosts[refusing].add_key("only there", "secret", true);
        let absent = Guard::Absent { table, key: key.clone() };
        let outcome = |cluster: &mut Cluster, guard: Guard| {
            cluster.flow(0, |cx, view| async move {
                let batch = Batch::new(cx.now().wall, Vec::<Op>::new()).guarded(guard);
                quorum::write(cx, &view, Position(0), batch).await
            })
        };
        assert!(matches!(outcome(&mut cluster, absent), Ok(Outcome::Applied(_))));
        let live = Guard::Live { table, key: key.clone() };
        assert_eq!(outcome(&mut cluster, live), Ok(Outcome::Refused { guard: 0 }));
    }
}
