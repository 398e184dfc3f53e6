//! What is deleted among several replicas stays deleted, and is forgotten once all of them know.

use super::{
    replicas::{Replicas, layout, node},
    *,
};
use crate::{
    id::BucketId,
    table::{
        block::BlockListRow,
        merge::Row,
        object::{Content, Data, Meta, ObjectRow, Parts},
        queue::Job as Queued,
        upload::{ManifestPart, ManifestRow, PartRow, UploadRow},
    },
};

const BUCKET: BucketId = BucketId([4; 16]);

fn merge<R: Row>(key: Vec<u8>, row: &R) -> Op {
    Op::Merge { table: R::TABLE, key, value: table::encode(row), inline: None }
}

fn position() -> Position {
    Position::of_shard(BUCKET, 0)
}

fn object(at: u64, content: Content) -> Op {
    let key = key::object(BUCKET, 0, b"key");
    merge(key, &ObjectRow { version: id(at), content })
}

/// Two blocks of data, as a writer leaves them.
fn data(number: u64) -> Vec<Op> {
    let mut ops = Vec::new();
    for (offset, hash) in [[0x12; 32], [0xf0; 32]].into_iter().enumerate() {
        let row = BlockListRow { block: Hash(hash), len: 1 };
        ops.push(merge(key::block_list(position(), id(number), offset as u64), &row));
        let row = BlockRefRow::Live { owner: Some(position()) };
        ops.push(merge(key::block_ref(Hash(hash), id(number)), &row));
    }
    ops
}

fn blocks(number: u64) -> Content {
    let meta = Meta { size: 2, ..Meta::default() };
    Content::Blocks(meta, Data { data: id(number), block_max: 1 })
}

fn three() -> Replicas {
    Replicas::new(vec![layout(1, &[1, 2, 3])])
}

impl Replicas {
    fn everywhere(&mut self, ops: Vec<Op>) {
        for at in 1..=3 {
            self.apply(at, ops.clone());
        }
    }

    /// Asserts that every replica has so many rows.
    fn has(&self, table: Table, rows: usize) {
        for at in 1..=3 {
            assert_eq!(self.count_rows(at, table), rows, "{table:?} of {at}");
        }
    }

    fn is_empty(&self) {
        for table in crate::store::digest::SHARDED {
            self.has(table, 0);
        }
        self.has(Table::Fingerprint, 0);
        self.has(Table::Queue, 0);
    }
}

#[test]
fn deleted_data_goes_everywhere_and_leaves_nothing() {
    let mut cluster = three();
    cluster.everywhere([data(5), vec![object(1, blocks(5))]].concat());
    cluster.everywhere(vec![object(2, Content::Deleted)]);
    cluster.settle();
    cluster.is_empty();
}

#[test]
fn a_replica_that_was_away_brings_nothing_back() {
    let mut cluster = three();
    cluster.everywhere([data(5), vec![object(1, blocks(5))]].concat());
    cluster.down.insert(node(3));
    for at in [1, 2] {
        cluster.apply(at, vec![object(2, Content::Deleted)]);
    }
    // For weeks.
    for _ in 0..4 {
        cluster.settle();
    }
    for at in [1, 2] {
        assert_eq!(cluster.count_rows(at, Table::BlockList), 0);
        assert_eq!(cluster.count_rows(at, Table::Object), 1, "the tombstone waits");
        assert_eq!(cluster.count_rows(at, Table::BlockRef), 2, "these too");
        assert_eq!(cluster.count_rows(at, Table::Intent), 1);
    }
    cluster.down.clear();
    cluster.sync();
    let value = cluster.stores[&node(3)].get(Table::Object, &key::object(BUCKET, 0, b"key"));
    let row: ObjectRow = table::decode(Table::Object, &value.unwrap().unwrap()).unwrap();
    assert_eq!(row.content, Content::Deleted);
    cluster.settle();
    cluster.is_empty();
}

