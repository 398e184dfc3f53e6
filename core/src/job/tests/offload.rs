//! Changes of the layout: blocks move as planned, and whoever gives up a partition never gives up the last copy.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{cluster::*, *};
use crate::{
    job::{offload::offloaded, scrub::PASS},
    placement::{
        explain::explain,
        layout::{Layout, Parameters, Redundancy, Role},
        solve::solve,
    },
};

impl Cluster {
    /// Puts a piece of data's blocks and references where the layout wants them.
    fn put_by(&mut self, layout: &Layout, data: VersionId, blocks: &[Payload]) {
        for block in blocks {
            for index in holders(layout, block.hash()) {
                let world = &mut self.nodes[index];
                assert_eq!(world.files.store(std::slice::from_ref(block)), [Ok(())]);
                let rows = vec![ref_row(data, block)];
                let batch = Batch::new(world.now.wall, rows).with_stored(block.hash());
                world.apply(&batch).unwrap();
            }
        }
    }

    /// What a sync does when a layout comes: every node pulls the references that it is to hold.
    fn pull(&mut self, layout: &Layout) {
        let mut rows = BTreeMap::new();
        for world in &self.nodes {
            let all = world.store.rows(Table::BlockRef);
            rows.extend(all.map(|(key, value)| (key.to_vec(), value.to_vec())));
        }
        for (row_key, value) in rows {
            for index in holders(layout, Hash::from_slice(&row_key[..32]).unwrap()) {
                let (table, key, value) = (Table::BlockRef, row_key.clone(), value.clone());
                self.nodes[index].apply_ops(vec![Op::Merge { table, key, value, inline: None }]);
            }
        }
    }

    fn copies(&self, block: Hash) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.is_sound(*index, block)).collect()
    }
}

fn holders(layout: &Layout, block: Hash) -> Vec<usize> {
    let nodes = layout.replicas(layout.partition_of(Position::of_block(block)));
    nodes.into_iter().map(|node| usize::from(node.0[0]) - 1).collect()
}

/// As many blocks for every partition of 256.
fn even(per_partition: usize) -> Vec<Payload> {
    let mut counts = [0; 256];
    let mut blocks = Vec::new();
    for block in (0..).map(block) {
        let count = &mut counts[usize::from(block.hash().0[0])];
        if *count < per_partition {
            *count += 1;
            blocks.push(block);
        }
        if blocks.len() == 256 * per_partition {
            return blocks;
        }
    }
    unreachable!("numbers do not end")
}

/// What a block of these tests stands for: 1024 of them are 20 GiB.
const STANDS_FOR: u64 = 20 << 20;

#[test]
fn a_rebalance_of_20_gib_moves_what_the_plan_said_and_no_more() {
    let blocks = even(4);
    let stored = blocks.len() as u64 * STANDS_FOR;
    assert_eq!(stored, 20 << 30);
    let parameters = Parameters { replication: 3, redundancy: Redundancy::AtLeast(1), bits: 8 };
    let role = |zone: &str| Role { zone: zone.to_owned(), capacity: Some(1 << 40), tags: vec![] };
    let mut roles: BTreeMap<NodeId, Role> = (0..3).map(|index| (node(index), role("a"))).collect();
    let old = solve(None, 1, roles.clone(), parameters).unwrap();
    roles.insert(node(3), role("b"));
    let new = solve(Some(&old), 2, roles, parameters).unwrap();
    let plan = explain(Some(&old), &new);

    let mut cluster = Cluster::new(1, 4);
    cluster.set_layouts(&[&old], 1, &[]);
    cluster.put_by(&old, id(1), &blocks);
    cluster.set_layouts(&[&old, &new], 1, &[]);
    cluster.pull(&new);
    for index in 0..4 {
        assert_eq!(cluster.run(index, Job::Offload), Verdict::Done);
    }
    assert!(blocks.iter().all(|block| cluster.copies(block.hash()).len() == 3), "not yet");
    cluster.set_layouts(&[&new], 2, &[&old]);
    for index in 0..4 {
        while cluster.nodes[index].count(Table::Fetch) > 0 {
            assert_eq!(cluster.run(index, Job::Fetch), Verdict::Done);
        }
    }
    let scale = |bytes: u64| bytes / 8 * STANDS_FOR;
    for part in &plan.nodes {
        let taker = usize::from(part.node.0[0]) - 1;
        let taken = cluster.given.iter().filter(|((_, to), _)| *to == taker);
        let taken = scale(taken.map(|(_, bytes)| bytes).sum());
        assert_eq!(taken, stored / plan.partitions * part.gained, "node {taker}");
    }
    let moved = scale(cluster.given.values().sum());
    assert_eq!(moved, plan.bytes_moved(stored));
    assert!(moved <= stored * 3 / 4 + stored / 64, "a fair share for the fourth: {moved}");

    for index in 0..4 {
        assert_eq!(cluster.run(index, Job::Offload), Verdict::Done);
        let done = cluster.flow(index, |cx, view| async move { offloaded(cx, &view).await });
        assert_eq!(done, Ok(Some(2)));
    }
    cluster.pass(DELAYS.block);
    for index in 0..4 {
        assert_eq!(cluster.run(index, Job::Queue), Verdict::Done);
    }
    for block in &blocks {
        assert_eq!(cluster.copies(block.hash()), holders(&new, block.hash()));
    }
    for world in &cluster.nodes {
        world.check();
        assert_eq!(world.count(Table::BlockCount), world.on_disk().len());
    }
    assert_eq!(scale(cluster.given.values().sum()), moved, "nothing has moved twice");
}

