use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    id::{NodeId, Position, VersionId},
    store::{Snapshot, map::MapStore},
    table::{
        encode,
        object::{Content, Data, Meta, Parts},
        queue::table_number,
    },
    time::Stamp,
};

const DELAYS: Delays =
    Delays { block: Duration::from_secs(600), tombstone: Duration::from_secs(86_400) };
const AT: Timestamp = Timestamp(1_000_000);
const BUCKET: BucketId = BucketId([5; 16]);

fn version(at: u64) -> VersionId {
    VersionId::new(Stamp(at), [7; 8])
}

fn object_key() -> Vec<u8> {
    key::object(BUCKET, 0, b"key")
}

fn position() -> Position {
    Position::of_shard(BUCKET, 0)
}

fn meta(size: u64) -> Meta {
    Meta { size, ..Meta::default() }
}

fn blocks(size: u64, data: u64) -> Content {
    Content::Blocks(meta(size), Data { data: version(data), block_max: 1 })
}

fn object(at: u64, content: Content) -> Op {
    let inline = matches!(content, Content::Inline(_)).then(|| payload(at));
    let value = encode(&ObjectRow { version: version(at), content });
    Op::Merge { table: Table::Object, key: object_key(), value, inline }
}

fn payload(at: u64) -> Bytes {
    Bytes::from(format!("payload of {at}"))
}

fn row<R: merge::Row>(key: Vec<u8>, row: &R) -> Op {
    Op::Merge { table: R::TABLE, key, value: encode(row), inline: None }
}

fn run(store: &mut MapStore, ops: Vec<Op>) -> Applied {
    match apply(&Batch::new(AT, ops), store, &DELAYS) {
        Ok(Outcome::Applied(applied)) => applied,
        other => panic!("an unguarded batch came to {other:?}"),
    }
}

fn outcome(store: &mut MapStore, guard: Guard) -> Outcome {
    let batch = Batch::new(AT, Vec::new()).guarded(guard);
    apply(&batch, store, &DELAYS).expect("the rows decode")
}

fn refused(store: &mut MapStore, guard: Guard) -> bool {
    outcome(store, guard) == Outcome::Refused { guard: 0 }
}

fn queue(store: &MapStore) -> Vec<(Timestamp, Job)> {
    let entry = |(key, value): (&[u8], &[u8])| {
        let due = key[..8].try_into().expect("eight bytes of due time");
        let job = table::decode(Table::Queue, value).expect("a queued job");
        (Timestamp(u64::from_be_bytes(due)), job)
    };
    store.rows(Table::Queue).map(entry).collect()
}

fn counters(store: &MapStore) -> CounterRow {
    counter(BUCKET, store).expect("the row decodes").unwrap_or_default()
}

fn refs(store: &MapStore, block: Hash) -> Option<u64> {
    let value = store.get(Table::BlockCount, &key::block_count(block)).expect("a map");
    value.map(|value| {
        let row: BlockCountRow = table::decode(Table::BlockCount, &value).expect("a count");
        row.refs
    })
}

#[test]
fn a_small_object_lives_beside_its_row_until_it_is_replaced() {
    let mut store = MapStore::default();
    run(&mut store, vec![object(1, Content::Inline(meta(10)))]);
    assert_eq!(counters(&store), CounterRow { objects: 1, bytes: 10, uploads: 0 });
    run(&mut store, vec![object(2, Content::Inline(meta(4)))]);
    assert_eq!(counters(&store), CounterRow { objects: 1, bytes: 4, uploads: 0 });
    let payloads: Vec<_> = store.rows(Table::Inline).collect();
    assert_eq!(payloads, [(&key::inline(position(), version(2))[..], &payload(2)[..])]);
    assert_eq!(queue(&store), []);
}

#[test]
fn a_tombstone_takes_the_payload_and_queues_its_own_collection() {
    let mut store = MapStore::default();
    run(&mut store, vec![object(1, Content::Inline(meta(10)))]);
    run(&mut store, vec![object(2, Content::Deleted)]);
    assert_eq!(store.rows(Table::Inline).count(), 0);
    assert_eq!(store.rows(Table::Counter).count(), 0, "a row of zeros is no row");
    let value = encode(&ObjectRow { version: version(2), content: Content::Deleted });
    let job =
        Job::Collect { table: table_number(Table::Object), key: object_key(), value, since: None };
    assert_eq!(queue(&store), [(AT.after(DELAYS.tombstone), job)]);
}

