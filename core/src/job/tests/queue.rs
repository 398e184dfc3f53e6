//! The queue: dropping, reaping, collecting, failing.

use super::*;
use crate::table::object::{Content, ObjectRow};

#[test]
fn dropped_data_goes_with_its_blocks_and_spares_what_others_have() {
    let mut world = World::new(1);
    // Three pages of block list, some blocks in it twice.
    let blocks: Vec<Payload> = (0..600).map(|n| block(n % 500)).collect();
    world.put_data(HERE, id(1), &blocks);
    world.put_data(HERE, id(2), &blocks[10..20]);
    world.apply_ops(vec![drop_data_op(world.now.wall, id(1))]);
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    world.check();
    assert_eq!((world.count(Table::BlockList), world.count(Table::BlockRef)), (10, 10));
    assert_eq!(world.on_disk().len(), 500, "nothing is unlinked before the delay");
    assert_eq!(world.count(Table::Queue), 490);
    world.pass(DELAYS.block);
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    assert_eq!((world.count(Table::BlockCount), world.count(Table::Queue)), (10, 0));
    assert_eq!(world.on_disk(), blocks[10..20].iter().map(Payload::hash).collect());
}

#[test]
fn a_drop_broken_off_anywhere_is_finished_by_the_next() {
    let blocks: Vec<Payload> = (0..300).map(block).collect();
    for after in 0.. {
        let mut world = World::new(2);
        world.put_data(HERE, id(1), &blocks);
        world.put_data(HERE, id(2), &blocks[..1]);
        world.apply_ops(vec![drop_data_op(world.now.wall, id(1))]);
        let broken = world.break_off(Job::Queue, after);
        world.crash();
        world.check();
        world.settle();
        world.check();
        assert_eq!(world.on_disk(), BTreeSet::from([block(0).hash()]));
        for table in [Table::BlockList, Table::BlockRef, Table::BlockCount] {
            assert_eq!(world.count(table), 1, "{table:?}");
        }
        assert_eq!(world.count(Table::Queue), 0);
        if !broken {
            assert!(after > 6, "two pages are more than {after} effects");
            break;
        }
    }
}

#[test]
fn a_block_that_is_referred_to_again_is_not_reaped() {
    let mut world = World::new(3);
    world.put_data(HERE, id(1), &[block(1)]);
    world.apply_ops(vec![drop_data_op(world.now.wall, id(1))]);
    world.run(Job::Queue);
    world.pass(DELAYS.block);
    world.put_data(HERE, id(2), &[block(1)]);
    world.run(Job::Queue);
    world.check();
    assert_eq!(world.count(Table::Queue), 0);
    assert!(world.files.load(block(1).hash()).is_ok());
}

#[test]
fn a_tombstone_is_forgotten_after_its_delay_unless_the_key_was_written_again() {
    let mut world = World::new(4);
    let row = |version, content| table::encode(&ObjectRow { version: id(version), content });
    let op = |key: &[u8], value| Op::Merge {
        table: Table::Object,
        key: [&[0; 20], key].concat(),
        value,
        inline: None,
    };
    let again = op(b"b", row(5, Content::Deleted));
    world.apply_ops(vec![op(b"a", row(1, Content::Deleted)), op(b"b", row(1, Content::Deleted))]);
    world.run(Job::Queue);
    assert_eq!(world.count(Table::Object), 2, "not before its time");
    world.pass(Duration::from_secs(3600));
    world.apply_ops(vec![again]);
    world.pass(DELAYS.tombstone - Duration::from_secs(3600));
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    assert_eq!(world.count(Table::Object), 1);
    assert_eq!(world.count(Table::Queue), 1, "the later tombstone waits for its own time");
    world.pass(Duration::from_secs(3600));
    world.run(Job::Queue);
    assert_eq!((world.count(Table::Object), world.count(Table::Queue)), (0, 0));
}

#[test]
fn a_database_that_fails_keeps_the_queue_as_it_is() {
    let mut world = World::new(5);
    world.put_data(HERE, id(1), &[block(1)]);
    world.apply_ops(vec![drop_data_op(world.now.wall, id(1))]);
    let before = world.store.clone();
    world.broken = true;
    assert_eq!(world.run(Job::Queue), Verdict::Failed);
    assert_eq!(world.store, before);
    world.broken = false;
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    assert_eq!(world.count(Table::BlockRef), 0);
}

#[test]
fn a_job_that_meets_damage_is_put_off_and_does_not_keep_the_others() {
    let mut world = World::new(6);
    world.put_data(HERE, id(1), &[block(1)]);
    world.put_data(HERE, id(2), &[block(2)]);
    let damaged_row = key::block_list(HERE, id(1), 0);
    let sound = world.store.get(Table::BlockList, &damaged_row).unwrap().unwrap();
    crate::store::Writer::put(&mut world.store, Table::BlockList, &damaged_row, b"?").unwrap();
    let now = world.now.wall;
    world.apply_ops(vec![drop_data_op(now, id(1)), drop_data_op(now, id(2))]);
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    assert_eq!(world.count(Table::BlockRef), 1, "the second is dropped");
    let performed = world.performed;
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    assert_eq!(world.performed, performed + 2, "nothing is due now: a look, no spinning");
    crate::store::Writer::put(&mut world.store, Table::BlockList, &damaged_row, &sound).unwrap();
    world.settle();
    assert_eq!((world.count(Table::BlockRef), world.count(Table::Queue)), (0, 0));
    assert_eq!(world.on_disk().len(), 0);
}

#[test]
fn a_queued_row_that_cannot_be_read_stays_and_does_not_keep_the_others() {
    let mut world = World::new(7);
    let due = world.now.wall.0.to_be_bytes();
    crate::store::Writer::put(&mut world.store, Table::Queue, &due, b"\x09later").unwrap();
    world.put_data(HERE, id(1), &[block(1)]);
    world.apply_ops(vec![drop_data_op(world.now.wall, id(1))]);
    assert_eq!(world.run(Job::Queue), Verdict::Failed);
    assert_eq!(world.count(Table::BlockRef), 0);
    assert!(world.store.get(Table::Queue, &due).unwrap().is_some());
}

#[test]
fn more_than_a_page_is_worked_off_in_one_run() {
    let mut world = World::new(8);
    for n in 0..700 {
        world.put_data(HERE, id(n), &[block(n)]);
        world.apply_ops(vec![drop_data_op(world.now.wall, id(n))]);
    }
    world.run(Job::Queue);
    assert_eq!(world.count(Table::BlockRef), 0);
    world.pass(DELAYS.block + Duration::from_secs(60));
    world.run(Job::Queue);
    assert_eq!((world.count(Table::Queue), world.on_disk().len()), (0, 0));
}

#[test]
fn what_a_wrong_clock_has_queued_for_another_century_is_done_now() {
    let mut world = World::new(9);
    for (data, days) in [(1, 1), (2, 365 * 50)] {
        world.put_data(HERE, id(data), &[block(data)]);
        let due = world.now.wall.after(Duration::from_secs(24 * 3600 * days));
        world.apply_ops(vec![drop_data_op(due, id(data))]);
    }
    assert_eq!(world.run(Job::Queue), Verdict::Done);
    let left = world.store.rows(Table::BlockRef).map(|(key, _)| key[32..].to_vec());
    assert_eq!(left.collect::<Vec<_>>(), [id(1).0], "tomorrow's is left for tomorrow");
}