#[test]
fn rows_go_without_anything_being_dropped_elsewhere() {
    use crate::table::object::{Content, Data, Meta, ObjectRow};
    let mut cluster = Cluster::new(2, 2);
    let old = layout(1, 2, |_| vec![0]);
    let new = layout(2, 2, |_| vec![1]);
    let bucket = crate::id::BucketId([9; 16]);
    let meta = Meta { size: 5, ..Meta::default() };
    let row = |version, content| table::encode(&ObjectRow { version: id(version), content });
    let op = |key: &[u8], value, inline: Option<&'static [u8]>| Op::Merge {
        table: Table::Object,
        key: key::object(bucket, 0, key),
        value,
        inline: inline.map(bytes::Bytes::from_static),
    };
    let data = Data { data: id(7), block_max: 8 };
    cluster.set_layouts(&[&old], 1, &[]);
    let position = Position::of_shard(bucket, 0);
    let ops = vec![
        op(b"inline", row(1, Content::Inline(meta.clone())), Some(b"bytes")),
        op(b"blocks", row(2, Content::Blocks(meta, data)), None),
        list_row(position, id(7), 0, &block(1)),
    ];
    (0..2).for_each(|index| cluster.nodes[index].apply_ops(ops.clone()));
    cluster.set_layouts(&[&new], 2, &[&old]);
    (0..2).for_each(|index| assert_eq!(cluster.run(index, Job::Offload), Verdict::Done));
    let left = |index: usize| {
        let tables = [
            Table::Object,
            Table::Inline,
            Table::BlockList,
            Table::Counter,
            Table::Fingerprint,
            Table::Queue,
        ];
        tables.map(|table| cluster.nodes[index].count(table))
    };
    assert_eq!(left(0), [0; 6]);
    assert_eq!(left(1)[..4], [2, 1, 1, 1]);
}

/// A former holder of a block, and a holder that knows its reference as `row` or not at all.
fn former(row: Option<BlockRefRow>) -> (Cluster, VersionId) {
    let mut cluster = Cluster::new(4, 3);
    let old = layout(1, 3, |_| vec![0]);
    let new = layout(2, 3, |_| vec![1]);
    let data = VersionId::new(crate::time::Stamp::from_wall(cluster.nodes[0].now.wall), [1; 8]);
    cluster.set_layouts(&[&old], 1, &[]);
    cluster.put_by(&old, data, &[block(1)]);
    cluster.set_layouts(&[&new], 2, &[&old]);
    if let Some(row) = row {
        let (key, value) = (key::block_ref(block(1).hash(), data), table::encode(&row));
        let op = Op::Merge { table: Table::BlockRef, key, value, inline: None };
        cluster.nodes[1].apply_ops(vec![op]);
    }
    (cluster, data)
}

#[test]
fn a_reference_that_a_holder_knows_to_be_dropped_goes() {
    let (mut cluster, _) = former(Some(BlockRefRow::Dropped));
    assert_eq!(cluster.run(0, Job::Offload), Verdict::Done);
    assert_eq!(cluster.nodes[0].count(Table::BlockRef), 0);
}

#[test]
fn a_reference_that_nobody_knows_stays_until_its_data_cannot_be_named() {
    let (mut cluster, _) = former(None);
    assert_eq!(cluster.run(0, Job::Offload), Verdict::Failed);
    cluster.pass(DELAYS.tombstone + Duration::from_secs(1));
    assert_eq!(cluster.run(0, Job::Offload), Verdict::Done);
    assert_eq!(cluster.nodes[0].count(Table::BlockRef), 0);
}

