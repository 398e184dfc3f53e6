//! Listings of replicas that have each missed something: as a listing of all that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use crate::{
    id::{BucketId, NodeId, Position, VersionId},
    placement::layout::Layout,
    quorum,
    store::{Entry, From, List, Listing, Op, Table},
    table::{
        self, key,
        object::{Content, Data, Meta, ObjectRow},
        upload::UploadRow,
    },
    testing::cluster::{Cluster, Fate, layout},
    time::Stamp,
};

const BUCKET: BucketId = BucketId([5; 16]);
const SHARDS: u16 = 6;

/// A change of a key that a write quorum of its replicas has: which two, counted from the first.
#[derive(Clone, Debug)]
struct Change {
    key: String,
    live: bool,
    left_out: usize,
}

fn change() -> impl Strategy<Value = Change> {
    ("[ab/]{1,4}", any::<bool>(), 0..3_usize).prop_map(|(key, live, left_out)| Change {
        key,
        live,
        left_out,
    })
}

fn row(table: Table, at: u64, live: bool) -> Vec<u8> {
    if table == Table::Upload {
        return table::encode(&if live {
            UploadRow::Open { headers: vec![], checksum: None, initiator: String::new() }
        } else {
            UploadRow::Closed { etag: None }
        });
    }
    let version = VersionId::new(Stamp(at), [0; 8]);
    let blocks = Content::Blocks(Meta::default(), Data { data: version, block_max: 1 });
    table::encode(&ObjectRow { version, content: if live { blocks } else { Content::Deleted } })
}

fn upload() -> VersionId {
    VersionId::new(Stamp(3), [3; 8])
}

/// Applies the changes in turn, each on two of the three replicas of its key, and gives what is live in the end.
fn apply(cluster: &mut Cluster, table: Table, changes: &[Change]) -> BTreeSet<String> {
    let mut live = BTreeMap::new();
    for (at, change) in (1..).zip(changes) {
        let shard = key::shard_of(change.key.as_bytes(), SHARDS);
        let key = match table {
            Table::Upload => key::upload(BUCKET, shard, change.key.as_bytes(), upload()),
            _ => key::object(BUCKET, shard, change.key.as_bytes()),
        };
        let ring = cluster.hosts[0].view.ring.clone();
        let mut nodes: Vec<NodeId> =
            ring.replicas(Position::of_shard(BUCKET, shard)).nodes.to_vec();
        nodes.sort_unstable();
        if nodes.len() == 3 {
            nodes.remove(change.left_out);
        }
        for host in &mut cluster.hosts {
            if nodes.contains(&host.view.node) {
                let value = row(table, at, change.live);
                host.change(vec![Op::Merge { table, key: key.clone(), value, inline: None }]);
            }
        }
        // An upload, once closed, is not opened again.
        let open = table != Table::Upload || live.get(&change.key) != Some(&false);
        live.insert(change.key.clone(), change.live && open);
    }
    live.into_iter().filter(|(_, live)| *live).map(|(key, _)| key).collect()
}

/// Keys and prefixes, in the plainest way.
fn naive(live: &BTreeSet<String>, list: &List, after: Option<&str>) -> (Vec<String>, bool) {
    let prefix = std::str::from_utf8(&list.prefix).expect("text");
    let mut lines = Vec::new();
    for key in live.iter().filter(|key| key.starts_with(prefix)) {
        let rolled = key[prefix.len()..].find('/').filter(|_| !list.delimiter.is_empty());
        let line = rolled.map_or(&key[..], |at| &key[..prefix.len() + at + 1]);
        let past = after.is_some_and(|after| {
            key.as_str() <= after || (line == after && rolled.is_some() && after.ends_with('/'))
        });
        if !past && lines.last().map(String::as_str) != Some(line) {
            lines.push(line.to_owned());
        }
    }
    let truncated = lines.len() > list.limit;
    lines.truncate(list.limit);
    (lines, truncated)
}

fn lines(listing: Listing) -> (Vec<String>, bool) {
    let line = |entry| match entry {
        Entry::Row { key, .. } => key,
        Entry::CommonPrefix { prefix, .. } => prefix,
    };
    let lines = listing.entries.into_iter().map(line);
    (lines.map(|line| String::from_utf8(line).expect("text")).collect(), listing.truncated)
}