/// A node that was away comes back. Another has just read its old row when that one hears of the tombstone, so that everybody has it,
/// and it is forgotten everywhere: then the old row, which is still on its way, would come back to life.
#[test]
fn what_a_peer_had_a_moment_ago_does_not_outlive_its_tombstone() {
    let mut cluster = three();
    cluster.everywhere(vec![object(1, blocks(5))]);
    for at in [1, 2] {
        cluster.apply(at, vec![object(2, Content::Deleted)]);
    }
    cluster.pass(LONG);
    cluster.before_merge = Some(Box::new(|cluster| {
        assert!(matches!(cluster.run(3, Job::Sync), Verdict::Synced { .. }));
        assert_eq!(cluster.run(1, Job::Queue), Verdict::Done);
        cluster.has(Table::Object, 0);
    }));
    assert!(matches!(cluster.run(2, Job::Sync), Verdict::Synced { .. }));
    assert!(cluster.before_merge.is_none(), "the old row was on its way");
    cluster.has(Table::Object, 0);
    cluster.settle();
    cluster.is_empty();
}

#[test]
fn a_tombstone_that_one_replica_lacks_is_kept() {
    let mut cluster = three();
    for at in [1, 2] {
        cluster.apply(at, vec![object(2, Content::Deleted)]);
    }
    cluster.pass(LONG);
    for at in 1..=3 {
        assert_eq!(cluster.run(at, Job::Queue), Verdict::Done);
    }
    assert_eq!([1, 2, 3].map(|at| cluster.count_rows(at, Table::Object)), [1, 1, 0]);
    cluster.sync();
    cluster.has(Table::Object, 1);
}

#[test]
fn a_tombstone_waits_about_as_long_as_a_replica_was_away() {
    for away in [1, 10, 1_000] {
        let mut cluster = three();
        for at in [1, 2] {
            cluster.apply(at, vec![object(2, Content::Deleted)]);
        }
        cluster.pass(LONG);
        cluster.down.insert(node(3));
        let queued = |cluster: &Replicas| {
            cluster.stores[&node(1)].rows(Table::Queue).next().map(|(key, _)| key.to_vec())
        };
        let minutes = |cluster: &mut Replicas, minutes: u64| {
            let mut looks = 0;
            for _ in 0..minutes {
                let before = queued(cluster);
                cluster.pass(Duration::from_secs(60));
                cluster.run(1, Job::Queue);
                looks += u64::from(queued(cluster) != before);
            }
            looks
        };
        let looks = minutes(&mut cluster, away);
        assert!(looks <= 20, "{looks} looks in {away} minutes");
        assert_eq!(cluster.count_rows(1, Table::Object), 1);
        cluster.down.clear();
        cluster.sync();
        minutes(&mut cluster, away / 2 + 1);
        assert_eq!(cluster.count_rows(1, Table::Object), 0, "away for {away} minutes");
    }
}

#[test]
fn work_put_off_until_all_is_forgotten_makes_no_new_tombstone() {
    let unless = Some(key::object(BUCKET, 0, b"key"));
    let (position, upload) = (position(), id(3));
    for late in [
        Queued::DropData { position, data: id(5), unless },
        Queued::DropData { position, data: id(5), unless: None },
        Queued::DropPart { position, upload, data: id(5), since: None },
        Queued::DropUpload { position, upload, unless: Some(key::object(BUCKET, 0, b"key")) },
    ] {
        let mut cluster = three();
        cluster.everywhere([data(5), vec![object(1, blocks(5))]].concat());
        cluster.everywhere(vec![object(2, Content::Deleted)]);
        cluster.settle();
        cluster.apply(2, vec![Op::Enqueue { due: Timestamp(0), job: late }]);
        assert_eq!(cluster.run(2, Job::Queue), Verdict::Done);
        cluster.is_empty();
    }
}

/// Who knows alone what stands in its place tells the others first: they would go on naming data that is not there any more.
#[test]
fn data_is_dropped_when_others_know_what_stands_in_its_place() {
    let mut cluster = three();
    cluster.everywhere([data(5), vec![object(1, blocks(5))]].concat());
    cluster.apply(2, vec![object(2, Content::Deleted)]);
    cluster.pass(Duration::from_secs(3600));
    assert_eq!(cluster.run(2, Job::Queue), Verdict::Done);
    let row = |at: u8| {
        let stored = cluster.stores[&node(at)].get(Table::Object, &key::object(BUCKET, 0, b"key"));
        stored.unwrap()
    };
    assert!(row(1) == row(2) || row(3) == row(2));
}

