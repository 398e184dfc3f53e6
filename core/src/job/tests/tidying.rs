//! What uploads, unfinished writers and crashes leave behind.

use super::*;
use crate::{
    id::BucketId,
    table::{
        access::BucketRow,
        upload::{ManifestPart, ManifestRow, PartRow, UploadRow},
    },
};

const UPLOAD: u64 = 77;

fn part_row(data: u64) -> PartRow {
    PartRow { data: id(data), size: 8, block_max: 8, etag: "e".to_owned(), checksum: None }
}

fn merge<T: serde::Serialize>(table: Table, key: Vec<u8>, row: &T) -> Op {
    Op::Merge { table, key, value: table::encode(row), inline: None }
}

/// An upload of parts 1 to `parts`, each a block of its own, data ids like part numbers.
fn upload_parts(world: &mut World, parts: u64) {
    for n in 1..=parts {
        world.put_data(HERE, id(n), &[block(n)]);
        let number = u16::try_from(n).unwrap();
        let key = key::part(HERE, id(UPLOAD), number);
        world.apply_ops(vec![merge(Table::Part, key, &part_row(n))]);
    }
}

/// A manifest that names these parts, in pages.
fn complete(world: &mut World, parts: &[u64]) {
    for (page, numbers) in parts.chunks(ManifestRow::PAGE).enumerate() {
        let part = |n: &u64| ManifestPart {
            number: u16::try_from(*n).unwrap(),
            offset: 8 * n,
            part: part_row(*n),
        };
        let row = ManifestRow { parts: numbers.iter().map(part).collect(), completion: None };
        let key = key::manifest(HERE, id(UPLOAD), u16::try_from(page).unwrap());
        world.apply_ops(vec![merge(Table::Manifest, key, &row)]);
    }
}

fn enqueue(world: &mut World, tidy: bool) {
    let (position, upload) = (HERE, id(UPLOAD));
    let job = if tidy {
        Queued::TidyUpload { position, upload }
    } else {
        Queued::DropUpload { position, upload, unless: None }
    };
    let due = world.now.wall;
    world.apply_ops(vec![Op::Enqueue { due, job }]);
}

fn assert_empty(world: &World) {
    use Table::{BlockCount, BlockList, BlockRef, Intent, Manifest, Part, Queue, Upload};
    for table in [Upload, Part, Manifest, Intent, BlockList, BlockRef, BlockCount, Queue] {
        assert_eq!(world.count(table), 0, "{table:?}");
    }
    assert_eq!(world.on_disk().len(), 0);
}

#[test]
fn an_aborted_upload_leaves_nothing_wherever_the_job_is_broken_off() {
    for after in 0.. {
        let mut world = World::new(1);
        upload_parts(&mut world, 5);
        enqueue(&mut world, false);
        let broken = world.break_off(Job::Queue, after);
        world.crash();
        world.settle();
        assert_empty(&world);
        if !broken {
            break;
        }
    }
}

#[test]
fn a_completed_upload_keeps_what_its_manifest_names_wherever_the_job_is_broken_off() {
    for after in 0.. {
        let mut world = World::new(2);
        upload_parts(&mut world, 6);
        complete(&mut world, &[2, 3, 5]);
        enqueue(&mut world, true);
        let broken = world.break_off(Job::Queue, after);
        world.crash();
        world.check();
        world.settle();
        world.check();
        assert_eq!(world.count(Table::Part), 0);
        assert_eq!(world.on_disk(), [2, 3, 5].map(|n| block(n).hash()).into());
        // Later the object is deleted.
        enqueue(&mut world, false);
        world.settle();
        assert_empty(&world);
        if !broken {
            break;
        }
    }
}

#[test]
fn tidying_and_deleting_may_come_in_any_order_and_twice() {
    for order in [[true, false, true], [false, true, false], [false, true, true]] {
        let mut world = World::new(3);
        upload_parts(&mut world, 600);
        complete(&mut world, &(1..=590).collect::<Vec<_>>());
        for tidy in order {
            enqueue(&mut world, tidy);
            world.break_off(Job::Queue, 4);
        }
        world.settle();
        assert_empty(&world);
    }
}

#[test]
fn what_an_earlier_process_was_writing_is_dropped_and_what_this_one_writes_is_not() {
    let mut world = World::new(4);
    for (data, boot) in [(1, 1), (2, 2)] {
        world.put_data(HERE, id(data), &[block(data)]);
        world.apply_ops(vec![intent_row(
            HERE,
            id(data),
            IntentRow::Writing { boot, node: NodeId([1; 32]) },
        )]);
    }
    world.apply_ops(vec![intent_row(HERE, id(3), IntentRow::Done)]);
    world.boot = 2;
    world.settle();
    world.check();
    assert_eq!(world.on_disk(), [block(2).hash()].into());
    assert_eq!(world.count(Table::Intent), 1, "closed ones are collected");
    world.boot = 3;
    world.settle();
    assert_empty(&world);
}

