//! Fetching: lost and damaged files come back, errors are kept and wait longer each time.

use super::{cluster::*, *};
use crate::job::{
    blocks,
    fetch::{RETRY, RETRY_MAX, backoff},
    scrub::PASS,
};

/// Three nodes that all have these blocks.
fn three(seed: u8, blocks: &[Payload]) -> Cluster {
    let mut cluster = Cluster::replicated(seed, 3);
    for world in &mut cluster.nodes {
        world.put_data(HERE, id(1), blocks);
    }
    for index in 0..3 {
        assert_eq!(cluster.run(index, Job::Fetch), Verdict::Done);
    }
    assert!(cluster.given.is_empty(), "everybody had everything");
    cluster
}

fn error_of(cluster: &mut Cluster, index: usize, block: Hash) -> Option<(u32, Timestamp, String)> {
    let info =
        cluster.flow(index, move |cx, view| async move { blocks::info(cx, &view, block).await });
    info.unwrap().error.map(|row| (row.errors, row.next, row.reason))
}

fn look_at(cluster: &mut Cluster, index: usize, block: Hash) {
    let retried = cluster
        .flow(index, move |cx, view| async move { blocks::retry(cx, &view, &[block]).await });
    retried.unwrap();
}

#[test]
fn a_replica_that_lost_its_file_fetches_it_again() {
    let blocks: Vec<Payload> = (0..5).map(block).collect();
    let mut cluster = three(1, &blocks);
    let (lost, damaged) = (blocks[1].hash(), blocks[2].hash());
    cluster.lose(0, lost);
    cluster.damage(0, damaged);
    cluster.pass(PASS);
    assert_eq!(cluster.run(0, Job::Scrub), Verdict::Done);
    cluster.pass(PASS);
    assert_eq!(cluster.run(0, Job::Scrub), Verdict::Done);
    assert_eq!(cluster.nodes[0].count(Table::Fetch), 2, "the scrub has found both");
    assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
    cluster.nodes[0].check();
    assert_eq!(cluster.given.values().sum::<u64>(), 16, "two blocks of eight bytes");
    let world = &cluster.nodes[0];
    assert_eq!((world.count(Table::Fetch), world.count(Table::BlockError)), (0, 0));
    let files = world.disk.files();
    assert!(!files.iter().any(|file| file.ends_with(".corrupted")), "healed, and left: {files:?}");
}

#[test]
fn references_that_come_without_their_blocks_bring_them() {
    let blocks: Vec<Payload> = (0..300).map(block).collect();
    let mut cluster = three(2, &blocks);
    let rows = blocks.iter().map(|block| ref_row(id(1), block)).collect();
    // A node that was wiped: the sync has brought the rows.
    cluster.nodes[2] = World {
        node: node(2),
        ring: cluster.nodes[2].ring.clone(),
        now: cluster.nodes[2].now,
        ..World::new(9)
    };
    cluster.nodes[2].apply_ops(rows);
    assert_eq!(cluster.nodes[2].count(Table::Fetch), 300);
    while cluster.nodes[2].count(Table::Fetch) > 0 {
        assert_eq!(cluster.run(2, Job::Fetch), Verdict::Done);
    }
    cluster.nodes[2].check();
    assert_eq!(cluster.nodes[2].on_disk().len(), 300);
}

#[test]
fn a_source_that_is_damaged_is_passed_over_and_heals_itself() {
    let blocks = [block(1)];
    let mut cluster = three(3, &blocks);
    let hash = blocks[0].hash();
    cluster.lose(0, hash);
    cluster.damage(1, hash);
    look_at(&mut cluster, 0, hash);
    assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
    assert!(cluster.is_sound(0, hash));
    assert_eq!(cluster.given.keys().collect::<Vec<_>>(), [&(2, 0)], "the third has given it");
    assert_eq!(cluster.nodes[1].count(Table::Fetch), 1, "the second has learnt of its damage");
    assert_eq!(cluster.run(1, Job::Fetch), Verdict::Done);
    assert!(cluster.is_sound(1, hash));
}