#[test]
fn a_row_that_comes_late_loses_and_says_so() {
    let mut store = MapStore::default();
    run(&mut store, vec![object(5, Content::Inline(meta(10)))]);
    let applied = run(&mut store, vec![object(3, Content::Inline(meta(4)))]);
    assert_eq!(applied.superseded_by, Some(Stamp(5)));
    assert_eq!(counters(&store).bytes, 10);
    assert_eq!(store.rows(Table::Inline).count(), 1, "the loser's payload is not kept");
    let applied = run(&mut store, vec![object(5, Content::Inline(meta(10)))]);
    assert_eq!(applied.superseded_by, None, "the same row again is no news");
}

#[test]
fn what_a_loser_had_is_dropped_whichever_comes_first() {
    let winner = || object(9, Content::Inline(meta(1)));
    let parts = Parts { upload: version(3), count: 1, pages: vec![0], completion: None };
    let losers = [
        (
            blocks(10, 4),
            Job::DropData { position: position(), data: version(4), unless: Some(object_key()) },
        ),
        (
            Content::Parts(meta(10), parts),
            Job::DropUpload {
                position: position(),
                upload: version(3),
                unless: Some(object_key()),
            },
        ),
    ];
    for (content, job) in losers {
        let (mut replaced, mut late) = (MapStore::default(), MapStore::default());
        run(&mut replaced, vec![object(5, content.clone()), winner()]);
        run(&mut late, vec![winner(), object(5, content)]);
        assert_eq!(queue(&replaced), [(AT.after(DELAYS.block), job)]);
        assert_eq!(replaced, late);
    }
}

#[test]
fn a_row_replaced_by_one_with_the_same_data_drops_nothing() {
    let mut store = MapStore::default();
    run(&mut store, vec![object(5, blocks(10, 4)), object(6, blocks(10, 4))]);
    assert_eq!(queue(&store), []);
}

#[test]
fn an_upload_is_counted_while_open_and_tidied_or_dropped_when_closed() {
    let open = UploadRow::Open { headers: vec![], checksum: None, initiator: String::new() };
    let key = key::upload(BUCKET, 0, b"key", version(3));
    let position = position();
    let jobs = [
        (Some("e".to_owned()), Job::TidyUpload { position, upload: version(3) }),
        (None, Job::DropUpload { position, upload: version(3), unless: None }),
    ];
    for (etag, job) in jobs {
        let mut store = MapStore::default();
        run(&mut store, vec![row(key.clone(), &open)]);
        assert_eq!(counters(&store).uploads, 1);
        let live = Guard::Live { table: Table::Upload, key: key.clone() };
        assert!(!refused(&mut store, live.clone()));
        let closed = UploadRow::Closed { etag };
        run(&mut store, vec![row(key.clone(), &closed)]);
        run(&mut store, vec![row(key.clone(), &open), row(key.clone(), &closed)]);
        assert_eq!(counters(&store).uploads, 0);
        assert!(refused(&mut store, live));
        let (table, value) = (table_number(Table::Upload), encode(&closed));
        let collect = Job::Collect { table, key: key.clone(), value, since: None };
        assert_eq!(queue(&store), [(AT, job), (AT.after(DELAYS.tombstone), collect)]);
        run(&mut store, vec![Op::Remove { table: Table::Upload, key: key.clone() }]);
        assert_eq!((store.rows(Table::Upload).count(), queue(&store).len()), (0, 2));
    }
}

#[test]
fn of_two_uploads_of_one_part_the_later_stays() {
    let part = |data| PartRow {
        data: version(data),
        size: 1,
        block_max: 1,
        etag: String::new(),
        checksum: None,
    };
    let key = key::part(position(), version(1), 7);
    for order in [[4, 6], [6, 4]] {
        let mut store = MapStore::default();
        run(&mut store, order.map(|data| row(key.clone(), &part(data))).into());
        run(&mut store, vec![row(key.clone(), &part(6))]);
        assert_eq!(store.get(Table::Part, &key), Ok(Some(encode(&part(6)))));
        let dropped = Job::DropPart {
            position: position(),
            upload: version(1),
            data: version(4),
            since: None,
        };
        assert_eq!(queue(&store), [(AT, dropped)]);
    }
}

#[test]
fn an_intent_that_is_done_is_collected_later() {
    let key = key::intent(position(), version(1));
    let mut store = MapStore::default();
    run(&mut store, vec![row(key.clone(), &IntentRow::Writing { boot: 1, node: NodeId([1; 32]) })]);
    assert_eq!(queue(&store), []);
    run(&mut store, vec![row(key.clone(), &IntentRow::Done), row(key.clone(), &IntentRow::Done)]);
    run(&mut store, vec![row(key.clone(), &IntentRow::Writing { boot: 1, node: NodeId([1; 32]) })]);
    let (table, value) = (table_number(Table::Intent), encode(&IntentRow::Done));
    let collect = Job::Collect { table, key, value, since: None };
    assert_eq!(queue(&store), [(AT.after(DELAYS.tombstone), collect)]);
}