/// An upload was given up while the layout changed from several replicas to one: what is left of it goes with its intent.
#[test]
fn what_several_gave_up_one_alone_drops() {
    let mut cluster = Replicas::new(vec![layout(1, &[1])]);
    let manifest = completed().swap_remove(0);
    cluster.apply(1, [parts(), vec![manifest]].concat());
    cluster.apply(1, vec![intent_row(position(), id(3), IntentRow::Dropped)]);
    cluster.settle();
    for table in crate::store::digest::SHARDED {
        assert_eq!(cluster.count_rows(1, table), 0, "{table:?}");
    }
}

#[test]
fn lists_of_dropped_data_stay_away_whoever_brings_them() {
    let mut cluster = three();
    cluster.apply(1, data(5));
    for at in [2, 3] {
        cluster.apply(at, vec![intent_row(position(), id(5), IntentRow::Dropped)]);
    }
    assert_eq!(cluster.run(2, Job::Sync), Verdict::Synced { version: 1 });
    assert_eq!(cluster.count_rows(2, Table::BlockList), 0);
    cluster.settle();
    cluster.is_empty();
}

#[test]
fn data_that_is_named_again_is_kept() {
    let mut cluster = three();
    cluster.everywhere([data(5), vec![object(1, blocks(5))]].concat());
    // Somebody came in between, and the writer went round again.
    cluster.everywhere(vec![object(2, Content::Deleted)]);
    cluster.everywhere(vec![object(3, blocks(5))]);
    cluster.settle();
    cluster.has(Table::Object, 1);
    cluster.has(Table::BlockList, 2);
    cluster.has(Table::BlockRef, 2);
    cluster.has(Table::Queue, 0);
}

fn part(number: u64) -> PartRow {
    PartRow { data: id(number), size: 2, block_max: 1, etag: String::new(), checksum: None }
}

/// An upload of two parts, of which the object is made of the first.
fn completed() -> Vec<Op> {
    let named = ManifestPart { number: 1, offset: 0, part: part(5) };
    let parts = Parts { upload: id(3), count: 1, pages: vec![0], completion: None };
    let meta = Meta { size: 2, ..Meta::default() };
    vec![
        merge(
            key::manifest(position(), id(3), 0),
            &ManifestRow { parts: vec![named], completion: None },
        ),
        object(9, Content::Parts(meta, parts)),
        merge(key::upload(BUCKET, 0, b"key", id(3)), &UploadRow::Closed { etag: Some("e".into()) }),
    ]
}

fn parts() -> Vec<Op> {
    let row = |number, of| merge(key::part(position(), id(3), number), &part(of));
    [data(5), data(6), vec![row(1, 5), row(2, 6)]].concat()
}

/// A deletion reached a node that was about to leave, and not the one that has taken its place: it was never acknowledged. What the first
/// has queued for it is not done to what the second has.
#[test]
fn a_former_holder_drops_nothing_of_the_only_one() {
    for late in [object(10, Content::Deleted), completed().pop().expect("a closed upload")] {
        let mut cluster = Replicas::new(vec![layout(1, &[1]), layout(2, &[2])]);
        let is_deletion = late != completed().pop().expect("a closed upload");
        let there = if is_deletion { [parts(), completed()].concat() } else { parts() };
        for at in [1, 2] {
            cluster.apply(at, there.clone());
        }
        cluster.apply(1, vec![late]);
        cluster.layouts = vec![layout(2, &[2])];
        cluster.pass(LONG);
        let rows = cluster.rows_of(2);
        cluster.run(1, Job::Queue);
        let after = cluster.rows_of(2);
        for table in [Table::Object, Table::Part, Table::Manifest, Table::BlockList] {
            assert_eq!(after[&table], rows[&table], "{table:?}");
        }
    }
}

