//! Replicas that differ become equal, at a cost that goes with the difference.

use proptest::prelude::*;

use super::{
    replicas::{Replicas, layout, node},
    *,
};
use crate::{
    id::BucketId,
    placement::layout::{Layout, Role},
    store::read::synced,
    table::{
        access::{AliasRow, Lww},
        block::BlockListRow,
        merge::Row,
        object::{Content, Meta, ObjectRow},
        upload::{ManifestRow, PartRow, UploadRow},
    },
    view::Consistency,
};

fn merge<R: Row>(key: Vec<u8>, row: &R) -> Op {
    Op::Merge { table: R::TABLE, key, value: table::encode(row), inline: None }
}

fn bucket(number: u8) -> BucketId {
    BucketId([number; 16])
}

/// A small object, or its deletion.
fn object(shard: u16, name: &[u8], at: u64, live: bool) -> Op {
    let meta = Meta { size: 3, ..Meta::default() };
    let content = if live { Content::Inline(meta) } else { Content::Deleted };
    let key = key::object(bucket(1), shard, name);
    let random = blake3::hash(&key).as_bytes()[..8].try_into().unwrap();
    let version = VersionId::new(Stamp(at), random);
    let value = table::encode(&ObjectRow { version, content });
    Op::Merge { table: Table::Object, key, value, inline: live.then(|| "abc".into()) }
}

fn part(data: u64) -> PartRow {
    PartRow { data: id(data), size: 1, block_max: 1, etag: String::new(), checksum: None }
}

fn any_op() -> impl Strategy<Value = Op> {
    let writing = |boot| IntentRow::Writing { boot, node: node(1) };
    let position = prop_oneof![Just(HERE), Just(Position(0)), Just(Position(0xffff))];
    let intent = prop_oneof![Just(writing(1)), Just(IntentRow::Abandoned), Just(IntentRow::Done)];
    let reference = prop_oneof![
        Just(BlockRefRow::Live { owner: None }),
        Just(BlockRefRow::Live { owner: Some(HERE) }),
        Just(BlockRefRow::Dropped),
    ];
    let upload = prop_oneof![
        Just(UploadRow::Open { headers: vec![], checksum: None, initiator: String::new() }),
        Just(UploadRow::Closed { etag: None }),
    ];
    prop_oneof![
        // Two versions of a key are two different rows; one version is one row.
        8 => (0..3_u16, 0..40_u8, 0..4_u64)
            .prop_map(|(shard, name, at)| object(shard, &[name], at, at % 3 != 2)),
        1 => (position.clone(), 0..3_u64, intent)
            .prop_map(|(position, data, row)| intent_row(position, id(data), row)),
        1 => (0..3_u8, 0..3_u64, reference)
            .prop_map(|(hash, data, row)| merge(key::block_ref(Hash([hash; 32]), id(data)), &row)),
        1 => (position.clone(), 10..12_u64, 0..3_u64).prop_map(|(position, data, offset)| {
            let row = BlockListRow { block: Hash([7; 32]), len: 1 };
            merge(key::block_list(position, id(data), offset), &row)
        }),
        1 => (0..3_u64, upload)
            .prop_map(|(upload, row)| merge(key::upload(bucket(1), 0, b"k", id(upload)), &row)),
        1 => (position.clone(), 20..22_u64, 0..3_u64)
            .prop_map(|(position, upload, data)| merge(key::part(position, id(upload), 1), &part(data))),
        1 => (position, 0..2_u16).prop_map(|(position, page)| {
            merge(key::manifest(position, id(30), page), &ManifestRow { parts: vec![], completion: None })
        }),
    ]
}

proptest! {
    // Each case is six runs over three stores.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn replicas_that_differ_become_equal(
        ops in proptest::collection::vec((any_op(), 1..8_u8), 1..200),
    ) {
        let mut cluster = Replicas::new(vec![layout(1, &[1, 2, 3])]);
        for (op, nodes) in ops {
            for at in (1..=3).filter(|at| nodes & (1 << (at - 1)) != 0) {
                cluster.apply(at, vec![op.clone()]);
            }
        }
        cluster.sync();
        prop_assert_eq!(cluster.rows_of(1), cluster.rows_of(2));
        prop_assert_eq!(cluster.rows_of(2), cluster.rows_of(3));
        let (rows, hashes) = (cluster.rows, cluster.hashes);
        cluster.sync();
        prop_assert_eq!((rows, hashes), (cluster.rows, cluster.hashes), "equals compare by fingerprints");
    }
}

