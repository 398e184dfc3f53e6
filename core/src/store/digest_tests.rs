use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    id::{BucketId, Hash, NodeId},
    store::{
        Batch, Op, Outcome,
        apply::{Delays, apply},
        map::MapStore,
    },
    table::{
        access::{AliasRow, Lww},
        block::BlockListRow,
        merge::Row,
        object::Meta,
        upload::PartRow,
    },
    time::{Stamp, Timestamp},
};

const DELAYS: Delays = Delays {
    block: std::time::Duration::from_secs(600),
    tombstone: std::time::Duration::from_secs(86_400),
};

fn id(number: u64) -> VersionId {
    VersionId::new(Stamp(number), [1; 8])
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![Just(Position(0)), Just(Position(0x1234)), Just(Position(0xffff))]
}

fn merge<R: Row>(key: Vec<u8>, row: &R) -> Op {
    Op::Merge { table: R::TABLE, key, value: table::encode(row), inline: None }
}

fn object_key(name: u8) -> Vec<u8> {
    key::object(BucketId([2; 16]), 0, &[name])
}

fn object(name: u8, at: u64) -> Op {
    let live = at.is_multiple_of(2);
    let content = if live { Content::Inline(Meta::default()) } else { Content::Deleted };
    let version = VersionId::new(Stamp(at), [name; 8]);
    let value = table::encode(&ObjectRow { version, content });
    let inline = live.then(|| "x".into());
    Op::Merge { table: Table::Object, key: object_key(name), value, inline }
}

fn intent(row: u8) -> IntentRow {
    match row {
        0 => IntentRow::Writing { boot: 1, node: NodeId([1; 32]) },
        1 => IntentRow::Abandoned,
        2 => IntentRow::Done,
        _ => IntentRow::Dropped,
    }
}

/// Rows of all kinds come, are replaced, collected, removed and handed over.
fn any_op() -> impl Strategy<Value = Op> {
    let reference = |hash: u8, data: u64| key::block_ref(Hash([hash; 32]), id(data));
    let line = |position, data, offset| key::block_list(position, id(data), offset);
    let tombstone = table::encode(&BlockRefRow::Dropped);
    prop_oneof![
        4 => (0..3_u8, 0..4_u64).prop_map(|(name, at)| object(name, at)),
        1 => (0..3_u8).prop_map(|name| Op::Remove { table: Table::Object, key: object_key(name) }),
        1 => (0..3_u8).prop_map(|name| Op::Forget { table: Table::Object, key: object_key(name) }),
        2 => (position(), 0..2_u64, 0..4_u8)
            .prop_map(|(position, data, row)| merge(key::intent(position, id(data)), &intent(row))),
        1 => (position(), 0..2_u64).prop_map(|(position, data)| {
            let (key, value) = (key::intent(position, id(data)), table::encode(&IntentRow::Dropped));
            Op::Collect { table: Table::Intent, key, value }
        }),
        3 => (position(), 0..2_u64, 0..3_u64).prop_map(move |(position, data, offset)| {
            merge(line(position, data, offset), &BlockListRow { block: Hash([7; 32]), len: 1 })
        }),
        1 => (position(), 0..2_u64, 0..3_u64).prop_map(move |(position, data, offset)| {
            Op::Remove { table: Table::BlockList, key: line(position, data, offset) }
        }),
        1 => (position(), 0..2_u64, 0..3_u64).prop_map(|(position, upload, data)| {
            let row = PartRow {
                data: id(data), size: 1, block_max: 1, etag: String::new(), checksum: None,
            };
            merge(key::part(position, id(upload), 1), &row)
        }),
        2 => (0..2_u8, 0..2_u64, any::<bool>()).prop_map(move |(hash, data, live)| {
            let live = live.then_some(BlockRefRow::Live { owner: None });
            merge(reference(hash, data), &live.unwrap_or(BlockRefRow::Dropped))
        }),
        1 => (0..2_u8, 0..2_u64).prop_map(move |(hash, data)| Op::Collect {
            table: Table::BlockRef,
            key: reference(hash, data),
            value: tombstone.clone(),
        }),
        1 => (0..3_u64).prop_map(|at| {
            merge(b"name".to_vec(), &AliasRow { bucket: Lww { at: Stamp(at), value: None } })
        }),
    ]
}

/// The fingerprint of everything in a table at a position, from the rows themselves.
fn counted(store: &MapStore, wanted: Table, at: Position) -> Fingerprint {
    let mut sum = Fingerprint::default();
    for (row_key, value) in store.rows(wanted) {
        if counted_at(wanted, row_key) == Ok(Some(at)) {
            sum.add(RowHash::of(row_key, value));
        }
    }
    sum
}

proptest! {
    #[test]
    fn fingerprints_always_equal_a_recount(batches in vec(vec(any_op(), 1..6), 1..30)) {
        let mut store = MapStore::default();
        for ops in batches {
            let outcome = apply(&Batch::new(Timestamp(1), ops), &mut store, &DELAYS);
            prop_assert!(matches!(outcome, Ok(Outcome::Applied(_))), "{:?}", outcome);
        }
        let mut expected = std::collections::BTreeMap::new();
        for table in SHARDED.into_iter().chain(FULL_COPY) {
            for (row_key, _) in store.rows(table) {
                let at = counted_at(table, row_key).unwrap().unwrap();
                let key = fingerprint_key(table, at).to_vec();
                expected.insert(key, table::encode(&counted(&store, table, at)));
            }
        }
        let stored = store.rows(Table::Fingerprint);
        let stored = stored.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(expected, stored, "and none for a position without rows");
    }

    #[test]
    fn ranges_add_up_to_the_whole(names in vec(any::<[u8; 2]>(), 0..60), rows in 1..20_u64) {
        let mut store = MapStore::default();
        for name in &names {
            let key = key::object(BucketId([2; 16]), 0, name);
            crate::store::Writer::put(&mut store, Table::Upload, &key, name).unwrap();
        }
        let whole = (RowKey::new(), None);
        let pieces = cut(&store, Table::Upload, &whole, rows).unwrap();
        let mut from = RowKey::new();
        let mut sum = Fingerprint::default();
        for (until, piece) in &pieces {
            prop_assert!(piece.rows <= rows);
            prop_assert_eq!(recount(&store, Table::Upload, &(from, until.clone())), Ok(*piece));
            sum = sum.and(*piece);
            from = until.clone().unwrap_or_default();
        }
        prop_assert_eq!(recount(&store, Table::Upload, &whole), Ok(sum));
        prop_assert_eq!(pieces.last().map(|(until, _)| until.clone()), Some(None));
    }
}

#[test]
fn keys_and_values_do_not_run_into_each_other() {
    assert_ne!(RowHash::of(b"ab", b"c"), RowHash::of(b"a", b"bc"));
}