/// Before it has let go of the rows of what is no longer its, it is given that back.
#[test]
fn a_position_that_comes_back_is_tidied() {
    let mut cluster = three();
    cluster.everywhere(parts());
    cluster.everywhere(completed());
    cluster.layouts = vec![layout(2, &[1, 2])];
    for at in 1..=3 {
        assert_eq!(cluster.run(at, Job::Queue), Verdict::Done);
    }
    assert_eq!([1, 2, 3].map(|at| cluster.count_rows(at, Table::Part)), [0, 0, 2]);
    cluster.layouts = vec![layout(3, &[1, 2, 3])];
    cluster.settle();
    cluster.has(Table::Part, 0);
    cluster.has(Table::BlockList, 2);
}

#[test]
fn a_completed_upload_keeps_what_it_names_on_every_replica() {
    let mut cluster = three();
    cluster.everywhere(parts());
    cluster.everywhere(completed());
    cluster.settle();
    cluster.has(Table::Part, 0);
    cluster.has(Table::Manifest, 1);
    cluster.has(Table::BlockList, 2);
    cluster.has(Table::BlockRef, 2);
    cluster.has(Table::Intent, 0);
    cluster.has(Table::Queue, 0);
    assert_eq!(cluster.rows_of(1), cluster.rows_of(2));

    cluster.everywhere(vec![object(10, Content::Deleted)]);
    cluster.settle();
    cluster.is_empty();
}

#[test]
fn a_replica_that_does_not_know_the_manifest_drops_no_part() {
    let mut cluster = three();
    cluster.everywhere(parts());
    // It has heard that the upload is closed, from one that is away now, and of nothing else.
    cluster.apply(1, completed().split_off(2));
    cluster.down.insert(node(3));
    cluster.run(1, Job::Queue);
    cluster.run(2, Job::Queue);
    assert_eq!(cluster.count_rows(1, Table::Part), 2);
    assert_eq!(cluster.count_rows(1, Table::Intent), 0);
    cluster.down.clear();
    cluster.apply(3, completed());
    cluster.settle();
    cluster.has(Table::BlockList, 2);
    cluster.has(Table::Part, 0);
}

#[test]
fn an_aborted_upload_goes_everywhere() {
    let mut cluster = three();
    cluster.everywhere(parts());
    let closed = UploadRow::Closed { etag: None };
    cluster.apply(2, vec![merge(key::upload(BUCKET, 0, b"key", id(3)), &closed)]);
    cluster.settle();
    cluster.is_empty();
}

#[test]
fn an_upload_that_is_aborted_here_and_completed_there_is_complete() {
    let mut cluster = three();
    cluster.everywhere(parts());
    // Two of three have completed it; the third has heard of an abort first, and of nothing else.
    let closed = UploadRow::Closed { etag: None };
    cluster.apply(1, vec![merge(key::upload(BUCKET, 0, b"key", id(3)), &closed)]);
    for at in [2, 3] {
        let done = intent_row(position(), id(3), IntentRow::Done);
        cluster.apply(at, [completed(), vec![done]].concat());
    }
    cluster.run(1, Job::Queue);
    assert_eq!(cluster.count_rows(1, Table::BlockList), 4, "nothing is dropped on its word");
    cluster.settle();
    cluster.has(Table::Object, 1);
    cluster.has(Table::Manifest, 1);
    cluster.has(Table::BlockList, 2);
    cluster.has(Table::Part, 0);
    cluster.has(Table::Queue, 0);
}

