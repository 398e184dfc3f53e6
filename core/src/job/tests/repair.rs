//! Repairs: what each finds and puts right, and that they survive restarts and can be called off.

use super::{cluster::*, *};
use crate::{
    id::BucketId,
    job::repair::{Repair, cancel, launch, list},
    store::{Writer as _, digest::Question},
    table::{
        CounterRow,
        access::BucketRow,
        object::{Content, Data, Meta, ObjectRow},
        upload::PartRow,
    },
};

const DAYS: Duration = Duration::from_secs(3 * 24 * 3600);

fn repair(cluster: &mut Cluster, index: usize, which: Repair) {
    let launched =
        cluster.flow(index, move |cx, view| async move { launch(cx, &view, which).await });
    assert_eq!(launched, Ok(true));
    run_out(cluster, index);
}

fn run_out(cluster: &mut Cluster, index: usize) {
    for _ in 0..10_000 {
        match cluster.run(index, Job::Repair) {
            Verdict::Done => return,
            verdict => assert_eq!(verdict, Verdict::Paused),
        }
    }
    panic!("a repair does not end");
}

/// The id of data that was begun by now.
fn now_id(cluster: &Cluster, number: u64) -> VersionId {
    VersionId::new(Stamp::from_wall(cluster.nodes[0].now.wall), number.to_be_bytes())
}

fn live(data: VersionId, block: &Payload) -> Op {
    ref_row(data, block)
}

#[test]
fn files_that_are_missing_are_found_and_fetched() {
    let blocks: Vec<Payload> = (0..600).map(block).collect();
    let mut cluster = Cluster::replicated(1, 2);
    for world in &mut cluster.nodes {
        world.put_data(HERE, id(1), &blocks);
    }
    (0..2).for_each(|index| assert_eq!(cluster.run(index, Job::Fetch), Verdict::Done));
    blocks[..300].iter().for_each(|block| cluster.lose(1, block.hash()));
    repair(&mut cluster, 1, Repair::Blocks);
    assert_eq!(cluster.nodes[1].count(Table::Fetch), 300);
    while cluster.nodes[1].count(Table::Fetch) > 0 {
        cluster.run(1, Job::Fetch);
    }
    cluster.nodes[1].check();
}

#[test]
fn references_whose_data_is_gone_are_dropped_and_others_spared() {
    for replicas in [1, 3] {
        let mut cluster = Cluster::replicated(2, replicas);
        let blocks: Vec<Payload> = (0..4).map(block).collect();
        let being_written = id(3);
        for index in 0..replicas {
            let world = &mut cluster.nodes[index];
            world.put_data(HERE, id(1), &blocks[..1]);
            let writing = IntentRow::Writing { boot: 7, node: node(0) };
            world.apply_ops(vec![
                live(id(2), &blocks[1]),
                live(being_written, &blocks[2]),
                intent_row(HERE, being_written, writing),
            ]);
        }
        let fresh = now_id(&cluster, 4);
        (0..replicas)
            .for_each(|index| cluster.nodes[index].apply_ops(vec![live(fresh, &blocks[3])]));
        for index in 0..replicas {
            repair(&mut cluster, index, Repair::BlockRefs);
        }
        for world in &cluster.nodes {
            let refs = world.store.rows(Table::BlockRef).filter_map(|(row_key, value)| {
                let row: BlockRefRow = table::decode(Table::BlockRef, value).unwrap();
                row.is_live().then(|| VersionId::from_slice(&row_key[32..]).unwrap())
            });
            let left: BTreeSet<VersionId> = refs.collect();
            assert_eq!(left, BTreeSet::from([id(1), being_written, fresh]));
        }
        cluster.pass(DAYS);
        repair(&mut cluster, 0, Repair::BlockRefs);
        let info = cluster.flow(0, {
            let hash = blocks[3].hash();
            move |cx, view| async move { crate::job::blocks::info(cx, &view, hash).await }
        });
        assert!(info.unwrap().referrers.iter().all(|referrer| !referrer.row.is_live()), "now old");
    }
}

#[test]
fn listed_blocks_get_their_references_back() {
    let mut cluster = Cluster::replicated(3, 3);
    let blocks: Vec<Payload> = (0..20).map(block).collect();
    for world in &mut cluster.nodes {
        world.put_data(HERE, id(1), &blocks);
        let lost = blocks[5..9].iter().map(|block| Op::Remove {
            table: Table::BlockRef,
            key: key::block_ref(block.hash(), id(1)),
        });
        let lost = lost.collect();
        world.apply_ops(lost);
        assert_eq!(world.count(Table::BlockRef), 16);
    }
    (0..3).for_each(|index| repair(&mut cluster, index, Repair::BlockRefs));
    for world in &mut cluster.nodes {
        assert_eq!(world.count(Table::BlockRef), 20);
        world.pass(DELAYS.block);
        assert_eq!(world.run(Job::Queue), Verdict::Done);
        world.check();
    }
}