#[test]
fn a_block_is_reaped_only_while_nothing_refers_to_it() {
    let block = Hash([9; 32]);
    let reference =
        |data| row(key::block_ref(block, version(data)), &BlockRefRow::Live { owner: None });
    let remove = |data| {
        let key = key::block_ref(block, version(data));
        Op::Remove { table: Table::BlockRef, key }
    };
    let mut store = MapStore::default();
    assert!(refused(&mut store, Guard::Held { block }));
    run(&mut store, vec![reference(1), reference(2), reference(2)]);
    assert_eq!(refs(&store, block), Some(2));
    run(&mut store, vec![remove(1), remove(1)]);
    assert_eq!((refs(&store, block), queue(&store)), (Some(1), vec![]));
    let dropped = row(key::block_ref(block, version(2)), &BlockRefRow::Dropped);
    run(&mut store, vec![dropped, reference(2), remove(2)]);
    assert_eq!(refs(&store, block), Some(0));
    let (table, value) = (table_number(Table::BlockRef), encode(&BlockRefRow::Dropped));
    let collect =
        Job::Collect { table, key: key::block_ref(block, version(2)), value, since: None };
    let reap = (AT.after(DELAYS.block), Job::Reap { block });
    assert_eq!(queue(&store), [reap, (AT.after(DELAYS.tombstone), collect)]);
    assert!(!refused(&mut store, Guard::Held { block }), "the file is still there");

    // Referred to again before its time has come.
    run(&mut store, vec![reference(3)]);
    assert_eq!(run(&mut store, vec![Op::Reap { block }]).reaped, []);
    run(&mut store, vec![remove(3)]);
    assert_eq!(run(&mut store, vec![Op::Reap { block }]).reaped, [block]);
    assert_eq!(refs(&store, block), None);
    assert_eq!(run(&mut store, vec![Op::Reap { block }]).reaped, []);
}

#[test]
fn guards_look_at_the_state_before_the_batch() {
    let mut store = MapStore::default();
    let key = object_key();
    let absent = Guard::Absent { table: Table::Object, key: key.clone() };
    let batch = Batch::new(AT, vec![object(1, Content::Inline(meta(1)))]).guarded(absent.clone());
    assert!(matches!(apply(&batch, &mut store, &DELAYS), Ok(Outcome::Applied(_))));
    let before = store.clone();
    assert_eq!(apply(&batch, &mut store, &DELAYS), Ok(Outcome::Refused { guard: 0 }));
    assert_eq!(store, before, "a refused batch changes nothing");

    let newest = |at| Guard::Newest { key: key.clone(), version: version(at) };
    assert!(refused(&mut store, newest(1)) && !refused(&mut store, newest(2)));
    assert!(refused(&mut store, Guard::Empty { bucket: BUCKET }));
    let value = store.get(Table::Object, &key).expect("a map").expect("the row");
    let unchanged = Guard::Unchanged { table: Table::Object, key: key.clone(), value };
    assert!(!refused(&mut store, unchanged.clone()));

    run(&mut store, vec![object(2, Content::Deleted)]);
    assert!(refused(&mut store, unchanged));
    assert!(!refused(&mut store, absent), "a tombstone is nobody");
    assert!(refused(&mut store, Guard::Live { table: Table::Object, key }));
    assert!(!refused(&mut store, Guard::Empty { bucket: BUCKET }));
}

#[test]
fn batches_that_make_no_sense_are_errors() {
    let merge = |table, key: &[u8], value: Vec<u8>| Op::Merge {
        table,
        key: key.to_vec(),
        value,
        inline: None,
    };
    let bad = [
        merge(Table::Object, &object_key(), vec![]),
        merge(Table::Object, &object_key(), vec![ROW_FROM_THE_FUTURE, 0xa0]),
        merge(
            Table::Object,
            &object_key(),
            encode(&ObjectRow { version: version(1), content: Content::Inline(meta(1)) }),
        ),
        merge(Table::BlockRef, b"short", encode(&BlockRefRow::Live { owner: None })),
        merge(Table::BlockCount, &[0; 32], encode(&BlockCountRow { refs: 1, dropped: None })),
        merge(Table::Counter, &BUCKET.0, encode(&CounterRow::default())),
        merge(Table::Meta, crate::store::FORMAT_KEY, b"mine".to_vec()),
        Op::Remove { table: Table::Counter, key: BUCKET.0.to_vec() },
        Op::Remove { table: Table::Meta, key: crate::store::BOOT_KEY.to_vec() },
    ];
    for op in bad {
        let batch = Batch::new(AT, vec![op]);
        let error = apply(&batch, &mut MapStore::default(), &DELAYS);
        assert!(matches!(error, Err(StoreError::Damaged { .. })), "{batch:?} gave {error:?}");
    }
}