#[test]
fn a_block_that_nobody_gives_waits_longer_each_time_and_comes_back_when_somebody_has_it() {
    let blocks = [block(1)];
    let mut cluster = three(4, &blocks);
    let hash = blocks[0].hash();
    (0..2).for_each(|index| cluster.lose(index, hash));
    cluster.down.insert(2);
    look_at(&mut cluster, 0, hash);
    let mut wait = RETRY;
    for errors in 1..10 {
        assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
        let (count, next, reason) = error_of(&mut cluster, 0, hash).unwrap();
        assert_eq!((count, next), (errors, cluster.nodes[0].now.wall.after(wait)));
        assert!(reason.contains("block missing") && reason.contains("unreachable"), "{reason}");
        assert_eq!((wait, backoff(errors)), (backoff(errors), wait));
        cluster.pass(wait - Duration::from_secs(2));
        assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
        assert_eq!(error_of(&mut cluster, 0, hash).unwrap().0, errors, "not before its time");
        cluster.pass(Duration::from_secs(2));
        wait = (wait * 2).min(RETRY_MAX);
    }
    cluster.down.clear();
    cluster.run(0, Job::Fetch);
    assert_eq!(error_of(&mut cluster, 0, hash), None);
    assert!(cluster.is_sound(0, hash));
}

#[test]
fn a_block_of_others_is_not_fetched_until_its_partition_comes_back() {
    let blocks = [block(1), block(2)];
    let mut cluster = three(5, &blocks);
    let hash = blocks[0].hash();
    cluster.lose(0, hash);
    look_at(&mut cluster, 0, hash);
    cluster.set_layouts(&[&layout(2, 3, |_| vec![1, 2])], 2, &[]);
    assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
    assert!(cluster.given.is_empty());
    assert_eq!(cluster.nodes[0].count(Table::Fetch), 0);
    cluster.set_layouts(&[&layout(3, 3, |_| vec![0, 1, 2])], 3, &[]);
    cluster.pass(RETRY);
    assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
    assert!(cluster.is_sound(0, hash));
    cluster.nodes[0].check();
}

#[test]
fn a_block_let_go_is_not_waited_for() {
    let blocks = [block(1)];
    let mut cluster = three(6, &blocks);
    cluster.lose(0, blocks[0].hash());
    look_at(&mut cluster, 0, blocks[0].hash());
    cluster.set_layouts(&[&layout(2, 3, |_| vec![1, 2])], 2, &[]);
    for job in [Job::Fetch, Job::Offload] {
        assert_eq!(cluster.run(0, job), Verdict::Done);
    }
    cluster.pass(DELAYS.block);
    assert_eq!(cluster.run(0, Job::Queue), Verdict::Done);
    let world = &cluster.nodes[0];
    assert_eq!((world.count(Table::BlockCount), world.count(Table::BlockError)), (0, 0));
}

#[test]
fn what_nobody_refers_to_is_not_queued() {
    let mut cluster = three(7, &[]);
    let unknown = block(7).hash();
    cluster
        .flow(1, move |cx, view| async move { crate::quorum::look_at(cx, &view, unknown).await });
    assert_eq!(cluster.nodes[1].count(Table::Fetch), 0);
}

#[test]
fn a_lone_node_keeps_a_list_of_what_it_has_lost() {
    let mut world = World::new(6);
    world.put_data(HERE, id(1), &[block(1)]);
    let file = world.disk.files().into_iter().find(|file| file.contains("blocks/")).unwrap();
    crate::block::disk::Disk::unlink(&*world.disk, &file).unwrap();
    assert_eq!(world.run(Job::Fetch), Verdict::Done);
    let (_, value) = world.store.rows(Table::BlockError).next().expect("an error");
    let row: crate::table::block::BlockErrorRow = table::decode(Table::BlockError, value).unwrap();
    assert_eq!((row.errors, row.reason.as_str()), (1, "no other node holds it"));
    // An upload of the same bytes is as good as a fetch.
    assert_eq!(world.files.store(&[block(1)]), [Ok(())]);
    world.pass(RETRY);
    assert_eq!(world.run(Job::Fetch), Verdict::Done);
    assert_eq!(world.count(Table::BlockError), 0);
}

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing() {
    let blocks = [block(1), block(2)];
    let mut cluster = three(7, &blocks);
    blocks.iter().for_each(|block| cluster.lose(0, block.hash()));
    blocks.iter().for_each(|block| look_at(&mut cluster, 0, block.hash()));
    cluster.nodes[0].disk.set_total(1);
    assert_eq!(cluster.run(0, Job::Fetch), Verdict::Failed);
    assert_eq!(
        (cluster.nodes[0].count(Table::Fetch), cluster.nodes[0].count(Table::BlockError)),
        (2, 0)
    );
    cluster.nodes[0].disk.set_total(u64::MAX);
    assert_eq!(cluster.run(0, Job::Fetch), Verdict::Done);
    cluster.nodes[0].check();
}