fn bucket_rows(bucket: BucketId) -> Vec<Op> {
    let meta = Meta { size: 5, ..Meta::default() };
    let content = Content::Blocks(meta, Data { data: id(1), block_max: 8 });
    let row =
        BucketRow { created: Timestamp(1), shards: 1, deleted: false, ..BucketRow::default() };
    let merge = |table, key: Vec<u8>, value| Op::Merge { table, key, value, inline: None };
    vec![
        merge(Table::Bucket, bucket.0.to_vec(), table::encode(&row)),
        merge(
            Table::Object,
            key::object(bucket, 0, b"key"),
            table::encode(&ObjectRow { version: id(9), content }),
        ),
    ]
}

#[test]
fn counts_and_fingerprints_that_are_wrong_are_put_right() {
    let mut cluster = Cluster::replicated(4, 1);
    let bucket = BucketId([5; 16]);
    let world = &mut cluster.nodes[0];
    let blocks: Vec<Payload> = (0..100).map(block).collect();
    world.put_data(HERE, id(1), &blocks);
    world.put_data(HERE, id(2), &blocks[..7]);
    world.apply_ops(bucket_rows(bucket));
    let right = world.store.clone();
    let count = |refs| table::encode(&BlockCountRow { refs, dropped: None });
    for (block, refs) in [(3, 9), (50, 0)] {
        let key = key::block_count(blocks[block].hash());
        world.store.put(Table::BlockCount, &key, &count(refs)).unwrap();
    }
    world.store.delete(Table::BlockCount, &key::block_count(blocks[80].hash())).unwrap();
    let wrong = CounterRow { objects: 4, bytes: 1, uploads: 2 };
    world.store.put(Table::Counter, &bucket.0, &table::encode(&wrong)).unwrap();
    let fingerprints: Vec<Vec<u8>> =
        right.rows(Table::Fingerprint).map(|(key, _)| key.to_vec()).collect();
    let position = fingerprints.iter().find(|key| key[1..] == HERE.0.to_be_bytes()).unwrap();
    world.store.delete(Table::Fingerprint, position).unwrap();
    for which in [Repair::Counters, Repair::Tables] {
        repair(&mut cluster, 0, which);
    }
    let world = &cluster.nodes[0];
    for table in [Table::BlockCount, Table::Counter, Table::Fingerprint] {
        let rows = |store: &MapStore| -> Vec<(Vec<u8>, Vec<u8>)> {
            store.rows(table).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
        };
        assert_eq!(rows(&world.store), rows(&right), "{table:?}");
    }
    world.check();
    let question = Question::Positions(vec![(Table::BlockList, HERE, HERE)]);
    assert!(read(&Read::Compare(question), &world.store).is_ok());
}

#[test]
fn data_and_uploads_that_nothing_names_are_dropped() {
    let mut cluster = Cluster::replicated(5, 1);
    let bucket = BucketId([5; 16]);
    let position = Position::of_shard(bucket, 0);
    let blocks: Vec<Payload> = (0..6).map(block).collect();
    let (leaked, of_part, fresh) = (id(2), id(3), now_id(&cluster, 4));
    let world = &mut cluster.nodes[0];
    world.apply_ops(bucket_rows(bucket));
    for (data, blocks) in [
        (id(1), &blocks[..2]),
        (leaked, &blocks[2..3]),
        (of_part, &blocks[3..4]),
        (fresh, &blocks[4..5]),
    ] {
        world.put_data(position, data, blocks);
    }
    let part =
        PartRow { data: of_part, size: 8, block_max: 8, etag: "ab".to_owned(), checksum: None };
    let key = key::part(position, id(8), 1);
    world.apply_ops(vec![Op::Merge {
        table: Table::Part,
        key,
        value: table::encode(&part),
        inline: None,
    }]);
    repair(&mut cluster, 0, Repair::Versions);
    assert_eq!(cluster.run(0, Job::Queue), Verdict::Done);
    let listed = |cluster: &Cluster| -> BTreeSet<VersionId> {
        let rows = cluster.nodes[0].store.rows(Table::BlockList);
        rows.map(|(key, _)| VersionId::from_slice(&key[2..18]).unwrap()).collect()
    };
    assert_eq!(listed(&cluster), BTreeSet::from([id(1), of_part, fresh]));
    repair(&mut cluster, 0, Repair::Uploads);
    (0..2).for_each(|_| assert_eq!(cluster.run(0, Job::Queue), Verdict::Done));
    assert_eq!(listed(&cluster), BTreeSet::from([id(1), fresh]));
    assert_eq!(cluster.nodes[0].count(Table::Part), 0);
}

