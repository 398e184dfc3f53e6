//! The scrub: its pace, its memory, what it finds.

use super::*;
use crate::job::scrub::{self, KEY, PASS, ScrubRow};

fn state(world: &World) -> ScrubRow {
    let value = world.store.get(Table::Meta, KEY).unwrap().unwrap();
    table::decode(Table::Meta, &value).unwrap()
}

#[test]
fn a_pass_is_spread_over_its_time_and_looks_at_everything_once() {
    let mut world = World::new(1);
    let blocks: Vec<Payload> = (0..1000).map(block).collect();
    world.put_data(HERE, id(1), &blocks);
    for day in 0..30 {
        assert_eq!(world.run(Job::Scrub), Verdict::Done);
        let expected = 1000 * day / 30;
        let checked = state(&world).checked;
        assert!(checked.abs_diff(expected) < 50, "day {day}: {checked}, about {expected}");
        world.pass(PASS / 30);
        if day == 13 {
            world.crash();
        }
    }
    world.run(Job::Scrub);
    assert_eq!((state(&world).checked, state(&world).ended), (1000, true));
    let first = state(&world);
    world.pass(PASS);
    world.run(Job::Scrub);
    assert!(state(&world).started > first.started && !state(&world).ended, "a second pass");
}

#[test]
fn a_scrub_that_was_away_catches_up() {
    let mut world = World::new(2);
    world.put_data(HERE, id(1), &(0..100).map(block).collect::<Vec<_>>());
    world.run(Job::Scrub);
    world.pass(PASS * 2);
    world.run(Job::Scrub);
    assert_eq!((state(&world).checked, state(&world).ended), (100, true));
}

#[test]
fn damage_and_loss_are_counted_and_the_damaged_file_set_aside() {
    let mut world = World::new(3);
    world.put_data(HERE, id(1), &(0..5).map(block).collect::<Vec<_>>());
    let file_of = |world: &World, n: u64| {
        let name = block(n).hash().to_string();
        world.disk.files().into_iter().find(|file| file.contains(&name)).unwrap()
    };
    world.disk.damage(&file_of(&world, 1), |bytes| bytes[0] ^= 1);
    crate::block::disk::Disk::unlink(&*world.disk, &file_of(&world, 2)).unwrap();
    // Not needed any more: nobody's loss.
    world.put_data(HERE, id(2), &[block(6)]);
    world.apply_ops(vec![drop_data_op(world.now.wall, id(2))]);
    world.run(Job::Queue);
    crate::block::disk::Disk::unlink(&*world.disk, &file_of(&world, 6)).unwrap();
    world.run(Job::Scrub);
    world.pass(PASS);
    assert_eq!(world.run(Job::Scrub), Verdict::Done);
    assert_eq!((state(&world).checked, state(&world).bad), (6, 2));
    assert!(file_of(&world, 1).ends_with(".corrupted"));
}

#[test]
fn a_position_that_cannot_be_read_or_lies_in_the_future_means_starting_over() {
    let mut world = World::new(4);
    world.put_data(HERE, id(1), &[block(1)]);
    crate::store::Writer::put(&mut world.store, Table::Meta, KEY, b"\x07").unwrap();
    world.run(Job::Scrub);
    assert_eq!(state(&world).started, world.now.wall);
    let future = ScrubRow { started: world.now.wall.after(PASS), ..state(&world) };
    let value = table::encode(&future);
    crate::store::Writer::put(&mut world.store, Table::Meta, KEY, &value).unwrap();
    world.run(Job::Scrub);
    assert_eq!(state(&world).started, world.now.wall);
}

fn tell(world: &mut World, command: scrub::Command) -> scrub::Status {
    let mut told = None;
    for flow in 0..2 {
        let (view, slot) = (world.view(), Arc::new(OnceLock::new()));
        let (result, seed) = (Arc::clone(&slot), world.seed.child());
        let task = Task::new("tell", seed, move |cx| async move {
            if flow == 0 {
                scrub::command(cx, &view, command).await.unwrap();
            }
            result.set(scrub::status(cx, &view).await.unwrap()).expect("once");
        });
        let mut running = world.start(task);
        while !running.task.is_done() {
            world.step(&mut running, 0);
        }
        told = slot.get().copied();
    }
    told.expect("both flows have ended")
}

#[test]
fn a_pass_can_be_started_paused_resumed_and_called_off() {
    use scrub::Command::{Cancel, Pause, Resume, Start};
    let mut world = World::new(5);
    world.put_data(HERE, id(1), &(0..100).map(block).collect::<Vec<_>>());
    world.run(Job::Scrub);
    world.pass(Duration::from_secs(10));
    tell(&mut world, Start);
    assert!(tell(&mut world, Pause(scrub::PAUSE)).paused_until.is_some());
    assert_eq!(world.run(Job::Scrub), Verdict::Done);
    assert_eq!(state(&world).checked, 0, "it pauses");
    tell(&mut world, Resume);
    assert_eq!(world.run(Job::Scrub), Verdict::Done);
    assert_eq!((state(&world).checked, state(&world).ended), (100, true), "all at once");
    // The next pass goes at its own pace again.
    world.pass(PASS);
    world.run(Job::Scrub);
    world.pass(PASS / 2);
    world.run(Job::Scrub);
    assert!((20..80).contains(&state(&world).checked), "{:?}", state(&world));
    assert!(!state(&world).ended);
    tell(&mut world, Cancel);
    world.run(Job::Scrub);
    assert!(state(&world).ended && state(&world).checked < 100);
    world.pass(PASS);
    world.run(Job::Scrub);
    assert!(!state(&world).ended, "the next one begins in its time");
    let day = Duration::from_secs(25 * 3600);
    tell(&mut world, Pause(scrub::PAUSE));
    world.pass(day);
    let before = state(&world).checked;
    world.pass(PASS / 4);
    world.run(Job::Scrub);
    assert!(state(&world).checked > before, "a pause ends by itself");
}
