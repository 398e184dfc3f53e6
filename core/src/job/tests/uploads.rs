//! How uploads end among several replicas, when what says so comes late, alone, or not at all.

use super::{
    replicas::{Replicas, layout, node},
    *,
};
use crate::{
    id::BucketId,
    table::{
        block::BlockListRow,
        merge::Row,
        upload::{ManifestPart, ManifestRow, PartRow, UploadRow},
    },
};

const BUCKET: BucketId = BucketId([4; 16]);
const UPLOAD: u64 = 3;

fn merge<R: Row>(key: Vec<u8>, row: &R) -> Op {
    Op::Merge { table: R::TABLE, key, value: table::encode(row), inline: None }
}

fn position() -> Position {
    Position::of_shard(BUCKET, 0)
}

fn part(number: u64) -> PartRow {
    PartRow { data: id(number), size: 1, block_max: 1, etag: String::new(), checksum: None }
}

/// The part of that number, of one block, whose data has the same number.
fn sent(number: u64) -> Vec<Op> {
    let hash = Hash([u8::try_from(number).unwrap(); 32]);
    vec![
        merge(key::block_list(position(), id(number), 0), &BlockListRow { block: hash, len: 1 }),
        merge(key::block_ref(hash, id(number)), &BlockRefRow::Live { owner: Some(position()) }),
        merge(key::part(position(), id(UPLOAD), u16::try_from(number).unwrap()), &part(number)),
    ]
}

fn closed(etag: Option<&str>) -> Op {
    let row = UploadRow::Closed { etag: etag.map(str::to_owned) };
    merge(key::upload(BUCKET, 0, b"key", id(UPLOAD)), &row)
}

fn manifest(number: u64) -> Op {
    let part = ManifestPart { number: 1, offset: 0, part: part(number) };
    merge(
        key::manifest(position(), id(UPLOAD), 0),
        &ManifestRow { parts: vec![part], completion: None },
    )
}

fn done() -> Op {
    intent_row(position(), id(UPLOAD), IntentRow::Done)
}

fn three() -> Replicas {
    Replicas::new(vec![layout(1, &[1, 2, 3])])
}

fn everywhere(cluster: &mut Replicas, ops: &[Op]) {
    for at in 1..=3 {
        cluster.apply(at, ops.to_vec());
    }
}

fn is_empty(cluster: &Replicas) {
    for at in 1..=3 {
        for table in crate::store::digest::SHARDED {
            assert_eq!(cluster.count_rows(at, table), 0, "{table:?} of {at}");
        }
        assert_eq!(cluster.count_rows(at, Table::Queue), 0, "queue of {at}");
    }
}

#[test]
fn a_completion_that_is_heard_of_when_all_else_is_forgotten_ends() {
    let mut cluster = three();
    cluster.apply(2, vec![closed(Some("e"))]);
    cluster.settle();
    is_empty(&cluster);
}

#[test]
fn a_completion_whose_object_is_lost_drops_its_parts() {
    let mut cluster = three();
    everywhere(&mut cluster, &sent(5));
    // The only one that had the manifest has lost its disk; what it had told the others is all that is left.
    everywhere(&mut cluster, &[closed(Some("e")), done()]);
    cluster.settle();
    is_empty(&cluster);
}

#[test]
fn a_part_sent_again_goes_when_nothing_is_known_of_its_object() {
    let mut cluster = three();
    everywhere(&mut cluster, &sent(5));
    let again = merge(key::part(position(), id(UPLOAD), 5), &part(6));
    everywhere(&mut cluster, &[again, closed(Some("e")), done()]);
    cluster.settle();
    is_empty(&cluster);
}

#[test]
fn parts_that_only_one_replica_knows_to_be_named_are_kept() {
    let mut cluster = three();
    everywhere(&mut cluster, &[sent(5), sent(6)].concat());
    // Completed on one replica alone, which does not answer at first. The others have heard that it is closed.
    cluster.apply(3, vec![manifest(6), closed(Some("e")), done()]);
    everywhere(&mut cluster, &[closed(Some("e"))]);
    cluster.down.insert(node(3));
    for at in [1, 2] {
        cluster.run(at, Job::Queue);
        assert_eq!(cluster.count_rows(at, Table::Part), 2);
    }
    cluster.down.clear();
    cluster.settle();
    let kept = key::block_list(position(), id(6), 0);
    for at in 1..=3 {
        assert_eq!(cluster.count_rows(at, Table::Part), 0);
        assert_eq!(cluster.count_rows(at, Table::BlockList), 1);
        assert!(cluster.stores[&node(at)].get(Table::BlockList, &kept).unwrap().is_some());
    }
}