#[test]
fn an_abort_waits_for_whoever_may_know_of_a_completion() {
    let mut cluster = three();
    cluster.everywhere(parts());
    let closed = UploadRow::Closed { etag: None };
    cluster.apply(1, vec![merge(key::upload(BUCKET, 0, b"key", id(3)), &closed)]);
    let done = intent_row(position(), id(3), IntentRow::Done);
    cluster.apply(3, [completed(), vec![done]].concat());
    cluster.down.insert(node(3));
    cluster.run(1, Job::Queue);
    assert_eq!(cluster.count_rows(1, Table::BlockList), 4);
    // Meanwhile nobody else may complete it.
    let wanted = crate::store::Guard::Wanted { position: position(), data: id(3) };
    let batch = Batch::new(Timestamp(0), completed()).guarded(wanted);
    let outcome = apply(&batch, cluster.stores.get_mut(&node(2)).unwrap(), &DELAYS);
    assert_eq!(outcome, Ok(Outcome::Refused { guard: 0 }));
    cluster.down.clear();
    cluster.settle();
    cluster.has(Table::Object, 1);
    cluster.has(Table::BlockList, 2);
}

/// A part that is sent again replaces the first; whether the object is made of the first is up to the completion.
fn part_again(cluster: &mut Replicas) {
    cluster.everywhere(parts());
    let again = merge(key::part(position(), id(3), 1), &part(7));
    cluster.everywhere([data(7), vec![again]].concat());
    cluster.pass(LONG);
    for at in 1..=3 {
        cluster.run(at, Job::Queue);
    }
    cluster.has(Table::BlockList, 6);
}

#[test]
fn a_part_replaced_while_its_upload_is_completed_is_kept_if_it_is_named() {
    let mut cluster = three();
    part_again(&mut cluster);
    cluster.everywhere(completed());
    cluster.settle();
    cluster.has(Table::BlockList, 2);
    let list = key::block_list(position(), id(5), 0);
    assert!(cluster.stores[&node(1)].get(Table::BlockList, &list).unwrap().is_some());
    cluster.has(Table::Queue, 0);
}

#[test]
fn a_replaced_part_goes_with_its_upload() {
    let mut cluster = three();
    part_again(&mut cluster);
    let closed = UploadRow::Closed { etag: None };
    cluster.apply(2, vec![merge(key::upload(BUCKET, 0, b"key", id(3)), &closed)]);
    cluster.settle();
    cluster.is_empty();
}

fn writing(boot: u64) -> Op {
    intent_row(position(), id(5), IntentRow::Writing { boot, node: node(1) })
}

#[test]
fn what_an_earlier_run_of_a_node_left_is_dropped_everywhere() {
    let mut cluster = three();
    cluster.everywhere([vec![writing(1)], data(5)].concat());
    cluster.boot = 2;
    assert_eq!(cluster.run(1, Job::Intents), Verdict::Done);
    cluster.settle();
    cluster.is_empty();
}

#[test]
fn data_that_one_replica_knows_to_be_named_is_kept() {
    let mut cluster = three();
    cluster.everywhere([vec![writing(1)], data(5)].concat());
    let named = vec![intent_row(position(), id(5), IntentRow::Done), object(1, blocks(5))];
    cluster.apply(3, named);
    cluster.boot = 2;
    cluster.down.insert(node(3));
    assert_eq!(cluster.run(1, Job::Intents), Verdict::Failed, "all have to say");
    cluster.down.clear();
    assert_eq!(cluster.run(1, Job::Intents), Verdict::Done);
    cluster.settle();
    cluster.has(Table::BlockList, 2);
    cluster.has(Table::Object, 1);
    cluster.has(Table::Intent, 0);
}

#[test]
fn an_abandoned_writer_comes_too_late() {
    let mut cluster = three();
    cluster.everywhere([vec![writing(1)], data(5)].concat());
    cluster.boot = 2;
    cluster.down.insert(node(3));
    cluster.run(1, Job::Intents);
    let ops = vec![intent_row(position(), id(5), IntentRow::Done), object(1, blocks(5))];
    let wanted = crate::store::Guard::Wanted { position: position(), data: id(5) };
    let batch = Batch::new(Timestamp(0), ops).guarded(wanted);
    let mut outcome = |at| apply(&batch, cluster.stores.get_mut(&node(at)).unwrap(), &DELAYS);
    assert_eq!(outcome(1), Ok(Outcome::Refused { guard: 0 }));
    assert_eq!(outcome(2), Ok(Outcome::Refused { guard: 0 }));
    assert!(matches!(outcome(3), Ok(Outcome::Applied(_))), "it has not heard");
}
