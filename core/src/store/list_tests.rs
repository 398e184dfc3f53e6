use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};

use super::*;
use crate::{
    id::BucketId,
    store::{Answer, Read, Writer, map::MapStore, read},
    table::{
        encode,
        object::{Content, Meta, ObjectRow},
    },
    time::Stamp,
};

const BUCKET: BucketId = BucketId([5; 16]);

fn row(live: bool) -> Vec<u8> {
    let content = if live { Content::Inline(Meta::default()) } else { Content::Deleted };
    encode(&ObjectRow { version: VersionId::new(Stamp(1), [0; 8]), content })
}

fn upload_row(open: bool) -> Vec<u8> {
    encode(&if open {
        UploadRow::Open { headers: Vec::new(), checksum: None, initiator: String::new() }
    } else {
        UploadRow::Closed { etag: None }
    })
}

/// A key and, among uploads, an id; and whether it is live.
type Rows = BTreeMap<(Vec<u8>, Option<VersionId>), bool>;

/// `rows` in the shards of a bucket, with other buckets' rows around them.
fn store(table: Table, shards: u16, rows: &Rows) -> MapStore {
    let mut store = MapStore::default();
    for bucket in [BucketId([4; 16]), BUCKET, BucketId([6; 16])] {
        for ((key, upload), live) in rows {
            let shard = key::shard_of(key, shards);
            let (row_key, value) = match upload {
                Some(upload) => (key::upload(bucket, shard, key, *upload), upload_row(*live)),
                None => (key::object(bucket, shard, key), row(*live)),
            };
            store.put(table, &row_key, &value).expect("a map takes everything");
        }
    }
    store
}

/// What a listing is, said in the plainest way.
fn naive(plan: &List, rows: &Rows) -> Listing {
    let mut entries: Vec<Entry> = Vec::new();
    for ((key, upload), live) in rows {
        if !live || !key.starts_with(&plan.prefix) {
            continue;
        }
        let rolled = |key: &[u8]| {
            let rest = &key[plan.prefix.len()..];
            let delimiter = &plan.delimiter[..];
            let ends = (0..=rest.len()).find(|at| rest[*at..].starts_with(delimiter));
            let at = ends.filter(|_| !delimiter.is_empty())?;
            Some(key[..plan.prefix.len() + at + delimiter.len()].to_vec())
        };
        let wanted = match &plan.from {
            From::Start => true,
            From::After(after) => {
                let past = after.starts_with(&plan.prefix)
                    && rolled(after).as_ref() == Some(after)
                    && key.starts_with(after);
                key > after && !past
            }
            From::AfterUpload(after, id) => (key, *upload) > (after, Some(*id)),
        };
        if !wanted {
            continue;
        }
        let entry = match rolled(key) {
            Some(prefix) => Entry::CommonPrefix { prefix, witnesses: Vec::new() },
            None => {
                let value = if upload.is_some() { upload_row(true) } else { row(true) };
                Entry::Row { key: key.clone(), upload: *upload, value }
            }
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    let truncated = entries.len() > plan.limit && plan.limit > 0;
    entries.truncate(plan.limit);
    Listing { entries, truncated }
}

fn run(plan: &List, store: &MapStore) -> Listing {
    match read::read(&Read::List(plan.clone()), store) {
        Ok(Answer::Listing(listing)) => listing,
        other => panic!("a listing was asked for, and this came: {other:?}"),
    }
}

/// Keys full of the bytes that matter: the delimiter, its neighbours, and both ends of the range.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop_oneof![Just(b'a'), Just(b'/')],
        1 => prop_oneof![Just(0), Just(b'.'), Just(b'0'), Just(0xff)],
    ];
    vec(byte, 1..6)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => Just(Vec::new()), 2 => key().prop_map(|mut key| {
        key.truncate(2);
        key
    })]
}

fn delimiter() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(b"/".to_vec()), Just(b"a/".to_vec()), Just(vec![0xff])]
}

fn id() -> impl Strategy<Value = VersionId> {
    (0..3_u64).prop_map(|at| VersionId::new(Stamp(at), [at.to_le_bytes()[0]; 8]))
}

fn plan(table: Table, from: impl Strategy<Value = From>) -> impl Strategy<Value = List> {
    let plan = (1..5_u16, text(), delimiter(), from, 0..8_usize);
    plan.prop_map(move |(shards, prefix, delimiter, from, limit)| {
        let shards = (0..shards).collect();
        List { table, bucket: BUCKET, shards, prefix, delimiter, from, limit, merged: false }
    })
}

fn shards(plan: &List) -> u16 {
    u16::try_from(plan.shards.len()).expect("few shards")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn objects_are_listed_as_a_naive_listing_lists_them(
        keys in btree_map(key(), proptest::bool::weighted(0.8), 0..40),
        plan in plan(Table::Object, option::of(key()).prop_map(|key| {
            key.map_or(From::Start, From::After)
        })),
    ) {
        let rows: Rows = keys.into_iter().map(|(key, live)| ((key, None), live)).collect();
        let store = store(Table::Object, shards(&plan), &rows);
        prop_assert_eq!(run(&plan, &store), naive(&plan, &rows));
    }

    #[test]
    fn uploads_are_listed_as_a_naive_listing_lists_them(
        rows in btree_map((key(), id().prop_map(Some)), proptest::bool::weighted(0.8), 0..40),
        plan in plan(Table::Upload, prop_oneof![
            Just(From::Start),
            key().prop_map(From::After),
            (key(), id()).prop_map(|(key, id)| From::AfterUpload(key, id)),
        ]),
    ) {
        let store = store(Table::Upload, shards(&plan), &rows);
        prop_assert_eq!(run(&plan, &store), naive(&plan, &rows));
    }

    #[test]
    fn pages_joined_are_the_whole(
        keys in btree_map(key(), proptest::bool::weighted(0.8), 0..40),
        mut plan in plan(Table::Object, Just(From::Start)),
    ) {
        let rows: Rows = keys.into_iter().map(|(key, live)| ((key, None), live)).collect();
        let store = store(Table::Object, shards(&plan), &rows);
        let whole = naive(&List { limit: usize::MAX, ..plan.clone() }, &rows);
        plan.limit = plan.limit.max(1);
        let mut joined = Vec::new();
        loop {
            let page = run(&plan, &store);
            joined.extend(page.entries);
            match joined.last() {
                Some(Entry::Row { key, .. } | Entry::CommonPrefix { prefix: key, .. }) if page.truncated => {
                    plan.from = From::After(key.clone());
                }
                Some(_) | None => break,
            }
        }
        prop_assert_eq!(joined, whole.entries);
    }
}