const ROW_FROM_THE_FUTURE: u8 = table::ROW_VERSION + 1;

#[test]
fn counters_that_would_go_below_zero_are_reported() {
    let mut store = MapStore::default();
    run(&mut store, vec![object(1, Content::Inline(meta(1)))]);
    store.delete(Table::Counter, &BUCKET.0).expect("a map");
    let batch = Batch::new(AT, vec![object(2, Content::Deleted)]);
    let error = apply(&batch, &mut store, &DELAYS).expect_err("one object less than none");
    assert!(error.to_string().contains("counter"), "{error}");
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// What every replica must agree on. The queue may differ: it says what this node has yet to do.
fn agreed(store: &MapStore) -> BTreeMap<Table, Rows> {
    let tables = [Table::Object, Table::Inline, Table::Counter, Table::BlockRef, Table::BlockCount];
    let rows = |table| store.rows(table).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    tables.into_iter().map(|table| (table, rows(table))).collect()
}

fn any_op() -> impl Strategy<Value = Op> {
    let content =
        prop_oneof![Just(Content::Deleted), Just(Content::Inline(meta(3))), Just(blocks(5, 1)),];
    let reference =
        prop_oneof![Just(BlockRefRow::Live { owner: None }), Just(BlockRefRow::Dropped)];
    prop_oneof![
        // One content to a version, as in life.
        (1..6_u64, content).prop_map(|(at, content)| {
            let kind = match content {
                Content::Deleted => 0,
                Content::Inline(_) => 1,
                Content::Blocks(..) | Content::Parts(..) => 2,
            };
            object(at * 3 + kind, content)
        }),
        (0..2_u8, 1..3_u64, reference).prop_map(|(hash, data, reference)| {
            row(key::block_ref(Hash([hash; 32]), version(data)), &reference)
        }),
    ]
}

proptest! {
    #[test]
    fn replicas_agree_in_whatever_order_the_rows_come(
        (ops, shuffled) in vec(any_op(), 1..12).prop_flat_map(|ops| {
            (Just(ops.clone()), Just(ops).prop_shuffle())
        }),
        again in 0..12_usize,
    ) {
        let (mut a, mut b) = (MapStore::default(), MapStore::default());
        run(&mut a, ops);
        let again: Vec<_> = shuffled.iter().take(again).cloned().collect();
        run(&mut b, shuffled);
        run(&mut b, again);
        let (mut a, mut b) = (agreed(&a), agreed(&b));
        // A block that lost all its references is counted at zero where it ever was live, and not at all elsewhere.
        for side in [&mut a, &mut b] {
            let counted = |value: &[u8]| {
                let row: BlockCountRow = table::decode(Table::BlockCount, value).expect("a count");
                row.refs
            };
            side.entry(Table::BlockCount).or_default().retain(|(_, value)| counted(value) > 0);
        }
        prop_assert_eq!(a, b);
    }
}

/// An upload was completed or aborted while a part of it was on its way, and whoever knew that has forgotten its row: only the intent
/// is left.
#[test]
fn the_data_of_a_part_that_comes_too_late_is_dropped() {
    for end in [IntentRow::Done, IntentRow::Dropped] {
        let (upload, data) = (version(3), version(5));
        let mut store = MapStore::default();
        run(&mut store, vec![row(key::intent(position(), upload), &end)]);
        let queued = store.count(Table::Queue).unwrap();
        let part = PartRow { data, size: 1, block_max: 1, etag: String::new(), checksum: None };
        let part = row(key::part(position(), upload, 1), &part);
        run(&mut store, vec![part.clone()]);
        assert_eq!(store.count(Table::Queue), Ok(queued), "a replica brings it again");
        run(&mut store, vec![part, row(key::intent(position(), data), &IntentRow::Done)]);
        assert_eq!(store.count(Table::Part), Ok(0));
        let job = Job::DropPart { position: position(), upload, data, since: None };
        assert!(queue(&store).contains(&(AT, job)), "after {end:?}");
    }
}

/// The one that is there may be under way, and have looked before what is to be seen now.
#[test]
fn a_job_that_is_queued_again_at_once_runs_again() {
    let mut store = MapStore::default();
    let job = Job::Reap { block: Hash([1; 32]) };
    for _ in 0..2 {
        run(&mut store, vec![Op::Enqueue { due: AT, job: job.clone() }]);
    }
    let rows: Vec<_> = store.rows(Table::Queue).map(|(_, value)| value.to_vec()).collect();
    assert_eq!(rows, [table::encode(&job), table::encode(&job)]);
}