#[test]
fn a_sync_costs_what_differs() {
    let mut cluster = Replicas::new(vec![layout(1, &[1, 2, 3])]);
    let ops: Vec<Op> = (0..6000_u64).map(|n| object(0, &n.to_be_bytes(), 1, true)).collect();
    for at in 1..=3 {
        cluster.apply(at, ops.clone());
    }
    cluster.sync();
    assert_eq!((cluster.rows, cluster.hashes), (0, 0));
    let asked = cluster.asked;
    // 6 to ask about full copies, 6 times 4 about partitions in pages.
    assert!(asked <= 6 * (1 + 4 * 2), "{asked} questions among equals");

    for n in [17_u64, 3000, 5999] {
        for at in [2, 3] {
            cluster.apply(at, vec![object(0, &n.to_be_bytes(), 2, n != 3000)]);
        }
    }
    assert_eq!(cluster.run(1, Job::Sync), Verdict::Synced { version: 1 });
    assert_eq!(cluster.rows, 3, "only what differs travels");
    assert!(cluster.hashes <= 3 * 64, "{} hashes", cluster.hashes);
    assert!(cluster.asked - asked <= 40, "{} questions", cluster.asked - asked);
    assert_eq!(cluster.rows_of(1), cluster.rows_of(2));
}

#[test]
fn many_rows_come_in_pages() {
    let mut cluster = Replicas::new(vec![layout(1, &[1, 2, 3])]);
    let ops: Vec<Op> = (0..3000_u64).map(|n| object(0, &n.to_be_bytes(), 1, true)).collect();
    cluster.apply(2, ops);
    cluster.run(1, Job::Sync);
    assert_eq!(cluster.rows_of(1), cluster.rows_of(2));
    assert_eq!(cluster.rows, 3000);
}

#[test]
fn every_node_gets_a_copy_of_names_and_keys() {
    let mut first = layout(1, &[1, 2, 3]);
    let gateway = Role { zone: "z".to_owned(), capacity: None, tags: Vec::new() };
    first.roles.insert(node(4), gateway);
    let mut cluster = Replicas::new(vec![first]);
    cluster.stores.insert(node(4), MapStore::default());
    let alias = |bucket| AliasRow { bucket: Lww { at: Stamp(bucket), value: None } };
    cluster.apply(2, vec![merge(b"photos".to_vec(), &alias(1))]);
    cluster.apply(3, vec![merge(b"photos".to_vec(), &alias(2))]);
    cluster.apply(2, vec![object(0, b"key", 1, true)]);
    cluster.run(4, Job::Sync);
    let stored = cluster.stores[&node(4)].get(Table::Alias, b"photos").unwrap();
    assert_eq!(stored, Some(table::encode(&alias(2))));
    assert_eq!(cluster.count_rows(4, Table::Object), 0, "a gateway holds no partition");
}

/// A write that reached two of three, one of which is lost.
fn wiped(layouts: Vec<Layout>) -> Replicas {
    let mut cluster = Replicas::new(layouts);
    cluster.apply(1, vec![object(0, b"key", 1, true)]);
    cluster.apply(2, vec![object(0, b"key", 1, true)]);
    cluster.stores.insert(node(1), MapStore::default());
    cluster.recovering.insert(node(1));
    cluster
}

#[test]
fn a_node_that_lost_its_database_asks_all_that_may_know() {
    let mut cluster = wiped(vec![layout(1, &[1, 2, 3])]);
    cluster.down.insert(node(2));
    assert_eq!(cluster.run(1, Job::Sync), Verdict::Failed, "the third does not know enough");
    assert_eq!(synced(&cluster.stores[&node(1)]), Ok(0));
    cluster.down.clear();
    assert_eq!(cluster.run(1, Job::Sync), Verdict::Synced { version: 1 });
    assert_eq!(cluster.rows_of(1), cluster.rows_of(2));
    assert_eq!(synced(&cluster.stores[&node(1)]), Ok(1));
}

