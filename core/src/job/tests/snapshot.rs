//! Snapshots of the metadata: how many are kept, and what blocks wait for.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn world(seed: u8) -> World {
    let mut world = World::new(seed);
    world.config.snapshot_interval = Some(DAY);
    world
}

fn drop_data(world: &mut World, data: VersionId) {
    world.apply_ops(vec![drop_data_op(world.now.wall, data)]);
    world.run(Job::Queue);
}

#[test]
fn blocks_that_a_snapshot_names_stay_until_it_is_too_old() {
    let mut world = world(1);
    for n in [1, 2] {
        world.put_data(HERE, id(n), &[block(n)]);
    }
    drop_data(&mut world, id(1));
    world.pass(2 * HOUR);
    assert_eq!(world.run(Job::Snapshot), Verdict::Done);
    assert_eq!(world.shots.len(), 1);
    drop_data(&mut world, id(2));
    world.pass(DAY);
    world.run(Job::Queue);
    assert_eq!(world.on_disk(), [block(2).hash()].into(), "the first was dropped before it");
    // One that was made after the block was dropped does not keep it any longer.
    assert_eq!(world.run(Job::Snapshot), Verdict::Done);
    world.pass(2 * DAY - HOUR);
    world.run(Job::Queue);
    assert_eq!(world.on_disk(), [block(2).hash()].into(), "the hold is three days");
    world.pass(2 * HOUR);
    world.run(Job::Queue);
    assert_eq!(world.on_disk(), BTreeSet::new());
    assert_eq!(world.count(Table::Queue), 0, "nothing is put off any more");
}

#[test]
fn a_removed_snapshot_keeps_nothing() {
    let mut world = world(2);
    world.put_data(HERE, id(1), &[block(1)]);
    world.run(Job::Snapshot);
    drop_data(&mut world, id(1));
    world.config.tuning.snapshots_kept = 1;
    world.pass(DAY + HOUR);
    world.run(Job::Snapshot);
    assert_eq!(world.shots.len(), 1);
    world.config.tuning.snapshot_hold = Duration::ZERO;
    world.run(Job::Queue);
    assert_eq!(world.on_disk(), BTreeSet::new());
}

#[test]
fn the_newest_are_kept_and_one_is_made_when_it_is_due() {
    let mut world = world(3);
    for _ in 0..10 {
        assert_eq!(world.run(Job::Snapshot), Verdict::Done);
        world.pass(DAY / 2);
    }
    let made: Vec<Timestamp> = world.shots.clone();
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(made[1].0 - made[0].0, u64::try_from(DAY.as_millis()).unwrap());
    let prefix = b"snapshot/".to_vec();
    let mut cursor = world.store.cursor(Table::Meta, &prefix, None).unwrap();
    let mut rows = 0;
    while cursor.advance().unwrap() && cursor.key().starts_with(&prefix) {
        rows += 1;
    }
    assert_eq!(rows, 2, "a row for each");
}