fn plan(table: Table, prefix: &str, delimiter: bool, after: Option<&str>, limit: usize) -> List {
    List {
        table,
        bucket: BUCKET,
        shards: (0..SHARDS).collect(),
        prefix: prefix.as_bytes().to_vec(),
        delimiter: if delimiter { b"/".to_vec() } else { Vec::new() },
        from: after.map_or(From::Start, |after| From::After(after.as_bytes().to_vec())),
        limit,
        merged: false,
    }
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop_oneof![
        Just(layout(1, 4, |_| vec![0, 1, 2])),
        Just(layout(1, 6, |p| vec![p % 5, (p + 1) % 5, (p + 2) % 5])),
        Just(layout(1, 4, |p| vec![p % 3])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_listing_by_quorum_is_that_of_what_was_acknowledged(
        layout in layouts(),
        uploads in proptest::bool::weighted(0.3),
        changes in vec(change(), 0..60),
        prefix in "[a/]{0,1}",
        delimiter in any::<bool>(),
        after in proptest::option::of("[ab/]{1,3}"),
        limit in 1..8_usize,
        at in 0..4_usize,
        dead in proptest::option::of(0..5_usize),
    ) {
        let table = if uploads { Table::Upload } else { Table::Object };
        let copies = usize::from(layout.parameters.replication);
        let count = layout.roles.len();
        let mut cluster = Cluster::empty(count, &layout);
        let live = apply(&mut cluster, table, &changes);
        // Any one replica of three may be dead, but not the node that asks.
        if let Some(dead) = dead.filter(|dead| copies == 3 && *dead != at) {
            cluster.network(move |call| {
                if call.to == dead { Fate::Unreachable } else { Fate::Answered }
            });
        }
        let after = after.as_deref();
        let list = plan(table, &prefix, delimiter, after, limit);
        let expected = naive(&live, &list, after);
        let listing = cluster.flow(at, |cx, view| async move { quorum::list(cx, &view, list).await });
        prop_assert_eq!(lines(listing.expect("a quorum is there")), expected);
    }
}

/// More tombstones in a row than a page has lines, and one page that ends among them.
#[test]
fn many_deletions_in_a_row_are_passed_over() {
    let mut cluster = Cluster::empty(3, &layout(1, 3, |_| vec![0, 1, 2]));
    let deleted = |n: usize| Change { key: format!("a{n:04}"), live: false, left_out: n % 3 };
    let mut changes: Vec<Change> = (0..500).map(deleted).collect();
    changes.push(Change { key: "b".to_owned(), live: true, left_out: 0 });
    changes.push(Change { key: "c/d".to_owned(), live: true, left_out: 1 });
    apply(&mut cluster, Table::Object, &changes);
    for limit in [1, 2, 3] {
        let list = plan(Table::Object, "", true, None, limit);
        let listing =
            cluster.flow(1, |cx, view| async move { quorum::list(cx, &view, list).await });
        let expected = ["b", "c/"].map(str::to_owned);
        let expected = (expected[..limit.min(2)].to_vec(), limit == 1);
        assert_eq!(lines(listing.expect("all answer")), expected);
    }
}

#[test]
fn each_node_is_asked_once() {
    let layout = layout(1, 6, |p| vec![p % 6, (p + 1) % 6, (p + 2) % 6]);
    let mut cluster = Cluster::empty(6, &layout);
    let changes: Vec<Change> =
        (0..40).map(|n| Change { key: format!("k{n}/x"), live: true, left_out: 2 }).collect();
    apply(&mut cluster, Table::Object, &changes);
    let mut asked = BTreeSet::new();
    cluster.network(move |call| {
        assert!(asked.insert(call.to), "{} is asked twice", call.to);
        Fate::Answered
    });
    let list = plan(Table::Object, "", false, None, 100);
    let listing = cluster.flow(0, |cx, view| async move { quorum::list(cx, &view, list).await });
    assert_eq!(listing.expect("all answer").entries.len(), 40);
}