#[test]
fn an_intent_that_is_closed_in_the_meantime_keeps_its_data() {
    let mut world = World::new(5);
    world.put_data(HERE, id(1), &[block(1)]);
    world.apply_ops(vec![intent_row(
        HERE,
        id(1),
        IntentRow::Writing { boot: 0, node: NodeId([1; 32]) },
    )]);
    let seed = world.seed.child();
    let (task, slot) = Job::Intents.task(world.view(), seed);
    let mut running = world.start(task);
    world.step(&mut running, 0);
    // The page has been read; the writer's last batch overtakes the job's.
    world.apply_ops(vec![intent_row(HERE, id(1), IntentRow::Done)]);
    while !running.task.is_done() {
        world.step(&mut running, 0);
    }
    assert_eq!(slot.get().map(|ended| ended.verdict), Some(Verdict::Done));
    world.settle();
    world.check();
    assert_eq!(world.on_disk(), [block(1).hash()].into());
}

#[test]
fn open_uploads_of_a_deleted_bucket_are_aborted_and_others_are_not() {
    let mut world = World::new(6);
    let buckets = [(BucketId([1; 16]), false), (BucketId([2; 16]), true)];
    for (bucket, deleted) in buckets {
        let row = BucketRow { created: world.now.wall, shards: 1, deleted, ..BucketRow::default() };
        world.apply_ops(vec![merge(Table::Bucket, bucket.0.to_vec(), &row)]);
        for n in 0..70_u64 {
            let name = format!("key-{n}");
            let shard = key::shard_of(name.as_bytes(), 1);
            let open = UploadRow::Open { headers: vec![], checksum: None, initiator: "me".into() };
            let upload = key::upload(bucket, shard, name.as_bytes(), id(n));
            world.apply_ops(vec![merge(Table::Upload, upload, &open)]);
            let position = Position::of_shard(bucket, shard);
            let data = id(1000 + n + 1000 * u64::from(deleted));
            world.put_data(position, data, &[block(n)]);
            let part = key::part(position, id(n), 1);
            let row = PartRow { data, ..part_row(0) };
            world.apply_ops(vec![merge(Table::Part, part, &row)]);
        }
    }
    assert_eq!(world.run(Job::Uploads), Verdict::Done);
    world.settle();
    world.check();
    assert_eq!((world.count(Table::Upload), world.count(Table::Part)), (70, 70));
    assert_eq!(world.count(Table::BlockRef), 70);
}

#[test]
fn orphans_are_removed_page_by_page_and_nothing_else() {
    let mut world = World::new(7);
    let blocks: Vec<Payload> = (0..1000).map(block).collect();
    let (kept, orphans) = blocks.split_at(300);
    world.put_data(HERE, id(1), kept);
    assert!(world.files.store(orphans).iter().all(Result::is_ok));
    assert_eq!(world.run(Job::Orphans), Verdict::Done);
    assert_eq!(world.on_disk().len(), 1000, "too young");
    world.pass(Duration::from_secs(3601));
    let young = block(5000);
    assert_eq!(world.files.store(std::slice::from_ref(&young)), [Ok(())]);
    assert_eq!(world.run(Job::Orphans), Verdict::Done);
    world.check();
    assert_eq!(world.on_disk().len(), 301);
}

#[test]
fn a_damaged_row_does_not_keep_the_others() {
    let mut world = World::new(8);
    for n in [1, 3] {
        world.put_data(HERE, id(n), &[block(n)]);
        world.apply_ops(vec![intent_row(
            HERE,
            id(n),
            IntentRow::Writing { boot: 0, node: NodeId([1; 32]) },
        )]);
    }
    let damaged = key::intent(HERE, id(2));
    crate::store::Writer::put(&mut world.store, Table::Intent, &damaged, b"?").unwrap();
    let bucket = [0; 16];
    crate::store::Writer::put(&mut world.store, Table::Bucket, &bucket, b"?").unwrap();
    assert_eq!(world.run(Job::Intents), Verdict::Failed);
    assert_eq!(world.run(Job::Uploads), Verdict::Failed);
    world.run(Job::Queue);
    assert_eq!(world.count(Table::BlockRef), 0);
}