#[test]
fn a_repair_goes_on_after_a_restart_and_ends_when_called_off() {
    let mut cluster = Cluster::replicated(6, 1);
    cluster.nodes[0].put_data(HERE, id(1), &(0..2000).map(block).collect::<Vec<_>>());
    let start = |cluster: &mut Cluster| {
        cluster.flow(0, |cx, view| async move { launch(cx, &view, Repair::Blocks).await })
    };
    let running = |cluster: &mut Cluster| {
        cluster.flow(0, |cx, view| async move { list(cx, &view).await }).unwrap()
    };
    assert_eq!(start(&mut cluster), Ok(true));
    assert_eq!(start(&mut cluster), Ok(false), "it is under way");
    assert!(cluster.nodes[0].break_off(Job::Repair, 16));
    cluster.nodes[0].crash();
    let [(Repair::Blocks, row)] = &running(&mut cluster)[..] else { panic!("one repair") };
    assert!(row.checked > 0 && row.checked < 2000 && row.thousandths() > 0, "{row:?}");
    run_out(&mut cluster, 0);
    assert_eq!(running(&mut cluster), []);
    assert_eq!(start(&mut cluster), Ok(true));
    assert!(cluster.nodes[0].break_off(Job::Repair, 16));
    let called_off =
        cluster.flow(0, |cx, view| async move { cancel(cx, &view, Repair::Blocks).await });
    assert_eq!(called_off, Ok(true));
    run_out(&mut cluster, 0);
    assert_eq!(running(&mut cluster), []);
}

#[test]
fn files_are_moved_to_where_they_belong_once_a_month() {
    let mut world = World::new(7);
    world.put_data(HERE, id(1), &[block(1)]);
    assert_eq!(world.run(Job::Repair), Verdict::Done);
    let performed = world.performed;
    assert_eq!(world.run(Job::Repair), Verdict::Done);
    let idle = world.performed - performed;
    world.pass(Duration::from_secs(31 * 24 * 3600));
    let performed = world.performed;
    while world.run(Job::Repair) != Verdict::Done {}
    assert!(world.performed - performed > idle + 4, "references and files were gone through");
    world.check();
}

#[test]
fn a_block_that_is_given_up_takes_its_objects_with_it_and_no_others() {
    let mut cluster = Cluster::replicated(8, 3);
    let bucket = BucketId([5; 16]);
    let position = Position::of_shard(bucket, 0);
    let blocks: Vec<Payload> = (0..3).map(block).collect();
    let object = |key: &[u8], number: u64, data: u64| Op::Merge {
        table: Table::Object,
        key: key::object(bucket, 0, key),
        value: table::encode(&ObjectRow {
            version: id(number),
            content: Content::Blocks(Meta::default(), Data { data: id(data), block_max: 8 }),
        }),
        inline: None,
    };
    for world in &mut cluster.nodes {
        for (data, blocks) in [(21, &blocks[..2]), (22, &blocks[1..]), (23, &blocks[2..])] {
            let refs: Vec<Op> = blocks
                .iter()
                .map(|block| Op::Merge {
                    table: Table::BlockRef,
                    key: key::block_ref(block.hash(), id(data)),
                    value: table::encode(&BlockRefRow::Live { owner: Some(position) }),
                    inline: None,
                })
                .collect();
            world.apply_ops(refs);
        }
        world.apply_ops(vec![object(b"a", 11, 21), object(b"b", 12, 22), object(b"c", 13, 23)]);
    }
    let lost = blocks[1].hash();
    let purged = cluster
        .flow(0, move |cx, view| async move { crate::job::purge::purge(cx, &view, lost).await });
    let purged = purged.unwrap();
    assert_eq!((purged.objects, purged.uploads, purged.unknown, purged.more), (2, 0, 0, false));
    for world in &cluster.nodes {
        let live = world.store.rows(Table::Object).filter(|(_, value)| {
            let row: ObjectRow = table::decode(Table::Object, value).unwrap();
            row.content != Content::Deleted
        });
        let keys: Vec<Vec<u8>> =
            live.map(|(row_key, _)| key::object_key(row_key).to_vec()).collect();
        assert_eq!(keys, [b"c"]);
    }
}