#[test]
fn what_comes_after_the_end_goes_too() {
    let (mut cluster, data) = former(Some(BlockRefRow::Dropped));
    assert_eq!(cluster.run(0, Job::Offload), Verdict::Done);
    // From a request that began by the older layout.
    cluster.nodes[0].apply_ops(vec![list_row(HERE, data, 0, &block(1))]);
    let done = |cluster: &mut Cluster| {
        cluster.flow(0, |cx, view| async move { offloaded(cx, &view).await })
    };
    assert_eq!(done(&mut cluster), Ok(Some(2)));
    cluster.pass(Duration::from_secs(60));
    assert_eq!(cluster.run(0, Job::Offload), Verdict::Done);
    assert_eq!(cluster.nodes[0].count(Table::BlockList), 0);
    assert_eq!(done(&mut cluster), Ok(Some(2)));
}

#[test]
fn a_change_under_way_does_not_keep_what_no_layout_in_force_wants() {
    let (mut cluster, _) = former(Some(BlockRefRow::Dropped));
    let next = layout(3, 3, |_| vec![2]);
    cluster.set_layouts(&[&layout(2, 3, |_| vec![1]), &next], 2, &[]);
    cluster.nodes[0].apply_ops(vec![list_row(HERE, id(1), 0, &block(1))]);
    cluster.run(0, Job::Offload);
    assert_eq!(cluster.nodes[0].count(Table::BlockList), 0);
}

/// What happens next to a cluster of five.
#[derive(Clone, Debug)]
enum Move {
    /// A job of a node runs to its end.
    Run(usize, Job),
    /// A node goes away, or comes back.
    Toggle(usize),
    /// A file of a holder is damaged, if there are other sound copies.
    Damage(usize, usize),
    /// Minutes pass.
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let job = prop_oneof![3 => Just(Job::Fetch), 4 => Just(Job::Offload), 2 => Just(Job::Queue), 1 => Just(Job::Orphans)];
    let one = prop_oneof![
        8 => (0_usize..5, job).prop_map(|(node, job)| Move::Run(node, job)),
        2 => (0_usize..5).prop_map(Move::Toggle),
        1 => (0_usize..5, 0_usize..12).prop_map(|(node, block)| Move::Damage(node, block)),
        2 => (1_u64..20).prop_map(Move::Pass),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_last_copies_are_never_given_up(from in 0_usize..5, by in 1_usize..5, moves in moves()) {
        let old = layout(1, 5, |p| vec![(p + from) % 5, (p + from + 1) % 5]);
        let new = layout(2, 5, |p| vec![(p + from + by) % 5, (p + from + by + 1) % 5]);
        let blocks: Vec<Payload> = (0..12).map(block).collect();
        let mut cluster = Cluster::new(3, 5);
        cluster.set_layouts(&[&old], 1, &[]);
        cluster.put_by(&old, id(1), &blocks);
        cluster.set_layouts(&[&old, &new], 1, &[]);
        cluster.pull(&new);
        cluster.set_layouts(&[&new], 2, &[&old]);
        for next in moves {
            match next {
                Move::Run(index, job) => {
                    cluster.run(index, job);
                }
                Move::Toggle(index) => {
                    if !cluster.down.remove(&index) {
                        cluster.down.insert(index);
                    }
                }
                Move::Damage(index, number) => {
                    let hash = blocks[number].hash();
                    let others = cluster.copies(hash).iter().any(|copy| *copy != index);
                    // A disk that fails together with a move is more than two copies are for.
                    let moved = holders(&new, hash).iter().all(|index| cluster.is_sound(*index, hash));
                    if others && moved && cluster.file(index, hash).is_some() && holders(&new, hash).contains(&index) {
                        cluster.damage(index, hash);
                    }
                }
                Move::Pass(minutes) => cluster.pass(Duration::from_secs(60 * minutes)),
            }
            for block in &blocks {
                prop_assert!(!cluster.copies(block.hash()).is_empty(), "{:?} is lost", block.hash());
            }
        }
        cluster.down.clear();
        for _ in 0..4 {
            for index in 0..5 {
                // The scrub finds the damage, and so does whoever is asked for the block.
                for job in [Job::Scrub, Job::Fetch, Job::Offload, Job::Queue] {
                    cluster.run(index, job);
                }
            }
            cluster.pass(PASS);
        }
        for block in &blocks {
            let mut expected = holders(&new, block.hash());
            expected.sort_unstable();
            prop_assert_eq!(cluster.copies(block.hash()), expected);
        }
    }
}