#[test]
fn two_that_lost_something_do_not_wait_for_each_other() {
    let mut cluster = wiped(vec![layout(1, &[1, 2, 3])]);
    cluster.stores.insert(node(3), MapStore::default());
    cluster.recovering.insert(node(3));
    cluster.sync();
    assert_eq!(cluster.rows_of(1), cluster.rows_of(3));
    assert_eq!(cluster.count_rows(3, Table::Object), 1);
}

#[test]
fn a_node_that_has_lost_something_is_no_witness_for_others() {
    let mut cluster = wiped(vec![layout(1, &[1, 2, 3]), layout(2, &[3, 4, 5])]);
    // The one that knows is cut off; what is left are one that has never heard and one that has forgotten.
    cluster.down.insert(node(2));
    assert_eq!(cluster.run(4, Job::Sync), Verdict::Failed);
    cluster.down.clear();
    assert_eq!(cluster.run(4, Job::Sync), Verdict::Synced { version: 2 });
    assert_eq!(cluster.count_rows(4, Table::Object), 1);
}

#[test]
fn a_node_new_to_a_partition_asks_a_read_quorum_of_those_before() {
    let mut cluster = Replicas::new(vec![layout(1, &[1, 2, 3]), layout(2, &[3, 4, 5])]);
    cluster.apply(1, vec![object(0, b"key", 1, true)]);
    cluster.apply(2, vec![object(0, b"key", 1, true)]);
    cluster.down.extend([node(1), node(2), node(5)]);
    assert_eq!(cluster.run(4, Job::Sync), Verdict::Failed);
    assert_eq!(cluster.count_rows(4, Table::Object), 0);
    cluster.down.remove(&node(2));
    assert_eq!(cluster.run(4, Job::Sync), Verdict::Synced { version: 2 });
    assert_eq!(cluster.count_rows(4, Table::Object), 1);
    // The one that stays counts as one that was asked.
    assert_eq!(cluster.run(3, Job::Sync), Verdict::Synced { version: 2 });
    assert_eq!(cluster.count_rows(3, Table::Object), 1);
}

#[test]
fn what_one_replica_may_answer_a_read_with_is_not_enough_to_vouch_for() {
    let mut cluster = Replicas::new(vec![layout(1, &[1, 2, 3]), layout(2, &[1, 4, 5])]);
    cluster.mode = Consistency::Degraded;
    cluster.apply(2, vec![object(0, b"key", 1, true)]);
    cluster.apply(3, vec![object(0, b"key", 1, true)]);
    cluster.down.extend([node(2), node(3)]);
    for at in [1, 4, 5] {
        assert_eq!(cluster.run(at, Job::Sync), Verdict::Failed, "node {at} knows nothing of it");
    }
    cluster.recovering.insert(node(1));
    assert_eq!(cluster.run(1, Job::Sync), Verdict::Failed);
    cluster.down.remove(&node(2));
    cluster.recovering.clear();
    for at in [1, 4, 5] {
        assert_eq!(cluster.run(at, Job::Sync), Verdict::Synced { version: 2 });
        assert_eq!(cluster.count_rows(at, Table::Object), 1);
    }
}

#[test]
fn a_row_that_does_not_decode_does_not_keep_the_others() {
    let mut cluster = Replicas::new(vec![layout(1, &[1, 2, 3])]);
    cluster.apply(2, vec![object(0, b"a", 1, true), object(0, b"c", 1, true)]);
    let store = cluster.stores.get_mut(&node(2)).unwrap();
    let damaged = key::object(bucket(1), 0, b"b");
    crate::store::Writer::put(store, Table::Upload, &damaged, b"\x09odd").unwrap();
    let fingerprint =
        crate::store::digest::fingerprint_key(Table::Upload, Position::of_shard(bucket(1), 0));
    let one = crate::store::digest::Fingerprint { rows: 1, ..Default::default() };
    let value = table::encode(&one);
    crate::store::Writer::put(store, Table::Fingerprint, &fingerprint, &value).unwrap();
    cluster.run(1, Job::Sync);
    assert_eq!(cluster.count_rows(1, Table::Object), 2);
    assert_eq!(cluster.count_rows(1, Table::Upload), 0);
}
